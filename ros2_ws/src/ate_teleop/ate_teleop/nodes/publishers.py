"""Everything the node of one operator publishes."""

from collections.abc import Sequence

from diagnostic_msgs.msg import DiagnosticArray
from geometry_msgs.msg import PoseStamped
from rclpy.node import Node
from sensor_msgs.msg import JointState, Joy
from std_msgs.msg import Empty, Header, String

from ate_core.contract import Cell
from ate_core.nodes.command_source import unique_commander
from ate_core.nodes.estop import REQUEST_QOS, REQUEST_TOPIC
from ate_core.nodes.qos import COMMAND_QOS, DEFAULT_QOS, LATCHED_QOS
from ate_core.stage_times import Summary
from ate_teleop.nodes import messages
from ate_teleop.operator_status import OperatorOutput, OperatorStatus
from operator_devices.hand_pose import HandSample
from operator_devices.joycon_report import JoyConState

COMMANDER = "teleop"
"""Name of this commander in the header of its commands, before a ``#`` and its own number."""
STATUS_PERIOD_NS = 100_000_000
"""Least time between two statuses while the clutch stays as it is [ns]."""
REFRESH_NS = 30_000_000
"""Repetition of unchanged buttons and openings; well within the command timeout [ns]."""
STOP_NS = 50_000_000
"""Repetition of the request for an emergency stop while its buttons are held [ns]."""


class OperatorPublishers:
    """Publishes commands every tick, inputs when they are new, states when they change."""

    def __init__(self, node: Node, cell: Cell, side: str, hands: str) -> None:
        """Make the publishers, relative to the node's namespace; `hands` says whose they are."""
        topics, make = cell.topics, node.create_publisher
        self._side = side
        self._commander = unique_commander(COMMANDER)
        self._origin = {
            "hands": hands,
            "hardware": cell.hardware,
            "instance": self._commander,
        }
        self._joint_names = cell.arms[cell.operators[side].arm].joint_names
        self._frame = f"headset_{side}"
        self._wrist = make(PoseStamped, topics.wrist_pose, DEFAULT_QOS)
        self._joy = make(Joy, topics.joy, DEFAULT_QOS)
        self._command = make(JointState, topics.joint_command, COMMAND_QOS)
        self._gripper = make(JointState, topics.gripper_command, COMMAND_QOS)
        self._status = make(String, topics.operator_status, LATCHED_QOS)
        self._diagnostics = make(DiagnosticArray, "/diagnostics", DEFAULT_QOS)
        self._stop = make(String, REQUEST_TOPIC, REQUEST_QOS)
        self._stop_ns = -STOP_NS
        self._hold = make(Header, topics.hold, COMMAND_QOS)
        self._home = make(Empty, topics.home_hold, COMMAND_QOS)
        self._wrist_ns = -1
        self._last_joy: tuple[int, JoyConState | None] = (0, None)
        self._last_gripper: tuple[int, float | None] = (0, None)
        self._last_status: tuple[int, OperatorStatus | None] = (0, None)
        self._last_latency: Summary = {}

    @property
    def status(self) -> OperatorStatus | None:
        """The status published last."""
        return self._last_status[1]

    def send_stop(self, wanted: bool, now_ns: int) -> None:
        """Ask everybody to stop, at once and for as long as the operator holds the buttons."""
        if wanted and now_ns - self._stop_ns >= STOP_NS:
            self._stop_ns = now_ns
            self._stop.publish(String(data=f"{self._side} operator pressed stop on the Joy-Con"))

    def send_home(self, wanted: bool) -> None:
        """Ask the arm to go home, every tick that the operator holds the button."""
        if wanted:
            self._home.publish(Empty())

    def send_command(self, output: OperatorOutput, stamp_ns: int) -> None:
        """Send the joint target, or that there will be none; `stamp_ns` is ROS time."""
        if output.joint_target is not None:
            target = output.joint_target.tolist()
            self._command.publish(
                messages.joint_message(self._joint_names, target, self._commander, stamp_ns)
            )
        elif output.hold:
            stamp = messages.time_message(stamp_ns)
            self._hold.publish(Header(stamp=stamp, frame_id=self._commander))

    def send_opening(self, output: OperatorOutput, now_ns: int, stamp_ns: int) -> None:
        """Send the gripper's opening; `now_ns` is monotonic, `stamp_ns` ROS time."""
        sent_ns, sent = self._last_gripper
        due = output.gripper != sent or now_ns - sent_ns >= REFRESH_NS
        if output.gripper is not None and due:
            self._last_gripper = (now_ns, output.gripper)
            names = [f"{self._side}_gripper"]
            self._gripper.publish(
                messages.joint_message(names, [output.gripper], self._commander, stamp_ns)
            )

    def send_hand(self, hand: HandSample | None, now_ns: int, stamp_ns: int) -> None:
        """Send the wrist once per new pose, stamped with its time of receipt."""
        if hand is None or not hand.tracked or hand.changed_ns == self._wrist_ns:
            return
        self._wrist_ns = hand.changed_ns
        seen_ns = stamp_ns - (now_ns - hand.changed_ns)
        self._wrist.publish(
            messages.pose_message(hand.transform_wrist_to_headset, self._frame, seen_ns)
        )

    def send_joy(self, joy: JoyConState | None, now_ns: int, stamp_ns: int) -> None:
        """Send the buttons when they change, and now and then; nothing while they are unknown."""
        if joy is None or not joy.live:
            return
        sent_ns, sent = self._last_joy
        if sent is None or joy.buttons != sent.buttons or now_ns - sent_ns >= REFRESH_NS:
            self._last_joy = (now_ns, joy)
            seen_ns = stamp_ns - (now_ns - joy.received_ns)
            self._joy.publish(messages.joy_message(joy, self._frame, seen_ns))

    def send_status(
        self, status: OperatorStatus, devices: Sequence[str], latency: Summary, now_ns: int
    ) -> None:
        """Send the status when it changed; one that flickers, at most ten times per second."""
        sent_ns, sent = self._last_status
        if status == sent and latency == self._last_latency:
            return
        moved = sent is None or (status.clutch, status.presses) != (sent.clutch, sent.presses)
        if moved or now_ns - sent_ns >= STATUS_PERIOD_NS:
            self._last_status, self._last_latency = (now_ns, status), latency
            more = {**self._origin, "latency_ms": latency}
            self._status.publish(messages.status_message(self._side, status, devices, more))

    def send_diagnostics(self, devices: Sequence[str], not_recorded: str, stamp_ns: int) -> None:
        """Send the lines of `operator_lines`.

        Args:
            devices: what they say of themselves.
            not_recorded: why the hands are not recorded although they should; empty: all is well.
            stamp_ns: ROS time [ns].
        """
        status = self.status
        if status is None:
            return
        hand, joycon = devices
        lines = messages.operator_lines(self._side, status, hand, joycon, not_recorded)
        message = DiagnosticArray(status=lines)
        message.header.stamp = messages.time_message(stamp_ns)
        self._diagnostics.publish(message)
