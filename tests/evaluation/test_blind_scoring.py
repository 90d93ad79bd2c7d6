"""Blinded scoring: the order is balanced, nothing tells whose a letter is, nothing is lost."""

import base64
import io
import json
import shutil

import numpy as np
import pytest

from ate_core.blind_scoring import PLAN, SCORES, alone, resume
from ate_core.errors import UsageError
from training import score as command
from training.evaluation.blinding import KEY, begin, plan_turns, unblind
from training.evaluation.record import pool, read_evaluation
from training.report import ReportConfig, report
from training.score import ScoreConfig, score, score_all


@pytest.fixture
def policies(tmp_path):
    found = {}
    for name in ("plain", "guided"):
        folder = tmp_path / name
        folder.mkdir()
        for file in ("config.json", "statistics.json", "contract.yaml"):
            (folder / file).write_text("{}")
        (folder / "README.md").write_text(f"guidance of {name}")
        (folder / "model.safetensors").write_text(f"weights of {name}")
        found[name] = folder
    return found


@pytest.fixture
def session(tmp_path, policies):
    return begin(tmp_path / "s", policies, 3, "pick", np.random.default_rng(0))


def typed(text):
    return iter([*text, ""]).__next__


def owner(folder, letter):
    return (folder / letter / "model.safetensors").read_text().removeprefix("weights of ")


def test_every_policy_is_rolled_out_once_from_each_start_in_an_order_drawn_anew():
    turns = plan_turns("ABC", 200, np.random.default_rng(1))
    blocks = np.array([turn.letter for turn in turns]).reshape(200, 3)
    assert all(sorted(block) == ["A", "B", "C"] for block in blocks)
    assert [turn.start for turn in turns[:6]] == [1, 1, 1, 2, 2, 2]
    first = [(blocks[:, 0] == letter).sum() for letter in "ABC"]
    assert min(first) > 40, "none always goes first"


def test_letters_are_drawn_and_nothing_that_is_shown_names_a_policy(tmp_path, policies):
    owners = set()
    for seed in range(20):
        folder = tmp_path / str(seed)
        begun = begin(folder, policies, 2, "pick", np.random.default_rng(seed))
        owners.add(owner(folder, "A"))
        told = []
        score_all(begun, typed("sfsf"), told.append)
        text = "\n".join(told) + (folder / PLAN).read_text() + (folder / KEY).read_text()
        text += (folder / SCORES).read_text() + " ".join(p.name for p in folder.rglob("*"))
        assert "plain" not in text and "guided" not in text
        assert not [*folder.rglob("README.md")], "it tells the guidance"
    assert owners == {"plain", "guided"}


def test_scores_come_out_under_the_policies_they_belong_to(session, tmp_path):
    told = []
    # A always succeeds, B fails, with 0.4 from its first start
    keys = ["s" if turn.letter == "A" else "4" if turn.start == 1 else "f"
            for turn in session.turns]  # fmt: skip
    done = score_all(session, typed(keys), told.append)
    document = unblind(done)
    good, bad = owner(session.folder, "A"), owner(session.folder, "B")
    assert [t["success"] for t in document["policies"][good]] == [True] * 3
    assert [t["score"] for t in document["policies"][bad]] == [0.4, 0.0, 0.0]
    file = tmp_path / "result.json"
    file.write_text(json.dumps(document))
    assert read_evaluation(file).hashes.keys() == {"plain", "guided"}
    report(ReportConfig(evaluations=(file,)))
    page = (tmp_path / "report.html").read_text()
    assert "3/3" in page and "nan" not in page


def test_sessions_are_added_up_and_a_copy_of_one_counts_once(session, tmp_path):
    files = []
    for day, scores in enumerate(("sfsfsf", "ssssss", "ssssss")):
        folder = session.folder if day == 0 else tmp_path / f"day_{day}"
        if day:
            plan = json.loads((session.folder / PLAN).read_text())
            shutil.copytree(session.folder, folder)
            (folder / SCORES).unlink()
            (folder / PLAN).write_text(json.dumps({**plan, "session": f"day {day}"}))
        files.append(tmp_path / f"{day}.json")
        files[-1].write_text(json.dumps(unblind(score_all(resume(folder), typed(scores), print))))
    read = [read_evaluation(file) for file in (*files, files[0])]
    pooled = pool(read)
    assert {name: len(trials) for name, trials in pooled.usual.items()} == {
        "plain": 9,
        "guided": 9,
    }
    assert sum(t.success for trials in pooled.usual.values() for t in trials) == 3 + 6 + 6
    seeds = [[trial.seed for trial in trials] for trials in pooled.usual.values()]
    assert seeds[0] == seeds[1] == list(range(1, 10)), "paired within each session"


