"""A simulated cell of its own for each test: addresses, ports and runtime folder."""

import contextlib
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import psutil
import pytest
import yaml

from ate_core.contract import load_cell, packaged_cell
from ate_core.shared_state import SharedBlock, world_dtype


def write_cell(folder: Path, number: int) -> Path:
    """The packaged cell with loopback addresses and UDP ports that no other test uses."""
    values = yaml.safe_load(packaged_cell().read_text())
    net = f"127.{100 + number % 100}.{os.getpid() % 250}"
    simulation = values["simulation"]
    for index, side in enumerate(("left", "right")):
        simulation["arms"][side]["ip"] = f"{net}.{2 + index}"
        simulation["arms"][side]["udp_port"] = 20_000 + 2 * (os.getpid() % 10_000) + index
        simulation["operators"][side]["headset_ip"] = f"{net}.{2 + index}"
    for camera in simulation["cameras"].values():
        camera.update(width=160, height=90, fps=5)  # these tests look at motion, not at pictures
    file = folder / "cell.yaml"
    file.write_text(yaml.safe_dump(values, sort_keys=False))
    return file


class LaunchedCell:
    """`ate launch` running the simulated cell, with what the tests ask of it."""

    def __init__(self, folder: Path, cell_file: Path, words: list[str]) -> None:
        self.folder = folder
        self.cell = load_cell(cell_file, "sim")
        self._log = folder / "launch.log"
        self.process = subprocess.Popen(
            [
                *(sys.executable, "-m", "ate_bringup.cli", "launch", *words),
                *(f"cell:={cell_file}", "hardware:=sim"),
            ],
            stderr=self._log.open("wb"),
            stdout=subprocess.DEVNULL,
            stdin=subprocess.DEVNULL,
            start_new_session=True,
        )

    def wait_for(self, condition: Callable[[], object], what: str, timeout: float = 60.0) -> None:
        """Wait until a condition is truthy; the test fails when it does not become so in time."""
        deadline = time.monotonic() + timeout
        while not condition():
            assert self.process.poll() is None, f"the launch ended before {what}"
            assert time.monotonic() < deadline, f"no {what} within {timeout} s"
            time.sleep(0.02)

    def log(self) -> str:
        """Everything printed so far."""
        return self._log.read_text()

    def children(self) -> list[psutil.Process]:
        """All processes of the launch."""
        return psutil.Process(self.process.pid).children(recursive=True)

    def find(self, *words: str) -> psutil.Process:
        """The one process whose command line holds all words."""
        found = [
            child
            for child in self.children()
            if child.status() != psutil.STATUS_ZOMBIE
            and all(word in child.cmdline() for word in words)
        ]
        assert len(found) == 1, f"{words}: {found}"
        return found[0]

    def world(self) -> SharedBlock:
        """The state of the world, once it is there."""
        path = self.cell.runtime_path("world.state")
        self.wait_for(path.exists, "world")
        return SharedBlock(path, world_dtype(self.cell), create=False)

    def interrupt(self) -> float:
        """Send SIGINT as Ctrl-C does and return the time until the launch has ended [s]."""
        begin = time.monotonic()
        self.process.send_signal(signal.SIGINT)
        self.process.wait(20)
        return time.monotonic() - begin

    def kill(self) -> None:
        """End everything that is left."""
        if self.process.poll() is None:
            left = self.children()
            self.process.kill()  # first, or it starts the others again
            self.process.wait(10)
            for child in left:
                with contextlib.suppress(psutil.NoSuchProcess):
                    child.kill()
            psutil.wait_procs(left, timeout=10)


@pytest.fixture
def launch_cell(tmp_path, runtime_dir):
    """Starts a launch on a cell of its own and leaves nothing behind."""
    cells: list[LaunchedCell] = []

    def launch(*words: str) -> LaunchedCell:
        cell_file = write_cell(tmp_path, len(cells))
        cells.append(LaunchedCell(tmp_path, cell_file, list(words)))
        return cells[-1]

    yield launch
    for cell in cells:
        if cell.process.poll() is None:
            print(cell.log()[-6000:])
        cell.kill()


@pytest.fixture
def cell_file(tmp_path, runtime_dir):
    """A cell file with addresses of its own."""
    return write_cell(tmp_path, 50)
