"""Stops the cell where one arm does what the other one is told, whoever drives them.

Each driver tells the set point that it sent last; together with what both measure, that is all
that is needed. The driver of either arm asks everybody to stop.
"""

import time
from collections.abc import Callable
from functools import partial

import numpy as np
from numpy.typing import NDArray
from rclpy.node import Node
from sensor_msgs.msg import JointState
from std_msgs.msg import String

from ate_core.contract import Cell
from ate_core.exchanged import Answers
from ate_core.nodes.estop import REQUEST_QOS, REQUEST_TOPIC
from ate_core.nodes.joints import joint_positions, require_recent
from ate_core.nodes.listening import decoded
from ate_core.nodes.polling import PolledTopic
from ate_core.nodes.qos import DEFAULT_QOS

Array = NDArray[np.float64]

PERIOD = 0.05
"""Between two looks, and two set points [s]."""
LATEST = 0.15
"""Age above which what the other driver tells says nothing about the present [s]."""


class ExchangeWatch:
    """Compares both arms; it looks in the node's executor, told by the stream."""

    def __init__(self, node: Node, cell: Cell, side: str) -> None:
        """Prepare; nothing is heard or told before `connect`.

        Args:
            node: of the driver.
            cell: its arms.
            side: the arm that is driven here.
        """
        self._node, self._cell, self._side = node, cell, side
        self._answers = Answers()
        self._sent: tuple[float, Array] | None = None
        self._told: dict[str, tuple[float, Array]] = {}
        self._did: dict[str, tuple[float, Array]] = {}
        self._before: tuple[float, dict[str, Array]] = (-np.inf, {})

    def connect(self, others: tuple[str, ...], measured: Callable[[], Array | None]) -> None:
        """Begin to tell, to listen and to look.

        Args:
            others: arms whose drivers are heard.
            measured: where this arm is (n,) [rad]; None when that is not known.
        """
        topics, arms, node = self._cell.topics, self._cell.arms, self._node
        self._measured = measured

        def name(side: str) -> str:
            return topics.of_arm(arms[side].namespace, topics.set_point)

        self._set_points = node.create_publisher(JointState, name(self._side), DEFAULT_QOS)
        self._stop = node.create_publisher(String, REQUEST_TOPIC, REQUEST_QOS)
        self._others = [
            PolledTopic(node, JointState, name(side), partial(self._take, side)) for side in others
        ]
        node.create_timer(PERIOD, self._look)

    def sent(self, target: Array | None, now: float) -> None:
        """Note what the stream sent to the device (n,) [rad] at `now`; None: nothing."""
        self._sent = None if target is None else (now, target)

    def see_other(self, side: str, measured: Array, now: float) -> None:
        """Note where another arm is (n,) [rad], heard at `now`, monotonic clock [s]."""
        self._did[side] = now, measured

    def _take(self, side: str, data: bytes, came_ns: int) -> None:
        names, message = self._cell.arms[side].joint_names, decoded(JointState, data)
        require_recent(self._node, message)
        self._told[side] = came_ns * 1e-9, joint_positions(message, names)

    def _look(self) -> None:
        now = time.monotonic()
        for other in self._others:
            other.poll(int(now * 1e9))
        sent = self._sent
        own = None if sent is None or now - sent[0] > LATEST else sent[1]
        if own is not None:
            self._publish(own)
        if (measured := self._measured()) is not None:
            self._compare(own, measured, now)

    def _publish(self, q: Array) -> None:
        message = JointState(name=list(self._cell.arms[self._side].joint_names))
        message.header.stamp = self._node.get_clock().now().to_msg()
        message.position = q.tolist()
        self._set_points.publish(message)

    def _compare(self, own: Array | None, measured: Array, now: float) -> None:
        told: dict[str, Array | None] = {self._side: own}
        did = {self._side: measured}
        for side, (heard, q) in list(self._did.items()):
            if now - heard <= LATEST:
                at, target = self._told.get(side, (-np.inf, q))
                told[side], did[side] = target if now - at <= LATEST else None, q
        in_order = {side: told[side] for side in self._cell.arms if side in told}
        # What the other one was told may be a period old; what both did must not be newer.
        (seen, before), self._before = self._before, (now, did)
        if now - seen <= LATEST and before.keys() == did.keys():
            did = before
        if exchanged := self._answers.note(round(now / PERIOD), in_order, did):
            self._answers.reset()
            self._stop.publish(String(data=exchanged))
