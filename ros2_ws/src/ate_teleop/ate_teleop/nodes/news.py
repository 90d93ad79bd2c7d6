"""What an operator is told of both arms, the gripper and the episode."""

import json
from dataclasses import dataclass
from functools import partial

from rclpy.node import Node
from std_msgs.msg import String

from ate_core.contract import Cell
from ate_core.json_text import UNREADABLE, plain_text, read_document
from ate_core.nodes.listening import listen
from ate_core.nodes.qos import LATCHED_QOS
from ate_teleop.prompts import recorder_trouble

TROUBLE = ("fault", "stopped", "not_ready", "disconnected", "no_feedback")
"""States of an arm that its people should know of."""


@dataclass(frozen=True, kw_only=True)
class ArmNews:
    """What an arm says of itself."""

    trouble: str = ""
    """State and reason while it follows nobody; empty while it is well."""
    guard: str = ""
    """What slows it or is near it: a wall of its workspace, the tool speed, a distance."""
    commander: str = ""
    """Who holds it; empty: nobody."""


def arm_news(message: String) -> ArmNews | None:
    """What an arm's status says; None where it is not readable."""
    try:
        status = json.loads(message.data)
        state, reason = plain_text(status["state"]), plain_text(status.get("reason", ""))
        guard = plain_text(status.get("guard", ""))
        commander = plain_text(status.get("commander", ""))
    except UNREADABLE:
        return None
    trouble = f"{state}: {reason}".rstrip(": ") if state in TROUBLE else ""
    return ArmNews(trouble=trouble, guard=guard, commander=commander)


def operator_news(message: String) -> str | None:
    """Where a clutch stands and why, by the status of its operator; None: not readable."""
    try:
        status = json.loads(message.data)
        clutch, reason = plain_text(status["clutch"]), plain_text(status.get("reason", ""))
        frozen, joycon = bool(status.get("frozen")), bool(status.get("joycon", True))
    except UNREADABLE:
        return None
    if not joycon:
        return "Joy-Con silent"
    if frozen:
        return "frozen"
    return f"{clutch}: {reason}" if reason else clutch


UNHEARD = ArmNews()
"""What is known of an arm before its driver was heard."""
GONE = ArmNews(trouble="gone: its driver runs no more")
"""What is said of an arm whose driver has gone: its last words count no more."""
AWAY = "away"
"""What is said of an operator whose process has gone: its last status says nothing any more."""


class News:
    """Newest news of the own arm, of the other operator and their arm, and of the episodes."""

    def __init__(self, node: Node, cell: Cell, operator: str) -> None:
        """Listen; `operator` is the own entry in the cell."""
        self._arms: dict[bool, ArmNews] = {}  # whether it is the own one -> what was heard
        self.other_operator = ""
        self.kept = self.discarded = 0
        self.recorder = ""
        """What keeps episodes from being recorded whole; empty: nothing."""
        topics, arm = cell.topics, cell.operators[operator].arm
        self._arm_subscriptions = {}
        for side, one in cell.arms.items():
            own = side == arm
            name = topics.arm_status if own else topics.of_arm(one.namespace, topics.arm_status)
            take = partial(self._take_arm, own)
            self._arm_subscriptions[own] = listen(node, String, name, take, LATCHED_QOS)
        self._subscriptions = [
            listen(
                node,
                String,
                topics.of_arm(cell.arms[one.arm].namespace, topics.operator_status),
                self._take_operator,
                LATCHED_QOS,
            )
            for name, one in cell.operators.items()
            if name != operator
        ]

    @property
    def own(self) -> ArmNews:
        """What the own arm says."""
        return self._arms.get(True, UNHEARD)

    @property
    def other(self) -> ArmNews:
        """What the arm of the other operator says."""
        return self._arms.get(False, UNHEARD)

    def look_for_gone(self) -> None:
        """Notice that the drivers or the process of the other operator have gone."""
        for is_own in list(self._arms):
            if not self._arm_subscriptions[is_own].get_publisher_count():
                self._arms[is_own] = GONE
        if self.other_operator and not any(
            subscription.get_publisher_count() for subscription in self._subscriptions
        ):
            self.other_operator = AWAY

    def _take_operator(self, message: String) -> None:
        news = operator_news(message)
        self.other_operator = self.other_operator if news is None else news

    def _take_arm(self, is_own: bool, message: String) -> None:
        news = arm_news(message)
        if news is not None:
            self._arms[is_own] = news

    def take_episode(self, message: String) -> None:
        """Count what was kept and discarded, and note trouble, by an episode status."""
        self.recorder = recorder_trouble(read_document(message.data))
        try:
            status = json.loads(message.data)
            self.kept, self.discarded = int(status["kept"]), int(status["discarded"])
        except UNREADABLE:
            return
