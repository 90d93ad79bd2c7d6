"""The operator node as a process, against an emulated headset and an emulated Joy-Con."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import yaml

pytestmark = pytest.mark.ros

rclpy = pytest.importorskip("rclpy")

from geometry_msgs.msg import WrenchStamped  # noqa: E402
from rclpy.executors import SingleThreadedExecutor  # noqa: E402
from rclpy.node import Node  # noqa: E402
from sensor_msgs.msg import JointState, Joy  # noqa: E402
from std_msgs.msg import Empty, Header, String  # noqa: E402
from std_srvs.srv import Trigger  # noqa: E402

from ate_core.contract import load_cell, packaged_cell  # noqa: E402
from ate_core.device_names import headset_device, joycon_device  # noqa: E402
from ate_core.geometry import rotation_exp, transform  # noqa: E402
from ate_core.hand_mapping import (  # noqa: E402
    hand_pose_for_tool_motion,
    operator_mapping,
)
from ate_core.nodes.claim import DeviceClaim  # noqa: E402
from ate_core.nodes.estop import ESTOP_NODE, REQUEST_QOS, REQUEST_TOPIC, STATE_TOPIC  # noqa: E402
from ate_core.nodes.qos import COMMAND_QOS, DEFAULT_QOS, LATCHED_QOS  # noqa: E402
from ate_core.stage_times import OPERATOR_STAGES, TOTAL  # noqa: E402
from ate_teleop.hand_words import FORCE_STRONGEST, force_pattern  # noqa: E402
from ate_teleop.ik import ArmIK, arm_ik_config  # noqa: E402
from operator_devices.joycon_emulator import JoyConEmulator, standin_path  # noqa: E402
from operator_devices.joycon_report import BUTTONS  # noqa: E402
from operator_devices.vision_pro_emulator import HeadsetEmulator  # noqa: E402

HAND = transform(rotation_exp([0.2, -0.1, 0.4]), [0.2, 0.4, 1.1])


class Bench:
    """A node that plays arm and recorder, and keeps what the operator node publishes."""

    def __init__(self, cell):
        self.arm = cell.arms["left"]
        self.q = np.array(self.arm.home)
        self.commands, self.grips, self.joys, self.statuses, self.calls = [], [], [], [], []
        self.stops, self.homes, self.holds = [], [], []
        self.arm_alive, self.force = True, None
        self.context = rclpy.Context()
        rclpy.init(context=self.context)
        self.node = node = Node("bench", context=self.context)
        self.executor = SingleThreadedExecutor(context=self.context)
        self.executor.add_node(node)
        self.states = node.create_publisher(JointState, "/left/arm/joint_states", DEFAULT_QOS)
        self.wrenches = node.create_publisher(WrenchStamped, "/left/arm/wrench", DEFAULT_QOS)
        self.episode = node.create_publisher(String, "/episode/status", LATCHED_QOS)
        for name, kind, take, qos in (
            ("arm/joint_command", JointState, self._command, COMMAND_QOS),
            ("gripper/command", JointState, self.grips.append, COMMAND_QOS),
            ("arm/hold", Header, self.holds.append, COMMAND_QOS),
            ("arm/home_hold", Empty, self.homes.append, COMMAND_QOS),
            ("operator/joy", Joy, self.joys.append, DEFAULT_QOS),
            ("operator/status", String, self._status, LATCHED_QOS),
        ):
            node.create_subscription(kind, f"/left/{name}", take, qos)
        self.estop_node = Node(ESTOP_NODE, context=self.context)
        self.estop = self.estop_node.create_publisher(String, STATE_TOPIC, LATCHED_QOS)
        node.create_subscription(
            String, REQUEST_TOPIC, lambda m: self.stops.append(m.data), REQUEST_QOS
        )
        for verb in ("start", "stop", "discard", "redo"):
            node.create_service(Trigger, f"/episode/{verb}", self._service(verb))
        node.create_timer(0.01, self._send_state)

    def _command(self, message):
        self.commands.append(message)
        self.q = np.array(message.position)

    def _status(self, message):
        self.statuses.append(json.loads(message.data))

    def _service(self, verb):
        def call(_, answer):
            self.calls.append(verb)
            answer.success = True
            return answer

        return call

    def _send_state(self):
        if self.arm_alive:
            message = JointState(name=list(self.arm.joint_names), position=self.q.tolist())
            message.header.stamp = self.node.get_clock().now().to_msg()
            self.states.publish(message)

        if self.force is not None:
            message = WrenchStamped()
            message.header.stamp = self.node.get_clock().now().to_msg()
            message.wrench.force.z = -self.force
            self.wrenches.publish(message)

    def tell_estop(self, stopped, resets):
        state = {"stopped": stopped, "reason": "test", "instance": "bench", "resets": resets}
        state["stamp_ns"] = self.node.get_clock().now().nanoseconds
        self.estop.publish(String(data=json.dumps(state)))
        self.spin_for(0.1)

    def clutch(self):
        return self.statuses[-1]["clutch"] if self.statuses else None

    def spin_until(self, condition, seconds=30.0):
        deadline = time.monotonic() + seconds
        while not condition():
            last = self.statuses[-1] if self.statuses else None
            assert time.monotonic() < deadline, f"not reached; status {last}"
            self.executor.spin_once(timeout_sec=0.02)

    def spin_for(self, seconds):
        deadline = time.monotonic() + seconds
        while (left := deadline - time.monotonic()) > 0:
            self.executor.spin_once(timeout_sec=left)

    def close(self):
        self.executor.shutdown()
        self.node.destroy_node()
        self.estop_node.destroy_node()
        rclpy.shutdown(context=self.context)


@pytest.fixture
def cell_file(tmp_path):
    """The packaged cell with a headset address of this test run alone."""
    values = yaml.safe_load(packaged_cell().read_text())
    pid = os.getpid()
    address = f"127.77.{pid // 250 % 250}.{2 + pid % 250}"
    values["simulation"]["operators"]["left"]["headset_ip"] = address
    values["operators"]["left"]["felt_force"] = 40.0
    path = tmp_path / "cell.yaml"
    path.write_text(yaml.safe_dump(values))
    return path


@pytest.fixture
def stand(cell_file, runtime_dir):
    """Headset, Joy-Con, bench and the node's process, all up and the hand in view."""
    cell = load_cell(cell_file, "sim")
    operator = cell.operators["left"]
    hid = Path(runtime_dir) / "hid"
    paths = [str(standin_path()), *sys.path]
    environment = {
        **os.environ,
        "PYTHONPATH": os.pathsep.join(path for path in paths if path),
        "ATE_HID_DIR": str(hid),
    }
    command = [sys.executable, "-m", "ate_teleop.nodes.operator_node", "--ros-args"]
    command += ["-r", "__ns:=/left", "-p", "hardware:=sim", "-p", "operator:=left"]
    command += ["-p", f"cell:={cell_file}"]
    bench = Bench(cell)
    with (
        HeadsetEmulator(operator.headset_ip) as headset,
        JoyConEmulator(operator.joycon_serial, operator.joycon_side, hid) as joycon,
    ):
        headset.set_wrist(operator.hand, HAND)
        headset.set_tracked(operator.hand, True)
        process = subprocess.Popen(command, env=environment)
        try:
            bench.spin_until(
                lambda: (
                    bench.statuses
                    and all(bench.statuses[-1][key] for key in ("tracked", "joycon", "arm"))
                ),
                seconds=60.0,
            )
            yield cell, headset, joycon, bench, process
        finally:
            process.send_signal(signal.SIGINT)
            try:
                code = process.wait(timeout=10)
            finally:
                process.kill()
                bench.close()
        assert code == 0


