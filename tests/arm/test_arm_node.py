"""The node of every arm driver on DDS, in front of an arm that is a few attributes."""

import json
import re
import subprocess
import sys
import threading
import time
from pathlib import Path

import numpy as np
import pytest

rclpy = pytest.importorskip("rclpy")
pytestmark = pytest.mark.ros

from builtin_interfaces.msg import Duration  # noqa: E402
from diagnostic_msgs.msg import DiagnosticArray  # noqa: E402
from rclpy.parameter import Parameter  # noqa: E402
from rclpy.time import Time  # noqa: E402
from sensor_msgs.msg import JointState  # noqa: E402
from std_msgs.msg import Empty, Header, String  # noqa: E402
from std_srvs.srv import Trigger  # noqa: E402
from trajectory_msgs.msg import JointTrajectory, JointTrajectoryPoint  # noqa: E402

from arm_driver.watchdog import EXIT_CODE  # noqa: E402
from ate_core.contract import load_cell  # noqa: E402
from ate_core.nodes.estop import ESTOP_NODE, REQUEST_QOS, REQUEST_TOPIC, STATE_TOPIC  # noqa: E402
from ate_core.nodes.qos import COMMAND_QOS, LATCHED_QOS  # noqa: E402
from ate_core.stage_times import DRIVER_STAGES, TOTAL  # noqa: E402

ARM = load_cell().arms["left"]
NAMES = ARM.joint_names
HOME = np.array(ARM.home)
TICK = 0.01
"""Period of the stream [s]."""
OUT = np.eye(len(NAMES))[0]
"""Turns the arm at its base, away from the other one."""


def status(peer) -> dict:
    return peer.statuses[-1]


def says(peer, key: str, words: str, seconds: float = 5.0) -> bool:
    return peer.spin_until(lambda: words in str(status(peer)[key]), seconds)


def trajectory(*moves: float, times=(), names=NAMES) -> JointTrajectory:
    message = JointTrajectory(joint_names=list(names))
    for number, move in enumerate(moves):
        at = times[number] if times else 0.5 * (number + 1)
        stamp = Duration(sec=int(at), nanosec=int(at % 1 * 1e9))
        point = JointTrajectoryPoint(positions=(HOME + move * OUT).tolist(), time_from_start=stamp)
        message.points.append(point)
    return message


class StandIn:
    """The e-stop node: repeats the state as that does, and says what it is told to."""

    def __init__(self, executor) -> None:
        self.node = rclpy.create_node(ESTOP_NODE, context=executor.context)
        self._publisher = self.node.create_publisher(String, STATE_TOPIC, LATCHED_QOS)
        self._state: dict[str, object] = {}
        self.node.create_timer(0.1, self._repeat)
        executor.add_node(self.node)

    def tell(self, *, resets: int, stopped: bool = False) -> None:
        self._state = {"stopped": stopped, "reason": "told", "instance": "a", "resets": resets}
        self._repeat()

    def _repeat(self) -> None:
        if self._state:
            stamp_ns = self.node.get_clock().now().nanoseconds
            self._publisher.publish(String(data=json.dumps({**self._state, "stamp_ns": stamp_ns})))


@pytest.fixture
def estop_node(peer):
    made = StandIn(peer.executor)
    yield made
    peer.executor.remove_node(made.node)
    made.node.destroy_node()


