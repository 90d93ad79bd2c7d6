"""The policy's node falls silent for the emergency stop and for arms that do not follow."""

import json
import os
import time

import numpy as np
import pytest
import torch

from ate_policy import unheard
from ate_policy.checkpoint import save_checkpoint
from ate_policy.models.flow_policy import FlowPolicy, FlowPolicyConfig
from ate_policy.policy import checkpoint_of
from ate_policy.transforms import Statistics, VectorStatistics

pytestmark = pytest.mark.ros
rclpy = pytest.importorskip("rclpy")

SIDES = ("left", "right")


class Bench:
    """The node under test, whose network always answers, and another that plays the arms."""

    def __init__(self, folder, action):
        from rclpy.executors import SingleThreadedExecutor
        from sensor_msgs.msg import JointState
        from std_msgs.msg import Header, String
        from std_srvs.srv import Trigger

        from ate_core.nodes.estop import ESTOP_NODE, REQUEST_QOS, REQUEST_TOPIC, STATE_TOPIC
        from ate_core.nodes.qos import COMMAND_QOS, LATCHED_QOS, SENSOR_QOS
        from ate_policy.nodes.policy_node import PolicyNode

        self.text, self.trigger, self.joint_state = String, Trigger, JointState
        rclpy.init(args=["--ros-args", "-p", f"checkpoint:={folder}", "-p", "hardware:=sim"])
        self.policy = PolicyNode()
        self.policy._runtime.tick = lambda *_: action
        self.node = node = rclpy.create_node("bench")
        self.commands, self.statuses, self.holds = [], [], []
        for side in SIDES:
            node.create_subscription(
                JointState, f"/{side}/arm/joint_command", self.commands.append, COMMAND_QOS
            )
            node.create_subscription(Header, f"/{side}/arm/hold", self.holds.append, COMMAND_QOS)
        self.clutches = {
            side: node.create_publisher(String, f"/{side}/operator/status", LATCHED_QOS)
            for side in SIDES
        }
        node.create_subscription(
            String,
            "/policy/status",
            lambda m: self.statuses.append(json.loads(m.data)),
            LATCHED_QOS,
        )
        self.arms = {
            side: node.create_publisher(String, f"/{side}/arm/status", LATCHED_QOS)
            for side in SIDES
        }
        self.grippers = {
            side: node.create_publisher(String, f"/{side}/gripper/status", LATCHED_QOS)
            for side in SIDES
        }
        self.states = {
            f"{side} {part}": node.create_publisher(
                JointState, f"/{side}/{part}/joint_states", SENSOR_QOS
            )
            for side in SIDES
            for part in ("arm", "gripper")
        }
        self.silent = set(self.states)
        self.posture = {side: [0.0] * 7 for side in SIDES}
        self.behind = 0
        self.requests = node.create_publisher(String, REQUEST_TOPIC, REQUEST_QOS)
        self.estop_node = rclpy.create_node(ESTOP_NODE)
        self.estop = self.estop_node.create_publisher(String, STATE_TOPIC, LATCHED_QOS)
        self.executor = SingleThreadedExecutor()
        for one in (self.policy, node):
            self.executor.add_node(one)

    def tell(self, side, state, reason="", **more):
        text = json.dumps({"state": state, "reason": reason, **more})
        self.arms[side].publish(self.text(data=text))

    def hold_clutch(self, side, state, **more):
        self.clutches[side].publish(self.text(data=json.dumps({"clutch": state, **more})))

    def tell_gripper(self, side, state, reason=""):
        text = json.dumps({"state": state, "reason": reason})
        self.grippers[side].publish(self.text(data=text))

    def report(self, *silent):
        """Let every device report its joints from now on, but for these."""
        if not hasattr(self, "reporting"):
            self.reporting = self.node.create_timer(0.02, self._report)
        self.silent = set(silent)

    def _report(self):
        stamp = self.node.get_clock().now().to_msg()
        stamp.sec -= self.behind
        for device, publisher in self.states.items():
            if device not in self.silent:
                side, part = device.split()
                names, position = [f"{side}_gripper"], [0.0]
                if part == "arm":
                    names = list(self.policy.cell.arms[side].joint_names)
                    position = self.posture[side]
                message = self.joint_state(
                    name=names, position=position, velocity=[0.0] * len(names)
                )
                message.header.stamp = stamp
                publisher.publish(message)

    def reset_estop(self):
        for stopped, resets in ((True, 0), (False, 1)):
            state = {"stopped": stopped, "reason": "x", "instance": "bench", "resets": resets}
            state["stamp_ns"] = self.node.get_clock().now().nanoseconds
            self.estop.publish(self.text(data=json.dumps(state)))
            self.spin_for(0.1)

    def start(self):
        client = self.node.create_client(self.trigger, "/policy/start")
        self.spin_until(client.service_is_ready)
        future = client.call_async(self.trigger.Request())
        self.spin_until(future.done)
        return future.result()

    def start_until_running(self):
        self.spin_until(lambda: self.start().success)
        count = len(self.commands)
        self.spin_until(lambda: len(self.commands) > count + 4)

    def is_silent(self):
        """Whether nothing is commanded any more, once what was under way has come."""
        self.spin_for(0.1)
        count = len(self.commands)
        self.spin_for(0.3)
        return len(self.commands) == count

    def spin_until(self, condition, seconds=20.0):
        deadline = time.monotonic() + seconds
        while not condition():
            assert time.monotonic() < deadline, self.statuses[-1:]
            self.executor.spin_once(timeout_sec=0.02)

    def spin_for(self, seconds):
        deadline = time.monotonic() + seconds
        while (left := deadline - time.monotonic()) > 0:
            self.executor.spin_once(timeout_sec=left)

    def close(self):
        self.policy.halt()
        self.executor.shutdown()
        self.policy.destroy_node()
        self.node.destroy_node()
        self.estop_node.destroy_node()
        rclpy.try_shutdown()


