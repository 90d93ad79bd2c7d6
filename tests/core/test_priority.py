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
