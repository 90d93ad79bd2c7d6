"""Isolation of tests that use sockets, runtime folders or ROS."""

import json
import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path

import numpy as np
import pytest
import yaml

os.environ.setdefault("OMP_NUM_THREADS", "1")
# Runs are repeated bit for bit on a CPU; what a GPU must do stands in test_gpu.py.
os.environ.setdefault("ACCELERATE_USE_CPU", "true")
os.environ.setdefault("ROS_PYTHON_CHECK_FIELDS", "1")
os.environ.setdefault("ROS_AUTOMATIC_DISCOVERY_RANGE", "LOCALHOST")
# Domains of their own, so that parallel runs on one machine do not see each other: 1-29 for the
# nodes in a test process, 30-89 for those in processes it starts, 90-101 where nothing is.
if "PYTEST_XDIST_WORKER" in os.environ:  # it inherits the domain of who shares out the tests
    os.environ.pop("ROS_DOMAIN_ID", None)
os.environ.setdefault("ROS_DOMAIN_ID", str(1 + os.getpid() % 29))


@pytest.fixture(autouse=True, scope="session")
def _ros_log_folder(tmp_path_factory):
    os.environ.setdefault("ROS_LOG_DIR", str(tmp_path_factory.mktemp("ros_log")))


NO_OBJECTS = {
    "a list": b"[]",
    "null": b"null",
    "a number": b"3",
    "a text": b'"{}"',
    "cut off": b'{"a": ',
    "no text": b"\xff\xfe{}",
    "brackets without end": b"[" * 100_000,
}


@pytest.fixture(params=NO_OBJECTS.values(), ids=NO_OBJECTS)
def no_object(request) -> bytes:
    """What a damaged file may hold in the place of a JSON object."""
    return request.param


@pytest.fixture
def in_this_process(monkeypatch):
    """Episodes are worked on here, where a test can plant failures."""
    from training.tasks import choose
    from training.tasks.in_process import InProcess

    monkeypatch.setattr(choose, "LocalProcesses", lambda *_: InProcess())


@pytest.fixture
def runtime_dir(tmp_path, monkeypatch):
    """An empty runtime folder of a simulated cell, short enough for unix sockets."""
    import tempfile

    with tempfile.TemporaryDirectory(prefix="ate-") as folder:
        monkeypatch.setenv("ATE_RUNTIME_DIR", folder)
        yield folder


@pytest.fixture
def small_disk(tmp_path):
    """Mounts a disk of so many bytes."""
    disk = tmp_path / "disk"

    def mount(size: int) -> Path:
        disk.mkdir()
        words = ["mount", "-t", "tmpfs", "-o", f"size={size}", "tmpfs", str(disk)]
        if subprocess.run(words, capture_output=True).returncode:
            pytest.skip("no right to mount a disk")
        return disk

    yield mount
    # Lazily: a reader may still have a file of it open.
    subprocess.run(["umount", "--lazy", str(disk)], capture_output=True)


@pytest.fixture(scope="session")
def seven_cameras(tmp_path_factory):
    """File of the packaged cell with its first camera renamed and four more: one on a flange."""
    from ate_core.contract import packaged_cell

    values = yaml.safe_load(packaged_cell().read_text())
    real, simulated = values["cameras"], values["simulation"]["cameras"]
    for section in (real, simulated):
        section["table"] = section.pop("overhead")
    real["table"]["key"] = "cam_table"
    views = {
        "front": {"mount": "world", "position": [0.95, 0, 0.45], "look_at": [0.25, 0, 0.05]},
        "side": {"mount": "world", "position": [0.3, -0.9, 0.4], "look_at": [0.3, 0, 0.1]},
        "back": {"mount": "world", "position": [0.3, 0.0, 0.9], "quaternion": [1, 0, 0, 0]},
        "palm": {"mount": "left_flange", "position": [0, 0.09, 0.06], "look_at": [0, 0, 0.16]},
    }
    size = {"width": 128, "height": 72, "fps": 10}
    for role, view in views.items():
        real[role] = {"key": f"cam_{role}", "serial": "", "backend": "realsense", **size}
        real[role]["view"] = {**view, "fovy": 50.0}
        simulated[role] = {"backend": "software", "serial": role}
    file = tmp_path_factory.mktemp("seven") / "cell.yaml"
    file.write_text(yaml.safe_dump(values, sort_keys=False))
    return file


@pytest.fixture
def node_environment(tmp_path, monkeypatch):
    """Processes with a runtime folder and a ROS domain of their own."""
    monkeypatch.setenv("ATE_RUNTIME_DIR", str(tmp_path))
    monkeypatch.setenv("ROS_DOMAIN_ID", str(30 + os.getpid() % 60))
    monkeypatch.setenv("ROS_LOG_DIR", str(tmp_path / "log"))


@pytest.fixture
def empty_domain(monkeypatch):
    """A ROS domain without the nodes that earlier tests of this process left in its graph."""
    monkeypatch.setenv("ROS_DOMAIN_ID", str(90 + os.getpid() % 12))


@pytest.fixture
def start_module():
    """A function that starts ``python -m`` with these words; what still runs is killed."""
    started = []

    def start(*words: str) -> "subprocess.Popen[str]":
        command = [sys.executable, "-m", *words]
        started.append(subprocess.Popen(command, stderr=subprocess.PIPE, text=True))
        return started[-1]

    yield start
    for process in started:
        if process.poll() is None:
            process.kill()
        process.communicate()


