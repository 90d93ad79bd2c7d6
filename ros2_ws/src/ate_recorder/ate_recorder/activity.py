"""Whether anything was done in an episode: commands that came, joints and grippers that moved."""

from __future__ import annotations

import struct

import numpy as np
from numpy.typing import NDArray
from rosbags.serde import SerdeError

from ate_core.resample import NANOSECONDS
from ate_core.streams import StreamSpec
from ate_recorder.bag_writer import TYPESTORE

LOOK_PERIOD = 0.1
"""Time between two looks at where a device is [s]; decoding each message would cost a core's
tenth."""
LEAST_MOTION = {"joints": 0.01, "ratio": 0.05}
"""Range of a joint [rad], and of a gripper [ratio], below which it stood still."""
_DAMAGED = (ValueError, LookupError, TypeError, AssertionError, struct.error, SerdeError)

Array = NDArray[np.float64]


class Activity:
    """Sees the raw messages of one episode; from one thread."""

    def __init__(self) -> None:
        self._commanded = False
        self._moved = False
        self._looked_ns: dict[str, int] = {}
        self._ranges: dict[str, tuple[Array, Array]] = {}

    def add(self, spec: StreamSpec, data: bytes, receive_ns: int) -> None:
        """Take one message with its receive time [ns]."""
        if spec.kind == "joint_command":
            self._commanded = True
        if self._moved or not spec.required or spec.kind not in LEAST_MOTION:
            return
        looked_ns = self._looked_ns.get(spec.name)
        if looked_ns is None or receive_ns - looked_ns >= LOOK_PERIOD * NANOSECONDS:
            self._looked_ns[spec.name] = receive_ns
            self._look(spec, data)

    def lack(self) -> str:
        """Return what makes the episode empty, with the remedy; empty text where nothing does."""
        if not self._commanded:
            return "no arm was commanded; hold the shoulder button to move one"
        if self._ranges and not self._moved:
            return "no arm and no gripper has moved; look at arm/status"
        return ""

    def _look(self, spec: StreamSpec, data: bytes) -> None:
        position = _positions(data)
        if position is None or not position.size:
            self._moved = True  # nobody can say that it stood still
            return
        low, high = self._ranges.get(spec.name, (position, position))
        if low.shape != position.shape:
            self._moved = True
            return
        low, high = np.fmin(low, position), np.fmax(high, position)
        self._ranges[spec.name] = low, high
        self._moved = bool(np.any(high - low > LEAST_MOTION[spec.kind]))


def _positions(data: bytes) -> Array | None:
    """The positions of a ``sensor_msgs/msg/JointState``; None where it cannot be read."""
    try:
        message = TYPESTORE.deserialize_cdr(data, "sensor_msgs/msg/JointState")
        return np.array(message.position, dtype=np.float64)  # type: ignore[attr-defined]
    except _DAMAGED:
        return None
