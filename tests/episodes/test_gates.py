"""What `--min-score` and `--exclude` keep out of training."""

import dataclasses
import json
import logging

import numpy as np
import pytest

from ate_core.errors import EpisodeError, TrainingError, UsageError
from training.audit.command import AuditConfig, audit
from training.audit.gate import Gate
from training.audit.judge import SET_RULES, audit_episode, rule_words
from training.audit.stored import read_reports, stored_audit
from training.configs.finetune import FinetuneConfig
from training.configs.train_vae import TrainVaeConfig
from training.data.episode_file import read_episode, write_episode
from training.data.set_files import label_file
from training.data.trajectory import read_trajectories
from training.episodes.copying import export_set


@pytest.fixture
def judged(tmp_path, make):
    """Three episodes without pictures and their audit.json; number 1 hits something."""
    for index in range(3):
        wrench = np.zeros((30, 12), np.float32)
        wrench[:, 2] = np.linspace(-1.0, 1.0, 30)
        if index == 1:
            wrench[10, :3] = 150.0
        way = 0.5 + 0.2 * np.sin(np.arange(30) / 10 + index)[:, None] * np.ones(16)
        way = way.astype(np.float32)
        episode = make(index, images={}, wrench=wrench, action=way, state=way)
        write_episode(tmp_path / f"episode_{index:06d}.hdf5", episode)
    audit(AuditConfig(bags=tmp_path))
    return tmp_path


def names(folder, **gate):
    return [one.name for one in read_trajectories(folder, gate=Gate(**gate))]


def score(folder, index):
    episode = read_episode(folder / f"episode_{index:06d}.hdf5")
    return stored(read_reports(folder), episode).score


def stored(reports, episode):
    outcome = {"outcome": episode.outcome, "own": episode.outcome}
    return reports.of(episode.sha256(), episode.audit, "here", **outcome)


def test_training_leaves_out_what_the_gate_refuses_and_says_so(judged, caplog):
    caplog.set_level(logging.WARNING)
    assert names(judged, exclude=("force_peak",)) == ["episode_000000.hdf5", "episode_000002.hdf5"]
    assert "left out episode_000001: --exclude force_peak: force_peak: " in caplog.text
    bound = score(judged, 1) + 0.5
    assert "episode_000001.hdf5" not in names(judged, min_score=bound)
    assert f"--min-score {bound:g}" in caplog.text
    assert names(judged, exclude=("episode_000000",))[0] == "episode_000001.hdf5"


def test_a_limit_counts_what_passes_the_gate(judged):
    gate = Gate(exclude=("force_peak",))
    assert len(read_trajectories(judged, 2, gate)) == 2
    with pytest.raises(TrainingError, match="1 more are kept out by the gate"):
        read_trajectories(judged, 3, gate)


def test_a_gate_that_lets_nothing_through_is_refused(judged):
    with pytest.raises(TrainingError, match="keeps all 3 successful episodes"):
        names(judged, exclude=tuple(f"episode_{i:06d}" for i in range(3)))


def test_an_episode_that_was_never_audited_meets_the_gate_with_the_remedy(judged, make):
    write_episode(judged / "episode_000003.hdf5", make(3, images={}))
    assert len(names(judged)) == 4
    with pytest.raises(TrainingError, match="never audited as it is now: run `ate audit --bags"):
        names(judged, min_score=1.0)


def test_the_audit_of_another_file_under_the_same_name_does_not_count(judged, make):
    write_episode(judged / "episode_000000.hdf5", make(9, images={}))
    with pytest.raises(TrainingError, match=r"episode_000000.hdf5 was never audited as it is now"):
        names(judged, min_score=1.0)


def test_an_audit_inside_an_episode_counts_and_the_one_beside_completes_it(judged):
    path = judged / "episode_000000.hdf5"
    episode = read_episode(path)
    beside = read_reports(judged)
    own = dataclasses.replace(
        stored(beside, episode), verdicts={"gaps": "flag", "jerk": "not judged"}
    )
    write_episode(path, dataclasses.replace(episode, audit=own.as_dict()))
    whole = stored(beside, read_episode(path))
    assert whole.verdicts["gaps"] == "flag"  # HDF5 alone cannot tell: not judged beside it
    assert whole.verdicts["jerk"] == stored(beside, episode).verdicts["jerk"] != "not judged"
    assert names(judged, exclude=("gaps",))[0] == "episode_000001.hdf5"


