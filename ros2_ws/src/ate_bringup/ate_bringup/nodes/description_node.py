"""Publish what the cell is, for viewers and planners: descriptions and transforms.

``/robot_description`` is the whole cell, ``/<side>/robot_description`` one arm. Transforms need
``tf2_msgs``, which comes with ROS from apt only; without it that is said once.
"""

import importlib
import math
import sys
from collections.abc import Iterable
from functools import partial
from typing import Any

from builtin_interfaces.msg import Time
from geometry_msgs.msg import TransformStamped
from rclpy.node import Node
from rclpy.qos import DurabilityPolicy, HistoryPolicy, QoSProfile, ReliabilityPolicy
from sensor_msgs.msg import JointState
from std_msgs.msg import String

from ate_core.cell_description import Frame, FrameTree, cell_description
from ate_core.geometry import matrix_to_pose
from ate_core.nodes.listening import listen
from ate_core.nodes.parameters import declare_cell
from ate_core.nodes.qos import LATCHED_QOS, SENSOR_QOS
from ate_core.nodes.runner import run_node
from ate_core.robot_description import robot_description

ROBOT_DESCRIPTION = "robot_description"
"""Name that every viewer expects."""
TRANSFORM_PERIOD_NS = 30_000_000
"""Transforms of an arm are published at most this often [ns]."""
TF_QOS = QoSProfile(
    reliability=ReliabilityPolicy.RELIABLE, history=HistoryPolicy.KEEP_LAST, depth=100
)
STATIC_TF_QOS = QoSProfile(
    reliability=ReliabilityPolicy.RELIABLE,
    durability=DurabilityPolicy.TRANSIENT_LOCAL,
    history=HistoryPolicy.KEEP_LAST,
    depth=1,
)


class DescriptionNode(Node):
    """Says once what the cell is, also to those who ask later, and where its frames are."""

    def __init__(self) -> None:
        super().__init__("description")
        cell = declare_cell(self)
        whole = cell_description(cell)
        self._say(f"/{ROBOT_DESCRIPTION}", whole)
        for side, arm in cell.arms.items():
            topic = cell.topics.of_arm(arm.namespace, ROBOT_DESCRIPTION)
            self._say(topic, robot_description(side, arm))
        try:
            self._tf_message = importlib.import_module("tf2_msgs.msg").TFMessage
        except ImportError:
            self.get_logger().info(
                "no tf2_msgs here: /tf and /tf_static are not published; they come with ROS from "
                "apt (ros-jazzy-tf2-msgs)"
            )
            return
        self._frames = FrameTree(whole)
        self._last_ns: dict[str, int] = {}
        self._standing = self.create_publisher(self._tf_message, "/tf_static", STATIC_TF_QOS)
        self._moving = self.create_publisher(self._tf_message, "/tf", TF_QOS)
        now = self.get_clock().now().to_msg()
        self._standing.publish(transforms(self._tf_message, self._frames.standing, now))
        for side, arm in cell.arms.items():
            topic = cell.topics.of_arm(arm.namespace, cell.topics.joint_states)
            listen(self, JointState, topic, partial(self._move, side), SENSOR_QOS)

    def _say(self, topic: str, text: str) -> None:
        self.create_publisher(String, topic, LATCHED_QOS).publish(String(data=text))

    def _move(self, side: str, message: JointState) -> None:
        stamp = message.header.stamp
        stamp_ns = stamp.sec * 1_000_000_000 + stamp.nanosec
        if 0 <= stamp_ns - self._last_ns.get(side, 0) < TRANSFORM_PERIOD_NS:
            return
        self._last_ns[side] = stamp_ns
        told = zip(message.name, message.position, strict=False)
        positions = {name: angle for name, angle in told if math.isfinite(angle)}
        frames = self._frames.moved(positions)
        self._moving.publish(transforms(self._tf_message, frames, stamp))


def transforms(message_type: Any, frames: Iterable[Frame], stamp: Time) -> Any:
    """TFMessage of some frames.

    Args:
        message_type: tf2_msgs.msg.TFMessage.
        frames: where they are.
        stamp: when.
    """
    entries = []
    for frame in frames:
        entry = TransformStamped(child_frame_id=frame.child)
        entry.header.stamp, entry.header.frame_id = stamp, frame.parent
        at, turn = entry.transform.translation, entry.transform.rotation
        values = matrix_to_pose(frame.transform_child_to_parent).tolist()
        at.x, at.y, at.z, turn.x, turn.y, turn.z, turn.w = values
        entries.append(entry)
    return message_type(transforms=entries)


def main(args: list[str] | None = None) -> int:
    """Run the node."""
    return run_node(DescriptionNode, args)


if __name__ == "__main__":
    sys.exit(main())
