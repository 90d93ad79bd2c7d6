"""ROS node of one arm behind a forward position controller."""

import importlib
import sys
from collections.abc import Callable
from typing import Any

import numpy as np
from geometry_msgs.msg import WrenchStamped
from numpy.typing import NDArray
from rclpy.node import Node
from sensor_msgs.msg import JointState
from std_msgs.msg import Float64MultiArray, String

from arm_driver.nodes.arm_node import run_arm_node
from ate_core.devices import ArmConfig
from ate_core.nodes.listening import listen
from ate_core.nodes.qos import COMMAND_QOS, LATCHED_QOS, SENSOR_QOS
from ate_core.streams import header_stamp_ns
from ros2_control_driver.client import ForwardPositionArm, Options, arm_options

ASK_PERIOD = 0.2
"""How often the controller manager is asked [s]."""


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
            header_stamp_ns(message),
        )

    def take_wrench(message: WrenchStamped) -> None:
        force, torque = message.wrench.force, message.wrench.torque
        backend.take_wrench([force.x, force.y, force.z, torque.x, torque.y, torque.z])

    def take_description(message: String) -> None:
        backend.take_description(message.data)

    listen(node, JointState, options.state_topic, take_state, SENSOR_QOS)
    if options.description_topic:
        listen(node, String, options.description_topic, take_description, LATCHED_QOS)
    watch_controller(node, options, backend.take_controller_state)
    if options.wrench_topic:
        listen(node, WrenchStamped, options.wrench_topic, take_wrench, SENSOR_QOS)
    return backend


def watch_controller(node: Node, options: Options, take: Callable[[str], None]) -> None:
    """Ask the controller manager again and again whether the controller is active.

    Args:
        node: asks; said once where the manager's messages are not installed.
        options: name of the manager, empty: nobody is asked.
        take: gets the controller's lifecycle state, empty when it is not known.
    """
    if not options.controller_manager:
        return
    try:
        service = importlib.import_module("controller_manager_msgs.srv").ListControllers
    except ImportError:
        node.get_logger().warning(
            "controller_manager_msgs is not installed (apt: ros-jazzy-controller-manager-msgs): a "
            "controller that listens counts as active"
        )
        return
    controller = options.command_topic.split("/")[-2]
    client = node.create_client(service, f"{options.controller_manager}/list_controllers")

    def take_answer(future: Any) -> None:
        if future.cancelled() or future.exception() is not None:
            take("")
            return
        states = {item.name: item.state for item in future.result().controller}
        take(states.get(controller, "not loaded"))

    def ask() -> None:
        if client.service_is_ready():
            client.call_async(service.Request()).add_done_callback(take_answer)
        else:
            take("")

    node.create_timer(ASK_PERIOD, ask)


def main(args: list[str] | None = None) -> int:
    """Run the node until SIGINT or SIGTERM."""
    return run_arm_node(connect, args)


if __name__ == "__main__":
    sys.exit(main())
