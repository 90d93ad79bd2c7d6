"""ROS node of one arm behind a forward position controller."""

import sys

import numpy as np
from geometry_msgs.msg import WrenchStamped
from numpy.typing import NDArray
from rclpy.node import Node
from rclpy.time import Time
from sensor_msgs.msg import JointState
from std_msgs.msg import Float64MultiArray

from arm_driver.nodes.arm_node import run_arm_node
from ate_core.devices import ArmConfig
from ate_core.nodes.qos import COMMAND_QOS, SENSOR_QOS
from ros2_control_driver.client import ForwardPositionArm, arm_options


def connect(arm: ArmConfig, node: Node) -> ForwardPositionArm:
    """Back end of an arm whose states and targets go through topics of this node."""
    options = arm_options(arm)
    commands = node.create_publisher(Float64MultiArray, options.command_topic, COMMAND_QOS)

    def publish(q: NDArray[np.float64]) -> None:
        commands.publish(Float64MultiArray(data=q.tolist()))

    backend = ForwardPositionArm(
        arm,
        publish,
        commands.get_subscription_count,
        wall_ns=lambda: node.get_clock().now().nanoseconds,
    )

    def take_state(message: JointState) -> None:
        backend.take_state(
            message.name,
            message.position,
            message.velocity,
            message.effort,
            Time.from_msg(message.header.stamp).nanoseconds,
        )

    def take_wrench(message: WrenchStamped) -> None:
        force, torque = message.wrench.force, message.wrench.torque
        backend.take_wrench([force.x, force.y, force.z, torque.x, torque.y, torque.z])

    node.create_subscription(JointState, options.state_topic, take_state, SENSOR_QOS)
    if options.wrench_topic:
        node.create_subscription(WrenchStamped, options.wrench_topic, take_wrench, SENSOR_QOS)
    return backend


def main(args: list[str] | None = None) -> int:
    """Run the node until SIGINT or SIGTERM."""
    return run_arm_node(connect, args)


if __name__ == "__main__":
    sys.exit(main())