@pytest.fixture
def bench(tmp_path, cell, node_environment):
    """Policy node and arms."""
    home = (*cell.arms["left"].home, 0.5, *cell.arms["right"].home, 0.5)
    one = VectorStatistics(mean=home, std=(1.0,) * 16, q01=home, q99=home)
    torch.manual_seed(0)
    model = FlowPolicy(FlowPolicyConfig(objects=0))
    checkpoint = checkpoint_of(
        "flow",
        model.config,
        weights=model.state_dict(),
        statistics=Statistics(state=one, action=one),
        contract=cell.canonical_text(),
        training={},
    )
    save_checkpoint(tmp_path / "policy", checkpoint)
    bench = Bench(tmp_path / "policy", np.zeros(16, np.float32))
    yield bench
    bench.close()


def test_a_policy_starts_only_when_every_arm_can_follow(bench):
    bench.spin_until(lambda: bench.statuses)
    assert "left arm does not report" in bench.start().message
    bench.tell("left", "connected")
    bench.tell("right", "fault", "joint 3 overheated")
    bench.spin_until(lambda: "right arm is fault joint 3 overheated" in bench.start().message)
    assert bench.is_silent()
    bench.tell("right", "holding")
    bench.start_until_running()


def test_an_emergency_stop_silences_the_policy_until_it_is_started_anew(bench):
    for side in SIDES:
        bench.tell(side, "tracking")
    bench.start_until_running()
    frames = {message.header.frame_id for message in bench.commands}
    assert len(frames) == 1 and frames.pop().startswith("policy#")
    bench.requests.publish(bench.text(data="smoke"))
    bench.spin_until(lambda: bench.statuses[-1]["state"] == "ready")
    assert "smoke" in bench.statuses[-1]["reason"] and bench.is_silent()
    assert "smoke" in bench.start().message
    bench.reset_estop()
    assert bench.is_silent(), "a reset alone starts nothing"
    bench.start_until_running()


def test_a_policy_that_an_arm_does_not_follow_falls_silent_with_the_reason(bench, monkeypatch):
    monkeypatch.setattr(unheard, "LONGEST_LOST", 0.3)
    for side in SIDES:
        bench.tell(side, "tracking", commander="policy")
    bench.start_until_running()
    bench.tell("left", "holding", commander="", refused="kept sending through a loss")
    bench.spin_until(lambda: bench.statuses[-1]["state"] == "ready")
    assert "through a loss" in bench.statuses[-1]["reason"] and bench.is_silent()
    bench.tell("left", "connected", commander="")
    bench.spin_until(lambda: bench.start().success)