def test_it_is_checked_before_it_is_active_and_then_tells_all(node, peer) -> None:
    assert node.is_active
    assert peer.spin_until(lambda: status(peer)["lifecycle"] == "active")
    page = (Path(__file__).parents[2] / "docs" / "topics.md").read_text()
    rows = page.split("## The status of an arm")[1].split("\n## ")[0].splitlines()
    entries = " ".join(row.split("|")[1] for row in rows if row.startswith("| `"))
    assert set(re.findall(r"`(\w+)`", entries)) == set(status(peer))
    diagnostics: list[DiagnosticArray] = []
    peer.node.create_subscription(DiagnosticArray, "/diagnostics", diagnostics.append, 10)
    joints = len(NAMES)
    node._backend.changes = {
        "temperature": np.array([40.0] * (joints - 1) + [70.0]),
        "voltage": np.full(joints, 24.0),
        "enabled": (True,) * joints,
        "mode": "push 5 ms",
    }
    assert peer.spin_until(lambda: len(diagnostics) > 2)
    arm, hot = diagnostics[-1].status
    values = {entry.key: entry.value for entry in (*arm.values, *hot.values)}
    assert arm.name == "driver_node: left arm"
    assert float(values["state rate"].split()[0]) > 50.0
    assert {"commands refused", "loop", "state age", "controller"} <= set(values)
    assert values["left_joint1 voltage"] == "24.0 V"
    assert values["mode"] == "push 5 ms"
    assert "left_joint7 has 70 deg C, bound 65" in hot.message
    assert peer.spin_until(lambda: status(peer)["mode"] == "push 5 ms")


def test_an_arm_that_is_not_linked_is_not_activated_and_says_why(rig, peer, fake_backend) -> None:
    node = rig.start(autostart=False)
    assert peer.spin_until(lambda: bool(peer.statuses))
    node._backend.link_error = "nobody answers at 192.168.1.18"
    assert peer.reaches("disconnected")
    node.trigger_configure()
    assert node.state_label == "unconfigured"
    assert "nobody answers" in node.inactive_reason
    node._backend.link_error = ""
    assert peer.spin_until(lambda: not node.link_problem())
    node.trigger_configure()
    assert says(peer, "inactive", "inactive: checked")
    peer.drive(NAMES, lambda t: HOME + 0.1 * OUT, 0.3)
    assert not node._backend.sent  # inactive: commands are refused
    assert says(peer, "refused", "activate")
    node.trigger_activate()
    assert peer.reaches("connected")


def test_a_second_driver_of_the_arm_refuses_and_never_answers_for_it(node, rig, peer) -> None:
    second = rig.start()
    assert peer.spin_until(lambda: "already uses /left/arm" in second.inactive_reason)
    assert second.state_label == "unconfigured"
    assert peer.node.count_publishers("/left/arm/status") == 1
    assert peer.call("/left/arm/stop") == (True, "")
    assert peer.reaches("stopped")
    assert not second._backend.stops
    assert not second._backend.sent


def test_commands_are_timed_on_their_way_to_the_arm_and_that_is_told(node, peer) -> None:
    assert status(peer)["latency_ms"] == {}
    peer.drive(NAMES, lambda t: HOME + 0.02 * OUT * min(t, 1.0), 0.3)
    assert peer.spin_until(lambda: any(told["latency_ms"] for told in peer.statuses))
    times = next(told["latency_ms"] for told in peer.statuses if told["latency_ms"])
    assert list(times) == [*DRIVER_STAGES, TOTAL]
    assert all(median <= p99 <= times[TOTAL][1] for median, p99 in times.values())


def test_a_second_publisher_of_the_same_commander_is_refused_and_told(node, peer) -> None:
    # Both sign with the very same name; the second started later, as a launch does.
    other = peer.node.create_publisher(JointState, "/left/arm/joint_command", COMMAND_QOS)

    def intrude() -> None:
        message = JointState(name=list(NAMES), position=(HOME - 0.1 * OUT).tolist())
        message.header.stamp = peer.node.get_clock().now().to_msg()
        message.header.frame_id = "teleop"
        other.publish(message)

    peer.drive(NAMES, lambda t: HOME + 0.02 * OUT * min(t, 1.0), 0.6)
    told = False
    sent = len(node._backend.sent)
    for tick in range(80):
        if tick % 2:
            intrude()
        else:
            peer.command(NAMES, HOME + 0.02 * OUT * min(0.6 + 0.01 * tick, 1.0))
        peer.spin_until(lambda: False, 0.01)
        told = told or "teleop" in status(peer)["refused"]
    targets = np.array(node._backend.sent[sent:])
    assert len(targets) > 20
    assert targets.min(axis=0)[0] >= HOME[0] - 1e-9  # the intruder never moved the arm
    assert status(peer)["state"] == "tracking"  # and never disturbed who holds it
    assert told


