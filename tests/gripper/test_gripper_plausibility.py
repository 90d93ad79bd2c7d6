"""Which reports are believed."""

import itertools

import pytest

from omnipicker_driver.plausibility import AGREEING, LONGEST_PAUSE, ReportChecker
from omnipicker_driver.protocol import MAX_SPEED, Fault, Motion, Report

PERIOD = 0.02


def moving(position: float) -> Report:
    return Report(position=position, speed=1.0, motion=Motion.MOVING)


@pytest.fixture
def checker() -> ReportChecker:
    checker = ReportChecker(speed=1.0)
    assert checker.doubt(Report(position=0.5), 0.5, 0.0) == ""
    return checker


def test_fastest_motion_and_late_reports_are_believed(checker: ReportChecker) -> None:
    position, now = 0.5, 0.0
    for gap in itertools.islice(itertools.cycle([0.005, 0.035]), 16):
        now += gap
        position = min(position + MAX_SPEED * PERIOD, 1.0)
        assert checker.doubt(moving(position), 1.0, now) == ""


def test_impossible_jump_is_named_and_not_believed(checker: ReportChecker) -> None:
    doubt = checker.doubt(Report(position=0.9), 0.5, PERIOD)
    assert doubt.startswith("position jumped from 0.50 to 0.90 within 20 ms")
    assert checker.doubt(Report(position=0.5), 0.5, 2 * PERIOD) == ""


def test_position_that_jumps_to_and_fro_is_never_believed(checker: ReportChecker) -> None:
    for step in range(1, 100):
        position = 0.9 if step % 2 else 0.1
        doubt = checker.doubt(Report(position=position), None, step * 0.001)
        assert doubt, step


def test_new_position_is_believed_when_reports_agree(checker: ReportChecker) -> None:
    doubts = [
        checker.doubt(Report(position=0.9), 0.9, step * PERIOD) for step in range(1, AGREEING + 2)
    ]
    assert [bool(doubt) for doubt in doubts] == [True] * (AGREEING - 1) + [False, False]


@pytest.mark.parametrize("code", [5, 77, 255])
def test_unknown_codes_are_named(checker: ReportChecker, code: int) -> None:
    assert f"fault code {code} is unknown" in checker.doubt(
        Report(position=0.5, fault=code), 0.5, PERIOD
    )
    assert f"state code {code} is unknown" in checker.doubt(
        Report(position=0.5, motion=code), 0.5, PERIOD
    )


@pytest.mark.parametrize("motion", [Motion.REACHED, Motion.MOVING])
def test_position_that_stays_although_motion_was_asked_for_is_frozen(
    checker: ReportChecker, motion: Motion
) -> None:
    report = Report(position=0.5, motion=motion)
    steps = range(1, round(2 * LONGEST_PAUSE / PERIOD))
    doubts = [checker.doubt(report, 1.0, step * PERIOD) for step in steps]
    assert doubts[round(LONGEST_PAUSE / PERIOD) - 2] == ""
    assert doubts[-1].startswith("position stays at 0.50")
    assert checker.doubt(moving(0.52), 1.0, 2 * LONGEST_PAUSE) == ""


@pytest.mark.parametrize(
    ("report", "target"),
    [
        (Report(position=0.5, motion=Motion.BLOCKED, force=1.0), 0.0),
        (Report(position=0.5, motion=Motion.MOVING, force=0.3), 0.0),
        (Report(position=0.5, fault=Fault.TOO_HOT), 0.0),
        (Report(position=0.5), 0.45),
        (Report(position=0.5), None),
    ],
)
def test_fingers_that_need_not_move_are_not_frozen(
    checker: ReportChecker, report: Report, target: float | None
) -> None:
    assert not any(checker.doubt(report, target, step * PERIOD) for step in range(1, 200))


def test_fingers_that_push_do_not_explain_why_they_do_not_open(checker: ReportChecker) -> None:
    report = Report(position=0.5, motion=Motion.MOVING, force=0.3)
    assert any(checker.doubt(report, 1.0, step * PERIOD) for step in range(1, 100))


def test_time_in_which_nobody_asked_does_not_count_as_standing_still(
    checker: ReportChecker,
) -> None:
    assert not any(checker.doubt(moving(0.5), 1.0, step * 1.0) for step in range(1, 15))


def test_slowest_speed_is_not_taken_for_frozen() -> None:
    checker = ReportChecker(speed=1 / 255)
    counts_per_second = MAX_SPEED
    for step in range(500):
        count = int(step * PERIOD * counts_per_second)
        assert checker.doubt(moving((200 - count) / 255), 0.0, step * PERIOD) == ""
