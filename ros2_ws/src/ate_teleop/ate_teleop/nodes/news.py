"""What an operator is told of both arms, the gripper and the episode."""

import json
from dataclasses import dataclass

from rclpy.node import Node
from std_msgs.msg import String

from ate_core.contract import Cell
from ate_core.json_text import UNREADABLE, plain_text
from ate_core.nodes.listening import listen
from ate_core.nodes.qos import LATCHED_QOS

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


AWAY = "away"
"""What is said of an operator whose process has gone: its last status says nothing any more."""


class News:
    """Newest news of the own arm, of the other operator and their arm, and of the episodes."""

    def __init__(self, node: Node, cell: Cell, operator: str) -> None:
        """Listen; `operator` is the own entry in the cell."""
        self.own = self.other = ArmNews()
        self.other_operator = ""
        self.kept = self.discarded = 0
        topics, arm = cell.topics, cell.operators[operator].arm
        for side, one in cell.arms.items():
            own = side == arm
            name = topics.arm_status if own else topics.of_arm(one.namespace, topics.arm_status)
            listen(node, String, name, self._take_own if own else self._take_other, LATCHED_QOS)
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

    def look_for_other(self) -> None:
        """Notice that the process of the other operator has gone."""
        if self.other_operator and not any(
            subscription.get_publisher_count() for subscription in self._subscriptions
        ):
            self.other_operator = AWAY

    def _take_operator(self, message: String) -> None:
        news = operator_news(message)
        self.other_operator = self.other_operator if news is None else news

    def _take_own(self, message: String) -> None:
        self.own = arm_news(message) or self.own

    def _take_other(self, message: String) -> None:
        self.other = arm_news(message) or self.other

    def take_episode(self, message: String) -> None:
        """Count what was kept and discarded, by an episode status."""
        try:
            status = json.loads(message.data)
            self.kept, self.discarded = int(status["kept"]), int(status["discarded"])
        except UNREADABLE:
            return
