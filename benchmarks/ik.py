"""Inverse kinematics beside Pink and mink: time and error on eight paths, in one run.

    python -m benchmarks.ik
    python -m benchmarks.ik --rounds 9 --paths free edge
    python -m benchmarks.ik --turns tick
    python -m benchmarks.ik --distances

All solvers follow each path in turns, in another order every round. A tick's time is the processor
time of the thread, median over the rounds; the table shows median and 99th percentile over the
ticks. `--turns tick` changes the solver in every tick, so that each finds the caches full of the
others' code and data. The error is what all three minimise: metres, and radians times the rotation
weight. Pink and mink take part where they are installed (`pip install -e ".[oracles]"`).

`--distances` adds what operators have, "beside": ours that keeps distances, beside the other arm
at home; and two paths that lead into the table and into that arm. Nothing is promised for it: the
others know of nothing around the arm.

Exit code 1 where a promise is broken: at least twice as fast as either at median and 99th
percentile, no error above theirs, joint accelerations below 20 rad/s^2 past the reach.
"""

import importlib.util
import itertools
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Literal

import numpy as np
import tyro
from numpy.typing import NDArray

from ate_core.arm_model import tool_chain
from ate_core.contract import load_cell
from ate_core.geometry import rotation_exp, rotation_log
from ate_core.kinematics import SerialChain
from ate_teleop.ik import IkConfig, arm_ik_config
from benchmarks.ik_followers import Beside, Follower, Mink, Ours, Pink

Array = NDArray[np.float64]
Path = Callable[[SerialChain, Array], tuple[Array, Array]]
"""Arm and times (T,) [s] -> first posture (n,) [rad] and targets (T, 4, 4)."""

RATE = 90.0
"""Targets per second, those of a headset [Hz]."""
MIDDLE = np.array([0.1, 0.2, 0.0, 1.75, 0.1, 1.1, 0.0])
"""Posture in which the free paths begin [rad]."""
STRAIGHTEST = np.array([0.1, 0.6, 0.0, 0.101, 0.1, 0.9, 0.0])
"""Posture at the edge of the reach [rad]."""
SPEED_RATIO = 2.0
"""How much faster than Pink and mink the solver is."""
ERROR_SLACK, ERROR_SHARE = 5e-6, 1e-3
"""Difference of two errors that counts as none [m], and as a share of them."""
QUIET = 20.0
"""99th percentile of a joint's acceleration past the reach [rad/s^2]."""
RAMP = 1.0
"""Time in which a path comes up to its full size [s]."""


@dataclass(frozen=True, kw_only=True)
class IkBenchmark:
    """Follow eight paths with all solvers in turns."""

    seconds: float = 6.0
    """Length of a path [s]."""
    rounds: int = 5
    """Times that each path is followed."""
    paths: tuple[str, ...] = ()
    """Which paths; all where none is named."""
    turns: Literal["path", "tick"] = "path"
    """After what the next solver has its turn."""
    distances: bool = False
    """Whether ours also runs with the distances that it keeps, on two more paths."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Score:
    """One solver on one path."""

    times: Array
    """Processor time (T,) of each tick, median over the rounds [s]."""
    position: Array
    """Distance between target and answer (T,) [m]."""
    rotation: Array
    """Angle between target and answer (T,) [rad]."""
    error: Array
    """Both, weighted (T,) [m]."""
    acceleration: Array
    """Largest of any joint (T,) [rad/s^2]."""


def _waves(t: Array, pace: float) -> Array:
    """Offsets (T, 6), metres and radians, that begin at rest."""
    size = np.array([0.03, 0.08, 0.04, 0.2, 0.15, 0.3])
    phase = pace * np.array([1.1, 0.9, 1.3, 1.1, 0.9, 1.3])
    return np.minimum(t / RAMP, 1.0)[:, None] * size * np.sin(np.outer(t, phase))


def _around(pose: Array, offsets: Array) -> Array:
    """Targets (T, 4, 4): a pose, moved along the base's axes and turned about its own."""
    targets = np.tile(pose, (len(offsets), 1, 1))
    targets[:, :3, 3] += offsets[:, :3]
    for target, offset in zip(targets, offsets, strict=True):
        target[:3, :3] = target[:3, :3] @ rotation_exp(offset[3:])
    return targets