def test_an_aborted_rollout_is_made_again_at_the_end_and_counted_apart(session):
    told = []
    paused = score_all(session, typed("a"), told.append)
    assert len(paused.queue) == 6 and paused.queue[-1] == session.turns[0]
    document = unblind(score_all(paused, typed("ssssss"), told.append))
    assert sum(document["aborted"].values()) == 1
    assert [len(trials) for trials in document["policies"].values()] == [3, 3]


def test_a_session_goes_on_after_it_was_cut_off_anywhere(session):
    scored = score_all(session, typed("sfa"), print)
    file = session.folder / SCORES
    file.write_text(file.read_text() + '{"start": 1, "let')  # the power went
    again = resume(session.folder)
    assert again.scores == scored.scores and again.queue == scored.queue
    undone = score_all(again, typed("uu"), print)
    assert len(undone.scores) == 1 and resume(session.folder).scores == undone.scores
    assert len(score_all(undone, typed("x?uuu"), print).scores) == 0


def test_the_key_opens_after_the_last_rollout_only(session):
    with pytest.raises(UsageError, match="6 rollouts are not scored: the key opens after"):
        unblind(session)
    with pytest.raises(UsageError, match="1 rollouts are not scored"):
        unblind(score_all(session, typed("sssss"), print))
    done = score_all(resume(session.folder), typed("s"), print)
    swapped = json.loads(
        base64.b64decode(json.loads((session.folder / KEY).read_text())["sealed"])
    )
    swapped["owners"] = dict(zip("BA", swapped["owners"].values(), strict=True))
    sealed = base64.b64encode(json.dumps(swapped).encode()).decode()
    (session.folder / KEY).write_text(json.dumps({"sealed": sealed}))
    with pytest.raises(UsageError, match="is not the key of this plan"):
        unblind(done)


def test_damaged_or_foreign_files_are_refused_by_name(session):
    file = session.folder / SCORES
    foreign = '{"start": 9, "letter": "A", "score": 1}\n'
    for text, what in (("{\n", "is damaged"), (foreign, "line 1 is not")):
        file.write_text(text)
        with pytest.raises(UsageError, match=what):
            resume(session.folder)
    (session.folder / PLAN).write_text("[]")
    with pytest.raises(UsageError, match="is no whole session"):
        resume(session.folder)


def test_the_command_begins_pauses_resumes_and_ends(tmp_path, policies, monkeypatch, capsys):
    monkeypatch.setattr(command, "resolve_checkpoint", lambda path: path)
    folder = tmp_path / "blind"
    new = ScoreConfig(session=folder, policies=tuple(policies.values()), starts=1, task="pick")
    monkeypatch.setattr("sys.stdin", io.StringIO("s"))
    assert score(new) == 0 and "1 rollouts are left" in capsys.readouterr().out
    with pytest.raises(UsageError, match="holds a session: leave --policies out"):
        score(new)
    with alone(folder), pytest.raises(UsageError, match="by another process"):
        score(ScoreConfig(session=folder))
    monkeypatch.setattr("sys.stdin", io.StringIO("f\n"))
    assert score(ScoreConfig(session=folder)) == 0
    assert len(read_evaluation(folder / "evaluation.json").usual) == 2
    with pytest.raises(UsageError, match="holds no session: give --policies"):
        score(ScoreConfig(session=tmp_path / "none"))
    with pytest.raises(UsageError, match="nothing is blind with one"):
        ScoreConfig(session=folder, policies=(folder,))


@pytest.mark.parametrize("starts", [0, 10**9])
def test_a_number_of_starts_that_nobody_scores_is_refused(tmp_path, starts):
    with pytest.raises(UsageError, match=f"starts is {starts}; need 1 to 10000"):
        ScoreConfig(session=tmp_path, starts=starts)
