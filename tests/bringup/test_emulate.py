"""Each emulated device runs alone, and its printed example is a real client of it."""

import os
import selectors
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from ate_bringup.cli import main

LIMIT = 30.0
ADDRESS = f"127.77.{os.getpid() % 250}.2"
UDP = str(21_000 + os.getpid() % 10_000)


@pytest.fixture
def emulate(runtime_dir):
    """Start a device; returns its process and the two lines that it prints."""
    started = []

    def start(*words):
        command = [sys.executable, "-m", "ate_bringup.cli", "emulate", *words]
        process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
        started.append(process)
        selector = selectors.DefaultSelector()
        selector.register(process.stdout, selectors.EVENT_READ)
        assert selector.select(LIMIT), "it says nothing"
        return process, process.stdout.readline(), process.stdout.readline().strip()

    yield start
    for process in started:
        if process.poll() is None:
            process.kill()
        process.communicate()


def run_example(line, patience=LIMIT):
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    return subprocess.run(
        ["bash", "-c", line],
        capture_output=True,
        text=True,
        timeout=patience,
        env={**os.environ, "PATH": path},
        check=False,
    )


@pytest.mark.parametrize(
    ("words", "where", "answer"),
    [
        (("arm", "--ip", ADDRESS, "--udp-port", UDP), f"{ADDRESS}:8080", "'joint': [0.0, -20.05"),
        (("gripper", "--side", "right"), "gripper_right", "41 41 01 00"),
        (("headset", "--ip", ADDRESS), f"{ADDRESS}:12345", "tracked=True"),
        (("joycon", "--side", "right"), "02:00:00:00:00:02", "live=True"),
    ],
    ids=["arm", "gripper", "headset", "joycon"],
)
def test_its_example_gets_an_answer_and_ctrl_c_ends_it_well(emulate, words, where, answer):
    process, first, example = emulate(*words)
    assert where in first
    result = run_example(example)
    assert answer in result.stdout, result
    process.send_signal(signal.SIGINT)
    assert process.wait(10.0) == 0


@pytest.fixture
def pictures():
    """Wait for pictures of the left wrist camera on its topic."""
    rclpy = pytest.importorskip("rclpy")
    from sensor_msgs.msg import CompressedImage

    from ate_core.nodes.qos import SENSOR_QOS

    context = rclpy.Context()
    rclpy.init(context=context)
    node = rclpy.create_node("watcher", context=context)
    executor = rclpy.executors.SingleThreadedExecutor(context=context)
    executor.add_node(node)
    seen = []
    topic = "/cameras/left_wrist/image_raw/compressed"
    node.create_subscription(CompressedImage, topic, seen.append, SENSOR_QOS)

    def wait():
        deadline = time.monotonic() + LIMIT
        while not seen:
            assert time.monotonic() < deadline, "no picture"
            executor.spin_once(timeout_sec=0.05)
        return seen[0]

    yield wait
    executor.shutdown()
    node.destroy_node()
    context.try_shutdown()


@pytest.mark.ros
def test_the_pictures_of_an_emulated_camera_are_published(
    node_environment, emulate, start_module, pictures
):
    process, first, example = emulate("camera", "--role", "left_wrist", "--fps", "10")
    assert "camera left_wrist, 480x270 at 10 Hz" in first
    environment, words = example.split(" python -m ", 1)
    assert environment == f"ATE_RUNTIME_DIR={os.environ['ATE_RUNTIME_DIR']}"
    start_module(*words.split())
    assert "jpeg" in pictures().format
    process.send_signal(signal.SIGTERM)
    assert process.wait(10.0) == 0


def test_a_taken_address_and_an_unknown_name_are_one_line(runtime_dir, capsys):
    assert main(["emulate", "camera", "--role", "nose"]) == 1
    assert "the cell has no 'nose'; it has overhead" in capsys.readouterr().err
