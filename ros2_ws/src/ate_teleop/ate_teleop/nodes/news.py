"""What an operator is told of both arms, the gripper and the episode."""

import json
from dataclasses import dataclass

from rclpy.node import Node
from std_msgs.msg import String

from ate_core.contract import Cell
from ate_core.json_text import UNREADABLE
from ate_core.nodes.listening import listen
from ate_core.nodes.qos import LATCHED_QOS

TROUBLE = ("fault", "stopped", "not_ready", "disconnected", "no_feedback")
"""States of an arm that its people should know of."""


@dataclass(frozen=True, kw_only=True)
class ArmNews:
    """What an arm says of itself."""

    trouble: str = ""
    """State and reason while it follows nobody; empty while it is well."""
    near: bool = False
    """Whether the distance guard has something near it."""


def arm_news(message: String) -> ArmNews | None:
    """What an arm's status says; None where it is not readable."""
    try:
        status = json.loads(message.data)
        state, reason = str(status["state"]), str(status.get("reason", ""))
        guard = str(status.get("guard", ""))
    except (*UNREADABLE, KeyError, AttributeError, TypeError):
        return None
    trouble = f"{state}: {reason}".rstrip(": ") if state in TROUBLE else ""
    return ArmNews(trouble=trouble, near=bool(guard))


class News:
    """Newest news of the own arm, of the other operator's, and of the episodes."""

    def __init__(self, node: Node, cell: Cell, arm: str) -> None:
        """Listen; `arm` is the side of the own one."""
        self.own = self.other = ArmNews()
        self.kept = self.discarded = 0
        topics = cell.topics
        for side, one in cell.arms.items():
            own = side == arm
            name = topics.arm_status if own else topics.of_arm(one.namespace, topics.arm_status)
            listen(node, String, name, self._take_own if own else self._take_other, LATCHED_QOS)

    def _take_own(self, message: String) -> None:
        self.own = arm_news(message) or self.own

    def _take_other(self, message: String) -> None:
        self.other = arm_news(message) or self.other

    def take_episode(self, message: String) -> None:
        """Count what was kept and discarded, by an episode status."""
        try:
            status = json.loads(message.data)
            self.kept, self.discarded = int(status["kept"]), int(status["discarded"])
        except (*UNREADABLE, KeyError, ValueError, TypeError):
            return