class Person:
    """Plays the operator: looks at the status, and presses anew when the clutch was lost."""

    def __init__(self, cell, headset, joycon, bench):
        self.operator, arm = cell.operators["left"], cell.arms["left"]
        self.headset, self.joycon, self.bench = headset, joycon, bench
        self.mapping = operator_mapping(self.operator, arm)
        self.ik = ArmIK(arm_ik_config(arm, cell.safety))
        self.hand = HAND.copy()

    def tool(self):
        return self.ik.tool_pose(self.bench.q)

    def release(self):
        self.joycon.release("l")
        self.bench.spin_until(lambda: self.bench.clutch() == "released")

    def engage(self):
        """Press until the clutch holds; a starved machine may lose it at once."""
        deadline = time.monotonic() + 30
        while self.bench.clutch() != "engaged":
            assert time.monotonic() < deadline, self.bench.statuses[-1]
            self.release()
            self.joycon.press("l")
            self.bench.spin_until(lambda: self.bench.clutch() in ("engaged", "blocked"))

    def move(self, way):
        """Move the hand by a way (3,) [m] at 0.25 m/s."""
        steps = round(np.linalg.norm(way) / 0.005)
        for _ in range(steps):
            self.hand[:3, 3] += np.array(way) / steps
            self.headset.set_wrist(self.operator.hand, self.hand)
            self.bench.spin_for(0.02)

    def stroke(self, way):
        """Hold the clutch and move the hand, as a calibration asks for."""
        before = self.bench.statuses[-1]["calibration"]
        self.joycon.press("l")
        self.bench.spin_until(lambda: self.bench.clutch() in ("blocked", "engaged"))
        self.move(way)
        self.bench.spin_for(0.05)
        self.joycon.release("l")
        self.bench.spin_until(lambda: self.bench.statuses[-1]["calibration"] != before)

    def drag_tool_to(self, goal):
        """Move the hand at 0.2 m/s until the tool is within a millimetre of `goal` (3,)."""
        deadline = time.monotonic() + 30
        while np.abs(self.tool()[:3, 3] - goal).max() > 0.001:
            assert time.monotonic() < deadline, self.bench.statuses[-1]
            if self.bench.clutch() != "engaged":
                self.engage()
                hand_start, tool_start = self.hand.copy(), self.tool()
                wanted = tool_start.copy()
                wanted[:3, 3] = goal
                target = hand_pose_for_tool_motion(self.mapping, hand_start, tool_start, wanted)
            way = target[:3, 3] - self.hand[:3, 3]
            length = np.linalg.norm(way)
            self.hand[:3, 3] += way * min(1.0, 0.004 / max(length, 1e-9))
            self.headset.set_wrist(self.operator.hand, self.hand)
            self.bench.spin_for(0.02)


