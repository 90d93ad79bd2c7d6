"""The node of one operator: headset and Joy-Con in, joint and gripper commands out."""

import dataclasses
import threading
import time
from typing import Any

from rclpy.node import Node
from sensor_msgs.msg import JointState
from std_msgs.msg import String

from ate_core.commanders import POLICY
from ate_core.contract import SIDES, Cell
from ate_core.device_names import headset_device, joycon_device
from ate_core.errors import DeviceError
from ate_core.json_text import read_document
from ate_core.nodes.claim import DeviceClaim
from ate_core.nodes.estop import EstopListener
from ate_core.nodes.joints import joint_positions, require_recent
from ate_core.nodes.listening import listen
from ate_core.nodes.parameters import declare_cell, declare_text
from ate_core.nodes.qos import LATCHED_QOS, SENSOR_QOS
from ate_core.nodes.runner import run_node
from ate_core.operator_hands import DEVICES, HANDS, REPLAY, replayed_operator
from ate_core.priority import CONTROL, set_fifo
from ate_core.stage_times import OPERATOR_STAGES, WINDOW, StageTimes, Summary
from ate_core.topics import POLICY_STATUS
from ate_teleop.distance_rows import DistanceRows
from ate_teleop.ik import ArmIK
from ate_teleop.nodes.calibrations import Calibrations
from ate_teleop.nodes.feedback import ArmFeedback, ForceFeedback, OtherFeedback
from ate_teleop.nodes.messages import entry_of, is_held, state_of
from ate_teleop.nodes.news import News
from ate_teleop.nodes.pacing import PosePacedLoop
from ate_teleop.nodes.publishers import OperatorPublishers
from ate_teleop.nodes.scale_parameter import ScaleParameter
from ate_teleop.nodes.sources import (
    ButtonSource,
    HandSource,
    make_button_source,
    make_hand_source,
    make_recorder,
)
from ate_teleop.nodes.telling import Telling
from ate_teleop.nodes.wishes import WishServices
from ate_teleop.operator import OperatorController
from ate_teleop.operator_settings import operator_settings
from ate_teleop.prompts import button_names, inherited_episode
from ate_teleop.replay_calibration import calibration_entry
from operator_devices.hand_pose import HandSample

LOGGED_TICKS = 20_000
"""Periods, and ways of poses, kept for the sentences at the end; four minutes at 90 Hz."""