def _free(arm: SerialChain, t: Array) -> tuple[Array, Array]:
    return MIDDLE, _around(arm.fk(MIDDLE), _waves(t, 1.0))


def _fast(arm: SerialChain, t: Array) -> tuple[Array, Array]:
    return MIDDLE, _around(arm.fk(MIDDLE), _waves(t, 3.0))


def _singular(arm: SerialChain, t: Array) -> tuple[Array, Array]:
    """Upper arm through the vertical, wrist through straight."""
    postures = np.tile(MIDDLE, (len(t), 1))
    postures[:, 1] = 0.3 * np.cos(0.8 * t)
    postures[:, 4] += 0.3 * np.sin(t)
    postures[:, 5] = 0.5 * np.cos(1.5 * t)
    return postures[0], np.array([arm.fk(q) for q in postures])


def _limits(arm: SerialChain, t: Array) -> tuple[Array, Array]:
    """Elbow, wrist and forearm asked for up to 0.15 rad beyond their limits."""
    postures = np.tile(MIDDLE, (len(t), 1))
    push = 0.5 - 0.5 * np.cos(1.3 * t)
    postures[:, 3] += push * (arm.upper[3] + 0.15 - MIDDLE[3])
    postures[:, 5] += np.sin(0.7 * t) ** 2 * (arm.upper[5] + 0.15 - MIDDLE[5])
    return MIDDLE, np.array([arm.fk(q) for q in postures])


def _past_reach(arm: SerialChain, t: Array) -> tuple[Array, Array]:
    """0.5 m away from the arm, with the tremor of a held hand."""
    away = np.minimum(t / 2.0, 1.0)[:, None] * np.array([0.5, 0.0, 0.1])
    tremor = 0.002 * np.stack([np.sin(9 * t), np.cos(8 * t) - 1.0, 0.0 * t], axis=1)
    return MIDDLE, _around(arm.fk(MIDDLE), np.hstack([away + tremor, np.zeros((len(t), 3))]))


def _noise(arm: SerialChain, t: Array) -> tuple[Array, Array]:
    """The free path with the unfiltered noise of a hand tracker: 0.7 mm, 0.34 degrees."""
    start, targets = _free(arm, t)
    scale = np.array([7e-4] * 3 + [6e-3] * 3)
    noise = np.random.default_rng(0).normal(size=(len(t), 6)) * scale
    return start, np.array(
        [_around(*pair)[0] for pair in zip(targets, noise[:, None], strict=True)]
    )


def _edge(arm: SerialChain, t: Array) -> tuple[Array, Array]:
    """In and out of the reach by 14 mm."""
    pose = arm.fk(STRAIGHTEST)
    outwards = pose[:3, 3] - arm.fk_all(STRAIGHTEST)[1][:3, 3]
    offsets = np.zeros((len(t), 6))
    offsets[:, :3] = 0.014 * np.sin(1.5 * t)[:, None] * outwards / np.linalg.norm(outwards)
    return STRAIGHTEST, _around(pose, offsets)


def _through_base(arm: SerialChain, t: Array) -> tuple[Array, Array]:
    """Straight through the arm's own column to its other side, and back."""
    pose = arm.fk(MIDDLE)
    offsets = np.zeros((len(t), 6))
    share = 0.5 - 0.5 * np.cos(np.pi * t / 3.0)
    offsets[:, :2] = -2.0 * share[:, None] * pose[:2, 3]
    return MIDDLE, _around(pose, offsets)