def feels(joycon, amplitude):
    """Whether the hand feels a force of this amplitude, by the bytes on the Joy-Con's wire."""
    last = joycon.felt[-1]
    return (last.amplitude, last.frequency) == pytest.approx((amplitude, 150.0), rel=0.06)


def test_an_operator_moves_the_arm_by_hand(stand):
    cell, headset, joycon, bench, _ = stand
    person = Person(cell, headset, joycon, bench)
    start = person.tool()
    assert not bench.commands, "a command was sent with the clutch open"
    bench.spin_until(lambda: joycon.flashing == 0b0001)
    assert bench.statuses[-1]["prompt"].startswith("hold L")
    person.engage()
    bench.spin_until(lambda: bench.commands)
    first = np.array(bench.commands[0].position)
    assert bench.commands[0].header.frame_id.startswith("teleop#")
    told = bench.statuses[-1]
    assert told["presses"] >= 1 and told["instance"] == bench.commands[0].header.frame_id
    assert np.abs(first - cell.arms["left"].home).max() < 0.005
    person.release()
    person.drag_tool_to(start[:3, 3] + [0.04, 0.02, 0.05])
    bench.spin_until(lambda: any(status["latency_ms"] for status in bench.statuses))
    times = next(status["latency_ms"] for status in bench.statuses if status["latency_ms"])
    assert list(times) == [*OPERATOR_STAGES, TOTAL]
    assert all(0.0 <= median <= p99 <= times[TOTAL][1] for median, p99 in times.values())
    person.engage()
    bench.spin_until(lambda: joycon.lamps == 0b10 or bench.clutch() != "engaged")
    person.release()
    count = len(bench.commands)
    bench.spin_for(0.2)
    assert len(bench.commands) <= count + 1, "commands went on after the clutch opened"
    bench.spin_until(lambda: len(bench.holds) > 1)
    commander = bench.commands[0].header.frame_id
    assert {hold.frame_id for hold in bench.holds} == {commander}, "each stroke ended in a hold"


def test_after_a_calibration_in_a_turned_headset_a_push_forward_moves_the_tool_forward(
    stand, runtime_dir
):
    cell, headset, joycon, bench, _ = stand
    person = Person(cell, headset, joycon, bench)
    turn = transform(rotation_exp([0.0, 0.0, 1.0]), np.zeros(3))
    headset.recentre(turn)
    person.hand[:3, :3] = rotation_exp([0.0, 0.0, -np.pi / 2])  # fingers forward, thumb up
    deadline = time.monotonic() + 60
    while not (said := bench.statuses[-1]["calibration"]).startswith("the person faces 57"):
        assert time.monotonic() < deadline, bench.statuses[-1]
        person.release()
        joycon.press("left_sl")
        joycon.press("left_sr")
        bench.spin_until(lambda: bench.statuses[-1]["calibrating"])
        for way in ([0.0, 0.2, 0.0], [0.2, 0.0, 0.0]):
            if bench.statuses[-1]["calibrating"]:  # a starved machine may lose the hand
                person.stroke(way)
        joycon.release("left_sl")
        joycon.release("left_sr")
    if not bench.statuses[-1]["calibrations_refused"]:
        assert not bench.commands, "the arm moved while its operator was calibrated"
    stored = Path(runtime_dir) / "calibrations" / "ate_cell_sim-left.yaml"
    bench.spin_until(stored.is_file)
    assert yaml.safe_load(stored.read_text())["heading"] == pytest.approx(1.0, abs=0.01), said
    way = np.zeros(3)
    while np.linalg.norm(way) < 0.05:
        assert time.monotonic() < deadline, bench.statuses[-1]
        person.engage()
        before = person.tool()[:3, 3]
        person.move([0.0, 0.06, 0.0])
        bench.spin_for(0.5)
        way = person.tool()[:3, 3] - before
    assert np.degrees(np.arctan2(np.linalg.norm(way[1:]), way[0])) < 1.0


