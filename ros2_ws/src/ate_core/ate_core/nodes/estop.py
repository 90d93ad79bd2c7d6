"""The emergency stop of the cell as every node hears it: latched here, whoever hangs elsewhere.

Two topics. ``/estop/request`` carries the reason of whoever wants a stop; each node latches on it
by itself, so a stop needs no other process. ``/estop`` is the state that the e-stop node keeps
(JSON, latched and repeated); only a reset of the same e-stop node ends the latch: one that was
restarted and knows of no stop does not, nor does one of another time, as of a bag that is played.
"""

import json
from collections.abc import Callable

from rclpy.node import Node
from rclpy.qos import DurabilityPolicy, HistoryPolicy, QoSProfile, ReliabilityPolicy
from std_msgs.msg import String

from ate_core.json_text import UNREADABLE, plain_text
from ate_core.nodes.joints import require_near
from ate_core.nodes.qos import LATCHED_QOS
from ate_core.topics import ESTOP_REQUEST as REQUEST_TOPIC
from ate_core.topics import ESTOP_STATE as STATE_TOPIC

__all__ = ["REQUEST_QOS", "REQUEST_TOPIC", "STATE_TOPIC", "EstopListener"]

REQUEST_QOS = QoSProfile(
    reliability=ReliabilityPolicy.RELIABLE,
    durability=DurabilityPolicy.VOLATILE,
    history=HistoryPolicy.KEEP_LAST,
    depth=10,
)

MOST_INSTANCES = 32
"""E-stop nodes whose resets are counted; the one heard longest ago is forgotten, and then a reset
of it counts only from its next message on."""
TOLD_AGAIN = 5.0
"""Least time between two words on a reset that does not count [s]."""


class EstopListener:
    """Latch of one node. Callbacks run in the node's executor."""

    def __init__(self, node: Node, on_change: Callable[[str], None]) -> None:
        """Subscribe.

        Args:
            node: the node that must fall silent or stop.
            on_change: called with the reason when a stop begins, with an empty text when it was
                reset.
        """
        self._node = node
        self._on_change = on_change
        self._resets: dict[str, int] = {}  # of each e-stop node heard
        self.reason = ""
        """Why the cell is stopped; empty while it is not."""
        # Not by `listen`: a stop that fails must end the process, whatever it raises.
        node.create_subscription(String, REQUEST_TOPIC, self._take_request, REQUEST_QOS)
        node.create_subscription(String, STATE_TOPIC, self._take_state, LATCHED_QOS)

    def _take_request(self, message: String) -> None:
        self._latch(plain_text(message.data) or "somebody asked for it without a reason")

    def _take_state(self, message: String) -> None:
        try:
            state = json.loads(message.data)
            stopped, reason = bool(state["stopped"]), plain_text(state["reason"])
            instance, resets = plain_text(state["instance"]), int(state["resets"])
            stamp_ns = int(state["stamp_ns"])
        except UNREADABLE:
            self._latch(f"{STATE_TOPIC} is not readable: {message.data[:60]!r}")
            return
        if not stopped and not self._is_of_now(stamp_ns):
            return
        is_reset = resets > self._resets.pop(instance, resets)
        self._resets[instance] = resets  # the newest last
        if len(self._resets) > MOST_INSTANCES:
            del self._resets[next(iter(self._resets))]
        if stopped:
            self._latch(reason or "no reason given")
        elif self.reason and is_reset:
            self.reason = ""
            self._on_change("")

    def _is_of_now(self, stamp_ns: int) -> bool:
        """Whether a state that may end a stop was told now [ns]; a stop counts at any time."""
        try:
            require_near(stamp_ns, self._node.get_clock().now().nanoseconds)
        except ValueError as error:
            if self.reason:
                self._node.get_logger().warning(
                    f"{STATE_TOPIC}: no reset counts, {error}", throttle_duration_sec=TOLD_AGAIN
                )
            return False
        return True

    def _latch(self, reason: str) -> None:
        if not self.reason:
            self.reason = reason
            self._on_change(reason)
