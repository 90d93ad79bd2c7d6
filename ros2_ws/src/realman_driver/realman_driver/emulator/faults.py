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
cut            the TCP links are reset at once; new ones are refused
restart        as after a power cycle: links closed, nothing heard for ``seconds``, then a
               new start from the measured joints
joint_error    error bits ``code`` (default 0x0040) in ``joint`` 1..7 until cleared
collision      system error 0x100D until cleared
system_error   system error ``code`` (default 0x2003, force sensor) until cleared
clear          ends all timed faults
=============  ==========================================================================

The command "status" answers the counters: clients, frames, refused frames, controlled stops,
errors, status, set point; "trace" the last set points and measured joints as rows of
``[time, q1..q7, m1..m7]``.
"""

import math
from collections import deque
from collections.abc import Mapping
from typing import Any

from ate_core.errors import UsageError
from realman_driver.emulator import wire
from realman_driver.emulator.controller import COLLISION, SENSOR_FAULT, Controller
from realman_driver.emulator.links import Line
from realman_driver.emulator.model import JOINTS

TIMED = ("stall", "stop_reading", "garbage", "slow", "nan", "drop_udp", "frozen", "cut", "restart")
OVERCURRENT = 0x0040  # joint code of the manual's error list


class Faults:
    """Which faults are on. Time is an argument."""

    def __init__(self) -> None:
        self._until: dict[str, float] = {}
        self.delay = 0.0

    def active(self, name: str, now: float) -> bool:
        """Whether a timed fault is on."""
        return self._until.get(name, -math.inf) > now

    @property
    def silent(self) -> bool:
        """Whether no fault was ever set or all were cleared (the cheap common case)."""
        return not self._until

    def apply(self, request: Mapping[str, Any], controller: Controller, now: float) -> str:
        """Switch a fault on and return its name.

        Raises:
            UsageError: unknown name or value out of bounds.
        """
        name = str(request.get("name"))
        if name == "clear":
            self._until.clear()
        elif name == "joint_error":
            joint = int(request.get("joint", 1))
            if not 1 <= joint <= JOINTS:
                raise UsageError(f"joint is {joint}; need 1..{JOINTS}")
            controller.raise_joint_error(joint - 1, int(request.get("code", OVERCURRENT)), now)
        elif name == "collision":
            controller.raise_error(COLLISION, now)
        elif name == "system_error":
            controller.raise_error(int(request.get("code", SENSOR_FAULT)), now)
        elif name in TIMED:
            seconds = float(request.get("seconds", 0.0))
            self._until[name] = now + seconds if seconds > 0 else math.inf
            self.delay = float(request.get("delay", 0.3))
        else:
            raise UsageError(
                f"fault is {name!r}; need one of {', '.join(TIMED)}, joint_error, collision, "
                "system_error, clear"
            )
        return name


class Outbox:
    """Replies on their way out: as they are, cut in the middle, or late."""

    def __init__(self, faults: Faults) -> None:
        self._faults = faults
        self._late: deque[tuple[float, Line, bytes]] = deque()

    def send(self, line: Line, data: bytes, now: float) -> None:
        """Send a reply, or keep it for later while the fault "slow" is on."""
        if self._faults.active("garbage", now):
            data = data[: len(data) // 2] + wire.LINE_END
        if self._faults.active("slow", now):
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