def test_buttons_work_the_gripper_the_episode_and_the_way_home(stand):
    _, _, joycon, bench, _ = stand
    joycon.press("zl")
    bench.spin_until(lambda: bench.grips and bench.grips[-1].position[0] == 0.0)
    joycon.release("zl")
    bench.spin_until(lambda: bench.grips[-1].position[0] == 1.0)
    joycon.press("minus")
    bench.spin_until(lambda: bench.calls == ["discard"])
    bench.spin_until(lambda: any(joy.buttons[BUTTONS.index("minus")] for joy in bench.joys))
    bench.episode.publish(String(data=json.dumps({"state": "recording"})))
    bench.spin_until(lambda: joycon.lamps == 0b01)
    bench.spin_until(lambda: "up ends the episode" in bench.statuses[-1]["prompt"])
    joycon.press("capture")
    bench.spin_until(lambda: len(bench.homes) > 5)
    joycon.release("capture")
    bench.spin_for(0.2)
    count = len(bench.homes)
    bench.spin_for(0.3)
    assert len(bench.homes) == count, "the arm was sent home after the release"
    assert not bench.commands


def test_an_operator_is_told_of_contact_of_the_other_one_and_of_a_low_battery(stand):
    cell, headset, joycon, bench, _ = stand
    bench.spin_until(lambda: "no force is felt" in bench.statuses[-1]["prompt"])
    bench.force = 40.0
    bench.spin_until(lambda: "no force is felt" not in bench.statuses[-1]["prompt"])
    Person(cell, headset, joycon, bench).engage()
    bench.spin_until(lambda: feels(joycon, FORCE_STRONGEST))
    bench.force = 20.0
    bench.spin_until(lambda: feels(joycon, force_pattern(0.5)[0][0].amplitude))
    bench.force = None
    bench.spin_until(lambda: joycon.felt[-1].amplitude == 0.0)
    bench.spin_until(lambda: "no force is felt" in bench.statuses[-1]["prompt"])
    other = bench.node.create_publisher(String, "/right/operator/status", LATCHED_QOS)
    other.publish(String(data=json.dumps({"clutch": "blocked", "reason": "hand jumped"})))
    bench.spin_until(lambda: bench.statuses[-1]["other_operator"] == "blocked: hand jumped")
    bench.node.destroy_publisher(other)
    bench.spin_until(lambda: bench.statuses[-1]["other_operator"] == "away")
    joycon.set_battery(0.25)
    bench.spin_until(lambda: joycon.flashing == 0b1000)
    bench.spin_until(lambda: "charge the Joy-Con" in bench.statuses[-1]["prompt"])


def test_a_slap_on_the_thumb_buttons_stops_the_cell_and_only_a_new_press_goes_on(stand):
    cell, headset, joycon, bench, _ = stand
    person = Person(cell, headset, joycon, bench)
    person.engage()
    for button in ("down", "left"):
        joycon.press(button)
    bench.spin_until(lambda: bench.stops and bench.clutch() == "blocked")
    assert "left operator" in bench.stops[0]
    assert "emergency stop" in bench.statuses[-1]["reason"]
    count = len(bench.commands)
    for button in ("down", "left", "l"):
        joycon.release(button)
    bench.spin_until(lambda: bench.clutch() == "released")
    joycon.press("l")
    bench.spin_until(lambda: bench.clutch() == "blocked")
    bench.tell_estop(stopped=True, resets=0)
    bench.tell_estop(stopped=False, resets=1)
    bench.spin_for(0.7)
    assert bench.clutch() == "blocked", "the button was down all the time"
    assert len(bench.commands) <= count + 1
    person.engage()


def test_a_silent_headset_or_arm_ends_the_stroke_until_the_clutch_is_pressed_anew(stand):
    cell, headset, joycon, bench, _ = stand
    person = Person(cell, headset, joycon, bench)
    person.engage()
    headset.silence(True)
    bench.spin_until(lambda: bench.clutch() == "blocked")
    headset.silence(False)
    bench.spin_until(lambda: bench.statuses[-1]["tracked"])
    assert bench.clutch() == "blocked"
    person.engage()
    bench.arm_alive = False
    bench.spin_until(lambda: bench.clutch() == "blocked" and not bench.statuses[-1]["arm"])
    count = len(bench.commands)
    bench.spin_for(0.2)
    assert len(bench.commands) <= count + 1


def test_a_second_operator_of_one_headset_or_joycon_ends_with_the_name_of_the_first(start_module):
    operator = load_cell().operators["left"]
    for device in (headset_device(operator), joycon_device(operator)):
        claim = DeviceClaim(lambda device=device: [device])
        assert claim.take() == ""
        second = start_module("ate_teleop.nodes.operator_node")
        assert second.wait(20) == 1
        assert f"process {os.getpid()} already uses {device}" in second.stderr.read()
        claim.release()
