"""Compare the guard's capsules with the exact solids of the simulated world, posture by posture.

    python -m benchmarks.guard_truth
    python -m benchmarks.guard_truth --cell six_axis --postures 5000

A false stop is a posture at which the guard finds a pair inside its stop distance and the world
finds none; a false pass is the reverse. Two sets of postures: a grid over the first two joints of
both arms, the rest as at home, and a random sample within the limits of all joints, with random
openings of the grippers. The guard must take a gripper for open, and a link for as thick as the
maker's, where the world's is thinner: these are its false stops.
"""

import itertools
from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
import tyro
from numpy.typing import NDArray

from ate_core.contract import SIDES, Cell, load_cell
from ate_core.guard import CellGeometry
from ate_sim.world.arm import STROKE
from ate_sim.world.engine import mujoco
from ate_sim.world.sim_world import SimWorld
from benchmarks.guard_attempts import FAR, Nothing, TrueDistances

Array = NDArray[np.float64]


@dataclass(frozen=True, kw_only=True)
class TruthConfig:
    """How many postures to compare."""

    postures: int = 10_000
    """Size of the random sample."""
    grid: int = 11
    """Values per joint of the grid; its postures are the fourth power."""
    seed: int = 0
    """Seed of the sample."""
    cell: str | None = None
    """Cell file, or name of a packaged one."""


@dataclass(frozen=True, kw_only=True)
class Comparison:
    """Guard against world over one set of postures."""

    postures: int
    """How many."""
    near: int
    """Postures at which the world finds a pair inside its stop distance."""
    false_stops: int
    """Postures that only the guard refuses."""
    false_passes: int
    """Postures that only the world refuses."""
    deepest_pass: float
    """Largest true intrusion into a stop distance that the guard does not see [m]."""
    kinds: dict[str, tuple[int, int]]
    """Kind of pairs -> false stops and false passes of that kind."""


class Truth:
    """Both opinions on a posture."""

    def __init__(self, cell: Cell) -> None:
        """Build the world and the guard's geometry."""
        self.cell = cell
        self._world = SimWorld(Nothing(), cell=cell)
        self._solids = TrueDistances(self._world)
        self._geometry = CellGeometry(cell, SIDES)

    def compare(self, postures: Iterable[tuple[Array, float]]) -> Comparison:
        """Ask both about each posture (n,) of all joints and opening of the grippers."""
        total = near = false_stops = false_passes = 0
        deepest = 0.0
        kinds = {kind.name: [0, 0] for kind in self._geometry.kinds}
        for q, opening in postures:
            guard, world = self._of_guard(q), self._of_world(q, opening)
            total += 1
            stops = {name: guard[name] < 0.0 for name in kinds}
            truth = {name: world[name] < 0.0 for name in kinds}
            near += any(truth.values())
            false_stops += any(stops.values()) and not any(truth.values())
            false_passes += any(truth.values()) and not any(stops.values())
            for name, counts in kinds.items():
                counts[0] += stops[name] and not truth[name]
                counts[1] += truth[name] and not stops[name]
                if truth[name] and not stops[name]:
                    deepest = max(deepest, -world[name])
        return Comparison(
            postures=total,
            near=near,
            false_stops=false_stops,
            false_passes=false_passes,
            deepest_pass=deepest,
            kinds={name: (counts[0], counts[1]) for name, counts in kinds.items()},
        )

    def grid(self, count: int) -> Iterable[tuple[Array, float]]:
        """Postures over the first two joints of both arms."""
        home = np.concatenate([self.cell.arms[side].home for side in SIDES])
        second = len(self.cell.arms[SIDES[0]].home)
        turns, bends = np.linspace(-1.6, 1.6, count), np.linspace(-0.35, 1.2, count)
        for left, right in itertools.product(itertools.product(turns, bends), repeat=2):
            q = home.copy()
            q[:2], q[second : second + 2] = left, right
            yield q, 1.0

    def sample(self, count: int, seed: int) -> Iterable[tuple[Array, float]]:
        """Random postures within the limits of all joints."""
        rng = np.random.default_rng(seed)
        bounds = [self.cell.arms[side].bounds() for side in SIDES]
        lower = np.concatenate([low for low, _ in bounds])
        upper = np.concatenate([high for _, high in bounds])
        for _ in range(count):
            yield rng.uniform(lower, upper), float(rng.uniform())

    def _of_guard(self, q: Array) -> dict[str, float]:
        self._geometry.update(q)
        found = self._geometry.distances()
        return {
            kind.name: distance - kind.zone.stop
            for kind, (distance, _) in zip(self._geometry.kinds, found, strict=True)
        }

    def _of_world(self, q: Array, opening: float) -> dict[str, float]:
        world = self._world
        for side in SIDES:
            arm = world.arm_addresses(side)
            world.data.qpos[arm.qpos] = q[self._geometry.slices[side]][arm.slots]
            world.data.qpos[arm.finger_qpos] = opening * STROKE / 2.0
        mujoco.mj_kinematics(world.model, world.data)
        least = self._solids.now()
        return {
            kind.name: least.get(kind.name, FAR) - kind.zone.stop for kind in self._geometry.kinds
        }


def _print(name: str, result: Comparison) -> None:
    total = result.postures
    print(
        f"{name}: {total} postures, {result.near} of them too near; "
        f"false stops {result.false_stops} ({result.false_stops / total:.1%}), "
        f"false passes {result.false_passes} ({result.false_passes / total:.2%}, deepest "
        f"{result.deepest_pass * 1e3:.1f} mm)"
    )
    for kind, (stops, passes) in result.kinds.items():
        print(f"  {kind:16} false stops {stops:5d}   false passes {passes:5d}")


def main(config: TruthConfig) -> int:
    """Print both tables; the exit code tells whether there was a false pass."""
    truth = Truth(load_cell(config.cell, "sim"))
    grid = truth.compare(truth.grid(config.grid))
    _print("grid", grid)
    sample = truth.compare(truth.sample(config.postures, config.seed))
    _print("sample", sample)
    return int(grid.false_passes + sample.false_passes > 0)


if __name__ == "__main__":
    raise SystemExit(main(tyro.cli(TruthConfig)))
