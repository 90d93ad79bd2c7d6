"""Time one step of the safety filter, with and without distance guard, beside other limiters.

    python benchmarks/safety_filter.py --seconds 30
    python benchmarks/safety_filter.py --seconds 30 --load 2

Every 10 ms each limiter takes the same commanded posture of an arm that moves to and fro, in
turns, so that all meet the same machine. Beside the filter run a plain clip (position, speed and
acceleration, nothing else) and, where it is installed (`pip install ruckig`), a step of Ruckig's
online trajectory generation within the same speed, acceleration and jerk. `--load` processes
compute beside them without pause, at normal priority; the limiters have a driver's.

``cpu`` is the time of the thread, ``wall`` what the step took with whatever interrupted it. The
guard alone, and near things: `benchmarks/guard_cost.py`.
"""

import importlib
import multiprocessing
import os
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import tyro
from numpy.typing import NDArray

from ate_core.contract import Cell, SafetyConfig, load_cell
from ate_core.devices import ArmConfig
from ate_core.guard import DistanceGuard
from ate_core.loop import FixedRateLoop
from ate_core.priority import CONTROL, set_niceness
from ate_core.safety import JointCommand, SafetyFilter

Array = NDArray[np.float64]
Step = Callable[[Array, float], Array]
"""Commanded posture (n,) [rad] and time [s] -> set point (n,) [rad]."""

RATE = 100.0
"""Steps per second [Hz]."""
MOVES = np.array([1.0, 0.0, 0.3, 0.0, -0.3, 0.0, 1.0])
"""Share of the motion of each joint: in the open, so that the guard slows nothing."""
BUDGET_MS = 0.5
"""99th percentile that a step with guard may take [ms]."""


@dataclass(frozen=True, kw_only=True)
class BenchmarkConfig:
    """Step all limiters in turns at 100 Hz."""

    seconds: float = 20.0
    """How long [s]."""
    load: int = 0
    """Processes that compute without pause beside them."""


@dataclass(frozen=True, kw_only=True)
class Cost:
    """Time of one step."""

    median_ms: float
    """Median [ms]."""
    p99_ms: float
    """99th percentile [ms]."""
    cpu_median_ms: float
    """Median of the thread's own time [ms]."""
    cpu_p99_ms: float
    """99th percentile of it [ms]."""


def main(config: BenchmarkConfig) -> int:
    """Print every limiter's cost and its ratio to the filter with guard."""
    granted = f"niceness {CONTROL}" if set_niceness(CONTROL) else "normal priority"
    print(f"{granted}, beside {config.load} processes that compute")
    busy = [multiprocessing.Process(target=_compute, daemon=True) for _ in range(config.load)]
    for process in busy:
        process.start()
    costs = measure(config)
    for process in busy:
        process.terminate()
    guarded = costs["filter, guard"]
    for name, cost in costs.items():
        print(
            f"{name:15s} wall median {cost.median_ms:.3f} ms, p99 {cost.p99_ms:.3f} ms; cpu "
            f"{cost.cpu_median_ms:.3f} ms, {cost.cpu_p99_ms:.3f} ms; the guarded step takes "
            f"{guarded.median_ms / cost.median_ms:.1f} times its median"
        )
    print(f"budget of the guarded step: p99 {BUDGET_MS} ms; {guarded.p99_ms:.3f} ms")
    return 0 if guarded.p99_ms <= BUDGET_MS else 1


def measure(config: BenchmarkConfig) -> dict[str, Cost]:
    """Cost of each limiter, by name."""
    cell = load_cell()
    steps = limiters(cell)
    home = np.array(cell.arms["left"].home)
    times: dict[str, list[tuple[float, float]]] = {name: [] for name in steps}
    stop = threading.Event()
    for count, _ in enumerate(FixedRateLoop(RATE, stop)):
        now = 1.0 + count / RATE
        target = home + 0.15 * MOVES * (1.0 - np.cos(2.0 * (now - 1.0)))
        for name, step in steps.items():
            begin, cpu = time.perf_counter(), time.thread_time()
            step(target, now)
            cpu = time.thread_time() - cpu
            times[name].append((time.perf_counter() - begin, cpu))
        if count + 1 >= config.seconds * RATE:
            stop.set()
    return {name: _cost(np.array(some) * 1e3) for name, some in times.items()}


