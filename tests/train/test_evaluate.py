"""`ate evaluate`: what is rolled out, on which starts, and what is kept of it."""

import dataclasses
import json
import shutil
import subprocess
import sys
import time

import pytest

from ate_core.contract import packaged_cell
from ate_core.errors import DeviceError, UsageError
from ate_policy.checkpoint import files_sha256, load_checkpoint, save_checkpoint
from ate_policy.models.flow_policy import FlowOptions
from ate_policy.transforms import Statistics
from ate_sim.env import CellEnv
from ate_sim.world import engine
from training import evaluate as command
from training.configs.finetune import FinetuneConfig, OptimOptions
from training.evaluate import EvaluateConfig, evaluate
from training.evaluation.journal import journal_of
from training.evaluation.summary import against_usual, refused_chunks
from training.finetune import finetune
from training.report import ReportConfig, report
from training.studies.rollout import Trial, roll_out


@pytest.fixture(scope="session")
def checkpoint(tmp_path_factory, write_demonstrations):
    """A policy on object poses that has learned next to nothing."""
    folder = tmp_path_factory.mktemp("evaluate")
    episodes = write_demonstrations(
        folder / "episodes", count=2, ticks=30, objects=2, task="pick_place"
    )
    finetune(
        FinetuneConfig(
            episodes=episodes,
            output=folder / "run",
            policy=FlowOptions(preset="tiny"),
            optim=OptimOptions(batch=8),
            steps=1,
        )
    )
    return folder / "run"


def of(folder, output, **settings):
    return EvaluateConfig(
        **{
            "checkpoints": (folder,),
            "output": output,
            "episodes": 2,
            "limit": 0.3,
            "untrained": False,
            "blind": False,
            **settings,
        }
    )


def test_perturbed_rollouts_are_kept_beside_usual_ones_of_the_same_seeds(
    checkpoint, tmp_path, capsys
):
    output = tmp_path / "rollouts.json"
    words = ("light_low", "distractors+disturbance")
    assert evaluate(of(checkpoint, output, perturbations=words)) == 0
    kept = json.loads(output.read_text())
    assert list(kept["policies"]) == ["run"] and list(kept["perturbed"]) == list(words)
    usual = kept["policies"]["run"]
    for word in words:
        trials = kept["perturbed"][word]["run"]
        assert [one["seed"] for one in trials] == [one["seed"] for one in usual] == [1000, 1001]
        assert {one["perturbation"] for one in trials} == {word}
    assert {one["perturbation"] for one in usual} == {"none"}
    # a policy on object poses sees neither light nor things behind its work
    told = ("jerk", "duration", "score", "refused")
    assert [[one[key] for key in told] for one in kept["perturbed"]["light_low"]["run"]] == [
        [one[key] for key in told] for one in usual
    ]
    assert "light_low" in capsys.readouterr().out


WHOLE = {"perturbations": ("distractors",), "blind": True, "untrained": True}


class PowerCut(BaseException):
    """Ends the program between two rollouts."""


@pytest.mark.parametrize("done", [0, 3, 7])
def test_an_evaluation_that_was_killed_goes_on_and_ends_with_the_same_file(
    checkpoint, tmp_path, monkeypatch, done
):
    whole, cut = tmp_path / "whole.json", tmp_path / "cut.json"
    assert evaluate(of(checkpoint, whole, **WHOLE)) == 0
    rolled_out = []

    def counted(*args, **settings):
        if len(rolled_out) == done:
            raise PowerCut
        rolled_out.append(args[2])
        return roll_out(*args, **settings)

    monkeypatch.setattr(command, "roll_out", counted)
    with pytest.raises(PowerCut):
        evaluate(of(checkpoint, cut, **WHOLE))
    with journal_of(cut).open("a") as file:
        file.write('{"policy": "run", "tri')  # a line that the cut went through
    again = []
    monkeypatch.setattr(command, "roll_out", lambda *a, **s: again.append(a) or roll_out(*a, **s))
    assert evaluate(of(checkpoint, cut, **WHOLE)) == 0
    assert len(again) == 8 - done
    assert cut.read_text() == whole.read_text()
    assert not journal_of(cut).exists()


def test_an_evaluation_that_is_killed_in_earnest_keeps_what_had_ended(checkpoint, tmp_path):
    output = tmp_path / "rollouts.json"
    words = ["--checkpoints", checkpoint, "--output", output, "--episodes", "500", "--limit", "1"]
    process = subprocess.Popen(
        [sys.executable, "-m", "ate_bringup.cli", "evaluate", *map(str, words), "--no-blind"],
        stdout=subprocess.DEVNULL,
    )
    journal, deadline = journal_of(output), time.monotonic() + 120.0
    try:
        while not journal.exists() or journal.read_bytes().count(b"\n") < 3:
            assert time.monotonic() < deadline and process.poll() is None
            time.sleep(0.05)
        with pytest.raises(UsageError, match="is being written by another `ate evaluate`"):
            evaluate(of(checkpoint, output))
    finally:
        process.kill()
        process.wait()
    with pytest.raises(UsageError, match=r"its limit was 1.0, not 0.3: give what it was begun"):
        evaluate(of(checkpoint, output))
    first = json.loads(journal.read_bytes().splitlines()[1])
    assert first["policy"] == "run" and first["trial"]["seed"] == 1000


