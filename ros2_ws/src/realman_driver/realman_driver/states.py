"""The states that a controller pushes, received in a thread of their own by the link process."""

import json
import socket
import threading
import time
from collections.abc import Callable

from ate_core.priority import set_fifo
from realman_driver import records

WATCH_PERIOD = 0.05
"""Longest wait for one packet [s]."""
LONGEST_PACKET = 12000
"""A longer packet is not forwarded; those of a controller end at 2047 [bytes]."""
REST_SPEED = 30
"""Joint speed that counts as rest, as the controller pushes it [0.01 RPM]."""


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

    def told(self, field: str, unit: float) -> tuple[float, ...]:
        """Joint values of the newest packet; none when it says none."""
        try:
            values = json.loads(self.packet)["joint_status"][field]
            return tuple(float(value) * unit for value in values)
        except (ValueError, TypeError, LookupError, RecursionError, OverflowError):
            return ()

    def joints(self) -> tuple[float, ...]:
        """Where the arm is [deg]; none when it is not said."""
        return self.told("joint_position", 1e-3)[: self._joints]

    def at_rest(self, since: int) -> bool:
        """Whether the arm stands, as the second push after ``since`` of them says, or a later."""
        speeds = self.told("joint_speed", 1.0) if self.pushes >= since + 2 else ()
        return bool(speeds) and max(map(abs, speeds)) < REST_SPEED

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
