"""The node on DDS, beside an emulated controller."""

import subprocess
import sys
import threading
import time
from pathlib import Path

import numpy as np
import pytest
import yaml

from ate_core.contract import packaged_cell

pytestmark = pytest.mark.ros
START = np.array([0.0, -0.35, 0.0, 2.0, 0.0, 1.4916, 0.0])
ASIDE = np.eye(7)[0]  # turned at the base: away from the other arm, no nearer to the table
NAMES = [f"left_joint{number}" for number in range(1, 8)]


@pytest.fixture
def node(controller, start_module, tmp_path: Path, runtime_dir: str) -> "subprocess.Popen[str]":
    """The driver process of the left arm."""
    pytest.importorskip("Robotic_Arm")
    values = yaml.safe_load(packaged_cell().read_text())
    config = controller.config
    values["simulation"]["arms"]["left"] = {"ip": config.ip, "udp_port": config.udp_port}
    cell = tmp_path / "cell.yaml"
    cell.write_text(yaml.safe_dump(values))
    parameters = (
        f"cell:={cell}",
        "hardware:=sim",
        "arm:=left",
        "other_arm:=absent",
        "estop_node:=absent",
    )
    words = [word for parameter in parameters for word in ("-p", parameter)]
    return start_module("realman_driver.nodes.driver_node", "--ros-args", *words)


def test_node_moves_the_arm_and_ends_with_a_controlled_stop(node, peer, controller) -> None:
    assert peer.reaches("connected", 60.0)
    assert peer.spin_until(lambda: len(peer.states) > 5)
    state = peer.states[-1]
    assert list(state.name) == NAMES
    assert np.allclose(state.position, START, atol=1e-3)
    stamps = [s.header.stamp.sec * 10**9 + s.header.stamp.nanosec for s in peer.states]
    assert np.all(np.diff(stamps) > 0)  # a state is published once, never stamped anew

    peer.drive(NAMES, lambda t: START + 0.1 * (1 - np.cos(2 * min(t, 1.0))) * ASIDE, 1.5)
    assert np.allclose(
        peer.states[-1].position, START + 0.1 * (1 - np.cos(2.0)) * ASIDE, atol=0.02
    )
    assert "tracking" in [status["state"] for status in peer.statuses]
    assert peer.poses[-1].header.frame_id == "world"
    assert peer.poses[-1].pose.position.y > 0.0  # the left arm stands at y = 0.25 m
    assert peer.call("/left/arm/home")[0] is False  # teleop holds it

    assert peer.call("/left/arm/stop") == (True, "")
    assert peer.reaches("stopped")
    assert peer.call("/left/arm/enable") == (True, "")
    assert peer.reaches("connected")
    due = time.monotonic() + 0.6  # home was asked for before the stop: it must be silent first
    assert peer.spin_until(lambda: time.monotonic() > due)
    assert peer.call("/left/arm/home") == (True, "")
    assert peer.reaches("homing")
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
    assert peer.reaches("connected", 60.0)
    for _ in range(10):
        peer.command(NAMES, START + 0.1 * ASIDE, age=0.3)
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