def _into_table(arm: SerialChain, t: Array) -> tuple[Array, Array]:
    """To 4 cm below the table, and to and fro there."""
    start = np.array(load_cell().arms["left"].home)
    pose, later = arm.fk(start), np.maximum(t - 1.5, 0.0)
    offsets = np.zeros((len(t), 6))
    offsets[:, 0] = 0.05 * np.sin(1.1 * later)
    offsets[:, 1] = 0.2 * np.sin(1.2 * later)
    offsets[:, 2] = -(pose[2, 3] + 0.04) * np.sin(0.5 * np.pi * np.minimum(t / 1.5, 1.0)) ** 2
    return start, _around(pose, offsets)


def _into_other_arm(arm: SerialChain, t: Array) -> tuple[Array, Array]:
    """Half a metre to the right, where the other arm is, and to and fro there."""
    start = np.array(load_cell().arms["left"].home)
    offsets = np.zeros((len(t), 6))
    offsets[:, 1] = -0.55 * np.sin(0.5 * np.pi * np.minimum(t / 2.5, 1.0)) ** 2
    offsets[:, 0] = 0.1 * np.sin(1.2 * np.maximum(t - 2.5, 0.0))
    return start, _around(arm.fk(start), offsets)


PATHS: dict[str, Path] = {
    "free": _free,
    "fast": _fast,
    "singular": _singular,
    "limits": _limits,
    "past reach": _past_reach,
    "noise": _noise,
    "edge": _edge,
    "through the base": _through_base,
}

NEAR_PATHS: dict[str, Path] = {"into the table": _into_table, "into other arm": _into_other_arm}
"""Paths on which distances matter."""


def followers(config: IkConfig, dt: float) -> list[Follower]:
    """The solvers that are installed, ours first."""
    found: list[Follower] = [Ours(config, dt)]
    if importlib.util.find_spec("qpsolvers") is None:
        return found
    if importlib.util.find_spec("pink") is not None:
        found.append(Pink(config, dt))
    if importlib.util.find_spec("mink") is not None:
        found.append(Mink(config, dt))
    return found


def follow(
    solvers: list[Follower], start: Array, targets: Array, config: IkBenchmark
) -> dict[str, tuple[Array, Array]]:
    """Name -> times (rounds, T) [s] and joints (T, n) [rad] of the last round."""
    times = {solver.name: np.empty((config.rounds, len(targets))) for solver in solvers}
    joints = {solver.name: np.empty((len(targets), len(start))) for solver in solvers}
    wanted = {s.name: [s.prepare(target) for target in targets] for s in solvers}
    for turn in range(config.rounds):
        for solver in solvers:
            solver.seed(start)
        first = turn % len(solvers)
        for solver, tick in _turns(solvers[first:] + solvers[:first], len(targets), config.turns):
            target = wanted[solver.name][tick]
            begin = time.thread_time_ns()
            q = solver.step(target)
            times[solver.name][turn, tick] = time.thread_time_ns() - begin
            joints[solver.name][tick] = q
    return {name: (times[name] * 1e-9, joints[name]) for name in times}


def _turns(solvers: list[Follower], ticks: int, kind: str) -> Iterator[tuple[Follower, int]]:
    """Whose turn it is, and its tick."""
    if kind == "path":
        return itertools.product(solvers, range(ticks))
    return ((solver, tick) for tick in range(ticks) for solver in solvers)


def score(
    arm: SerialChain, weight: float, start: Array, targets: Array, run: tuple[Array, Array]
) -> Score:
    """Judge one solver's run by the arm's own kinematics."""
    times, joints = run
    poses = np.array([arm.fk(q) for q in joints])
    position = np.linalg.norm(targets[:, :3, 3] - poses[:, :3, 3], axis=1)
    turns = np.array(
        [
            rotation_log(target[:3, :3] @ pose[:3, :3].T)
            for target, pose in zip(targets, poses, strict=True)
        ]
    )
    rotation = np.linalg.norm(turns, axis=1)
    path = np.vstack([start, start, joints])
    return Score(
        times=np.median(times, axis=0),
        position=position,
        rotation=rotation,
        error=np.hypot(position, weight * rotation),
        acceleration=np.abs(np.diff(path, 2, axis=0)).max(axis=1) * RATE**2,
    )


