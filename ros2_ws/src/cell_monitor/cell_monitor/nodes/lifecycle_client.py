"""Asks lifecycle nodes for their state and their next transition, without ever waiting."""

import time
from collections.abc import Callable
from typing import Any

from lifecycle_msgs.msg import Transition
from lifecycle_msgs.srv import ChangeState, GetState
from rclpy.node import Node

ANSWER_TIMEOUT = 3.0
"""Age at which a call counts as lost: its node hangs or has died [s]."""
TRANSITIONS = {
    "configure": Transition.TRANSITION_CONFIGURE,
    "activate": Transition.TRANSITION_ACTIVATE,
}


class LifecycleClient:
    """One lifecycle node as seen from the manager."""

    def __init__(self, node: Node, name: str, choose: Callable[[], str]) -> None:
        """Make the clients.

        Args:
            node: the manager.
            name: full name of the lifecycle node.
            choose: gives the next transition for the state just heard; empty: none.
        """
        self._get = node.create_client(GetState, f"{name}/get_state")
        self._change = node.create_client(ChangeState, f"{name}/change_state")
        self._choose = choose
        self._call: tuple[Any, Any, float] | None = None
        self.state = ""
        """Lifecycle state heard last; empty while there is none."""

    def step(self) -> None:
        """Ask for the state when nothing is under way; drop a call that stays unanswered."""
        now = time.monotonic()
        if self._call is not None:
            client, future, begin = self._call
            if now - begin < ANSWER_TIMEOUT:
                return
            client.remove_pending_request(future)
            self._call, self.state = None, ""
        if not self._get.service_is_ready():
            self.state = ""
            return
        self._send(self._get, GetState.Request(), self._take_state)

    def _send(self, client: Any, request: Any, take: Callable[[Any], None]) -> None:
        future = client.call_async(request)
        self._call = (client, future, time.monotonic())
        future.add_done_callback(take)

    def _take_state(self, future: Any) -> None:
        self._call = None
        if future.cancelled() or future.exception() is not None:
            return
        self.state = str(future.result().current_state.label)
        wanted = self._choose()
        if wanted and self._change.service_is_ready():
            request = ChangeState.Request()
            request.transition.id = TRANSITIONS[wanted]
            self._send(self._change, request, self._take_change)

    def _take_change(self, future: Any) -> None:
        self._call = None
