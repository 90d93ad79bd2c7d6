"""Error codes and modes of the controller: what they mean, and what to do. JSON manual 3.7.4."""

from collections.abc import Sequence

_LOOK = "look at the arm, then call arm/clear_errors"
_CABLES = "switch off, check the cables at the base, switch on"
_SEVERE = "stop using the arm, switch it off and on; if it comes back, call the maker"
_SLOWER = "call arm/clear_errors; if it comes back, lower safety.max_joint_speed"
_LIMIT = "guide the arm away from the limit by hand, then call arm/clear_errors"
_SUPPLY = "check the supply of the controller, then call arm/clear_errors"
_COOL = "let it cool down, lessen the load"
_TOOL = "check the plug at the flange, then call arm/clear_errors"
_FRAME = "restart the driver, which sets the frames"
_RESTART = "switch the arm off and on; if it comes back, call the maker"

SYSTEM_ERRORS: dict[int, tuple[str, str]] = {
    0x1001: ("joint communication", _SEVERE),
    0x1002: ("target outside limit", _LIMIT),
    0x1003: ("unreachable or singular", _LOOK),
    0x1004: ("real-time kernel", _SEVERE),
    0x1005: ("joint bus", _SEVERE),
    0x1006: ("planner kernel", _SEVERE),
    0x1007: ("joint overspeed", _SLOWER),
    0x1008: ("end board missing", _SEVERE),
    0x1009: ("speed limit", _SLOWER),
    0x100A: ("acceleration limit", _SLOWER),
    0x100B: ("brake not released", _RESTART),
    0x100C: ("overspeed while dragged", "guide it more slowly, then call arm/clear_errors"),
    0x100D: ("collision", "free the arm, then call arm/clear_errors"),
    0x100E: ("no such work frame", _FRAME),
    0x100F: ("no such tool frame", _FRAME),
    0x1010: ("joint lost enable", "call arm/clear_errors, which enables it again"),
    0x1011: ("arc planning", _LOOK),
    0x1012: ("self collision", "guide the arm apart by hand, then call arm/clear_errors"),
    0x1013: ("electronic fence", "guide the arm back inside, or change the fence at the pendant"),
    0x1014: ("soft limit", _LIMIT),
    0x2001: ("gripper", _TOOL),
    0x2002: ("hand", _TOOL),
    0x2003: ("six-axis sensor", _TOOL),
    0x2004: ("one-axis sensor", _TOOL),
    0x2005: ("output current", "unload the output at the flange, then call arm/clear_errors"),
    0x5003: ("controller hot", _COOL),
    0x5005: ("overcurrent", _SUPPLY),
    0x5006: ("undercurrent", _SUPPLY),
    0x5007: ("overvoltage", _SUPPLY),
    0x5008: ("undervoltage", _SUPPLY),
    0x5009: ("real-time link", _CABLES),
}
"""System error codes: meaning and remedy."""

SEVERE = frozenset({0x1001, 0x1004, 0x1005, 0x1006, 0x1008})
"""Codes after which the maker tells not to use the arm any further."""

JOINT_ERRORS: dict[int, tuple[str, str]] = {
    0x0001: ("FOC", _RESTART),
    0x0002: ("overvoltage", _SUPPLY),
    0x0004: ("undervoltage", _SUPPLY),
    0x0008: ("hot", _COOL),
    0x0010: ("start failed", _RESTART),
    0x0020: ("encoder", _RESTART),
    0x0040: ("overcurrent", "look for an obstacle or a heavy load, then call arm/clear_errors"),
    0x0080: ("software", _RESTART),
    0x0100: ("temperature sensor", _RESTART),
    0x0200: ("position over limit", _LIMIT),
    0x0400: ("wrong ID", _RESTART),
    0x0800: ("tracking", "look for an obstacle or a heavy load, then call arm/clear_errors"),
    0x1000: ("current sensing", _RESTART),
    0x2000: ("brake did not open", _RESTART),
    0x4000: ("command step", _SLOWER),
    0x8000: ("turn count lost", _RESTART),
}
"""Joint error bits: meaning and remedy. All of the upper four together: frames were lost."""
FRAMES_LOST = 0xF000

GUIDING = {
    "current_drag": "hand guiding",
    "sensor_drag": "hand guiding by the force sensor",
    "tech_demonstration": "a demonstration is being taught",
    "trajectory_reproducton": "a taught motion is played",
}
"""Modes in which a person or the pendant has the arm; the maker's spelling."""
PLANNED = frozenset(
    {"move_L", "move_J", "move_C", "move_S", "move_through_pose", "move_through_force_pose",
     "move_through_current", "move_init_position", "movev_canfd"}
)  # fmt: skip
"""Modes of motions that this driver does not ask for, but for move_J while a set point glides."""
GLIDE = "move_J"
STREAMED = "move_through_joint"
PAUSED = "pause"
READY = frozenset({"idle", STREAMED, "stop", "slow_stop"})
"""Modes in which targets are followed; both stops last until the next motion."""


def fault_text(errors: Sequence[int], joint_errors: Sequence[int]) -> str:
    """All errors as text; empty when there is none.

    Args:
        errors: system error codes.
        joint_errors: error bits, joint by joint.
    """
    unknown = ("unknown", "")
    texts = [f"0x{code:04X} {SYSTEM_ERRORS.get(code, unknown)[0]}" for code in errors]
    for joint, bits in enumerate(joint_errors, 1):
        if bits:
            texts.append(f"joint {joint} 0x{bits:04X} {' + '.join(_joint_names(bits))}")
    return ", ".join(texts)


def remedies(errors: Sequence[int], joint_errors: Sequence[int]) -> dict[str, str]:
    """What each error means and what to do, by its code.

    Args:
        errors: system error codes.
        joint_errors: error bits, joint by joint.
    """
    texts = {}
    for code in errors:
        meaning, remedy = SYSTEM_ERRORS.get(code, ("unknown", _LOOK))
        severe = "severe: " if code in SEVERE else ""
        texts[f"error 0x{code:04X}"] = f"{severe}{meaning}; {remedy}"
    for joint, bits in enumerate(joint_errors, 1):
        if bits & FRAMES_LOST == FRAMES_LOST:
            texts[f"error 0x{FRAMES_LOST:04X} of joint {joint}"] = f"frames lost; {_CABLES}"
            bits &= ~FRAMES_LOST
        for bit, (meaning, remedy) in JOINT_ERRORS.items():
            if bits & bit:
                texts[f"error 0x{bit:04X} of joint {joint}"] = f"{meaning}; {remedy}"
    return texts


def _joint_names(bits: int) -> list[str]:
    names = []
    if bits & FRAMES_LOST == FRAMES_LOST:
        names, bits = ["frames lost"], bits & ~FRAMES_LOST
    return [name for bit, (name, _) in JOINT_ERRORS.items() if bits & bit] + names