def test_a_policy_whose_process_stood_still_waits_to_be_started(bench):
    for side in SIDES:
        bench.tell(side, "tracking")
    bench.start_until_running()
    bench.policy._runtime.tick = lambda *_: time.sleep(0.7)  # as a stopped process does
    bench.spin_until(lambda: bench.statuses[-1]["state"] == "ready")
    assert "stood still" in bench.statuses[-1]["reason"]


def test_a_policy_whose_arm_follows_another_policy_falls_silent(bench):
    own = {"commander": "policy", "source": f"{bench.policy._commander}/1"}
    for side in SIDES:
        bench.tell(side, "tracking", **own)
    bench.start_until_running()
    bench.spin_for(0.3)
    assert bench.statuses[-1]["state"] == "running"
    bench.tell("left", "tracking", **{**own, "source": "policy#1f0c27aa/1"})
    bench.spin_until(lambda: bench.statuses[-1]["state"] == "ready")
    assert "left arm follows policy#1f0c27aa/1" in bench.statuses[-1]["reason"]
    assert "left arm follows policy#1f0c27aa/1" in bench.start().message


def test_a_second_policy_of_the_cell_is_refused_by_the_process_of_the_first(bench):
    from ate_core.errors import DeviceError
    from ate_policy.nodes.policy_node import PolicyNode

    with pytest.raises(DeviceError, match=f"process {os.getpid()} already uses /policy"):
        PolicyNode()


def test_joints_of_another_time_say_nothing_of_a_device_nor_of_what_it_does(bench):
    for side in SIDES:
        bench.tell(side, "tracking")
    bench.report()
    bench.start_until_running()
    bench.behind, bench.posture = (
        86400,
        {side: [1.0] * 7 for side in SIDES},
    )  # a recording is played
    bench.spin_until(lambda: bench.statuses[-1]["state"] == "ready")
    assert "has been silent" in bench.statuses[-1]["reason"]
    assert bench.policy._newest["left_arm_state"][0] == 0.0


def test_a_policy_does_not_start_while_a_device_is_silent(bench):
    for side in SIDES:
        bench.tell(side, "tracking")
    bench.report()
    bench.spin_for(0.2)
    bench.report("right gripper")
    bench.spin_for(0.6)
    assert "right gripper is silent" in bench.start().message
    bench.report()
    bench.start_until_running()


@pytest.mark.parametrize("seconds", [0.25, 0.7])
def test_an_action_that_was_read_before_the_process_stood_still_is_never_sent(bench, seconds):
    for side in SIDES:
        bench.tell(side, "tracking")
    bench.start_until_running()
    withheld, stale = [], np.full(16, 0.5, np.float32)
    bench.policy._runtime.withhold = lambda: withheld.append(True)

    def stall(*_):
        bench.policy._runtime.tick = lambda *_: None
        time.sleep(seconds)  # as a stopped process does, between reading and sending
        return stale

    bench.policy._runtime.tick = stall
    bench.spin_until(lambda: withheld)
    bench.spin_for(0.3)
    assert not any(0.5 in message.position for message in bench.commands)
    stopped = seconds > 0.5
    assert (bench.statuses[-1]["state"] == "ready") == stopped


@pytest.mark.parametrize("state", ["stopped", "fault", "not_ready", "disconnected", "no_feedback"])
def test_an_arm_that_does_not_follow_silences_the_policy(bench, state):
    for side in SIDES:
        bench.tell(side, "tracking")
    bench.start_until_running()
    bench.tell("right", state, "why")
    bench.spin_until(lambda: bench.statuses[-1]["state"] == "ready")
    assert f"right arm is {state} why" in bench.statuses[-1]["reason"] and bench.is_silent()
    bench.tell("right", "connected")
    assert bench.is_silent(), "its return starts nothing"