def test_more_starts_are_added_but_not_where_they_change_what_the_blind_control_sees(
    checkpoint, tmp_path, monkeypatch
):
    def cut(*args, **settings):
        raise PowerCut

    for blind in (False, True):
        output = tmp_path / f"{blind}.json"
        monkeypatch.setattr(command, "roll_out", cut)
        with pytest.raises(PowerCut):
            evaluate(of(checkpoint, output, blind=blind))
        monkeypatch.setattr(command, "roll_out", roll_out)
        more = of(checkpoint, output, blind=blind, episodes=3)
        if blind:
            with pytest.raises(UsageError, match="its episodes was 2, not 3"):
                evaluate(more)
        else:
            assert evaluate(more) == 0


def test_a_journal_of_something_else_is_refused_and_not_touched(checkpoint, tmp_path):
    output = tmp_path / "rollouts.json"
    for text, why in (("[1]\n", "it does not say of which"), ("{]\n", "is damaged")):
        journal_of(output).write_text(text)
        with pytest.raises(UsageError, match=why):
            evaluate(of(checkpoint, output))
        assert journal_of(output).read_text() == text


def test_the_stopping_rule_ends_each_perturbation_by_itself(checkpoint, tmp_path, monkeypatch):
    other = tmp_path / "other"
    shutil.copytree(checkpoint.resolve(), other, symlinks=True)
    calls = []

    def played(env, policy, seed, *, perturbation, **settings):
        """Both succeed on usual starts; where the light is low only the second."""
        calls.append(perturbation)
        is_second = calls.count(perturbation) % 2 == 0
        return trial(seed, perturbation == "none" or is_second, perturbation=perturbation)

    monkeypatch.setattr(command, "roll_out", played)
    output = tmp_path / "rollouts.json"
    settings = {"perturbations": ("light_low",), "stop_early": True, "episodes": 40}
    config = of(checkpoint, output, **settings, checkpoints=(checkpoint, other))
    assert evaluate(config) == 0
    kept = json.loads(output.read_text())
    counts = [len(kept["policies"]["other"]), len(kept["perturbed"]["light_low"]["other"])]
    assert counts[0] > 30, "in vain only near the end"
    assert counts[1] < 12, "shown soon"
    assert report(ReportConfig(evaluations=(output,))) == 0
    page = (tmp_path / "report.html").read_text()
    assert f"light_low: run against other, same starts, stopped after {counts[1]}: other" in page


def test_outcomes_are_kept_where_they_cannot_be_filmed(checkpoint, tmp_path, monkeypatch):
    def no_graphics(*args):
        raise DeviceError("no graphics here")

    monkeypatch.setattr(CellEnv, "overview", no_graphics)
    output = tmp_path / "rollouts.json"
    with pytest.raises(DeviceError, match="no graphics"):
        evaluate(of(checkpoint, output, film_worst=1))
    kept = json.loads(output.read_text())
    assert len(kept["policies"]["run"]) == 2
    assert kept["hashes"]["run"] == files_sha256(checkpoint)


def test_the_worst_rollouts_are_filmed_as_they_went_and_shown(checkpoint, tmp_path):
    try:
        engine.require_graphics()
    except DeviceError as error:
        pytest.skip(str(error))
    output = tmp_path / "rollouts.json"
    assert evaluate(of(checkpoint, output, film_worst=1)) == 0
    assert [film.name for film in (tmp_path / "rollouts_videos").iterdir()] == ["run_1000.mp4"]
    assert report(ReportConfig(evaluations=(output,))) == 0
    assert (tmp_path / "report.html").read_text().count("<video") == 1
    with pytest.raises(UsageError, match="film_worst is 3, must be 0 to 2"):
        of(checkpoint, output, film_worst=3)


@pytest.mark.parametrize(
    ("words", "what"),
    [
        (("dark",), "perturbation is 'dark'; use one of none, radius"),
        (("none",), "changes nothing"),
        (("light_low", "light_low"), "give each once"),
    ],
)
def test_perturbations_that_say_nothing_are_refused_before_anything_is_loaded(
    tmp_path, words, what
):
    with pytest.raises(UsageError, match=what):
        of(tmp_path, tmp_path / "o.json", perturbations=words)


@pytest.mark.parametrize(
    ("settings", "what"),
    [
        ({"delay_ms": 1000.0}, "a chunk of run covers 1 s and would be over when it comes"),
        ({"chunk_mode": "rtc", "expected_delay_ms": 1500.0}, "the delay is 1.5 s"),
        ({"execute": 21}, "give --execute 20 or less"),
        ({"task": "handover"}, "run was trained on pick_place"),
    ],
)
def test_what_a_policy_cannot_do_is_refused_before_a_rollout(checkpoint, tmp_path, settings, what):
    with pytest.raises(UsageError, match=what):
        evaluate(of(checkpoint, tmp_path / "o.json", **settings))
    assert not list(tmp_path.iterdir())


