"""Driver node and emulated controllers of a six-joint arm on DDS."""

import json
import subprocess
import sys
import time
from collections.abc import Callable, Iterator

import numpy as np
import pytest

from ate_core.contract import load_cell

pytestmark = pytest.mark.ros
ARM = load_cell("six_axis", "sim").arms["left"]
HOME = np.array(ARM.home)


class Peer:
    """Another node that watches and commands the arm."""

    def __init__(self) -> None:
        import rclpy
        from rclpy.executors import SingleThreadedExecutor
        from sensor_msgs.msg import JointState
        from std_msgs.msg import String
        from std_srvs.srv import Trigger

        from ate_core.nodes.qos import COMMAND_QOS, LATCHED_QOS, SENSOR_QOS

        self._joint_state, self._trigger = JointState, Trigger
        self.node = rclpy.create_node("six_axis_test_peer")
        self.positions: list[np.ndarray] = []
        self.statuses: list[dict[str, str]] = []
        self.node.create_subscription(
            JointState,
            "/left/arm/joint_states",
            lambda message: self.positions.append(np.array(message.position)),
            SENSOR_QOS,
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

    def drive(self, q: np.ndarray, seconds: float) -> None:
        """Command a posture at about 50 Hz, spinning meanwhile."""
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            message = self._joint_state(name=list(ARM.joint_names), position=q.tolist())
            message.header.stamp = self.node.get_clock().now().to_msg()
            message.header.frame_id = "teleop"
            self._commands.publish(message)
            next_at = time.monotonic() + 0.02
            self.spin_until(lambda due=next_at: time.monotonic() > due, 0.1)

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

    def reaches(self, state: str, seconds: float = 10.0) -> bool:
        """Wait for a state of the driver."""
        return self.spin_until(
            lambda: bool(self.statuses) and self.statuses[-1]["state"] == state, seconds
        )


@pytest.fixture
def peer() -> Iterator[Peer]:
    rclpy = pytest.importorskip("rclpy")
    rclpy.init()
    peer = Peer()
    yield peer
    peer.executor.shutdown()
    peer.node.destroy_node()
    rclpy.try_shutdown()


def start(*words: str) -> "subprocess.Popen[str]":
    return subprocess.Popen([sys.executable, "-m", *words], stderr=subprocess.PIPE, text=True)


@pytest.fixture
def processes(runtime_dir) -> Iterator[dict[str, "subprocess.Popen[str]"]]:
    """The controllers and the driver of the left arm."""
    parameters = ("cell:=six_axis", "hardware:=sim", "arm:=left")
    started = {
        "controllers": start(
            *("ros2_control_driver.emulator", "--side", "left"),
            *("--cell", "six_axis", "--plant", "ideal"),
        ),
        "driver": start(
            *("ros2_control_driver.nodes.driver_node", "--ros-args"),
            *(word for parameter in parameters for word in ("-p", parameter)),
        ),
    }
    yield started
    for process in started.values():
        if process.poll() is None:
            process.kill()
        process.communicate()


def test_a_six_joint_arm_stays_moves_stops_and_outlives_its_controllers(processes, peer) -> None:
    assert peer.reaches("connected", 20.0)
    assert peer.spin_until(lambda: len(peer.positions) > 5)
    np.testing.assert_allclose(peer.positions[-1], HOME, atol=1e-6)

    peer.positions.clear()
    peer.drive(HOME, 1.0)
    assert peer.statuses[-1]["state"] == "tracking"
    assert len(peer.positions) > 60
    assert np.abs(np.array(peer.positions) - HOME).max() < 1e-9  # told to stay, it stays

    peer.drive(HOME + 0.2, 1.0)
    np.testing.assert_allclose(peer.positions[-1], HOME + 0.2, atol=5e-3)
    assert peer.call("/left/arm/stop") == (True, "")
    assert peer.reaches("stopped")
    assert peer.call("/left/arm/enable") == (True, "")
    assert peer.reaches("connected")

    processes["controllers"].terminate()
    assert peer.reaches("disconnected")
    reason = peer.statuses[-1]["reason"]
    assert "no joint states" in reason or "nobody listens" in reason
    assert peer.call("/left/arm/clear_errors")[0] is False

    processes["driver"].terminate()
    assert processes["driver"].wait(10.0) == 0
    assert processes["controllers"].wait(10.0) == 0


def test_an_unknown_option_of_an_arm_is_one_line_of_error(tmp_path, runtime_dir) -> None:
    from ate_core.contract import cell_file

    file = tmp_path / "cell.yaml"
    file.write_text(cell_file("six_axis").read_text().replace("state_topic", "states"))
    result = subprocess.run(
        [sys.executable, "-m", "ros2_control_driver.emulator", "--side", "left", "--cell", file],
        capture_output=True,
        text=True,
        timeout=30,
    )
    assert result.returncode == 1
    assert "unknown key 'states'; known keys: command_topic" in result.stderr
    assert "Traceback" not in result.stderr
