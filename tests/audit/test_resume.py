"""An audit that was killed goes on; a worker that hangs costs its own episode."""

import os
import signal
import time

import numpy as np
import pytest

from ate_core.contract import load_cell
from ate_core.resample import tick_period_ns
from training.audit import command
from training.audit.command import REPORT_FILE, AuditConfig, audit, judge_one
from training.audit.journal import JOURNAL_FILE
from training.data.episode_file import Episode, write_episode
from training.data.set_files import label_file
from training.tasks.choose import WorkConfig

CELL = load_cell(None, "sim")


def stop_at_the_third(item, with_page):
    if item[0] == "episode_000002":
        raise KeyboardInterrupt
    return judge_one(item, with_page)


def never_the_first_two(item, with_page):
    assert item[0] not in ("episode_000000", "episode_000001")
    return judge_one(item, with_page)


def never_again(item, with_page):
    raise AssertionError(item[0])


def hang_at_the_second(item, with_page):
    if item[0] == "episode_000001":
        os.kill(os.getpid(), signal.SIGSTOP)  # hangs so that it cannot even end itself
        time.sleep(600)
    return judge_one(item, with_page)


@pytest.fixture
def folder(tmp_path):
    """Four moving episodes."""
    for index in range(4):
        time_s = np.arange(40)[:, None] / CELL.tick_rate
        way = 0.4 * np.sin(2.0 * time_s + np.arange(7) + index)
        joints = [np.array(CELL.arms[side].home) + way for side in CELL.arms]
        opening = np.full((40, 1), 0.5)
        state = np.concatenate([joints[0], opening, joints[1], opening], 1).astype(np.float32)
        episode = Episode(
            state=state,
            velocity=np.zeros((40, 14), np.float32),
            wrench=np.random.default_rng(index).normal(size=(40, 12)).astype(np.float32),
            action=np.roll(state, -1, axis=0),
            timestamps_ns=np.arange(40, dtype=np.int64) * tick_period_ns(CELL.tick_rate),
            cell=CELL,
            task="wave",
        )
        write_episode(tmp_path / f"episode_{index:06d}.hdf5", episode)
    return tmp_path


def stopped(folder, monkeypatch, **options):
    monkeypatch.setattr(command, "judge_one", stop_at_the_third)
    with pytest.raises(KeyboardInterrupt):
        audit(AuditConfig(bags=folder, **options))


@pytest.mark.usefixtures("in_this_process")
def test_a_stopped_audit_goes_on_and_ends_as_one_that_was_not(folder, tmp_path, monkeypatch):
    page = tmp_path / "page" / "audit.html"
    audit(AuditConfig(bags=folder, output=page))
    whole = (folder / REPORT_FILE).read_bytes(), page.read_bytes()
    assert not (folder / JOURNAL_FILE).exists()
    stopped(folder, monkeypatch, output=page)
    with (folder / JOURNAL_FILE).open("a") as journal:
        journal.write('\n{"name": "episode_000002", "sig')  # the line of a kill
    monkeypatch.setattr(command, "judge_one", never_the_first_two)
    audit(AuditConfig(bags=folder, output=page))
    assert ((folder / REPORT_FILE).read_bytes(), page.read_bytes()) == whole
    assert not (folder / JOURNAL_FILE).exists()


@pytest.mark.usefixtures("in_this_process")
def test_what_changed_since_the_stop_is_judged_anew(folder, monkeypatch):
    stopped(folder, monkeypatch)
    (folder / "episode_000001.hdf5").write_bytes(b"no HDF5")
    (folder / "episode_000000.hdf5").unlink()
    monkeypatch.setattr(command, "judge_one", judge_one)
    found = command.audit_folder(folder, command.find_episodes(folder), WorkConfig())
    assert list(found.unreadable) == ["episode_000001"]
    assert [one.name for one in found.episodes] == ["episode_000002", "episode_000003"]


@pytest.mark.usefixtures("in_this_process")
def test_what_was_labelled_since_the_stop_is_judged_anew(folder, monkeypatch):
    stopped(folder, monkeypatch)
    label_file(folder / "episode_000001.hdf5").write_text('{"outcome": "failure"}')
    monkeypatch.setattr(command, "judge_one", judge_one)
    found = command.audit_folder(folder, command.find_episodes(folder), WorkConfig())
    assert [one.outcome for one in found.episodes] == ["success", "failure", "success", "success"]


@pytest.mark.usefixtures("in_this_process")
def test_an_audit_that_was_killed_before_its_report_judges_nothing_twice(folder, monkeypatch):
    reads = command.find_episodes(folder)
    first = command.audit_folder(folder, reads, WorkConfig())
    monkeypatch.setattr(command, "judge_one", never_again)
    again = command.audit_folder(folder, reads, WorkConfig())
    assert again.as_dict() == first.as_dict()


def test_a_worker_that_hangs_is_killed_and_its_episode_named(folder, monkeypatch):
    monkeypatch.setattr(command, "judge_one", hang_at_the_second)
    assert audit(AuditConfig(bags=folder, work=WorkConfig(jobs=1, deadline=15.0))) == 1
    report = (folder / REPORT_FILE).read_text()
    assert "not done after 15 s" in report
    assert report.count('"name": "episode_') == 3
