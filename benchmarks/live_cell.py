"""A launched simulated cell looked at from outside, and its true motion."""

import contextlib
import os
import signal
import subprocess
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import psutil
import yaml
from numpy.typing import NDArray

from ate_core.child import child_command, child_environment
from ate_core.contract import load_cell, packaged_cell
from ate_core.errors import DeviceError
from ate_core.shared_state import SharedBlock, arm_target_dtype, world_dtype
from ate_sim.realtime.blocks import BlockReader

Array = NDArray[np.float64]

TELEOP = ("ate_teleop", "dual_operator.launch.py")
"""Words of the launch in which two operators teleoperate."""
DEPLOY = ("ate_policy", "deploy.launch.py")
"""Words of the launch in which a policy drives the arms."""
REST_SPEED = 0.05
"""Joint speed below which an arm counts as at rest [rad/s]."""
MOVING_SPEED = 0.15
"""Joint speed from which an arm moves well [rad/s]."""
LOOK = 0.004
"""Pause between two looks at the world, which publishes as often [s]."""
REST_TIME = 0.3
"""An arm that is slow for so long rests [s]; where a hand turns round it is slow for less."""
WINDOW = 0.1
"""Speeds and accelerations are means over so long [s]: shorter ones show how busy it is."""
GRID = 0.01
"""Spacing of the moments at which these means begin [s]."""


def write_cell(folder: Path, number: int, *, small: bool = True) -> Path:
    """The packaged cell with loopback addresses and UDP ports that no other one uses.

    Args:
        folder: where the file goes.
        number: tells the cells of one process apart.
        small: few and small pictures, where only motion is looked at.
    """
    values = yaml.safe_load(packaged_cell().read_text())
    net = f"127.{100 + number % 100}.{os.getpid() % 250}"
    simulation = values["simulation"]
    for index, side in enumerate(("left", "right")):
        simulation["arms"][side]["ip"] = f"{net}.{2 + index}"
        simulation["arms"][side]["udp_port"] = 20_000 + 2 * (os.getpid() % 10_000) + index
        simulation["operators"][side]["headset_ip"] = f"{net}.{2 + index}"
    if small:
        for camera in simulation["cameras"].values():
            camera.update(width=160, height=90, fps=5)
    file = folder / "cell.yaml"
    file.write_text(yaml.safe_dump(values, sort_keys=False))
    return file


@contextlib.contextmanager
def own_surroundings() -> Iterator[Path]:
    """A folder, a runtime folder and a ROS domain that nothing else uses."""
    with tempfile.TemporaryDirectory(prefix="ate-") as folder:
        os.environ |= {
            "ATE_RUNTIME_DIR": str(Path(folder) / "run"),  # short: it holds unix sockets
            "ROS_LOG_DIR": str(Path(folder) / "ros"),
            "ROS_DOMAIN_ID": str(1 + os.getpid() % 100),
            "ROS_AUTOMATIC_DISCOVERY_RANGE": "LOCALHOST",
        }
        os.environ.setdefault("OMP_NUM_THREADS", "1")
        yield Path(folder)


class LaunchedCell:
    """`ate launch` running the simulated cell, with what one asks of it."""

    def __init__(self, folder: Path, cell_file: Path, words: list[str]) -> None:
        self.folder = folder
        self.cell = load_cell(cell_file, "sim")
        self._log = folder / "launch.log"
        words = ["launch", *words, f"cell:={cell_file}", "hardware:=sim"]
        self.process = subprocess.Popen(
            child_command("ate_bringup.cli", words),
            env={**os.environ, **child_environment()},
            stderr=self._log.open("wb"),
            stdout=subprocess.DEVNULL,
            stdin=subprocess.DEVNULL,
            start_new_session=True,
        )

    def wait_for(self, condition: Callable[[], object], what: str, timeout: float = 60.0) -> None:
        """Wait until a condition is truthy.

        Raises:
            AssertionError: it does not become so in time, or the launch ends before.
        """
        deadline = time.monotonic() + timeout
        while not condition():
            assert self.process.poll() is None, f"it ended before {what}:\n{self.log()[-2000:]}"
            assert time.monotonic() < deadline, f"no {what} within {timeout} s"
            time.sleep(0.02)

    def log(self) -> str:
        """Everything printed so far."""
        return self._log.read_text()

    def children(self) -> list[psutil.Process]:
        """All processes of the launch."""
        return psutil.Process(self.process.pid).children(recursive=True)

    def find(self, *words: str) -> psutil.Process:
        """The one process whose command line holds all words; not its children of the same one."""
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


