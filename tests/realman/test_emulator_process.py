"""The emulated controller as a process: its end, its restart and its errors."""

import json
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import yaml

from ate_core.contract import load_cell, packaged_cell
from ate_core.loop import FixedRateLoop
from ate_core.shared_state import SharedBlock, arm_target_dtype, new_record, world_dtype
from realman_driver.emulator.control import EmulatorControl
from realman_driver.emulator.main import control_path
from realman_driver.emulator.server import ServerConfig

CELL = load_cell(None, "sim")
HOME = np.array(CELL.arms["left"].home)
WORLD_DTYPE, ARM_TARGET_DTYPE = world_dtype(CELL), arm_target_dtype(CELL.arms["left"])


class SmallWorld:
    """Stands in for the simulated world: the left arm follows its target with a lag."""

    def __init__(self, folder: str) -> None:
        self.trace: list[np.ndarray] = []
        self._folder = Path(folder)
        self._block = SharedBlock(self._folder / "world.state", WORLD_DTYPE, create=True)
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run)
        self._thread.start()

    def close(self) -> None:
        self._stop.set()
        self._thread.join()

    def _run(self) -> None:
        record, q = new_record(WORLD_DTYPE), HOME.copy()
        target: SharedBlock | None = None
        path, inode = self._folder / "arm_left.target", -1
        for _ in FixedRateLoop(200.0, self._stop):
            if path.exists() and path.stat().st_ino != inode:
                inode = path.stat().st_ino
                target = SharedBlock(path, ARM_TARGET_DTYPE, create=False)
            wanted = None if target is None else target.read()
            if wanted is not None and wanted["active"]:
                q = q + 0.3 * (wanted["q"] - q)
            self.trace.append(q)
            record["time_ns"] = time.monotonic_ns()
            record["left_q"] = q
            self._block.write(record)


class Emulator:
    """The process, restartable."""

    def __init__(self, cell: Path, runtime_dir: str, plant: str) -> None:
        self.command = [sys.executable, "-m", "realman_driver.emulator", "--side", "left"]
        self.command += ["--cell", str(cell), "--plant", plant]
        self.control = EmulatorControl(control_path(runtime_dir, "left"))
        self.start()

    def start(self) -> None:
        self.process = subprocess.Popen(self.command, stderr=subprocess.PIPE, text=True)
        self.control.wait_until_up(deadline_s=15.0)

    def end(self, number: int = signal.SIGTERM) -> tuple[int, str, float]:
        """Exit code, log and time to the end [s]."""
        begin = time.monotonic()
        self.process.send_signal(number)
        _, log = self.process.communicate(timeout=10.0)
        return self.process.returncode, log, time.monotonic() - begin


@pytest.fixture
def cell_file(address: ServerConfig, tmp_path: Path) -> Path:
    """A cell whose left arm has an address of this test."""
    values = yaml.safe_load(packaged_cell().read_text())
    values["simulation"]["arms"]["left"] = {"ip": address.ip, "udp_port": address.udp_port}
    path = tmp_path / "cell.yaml"
    path.write_text(yaml.safe_dump(values))
    return path


@pytest.fixture
def world(runtime_dir: str) -> Iterator[SmallWorld]:
    """The small world, stepping."""
    world = SmallWorld(runtime_dir)
    yield world
    world.close()


@pytest.fixture
def emulator(cell_file: Path, runtime_dir: str, world: SmallWorld) -> Iterator[Emulator]:
    """A controller process on the small world."""
    emulator = Emulator(cell_file, runtime_dir, "world")
    yield emulator
    if emulator.process.poll() is None:
        emulator.process.kill()
    emulator.process.communicate()