def _cost(times: Array) -> Cost:
    """Cost of steps from their times (n, 2): wall and the thread's own [ms]."""
    (wall, cpu), (wall_p99, cpu_p99) = np.percentile(times, [50, 99], axis=0).tolist()
    return Cost(median_ms=wall, p99_ms=wall_p99, cpu_median_ms=cpu, cpu_p99_ms=cpu_p99)


def limiters(cell: Cell) -> dict[str, Step]:
    """All limiters of the left arm, by name."""
    arm, safety = cell.arms["left"], cell.safety
    guard = DistanceGuard.of_cell(cell, "left")
    other = np.array(cell.arms["right"].home)
    bare, guarded = SafetyFilter(safety, arm), SafetyFilter(safety, arm, guard)

    def with_guard(target: Array, now: float) -> Array:
        guard.see_other(other, now, np.zeros_like(other))
        return _filtered(guarded, target, now)

    steps: dict[str, Step] = {
        "filter, guard": with_guard,
        "filter alone": lambda target, now: _filtered(bare, target, now),
        "plain clip": PlainClip(arm, safety),
    }
    try:
        steps["ruckig"] = RuckigStep(arm, safety)
    except ImportError:
        print("ruckig is not installed (pip install ruckig): it is left out")
    return steps


def _filtered(safety: SafetyFilter, target: Array, now: float) -> Array:
    """Set point of a filter whose arm follows at once; the command is part of the step."""
    output = safety.step(now, target)
    safety.submit(JointCommand(commander="benchmark", position=target, stamp=now), now)
    return target if output.target is None else output.target


class PlainClip:
    """Position, speed and acceleration, each clipped."""

    def __init__(self, arm: ArmConfig, safety: SafetyConfig) -> None:
        self._lower, self._upper = map(np.array, arm.bounds(safety.position_margin))
        self._speed = np.minimum(arm.joint_speed, safety.max_joint_speed)
        self._acceleration = safety.max_joint_acceleration
        self._q = np.array(arm.home)
        self._v = np.zeros_like(self._q)

    def __call__(self, target: Array, now: float) -> Array:
        """One step."""
        wanted = np.clip((target - self._q) * RATE, -self._speed, self._speed)
        change = self._acceleration / RATE
        self._v = np.clip(wanted, self._v - change, self._v + change)
        self._q = np.clip(self._q + self._v / RATE, self._lower, self._upper)
        return self._q


class RuckigStep:
    """One cycle of Ruckig's tracking of a posture; without position limits and commanders."""

    def __init__(self, arm: ArmConfig, safety: SafetyConfig) -> None:
        ruckig: Any = importlib.import_module("ruckig")

        joints = len(arm.home)
        self._generator: Any = ruckig.Ruckig(joints, 1.0 / RATE)
        self._input: Any = ruckig.InputParameter(joints)
        self._output: Any = ruckig.OutputParameter(joints)
        self._input.current_position = list(arm.home)
        self._input.max_velocity = [min(v, safety.max_joint_speed) for v in arm.joint_speed]
        self._input.max_acceleration = [safety.max_joint_acceleration] * joints
        self._input.max_jerk = [safety.max_joint_jerk] * joints

    def __call__(self, target: Array, now: float) -> Array:
        """One step."""
        self._input.target_position = target.tolist()
        self._generator.update(self._input, self._output)
        self._output.pass_to_input(self._input)
        return np.array(self._output.new_position)


def _compute() -> None:
    os.setpriority(os.PRIO_PROCESS, 0, 0)  # a child inherits the priority of a driver
    matrix = np.ones((256, 256))
    while True:
        np.dot(matrix, matrix)


if __name__ == "__main__":
    raise SystemExit(main(tyro.cli(BenchmarkConfig, description=__doc__)))