class OperatorNode(Node):
    """Runs one `OperatorController`, woken by poses, in a thread of its own."""

    def __init__(
        self,
        hand: HandSource | None = None,
        joycon: ButtonSource | None = None,
        **node_options: Any,
    ) -> None:
        """Build the node; `hand` and `joycon` replace the devices that the cell names."""
        super().__init__("operator", **node_options)
        cell = declare_cell(self)
        side = declare_text(self, "operator", "left", "arm that is driven", SIDES)
        hands = declare_text(self, "hands", DEVICES, "whose hands are followed", HANDS)
        folder = declare_text(self, "hands_record", "", "folder that gets the hands; empty: none")
        operator = replayed_operator(cell, side) if hands == REPLAY else cell.operators[side]
        topics, arm = cell.topics, cell.arms[operator.arm]
        # Kept until the process ends: one person moves one arm.
        devices = (
            "" if hand else headset_device(operator),
            "" if joycon else joycon_device(operator),
        )
        self._claim = DeviceClaim(lambda: devices)
        if taken := self._claim.take():
            raise DeviceError(taken)
        settings, rows = operator_settings(cell, side), DistanceRows(cell, operator.arm)
        self._controller = OperatorController(settings, ArmIK(settings.ik, rows), self._mark)
        self._calibrations = Calibrations(
            self, self._controller, cell, side, are_kept=hands != REPLAY
        )
        calibration = calibration_entry(self._calibrations.at_start)
        now_ns = self.get_clock().now().nanoseconds
        self._recorder = make_recorder(cell, side, folder, now_ns, calibration)
        self._hand = hand or make_hand_source(operator, self._recorder)
        self._joycon = joycon or make_button_source(operator, self._recorder)
        self._times = StageTimes(OPERATOR_STAGES, LOGGED_TICKS)
        self._done_ns: dict[str, int] = {}
        self._used_ns = -1
        self._latency: Summary = {}
        self._scale = ScaleParameter(self, self._controller)
        self._feedback = ArmFeedback(
            self, topics.joint_states, arm.joint_names, cell.safety.feedback_timeout
        )
        self._other = OtherFeedback(self, cell, operator.arm, rows)
        self._longest_tick_ns = int(1e9 * cell.safety.command_timeout)
        self._publish = OperatorPublishers(self, cell, side, hands)
        self._wishes = WishServices(self, topics.episode)
        self._news = News(self, cell, side)
        self._grip_held = self._battery_told = self._grip_yields = False
        self._estop = EstopListener(self, self._tell_stop)
        self._telling = self._make_telling(cell, side)
        self._opening: float | None = None
        self._gripper_joint = (f"{side}_gripper",)
        if operator.gripper_input == "stick":  # it leads on from where the gripper is
            listen(self, JointState, topics.gripper_states, self._take_opening, SENSOR_QOS)
        listen(self, String, topics.gripper_status, self._take_gripper, LATCHED_QOS)
        self._episodes = listen(
            self, String, f"{topics.episode}/status", self._take_episode, LATCHED_QOS
        )
        self._policies = listen(self, String, POLICY_STATUS, self._take_policy, LATCHED_QOS)
        self.create_timer(1.0, self._diagnose)
        self._stop = threading.Event()
        self._failure: BaseException | None = None
        self._loop = PosePacedLoop(self._hand, cell.rates.teleop, self._stop, LOGGED_TICKS)
        self._thread = threading.Thread(target=self._run, name="teleop")
        self._begin()

    def _begin(self) -> None:
        if self._recorder is not None:
            self._recorder.start()
        self._hand.start()
        self._joycon.start()
        self._thread.start()

    def _make_telling(self, cell: Cell, side: str) -> Telling:
        operator, topic = cell.operators[side], cell.topics.wrench
        timeout, full = cell.safety.feedback_timeout, operator.felt_force
        return Telling(
            self._hand,
            self._joycon,
            self._news,
            self._wishes,
            self._estop,
            number=1 + list(cell.operators).index(side),
            buttons=button_names(operator.joycon_side, operator.buttons),
            force=ForceFeedback(self, topic, timeout, full) if full else None,
        )

    def halt(self) -> None:
        """Fall silent, so that the arm holds, then close the devices."""
        self._stop.set()
        self._thread.join()
        self._calibrations.stop()
        self._joycon.stop()
        self._hand.stop()
        if self._recorder is not None:
            self._recorder.stop()
        self._claim.release()
        self.get_logger().info(self._loop.stats().sentence())
        self.get_logger().info(f"from pose to command, {self._times.sentence()}")

    def _take_episode(self, message: String) -> None:
        self._news.take_episode(message)
        number, old = entry_of(message, "episode"), inherited_episode(read_document(message.data))
        self._wishes.take_episode(state_of(message), number, time.monotonic(), old)

    def _take_opening(self, message: JointState) -> None:
        require_recent(self, message)
        self._opening = float(joint_positions(message, self._gripper_joint)[0])

    def _take_gripper(self, message: String) -> None:
        self._grip_held = is_held(message)

    def _take_policy(self, message: String) -> None:
        """Leave the gripper to a policy that begins, until the trigger is pressed anew."""
        self._wishes.policy = state_of(message)
        self._grip_yields = self._grip_yields or state_of(message) == "running"

    def _tell_stop(self, reason: str) -> None:
        if reason:
            self.get_logger().error(f"EMERGENCY STOP: {reason}; this operator is silent")
        else:
            self.get_logger().info("stop was reset: press the shoulder button to go on")

    def _run(self) -> None:
        set_fifo()
        try:
            for now_ns in self._loop:
                self._tick(now_ns)
        except Exception as error:  # raised again by _diagnose, which ends the process
            self._failure = error

    def _mark(self, stage: str) -> None:
        self._done_ns[stage] = time.monotonic_ns()

    def _tick(self, now_ns: int) -> None:
        self._done_ns = {"wake": now_ns}
        hand, joy = self._hand.latest(), self._joycon.latest()
        measured_q = self._feedback.poll(now_ns)
        if self._recorder is not None and measured_q is not None:
            self._recorder.take_joints(self._feedback.stamp_ns, measured_q, now_ns)
        self._other.poll(now_ns)
        grip_held = self._grip_held or self._grip_yields
        self._grip_yields = False
        output = self._controller.step(
            hand, joy, measured_q, now_ns, self._estop.reason, grip_held, self._opening,
            (self._news.own.trouble, self._news.other.trouble), self._news.own.guard,
            policy_drives=self._news.own.commander == POLICY,
        )  # fmt: skip
        self._publish.send_stop(output.stop, now_ns)
        self._publish.send_home(output.go_home)
        stamp_ns = self.get_clock().now().nanoseconds
        if time.monotonic_ns() - now_ns > self._longest_tick_ns:
            # The process stood still since the hand was looked at; the next tick opens the
            # clutch. Of a stall from here on the drivers see the age of the stamp.
            output = dataclasses.replace(output, joint_target=None, gripper=None)
        self._publish.send_command(output, stamp_ns)
        self._keep_times(hand)
        self._publish.send_opening(output, now_ns, stamp_ns)
        self._publish.send_hand(hand, now_ns, stamp_ns)
        self._publish.send_joy(joy, now_ns, stamp_ns)
        self._calibrations.take(output.calibration)
        status = self._telling.tell(output.status, now_ns)
        self._publish.send_status(status, self._devices(), self._latency, now_ns)
        if output.stop or self._estop.reason:
            self._wishes.forget()
        for event in output.events:
            self._wishes.ask(event)

    def _keep_times(self, hand: HandSample | None) -> None:
        """Keep how long the way of a new pose took; one used before waited for other things."""
        if hand is not None and hand.changed_ns != self._used_ns:
            self._used_ns = hand.changed_ns
            self._mark("publish")
            self._times.keep(hand.changed_ns, self._done_ns)

    def _devices(self) -> tuple[str, str]:
        return self._hand.status, self._joycon.status

    def _diagnose(self) -> None:
        if self._failure is not None:
            raise self._failure
        self._look_for_gone()
        self._scale.follow()
        self._warn_of_battery()
        while not self._telling.openings.empty():
            self.get_logger().warning(f"clutch open: {self._telling.openings.get()}")
        self._latency = self._times.summary(time.monotonic_ns() - int(1e9 * WINDOW))
        trouble = "" if self._recorder is None else self._recorder.trouble
        now_ns = self.get_clock().now().nanoseconds
        self._publish.send_diagnostics(self._devices(), trouble, now_ns)

    def _look_for_gone(self) -> None:
        """Forget the last words of processes that run no more."""
        self._news.look_for_gone()
        if not self._episodes.get_publisher_count():
            self._wishes.take_episode("", "", time.monotonic())
            self._news.recorder = ""
        if not self._policies.get_publisher_count():
            self._wishes.policy = ""

    def _warn_of_battery(self) -> None:
        """Log once that the Joy-Con should be charged."""
        status = self._publish.status
        is_low = status is not None and status.battery_low
        if is_low and not self._battery_told:
            self.get_logger().warning(f"{self._joycon.status}: battery low, charge it")
        self._battery_told = is_low


def main(args: list[str] | None = None) -> int:
    """Run the node until SIGINT or SIGTERM."""
    return run_node(OperatorNode, args, CONTROL, realtime=True)


if __name__ == "__main__":
    raise SystemExit(main())
