"""What the nodes of a cell say of themselves: the JSON statuses, heard in one way by all who show.

One that is no JSON object is an empty document: whoever shows it knows nothing then.
"""

from collections.abc import Callable
from functools import partial

from rclpy.node import Node
from std_msgs.msg import String

from ate_core.contract import Cell
from ate_core.json_text import Document, read_document
from ate_core.nodes.listening import listen
from ate_core.nodes.qos import LATCHED_QOS
from ate_core.topics import ESTOP_STATE, POLICY_STATUS

Take = Callable[[Document], object]


def hear_part_statuses(
    node: Node, cell: Cell, take: Callable[[str, str, Document], object]
) -> None:
    """Hear the arms, the grippers and their operators.

    Args:
        node: who listens.
        cell: names of the topics.
        take: called with side, ``arm``, ``gripper`` or ``operator``, and what it says.
    """
    for (side, kind), topic in part_topics(cell).items():
        _hear(node, topic, partial(take, side, kind))


def part_topics(cell: Cell) -> dict[tuple[str, str], str]:
    """Side and ``arm``, ``gripper`` or ``operator`` -> topic of its status."""
    topics = cell.topics
    kinds = {
        "arm": topics.arm_status,
        "gripper": topics.gripper_status,
        "operator": topics.operator_status,
    }
    return {
        (side, kind): topics.of_arm(arm.namespace, topic)
        for side, arm in cell.arms.items()
        for kind, topic in kinds.items()
    }


def hear_cell_statuses(
    node: Node, cell: Cell, *, estop: Take, episode: Take, policy: Take
) -> None:
    """Hear the emergency stop, the recorder and the policy.

    Args:
        node: who listens.
        cell: names of the topics.
        estop: takes the state of the emergency stop.
        episode: takes the recorder's status.
        policy: takes the policy's status.
    """
    _hear(node, ESTOP_STATE, estop)
    _hear(node, episode_topic(cell), episode)
    _hear(node, POLICY_STATUS, policy)


def episode_topic(cell: Cell) -> str:
    """Topic of the recorder's status."""
    return f"{cell.topics.episode}/status"


def _hear(node: Node, topic: str, take: Take) -> None:
    listen(node, String, topic, lambda message: take(read_document(message.data)), LATCHED_QOS)
