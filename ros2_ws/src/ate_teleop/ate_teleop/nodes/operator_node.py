"""The node of one operator: headset and Joy-Con in, joint and gripper commands out."""

import threading
import time
from typing import Any, Protocol

from diagnostic_msgs.msg import DiagnosticArray
from geometry_msgs.msg import PoseStamped
from rclpy.node import Node
from sensor_msgs.msg import JointState, Joy
from std_msgs.msg import String

from ate_core.contract import SIDES
from ate_core.loop import FixedRateLoop
from ate_core.nodes.parameters import declare_cell, declare_text
from ate_core.nodes.qos import COMMAND_QOS, DEFAULT_QOS, LATCHED_QOS, SENSOR_QOS
from ate_core.nodes.runner import run_node
from ate_teleop.devices.hand_pose import HandSample
from ate_teleop.devices.joycon import JoyConConfig, JoyConReader
from ate_teleop.devices.joycon_report import JoyConState
from ate_teleop.devices.vision_pro import VisionProConfig, VisionProReader
from ate_teleop.nodes import messages
from ate_teleop.nodes.wishes import WishServices
from ate_teleop.operator import (
    OperatorController,
    OperatorOutput,
    OperatorStatus,
    operator_settings,
)

COMMANDER = "teleop"
"""Name of this commander in the header of its commands."""
STATUS_PERIOD_NS = 100_000_000
"""Least time between two statuses of an unchanged clutch."""
REFRESH_NS = 30_000_000
"""Repetition of unchanged buttons and gripper commands; well within the command timeout."""


class HandSource(Protocol):
    """Anything that delivers hand poses: a headset or a file."""

    def start(self) -> None:
        """Begin in the background."""

    def stop(self) -> None:
        """End and wait."""

    def latest(self) -> HandSample | None:
        """Newest sample."""

    @property
    def status(self) -> str:
        """One line for the operator."""


class ButtonSource(Protocol):
    """Anything that delivers buttons and has lamps."""

    def start(self) -> None:
        """Begin in the background."""

    def stop(self) -> None:
        """End and wait."""

    def latest(self) -> JoyConState | None:
        """Newest state."""

    def set_lamps(self, mask: int) -> None:
        """Light lamp 1 = bit 0 and so on."""

    @property
    def status(self) -> str:
        """One line for the operator."""