def test_a_command_that_is_repeated_is_not_a_new_one(node, peer) -> None:
    message = JointState(name=list(NAMES), position=(HOME + 0.01 * OUT).tolist())
    message.header.frame_id = "stuck"
    message.header.stamp = peer.node.get_clock().now().to_msg()
    publisher = peer.node.create_publisher(JointState, "/left/arm/joint_command", COMMAND_QOS)
    assert peer.spin_until(lambda: publisher.get_subscription_count() > 0)

    def refused() -> bool:
        publisher.publish(message)
        return "repeats a command" in str(status(peer)["refused"])

    assert peer.spin_until(refused)


def test_stop_is_acknowledged_within_100_ms_while_clearing_errors_hangs(node, peer) -> None:
    hang = node._backend.may["clear_errors"] = threading.Event()
    clear = peer.node.create_client(Trigger, "/left/arm/clear_errors")
    stop = peer.node.create_client(Trigger, "/left/arm/stop")
    assert clear.wait_for_service(5.0)
    assert stop.wait_for_service(5.0)
    clearing = clear.call_async(Trigger.Request())
    assert peer.spin_until(lambda: node._backend.hanging == "clear_errors")
    heard = node._reports.commands
    peer.drive(NAMES, lambda t: HOME + 0.05 * OUT * min(t, 1.0), 0.3)
    assert node._reports.commands > heard  # nothing else of the node waits for it either
    begin = time.monotonic()
    stopping = stop.call_async(Trigger.Request())
    assert peer.spin_until(stopping.done)
    took = time.monotonic() - begin
    assert stopping.result().success
    assert took < 0.1
    assert not clearing.done()
    assert peer.reaches("stopped")
    hang.set()
    assert peer.spin_until(clearing.done)


def test_the_emergency_stop_reaches_the_arm_without_any_other_node(node, peer, estop_node) -> None:
    request = peer.node.create_publisher(String, REQUEST_TOPIC, REQUEST_QOS)
    assert peer.spin_until(lambda: request.get_subscription_count() > 0)
    request.publish(String(data="somebody is in the cell"))
    assert says(peer, "estop", "somebody is in the cell")
    assert node._backend.stops[-1] is True  # as fast as the joints can
    assert peer.call("/left/arm/enable")[0] is False
    estop_node.tell(resets=0, stopped=True)
    peer.spin_until(lambda: False, 0.3)
    estop_node.tell(resets=1)
    assert peer.reaches("connected")
    assert status(peer)["estop"] == ""


def test_a_driver_that_begins_without_an_estop_node_moves_nothing(rig, peer, estop_node) -> None:
    """As one that was started again while the e-stop node is dead: a stop may be on."""
    node = rig.start(estop_node="required")
    assert peer.spin_until(lambda: "no e-stop node heard since the start" in node.inactive_reason)
    assert node.state_label == "unconfigured"
    peer.drive(NAMES, lambda t: HOME + 0.02 * OUT * min(t, 1.0), 0.3)
    assert not node._backend.sent
    assert says(peer, "inactive", "no e-stop node heard")
    estop_node.tell(resets=0, stopped=True)
    assert says(peer, "estop", "told")
    assert peer.reaches("stopped")
    estop_node.tell(resets=1)
    assert peer.reaches("connected")
    assert peer.spin_until(lambda: status(peer)["lifecycle"] == "active")


