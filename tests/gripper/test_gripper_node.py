"""The gripper node as a process, against the emulated gripper as a process."""

import itertools
import os
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

pytestmark = pytest.mark.ros

rclpy = pytest.importorskip("rclpy")

from rclpy.executors import SingleThreadedExecutor  # noqa: E402
from rclpy.node import Node  # noqa: E402
from sensor_msgs.msg import JointState  # noqa: E402

from ate_core.nodes.qos import COMMAND_QOS, DEFAULT_QOS  # noqa: E402
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
        self.commands = self.node.create_publisher(
            JointState, "/left/gripper/command", COMMAND_QOS
        )

    def send(self, ratio: float, age: float = 0.0) -> None:
        message = JointState(name=["left_gripper"], position=[ratio])
        stamp_ns = self.node.get_clock().now().nanoseconds - round(age * 1e9)
        message.header.stamp.sec = stamp_ns // 1_000_000_000
        message.header.stamp.nanosec = stamp_ns % 1_000_000_000
        message.header.frame_id = "teleop"
        self.commands.publish(message)

    def spin_until(self, condition: Callable[[], bool], seconds: float = 40.0) -> None:
        deadline = time.monotonic() + seconds
        while not condition():
            assert time.monotonic() < deadline, f"not reached; {len(self.states)} states"
            self.executor.spin_once(timeout_sec=0.05)

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
    parameters = ["-p", "hardware:=sim", "-p", "arm:=left"]
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
    watcher.spin_until(
        lambda: bool(watcher.states) and watcher.commands.get_subscription_count() > 0
    )
    state = watcher.states[-1]
    assert list(state.name) == ["left_gripper"]
    assert (len(state.position), len(state.velocity), len(state.effort)) == (1, 1, 1)

    watcher.send(0.25)
    watcher.spin_until(lambda: abs(watcher.position() - 0.25) < 0.01)

    for ratio, age in [(0.9, 0.5), (float("nan"), 0.0)]:  # stale, and no number
        watcher.send(ratio, age)
        count = len(watcher.states)
        watcher.spin_until(lambda count=count: len(watcher.states) > count + 10)
        assert watcher.position() == pytest.approx(0.25, abs=0.01)

    call(tmp_path / "gripper_left", "unplug", seconds=0.3)
    gap_ns = 150_000_000
    watcher.spin_until(lambda: largest_gap_ns(watcher.states) > gap_ns)
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
