"""What operators, other nodes and the diagnostics are told about a gripper; no ROS, no clock."""

from dataclasses import dataclass

from ate_core.health import Health, Level
from omnipicker_driver.gate import GripperGate
from omnipicker_driver.grasp import ObjectState
from omnipicker_driver.protocol import MAX_FORCE, Fault
from omnipicker_driver.state import GripperState

FAULTS = {
    Fault.TOO_HOT: "too hot: let it cool, and grip with less force",
    Fault.TOO_FAST: "too fast: lower the speed of the gripper in cell.yaml",
    Fault.INITIALISATION_FAILED: "initialisation failed: free the fingers, switch it off and on",
    Fault.LIMIT_PASSED: "limit passed: free the fingers, switch it off and on",
}
"""Meaning and remedy of a fault code."""
LEVELS: dict[str, Level] = {
    "disconnected": "error",
    "no_feedback": "stale",
    "fault": "error",
    "stopped": "warn",
    "not_ready": "warn",
}
"""State -> level of the diagnostics; "ok" for the others."""


@dataclass(frozen=True, kw_only=True)
class GripperStatus:
    """What is published as JSON; docs/topics.md documents the fields."""

    state: str
    """disconnected, no_feedback, not_ready, stopped, fault, tracking, holding or connected."""
    reason: str
    """Why the gripper does not follow, with the remedy; empty while it does or nobody asks."""
    commander: str
    """Who holds the gripper; empty when nobody does."""
    source: str
    """Which publisher of that name."""
    holding: bool
    """Whether an object is held."""
    object: str
    """none, held or lost."""
    object_width: float | None
    """Opening at which the object is or was held [m]; None without one."""
    object_force: float | None
    """Force on the object, from motor torque [N]; None without one."""
    fault: int
    """Fault code of the gripper; 0: none."""


def fault_text(fault: int) -> str:
    """Meaning and remedy of a fault code; empty for none."""
    if not fault:
        return ""
    known = {int(code): text for code, text in FAULTS.items()}
    return f"gripper fault {fault}: {known.get(fault, 'unknown')}"


def silence_text(state: GripperState, now: float, stale_after: float) -> str:
    """Why there is no fresh report; empty when there is one."""
    if not state.connected:
        return state.error or "the port is not open yet"
    if state.target is not None and state.fresh(now, stale_after):
        return ""
    if state.doubt:
        return f"the reports of the gripper cannot be true: {state.doubt}"
    if state.strangers:
        ids = ", ".join(map(str, state.strangers))
        return f"another device answers, with id {ids}: correct device_id in cell.yaml"
    closes = "" if state.report else "; if it hears us it closes meanwhile, 0.7 mm in a second"
    return (
        f"the gripper does not answer for {stale_after * 1e3:.0f} ms: check its power, wiring, "
        f"transport and device_id{closes}"
    )


def status_of(
    state: GripperState, gate: GripperGate, now: float, *,
    inactive: str, stale_after: float, command_timeout: float, stroke: float,
) -> GripperStatus:  # fmt: skip
    """The status at ``now`` (monotonic) [s].

    Args:
        state: newest knowledge.
        gate: decides on the commands.
        now: present monotonic time [s].
        inactive: why the driver is not active; empty when it is.
        stale_after: age from which a report no longer counts [s].
        command_timeout: silence after which the commander is not followed any more [s].
        stroke: opening at ratio 1 [m].
    """
    silent = silence_text(state, now, stale_after)
    fault = state.report.fault if state.report is not None else 0
    name, reason = _state(state, gate, now, silent, inactive, command_timeout)
    grasp = state.grasp
    known = grasp.object is not ObjectState.NONE
    return GripperStatus(
        state=name,
        reason=reason,
        commander=gate.commander(now),
        source=gate.source,
        holding=grasp.holding,
        object=grasp.object.value,
        object_width=round(grasp.opening * stroke, 4) if known else None,
        object_force=round(grasp.force * MAX_FORCE, 1) if known else None,
        fault=int(fault),
    )


def health_of(status: GripperStatus, state: GripperState, now: float, refused: int) -> Health:
    """The diagnostics at ``now`` (monotonic) [s]; ``refused`` counts commands."""
    level: Level = LEVELS.get(status.state, "ok")
    message = f"{status.state}: {status.reason}" if status.reason else status.state
    if level == "ok" and status.object == ObjectState.LOST:
        level, message = "warn", "the held object was lost: open the gripper and grasp again"
    values = {
        "answers": str(state.answers),
        "unanswered polls": str(state.unanswered),
        "implausible reports": str(state.doubted),
        "openings of the port": str(state.openings),
        "dropped bytes": str(state.dropped_bytes),
        "late bytes": str(state.late_bytes),
        "echoes of the adapter": str(state.echoes),
        "refused commands": str(refused),
        "object": status.object,
    }
    if state.report is not None:
        values["age of the report [s]"] = f"{state.age(now):.3f}"
        values["position [ratio]"] = f"{state.report.position:.3f}"
    if state.doubt:
        values["doubt"] = state.doubt
    return Health(level=level, message=message, values=values)


def _state(
    state: GripperState, gate: GripperGate, now: float, silent: str, inactive: str, timeout: float
) -> tuple[str, str]:
    if not state.connected:
        return "disconnected", state.error or inactive or silent
    if silent:
        return "no_feedback", silent
    assert state.report is not None
    if state.report.fault:
        return "fault", fault_text(state.report.fault)
    if gate.stop_reason:
        return "stopped", gate.stop_reason
    if inactive:
        return "not_ready", inactive
    commander = gate.commander(now)
    if not commander:
        return "connected", gate.refusal
    if gate.silence(now) <= timeout:
        return "tracking", ""
    return "holding", f"no fresh command of {commander} for {timeout * 1e3:.0f} ms"
