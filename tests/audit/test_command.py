"""`ate audit` on folders of HDF5 episodes."""

import dataclasses
import json
import math
import os
import signal

import numpy as np
import pytest

from ate_core.contract import load_cell
from ate_core.errors import EpisodeError, UsageError
from ate_core.resample import tick_period_ns
from training.audit import command
from training.audit.command import REPORT_FILE, AuditConfig, audit, judge_one
from training.audit.judge import compare, score_of
from training.audit.report import EpisodeAudit, set_from_dict
from training.data.episode_file import Episode, write_episode
from training.tasks.choose import WorkConfig

CELL = load_cell(None, "sim")


in_this_process = pytest.mark.usefixtures("in_this_process")


def kill_at_the_second(item, with_page):
    if item[0] == "episode_000001":
        os.kill(os.getpid(), signal.SIGKILL)
    return judge_one(item, with_page)


@pytest.fixture
def converted(tmp_path):
    """Three moving episodes, the last with a joint that no arm can have."""
    for index in range(3):
        time = np.arange(60)[:, None] / CELL.tick_rate
        way = 0.4 * np.sin(2.0 * time + np.arange(7))
        joints = [np.array(CELL.arms[side].home) + way for side in CELL.arms]
        opening = np.full((60, 1), 0.5)
        state = np.concatenate([joints[0], opening, joints[1], opening], 1).astype(np.float32)
        episode = Episode(
            state=state,
            velocity=np.tile(0.8 * np.cos(2.0 * time + np.arange(7)), (1, 2)).astype(np.float32),
            wrench=np.random.default_rng(index).normal(size=(60, 12)).astype(np.float32),
            action=np.roll(state, -1, axis=0),
            timestamps_ns=np.arange(60, dtype=np.int64) * tick_period_ns(CELL.tick_rate),
            cell=CELL,
            task="wave",
        )
        if index == 2:
            episode.state[30, 2] = 9.9
        write_episode(tmp_path / f"episode_{index:06d}.hdf5", episode)
    return tmp_path


@in_this_process
def test_a_folder_is_judged_and_its_report_stands_beside_it(converted, capsys):
    (converted / "episode_000003.hdf5").write_bytes(b"no HDF5")
    assert audit(AuditConfig(bags=converted)) == 1
    found = set_from_dict(json.loads((converted / REPORT_FILE).read_text()))
    assert [episode.name for episode in found.episodes] == [
        f"episode_{index:06d}" for index in range(3)
    ]
    assert [episode.verdicts["joint_limits"] for episode in found.episodes] == [
        *("pass", "pass"),
        "refuse",
    ]
    assert found.episodes[0].verdicts["gaps"] == "not judged"  # HDF5 has no receive times
    assert list(found.unreadable) == ["episode_000003"]
    assert "joint_limits" in capsys.readouterr().out


def test_two_workers_judge_as_one_does_and_draw_the_same_page(converted, tmp_path):
    pages = []
    for jobs in (1, 2):
        page = tmp_path / "page" / "audit.html"
        assert audit(AuditConfig(bags=converted, output=page, work=WorkConfig(jobs=jobs))) == 1
        pages.append((page.read_bytes(), (converted / REPORT_FILE).read_bytes()))
    assert pages[0] == pages[1]


def test_an_episode_that_kills_whoever_reads_it_is_named(converted, monkeypatch):
    monkeypatch.setattr(command, "judge_one", kill_at_the_second)
    assert audit(AuditConfig(bags=converted)) == 1
    found = set_from_dict(json.loads((converted / REPORT_FILE).read_text()))
    assert [episode.name for episode in found.episodes] == ["episode_000000", "episode_000002"]
    assert "ended by SIGKILL" in found.unreadable["episode_000001"]


@in_this_process
def test_json_goes_to_the_output_alone_and_the_page_stands_alone(converted, tmp_path, capsys):
    page = tmp_path / "pages" / "audit.html"
    audit(AuditConfig(bags=converted, json=True, output=page))
    assert len(json.loads(capsys.readouterr().out)["episodes"]) == 3
    assert "joint_limits" in page.read_text() and "http" not in page.read_text()


@in_this_process
def test_a_low_score_fails_the_command(converted):
    (converted / "episode_000002.hdf5").unlink()
    assert audit(AuditConfig(bags=converted)) == 0
    assert audit(AuditConfig(bags=converted, min_score=100.0)) == 1


@pytest.mark.parametrize("score", [100.1, -1.0, float("nan")])
def test_a_score_that_none_can_have_is_refused(tmp_path, score):
    with pytest.raises(UsageError, match=r"--min-score is .*, must lie in 0\.\.100"):
        AuditConfig(bags=tmp_path, min_score=score)


def test_a_folder_without_episodes_is_refused(tmp_path):
    with pytest.raises(EpisodeError, match="holds neither"):
        audit(AuditConfig(bags=tmp_path))


def test_a_flag_costs_less_than_a_refusal_and_no_score_is_negative():
    assert score_of({"a": "pass", "b": "not judged"}) == 100.0
    assert 100.0 > score_of({"a": "flag"}) > score_of({"a": "refuse"}) > 0.0
    assert score_of({str(i): "refuse" for i in range(9)}) == 0.0


def test_an_episode_unlike_the_set_is_flagged_and_a_small_set_is_not_judged():
    def episode(index, seconds):
        return EpisodeAudit(
            name=str(index),
            seconds=seconds,
            score=100.0,
            verdicts={},
            findings=(),
            measures={"seconds": seconds, "lag_s": math.nan},
        )

    lengths = [7.0, 7.2, 7.1, 6.9, 7.3, 7.0, 7.1, 7.2, 30.0]
    many = [episode(i, seconds) for i, seconds in enumerate(lengths)]
    said = [entry.verdicts["outlier"] for entry in compare(many)]
    assert said == [*["pass"] * 8, "flag"]
    assert {entry.verdicts["outlier"] for entry in compare(many[-3:])} == {"not judged"}
    apart = [dataclasses.replace(entry, task=entry.name) for entry in many]
    assert {entry.verdicts["outlier"] for entry in compare(apart)} == {"not judged"}


@pytest.mark.parametrize("output", ["", "page", "file/audit.html"])
def test_a_page_that_cannot_be_written_is_refused_before_anything_is_judged(
    converted, tmp_path, monkeypatch, output
):
    (tmp_path / "page").mkdir()
    (tmp_path / "file").write_text("mine")
    monkeypatch.setattr(command, "audit_folder", None)
    with pytest.raises(UsageError, match=r"--output .*name a(nother)? file"):
        audit(AuditConfig(bags=converted, output=tmp_path / output))
    assert (tmp_path / "file").read_text() == "mine"