def test_killed_controller_is_followed_by_a_new_link_and_no_jump(
    emulator: Emulator, world: SmallWorld, cell_file: Path, make_rig
) -> None:
    rig = make_rig(load_cell(cell_file, "sim").arms["left"])
    assert rig.wait_for_state("connected", seconds=10.0)
    rig.drive(lambda t: HOME + 0.15 * (1 - np.cos(2.0 * t)), 0.8)
    emulator.process.kill()
    emulator.process.communicate()
    rig.drive(lambda t: HOME + 0.15 * (1 - np.cos(2.0 * (t + 0.8))), 0.8)
    assert rig.wait_for_state("disconnected")
    emulator.start()
    assert rig.wait_for_state("connected", seconds=10.0)
    here = rig.client.latest().position
    rig.drive(lambda t: here + 0.1 * (1 - np.cos(2.0 * t)), 1.0)
    assert rig.client.session == 2
    trace = np.array(world.trace)
    assert np.abs(trace[-1] - HOME).max() > 0.05
    assert np.abs(np.diff(trace, axis=0)).max() < 0.06


@pytest.mark.parametrize(
    ("ticks", "fastest"),
    [(25, 2.5), (5, 3.5)],
    ids=["long, its client stopped too", "short, its client went on"],
)
def test_controller_that_stood_still_does_not_catch_up(
    emulator: Emulator, world: SmallWorld, cell_file: Path, ticks: int, fastest: float
) -> None:
    arm = load_cell(cell_file, "sim").arms["left"]
    assert world.trace
    with socket.create_connection((arm.ip, arm.tcp_port)) as client:
        begin = None
        for tick, _ in enumerate(FixedRateLoop(100.0, threading.Event())):
            if tick == 60:
                break
            if tick in (20, 20 + ticks):
                emulator.process.send_signal(signal.SIGSTOP if tick == 20 else signal.SIGCONT)
                begin = begin or len(world.trace)
            moved = min(tick, 44) * 0.01 * 1.5 * np.eye(7)[0]  # 1.5 rad/s
            command = {"command": "movej_canfd", "follow": True}
            command["joint"] = [round(v) for v in np.degrees(HOME + moved) * 1e3]
            client.sendall(json.dumps(command).encode() + b"\r\n")
    speed = np.abs(np.diff(np.array(world.trace[begin:]), axis=0)).max() / 0.005
    assert speed < fastest  # rad/s in the world
    assert emulator.control.status()["errors"] == []


def test_controller_brings_its_arm_to_rest_before_it_ends(
    emulator: Emulator, cell_file: Path, make_rig
) -> None:
    rig = make_rig(load_cell(cell_file, "sim").arms["left"])
    assert rig.wait_for_state("connected", seconds=10.0)
    rig.drive(lambda t: HOME + 0.15 * (1 - np.cos(2.0 * t)), 0.5)
    code, log, _ = emulator.end(signal.SIGINT)
    assert code == 0
    assert log.count("controlled stop") == 1


def test_ended_driver_is_a_controlled_stop_for_the_controller(
    emulator: Emulator, cell_file: Path, make_rig
) -> None:
    rig = make_rig(load_cell(cell_file, "sim").arms["left"])
    assert rig.wait_for_state("connected", seconds=10.0)
    rig.drive(lambda t: HOME + 0.15 * (1 - np.cos(2.0 * t)), 0.5)
    rig.close()
    code, log, seconds = emulator.end()
    assert code == 0
    assert "controlled stop: set_arm_slow_stop" in log
    assert seconds < 1.5


def test_taken_port_is_one_line(emulator: Emulator) -> None:
    second = subprocess.run(emulator.command, capture_output=True, text=True, timeout=30)
    assert second.returncode == 1
    assert len(second.stderr.strip().splitlines()) == 1
    assert "cannot be opened (Address already in use)" in second.stderr


def test_second_process_does_not_disturb_the_first(emulator: Emulator, runtime_dir: str) -> None:
    target = Path(runtime_dir) / "arm_left.target"
    before = target.stat().st_ino
    subprocess.run(emulator.command, capture_output=True, timeout=30)
    assert target.stat().st_ino == before
    assert emulator.control.status()["up"]


def test_dead_world_gives_no_state(
    emulator: Emulator, world: SmallWorld, cell_file: Path, make_rig
) -> None:
    rig = make_rig(load_cell(cell_file, "sim").arms["left"])
    assert rig.wait_for_state("connected", seconds=10.0)
    world.close()
    assert rig.wait_for_state("no_feedback") or rig.status.state == "disconnected"
