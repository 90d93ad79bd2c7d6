"""ROS node of one gripper: commands in, measured opening out."""

import sys
import time

from diagnostic_msgs.msg import DiagnosticArray, DiagnosticStatus, KeyValue
from rclpy.node import Node
from rclpy.time import Time
from sensor_msgs.msg import JointState

from ate_core.contract import Cell
from ate_core.errors import SafetyError
from ate_core.nodes.parameters import declare_cell, declare_text
from ate_core.nodes.qos import COMMAND_QOS, DEFAULT_QOS
from ate_core.nodes.runner import run_node
from ate_core.priority import CONTROL
from omnipicker_driver.client import ClientConfig, GripperClient
from omnipicker_driver.commands import Health, accepted_ratio, gripper_health
from omnipicker_driver.protocol import MAX_FORCE
from omnipicker_driver.state import GripperState

LEVELS = {
    "ok": DiagnosticStatus.OK,
    "warn": DiagnosticStatus.WARN,
    "error": DiagnosticStatus.ERROR,
    "stale": DiagnosticStatus.STALE,
}


class GripperNode(Node):
    """Topics <-> `GripperClient`. Silence keeps the last target; a held object is not dropped."""

    def __init__(self) -> None:
        super().__init__("gripper_node")
        cell = declare_cell(self)
        self._side = declare_text(
            self, "arm", "left", "side of the cell this gripper is on", ("left", "right")
        )
        self._max_age = cell.safety.stamp_max_age
        self._refused = 0
        self._connect(cell)
        config = ClientConfig.from_cell(cell.grippers[self._side], cell.rates.gripper)
        self._client = GripperClient(config, self._publish_state)
        self._client.start()

    def halt(self) -> None:
        """Close the port; the gripper keeps its grip."""
        self._client.stop()

    def _connect(self, cell: Cell) -> None:
        namespace, topics = cell.grippers[self._side].namespace, cell.topics
        self._states = self.create_publisher(
            JointState, topics.of_arm(namespace, topics.gripper_states), DEFAULT_QOS
        )
        self._diagnostics = self.create_publisher(DiagnosticArray, "/diagnostics", DEFAULT_QOS)
        self.create_subscription(
            JointState,
            topics.of_arm(namespace, topics.gripper_command),
            self._take_command,
            COMMAND_QOS,
        )
        self.create_timer(1.0, self._publish_diagnostics)

    def _take_command(self, message: JointState) -> None:
        stamp_ns = Time.from_msg(message.header.stamp).nanoseconds
        now_ns = self.get_clock().now().nanoseconds
        try:
            ratio = accepted_ratio(message.position, stamp_ns, now_ns, self._max_age)
        except SafetyError as error:
            self._refused += 1
            self.get_logger().warning(str(error), throttle_duration_sec=1.0)
            return
        if not self._client.set_target(ratio):
            self._refused += 1

    def _publish_state(self, state: GripperState) -> None:
        """Publish one new report, from the client's thread; an old one is never stamped anew."""
        if state.report is None:
            return
        message = JointState(name=[f"{self._side}_gripper"])
        message.header.stamp = Time(nanoseconds=state.stamp_ns).to_msg()
        message.position = [state.report.position]
        message.velocity = [state.velocity]
        message.effort = [state.report.force * MAX_FORCE]
        self._states.publish(message)

    def _publish_diagnostics(self) -> None:
        stale_after = self._client.config.stale_after
        health = gripper_health(self._client.state, time.monotonic(), stale_after, self._refused)
        message = DiagnosticArray(status=[self._status(health)])
        message.header.stamp = self.get_clock().now().to_msg()
        self._diagnostics.publish(message)

    def _status(self, health: Health) -> DiagnosticStatus:
        return DiagnosticStatus(
            level=LEVELS[health.level],
            name=f"gripper_node: {self._side} gripper",
            message=health.message,
            hardware_id=self._client.config.port,
            values=[KeyValue(key=key, value=value) for key, value in health.values.items()],
        )


def main(args: list[str] | None = None) -> int:
    """Run the node until SIGINT or SIGTERM."""
    return run_node(GripperNode, args, CONTROL)


if __name__ == "__main__":
    sys.exit(main())