def test_the_emergency_stop_waits_neither_for_a_stop_nor_for_a_trajectory(node, peer) -> None:
    request = peer.node.create_publisher(String, REQUEST_TOPIC, REQUEST_QOS)
    stop = peer.node.create_client(Trigger, "/left/arm/stop")
    assert peer.spin_until(lambda: request.get_subscription_count() > 0)
    assert stop.wait_for_service(5.0)
    asked, goes_on = threading.Event(), threading.Event()

    def hang(reason: str) -> bool:
        asked.set()
        return goes_on.wait(20.0)

    node._driver.stop = hang
    stopping = stop.call_async(Trigger.Request())
    assert peer.spin_until(asked.is_set)
    with node._follower._lock:
        request.publish(String(data="somebody is in the cell"))
        assert says(peer, "estop", "somebody is in the cell")
        assert node._backend.stops[-1] is True
    assert not stopping.done()
    goes_on.set()
    assert peer.spin_until(stopping.done)


def test_a_trajectory_is_followed_through_the_filter_to_its_end(node, peer) -> None:
    tool = peer.node.create_publisher(JointTrajectory, "/left/arm/joint_trajectory", COMMAND_QOS)
    assert peer.spin_until(lambda: tool.get_subscription_count() > 0)

    def arrives() -> bool:
        node._trajectories.told = ""
        tool.publish(trajectory(0.1, 0.05))
        ends = ("arrived", "refused")
        assert peer.spin_until(lambda: node._trajectories.told.startswith(ends))
        return node._trajectories.told == "arrived"

    # Where a busy machine keeps the ticks away for 60 ms the arm is stopped, which ends it.
    assert any(arrives() for _ in range(4))
    assert says(peer, "trajectory", "arrived")
    assert any(told["trajectory"].startswith("following") for told in peer.statuses)
    assert "trajectory" in {told["commander"] for told in peer.statuses}
    np.testing.assert_allclose(node._backend.q, HOME + 0.05 * OUT, atol=1e-3)
    sent, at = np.array(node._backend.sent), np.array(node._backend.sent_at)
    speeds = np.abs(np.diff(sent, axis=0)).max(axis=1) / np.maximum(np.diff(at), TICK)
    assert speeds.max() < 1.0  # 0.3 rad/s on the path: no jump anywhere, however late a tick
    assert sent.max(axis=0)[0] == pytest.approx(HOME[0] + 0.1, abs=5e-3)


def test_a_bad_trajectory_is_refused_as_a_whole_with_the_reason(node, peer) -> None:
    tool = peer.node.create_publisher(JointTrajectory, "/left/arm/joint_trajectory", COMMAND_QOS)
    assert peer.spin_until(lambda: tool.get_subscription_count() > 0)
    for message, words in (
        (trajectory(0.1, 9.0), "angle"),
        (trajectory(0.02, times=(0.05,)), "acceleration"),
        (trajectory(0.1, names=("x", *NAMES[1:])), "need"),
        (trajectory(0.1, 0.2, times=(1.0, 0.5)), "growing times"),
    ):
        tool.publish(message)
        assert says(peer, "trajectory", words)
        assert says(peer, "trajectory", "refused")
    assert not node._backend.sent


@pytest.mark.parametrize(
    ("how", "words"),
    [
        ("empty", "by an empty trajectory"),
        ("stop", "stop"),
        ("operator", "by teleop"),
        ("deactivate", "inactive"),
    ],
)
def test_a_trajectory_ends_at_once_when_somebody_wants_it(node, peer, how, words) -> None:
    tool = peer.node.create_publisher(JointTrajectory, "/left/arm/joint_trajectory", COMMAND_QOS)
    assert peer.spin_until(lambda: tool.get_subscription_count() > 0)
    tool.publish(trajectory(0.3, times=(3.0,)))
    assert peer.reaches("tracking")
    if how == "empty":
        tool.publish(JointTrajectory())
    elif how == "stop":
        assert peer.call("/left/arm/stop") == (True, "")
    elif how == "operator":
        peer.command(NAMES, HOME)
    else:
        node.trigger_deactivate()
    assert says(peer, "trajectory", words)
    peer.spin_until(lambda: False, 0.5)
    rests = node._backend.q.copy()
    peer.spin_until(lambda: False, 0.2)
    np.testing.assert_array_equal(node._backend.q, rests)
    assert np.abs(rests - HOME).max() < 0.25