class WorldTrace(threading.Thread):
    """Set points and true joints of both arms, every few milliseconds; use it as a context."""

    def __init__(self, cell: LaunchedCell) -> None:
        super().__init__(daemon=True)
        self._block, self._ended = cell.world(), threading.Event()
        self._rows: list[tuple[float, float, Array, Array]] = []
        self._targets = {
            side: BlockReader(cell.cell.runtime_path(f"arm_{side}.target"), arm_target_dtype(arm))
            for side, arm in cell.cell.arms.items()
        }
        self._set_points: dict[str, list[tuple[float, Array]]] = {s: [] for s in self._targets}

    def __enter__(self) -> "WorldTrace":
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._ended.set()
        self.join()
        for reader in self._targets.values():
            reader.close()
        self._block.close()

    def run(self) -> None:
        """Look until the context ends."""
        newest = 0
        while not self._ended.wait(LOOK):
            self._look_at_targets()
            try:
                record = self._block.read()
            except DeviceError:  # the world died within a write
                return
            if record["time_ns"] == newest:
                continue
            newest = int(record["time_ns"])
            joints = np.stack([record["left_q"], record["right_q"]])
            speeds = np.stack([record["left_qd"], record["right_qd"]])
            self._rows.append((newest * 1e-9, float(record["sim_time"]), joints, speeds))

    def _look_at_targets(self) -> None:
        for side, reader in self._targets.items():
            record = reader.read_new(time.monotonic())
            if record is not None and record["active"]:
                row = (float(record["time_ns"]) * 1e-9, np.array(record["q"], dtype=np.float64))
                self._set_points[side].append(row)

    def motion(self, side: str, begin: float, end: float = np.inf) -> "Motion":
        """What an arm did between two moments of the monotonic clock [s]."""
        rows = [row for row in list(self._rows) if begin < row[0] < end]
        index = ("left", "right").index(side)
        return Motion(
            times=np.array([row[0] for row in rows]),
            seconds=np.array([row[1] for row in rows]),
            joints=np.array([row[2][index] for row in rows]),
            velocities=np.array([row[3][index] for row in rows]),
        )

    def set_point_lead(self, side: str, begin: float, speed: float) -> float:
        """`lead` of the set point of an arm's controller from a moment on, in its own time [s]."""
        rows = [row for row in list(self._set_points[side]) if begin < row[0]]
        return lead(np.array([row[0] for row in rows]), np.array([row[1] for row in rows]), speed)

    def is_moving(self, side: str) -> bool:
        """Whether an arm has moved well for the last 80 ms."""
        newest = self.motion(side, time.monotonic() - 0.08).speeds
        return len(newest) > 2 and bool(newest.min() > MOVING_SPEED)


def lead(times: Array, joints: Array, speed: float) -> float:
    """By how much a path is ahead of a joint that moves at a speed limit [s].

    That is the most, over all joints and pairs of moments, that a way takes at the limit less the
    time between the moments. 0 within the limit; of a path that was late and caught up, how late
    it was; of a jump, how long it would have taken.

    Args:
        times: stamps (k,) [s].
        joints: path (k, n) [rad].
        speed: limit [rad/s].
    """
    if not len(times):
        return 0.0
    ways = np.hstack([joints, -joints]) / speed - times[:, None]
    return float((ways - np.minimum.accumulate(ways)).max())


class Motion:
    """A piece of the motion of one arm."""

    def __init__(self, times: Array, seconds: Array, joints: Array, velocities: Array) -> None:
        """Keep times on the monotonic clock and of the world [s], joints (k, n) and rates."""
        self.times, self.seconds, self.joints = times, seconds, joints
        self.velocities = velocities

    @property
    def speeds(self) -> Array:
        """Largest joint speed at each look (k,) [rad/s]."""
        return np.abs(self.velocities).max(axis=1) if len(self.times) else np.zeros(0)

    @property
    def largest_speed(self) -> float:
        """Of any joint, as mean over `WINDOW` of the world's time [rad/s]."""
        return float(self._moved().max(initial=0.0)) / WINDOW

    @property
    def largest_acceleration(self) -> float:
        """Of any joint, between two such means that follow each other [rad/s2]."""
        moved, steps = self._moved(signed=True), round(WINDOW / GRID)
        return float(np.abs(moved[steps:] - moved[:-steps]).max(initial=0.0)) / WINDOW**2

    def lead(self, speed: float) -> float:
        """`lead` of the true joints in the world's time [s]."""
        return lead(self.seconds, self.joints, speed)

    def _moved(self, *, signed: bool = False) -> Array:
        """Way of each joint within windows that begin every `GRID` (m, n) [rad]."""
        if len(self.seconds) < 2 or self.seconds[-1] - self.seconds[0] < 2 * WINDOW:
            return np.zeros((0, 1))
        grid = np.arange(self.seconds[0], self.seconds[-1], GRID)
        joints = np.stack([np.interp(grid, self.seconds, q) for q in self.joints.T], axis=1)
        steps = round(WINDOW / GRID)
        moved: Array = joints[steps:] - joints[:-steps]
        return moved if signed else np.abs(moved)

    def rest_after(self, begin: float) -> float:
        """Time from an event until the arm first rests for `REST_TIME` [s]; inf: it never does.

        Args:
            begin: the event [s].
        """
        looks = self.times > begin
        fast = np.flatnonzero(looks & (self.speeds > REST_SPEED))
        if not looks.any():
            return np.inf
        starts = np.concatenate([[np.flatnonzero(looks)[0]], fast])
        ends = np.concatenate([fast, [len(self.times) - 1]])
        # In the world's time: one that stands is no arm that rests.
        rests = np.flatnonzero(self.seconds[ends] - self.seconds[starts] >= REST_TIME)
        if not len(rests):
            return np.inf
        return max(float(self.times[starts[rests[0]]] - begin), 0.0) if rests[0] else 0.0

    def rest_until(self, moment: float) -> float:
        """How long after a moment at which the arm rests it goes on [s]; inf: it does not.

        Args:
            moment: on the monotonic clock [s].
        """
        fast = self.times[(self.times > moment) & (self.speeds > REST_SPEED)]
        return float(fast[0] - moment) if len(fast) else np.inf
