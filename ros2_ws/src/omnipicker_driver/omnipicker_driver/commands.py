"""Which gripper commands are let through, and what the diagnostics say; no ROS, no clock."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

from ate_core.errors import SafetyError
from omnipicker_driver.protocol import Fault, Motion
from omnipicker_driver.state import GripperState


@dataclass(frozen=True, kw_only=True)
class Health:
    """One line of diagnostics."""

    level: str
    """"ok", "warn", "error" or "stale"."""
    message: str
    """What is wrong and what to do; "working" when nothing is."""
    values: dict[str, str]
    """Numbers behind it."""


def accepted_ratio(
    positions: Sequence[float], stamp_ns: int, now_ns: int, max_age: float
) -> float:
    """The opening of a command, clamped to 0..1.

    Args:
        positions: positions of the command; one opening ratio.
        stamp_ns: stamp of the command [ns].
        now_ns: time on the same clock [ns].
        max_age: largest distance of the two [s].

    Raises:
        SafetyError: wrong number of positions, not finite, or a stamp too far from now.
    """
    if len(positions) != 1:
        raise SafetyError(f"gripper command has {len(positions)} positions; need 1 opening ratio")
    ratio = float(positions[0])
    if not math.isfinite(ratio):
        raise SafetyError(f"gripper command is {ratio}; need a finite ratio 0..1")
    age = (now_ns - stamp_ns) / 1e9
    if abs(age) > max_age:
        raise SafetyError(
            f"gripper command is {age:.3f} s old; need at most {max_age} s: stamp it when "
            "sending, and keep the clocks of the machines together"
        )
    return min(max(ratio, 0.0), 1.0)


def gripper_health(state: GripperState, now: float, stale_after: float, refused: int) -> Health:
    """Judge a gripper at ``now`` (monotonic) [s].

    Args:
        state: newest knowledge.
        now: monotonic time [s].
        stale_after: age of a report from which it counts no longer [s].
        refused: commands refused so far.
    """
    level, message = _judge(state, now, stale_after)
    values = {
        "answers": str(state.answers),
        "unanswered polls": str(state.unanswered),
        "openings of the port": str(state.openings),
        "dropped bytes": str(state.dropped_bytes),
        "refused commands": str(refused),
    }
    if state.report is not None:
        values["age of the report [s]"] = f"{state.age(now):.3f}"
        values["position [ratio]"] = f"{state.report.position:.3f}"
    return Health(level=level, message=message, values=values)


def _judge(state: GripperState, now: float, stale_after: float) -> tuple[str, str]:
    if not state.connected:
        return "error", state.error or "the port is not open yet"
    if not state.fresh(now, stale_after) or state.report is None:
        return "stale", "the gripper does not answer: check its power, wiring and device_id"
    report = state.report
    if report.fault:
        known = [fault for fault in Fault if fault == report.fault]
        name = known[0].name.lower().replace("_", " ") if known else "unknown"
        return "error", f"gripper fault {report.fault}: {name}"
    if report.motion == Motion.LOST_OBJECT:
        return "warn", "the held object was lost"
    return "ok", "working"
