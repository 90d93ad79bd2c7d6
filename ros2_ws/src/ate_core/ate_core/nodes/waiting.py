"""What takes its time without keeping the executor: services that wait, and checks.

A service that awaits `in_thread` is offered by `offer_waiting`: in the node's usual group of
callbacks no other callback of the node would run until it is answered.
"""

import threading
from collections.abc import Callable
from typing import Any

from rclpy.callback_groups import ReentrantCallbackGroup
from rclpy.node import Node
from rclpy.task import Future
from std_srvs.srv import Trigger


def in_thread(node: Node, call: Callable[[], Any]) -> Future:
    """Run a call in a thread of its own; awaited by a service callback of the node.

    Other callbacks of the node run meanwhile where the service was offered so. What the call
    raises is raised where it is awaited.

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


def offer_waiting(node: Node, name: str, answer: Callable[..., Any]) -> None:
    """Offer a trigger service whose answer may take its time, beside all other callbacks.

    Args:
        node: offers it.
        name: of the service.
        answer: coroutine of request and response; may be called again before it has ended.
    """
    node.create_service(Trigger, name, answer, callback_group=ReentrantCallbackGroup())


class NewestOnly:
    """Works in a thread of its own; what waits is replaced by what is newer: nothing piles up."""

    def __init__(self, name: str) -> None:
        """Prepare; a thread runs only while there is work.

        Args:
            name: of the thread.
        """
        self._name = name
        self._lock = threading.Lock()
        self._next: Callable[[], object] | None = None
        self._working = False

    def do(self, work: Callable[[], object]) -> None:
        """Do this next; never blocks.

        Args:
            work: may take its time; what it raises ends the process.
        """
        with self._lock:
            self._next = work
            if self._working:
                return
            self._working = True
        threading.Thread(target=self._run, name=self._name, daemon=True).start()

    def _run(self) -> None:
        while True:
            with self._lock:
                work, self._next = self._next, None
                if work is None:
                    self._working = False
                    return
            work()