class ArmPeer:
    """Another node, which watches and commands the left arm."""

    def __init__(self) -> None:
        import rclpy
        from geometry_msgs.msg import PoseStamped
        from rclpy.executors import SingleThreadedExecutor
        from sensor_msgs.msg import JointState
        from std_msgs.msg import String
        from std_srvs.srv import Trigger

        from ate_core.nodes.qos import COMMAND_QOS, LATCHED_QOS, SENSOR_QOS

        self._joint_state, self._trigger = JointState, Trigger
        self.node = rclpy.create_node("arm_peer")
        self.states: list[JointState] = []
        self.poses: list[PoseStamped] = []
        self.statuses: list[dict[str, str]] = []
        subscribe = self.node.create_subscription
        subscribe(JointState, "/left/arm/joint_states", self.states.append, SENSOR_QOS)
        subscribe(PoseStamped, "/left/arm/tcp_pose", self.poses.append, SENSOR_QOS)
        subscribe(String, "/left/arm/status", self._keep_status, LATCHED_QOS)
        self._commands = self.node.create_publisher(
            JointState, "/left/arm/joint_command", COMMAND_QOS
        )
        self.executor = SingleThreadedExecutor()
        self.executor.add_node(self.node)

    def command(self, names: Sequence[str], q: np.ndarray, age: float = 0.0) -> None:
        """Command a posture whose stamp is ``age`` [s] old."""
        from rclpy.duration import Duration

        message = self._joint_state(name=list(names), position=q.tolist())
        stamp = self.node.get_clock().now() - Duration(nanoseconds=int(age * 1e9))
        message.header.stamp = stamp.to_msg()
        message.header.frame_id = "teleop"
        self._commands.publish(message)

    def drive(
        self, names: Sequence[str], path: Callable[[float], np.ndarray], seconds: float
    ) -> None:
        """Command a path at about 50 Hz, spinning meanwhile."""
        begin = time.monotonic()
        while (elapsed := time.monotonic() - begin) < seconds:
            self.command(names, path(elapsed))
            next_at = time.monotonic() + 0.02
            self.spin_until(lambda due=next_at: time.monotonic() > due, 0.1)

    def call(self, name: str) -> tuple[bool, str]:
        """Call a trigger service."""
        client = self.node.create_client(self._trigger, name)
        assert client.wait_for_service(5.0)
        future = client.call_async(self._trigger.Request())
        assert self.spin_until(future.done)
        answer = future.result()
        return answer.success, answer.message

    def spin_until(self, condition: Callable[[], bool], seconds: float = 10.0) -> bool:
        """Spin until a condition holds; False when it does not in time."""
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

    def _keep_status(self, message) -> None:
        self.statuses.append(json.loads(message.data))


@pytest.fixture
def peer() -> Iterator[ArmPeer]:
    """A node that watches and commands the left arm."""
    rclpy = pytest.importorskip("rclpy")
    rclpy.init()
    peer = ArmPeer()
    yield peer
    peer.executor.shutdown()
    peer.node.destroy_node()
    rclpy.try_shutdown()


class Buttons:
    """A Joy-Con that notes what is held."""

    def __init__(self) -> None:
        self.held: set[str] = set()
        self.lamps = 0

    def press(self, name: str) -> None:
        """Hold a button."""
        self.held.add(name)

    def release(self, name: str) -> None:
        """Let a button go."""
        self.held.remove(name)


class SocketHands(threading.Thread):
    """Hands that can be led as those of the simulated cell, but whom no silence makes let go."""

    def __init__(self, path: Path) -> None:
        from ate_core.contract import load_cell
        from ate_sim.people.led_hands import LedHands, LedHandsConfig
        from ate_sim.people.person import Person

        super().__init__(daemon=True)
        self.buttons = {side: Buttons() for side in ("left", "right")}
        operators = load_cell(None, "sim").operators
        self.people = {s: Person(operators[s], self, b) for s, b in self.buttons.items()}
        config = LedHandsConfig(silence=1e9)  # a busy machine is no silence here
        self.hands, self.path, self.ended = LedHands(self.people, config), path, threading.Event()
        self.requests: list[Mapping[str, object]] = []

    def set_wrist(self, hand: str, transform: np.ndarray) -> None:
        """The headset; what it shows is not looked at here."""

    def run(self) -> None:
        """Answer until it is ended."""
        from ate_core.control_socket import ControlServer

        with ControlServer(self.path, self._answer) as server:
            while not self.ended.is_set():
                server.wait(0.01)
                self.hands.tick(time.monotonic(), 0.01)

    def _answer(self, request: Mapping[str, object]) -> Mapping[str, object]:
        self.requests.append(request)
        return self.hands.handle(request)


@pytest.fixture
def hands(runtime_dir) -> Iterator[SocketHands]:
    """Hands to lead on the socket of the simulated cell."""
    from ate_core.contract import load_cell
    from ate_core.hands_socket import HANDS_SOCKET

    hands = SocketHands(load_cell(None, "sim").runtime_path(HANDS_SOCKET))
    hands.start()
    yield hands
    hands.ended.set()
    hands.join()


@pytest.fixture(scope="session")
def debugging_port() -> Iterator[str]:
    """Of a Chromium with an empty profile, which all tests share; each has a page of its own."""
    from benchmarks.chromium import CHROMIUM, chromium

    if CHROMIUM is None:
        pytest.skip("no Chromium here: apt-get install chromium")
    with chromium() as port:
        yield port


def pytest_collection_modifyitems(items):
    """Tests marked ``ros`` say so when ROS is not there."""
    try:
        import rclpy  # noqa: F401
    except ImportError as error:
        skip = pytest.mark.skip(reason=f"needs rclpy: {error}")
        for item in items:
            if "ros" in item.keywords:
                item.add_marker(skip)
