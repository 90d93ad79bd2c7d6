"""Services that wait for a device without keeping the executor: `in_thread`."""

import threading
from collections.abc import Callable
from typing import Any

from rclpy.node import Node
from rclpy.task import Future


def in_thread(node: Node, call: Callable[[], Any]) -> Future:
    """Run a call in a thread of its own; awaited by a service callback of the node.

    Other callbacks of the node run meanwhile. What the call raises is raised where it is awaited.

    Args:
        node: node whose executor runs the callback that waits.
        call: may take its time.
    """
    future = Future(executor=node.executor)

    def run() -> None:
        try:
            result = call()
        except Exception as error:  # raised again in the callback, which ends the process
            future.set_exception(error)
        else:
            future.set_result(result)
        executor = node.executor
        if executor is not None:
            executor.wake()

    threading.Thread(target=run, name=f"call of {node.get_name()}", daemon=True).start()
    return future
