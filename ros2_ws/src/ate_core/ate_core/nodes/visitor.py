"""A node that looks at a running cell for a moment and goes: what commands are made of."""

import contextlib
import time
from collections.abc import Callable, Iterator

import rclpy
from rclpy.executors import SingleThreadedExecutor
from rclpy.node import Node

from ate_core.nodes.transport import use_sockets

STEP = 0.05
"""Longest wait between two looks at a condition [s]."""


class Visitor:
    """A node and its executor, on the caller's thread."""

    def __init__(self, node: Node, executor: SingleThreadedExecutor) -> None:
        self.node = node
        self._executor = executor

    def spin_until(self, condition: Callable[[], bool], timeout: float) -> bool:
        """Take messages until a condition holds, for at most `timeout` [s]; whether it holds."""
        deadline = time.monotonic() + timeout
        while not condition():
            left = deadline - time.monotonic()
            if left <= 0.0:
                return False
            self._executor.spin_once(timeout_sec=min(left, STEP))
        return True

    def spin_for(self, seconds: float) -> None:
        """Take messages for so long [s]."""
        self.spin_until(lambda: False, seconds)


@contextlib.contextmanager
def visit(name: str) -> Iterator[Visitor]:
    """Join the graph as a node of this name while the context lasts."""
    use_sockets()
    context = rclpy.Context()
    rclpy.init(args=[], context=context)  # the words of a command are no ROS arguments
    node = rclpy.create_node(name, context=context, start_parameter_services=False)
    executor = SingleThreadedExecutor(context=context)
    executor.add_node(node)
    try:
        yield Visitor(node, executor)
    finally:
        executor.shutdown()
        node.destroy_node()
        context.try_shutdown()