def test_the_way_home_begins_only_if_no_stop_came_since_it_was_asked_for(node, peer) -> None:
    asked, goes_on, begun = threading.Event(), threading.Event(), []

    def home(now: float, stops: int) -> str:
        asked.set()
        assert goes_on.wait(20.0)
        begun.append(stops == node._driver.stops_so_far)
        return ""

    node._driver.home = home
    client = peer.node.create_client(Trigger, "/left/arm/home")
    assert client.wait_for_service(5.0)
    call = client.call_async(Trigger.Request())
    assert peer.spin_until(asked.is_set)
    again = peer.call("/left/arm/home")  # nothing piles up behind one that takes its time
    assert again[0] is False and "already" in again[1]
    assert peer.call("/left/arm/stop")[0]
    assert peer.call("/left/arm/enable") == (True, "")
    goes_on.set()
    assert peer.spin_until(call.done)
    assert begun == [False]


def test_the_arm_goes_home_while_the_button_is_held_and_no_longer(node, peer) -> None:
    peer.drive(NAMES, lambda t: HOME + 0.3 * OUT * (1 - np.cos(np.pi * min(t, 1.0))) / 2, 1.3)
    assert peer.spin_until(lambda: status(peer)["commander"] == "")
    button = peer.node.create_publisher(Empty, "/left/arm/home_hold", COMMAND_QOS)
    assert peer.spin_until(lambda: button.get_subscription_count() > 0)

    def held() -> bool:
        button.publish(Empty())
        return status(peer)["state"] == "homing"

    assert peer.spin_until(held)
    for _ in range(10):
        button.publish(Empty())
        peer.spin_until(lambda: False, 0.03)
    assert peer.spin_until(lambda: status(peer)["state"] != "homing")
    away = np.abs(node._backend.q - HOME).max()
    assert 0.01 < away < 0.29


def test_parameters_change_while_it_runs_and_only_to_the_safe_side(node, peer) -> None:
    def change(name: str, value: float) -> bool:
        return node.set_parameters([Parameter(name, value=value)])[0].successful

    for name, value in (("speed_scale", 1.5), ("speed_scale", 0.0), ("home_speed", 2.0),
                        ("guard_extra", -0.1), ("speed_scale", float("nan")),
                        ("home_speed", "fast"), ("other_arm", "required")):  # fmt: skip
        assert not change(name, value), name
    assert change("speed_scale", 0.1)
    assert change("home_speed", 0.25)
    assert node._driver.way_home.speed == 0.25
    peer.drive(NAMES, lambda t: HOME + min(0.6 * t, 0.3) * OUT, 0.7)
    steps = np.abs(np.diff(np.array(node._backend.sent), axis=0))
    limit = 0.1 * 2.0 * 0.01  # a tenth of the cell's 2 rad/s, per tick
    assert 0.5 * limit < np.median(steps.max(axis=1)[10:]) < 1.2 * limit
    before = node._guard._stream
    assert change("guard_extra", 0.05)
    assert peer.spin_until(lambda: node._guard._stream is not before)


