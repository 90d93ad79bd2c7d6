"""Blinded rollouts are scored from the page, each once, and nothing tells whose they are."""

import json

import numpy as np
import pytest

from ate_cockpit.scoring import LOOK_PERIOD, BlindScoring
from ate_core.blind_scoring import alone, keep, resume
from ate_core.errors import UsageError
from training.evaluation.blinding import begin, unblind


class Clock:
    now = 0.0

    def __call__(self):
        return self.now


@pytest.fixture
def session(tmp_path):
    policies = {}
    for name in ("plain", "guided"):
        policies[name] = tmp_path / name
        policies[name].mkdir()
        for file in ("config.json", "statistics.json", "contract.yaml"):
            (policies[name] / file).write_text("{}")
        (policies[name] / "model.safetensors").write_text(f"weights of {name}")
    return begin(tmp_path / "blind", policies, 2, "pick", np.random.default_rng(0))


def test_keys_score_what_is_shown_until_all_is_scored_and_the_key_opens(session):
    scoring = BlindScoring(session.folder)
    for left, key in ((4, "s"), (3, "f"), (2, "4"), (1, "s")):
        shown = scoring.document()
        assert shown["left"] == left
        assert "plain" not in json.dumps(shown) and "guided" not in json.dumps(shown)
        done = scoring.press(key, shown["turn"])
        assert scoring.document()["last"] == done
    assert scoring.document()["turn"] == "" and "all are scored" in scoring.document()["reason"]
    scores = [trial["score"] for one in unblind(resume(session.folder))["policies"].values()
              for trial in one]  # fmt: skip
    assert sorted(scores) == [0.0, 0.4, 1.0, 1.0]
    with pytest.raises(UsageError, match="all rollouts are scored"):
        scoring.press("s", "")
    assert scoring.press("u", "") == "taken back"
    assert scoring.document()["left"] == 1


def test_what_was_scored_elsewhere_meanwhile_is_not_scored_twice(session):
    clock = Clock()
    here, there = BlindScoring(session.folder, clock), BlindScoring(session.folder, clock)
    turn = here.document()["turn"]
    there.press("s", turn)
    with pytest.raises(UsageError, match="scored elsewhere meanwhile"):
        here.press("f", turn)
    assert [one.score for one in resume(session.folder).scores] == [1.0]
    assert here.document()["left"] == 3, "it shows what comes next at once"
    there.press("a", there.document()["turn"])
    clock.now += LOOK_PERIOD
    assert here.document()["left"] == 3 and "aborted" in here.document()["last"]


def test_an_aborted_rollout_that_comes_again_is_another_turn(session):
    scoring = BlindScoring(session.folder)
    keep(session, ())
    first = scoring.document()["turn"]
    for _ in range(4):
        scoring.press("a", scoring.document()["turn"])
    again = scoring.document()["turn"]
    assert again != first and again.partition(": ")[2] == first.partition(": ")[2]


def test_a_terminal_that_scores_keeps_the_page_out_and_says_so(session):
    scoring = BlindScoring(session.folder)
    turn = scoring.document()["turn"]
    with alone(session.folder), pytest.raises(UsageError, match="by another process"):
        scoring.press("s", turn)
    assert scoring.press("s", turn)


def test_other_keys_and_damaged_sessions_score_nothing(session, tmp_path):
    clock = Clock()
    scoring = BlindScoring(session.folder, clock)
    for key in ("", "0", "x", "ss"):
        with pytest.raises(UsageError, match="is no score"):
            scoring.press(key, scoring.document()["turn"])
    with pytest.raises(UsageError, match="nothing is scored yet"):
        scoring.press("u", scoring.document()["turn"])
    assert not resume(session.folder).scores
    (session.folder / "scores.jsonl").write_text("{\n")
    clock.now += LOOK_PERIOD
    assert "is damaged" in scoring.document()["reason"]
    with pytest.raises(UsageError, match="is damaged"):
        scoring.press("s", "")
    with pytest.raises(UsageError, match="is no whole session"):
        BlindScoring(tmp_path)
    nothing = BlindScoring(None)
    assert nothing.document() == {}
    with pytest.raises(UsageError, match="give score:=FOLDER"):
        nothing.press("s", "")
