"""What is locked is what its path names, whatever others remove and make meanwhile."""

import fcntl
import os
from pathlib import Path

import pytest

from ate_core.blind_scoring import alone
from ate_core.locks import holder_of, is_in_place, open_locked
from ate_recorder.folder_claim import FolderClaim
from ate_sim.realtime.process import claim
from training.configs.output_folder import only_writer
from training.evaluation.journal import journal_of, open_journal

ROOT = Path(__file__).parents[2]


@pytest.fixture
def left_just_before(monkeypatch):
    """A function: another process removes the file between opening and locking, so many times."""

    def leave(path: Path, times: int = 1, makes_anew: bool = False) -> None:
        lock = fcntl.flock

        def late(descriptor, how) -> None:
            nonlocal times
            if times:
                times -= 1
                path.unlink()
                if makes_anew:
                    path.touch()
            lock(descriptor, how)

        monkeypatch.setattr(fcntl, "flock", late)

    return leave


@pytest.mark.parametrize("makes_anew", [False, True])
def test_a_file_that_its_holder_removes_is_opened_anew(tmp_path, left_just_before, makes_anew):
    path = tmp_path / "held"
    left_just_before(path, 3, makes_anew)
    descriptor = open_locked(path)
    assert is_in_place(descriptor, path)
    with pytest.raises(BlockingIOError):
        open_locked(path)
    os.close(descriptor)
    os.close(open_locked(path))


def test_a_file_that_another_one_holds_and_removes_is_free(tmp_path, monkeypatch):
    """The lock of what nobody finds any more keeps nobody off."""
    path = tmp_path / "held"
    before = open_locked(path)
    lock, removed = fcntl.flock, []

    def late(descriptor, how) -> None:
        if not removed:
            removed.append(path.unlink())
        lock(descriptor, how)

    monkeypatch.setattr(fcntl, "flock", late)
    os.close(open_locked(path))
    os.close(before)


def test_a_folder_is_held_like_a_file(tmp_path):
    with (
        only_writer(tmp_path, "another run writes"),
        pytest.raises(BlockingIOError),
    ):
        open_locked(tmp_path, os.O_RDONLY)
    os.close(open_locked(tmp_path, os.O_RDONLY))


def test_where_there_are_no_locks_nobody_is_kept_off(tmp_path, monkeypatch):
    def unsupported(*_):
        raise OSError("no locks here")

    monkeypatch.setattr(fcntl, "flock", unsupported)
    first, second = (open_locked(tmp_path / "held") for _ in range(2))
    os.close(first)
    os.close(second)


def test_whoever_holds_a_file_may_say_so(tmp_path):
    assert holder_of(tmp_path / "held") == ""
    (tmp_path / "held").write_text("process 7\n")
    assert holder_of(tmp_path / "held") == "process 7"


def journal(folder):
    return open_journal(folder / "out.json", {"seeds": 1})


def role(folder):
    return claim(folder, "world")


HOLDS = {
    "journal": (journal, lambda folder: journal_of(folder / "out.json")),
    "role": (role, lambda folder: folder / "world.pid"),
    "scorer": (alone, lambda folder: folder / ".lock"),
}


@pytest.mark.parametrize("name", HOLDS)
def test_two_never_hold_one_name_because_a_third_left(name, tmp_path, left_just_before):
    hold, path = HOLDS[name]
    left_just_before(path(tmp_path))
    with hold(tmp_path):
        assert path(tmp_path).exists()
        with pytest.raises(Exception, match=r"another|in use"), hold(tmp_path):
            pass


def test_a_recorder_whose_lock_was_removed_claims_its_folder_anew(tmp_path, left_just_before):
    file = tmp_path / ".recorder.lock"
    left_just_before(file)
    first, second = FolderClaim(tmp_path), FolderClaim(tmp_path)
    assert first.trouble() == ""
    assert "another recorder" in second.trouble()


def test_locks_are_taken_in_one_place():
    taken = [
        path.relative_to(ROOT).as_posix()
        for folder in ("ros2_ws/src", "training", "tools", "benchmarks")
        for path in (ROOT / folder).rglob("*.py")
        if "fcntl.flock" in path.read_text() or "fcntl.lockf" in path.read_text()
    ]
    assert taken == ["ros2_ws/src/ate_core/ate_core/locks.py"]
