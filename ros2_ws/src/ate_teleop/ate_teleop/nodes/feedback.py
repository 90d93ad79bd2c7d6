"""The measured joints of the arm, polled by the control loop."""

import numpy as np
from numpy.typing import NDArray
from rclpy.callback_groups import CallbackGroup
from rclpy.node import Node
from sensor_msgs.msg import JointState

from ate_core.nodes.listening import decoded, guarded
from ate_core.nodes.qos import SENSOR_QOS
from ate_teleop.nodes.messages import ordered_positions

Array = NDArray[np.float64]


class PolledGroup(CallbackGroup):
    """Keeps its subscriptions away from the executor: somebody takes the messages by hand.

    Waking the executor 100 times per second to store one array costs about 7 % of a core.
    """

    def can_execute(self, entity: object) -> bool:
        """Never."""
        return False

    def beginning_execution(self, entity: object) -> bool:
        """Never."""
        return False

    def ending_execution(self, entity: object) -> None:
        """Nothing was begun."""


POLL_NS = 20_000_000
"""Least time between two looks at the queue; a fifth of the age at which joints are unknown."""


class ArmFeedback:
    """Newest measured joints with their age; `poll` belongs to one thread."""

    def __init__(
        self, node: Node, topic: str, joint_names: tuple[str, ...], timeout: float
    ) -> None:
        """Subscribe to `topic`; joints older than `timeout` [s] count as unknown."""
        self._names = joint_names
        self._timeout_ns = int(timeout * 1e9)
        self._group = PolledGroup()
        self._subscription = node.create_subscription(
            JointState,
            topic,
            lambda _: None,
            SENSOR_QOS,
            callback_group=self._group,
            raw=True,
        )
        self._use_guarded = guarded(node, topic, self._use)
        self._polled_ns = 0
        self._arrival_ns = 0
        self._stamp: tuple[int, int] | None = None
        self._positions: Array | None = None

    @property
    def stamp_ns(self) -> int:
        """Stamp of the newest joints [ns]."""
        seconds, nanoseconds = self._stamp or (0, 0)
        return seconds * 1_000_000_000 + nanoseconds

    def poll(self, now_ns: int) -> Array | None:
        """Joints (n,) [rad] if they are fresh at `now_ns` [ns, monotonic], else None."""
        if now_ns - self._polled_ns >= POLL_NS:
            self._polled_ns = now_ns
            self._take(now_ns)
        return self._positions if now_ns - self._arrival_ns <= self._timeout_ns else None

    def _take(self, now_ns: int) -> None:
        newest: bytes | None = None
        handle = self._subscription.handle
        with handle:
            while (taken := handle.take_message(JointState, True)) is not None:
                newest = taken[0]  # all but the last are never decoded
        if newest is not None:
            self._use_guarded(newest, now_ns)

    def _use(self, data: bytes, now_ns: int) -> None:
        message = decoded(JointState, data)
        stamp = (message.header.stamp.sec, message.header.stamp.nanosec)
        positions = ordered_positions(message, self._names)
        if positions is not None and stamp != self._stamp:  # a repeated one is no news
            self._stamp, self._arrival_ns, self._positions = stamp, now_ns, positions