@pytest.mark.parametrize("kept", ["beside", "inside"])
def test_an_audit_of_another_outcome_does_not_count(judged, kept, tmp_path_factory, caplog):
    """What a failure may be, a success may not: nothing was done in it."""
    path = judged / "episode_000001.hdf5"
    still = np.full((30, 16), 0.3, np.float32)
    episode = dataclasses.replace(read_episode(path), outcome="failure", state=still, action=still)
    write_episode(path, episode)
    audit(AuditConfig(bags=judged))
    if kept == "inside":
        own = stored(read_reports(judged), episode)
        own = dataclasses.replace(own, verdicts={**own.verdicts, "gaps": "flag"})
        write_episode(path, dataclasses.replace(episode, audit=own.as_dict()))
        label_file(judged / "episode_000000.hdf5").write_text('{"outcome": "failure"}')
    label_file(path).write_text('{"outcome": "success"}')
    with pytest.raises(
        TrainingError, match=r"episode_00000.\.hdf5 was never audited as it is now"
    ):
        names(judged, exclude=("nothing_done",))
    copied = tmp_path_factory.mktemp("copied")
    with pytest.raises(EpisodeError, match="was never audited as it is now"):
        export_set(
            judged,
            copied / "set",
            gate=Gate(exclude=("nothing_done",)),
            outcome="",
            license_="",
            overwrite=False,
        )
    audit(AuditConfig(bags=judged))
    assert "episode_000001.hdf5" not in names(judged, exclude=("nothing_done",))
    if kept == "inside":  # what only the bag could tell still counts
        assert names(judged, exclude=("gaps",)) == ["episode_000002.hdf5"]


def test_a_rule_that_no_episode_was_judged_by_is_refused_as_a_gate(judged):
    with pytest.raises(EpisodeError, match="judged in none of the 3 episodes"):
        names(judged, exclude=("gaps",))


def test_audits_by_older_rules_count_and_are_told(judged, caplog):
    caplog.set_level(logging.WARNING)
    file = judged / "audit.json"
    report = json.loads(file.read_text())
    file.write_text(json.dumps({**report, "rules": {"jerk": "An older bound."}}))
    names(judged, min_score=1.0)
    assert "3 of 3 episodes were judged by other rules than today's" in caplog.text


@pytest.mark.parametrize("text", ["", "[]", '{"rules": 1, "episodes": []}', '{"rules": {}}'])
def test_a_damaged_report_is_named_with_the_remedy(judged, text):
    (judged / "audit.json").write_text(text)
    with pytest.raises(EpisodeError, match="write it anew with `ate audit"):
        names(judged, min_score=1.0)


def test_an_audit_survives_being_stored(make):
    from training.audit.hdf5 import as_recorded

    made = stored_audit(audit_episode("one", as_recorded(make(0))))
    kept = json.loads(json.dumps(made.as_dict(), allow_nan=False))
    assert kept["verdicts"].keys() == rule_words().keys() - SET_RULES.keys()
    assert kept["score"] == made.score


@pytest.mark.parametrize("config", [FinetuneConfig, TrainVaeConfig])
def test_training_commands_refuse_a_gate_that_cannot_be_meant(config, tmp_path):
    given = {"output": tmp_path, "episodes": tmp_path, "exclude": ("idel",)}
    stage = {} if config is FinetuneConfig else {"stage": 2, "single_stage": True}
    with pytest.raises(UsageError, match="did you mean idle"):
        config(**given, **stage)


def test_stage_1_takes_no_gate(tmp_path):
    with pytest.raises(UsageError, match="min_score is a choice of stage 2"):
        TrainVaeConfig(stage=1, output=tmp_path, min_score=50.0)
