"""Operators who take an arm over from a policy: the press of a clutch is enough."""

import json
from collections.abc import Callable
from functools import partial

from rclpy.node import Node
from std_msgs.msg import String

from ate_core.contract import Cell
from ate_core.json_text import UNREADABLE, plain_text
from ate_core.nodes.listening import listen
from ate_core.nodes.qos import LATCHED_QOS

RELEASED = "released"
"""State of a clutch whose button is up."""


class OperatorWatch:
    """Hears the clutches; callbacks run in the node's executor."""

    def __init__(self, node: Node, cell: Cell, on_press: Callable[[str], None]) -> None:
        """Subscribe.

        Args:
            node: the policy's node.
            cell: its operators.
            on_press: called with the words for it when a clutch is pressed.
        """
        self._on_press = on_press
        self._clutches: dict[str, str] = {}
        self._subscriptions = {
            name: listen(
                node,
                String,
                cell.topics.of_arm(cell.arms[one.arm].namespace, cell.topics.operator_status),
                partial(self._take, name),
                LATCHED_QOS,
            )
            for name, one in cell.operators.items()
        }

    @property
    def pressed(self) -> str:
        """Whose clutch is pressed, in words; empty: nobody's."""
        for name, clutch in self._clutches.items():
            gone = not self._subscriptions[name].get_publisher_count()
            if clutch != RELEASED and not gone:
                return f"the {name} operator holds the clutch"
        return ""

    def _take(self, name: str, message: String) -> None:
        try:
            clutch = plain_text(json.loads(message.data)["clutch"])
        except UNREADABLE:
            return
        before, self._clutches[name] = self._clutches.get(name, RELEASED), clutch
        if clutch != RELEASED and before == RELEASED:
            self._on_press(f"the {name} operator took over")
