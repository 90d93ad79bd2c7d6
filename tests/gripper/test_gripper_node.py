"""The gripper node as a process, against the emulated gripper as a process."""

import itertools
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

pytestmark = pytest.mark.ros

rclpy = pytest.importorskip("rclpy")

from rclpy.executors import SingleThreadedExecutor  # noqa: E402
from rclpy.node import Node  # noqa: E402
from sensor_msgs.msg import JointState  # noqa: E402
from std_msgs.msg import String  # noqa: E402

from ate_core.nodes.estop import REQUEST_QOS, REQUEST_TOPIC  # noqa: E402
from ate_core.nodes.qos import COMMAND_QOS, DEFAULT_QOS, LATCHED_QOS  # noqa: E402
from omnipicker_driver.emulator import call  # noqa: E402


class Watcher:
    """A node that sends openings and keeps what the gripper node publishes."""

    def __init__(self) -> None:
        self.context = rclpy.Context()
        rclpy.init(context=self.context)
        self.node = Node("watcher", context=self.context)
        self.executor = SingleThreadedExecutor(context=self.context)
        self.executor.add_node(self.node)
        self.states: list[JointState] = []
        self.node.create_subscription(
            JointState, "/left/gripper/joint_states", self.states.append, DEFAULT_QOS
        )
        self.statuses: list[dict[str, object]] = []
        self.node.create_subscription(
            String, "/left/gripper/status", self._keep_status, LATCHED_QOS
        )
        publish = self.node.create_publisher
        self.commands = publish(JointState, "/left/gripper/command", COMMAND_QOS)
        self.twin = publish(JointState, "/left/gripper/command", COMMAND_QOS)
        self.arm = publish(String, "/left/arm/status", LATCHED_QOS)
        self.estop = publish(String, REQUEST_TOPIC, REQUEST_QOS)

    def send(self, ratio: float, age: float = 0.0, publisher=None) -> None:
        message = JointState(name=["left_gripper"], position=[ratio])
        stamp_ns = self.node.get_clock().now().nanoseconds - round(age * 1e9)
        message.header.stamp.sec = stamp_ns // 1_000_000_000
        message.header.stamp.nanosec = stamp_ns % 1_000_000_000
        message.header.frame_id = "teleop"
        (publisher or self.commands).publish(message)

    def spin_until(self, condition: Callable[[], bool], seconds: float = 15.0) -> None:
        deadline = time.monotonic() + seconds
        while not condition():
            assert time.monotonic() < deadline, f"not reached; {len(self.states)} states"
            self.executor.spin_once(timeout_sec=0.05)

    def arm_is(self, state: str) -> None:
        self.arm.publish(String(data=json.dumps({"state": state, "reason": "by service"})))

    def reaches(self, state: str) -> None:
        self.spin_until(lambda: bool(self.statuses) and self.statuses[-1]["state"] == state)

    def stays(self, ratio: float, reports: int = 15) -> None:
        count = len(self.states)
        self.spin_until(lambda: len(self.states) > count + reports)
        assert self.position() == pytest.approx(ratio, abs=0.02)

    def _keep_status(self, message: String) -> None:
        self.statuses.append(json.loads(message.data))

    def position(self) -> float:
        return self.states[-1].position[0] if self.states else -1.0

    def close(self) -> None:
        self.executor.shutdown()
        self.node.destroy_node()
        self.context.try_shutdown()


def stop(process: subprocess.Popen[str], number: int, seconds: float) -> int:
    process.send_signal(number)
    try:
        return process.wait(seconds)
    finally:
        process.kill()


@pytest.fixture
def emulator(node_environment: None, start_module) -> "subprocess.Popen[str]":
    command = ["omnipicker_driver.emulator", "--side", "left", "--plant", "ideal"]
    return start_module(*command)


@pytest.fixture
def node(node_environment: None, start_module) -> "subprocess.Popen[str]":
    command = ["omnipicker_driver.nodes.gripper_node", "--ros-args"]
    parameters = ["-p", "hardware:=sim", "-p", "arm:=left", "-p", "estop_node:=absent"]
    return start_module(*command, *parameters)


@pytest.fixture
def watcher(node_environment: None) -> Iterator[Watcher]:
    watcher = Watcher()
    yield watcher
    watcher.close()


