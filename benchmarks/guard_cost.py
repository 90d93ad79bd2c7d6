"""Time the distance guard in the tick of one arm, at 100 Hz, beside processes that compute.

    python benchmarks/guard_cost.py
    python benchmarks/guard_cost.py --load 2 --seconds 30

Three motions: free, near the other arm, and pressed onto the table. The arm obeys at once, so that
nothing but filter and guard is measured. ``cpu`` is the time of the thread, ``wall`` what the tick
took with whatever interrupted it.
"""

import multiprocessing
import os
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TypeVar

import numpy as np
import tyro
from numpy.typing import NDArray

from ate_core.contract import load_cell
from ate_core.guard import DistanceGuard
from ate_core.motion_guard import GuardVerdict, StoppingPosture
from ate_core.motion_profile import Motion, Rest
from ate_core.priority import CONTROL, set_niceness
from ate_core.safety import JointCommand, SafetyFilter

Array = NDArray[np.float64]
Answer = TypeVar("Answer")

TICK = 0.01
"""Period of the driver [s]."""


@dataclass(frozen=True, kw_only=True)
class CostConfig:
    """How long to measure, and beside what."""

    seconds: float = 10.0
    """Length of each motion [s]."""
    load: int = 0
    """Processes that compute without pause beside it."""
    cell: str | None = None
    """Cell file, or name of a packaged one."""


@dataclass
class Times:
    """Durations of ticks [s]."""

    guard_cpu: list[float] = field(default_factory=list)
    guard_wall: list[float] = field(default_factory=list)
    step_cpu: list[float] = field(default_factory=list)
    step_wall: list[float] = field(default_factory=list)
    slowed: int = 0


class TimedStopping:
    """The filter's stopping postures with a stop watch."""

    def __init__(self, stopping: StoppingPosture) -> None:
        self._stopping = stopping
        self.cpu = self.wall = 0.0

    def __call__(self, velocity: Array) -> Array:
        """Posture at rest."""
        return self._timed(self._stopping, velocity)

    def ways(self, velocity: Array) -> list[tuple[Motion, Rest]]:
        """Motions after the step, and their ways to rest."""
        return self._timed(self._stopping.ways, velocity)

    def _timed(self, call: Callable[[Array], Answer], velocity: Array) -> Answer:
        cpu, wall = time.thread_time(), time.perf_counter()
        answer = call(velocity)
        self.cpu += time.thread_time() - cpu
        self.wall += time.perf_counter() - wall
        return answer


class TimedGuard:
    """A guard with a stop watch."""

    def __init__(self, guard: DistanceGuard, times: Times) -> None:
        self._guard, self._times = guard, times

    def limit(
        self,
        q: Array,
        velocity: Array,
        wanted: Array,
        dt: float,
        now: float,
        stopping: StoppingPosture,
    ) -> GuardVerdict:
        """Ask the guard, less the time of the filter's own stopping postures."""
        timed = TimedStopping(stopping)
        cpu, wall = time.thread_time(), time.perf_counter()
        verdict = self._guard.limit(q, velocity, wanted, dt, now, timed)
        self._times.guard_cpu.append(time.thread_time() - cpu - timed.cpu)
        self._times.guard_wall.append(time.perf_counter() - wall - timed.wall)
        self._times.slowed += bool(verdict.reason)
        return verdict


def measure(config: CostConfig, path: Callable[[float], Array], other: Array) -> Times:
    """Follow a path (time -> joints) for a while beside the other arm's posture."""
    cell = load_cell(config.cell, "sim")
    times = Times()
    guard = DistanceGuard.of_cell(cell, "left")
    safety = SafetyFilter(cell.safety, cell.arms["left"], TimedGuard(guard, times))
    q = np.array(cell.arms["left"].home)
    begin = time.perf_counter()
    for tick in range(round(config.seconds / TICK)):
        now = tick * TICK
        guard.see_other(other, now - 0.006, np.zeros_like(other))
        if tick % 2 == 0:
            target = q + np.clip(path(now) - q, -0.3, 0.3)
            safety.submit(JointCommand(commander="teleop", position=target, stamp=now), now)
        cpu, wall = time.thread_time(), time.perf_counter()
        output = safety.step(now, q)
        times.step_cpu.append(time.thread_time() - cpu)
        times.step_wall.append(time.perf_counter() - wall)
        q = q if output.target is None else output.target
        time.sleep(max(begin + now + TICK - time.perf_counter(), 0.0))
    return times


def _motions(config: CostConfig) -> Iterator[tuple[str, Callable[[float], Array], Array]]:
    cell = load_cell(config.cell, "sim")
    home = {side: np.array(arm.home) for side, arm in cell.arms.items()}
    first, second = np.eye(len(home["left"]))[:2]
    down = 0.9 * second - 0.9 * np.eye(len(home["left"]))[-2]
    right = np.eye(len(home["right"]))
    yield "free", lambda t: home["left"] + 0.4 * np.sin(2.0 * t) * first, home["right"]
    yield (
        "near the other arm",
        lambda t: home["left"] - (1.0 + 0.5 * np.sin(2.0 * t)) * first + 0.4 * down,
        home["right"] + 1.2 * right[0] + 0.4 * (right[1] - right[-2]),
    )
    yield (
        "pressed onto the table",
        lambda t: home["left"] + down + 0.4 * np.sin(2.0 * t) * first,
        home["right"],
    )


def _compute() -> None:
    os.setpriority(os.PRIO_PROCESS, 0, 0)  # a child inherits the priority of a driver
    while True:
        sum(range(10_000))


@contextmanager
def _busy(processes: int) -> Iterator[None]:
    context = multiprocessing.get_context("spawn")
    running = [context.Process(target=_compute, daemon=True) for _ in range(processes)]
    for process in running:
        process.start()
    try:
        yield
    finally:
        for process in running:
            process.terminate()
            process.join()


def main(config: CostConfig) -> int:
    """Print median and 99th percentile of guard and step for each motion."""
    granted = f"niceness {CONTROL}" if set_niceness(CONTROL) else "normal priority"
    with _busy(config.load):
        print(f"{granted}, beside {config.load} processes that compute")
        print("microseconds: median / p99")
        print("motion                    guard cpu      guard wall     step cpu       step wall")
        for name, path, other in _motions(config):
            times = measure(config, path, other)
            rows = (times.guard_cpu, times.guard_wall, times.step_cpu, times.step_wall)
            cells = [
                f"{np.percentile(row, 50) * 1e6:5.0f} / {np.percentile(row, 99) * 1e6:4.0f}"
                for row in rows
            ]
            share = times.slowed / len(times.step_cpu)
            print(f"{name:24}  {'   '.join(cells)}   held back {share:.0%}")
    return 0


if __name__ == "__main__":
    raise SystemExit(main(tyro.cli(CostConfig)))
