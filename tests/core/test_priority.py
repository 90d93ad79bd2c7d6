"""Real-time priority of what streams to arms: where the machine permits it, and can be set off."""

import os

import pytest

from ate_core import priority
from ate_core.errors import UsageError


@pytest.fixture
def asked(monkeypatch) -> list[tuple[int, int, int]]:
    """What the kernel was asked for: thread, policy, priority."""
    calls: list[tuple[int, int, int]] = []
    monkeypatch.setattr(
        priority.os,
        "sched_setscheduler",
        lambda thread, policy, param: calls.append((thread, policy, param.sched_priority)),
    )
    return calls


def test_no_thread_is_a_real_time_one_where_the_setting_says_so(asked, monkeypatch) -> None:
    monkeypatch.setenv(priority.FIFO_SETTING, "0")
    assert not priority.set_fifo()
    assert asked == []


def test_the_usual_priority_is_taken_where_the_machine_permits_it(asked, monkeypatch) -> None:
    monkeypatch.delenv(priority.FIFO_SETTING, raising=False)
    assert priority.set_fifo()
    assert asked == [(0, os.SCHED_FIFO | os.SCHED_RESET_ON_FORK, priority.USUAL_FIFO)]


def test_calling_thread_alone_gets_the_priority_that_is_asked_for(asked, monkeypatch) -> None:
    monkeypatch.setenv(priority.FIFO_SETTING, "10")
    assert priority.set_fifo()
    assert asked == [(0, os.SCHED_FIFO | os.SCHED_RESET_ON_FORK, 10)]


@pytest.mark.parametrize("text", ["21", "-1", "high", "1.5", ""])
def test_priority_out_of_bounds_is_refused_with_value_bound_and_page(monkeypatch, text) -> None:
    monkeypatch.setenv(priority.FIFO_SETTING, text)
    with pytest.raises(UsageError, match=rf"ATE_FIFO_PRIORITY is '{text}'; need 0 .* to 20"):
        priority.wanted_fifo()


@pytest.mark.parametrize(("text", "level"), [("10", "WARNING"), (None, "INFO")])
def test_without_permission_the_thread_goes_on_and_it_is_said(
    monkeypatch, caplog, text, level
) -> None:
    def refuse(*_: object) -> None:
        raise PermissionError

    monkeypatch.setattr(priority.os, "sched_setscheduler", refuse)
    if text is None:
        monkeypatch.delenv(priority.FIFO_SETTING, raising=False)
    else:
        monkeypatch.setenv(priority.FIFO_SETTING, text)
    with caplog.at_level("INFO"):
        assert not priority.set_fifo()
    assert "ATE_FIFO_PRIORITY=10 is not permitted: grant rtprio" in caplog.text
    assert [record.levelname for record in caplog.records] == [level]


def test_niceness_counts_against_other_sessions_too(tmp_path, monkeypatch) -> None:
    group = tmp_path / "autogroup"
    group.write_text("/autogroup-7 nice 0\n")
    monkeypatch.setattr(priority, "GROUP", group)
    monkeypatch.setattr(priority.os, "setpriority", lambda *_: None)
    monkeypatch.setattr(priority.os, "getsid", lambda _: os.getpid())
    assert priority.set_niceness(priority.CONTROL)
    assert group.read_text() == "-10"


def test_session_that_somebody_else_leads_keeps_its_niceness(tmp_path, monkeypatch) -> None:
    group = tmp_path / "autogroup"
    group.touch()
    monkeypatch.setattr(priority, "GROUP", group)
    monkeypatch.setattr(priority.os, "setpriority", lambda *_: None)
    monkeypatch.setattr(priority.os, "getsid", lambda _: os.getpid() + 1)
    assert priority.set_niceness(priority.CONTROL)
    assert group.read_text() == ""


def test_many_that_start_at_once_get_their_group_niceness_one_after_the_other(monkeypatch) -> None:
    taken: list[str] = []

    class Group:
        def write_text(self, text: str) -> None:
            taken.append(text)
            if len(taken) < 3:
                raise BlockingIOError

    monkeypatch.setattr(priority, "GROUP", Group())
    monkeypatch.setattr(priority, "GROUP_PAUSE", 0.0)
    monkeypatch.setattr(priority.os, "setpriority", lambda *_: None)
    monkeypatch.setattr(priority.os, "getsid", lambda _: os.getpid())
    assert priority.set_niceness(2)
    assert taken == ["2"] * 3


@pytest.mark.parametrize("error", [FileNotFoundError, PermissionError])
def test_kernel_without_groups_or_rights_leaves_the_plain_niceness(monkeypatch, error) -> None:
    class Group:
        def write_text(self, text: str) -> None:
            raise error

    monkeypatch.setattr(priority, "GROUP", Group())
    monkeypatch.setattr(priority.os, "setpriority", lambda *_: None)
    monkeypatch.setattr(priority.os, "getsid", lambda _: os.getpid())
    assert priority.set_niceness(priority.CONTROL)


@pytest.fixture
def threads(tmp_path, monkeypatch) -> None:
    """Threads as the kernel lists them: usual, real-time ones, one that has ended."""
    reset = os.SCHED_RESET_ON_FORK
    classes = {
        100: os.SCHED_OTHER,
        101: os.SCHED_FIFO,
        102: os.SCHED_FIFO | reset,
        103: os.SCHED_RR,
        104: os.SCHED_BATCH | reset,
        105: os.SCHED_IDLE,
    }
    for thread in (*classes, 106):
        (tmp_path / str(thread)).mkdir()

    def class_of(thread: int) -> int:
        if thread not in classes:
            raise ProcessLookupError
        return classes[thread]

    monkeypatch.setattr(priority, "TASKS", tmp_path)
    monkeypatch.setattr(priority.os, "sched_getscheduler", class_of)


def test_threads_beside_the_loops_stream_too_but_below_them(asked, threads, monkeypatch) -> None:
    monkeypatch.setenv(priority.FIFO_SETTING, "10")
    assert priority.set_fifo_of_process() == 3
    policy = os.SCHED_FIFO | os.SCHED_RESET_ON_FORK
    assert sorted(asked) == [(thread, policy, 9) for thread in (100, 104, 105)]


def test_threads_stay_as_they_are_where_the_setting_says_so(asked, threads, monkeypatch) -> None:
    monkeypatch.setenv(priority.FIFO_SETTING, "0")
    assert priority.set_fifo_of_process() == 0
    assert asked == []


def test_missing_permission_is_not_said_for_each_thread(threads, monkeypatch, caplog) -> None:
    def refuse(*_: object) -> None:
        raise PermissionError

    monkeypatch.setattr(priority.os, "sched_setscheduler", refuse)
    monkeypatch.delenv(priority.FIFO_SETTING, raising=False)
    with caplog.at_level("INFO"):
        assert priority.set_fifo_of_process() == 0
    assert caplog.text == ""
