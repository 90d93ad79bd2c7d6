"""Which gripper commands pass, and what the diagnostics say."""

import pytest

from ate_core.errors import SafetyError
from omnipicker_driver.commands import accepted_ratio, gripper_health
from omnipicker_driver.protocol import Motion, Report
from omnipicker_driver.state import GripperState

SECOND = 1_000_000_000


def test_fresh_command_is_clamped_to_the_stroke() -> None:
    assert accepted_ratio([0.25], 0, SECOND // 20, 0.1) == 0.25
    assert accepted_ratio([7.0], 0, 0, 0.1) == 1.0
    assert accepted_ratio([-7.0], 0, 0, 0.1) == 0.0


@pytest.mark.parametrize(
    ("positions", "age_ns", "reason"),
    [
        ([], 0, "0 positions"),
        ([0.1, 0.2], 0, "2 positions"),
        ([float("nan")], 0, "nan"),
        ([float("inf")], 0, "inf"),
        ([0.5], SECOND // 5, "0.200 s old"),
        ([0.5], -SECOND // 5, "-0.200 s old"),
    ],
)
def test_bad_command_is_refused_with_its_reason(
    positions: list[float], age_ns: int, reason: str
) -> None:
    with pytest.raises(SafetyError, match=reason):
        accepted_ratio(positions, 10 * SECOND, 10 * SECOND + age_ns, 0.1)


def test_health_names_what_is_wrong() -> None:
    def level(state: GripperState, now: float = 5.0) -> tuple[str, str]:
        health = gripper_health(state, now, stale_after=0.1, refused=0)
        return health.level, health.message

    good = GripperState(connected=True, report=Report(position=0.5), received=4.95)
    assert level(good) == ("ok", "working")
    assert level(good, now=5.2)[0] == "stale"
    assert level(GripperState(error="pulled out")) == ("error", "pulled out")
    hot = GripperState(connected=True, report=Report(position=0.5, fault=1), received=5.0)
    assert level(hot) == ("error", "gripper fault 1: too hot")
    lost = Report(position=0.5, motion=Motion.LOST_OBJECT)
    assert level(GripperState(connected=True, report=lost, received=5.0))[0] == "warn"
