"""The emergency stop of the cell as every node hears it: latched here, whoever hangs elsewhere.

Two topics. ``/estop/request`` carries the reason of whoever wants a stop; each node latches on it
by itself, so a stop needs no other process. ``/estop`` is the state that the e-stop node keeps
(JSON, latched and repeated); only a reset of the same e-stop node ends the latch: one that was
restarted and knows of no stop does not, nor does one of another time, as of a bag that is played,
nor what another program publishes there. A stop counts from anybody, at any time.

A driver that has just begun may have slept through a stop. It has heard nothing until the e-stop
node speaks to it, and moves nothing before.
"""

import json
from collections.abc import Callable

from rclpy.node import Node
from rclpy.qos import DurabilityPolicy, HistoryPolicy, QoSProfile, ReliabilityPolicy
from std_msgs.msg import String

from ate_core.json_text import UNREADABLE, plain_text
from ate_core.nodes.joints import require_near
from ate_core.nodes.parameters import declare_text
from ate_core.nodes.qos import LATCHED_QOS
from ate_core.topics import ESTOP_REQUEST as REQUEST_TOPIC
from ate_core.topics import ESTOP_STATE as STATE_TOPIC

__all__ = [
    "ESTOP_NODE",
    "NOT_HEARD",
    "REQUEST_QOS",
    "REQUEST_TOPIC",
    "STATE_TOPIC",
    "EstopListener",
    "needs_estop_node",
    "other_teller",
]

ESTOP_NODE = "estop"
"""Name of the node that keeps the state."""
UNHEARD = "no e-stop node heard since the start, so a stop may be on: "
NOT_HEARD = (
    f"{UNHEARD}start it, `python -m cell_monitor.nodes.estop_node`, or give estop_node:=absent"
)

REQUEST_QOS = QoSProfile(
    reliability=ReliabilityPolicy.RELIABLE,
    durability=DurabilityPolicy.VOLATILE,
    history=HistoryPolicy.KEEP_LAST,
    depth=10,
)

MOST_INSTANCES = 32
"""E-stop nodes whose resets are counted; the one heard longest ago is forgotten, and then a reset
of it counts only from its next message on."""
LISTED = 20.0
"""How long DDS counts a program that was killed as one that publishes [s]."""
TOLD_AGAIN = 5.0
"""Least time between two words on a reset that does not count [s]."""


def needs_estop_node(node: Node) -> bool:
    """Declare the parameter ``estop_node`` of a driver; whether it must be heard before it moves.

    Raises:
        UsageError: the value is not one of the choices.
    """
    need = declare_text(
        node,
        "estop_node",
        "required",
        "absent: none runs, a restart forgets a stop; else it must be heard before a device moves",
        ("required", "absent"),
    )
    if need == "absent":
        node.get_logger().warning(
            "estop_node is absent: a restart of this driver forgets an emergency stop, and "
            "nothing else ends one"
        )
    return need == "required"


def other_teller(node: Node) -> str:
    """Why the word on ``/estop`` need not be the e-stop node's; empty when nobody else tells it.

    A message does not say who sent it, so all who publish there must be e-stop nodes.
    """
    tellers = {info.node_name for info in node.get_publishers_info_by_topic(STATE_TOPIC)}
    others = ", ".join(sorted(tellers - {ESTOP_NODE}))
    if others:
        return (
            f"{others} publishes {STATE_TOPIC}, need the node {ESTOP_NODE} alone: end {others}; "
            f"DDS lists a killed program for {LISTED:g} s"
        )
    return "" if tellers else f"nobody publishes {STATE_TOPIC}, need the node {ESTOP_NODE}"


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
        self.unheard = NOT_HEARD
        """Why a stop may be on that this node does not know; empty once the e-stop node spoke."""
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
        if stopped:  # first of all: who looks at `unheard` must not find it empty before
            self._latch(reason or "no reason given")
        known = self._resets.get(instance, resets)
        is_reset = not stopped and resets > known
        doubt = self._doubt(stamp_ns, whose=bool(self.unheard or (self.reason and is_reset)))
        if self.unheard:
            self.unheard = f"{UNHEARD}{doubt}" if doubt else ""
        if doubt:
            if self.reason and not stopped:
                self._node.get_logger().warning(
                    f"{STATE_TOPIC}: no reset counts, {doubt}", throttle_duration_sec=TOLD_AGAIN
                )
            return  # unknown as before: a reset is repeated, and counts once it is certain
        self._resets.pop(instance, None)
        self._resets[instance] = max(resets, known)  # the newest last
        if len(self._resets) > MOST_INSTANCES:
            del self._resets[next(iter(self._resets))]
        if self.reason and is_reset:
            self.reason = ""
            self._on_change("")

    def _doubt(self, stamp_ns: int, *, whose: bool) -> str:
        """Why a state need not be the e-stop node's present one; a stop counts all the same.

        Args:
            stamp_ns: when it was told [ns].
            whose: whether to look who tells it.
        """
        try:
            require_near(stamp_ns, self._node.get_clock().now().nanoseconds)
        except ValueError as error:
            return str(error)
        return other_teller(self._node) if whose else ""

    def _latch(self, reason: str) -> None:
        if not self.reason:
            self.reason = reason
            self._on_change(reason)