class OperatorNode(Node):
    """Runs one `OperatorController` at a fixed rate in a thread of its own."""

    def __init__(
        self,
        hand: HandSource | None = None,
        joycon: ButtonSource | None = None,
        **node_options: Any,
    ) -> None:
        """Build the node; `hand` and `joycon` replace the devices that the cell names."""
        super().__init__("operator", **node_options)
        cell = declare_cell(self)
        self._side = declare_text(self, "operator", "left", "arm that is driven", SIDES)
        config = cell.operators[self._side]
        self._arm = cell.arms[config.arm]
        self._hand = hand or VisionProReader(
            VisionProConfig(ip=config.headset_ip, port=config.headset_port, hand=config.hand)
        )
        self._joycon = joycon or JoyConReader(
            JoyConConfig(serial=config.joycon_serial, side=config.joycon_side)
        )
        self._controller = OperatorController(operator_settings(cell, self._side))
        self._feedback_ns = int(cell.safety.feedback_timeout * 1e9)
        self._measured: tuple[int, Any] = (0, None)  # arrival [ns, monotonic], q (7,)
        self._measured_stamp: object = None
        self._recording = False
        self._status: tuple[int, OperatorStatus | None] = (0, None)
        self._wrist_ns = -1
        self._joy: tuple[int, JoyConState | None] = (0, None)
        self._gripper: tuple[int, float | None] = (0, None)
        self._wishes = WishServices(self, cell.topics.episode)
        self._connect(cell.topics)
        self._stop = threading.Event()
        self._failure: BaseException | None = None
        self._loop = FixedRateLoop(cell.rates.teleop, self._stop)
        self._thread = threading.Thread(target=self._run, name="teleop")
        self._hand.start()
        self._joycon.start()
        self._thread.start()

    def halt(self) -> None:
        """Fall silent, so that the arm holds, then close the devices."""
        self._stop.set()
        self._thread.join()
        self._joycon.stop()
        self._hand.stop()
        self.get_logger().info(self._loop.stats().sentence())

    def _connect(self, topics: Any) -> None:
        make = self.create_publisher
        self._wrist_publisher = make(PoseStamped, topics.wrist_pose, DEFAULT_QOS)
        self._joy_publisher = make(Joy, topics.joy, DEFAULT_QOS)
        self._command_publisher = make(JointState, topics.joint_command, COMMAND_QOS)
        self._gripper_publisher = make(JointState, topics.gripper_command, COMMAND_QOS)
        self._status_publisher = make(String, topics.operator_status, LATCHED_QOS)
        self._diagnostics_publisher = make(DiagnosticArray, "/diagnostics", DEFAULT_QOS)
        self.create_subscription(JointState, topics.joint_states, self._take_joints, SENSOR_QOS)
        self.create_subscription(
            String, f"{topics.episode}/status", self._take_episode, LATCHED_QOS
        )
        self.create_timer(1.0, self._diagnose)

    def _take_joints(self, message: JointState) -> None:
        stamp = (message.header.stamp.sec, message.header.stamp.nanosec)
        positions = messages.ordered_positions(message, self._arm.joint_names)
        if positions is not None and stamp != self._measured_stamp:  # a repeated one is no news
            self._measured_stamp = stamp
            self._measured = (time.monotonic_ns(), positions)

    def _take_episode(self, message: String) -> None:
        self._recording = messages.is_recording(message)

    def _run(self) -> None:
        try:
            for _ in self._loop:
                self._tick(time.monotonic_ns())
        except BaseException as error:  # raised again in the executor, which ends the process
            self._failure = error

    def _tick(self, now_ns: int) -> None:
        hand, joy = self._hand.latest(), self._joycon.latest()
        arrival_ns, positions = self._measured
        fresh = now_ns - arrival_ns <= self._feedback_ns
        output = self._controller.step(
            hand, joy, positions if fresh else None, now_ns, self._recording
        )
        stamp_ns = self.get_clock().now().nanoseconds
        self._send_commands(output, now_ns, stamp_ns)
        self._send_inputs(hand, joy, now_ns, stamp_ns)
        self._send_status(output.status, now_ns)
        self._joycon.set_lamps(output.lamps)
        for event in output.events:
            self._wishes.ask(event, self._recording)

    def _send_commands(self, output: OperatorOutput, now_ns: int, stamp_ns: int) -> None:
        if output.joint_target is not None:
            target = output.joint_target.tolist()
            self._command_publisher.publish(
                messages.joint_message(self._arm.joint_names, target, COMMANDER, stamp_ns)
            )
        sent_ns, sent = self._gripper
        due = output.gripper != sent or now_ns - sent_ns >= REFRESH_NS
        if output.gripper is not None and due:
            self._gripper_publisher.publish(
                messages.joint_message(
                    [f"{self._side}_gripper"], [output.gripper], COMMANDER, stamp_ns
                )
            )
            self._gripper = (now_ns, output.gripper)

    def _send_inputs(
        self, hand: HandSample | None, joy: JoyConState | None, now_ns: int, stamp_ns: int
    ) -> None:
        frame = f"headset_{self._side}"
        if hand is not None and hand.tracked and hand.changed_ns != self._wrist_ns:
            self._wrist_ns = hand.changed_ns
            seen_ns = stamp_ns - (now_ns - hand.received_ns)
            pose = messages.pose_message(hand.transform_wrist_to_headset, frame, seen_ns)
            self._wrist_publisher.publish(pose)
        sent_ns, sent = self._joy
        if joy is None or not joy.live:
            return
        if sent is None or joy.buttons != sent.buttons or now_ns - sent_ns >= REFRESH_NS:
            self._joy = (now_ns, joy)
            self._joy_publisher.publish(
                messages.joy_message(joy, frame, stamp_ns - (now_ns - joy.received_ns))
            )

    def _send_status(self, status: OperatorStatus, now_ns: int) -> None:
        sent_ns, sent = self._status
        if status == sent:
            return
        clutch_moved = sent is None or status.clutch is not sent.clutch
        if clutch_moved or now_ns - sent_ns >= STATUS_PERIOD_NS:
            self._status = (now_ns, status)
            self._status_publisher.publish(
                messages.status_message(self._side, status, self._device_lines())
            )

    def _device_lines(self) -> list[str]:
        return [self._hand.status, self._joycon.status]

    def _diagnose(self) -> None:
        """Publish diagnostics once per second; raise what ended the loop, so the process ends."""
        if self._failure is not None:
            raise self._failure
        status = self._status[1]
        if status is None:
            return
        name = f"{self._side} operator"
        hand, joycon = self._device_lines()
        trouble = status.reason or ("target out of reach" if status.out_of_reach else "")
        lines = (
            messages.diagnostic(f"{name}: hand", hand, status.tracked, hand),
            messages.diagnostic(f"{name}: joycon", joycon, status.joycon, joycon),
            messages.diagnostic(
                f"{name}: clutch",
                name,
                not trouble,
                trouble or status.clutch.value,
                joints_at_limit=status.limits,
            ),
        )
        message = DiagnosticArray(status=list(lines))
        message.header.stamp = self.get_clock().now().to_msg()
        self._diagnostics_publisher.publish(message)


def main(args: list[str] | None = None) -> int:
    """Run the node until SIGINT or SIGTERM."""
    return run_node(OperatorNode, args)


if __name__ == "__main__":
    raise SystemExit(main())
