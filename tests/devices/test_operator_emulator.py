"""One operator's emulated devices as a program of their own."""

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from ate_core.contract import load_cell, packaged_cell
from operator_devices.emulator import CircleMotion
from operator_devices.joycon_emulator import standin_path
from operator_devices.vision_pro import VisionProConfig, VisionProReader

BUTTON_READER = """
import sys, time
from operator_devices.joycon import SHOULDER, JoyConConfig, JoyConReader
serial, side = sys.argv[1:]
reader = JoyConReader(JoyConConfig(serial=serial, side=side))
reader.start()
deadline = time.monotonic() + 10.0
seen = set()
while len(seen) < 2 and time.monotonic() < deadline:
    if reader.connected:
        seen.add(reader.latest().pressed(SHOULDER[side]))
    time.sleep(0.005)
reader.stop()
sys.exit(0 if seen == {False, True} else 1)
"""
"""A process that exits with 0 once it has seen the clutch both held and released."""


def wait_until(condition: Callable[[], object], timeout: float = 10.0) -> None:
    deadline = time.monotonic() + timeout
    tick = threading.Event()
    while not condition():
        assert time.monotonic() < deadline, "condition not met in time"
        tick.wait(0.005)


@pytest.fixture
def cell_file(tmp_path: Path) -> Path:
    """The packaged cell with emulated headsets on addresses of this process alone."""
    network = f"127.{100 + os.getpid() % 100}.{os.getpid() // 100 % 250}"
    file = tmp_path / "cell.yaml"
    file.write_text(packaged_cell().read_text().replace("127.0.0.", f"{network}.4"))
    return file


def test_hand_and_buttons_are_seen_from_other_processes(cell_file: Path, tmp_path: Path) -> None:
    environment = {**os.environ, "ATE_RUNTIME_DIR": str(tmp_path)}
    command = [sys.executable, "-m", "operator_devices.emulator", "--period", "1.5"]
    emulator = subprocess.Popen(
        [*command, "--operator", "left", "--cell", str(cell_file)], env=environment
    )
    operator = load_cell(cell_file, "sim").operators["left"]
    reader = VisionProReader(VisionProConfig(ip=operator.headset_ip, hand=operator.hand))
    try:
        reader.start()
        wait_until(lambda: reader.latest() is not None and reader.latest().tracked)
        start = reader.latest().transform_wrist_to_headset
        wait_until(
            lambda: (
                np.linalg.norm((reader.latest().transform_wrist_to_headset - start)[:3, 3]) > 0.1
            )
        )
        environment["PYTHONPATH"] = os.pathsep.join([str(standin_path()), *sys.path])
        buttons = subprocess.run(
            [sys.executable, "-c", BUTTON_READER, operator.joycon_serial, operator.joycon_side],
            env=environment,
            timeout=20.0,
            check=False,
        )
        assert buttons.returncode == 0
    finally:
        reader.stop()
        emulator.send_signal(signal.SIGINT)
        assert emulator.wait(timeout=5.0) == 0
    assert not list((tmp_path / "hid").iterdir())


def test_an_unknown_operator_is_named(cell_file: Path) -> None:
    command = [sys.executable, "-m", "operator_devices.emulator", "--operator", "middle"]
    result = subprocess.run(command, capture_output=True, text=True, timeout=20.0, check=False)
    assert result.returncode == 1
    assert "no operator 'middle'" in result.stderr


def test_the_circle_lets_the_clutch_go_once_a_lap() -> None:
    motion = CircleMotion(period=8.0, let_go=1.0)
    times = np.arange(0.0, 16.0, 0.1)
    held = np.array([motion.clutch(t) for t in times])
    assert np.count_nonzero(np.diff(held.astype(int)) == 1) == 2
    radius = [np.linalg.norm(motion.wrist(t)[:3, 3] - motion.centre) for t in times]
    np.testing.assert_allclose(radius, motion.radius)
