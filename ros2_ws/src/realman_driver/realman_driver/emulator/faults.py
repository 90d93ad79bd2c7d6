"""Faults of a running emulated controller: ``{"command": "fault", "name": "stall", ...}``.

=============  ==========================================================================
``name``       effect for ``seconds`` (default 0: until the name "clear")
=============  ==========================================================================
stall          no TCP command is read, no reply and no UDP packet leaves; the arm stands
stop_reading   TCP is not read, the UDP push goes on
garbage        every reply and every UDP packet is cut in the middle
slow           every reply is ``delay`` [s] late (default 0.3)
nan            the joint positions of the UDP push are not numbers
drop_udp       no UDP packet leaves
frozen         every UDP packet repeats the last one
field          ``field`` of the UDP push (a name of the protocol, "err" too) is ``value`` (default
               NaN), or of ``joint`` 1..7 only; with ``count`` a list of that many
missing        ``field`` of the UDP push is null
freeze_field   ``field`` of the UDP push keeps its present values
cut            the TCP links are reset at once; new ones are refused
reset          the TCP links are reset at once, and again every ``period`` [s] if one is given
wedge          connections are accepted and never answered; the UDP push goes on
partial        every connection gets its first ``replies`` (default 5) replies and no more
slow_clear     replies that an error was cleared are ``delay`` [s] late (default 2)
stuck          system error ``code`` (default 0x100D) comes back as often as it is cleared
restart        as after a power cycle: links closed, nothing heard for ``seconds``, then a
               new start from the measured joints
hand_guiding   a hand moves joint 1 at ``speed`` [rad/s] (default 0.1); targets are ignored
pendant        the pendant moves joint 1 by ``angle`` [rad] (default 0.2); ends by itself
pendant_stop   somebody stops the arm at the pendant, gently with ``slow`` 1 (default 0)
disable_joint  ``joint`` 1..7 is off until a client enables it
joint_error    error bits ``code`` (default 0x0040) in ``joint`` 1..7 until cleared
collision      system error 0x100D until cleared
system_error   system error ``code`` (default 0x2003, force sensor) until cleared
identity       ``field`` of what new clients are told is ``value``: product, firmware,
               d7 [0.001 mm], max_pos, min_pos [0.001 deg], max_speed [0.001 RPM], run_mode, power,
               install [deg about x], work_frame [0.001 mm along x]
tool           the tool ``tool_name`` (default gripper) is stored with ``payload`` [g] and
               ``length`` [0.001 mm]
lock_tools     stored tools cannot be changed
clear          ends all timed faults
=============  ==========================================================================

The command "status" answers the counters: clients, frames, refused frames, controlled stops,
errors, status, set point, and the commands that changed something (``written``); "trace" the last
set points and measured joints as rows of ``[time, q1..q7, m1..m7]``.
"""

import json
import math
from collections import Counter, deque
from collections.abc import Mapping
from typing import Any

import numpy as np

from ate_core.errors import UsageError
from realman_driver.emulator import wire
from realman_driver.emulator.controller import COLLISION, SENSOR_FAULT, Controller
from realman_driver.emulator.links import Line
from realman_driver.emulator.model import JOINTS
from realman_driver.emulator.wire import FORCE_FIELDS, JOINT_FIELDS

TIMED = (
    "stall", "stop_reading", "garbage", "slow", "nan", "drop_udp", "frozen", "cut", "restart",
    "reset", "wedge", "partial", "slow_clear", "stuck", "hand_guiding",
)  # fmt: skip
DEAF = ("stall", "stop_reading", "restart")
FIELD_FAULTS = ("field", "missing", "freeze_field")
OVERCURRENT = 0x0040  # joint code of the manual's error list


class Faults:
    """Which faults are on. Time is an argument."""

    def __init__(self) -> None:
        self._until: dict[str, float] = {}
        self._fields: dict[str, tuple[str, float, Mapping[str, Any]]] = {}
        self._frozen: dict[str, object] = {}
        self.delay = 0.0
        self.speed = 0.0
        """Of the guiding hand [rad/s]."""
        self.period = 0.0
        """Between two resets; 0: only one [s]."""
        self.replies = 0
        """That a connection gets while it is answered in part."""
        self.code = COLLISION
        """Of the error that is stuck."""

    def active(self, name: str, now: float) -> bool:
        """Whether a timed fault is on."""
        return self._until.get(name, -math.inf) > now

    def deaf(self, now: float) -> bool:
        """Whether a fault keeps the controller from reading."""
        return not self.silent and any(self.active(name, now) for name in DEAF)

    @property
    def silent(self) -> bool:
        """Whether no fault was ever set or all were cleared (the cheap common case)."""
        return not self._until and not self._fields

    def spoil(self, fields: dict[str, object], now: float) -> dict[str, object]:
        """The lists of a state datagram with the faults of single fields."""
        for name, (kind, until, request) in list(self._fields.items()):
            if until <= now:
                del self._fields[name]
                self._frozen.pop(name, None)
            elif kind == "freeze_field":
                fields[name] = self._frozen.setdefault(name, fields[name])
            elif kind == "missing":
                fields[name] = "null"
            else:
                fields[name] = json.dumps(_spoilt(fields[name], request))
        if self.active("nan", now):
            fields["joint_position"] = json.dumps([math.nan] * JOINTS)
        return fields

    def apply(self, request: Mapping[str, Any], controller: Controller, now: float) -> str:
        """Switch a fault on and return its name.

        Raises:
            UsageError: unknown name or value out of bounds.
        """
        name = str(request.get("name"))
        seconds = float(request.get("seconds", 0.0))
        until = now + seconds if seconds > 0 else math.inf
        if name == "clear":
            self._until.clear()
            self._fields.clear()
            self._frozen.clear()
        elif name in (
            "joint_error",
            "disable_joint",
            "collision",
            "system_error",
            "pendant",
            "pendant_stop",
        ):
            _happen(name, request, controller, now)
        elif name in FIELD_FAULTS:
            field = str(request.get("field"))
            if field not in (*JOINT_FIELDS, *FORCE_FIELDS, "err"):
                raise UsageError(f"field is {field!r}; need one of the push, or err")
            json.dumps(_spoilt([0] * JOINTS, request))  # refused now, rather than in a tick
            self._fields[field] = (name, until, request)
        elif name in TIMED:
            self._until[name] = until
            self.delay = float(request.get("delay", 2.0 if name == "slow_clear" else 0.3))
            self.speed = float(request.get("speed", 0.1))
            self.period = float(request.get("period", 0.0))
            self.replies = int(request.get("replies", 5))
            self.code = int(request.get("code", COLLISION))
        else:
            raise UsageError(
                f"fault is {name!r}; need one of {', '.join((*TIMED, *FIELD_FAULTS))}, pendant, "
                "pendant_stop, disable_joint, joint_error, collision, system_error, identity, "
                "tool, lock_tools, clear"
            )
        return name


