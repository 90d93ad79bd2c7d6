"""The camera node as a process, fed by the test pattern through librealsense."""

import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest

pytestmark = pytest.mark.ros

rclpy = pytest.importorskip("rclpy")
simplejpeg = pytest.importorskip("simplejpeg")

from diagnostic_msgs.msg import DiagnosticArray, DiagnosticStatus  # noqa: E402
from rclpy.executors import SingleThreadedExecutor  # noqa: E402
from rclpy.node import Node  # noqa: E402
from rclpy.time import Time  # noqa: E402
from sensor_msgs.msg import CameraInfo, CompressedImage  # noqa: E402

from ate_core.errors import DeviceError  # noqa: E402
from ate_core.nodes.qos import DEFAULT_QOS  # noqa: E402
from realsense_camera.backends.sdk import load_sdk  # noqa: E402
from realsense_camera.emulator import PatternCamera  # noqa: E402
from realsense_camera.emulator.pattern import read_number  # noqa: E402

try:
    load_sdk()
except DeviceError as error:
    pytest.skip(str(error), allow_module_level=True)

WIDTH, HEIGHT = 480, 270


class Watcher:
    """A node that keeps what the camera node publishes."""

    def __init__(self) -> None:
        self.context = rclpy.Context()
        rclpy.init(context=self.context)
        self.node = Node("watcher", context=self.context)
        self.executor = SingleThreadedExecutor(context=self.context)
        self.executor.add_node(self.node)
        self.images: list[CompressedImage] = []
        self.infos: list[CameraInfo] = []
        self.levels: list[bytes] = []
        self.lifecycle: list[str] = []
        camera = "/cameras/left_wrist"
        subscribe = self.node.create_subscription
        subscribe(
            CompressedImage, f"{camera}/image_raw/compressed", self.images.append, DEFAULT_QOS
        )
        subscribe(CameraInfo, f"{camera}/camera_info", self.infos.append, DEFAULT_QOS)
        subscribe(DiagnosticArray, "/diagnostics", self._keep_level, DEFAULT_QOS)

    def spin_until(self, condition: Callable[[], bool], seconds: float = 40.0) -> None:
        deadline = time.monotonic() + seconds
        while not condition():
            assert time.monotonic() < deadline, f"not reached; {len(self.images)} images"
            self.executor.spin_once(timeout_sec=0.02)

    def numbers(self) -> list[int]:
        return [read_number(decode(image)) for image in self.images]

    def close(self) -> None:
        self.executor.shutdown()
        self.node.destroy_node()
        self.context.try_shutdown()

    def _keep_level(self, message: DiagnosticArray) -> None:
        for status in message.status:
            if status.name == "camera_node: left_wrist":
                self.levels.append(status.level)
                self.lifecycle += [v.value for v in status.values if v.key == "lifecycle"]


def decode(image: CompressedImage) -> np.ndarray:
    return simplejpeg.decode_jpeg(bytes(image.data), "RGB")


@pytest.fixture
def process(node_environment: None, start_module) -> "subprocess.Popen[str]":
    command = ["realsense_camera.nodes.camera_node", "--ros-args"]
    parameters = ["-p", "hardware:=sim", "-p", "role:=left_wrist"]
    return start_module(*command, *parameters)


@pytest.fixture
def watcher(node_environment: None) -> Iterator[Watcher]:
    watcher = Watcher()
    yield watcher
    watcher.close()


def test_node_publishes_each_picture_once_and_survives_a_restarted_camera(
    process: subprocess.Popen[str], watcher: Watcher, tmp_path: Path
) -> None:
    path = tmp_path / "frame_left_wrist.image"
    camera = PatternCamera(path, HEIGHT, WIDTH)
    shown = 0

    def show_until_published(count: int) -> Callable[[], bool]:
        def condition() -> bool:
            nonlocal shown
            shown += 1
            camera.show(shown)
            return len(watcher.images) >= count

        return condition

    watcher.spin_until(show_until_published(3))
    watcher.spin_until(lambda: "active" in watcher.lifecycle)
    silent = {DiagnosticStatus.STALE, DiagnosticStatus.ERROR}  # error: it is being opened again
    watcher.spin_until(lambda: bool(silent & set(watcher.levels)))
    count = len(watcher.images)
    for _ in range(3):
        camera.repeat()
        watcher.executor.spin_once(timeout_sec=0.05)
    assert len(watcher.images) == count

    camera.close()
    camera = PatternCamera(path, HEIGHT, WIDTH)
    watcher.spin_until(show_until_published(count + 3))
    camera.close()

    numbers = watcher.numbers()
    assert len(set(numbers)) == len(numbers)
    check_messages(watcher)
    process.send_signal(signal.SIGTERM)
    assert process.wait(5.0) == 0


def check_messages(watcher: Watcher) -> None:
    image = watcher.images[-1]
    assert image.format == "rgb8; jpeg compressed bgr8"
    assert image.header.frame_id == "left_wrist_color_optical_frame"
    assert decode(image).shape == (HEIGHT, WIDTH, 3)
    age_ns = time.time_ns() - Time.from_msg(image.header.stamp).nanoseconds
    assert 0 < age_ns < 10_000_000_000
    stamps = [Time.from_msg(info.header.stamp).nanoseconds for info in watcher.infos]
    for image in watcher.images[:-1]:  # the info of the last may still be on its way
        assert Time.from_msg(image.header.stamp).nanoseconds in stamps
    info = watcher.infos[0]
    assert (info.width, info.height, info.header.frame_id) == (
        WIDTH,
        HEIGHT,
        "left_wrist_color_optical_frame",
    )
    assert info.k[4] == pytest.approx(0.5 * HEIGHT / np.tan(np.radians(29.0)))


def test_node_with_an_unknown_role_ends_with_one_line(node_environment: None) -> None:
    command = ["-m", "realsense_camera.nodes.camera_node", "--ros-args", "-p", "role:=nose"]
    result = subprocess.run(
        [sys.executable, *command], capture_output=True, text=True, timeout=30, check=False
    )
    assert result.returncode == 1
    errors = [line for line in result.stderr.splitlines() if line.startswith("error: ")]
    assert len(errors) == 1
    assert "need one of overhead, left_wrist, right_wrist" in errors[0]