@pytest.mark.parametrize("state", ["stopped", "fault", "not_ready", "disconnected", "no_feedback"])
def test_a_gripper_that_does_not_follow_silences_the_policy_until_it_is_started(bench, state):
    for side in SIDES:
        bench.tell(side, "tracking")
    bench.start_until_running()
    bench.tell_gripper("left", state, "why")
    bench.spin_until(lambda: bench.statuses[-1]["state"] == "ready")
    assert f"left gripper is {state} why" in bench.statuses[-1]["reason"] and bench.is_silent()
    assert "left gripper" in bench.start().message
    bench.tell_gripper("left", "connected")
    assert bench.is_silent(), "its return starts nothing"
    bench.start_until_running()


def test_a_gripper_that_misses_a_few_reports_does_not_end_the_policy(bench):
    for side in SIDES:
        bench.tell(side, "tracking")
    bench.start_until_running()
    bench.tell_gripper("left", "no_feedback", "late")
    bench.spin_for(0.1)
    bench.tell_gripper("left", "tracking")
    bench.spin_for(0.8)
    assert bench.statuses[-1]["state"] == "running"


@pytest.mark.parametrize("device", ["left arm", "right gripper"])
def test_one_silent_device_makes_both_arms_hold_and_then_ends_the_policy(bench, device):
    for side in SIDES:
        bench.tell(side, "tracking")
    bench.report()
    bench.start_until_running()
    bench.report(device)
    bench.spin_until(lambda: bench.statuses[-1]["state"] == "ready")
    assert f"{device} has been silent" in bench.statuses[-1]["reason"] and bench.is_silent()
    bench.report()
    assert bench.is_silent(), "its return starts nothing"
    bench.start_until_running()


def test_both_arms_go_on_together_after_a_moment_of_silence(bench, monkeypatch):
    monkeypatch.setattr("ate_policy.silence.END_AFTER", 1e9)
    for side in SIDES:
        bench.tell(side, "tracking")
    bench.report()
    bench.start_until_running()
    resets = []
    monkeypatch.setattr(bench.policy._runtime, "reset", lambda: resets.append(1))
    bench.report("left arm")
    bench.spin_until(lambda: bench.statuses[-1]["waits_for"])
    assert bench.statuses[-1]["state"] == "running" and bench.is_silent()
    assert "left arm is silent: all arms hold" in bench.statuses[-1]["reason"]
    count = len(bench.commands)
    bench.report()
    bench.spin_until(lambda: len(bench.commands) > count + 4)
    assert resets, "the chunks of before are forgotten"
    sent = bench.commands[count : count + 4]
    assert {message.name[0][:4] for message in sent} == {"left", "righ"}


def test_the_press_of_a_clutch_takes_over_from_the_policy_until_it_is_handed_back(bench):
    for side in SIDES:
        bench.tell(side, "tracking", commander="policy")
        bench.hold_clutch(side, "released")
    bench.start_until_running()
    bench.hold_clutch("left", "engaging")
    bench.spin_until(lambda: bench.statuses[-1]["state"] == "taken_over")
    assert "the left operator took over" in bench.statuses[-1]["reason"] and bench.is_silent()
    assert {header.frame_id for header in bench.holds} == {bench.policy._commander}
    assert len(bench.holds) == 2, "both arms brake"
    assert "the left operator holds the clutch" in bench.start().message
    bench.tell("left", "tracking", commander="teleop")
    bench.hold_clutch("left", "released")
    bench.spin_until(lambda: "left arm follows teleop" in bench.start().message)
    bench.tell("left", "connected", commander="")
    bench.start_until_running()
    assert bench.policy._report().takeovers == 1


def test_a_press_that_is_over_before_the_policy_looks_takes_over(bench):
    for side in SIDES:
        bench.tell(side, "tracking", commander="policy")
        bench.hold_clutch(side, "released", presses=4)
    bench.start_until_running()
    bench.hold_clutch("left", "engaging", presses=5)
    bench.hold_clutch("left", "released", presses=5)  # of both the policy hears the last alone
    bench.spin_until(lambda: bench.statuses[-1]["state"] == "taken_over")
    assert "the left operator took over" in bench.statuses[-1]["reason"] and bench.is_silent()
    bench.tell("left", "connected", commander="")
    bench.start_until_running()


