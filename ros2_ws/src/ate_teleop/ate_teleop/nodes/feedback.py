"""What the arms measure, joints and force, polled by the control loop."""

import math
from collections.abc import Callable
from typing import Any

import numpy as np
from geometry_msgs.msg import WrenchStamped
from numpy.typing import NDArray
from rclpy.callback_groups import CallbackGroup
from rclpy.node import Node
from sensor_msgs.msg import JointState

from ate_core.contract import Cell
from ate_core.nodes.listening import decoded, guarded
from ate_core.nodes.qos import SENSOR_QOS
from ate_teleop.distance_rows import DistanceRows
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


class PolledTopic:
    """The newest message of a topic, taken by one thread that asks for it now and then."""

    def __init__(self, node: Node, kind: type[Any], topic: str, use: Callable[..., None]) -> None:
        """Subscribe to `topic`; `use` gets the newest bytes and the time [ns, monotonic]."""
        self._kind = kind
        self._group = PolledGroup()
        self._subscription = node.create_subscription(
            kind,
            topic,
            lambda _: None,
            SENSOR_QOS,
            callback_group=self._group,
            raw=True,
        )
        self._use = guarded(node, topic, use)
        self._polled_ns = 0

    def poll(self, now_ns: int) -> None:
        """Use what came since the last look, unless that was just before."""
        if now_ns - self._polled_ns < POLL_NS:
            return
        self._polled_ns = now_ns
        newest: bytes | None = None
        handle = self._subscription.handle
        with handle:
            while (taken := handle.take_message(self._kind, True)) is not None:
                newest = taken[0]  # all but the last are never decoded
        if newest is not None:
            self._use(newest, now_ns)


class ArmFeedback:
    """Newest measured joints with their age; `poll` belongs to one thread."""

    def __init__(
        self, node: Node, topic: str, joint_names: tuple[str, ...], timeout: float
    ) -> None:
        """Subscribe to `topic`; joints older than `timeout` [s] count as unknown."""
        self._names = joint_names
        self._timeout_ns = int(timeout * 1e9)
        self._topic = PolledTopic(node, JointState, topic, self._use)
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
        self._topic.poll(now_ns)
        return self._positions if now_ns - self._arrival_ns <= self._timeout_ns else None

    def _use(self, data: bytes, now_ns: int) -> None:
        message = decoded(JointState, data)
        stamp = (message.header.stamp.sec, message.header.stamp.nanosec)
        positions = ordered_positions(message, self._names)
        if positions is not None and stamp != self._stamp:  # a repeated one is no news
            self._stamp, self._arrival_ns, self._positions = stamp, now_ns, positions


class ForceFeedback:
    """Newest force at the tool with its age; `poll` belongs to one thread."""

    def __init__(self, node: Node, topic: str, timeout: float, full: float) -> None:
        """Subscribe to `topic`; a force older than `timeout` [s] counts as unknown.

        Args:
            node: that listens.
            topic: of the wrench.
            timeout: [s]
            full: the force that is felt most [N].
        """
        self._full = full
        self._timeout_ns = int(timeout * 1e9)
        self._topic = PolledTopic(node, WrenchStamped, topic, self._use)
        self._arrival_ns = 0
        self._stamp: tuple[int, int] | None = None
        self._share = 0.0

    def poll(self, now_ns: int) -> float | None:
        """Share of the full force if it is fresh at `now_ns` [ns, monotonic], else None."""
        self._topic.poll(now_ns)
        return self._share if now_ns - self._arrival_ns <= self._timeout_ns else None

    def _use(self, data: bytes, now_ns: int) -> None:
        message = decoded(WrenchStamped, data)
        stamp = (message.header.stamp.sec, message.header.stamp.nanosec)
        force = message.wrench.force
        length = math.hypot(force.x, force.y, force.z)
        if math.isfinite(length) and stamp != self._stamp:  # a repeated one is no news
            self._stamp, self._arrival_ns, self._share = stamp, now_ns, length / self._full


class OtherFeedback:
    """Shows the joints of the other arm, where there is one, to the rows of distances."""

    def __init__(self, node: Node, cell: Cell, own: str, rows: DistanceRows) -> None:
        """Subscribe to what the arm beside `own` measures."""
        self._rows = rows
        self._seen: Array | None = None
        self._arms = [
            ArmFeedback(
                node,
                cell.topics.of_arm(arm.namespace, cell.topics.joint_states),
                arm.joint_names,
                cell.safety.feedback_timeout,
            )
            for side, arm in cell.arms.items()
            if side != own
        ]

    def poll(self, now_ns: int) -> None:
        """Show what is new at `now_ns` [ns, monotonic], and that nothing is known any more."""
        for arm in self._arms:
            positions = arm.poll(now_ns)
            if positions is not self._seen:
                self._seen = positions
                self._rows.see_other(positions, now_ns * 1e-9)
