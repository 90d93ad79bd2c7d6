"""What the driver tells of its arm: one place decides on the word for its state."""

from dataclasses import dataclass

from arm_driver.homing import HOME
from arm_driver.interface import ArmSample
from arm_driver.latch import ENDED_BY_ENABLE, ESTOP, FAULT, INACTIVE
from ate_core.safety import FilterOutput, FilterState
from ate_core.stop_latch import StopLatch

SETTLING = "the device's set point glides to the measured joints"
"""Why a ready arm takes no commands yet."""

STATE_NAMES = {
    FilterState.NO_FEEDBACK: "no_feedback",
    FilterState.IDLE: "connected",
    FilterState.TRACKING: "tracking",
    FilterState.HOLDING: "holding",
    FilterState.STOPPED: "stopped",
}


@dataclass(frozen=True, kw_only=True)
class DriverStatus:
    """What operators and other nodes are told."""

    state: str
    """disconnected, no_feedback, not_ready, connected, tracking, homing, holding, stopped or
    fault."""
    reason: str
    """Why the arm does not follow; empty while it does or nobody asks."""
    commander: str
    """Who holds the arm; empty when nobody does."""
    source: str = ""
    """Which publisher of that name."""
    active: bool = True
    """Whether the driver is activated."""
    mode: str = ""
    """What the device says it is doing, in its own word."""
    enabled: tuple[bool, ...] = ()
    """Whether each joint is enabled; empty where the device does not tell."""
    estop: str = ""
    """Reason of the emergency stop; empty while there is none."""
    fault: str = ""
    """Error of the device that is not cleared; empty when there is none."""
    obstacle: str = ""
    """Why the device follows no targets although it reports no error; empty when it is ready."""
    doubt: str = ""
    """Fields of the newest state that are implausible or frozen; empty when all are good."""
    guard: str = ""
    """What is near the arm that follows, and whether it slows it; empty while nothing is."""


@dataclass(frozen=True, kw_only=True)
class Condition:
    """What decides on the state beside stops and filter."""

    link_error: str = "not started"
    """Why there is no link; empty while there is one."""
    fresh: bool = False
    """Whether a good state is there that is not too old."""
    obstacle: str = ""
    """As in `DriverStatus`."""
    doubt: str = ""
    """As in `DriverStatus`."""
    settling: bool = False
    """Whether the device's set point still glides to the measured joints."""
    hiccup: bool = False
    """Whether it does so after a hiccup of stream or link, by which no commander loses the arm."""
    home_ended: str = ""
    """Why the last way home ended."""


def driver_status(
    stops: StopLatch, condition: Condition, output: FilterOutput, newest: ArmSample | None
) -> DriverStatus:
    """All of it.

    Args:
        stops: stops in force.
        condition: link, states and device.
        output: what the filter does.
        newest: newest state, good or not.
    """
    state, reason = state_and_reason(stops, condition, output)
    return DriverStatus(
        state=state,
        reason=reason,
        commander=output.commander,
        source=output.source,
        active=not stops.any_of(INACTIVE),
        mode="" if newest is None else newest.mode,
        enabled=() if newest is None else newest.enabled,
        estop=stops.reason_of(ESTOP),
        fault=stops.reason_of(FAULT),
        obstacle=condition.obstacle,
        doubt=condition.doubt,
        guard=output.reason if output.state is FilterState.TRACKING else "",
    )


def state_and_reason(
    stops: StopLatch, condition: Condition, output: FilterOutput
) -> tuple[str, str]:
    """The word for the state, and why the arm does not follow; the first row that applies."""
    estop = stops.reason_of(ESTOP)
    ended_by_enable = stops.first_of(*ENDED_BY_ENABLE)
    inactive = stops.reason_of(INACTIVE)
    rows = (
        (stops.any_of(FAULT), "fault", stops.reason_of(FAULT)),
        (bool(condition.link_error), "disconnected", condition.link_error),
        (bool(estop), "stopped", f"emergency stop: {estop}"),
        (bool(condition.obstacle), "not_ready", condition.obstacle),
        (bool(ended_by_enable), "stopped", ended_by_enable),
        (not condition.fresh, "no_feedback", condition.doubt or output.reason),
        (bool(inactive), "not_ready", inactive),
        (condition.settling, "holding" if condition.hiccup else "not_ready", SETTLING),
    )
    for applies, state, reason in rows:
        if applies:
            return state, reason
    if output.commander in (HOME, ""):
        if output.state is FilterState.TRACKING:
            return "homing", output.reason
        return STATE_NAMES[output.state], condition.home_ended or output.reason
    return STATE_NAMES[output.state], output.reason
