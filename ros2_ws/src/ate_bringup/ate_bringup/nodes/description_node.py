"""Publish the description of every arm of the cell, for viewers: `<side>/robot_description`."""

import sys

from rclpy.node import Node
from std_msgs.msg import String

from ate_core.nodes.parameters import declare_cell
from ate_core.nodes.qos import LATCHED_QOS
from ate_core.nodes.runner import run_node
from ate_core.robot_description import robot_description

ROBOT_DESCRIPTION = "robot_description"
"""Name that every viewer expects, in the arm's namespace."""


class DescriptionNode(Node):
    """Says once what the arms are, also to those who ask later."""

    def __init__(self) -> None:
        super().__init__("description")
        cell = declare_cell(self)
        for side, arm in cell.arms.items():
            topic = cell.topics.of_arm(arm.namespace, ROBOT_DESCRIPTION)
            publisher = self.create_publisher(String, topic, LATCHED_QOS)
            publisher.publish(String(data=robot_description(side, arm)))


def main(args: list[str] | None = None) -> int:
    """Run the node."""
    return run_node(DescriptionNode, args)


if __name__ == "__main__":
    sys.exit(main())