def run_path(name: str, config: IkBenchmark) -> dict[str, Score]:
    """All solvers on one path."""
    cell = load_cell()
    arm = cell.arms["left"]
    settings = arm_ik_config(arm, cell.safety)
    chain = tool_chain(arm)
    path = (PATHS | NEAR_PATHS)[name]
    start, targets = path(chain, np.arange(1, config.seconds * RATE + 1) / RATE)
    solvers = followers(settings, 1.0 / RATE)
    if config.distances:
        solvers.insert(1, Beside(settings, 1.0 / RATE, cell, "left"))
    runs = follow(solvers, start, targets, config)
    return {
        solver: score(chain, settings.cost.rotation_weight, start, targets, run)
        for solver, run in runs.items()
    }


def broken(name: str, scores: dict[str, Score]) -> list[str]:
    """Promises that a path breaks, in words."""
    ours, found = scores["ours"], []
    for other, theirs in scores.items():
        if other in ("ours", Beside.name):
            continue
        for quantile in (50, 99):
            ratio = np.percentile(theirs.times, quantile) / np.percentile(ours.times, quantile)
            if ratio < SPEED_RATIO:
                found.append(f"{name}: p{quantile} {ratio:.2f} times as fast as {other}")
            errors = np.percentile(ours.error, quantile), np.percentile(theirs.error, quantile)
            if errors[0] > errors[1] * (1.0 + ERROR_SHARE) + ERROR_SLACK:
                found.append(
                    f"{name}: p{quantile} error {errors[0] * 1e3:.3f} mm, "
                    f"{other} {errors[1] * 1e3:.3f} mm"
                )
    shake = np.percentile(ours.acceleration[round(RATE * 3) :], 99)
    if name == "past reach" and shake > QUIET:
        found.append(f"{name}: {shake:.0f} rad/s^2, at most {QUIET:.0f}")
    return found


def _line(name: str, solver: str, mine: Score, ours: Score) -> str:
    def pair(values: Array, scale: float, form: str) -> str:
        return " / ".join(format(np.percentile(values, q) * scale, form) for q in (50, 99))

    ratios = [np.percentile(mine.times, q) / np.percentile(ours.times, q) for q in (50, 99)]
    settled = mine.acceleration[len(mine.acceleration) // 2 :]
    return (
        f"{name:17}{solver:7}{pair(mine.times, 1e6, '4.0f'):>11}"
        f"{ratios[0]:7.2f} / {ratios[1]:4.2f}"
        f"{pair(mine.error, 1e3, '.3f'):>19}{pair(mine.position, 1e3, '.3f'):>19}"
        f"{pair(np.degrees(mine.rotation), 1.0, '.3f'):>17}"
        f"{np.percentile(settled, 99):9.1f}"
    )


def main(config: IkBenchmark) -> int:
    """Print the table and what is broken."""
    print(
        f"{'path':17}{'':7}{'time us':>11}{'time/ours':>14}{'error mm':>19}"
        f"{'position mm':>19}{'rotation deg':>17}{'rad/s^2':>9}"
    )
    faults: list[str] = []
    for name in config.paths or (PATHS | NEAR_PATHS if config.distances else PATHS):
        scores = run_path(name, config)
        for solver, mine in scores.items():
            print(_line(name, solver, mine, scores["ours"]))
        faults += broken(name, scores)
    print("median / 99th percentile; acceleration: p99 of the second half")
    for fault in faults:
        print(f"BROKEN {fault}")
    return int(bool(faults))


if __name__ == "__main__":
    raise SystemExit(main(tyro.cli(IkBenchmark)))
