"""What the arms measure, joints and force, polled by the control loop."""

import math
from collections.abc import Callable
from functools import partial
from typing import Any, Generic, TypeVar

import numpy as np
from geometry_msgs.msg import WrenchStamped
from numpy.typing import NDArray
from rclpy.node import Node
from sensor_msgs.msg import JointState

from ate_core.contract import Cell
from ate_core.nodes.joints import joint_positions, require_recent
from ate_core.nodes.listening import decoded
from ate_core.nodes.polling import PolledTopic
from ate_teleop.distance_rows import DistanceRows

Array = NDArray[np.float64]
Value = TypeVar("Value")


POLL_NS = 20_000_000
"""Least time between two looks at the queue; a fifth of the age at which joints are unknown."""


class FreshTopic(Generic[Value]):
    """What the newest message of a topic says, with its age; `poll` belongs to one thread."""

    def __init__(
        self,
        node: Node,
        kind: type[Any],
        topic: str,
        timeout: float,
        read: Callable[[Any], Value | None],
    ) -> None:
        """Subscribe.

        Args:
            node: that listens.
            kind: of the messages, which have a header.
            topic: their name.
            timeout: age above which a value counts as unknown [s].
            read: what a message says; None: nothing that can be used.
        """
        self._node, self._kind, self._read = node, kind, read
        self._timeout_ns = int(timeout * 1e9)
        self._topic = PolledTopic(node, kind, topic, self._use, POLL_NS)
        self._arrival_ns = 0
        self._stamp: tuple[int, int] | None = None
        self._value: Value | None = None

    @property
    def stamp_ns(self) -> int:
        """Stamp of the newest value [ns]."""
        seconds, nanoseconds = self._stamp or (0, 0)
        return seconds * 1_000_000_000 + nanoseconds

    def poll(self, now_ns: int) -> Value | None:
        """The value if it is fresh at `now_ns` [ns, monotonic], else None."""
        self._topic.poll(now_ns)
        return self._value if now_ns - self._arrival_ns <= self._timeout_ns else None

    def _use(self, data: bytes, came_ns: int) -> None:
        message = decoded(self._kind, data)
        require_recent(self._node, message)
        stamp = (message.header.stamp.sec, message.header.stamp.nanosec)
        value = self._read(message)
        if value is not None and stamp != self._stamp:  # a repeated one is no news
            self._stamp, self._arrival_ns, self._value = stamp, came_ns, value


class ArmFeedback(FreshTopic[Array]):
    """Newest measured joints (n,) [rad]."""

    def __init__(
        self, node: Node, topic: str, joint_names: tuple[str, ...], timeout: float
    ) -> None:
        """Subscribe to `topic`; joints older than `timeout` [s] count as unknown."""
        super().__init__(
            node, JointState, topic, timeout, partial(joint_positions, names=joint_names)
        )


class ForceFeedback(FreshTopic[float]):
    """Newest force at the tool, as a share of the one that is felt most."""

    def __init__(self, node: Node, topic: str, timeout: float, full: float) -> None:
        """Subscribe to `topic`; a force older than `timeout` [s] counts as unknown.

        Args:
            node: that listens.
            topic: of the wrench.
            timeout: [s]
            full: the force that is felt most [N].
        """
        self._full = full
        super().__init__(node, WrenchStamped, topic, timeout, self._share)

    def _share(self, message: WrenchStamped) -> float | None:
        force = message.wrench.force
        length = math.hypot(force.x, force.y, force.z)
        return length / self._full if math.isfinite(length) else None


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