def test_node_moves_refuses_reconnects_and_ends(
    emulator: subprocess.Popen[str],
    node: subprocess.Popen[str],
    watcher: Watcher,
    tmp_path: Path,
) -> None:
    ready(watcher)
    state = watcher.states[-1]
    assert list(state.name) == ["left_gripper"]
    assert (len(state.position), len(state.velocity), len(state.effort)) == (1, 1, 1)

    watcher.send(0.25)
    watcher.spin_until(lambda: abs(watcher.position() - 0.25) < 0.01)

    for ratio, age in [(0.9, 0.5), (float("nan"), 0.0)]:  # stale, and no number
        watcher.send(ratio, age)
        watcher.stays(0.25)

    call(tmp_path / "gripper_left", "unplug", seconds=0.3)
    gap_ns = 150_000_000
    watcher.spin_until(lambda: largest_gap_ns(watcher.states) > gap_ns)
    watcher.reaches("connected")
    watcher.send(0.75)
    watcher.spin_until(lambda: abs(watcher.position() - 0.75) < 0.01)

    assert stop(node, signal.SIGINT, 5.0) == 0
    begin = time.monotonic()
    assert stop(emulator, signal.SIGTERM, 5.0) == 0
    assert time.monotonic() - begin < 1.0
    assert not os.path.lexists(tmp_path / "gripper_left")


def largest_gap_ns(states: list[JointState]) -> int:
    stamps = [s.header.stamp.sec * 1_000_000_000 + s.header.stamp.nanosec for s in states]
    return max((after - before for before, after in itertools.pairwise(stamps)), default=0)


def ready(watcher: Watcher) -> None:
    watcher.spin_until(
        lambda: bool(watcher.states) and watcher.commands.get_subscription_count() > 0
    )
    watcher.reaches("connected")


def test_node_obeys_one_publisher_its_arm_and_the_emergency_stop(
    emulator: subprocess.Popen[str],
    node: subprocess.Popen[str],
    watcher: Watcher,
    tmp_path: Path,
) -> None:
    ready(watcher)
    call(tmp_path / "gripper_left", "object", width=0.4)

    watcher.send(0.0)
    watcher.reaches("tracking")
    watcher.send(1.0, publisher=watcher.twin)  # a second launch: refused
    watcher.spin_until(lambda: watcher.statuses[-1]["holding"] is True)
    assert watcher.statuses[-1]["object"] == "held"
    assert watcher.statuses[-1]["object_width"] == pytest.approx(0.048, abs=0.001)

    watcher.arm_is("stopped")
    watcher.reaches("stopped")
    watcher.send(1.0)
    watcher.stays(0.4)
    watcher.arm_is("connected")
    watcher.reaches("connected")
    watcher.stays(0.4)

    watcher.estop.publish(String(data="a test"))
    watcher.reaches("stopped")
    assert "a test" in watcher.statuses[-1]["reason"]
    watcher.send(1.0)
    watcher.stays(0.4)
    assert stop(node, signal.SIGINT, 5.0) == 0
    assert stop(emulator, signal.SIGTERM, 5.0) == 0


SABOTAGE = """
import sys, threading
from omnipicker_driver import client
from omnipicker_driver.nodes import gripper_node
begun = client.GripperClient._poll

def poll(self):
    if self.state.answers < 5:
        return begun(self)
    {what}

client.GripperClient._poll = poll
gripper_node.HANG_TICKS = 10
sys.exit(gripper_node.main(["--ros-args", "-p", "hardware:=sim", "-p", "arm:=left"]))
"""


@pytest.mark.parametrize(
    ("what", "reason"),
    [
        ("raise RuntimeError('a bug')", "RuntimeError: a bug"),
        ("threading.Event().wait()", "hangs for"),
    ],
)
def test_process_ends_with_a_reason_when_its_polling_thread_dies_or_hangs(
    emulator: subprocess.Popen[str], what: str, reason: str
) -> None:
    text = SABOTAGE.replace("{what}", what)
    done = subprocess.run(
        [sys.executable, "-c", text], stderr=subprocess.PIPE, text=True, timeout=30
    )
    assert done.returncode == 1
    assert reason in done.stderr


def test_node_that_begins_without_an_estop_node_takes_no_command(
    emulator: subprocess.Popen[str], node_environment: None, start_module, watcher: Watcher
) -> None:
    parameters = ["-p", "hardware:=sim", "-p", "arm:=left"]
    start_module("omnipicker_driver.nodes.gripper_node", "--ros-args", *parameters)
    watcher.spin_until(
        lambda: (
            bool(watcher.statuses)
            and "no e-stop node heard since the start" in str(watcher.statuses[-1]["reason"])
        ),
        30.0,
    )
    assert watcher.statuses[-1]["state"] == "not_ready"
    start_module("cell_monitor.nodes.estop_node")
    watcher.reaches("connected")