def test_an_arm_whose_neighbour_is_not_heard_does_not_move_where_that_may_be(rig, peer) -> None:
    node = rig.start(other_arm="required")
    assert peer.reaches("connected")
    right = load_cell().arms["right"]
    inward = HOME.copy()
    inward[0] -= 0.5  # towards the right arm

    def path(t: float) -> np.ndarray:
        return HOME + (inward - HOME) * min(t / 1.5, 1.0)

    peer.drive(NAMES, path, 1.0)
    assert "right" in status(peer)["guard"] or "right" in status(peer)["reason"]
    assert np.abs(node._backend.q - HOME).max() < 0.02
    assert peer.spin_until(lambda: status(peer)["commander"] == "", 3.0)
    other = peer.node.create_publisher(JointState, "/right/arm/joint_states", 10)
    behind = [100.0]  # as of a recording that is played

    def report() -> None:
        message = JointState(name=list(right.joint_names), position=list(right.home))
        now_ns = peer.node.get_clock().now().nanoseconds
        message.header.stamp = Time(nanoseconds=now_ns - int(1e9 * behind[0])).to_msg()
        other.publish(message)

    timer = peer.node.create_timer(0.01, report)
    assert peer.spin_until(lambda: other.get_subscription_count() > 0)
    peer.spin_until(lambda: False, 0.3)
    peer.drive(NAMES, path, 1.0)
    assert np.abs(node._backend.q - HOME).max() < 0.05
    assert peer.spin_until(lambda: status(peer)["commander"] == "", 3.0)
    behind[0] = 0.0
    peer.spin_until(lambda: False, 0.3)
    start = node._backend.q.copy()
    peer.drive(NAMES, lambda t: start + (path(t) - HOME), 1.0)
    assert np.abs(node._backend.q - HOME).max() > 0.2
    peer.node.destroy_timer(timer)


def test_an_arm_holds_at_once_when_its_commander_falls_silent_on_purpose(node, peer) -> None:
    publisher = peer.node.create_publisher(Header, "/left/arm/hold", COMMAND_QOS)
    assert peer.spin_until(lambda: publisher.get_subscription_count() > 0)
    peer.drive(NAMES, lambda t: HOME + 0.3 * OUT * min(t, 1.0), 0.5)

    def held_by(frame: str) -> bool:
        peer.command(NAMES, HOME + 0.16 * OUT)
        publisher.publish(Header(stamp=peer.node.get_clock().now().to_msg(), frame_id=frame))
        peer.spin_until(lambda: False, 0.02)
        return any("lets it hold" in told["reason"] for told in peer.statuses)

    assert not any(held_by("policy") for _ in range(10))
    assert any(held_by("teleop") for _ in range(100))


def test_a_commander_that_left_gives_the_arm_to_the_next(node, peer) -> None:
    peer.drive(NAMES, lambda t: HOME + 0.02 * OUT * min(t, 1.0), 0.5)
    assert status(peer)["commander"] == "teleop"
    peer.node.destroy_publisher(peer._commands)
    assert peer.spin_until(lambda: status(peer)["commander"] == "", 2.0)


PROGRAM = """
import sys, time
sys.path.insert(0, sys.argv[1])
from conftest import FakeBackend
from arm_driver.nodes.arm_node import run_arm_node

def make(arm, node):
    backend = FakeBackend(arm, time.monotonic)
    good, begin = backend.latest, time.monotonic()
    def latest():
        if time.monotonic() - begin > 0.5:
            raise KeyError("joint 4 has no current")
        return good()
    backend.latest = latest
    return backend

sys.exit(run_arm_node(make, []))
"""


def test_an_exception_in_the_stream_ends_the_process_with_the_reason(node_environment) -> None:
    result = subprocess.run(
        [sys.executable, "-c", PROGRAM, str(Path(__file__).parent)],
        capture_output=True,
        text=True,
        timeout=30,
    )
    assert result.returncode == EXIT_CODE
    assert "joint 4 has no current" in result.stderr
    assert "thread 'arm stream' died" in result.stderr


def test_joints_of_a_lost_link_are_not_told_as_if_they_were_present() -> None:
    from arm_driver.interface import ArmSample
    from arm_driver.nodes.messages import TOLD_AGE, joint_diagnostics

    sample = ArmSample(
        sequence=1, received=0.0, stamp_ns=0, wrench=None,
        position=HOME, velocity=0.0 * HOME, effort=0.0 * HOME,
    )  # fmt: skip
    present = joint_diagnostics(sample, 0.1, NAMES, "left arm joints", "x")
    old = joint_diagnostics(sample, TOLD_AGE + 2.0, NAMES, "left arm joints", "x")
    assert (present.level[0], present.message) == (0, "ok")
    assert (old.level[0], old.message) == (3, "no state for 3.0 s") and not old.values
