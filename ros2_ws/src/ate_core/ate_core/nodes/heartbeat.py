"""A node's sign of life: one line of ``/diagnostics`` per second, sent by its executor."""

from collections.abc import Callable

from diagnostic_msgs.msg import DiagnosticArray, DiagnosticStatus
from rclpy.node import Node

from ate_core.nodes.qos import DEFAULT_QOS

PERIOD = 1.0
"""Between two lines [s]."""


class Heartbeat:
    """Sends the line of a node that has nothing else to diagnose."""

    def __init__(self, node: Node, name: str, say: Callable[[], str]) -> None:
        """Begin.

        Args:
            node: the node.
            name: of the line, as ``recorder: state``.
            say: gives what the node does at present.
        """
        self._node, self._name, self._say = node, name, say
        self._publisher = node.create_publisher(DiagnosticArray, "/diagnostics", DEFAULT_QOS)
        node.create_timer(PERIOD, self._beat)

    def _beat(self) -> None:
        status = DiagnosticStatus(name=self._name, message=self._say(), hardware_id="cell")
        message = DiagnosticArray(status=[status])
        message.header.stamp = self._node.get_clock().now().to_msg()
        self._publisher.publish(message)
