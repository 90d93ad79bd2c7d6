"""Hears operators and arms of a running cell while hands are replayed."""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sensor_msgs.msg import JointState
from std_msgs.msg import String

from ate_core.contract import Cell
from ate_core.errors import NoCellError
from ate_core.json_text import UNREADABLE, plain_text
from ate_core.nodes.joints import joint_positions, require_recent
from ate_core.nodes.listening import listen
from ate_core.nodes.qos import LATCHED_QOS, SENSOR_QOS
from ate_core.nodes.visitor import Visitor, visit
from ate_core.streams import header_stamp_ns
from ate_teleop.stroke_comparison import JointPath

Array = NDArray[np.float64]


class ReplayWatch:
    """What is heard of the operators of some sides and of their arms."""

    def __init__(self, cell: Cell, sides: tuple[str, ...], visitor: Visitor) -> None:
        """Listen; nothing is taken before `spin`."""
        self._visitor = visitor
        self._sides = sides
        self._status: dict[str, dict[str, Any]] = {}
        self._paths: dict[str, list[tuple[int, Array]]] = {side: [] for side in sides}
        self.losses: list[str] = []
        """What operators lost, and why clutches let go by themselves."""
        for side in sides:
            arm = cell.arms[cell.operators[side].arm]
            topics, namespace = cell.topics, arm.namespace
            listen(
                visitor.node,
                String,
                topics.of_arm(namespace, topics.operator_status),
                partial(self._take_status, side),
                LATCHED_QOS,
            )
            listen(
                visitor.node,
                JointState,
                topics.of_arm(namespace, topics.joint_states),
                partial(self._take_joints, side, tuple(arm.joint_names)),
                SENSOR_QOS,
            )

    @property
    def now_ns(self) -> int:
        """The clock that stamps the joints [ns]."""
        return int(self._visitor.node.get_clock().now().nanoseconds)

    def spin(self, seconds: float) -> None:
        """Take messages for so long [s]."""
        self._visitor.spin_until(lambda: False, seconds)

    def statuses(self, timeout: float) -> dict[str, dict[str, Any]]:
        """What each operator says of itself.

        Raises:
            NoCellError: one of them says nothing within `timeout` [s].
        """
        for side in self._sides:
            if not self._visitor.spin_until(partial(self._status.__contains__, side), timeout):
                raise NoCellError(f"{side} operator", timeout)
        return self._status

    def posture(self, side: str) -> Array | None:
        """The newest measured joints (n,) [rad]; None before the first."""
        path = self._paths[side]
        return path[-1][1] if path else None

    def forget(self) -> None:
        """Begin the paths and the list of losses anew."""
        self.losses.clear()
        for path in self._paths.values():
            del path[:-1]

    def path(self, side: str, start_ns: int) -> JointPath:
        """What was measured, by its time since `start_ns` [ns]."""
        stamps, joints = zip(*self._paths[side], strict=True)
        times: Array = (np.array(stamps, dtype=np.int64) - start_ns) * np.float64(1e-9)
        return JointPath(times=times, joints=np.stack(joints))

    def _take_status(self, side: str, message: String) -> None:
        try:
            status = dict(json.loads(message.data))
        except UNREADABLE:
            return
        before = self._status.get(side, {})
        self._status[side] = status
        if status.get("clutch") == "blocked" != before.get("clutch"):
            self.losses.append(f"{side} clutch let go: {plain_text(status.get('reason'))}")
        for key, what in (("joycon", "Joy-Con"), ("tracked", "hand"), ("arm", "arm")):
            if before.get(key) and not status.get(key):
                self.losses.append(f"{side} {what} was lost for a moment")

    def _take_joints(self, side: str, names: tuple[str, ...], message: JointState) -> None:
        require_recent(self._visitor.node, message)
        q, stamp_ns = joint_positions(message, names), header_stamp_ns(message)
        path = self._paths[side]
        if not path or stamp_ns > path[-1][0]:
            path.append((stamp_ns, q))


@contextmanager
def replay_watch(cell: Cell, sides: tuple[str, ...]) -> Iterator[ReplayWatch]:
    """Join the graph while the context lasts."""
    with visit("ate_teleop_replay") as visitor:
        yield ReplayWatch(cell, sides, visitor)
