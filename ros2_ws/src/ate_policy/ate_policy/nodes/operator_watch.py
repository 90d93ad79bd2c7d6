"""Operators who take an arm over from a policy: the press of a clutch or a freeze is enough."""

from collections.abc import Callable
from functools import partial

from rclpy.node import Node
from std_msgs.msg import String

from ate_core.contract import Cell
from ate_core.json_text import read_document
from ate_core.nodes.listening import listen
from ate_core.nodes.qos import LATCHED_QOS
from ate_core.takeover import Takeover


class OperatorWatch:
    """Hears the operators; callbacks run in the node's executor."""

    def __init__(self, node: Node, cell: Cell, on_press: Callable[[str], None]) -> None:
        """Subscribe.

        Args:
            node: the policy's node.
            cell: its operators.
            on_press: called with the words for it when an operator takes over.
        """
        self._on_press = on_press
        self._takeovers = {name: Takeover() for name in cell.operators}
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
        """Who holds an arm by clutch, freeze or calibration, in words; empty: nobody."""
        for name, takeover in self._takeovers.items():
            if takeover.held and self._subscriptions[name].get_publisher_count():
                return f"the {name} operator {takeover.held}"
        return ""

    def _take(self, name: str, message: String) -> None:
        if act := self._takeovers[name].take(read_document(message.data)):
            self._on_press(f"the {name} operator took over ({act})")