def _happen(name: str, request: Mapping[str, Any], controller: Controller, now: float) -> None:
    """Something that is once and stays until somebody does something about it."""
    joint = int(request.get("joint", 1))
    if not 1 <= joint <= JOINTS:
        raise UsageError(f"joint is {joint}; need 1..{JOINTS}")
    if name == "joint_error":
        controller.raise_joint_error(joint - 1, int(request.get("code", OVERCURRENT)), now)
    elif name == "disable_joint":
        controller.enable_joint(joint - 1, False, now)
    elif name == "collision":
        controller.raise_error(COLLISION, now)
    elif name == "pendant_stop":
        controller.stop(now, "pendant", slow=bool(request.get("slow", 0)))
    elif name == "system_error":
        controller.raise_error(int(request.get("code", SENSOR_FAULT)), now)
    else:
        angle = float(request.get("angle", 0.2))
        controller.move(controller.step(now) + angle * np.eye(JOINTS)[0], 10.0, now)


def _spoilt(values: object, request: Mapping[str, Any]) -> object:
    value = request.get("value", math.nan)
    if "count" in request:
        return [value] * min(int(request["count"]), 400)
    if not isinstance(values, list):
        return value
    joint = int(request.get("joint", 0))
    return [value if joint in (0, place) else kept for place, kept in enumerate(values, 1)]


def change_identity(replies: dict[str, dict[str, Any]], request: Mapping[str, Any]) -> None:
    """Let new clients be told something else; see ``identity`` above.

    Raises:
        UsageError: unknown field.
    """
    field, value = str(request.get("field")), request.get("value")
    software = replies["get_arm_software_info"]
    whole = value if isinstance(value, str) else int(value or 0)
    if field == "product":
        software["Product_version"] = str(value)
    elif field == "firmware":
        software["ctrl_info"] = software["ctrl_info"] | {"version": str(value)}
    elif field == "d7":
        replies["get_DH_data"]["joint_7"][2] = whole
    elif field in ("max_pos", "min_pos"):
        replies[f"get_joint_{field}"][field] = [whole] * JOINTS
    elif field == "max_speed":
        replies["get_joint_max_speed"]["joint_speed"] = [whole] * JOINTS
    elif field == "run_mode":
        replies["get_arm_run_mode"]["mode"] = whole
    elif field == "power":
        replies["get_arm_power_state"]["power_state"] = whole
    elif field == "install":
        replies["get_install_pose"]["pose"] = [whole, 0, 0]
    elif field == "work_frame":
        replies["get_current_work_frame"]["pose"] = [whole, 0, 0, 0, 0, 0]
    else:
        raise UsageError(f"identity has no field {field!r}")


def stored_tool(request: Mapping[str, Any]) -> dict[str, Any]:
    """A tool as the controller stores it; see ``tool`` above."""
    length = int(request.get("length", 160000))
    return {
        "tool_name": str(request.get("tool_name", "gripper")),
        "pose": [0, 0, length, 0, 0, 0],
        "payload": int(request.get("payload", 430)),
        "position": [0, 0, length // 2],
    }


class Outbox:
    """Replies on their way out: as they are, cut in the middle, or late."""

    def __init__(self, faults: Faults) -> None:
        self._faults = faults
        self._late: deque[tuple[float, Line, bytes]] = deque()
        self._sent: Counter[Line] = Counter()

    def send(self, line: Line, command: str, data: bytes, now: float) -> None:
        """Send a reply, keep it for later, or keep it back, as the faults say."""
        if self._faults.active("wedge", now):
            return
        if self._faults.active("partial", now):
            self._sent[line] += 1
            if self._sent[line] > self._faults.replies:
                return
        if self._faults.active("garbage", now):
            data = data[: len(data) // 2] + wire.LINE_END
        clearing = command in ("clear_system_err", "set_joint_clear_err")
        if self._faults.active("slow", now) or (
            clearing and self._faults.active("slow_clear", now)
        ):
            self._late.append((now + self._faults.delay, line, data))
        else:
            line.send(data)

    def flush(self, now: float) -> None:
        """Send the late replies that are due."""
        while self._late and self._late[0][0] <= now:
            _, line, data = self._late.popleft()
            line.send(data)

    def clear(self) -> None:
        """Forget them, as their links are gone."""
        self._late.clear()
        self._sent.clear()
