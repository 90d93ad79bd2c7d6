"""The node on DDS, beside an emulated controller."""

import json
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
import yaml

from ate_core.contract import packaged_cell

pytestmark = pytest.mark.ros
START = np.array([0.0, -0.35, 0.0, 2.0, 0.0, 1.4916, 0.0])
NAMES = [f"left_joint{number}" for number in range(1, 8)]


class Peer:
    """Another node that watches and commands the arm."""

    def __init__(self) -> None:
        import rclpy
        from geometry_msgs.msg import PoseStamped
        from rclpy.executors import SingleThreadedExecutor
        from sensor_msgs.msg import JointState
        from std_msgs.msg import String
        from std_srvs.srv import Trigger

        from ate_core.nodes.qos import COMMAND_QOS, LATCHED_QOS, SENSOR_QOS

        self._joint_state, self._trigger = JointState, Trigger
        self.node = rclpy.create_node("driver_test_peer")
        self.states: list[JointState] = []
        self.poses: list[PoseStamped] = []
        self.statuses: list[dict[str, str]] = []
        self.node.create_subscription(
            JointState, "/left/arm/joint_states", self.states.append, SENSOR_QOS
        )
        self.node.create_subscription(
            PoseStamped, "/left/arm/tcp_pose", self.poses.append, SENSOR_QOS
        )
        self.node.create_subscription(
            String,
            "/left/arm/status",
            lambda message: self.statuses.append(json.loads(message.data)),
            LATCHED_QOS,
        )
        self._commands = self.node.create_publisher(
            JointState, "/left/arm/joint_command", COMMAND_QOS
        )
        self.executor = SingleThreadedExecutor()
        self.executor.add_node(self.node)

    def command(self, q: np.ndarray, commander: str = "teleop", age: float = 0.0) -> None:
        from rclpy.duration import Duration

        message = self._joint_state(name=NAMES, position=q.tolist())
        stamp = self.node.get_clock().now() - Duration(nanoseconds=int(age * 1e9))
        message.header.stamp = stamp.to_msg()
        message.header.frame_id = commander
        self._commands.publish(message)

    def call(self, name: str) -> tuple[bool, str]:
        client = self.node.create_client(self._trigger, name)
        assert client.wait_for_service(5.0)
        future = client.call_async(self._trigger.Request())
        assert self.spin_until(future.done)
        answer = future.result()
        return answer.success, answer.message

    def spin_until(self, condition: Callable[[], bool], seconds: float = 10.0) -> bool:
        deadline = time.monotonic() + seconds
        while not condition():
            if time.monotonic() > deadline:
                return False
            self.executor.spin_once(timeout_sec=0.02)
        return True

    def state(self) -> str:
        return self.statuses[-1]["state"] if self.statuses else ""

    def drive(self, path: Callable[[float], np.ndarray], seconds: float) -> None:
        """Command a path at about 50 Hz, spinning meanwhile."""
        begin = time.monotonic()
        while (elapsed := time.monotonic() - begin) < seconds:
            self.command(path(elapsed))
            next_at = time.monotonic() + 0.02
            self.spin_until(lambda due=next_at: time.monotonic() > due, 0.1)


@pytest.fixture
def peer() -> Iterator[Peer]:
    rclpy = pytest.importorskip("rclpy")
    rclpy.init()
    peer = Peer()
    yield peer
    peer.executor.shutdown()
    peer.node.destroy_node()
    rclpy.try_shutdown()


@pytest.fixture
def node(controller, tmp_path: Path, runtime_dir: str) -> Iterator[subprocess.Popen[str]]:
    """The driver process of the left arm."""
    pytest.importorskip("Robotic_Arm")
    values = yaml.safe_load(packaged_cell().read_text())
    config = controller.config
    values["simulation"]["arms"]["left"] = {"ip": config.ip, "udp_port": config.udp_port}
    cell = tmp_path / "cell.yaml"
    cell.write_text(yaml.safe_dump(values))
    command = [sys.executable, "-m", "realman_driver.nodes.driver_node", "--ros-args"]
    for parameter in (f"cell:={cell}", "hardware:=sim", "arm:=left"):
        command += ["-p", parameter]
    process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True)
    yield process
    if process.poll() is None:
        process.kill()
    process.communicate()


def test_node_moves_the_arm_and_ends_with_a_controlled_stop(node, peer, controller) -> None:
    assert peer.spin_until(lambda: peer.state() == "connected", 20.0)
    assert peer.spin_until(lambda: len(peer.states) > 5)
    state = peer.states[-1]
    assert list(state.name) == NAMES
    assert np.allclose(state.position, START, atol=1e-3)
    stamps = [s.header.stamp.sec * 10**9 + s.header.stamp.nanosec for s in peer.states]
    assert np.all(np.diff(stamps) > 0)  # a state is published once, never stamped anew

    peer.drive(lambda t: START + 0.1 * (1 - np.cos(2 * min(t, 1.0))), 1.5)
    assert np.allclose(peer.states[-1].position, START + 0.1 * (1 - np.cos(2.0)), atol=0.02)
    assert "tracking" in [status["state"] for status in peer.statuses]
    assert peer.poses[-1].header.frame_id == "world"
    assert peer.poses[-1].pose.position.y > 0.0  # the left arm stands at y = 0.25 m
    assert peer.call("/left/arm/home")[0] is False  # teleop holds it

    assert peer.call("/left/arm/stop") == (True, "")
    assert peer.spin_until(lambda: peer.state() == "stopped")
    assert peer.call("/left/arm/enable") == (True, "")
    assert peer.spin_until(lambda: peer.state() == "connected")
    assert peer.call("/left/arm/home") == (True, "")
    assert peer.spin_until(lambda: peer.state() == "homing")
    assert peer.spin_until(lambda: np.allclose(peer.states[-1].position, START, atol=2e-3))

    before = controller.control.status()["controlled_stops"]
    ended = threading.Event()
    begin = time.monotonic()
    node.terminate()
    threading.Thread(target=lambda: (node.wait(10.0), ended.set())).start()
    assert peer.spin_until(ended.is_set)
    assert node.returncode == 0
    assert time.monotonic() - begin < 3.0
    assert controller.control.status()["controlled_stops"] == before + 1


def test_old_command_is_dropped_by_its_stamp(node, peer, controller) -> None:
    assert peer.spin_until(lambda: peer.state() == "connected", 20.0)
    for _ in range(10):
        peer.command(START + 0.1, age=0.3)
        peer.executor.spin_once(timeout_sec=0.05)
    assert peer.spin_until(lambda: "bound 100 ms" in peer.statuses[-1]["reason"])
    assert controller.control.status()["frames"] == 0


def test_unknown_arm_is_one_line_of_error() -> None:
    command = [sys.executable, "-m", "realman_driver.nodes.driver_node", "--ros-args"]
    result = subprocess.run(
        [*command, "-p", "hardware:=sim", "-p", "arm:=middle"],
        capture_output=True,
        text=True,
        timeout=30,
    )
    assert result.returncode == 1
    assert "need one of left, right" in result.stderr
    assert "Traceback" not in result.stderr