def test_a_policy_that_cannot_go_on_with_a_chunk_is_refused_where_that_is_asked(
    checkpoint, tmp_path, monkeypatch
):
    monkeypatch.setattr("ate_policy.models.flow_policy.FlowPolicy.continues", False)
    with pytest.raises(UsageError, match=r"run \(flow\) cannot go on with a chunk"):
        evaluate(of(checkpoint, tmp_path / "o.json", chunk_mode="rtc"))


def test_a_policy_that_learned_in_degrees_is_refused(checkpoint, tmp_path):
    copied = tmp_path / "copied"
    stored = load_checkpoint(checkpoint)
    table = stored.statistics.to_dict()
    for norm in table["norm_stats"].values():
        for key in ("mean", "std", "q01", "q99"):
            norm[key] = [57.3 * value for value in norm[key]]
    save_checkpoint(copied, dataclasses.replace(stored, statistics=Statistics.from_dict(table)))
    with pytest.raises(UsageError, match="copied: statistics of state"):
        evaluate(of(copied, tmp_path / "o.json"))


def test_checkpoints_are_named_as_people_name_their_runs(checkpoint, tmp_path):
    for name in ("plain/run", "guided/run"):
        shutil.copytree(checkpoint, tmp_path / name, symlinks=True)
    plain, guided = tmp_path / "plain/run", tmp_path / "guided/run"
    step = next(plain.glob("step_*"))

    def names(*paths):
        return list(command._checkpoints(dataclasses.replace(some, checkpoints=paths)))

    some = of(checkpoint, tmp_path / "o.json")
    assert names(plain) == names(plain / "last") == names(plain / "../run/.") == ["run"]
    assert names(plain, guided / "last") == ["plain-run", "guided-run"]
    assert names(plain, step) == ["run", step.name]
    with pytest.raises(UsageError, match="the same name, plain-run: give each once"):
        names(plain, plain / "last")
    with pytest.raises(UsageError, match="there are no checkpoints: give --checkpoints"):
        names()


@pytest.mark.parametrize(("first", "told"), [(-1, "first_seed is -1"), (2**32 - 1, "last_seed")])
def test_starts_that_no_generator_takes_are_refused(checkpoint, tmp_path, first, told):
    with pytest.raises(UsageError, match=f"{told}.*must be 0 to 4294967295"):
        of(checkpoint, tmp_path / "o.json", first_seed=first)


def test_an_evaluation_that_was_cut_off_does_not_go_on_in_another_cell(
    checkpoint, tmp_path, monkeypatch
):
    def cut_off(*args, **settings):
        raise PowerCut

    cell = tmp_path / "my.yaml"
    cell.write_text(packaged_cell().read_text())
    config = of(checkpoint, tmp_path / "o.json", cell=cell)
    with monkeypatch.context() as patch:
        patch.setattr(command, "roll_out", cut_off)
        with pytest.raises(PowerCut):
            evaluate(config)
    cell.write_text(cell.read_text().replace("max_joint_speed: 2.0", "max_joint_speed: 1.0"))
    with pytest.raises(UsageError, match="its cell_sha256 was"):
        evaluate(config)


def trial(seed, success, **more):
    return Trial(seed=seed, success=success, score=0.0, duration=1.0, jerk=0.0, refused=0, **more)


def test_a_perturbation_is_compared_with_usual_starts_of_the_same_seeds_only():
    usual = [trial(seed, success=True) for seed in range(12)]
    perturbed = [trial(seed, success=seed > 20) for seed in range(4, 30)]
    assert "8 seeds only the first" in against_usual(usual, perturbed, stopped=False)
    told = against_usual(usual, perturbed, stopped=True)
    assert told == "8 usual, 0 perturbed of 8 shared starts"
    assert against_usual(usual, [trial(99, success=True)], stopped=False) == ""


def test_refused_chunks_are_told_by_kind():
    first = trial(0, success=False, refusals={"far": 2})
    second = trial(1, success=False, refusals={"far": 1, "jump": 1})
    assert refused_chunks([first, second]) == "0 (3 far, 1 jump)"
    assert refused_chunks([trial(0, success=True)]) == "0"


def test_a_policy_of_other_objects_is_refused(checkpoint, tmp_path):
    stored = load_checkpoint(checkpoint)
    for names, task in ((("plate", "cube"), "pick_place"), (("cube", "plate"), "handover")):
        training = {**stored.training, "task": "", "object_names": list(names)}
        save_checkpoint(tmp_path / "named", dataclasses.replace(stored, training=training))
        with pytest.raises(UsageError, match=f"named learned from poses of {', '.join(names)}, "):
            evaluate(of(tmp_path / "named", tmp_path / "rollouts.json", task=task))
