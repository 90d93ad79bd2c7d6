"""One state packet of the controller, read from its JSON. Vendor units; nothing is believed."""

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

STATE_NAME = "realtime_arm_joint_state"


OPTIONAL = ("joint_temperature", "joint_voltage", "force", "zero_force")
"""Lists without which the joints are still known."""


MOST_ERRORS = 24
"""The error list has room for so many."""
LARGEST_CODE = 0xFFFF
LONGEST_MODE = 40
"""Characters of ``arm_current_status``; the longest known one has 19."""


class PushError(ValueError):
    """A packet that is no state at all: no JSON, or of another kind."""


@dataclass(frozen=True, kw_only=True)
class Push:
    """What a packet says, in the integers of the wire; a field it lacks is empty."""

    mode: str
    """``arm_current_status``."""
    errors: tuple[int, ...]
    """System error codes, without zeros, each once."""
    current: tuple[float, ...]
    """Motor currents [0.001 mA]."""
    enabled: tuple[bool, ...]
    """Whether each joint is enabled."""
    joint_errors: tuple[int, ...]
    """Error bits of each joint."""
    position: tuple[float, ...]
    """Joint angles [0.001 deg]."""
    temperature: tuple[float, ...]
    """Joint temperatures [0.001 deg C]."""
    voltage: tuple[float, ...]
    """Joint voltages [0.001 V]."""
    speed: tuple[float, ...]
    """Joint speeds [0.01 RPM]."""
    force: tuple[float, ...]
    """Raw force and moment [0.001 N, 0.001 N m]."""
    zero_force: tuple[float, ...]
    """Force and moment less the offset."""
    problems: tuple[str, ...]
    """Fields that are missing or of another type, with what they are."""


def read_push(packet: bytes, joints: int) -> Push:
    """Read one packet.

    Args:
        packet: the datagram.
        joints: number of joints of the arm; further places are ignored.

    Raises:
        PushError: it is no state packet.
    """
    try:
        message = json.loads(packet)
    except (ValueError, RecursionError) as error:
        raise PushError(f"state packet is not JSON: {error}"[:160]) from None
    if not isinstance(message, dict) or message.get("state") != STATE_NAME:
        raise PushError(f"packet {packet[:40]!r} is no state of an arm")
    problems: list[str] = []

    def numbers(part: Mapping[str, Any], name: str, count: int) -> tuple[float, ...]:
        values = part.get(name)
        if isinstance(values, list) and len(values) >= count:
            try:
                return tuple(_number(value) for value in values[:count])
            except (TypeError, OverflowError):
                pass
        if name not in OPTIONAL:
            problems.append(f"{name} is {_short(values)}, need {count} numbers")
        return ()

    status, force = _part(message, "joint_status"), _part(message, "six_force_sensor")
    mode = message.get("arm_current_status")
    if not isinstance(mode, str) or not mode.isprintable() or len(mode) > LONGEST_MODE:
        problems.append(f"arm_current_status is {_short(mode)}, need a word")
        mode = ""
    told = numbers(status, "joint_en_flag", joints)
    flags = tuple(flag == 1 for flag in told)
    if any(flag not in (0.0, 1.0) for flag in told):
        problems.append(f"joint_en_flag is {list(told)}, need 0 or 1 each")
    return Push(
        mode=mode,
        errors=_errors(message, problems),
        current=numbers(status, "joint_current", joints),
        enabled=flags,
        joint_errors=tuple(_bits(v) for v in numbers(status, "joint_err_code", joints)),
        position=numbers(status, "joint_position", joints),
        temperature=numbers(status, "joint_temperature", joints),
        voltage=numbers(status, "joint_voltage", joints),
        speed=numbers(status, "joint_speed", joints),
        force=numbers(force, "force", 6),
        zero_force=numbers(force, "zero_force", 6),
        problems=tuple(problems),
    )


def _errors(message: Mapping[str, Any], problems: list[str]) -> tuple[int, ...]:
    """System errors, of the list and of the two fields that name the first.

    Older firmware has no list; which of them tells a fault in a stream of targets is not known.
    """
    listed = message.get("err")
    if listed is None:
        listed = []
    if not isinstance(listed, list):
        problems.append(f"err is {_short(listed)}, need a list of codes")
        return ()
    if len(listed) > MOST_ERRORS:
        problems.append(f"err has {len(listed)} entries, possible are {MOST_ERRORS}")
    codes: list[int] = []
    for entry in (*listed, message.get("arm_err") or 0, message.get("sys_err") or 0):
        try:
            code = int(entry, 0) if isinstance(entry, str) else int(_number(entry))
            if code != entry and not isinstance(entry, str):
                raise ValueError
            if not 0 <= code <= LARGEST_CODE:
                raise ValueError
        except (TypeError, ValueError, OverflowError):
            problems.append(f"err has the entry {_short(entry)}, need 1 to {LARGEST_CODE}")
            continue
        if code and code not in codes:
            codes.append(code)
    return tuple(codes)


def _number(value: object) -> float:
    if isinstance(value, int | float):
        return float(value)
    raise TypeError(f"{value!r} is no number")


def _bits(value: float) -> int:
    """Error bits; what is no code counts as all of them."""
    return int(value) if math.isfinite(value) and 0 <= value <= LARGEST_CODE else LARGEST_CODE


def _part(message: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    part = message.get(name)
    return part if isinstance(part, dict) else {}


def _short(value: object) -> str:
    return repr(value)[:40]
