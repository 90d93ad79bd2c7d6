"""ROS node that plays ros2_control's controllers for one arm of the simulated cell.

It has the topics of a joint state broadcaster, a forward position controller and a force torque
sensor broadcaster, and drives the arm of the simulated world instead of hardware.
"""

import sys
import threading

from geometry_msgs.msg import WrenchStamped
from rclpy.node import Node
from sensor_msgs.msg import JointState
from std_msgs.msg import Float64MultiArray

from arm_driver.emulator_options import emulator_parser, make_plant
from arm_driver.plant import Measurement, Plant
from ate_core.contract import Cell, load_cell
from ate_core.errors import AteError
from ate_core.loop import FixedRateLoop
from ate_core.nodes.listening import listen
from ate_core.nodes.qos import COMMAND_QOS, DEFAULT_QOS
from ate_core.nodes.runner import run_node
from ate_core.priority import CONTROL
from ros2_control_driver.client import arm_options
from ros2_control_driver.emulator.controllers import ForwardPositionController

STATES_PER_TICK = 2.0
"""States published for each that the driver publishes, so that each of its ticks finds one."""


class ControllersNode(Node):
    """Controllers of one arm."""

    def __init__(self, cell: Cell, side: str, plant: Plant) -> None:
        super().__init__(f"{side}_controllers")
        arm = cell.arms[side]
        options = arm_options(arm)
        self._names = list(arm.joint_names)
        self._frame = f"{side}_tool"
        self._controller = ForwardPositionController(plant, len(self._names))
        self._states = self.create_publisher(JointState, options.state_topic, DEFAULT_QOS)
        self._wrenches = (
            self.create_publisher(WrenchStamped, options.wrench_topic, DEFAULT_QOS)
            if options.wrench_topic
            else None
        )
        listen(self, Float64MultiArray, options.command_topic, self._take_command, COMMAND_QOS)
        self._stop = threading.Event()
        self._loop = FixedRateLoop(STATES_PER_TICK * cell.rates.arm_state, self._stop)
        self._thread = threading.Thread(target=self._broadcast, name="broadcasters")
        self._thread.start()

    def halt(self) -> None:
        """Publish no more; the arm keeps its last set point."""
        self._stop.set()
        self._thread.join()
        self._controller.close()
        self.get_logger().info(f"{self._controller.commands} commands taken")

    def _take_command(self, message: Float64MultiArray) -> None:
        refusal = self._controller.take(message.data)
        if refusal:
            self.get_logger().error(refusal, throttle_duration_sec=1.0)

    def _broadcast(self) -> None:
        for _ in self._loop:
            measured = self._controller.measure()
            if measured is not None:
                self._publish(measured)

    def _publish(self, measured: Measurement) -> None:
        stamp = self.get_clock().now().to_msg()
        state = JointState(name=self._names)
        state.header.stamp = stamp
        state.position = measured.q.tolist()
        state.velocity = measured.qd.tolist()
        state.effort = measured.torque.tolist()
        self._states.publish(state)
        if self._wrenches is None:
            return
        wrench = WrenchStamped()
        wrench.header.stamp, wrench.header.frame_id = stamp, self._frame
        force, torque = wrench.wrench.force, wrench.wrench.torque
        force.x, force.y, force.z, torque.x, torque.y, torque.z = measured.wrench.tolist()
        self._wrenches.publish(wrench)


def main(args: list[str] | None = None) -> int:
    """Run the controllers of one arm until SIGINT or SIGTERM; returns the exit code."""
    parser = emulator_parser(
        "python -m ros2_control_driver.emulator",
        "Controllers of one arm of the simulated cell, in place of ros2_control's.",
    )
    options = parser.parse_args(args)
    try:
        cell = load_cell(options.cell, "sim")
        plant = make_plant(options.plant, cell, options.side)
    except AteError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    return run_node(lambda: ControllersNode(cell, options.side, plant), [], CONTROL)


if __name__ == "__main__":
    sys.exit(main())