@pytest.mark.parametrize(
    ("hold", "words"),
    [({"frozen": True}, "froze the arm"), ({"calibrating": True}, "is being calibrated")],
)
def test_an_arm_that_its_operator_holds_is_not_driven_nor_handed_back(bench, hold, words):
    for side in SIDES:
        bench.tell(side, "tracking", commander="policy")
        bench.hold_clutch(side, "released")
    bench.start_until_running()
    bench.hold_clutch("left", "released", **hold)
    bench.spin_until(lambda: bench.statuses[-1]["state"] == "taken_over")
    assert "the left operator took over" in bench.statuses[-1]["reason"] and bench.is_silent()
    assert len(bench.holds) == 2, "both arms brake"
    for side in SIDES:
        bench.tell(side, "connected", commander="")
    bench.hold_clutch("right", "engaging")
    bench.hold_clutch("right", "released")
    bench.spin_for(0.1)
    answer = bench.start()
    assert not answer.success and f"the left operator {words}" in answer.message
    bench.hold_clutch("left", "released")
    bench.start_until_running()


def test_a_policy_that_is_handed_back_to_begins_at_the_measured_posture(bench):
    del bench.policy._runtime.tick  # the real one, with a network that goes on from where it is

    def infer(observation, **_):
        ticks = np.arange(1, bench.policy._policy.horizon + 1, dtype=np.float32)[:, None]
        return observation.state + np.float32(0.01) * ticks * (np.arange(16) % 8 == 6)

    bench.policy._runtime._infer = infer
    homes = {side: list(bench.policy.cell.arms[side].home) for side in SIDES}
    bench.posture = homes
    for side in SIDES:
        bench.tell(side, "tracking", commander="policy")
        bench.tell_gripper(side, "tracking")
        bench.hold_clutch(side, "released")
    bench.report()
    bench.start_until_running()
    bench.hold_clutch("left", "engaging")
    bench.spin_until(lambda: bench.statuses[-1]["state"] == "taken_over")
    assert bench.is_silent()
    bench.posture = {**homes, "left": [*homes["left"][:6], homes["left"][6] + 0.3]}
    bench.hold_clutch("left", "released")
    for side in SIDES:
        bench.tell(side, "connected", commander="")
    bench.spin_for(0.3)  # the operator has led the arm there
    count = len(bench.commands)
    bench.start_until_running()
    first = {message.name[0]: message for message in reversed(bench.commands[count:])}
    for side in SIDES:
        message = first[bench.policy.cell.arms[side].joint_names[0]]
        away = np.abs(np.subtract(message.position, bench.posture[side])).max()
        assert away < 0.05, f"{side} is sent {away} rad away"


def test_an_arm_that_does_what_the_other_is_told_ends_the_policy_and_brakes_both(bench):
    cell = bench.policy.cell
    bench.posture = {side: list(cell.arms[side].home) for side in SIDES}  # both stand alike
    home = np.array([*cell.arms["left"].home, 0.5, *cell.arms["right"].home, 0.5])

    def turn_the_left_one(tick, _):
        begin.append(tick)
        return home + 0.03 * (tick - begin[0]) * (np.arange(16) == 6)

    begin = []
    bench.policy._runtime.tick = turn_the_left_one
    for side in SIDES:
        bench.tell(side, "tracking", commander="policy")
        bench.tell_gripper(side, "tracking")
    bench.report()
    bench.start_until_running()

    def is_told():
        newest = {message.name[0][:4]: list(message.position) for message in bench.commands[-4:]}
        bench.posture = {"left": newest["righ"], "right": newest["left"]}
        return "exchanged" in bench.statuses[-1]["reason"]

    bench.spin_until(is_told)
    reason = bench.statuses[-1]["reason"]
    assert reason.startswith("the right arm does what the left one is told"), reason
    assert bench.is_silent()
    assert len(bench.holds) == 2, "both arms brake"


def test_an_instruction_that_the_policy_cannot_follow_changes_nothing(bench, caplog):
    given = bench.node.create_publisher(bench.text, "/policy/instruction", 10)
    bench.spin_until(lambda: given.get_subscription_count() > 0)
    given.publish(bench.text(data="lift the lid"))
    bench.spin_until(lambda: "reads no instruction" in caplog.text)
    assert bench.policy._instruction == ""
    bench.policy._policy.require_instruction = lambda text: text
    given.publish(bench.text(data="lift the lid"))
    bench.spin_until(lambda: bench.policy._instruction == "lift the lid")
