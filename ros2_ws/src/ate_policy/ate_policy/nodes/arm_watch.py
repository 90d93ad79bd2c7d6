"""What keeps a policy from commanding: the emergency stop, and arms that do not follow."""

import json
from collections.abc import Callable
from functools import partial

from rclpy.node import Node
from std_msgs.msg import String

from ate_core.contract import Cell
from ate_core.json_text import UNREADABLE
from ate_core.nodes.estop import EstopListener
from ate_core.nodes.qos import LATCHED_QOS

UNFIT = frozenset({"stopped", "fault", "not_ready", "disconnected"})
"""States of an arm in which a policy must not go on, nor begin: they end by an act of a person."""


class ArmWatch:
    """Listens to the stop and to the arms; callbacks run in the node's executor."""

    def __init__(self, node: Node, cell: Cell, on_trouble: Callable[[str], None]) -> None:
        """Subscribe.

        Args:
            node: the policy's node.
            cell: its arms.
            on_trouble: called with the reason when the policy must fall silent.
        """
        self._on_trouble = on_trouble
        self._estop = EstopListener(node, self._take_stop)
        self._troubles = dict.fromkeys(cell.arms, "does not report: start its driver")
        for side, arm in cell.arms.items():
            topic = cell.topics.of_arm(arm.namespace, cell.topics.arm_status)
            node.create_subscription(String, topic, partial(self._take_status, side), LATCHED_QOS)

    @property
    def trouble(self) -> str:
        """Why the policy must not command now; empty when it may."""
        if self._estop.reason:
            return f"emergency stop: {self._estop.reason}; reset it with `ate stop --reset`"
        return next(
            (f"{side} arm {text}" for side, text in self._troubles.items() if text),
            "",
        )

    def _take_stop(self, reason: str) -> None:
        if reason:
            self._on_trouble(self.trouble)

    def _take_status(self, side: str, message: String) -> None:
        try:
            status = json.loads(message.data)
            state, reason = str(status["state"]), str(status.get("reason", ""))
        except UNREADABLE:
            state, reason = "not_ready", f"status is not readable: {message.data[:60]!r}"
        self._troubles[side] = f"is {state} {reason}".rstrip() if state in UNFIT else ""
        if state in UNFIT:
            self._on_trouble(self.trouble)
