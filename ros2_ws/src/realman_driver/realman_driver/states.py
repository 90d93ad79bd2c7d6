"""The states that a controller pushes, received in a thread of their own by the link process."""

import math
import socket
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass

from ate_core.priority import set_fifo
from realman_driver import records
from realman_driver.push import PushError, read_push

WATCH_PERIOD = 0.05
"""Longest wait for one packet [s]."""
LONGEST_PACKET = 12000
"""A longer packet is not forwarded; those of a controller end at 2047 [bytes]."""
REST_SPEED = 30
"""Joint speed that counts as rest, as the controller pushes it [0.01 RPM]."""
MOVE_STATUS = b'"move_J"'
"""Found in a state packet while the arm glides."""


@dataclass(frozen=True, kw_only=True)
class Motion:
    """Where an arm is and what it does there, all by one packet."""

    degrees: tuple[float, ...]
    """Joints [deg]."""
    rests: bool
    """Whether no joint turns."""
    glides: bool
    """Whether the controller carries out a planned move."""


class States:
    """The newest state of one arm, and what it tells."""

    def __init__(self, ip: str, joints: int, forward: Callable[[bytes, float], None]) -> None:
        """Nothing was pushed; `start` listens.

        Args:
            ip: of the controller; packets from elsewhere do not count.
            joints: number of joints.
            forward: told each new packet and when it came [s], in the receiving thread.
        """
        self._ip, self._joints = ip, joints
        self._forward = forward
        self._news = threading.Condition()
        self.packet = b""
        """The newest packet."""
        self.pushed_at = 0.0
        """When it came [s]; 0 before the first."""
        self.pushes = self.repeated = 0
        """Packets so far, and of these such as repeated the one before."""

    def start(self, push: socket.socket) -> None:
        """Receive from now on."""
        threading.Thread(target=self._receive, args=(push,), name="states", daemon=True).start()

    def take(self, packet: bytes, now: float) -> None:
        """Take one packet of the arm that came at ``now`` [s]."""
        self.pushes += 1
        if len(packet) > LONGEST_PACKET:
            return
        # A sensor of a live arm always differs in some last digit. The same packet again is
        # an old state, however new its arrival: it must age.
        if packet == self.packet:
            self.repeated += 1
        else:
            self.packet, self.pushed_at = packet, now
            self._forward(packet, now)
        with self._news:
            self._news.notify_all()

    def wait_for(self, condition: Callable[[], bool], seconds: float) -> bool:
        """Wait for something that pushes tell; False when it did not come in time."""
        with self._news:
            return self._news.wait_for(condition, seconds)

    def motion(self) -> Motion | None:
        """What the newest packet says of all joints; None when it does not, or not in numbers."""
        packet = self.packet
        try:
            push = read_push(packet, self._joints)
        except PushError:
            return None
        if not all(len(values) == self._joints for values in (push.position, push.speed)):
            return None
        if not all(map(math.isfinite, (*push.position, *push.speed))):
            return None
        return Motion(
            degrees=tuple(1e-3 * value for value in push.position),
            rests=max(map(abs, push.speed)) < REST_SPEED,
            glides=MOVE_STATUS in packet,
        )

    def joints(self) -> tuple[float, ...]:
        """Where the arm is [deg]; none when it is not said."""
        motion = self.motion()
        return () if motion is None else motion.degrees

    def at_rest(self, since: int) -> bool:
        """Whether the arm stands, as the second push after ``since`` of them says, or a later."""
        motion = self.motion() if self.pushes >= since + 2 else None
        return motion is not None and motion.rests

    def _receive(self, push: socket.socket) -> None:
        set_fifo()
        push.settimeout(WATCH_PERIOD)
        while True:
            try:
                packet, sender = push.recvfrom(records.LARGEST)
            except TimeoutError:
                continue
            if sender[0] == self._ip:
                self.take(packet, time.monotonic())
