"""Drive both arms at each other and into the table, and measure how near they really come.

    python benchmarks/guard_attempts.py --attempts 200
    python benchmarks/guard_attempts.py --attempts 50 --cell six_axis

Two scripted operators steer the arms of the simulated world through the safety filters and
distance guards of the drivers. They press on as far as the filter takes their commands, first into
the table, then at the other arm, then anywhere. Each guard learns the other arm's posture as its
driver does: measured, published at 100 Hz, late by 2 to 15 ms, at times not at all for 60 ms. The
true distances are those of the world's own solids, every 4 ms, and no part of the guard's.
"""

import math
from dataclasses import dataclass, field

import numpy as np
import tyro
from numpy.typing import NDArray

from ate_core.contract import SIDES, Cell, Side, load_cell
from ate_core.guard import DistanceGuard
from ate_core.safety import FilterOutput, JointCommand, SafetyFilter
from ate_sim.ik import ToolTracker
from ate_sim.motion_plan import tool_down
from ate_sim.realtime.ramp import TargetRamp
from ate_sim.world.engine import mujoco
from ate_sim.world.sim_world import SimWorld

Array = NDArray[np.float64]

TICK = 0.01
"""Period of a driver [s]."""
COMMAND_PERIOD = 1.0 / 90.0
"""Period of an operator's commands [s]."""
MEASURE_STEPS = 2
"""Physics steps between two looks at the true distances."""
LEASH = 0.25
"""How far an operator's joint target runs ahead of the arm [rad]; more would be a jump."""
LATENCY = (0.002, 0.015)
"""Shortest and longest way of a posture to the other driver [s]."""
GAP_CHANCE, GAP = 0.01, 0.06
"""Chance that a posture begins a gap, and its length [s]."""
NEAR = 0.06
"""Arms that come nearer to each other than this must both be told [m]."""
FAR = 0.3
"""Distances above this are not told apart [m]."""


@dataclass(frozen=True, kw_only=True)
class AttemptsConfig:
    """How often to try."""

    attempts: int = 200
    """Number of seeded attempts."""
    seconds: float = 7.5
    """Length of one attempt [s]; a third each: into the table, at the other arm, anywhere."""
    seed: int = 0
    """Seed of the first."""
    cell: str | None = None
    """Cell file, or name of a packaged one."""


@dataclass(frozen=True, kw_only=True)
class Attempt:
    """What one attempt came to."""

    seed: int
    """Its seed."""
    least: dict[str, float]
    """Kind of pairs -> smallest true distance [m]."""
    below: dict[str, float]
    """The same less the stop distance of the kind; negative: violated [m]."""
    told: dict[str, frozenset[str]]
    """Side -> what it was told of: ``arm``, ``table``."""
    pressed: float
    """Share of the time in which some arm was held back."""

    def must_be_told(self, words: str) -> bool:
        """Whether both sides had to be told: of the table always, of the arm where arms met."""
        met = (self.least.get(kind, FAR) < NEAR for kind in ("arm_arm", "gripper_gripper"))
        return words == "table" or any(met)

    def is_told(self, words: str) -> bool:
        """Whether both sides were."""
        return all(words in told for told in self.told.values())


class Nothing:
    """A scene without objects."""

    name = "nothing"
    object_names: tuple[str, ...] = ()

    def build(self, spec: mujoco.MjSpec) -> None:
        """Add nothing."""

    def sample(self, rng: np.random.Generator, radius: float) -> dict[str, Array]:
        """Nothing to place."""
        return {}

    def score(self, world: SimWorld) -> float:
        """Nothing to do."""
        return 0.0


class TrueDistances:
    """Distances between the solids of the world, by the kinds of pairs of the guard."""

    def __init__(self, world: SimWorld) -> None:
        """Find the pairs that the world lets collide."""
        self._world = world
        model = world.model
        excluded = {int(signature) for signature in model.exclude_signature}
        solids = [geom for geom in range(model.ngeom) if self._side(geom) or self._is_table(geom)]
        self._pairs: list[tuple[str, int, int]] = []
        for index, first in enumerate(solids):
            for second in solids[index + 1 :]:
                kind = self._kind(first, second)
                bodies = sorted((int(model.geom_bodyid[first]), int(model.geom_bodyid[second])))
                if kind and (bodies[0] << 16) + bodies[1] not in excluded:
                    self._pairs.append((kind, first, second))
        self._radii = model.geom_rbound
        self._first = np.array([pair[1] for pair in self._pairs])
        self._second = np.array([pair[2] for pair in self._pairs])
        self._reach = self._radii[self._first] + self._radii[self._second]
        self._table = np.array([self._is_table(int(geom)) for geom in self._first]) | np.array(
            [self._is_table(int(geom)) for geom in self._second]
        )
        self._line = np.zeros(6)

    def now(self) -> dict[str, float]:
        """Smallest distance of each kind at present [m], at most `FAR`."""
        model, data = self._world.model, self._world.data
        centres = data.geom_xpos
        between = np.linalg.norm(centres[self._first] - centres[self._second], axis=1)
        near = np.flatnonzero((between - self._reach < FAR) | self._table)
        least: dict[str, float] = {}
        for index in near:
            kind, first, second = self._pairs[index]
            limit = min(least.get(kind, FAR), FAR)
            distance = mujoco.mj_geomDistance(model, data, first, second, limit, self._line)
            least[kind] = min(limit, distance)
        return least

    def _body(self, geom: int) -> str:
        return str(self._world.model.body(int(self._world.model.geom_bodyid[geom])).name)

    def _side(self, geom: int) -> str:
        return next((side for side in SIDES if self._body(geom).startswith(f"{side}_")), "")

    def _is_table(self, geom: int) -> bool:
        return bool(self._world.model.geom(geom).name == "table")

    def _is_gripper(self, geom: int) -> bool:
        return "gripper" in self._body(geom) or "finger" in self._body(geom)

    def _kind(self, first: int, second: int) -> str:
        sides = self._side(first), self._side(second)
        grippers = self._is_gripper(first), self._is_gripper(second)
        if all(sides):
            if sides[0] == sides[1]:
                return "" if all(grippers) else "same_arm"
            return "gripper_gripper" if all(grippers) else "arm_arm"
        if not any(sides):
            return ""
        part = first if sides[0] else second
        if "base" in self._body(part):
            return ""
        return "gripper_table" if self._is_gripper(part) else "arm_table"


@dataclass
class Driver:
    """One arm's filter and guard, and what the other one hears of it."""

    side: Side
    safety: SafetyFilter
    guard: DistanceGuard
    ramp: TargetRamp
    heard: list[tuple[float, Array, Array]] = field(default_factory=list)
    """Postures under way to it: when each arrives, joints, velocities."""
    silent_until: float = 0.0
    output: FilterOutput | None = None


class Operator:
    """Presses one arm where it must not go."""

    def __init__(self, world: SimWorld, side: Side, seconds: float, rng: np.random.Generator):
        """Draw how this one moves."""
        self._world, self.side, self._rng = world, side, rng
        self._other: Side = "right" if side == "left" else "left"
        self._tracker = ToolTracker(world, side)
        self._phase = seconds / 3.0
        self._speed = float(rng.uniform(0.35, 0.9))  # of the hand [m/s]
        self._hand = world.tool_pose(side)[:3, 3].copy()
        self._yaw = float(rng.uniform(-1.5, 1.5))
        self._offset = rng.normal(0.0, 0.04, 3)
        self._turn = 0.0
        sign = 1.0 if side == "left" else -1.0
        self._table = np.array([rng.uniform(0.15, 0.35), sign * rng.uniform(0.15, 0.4), -0.08])
        self._anywhere = self._hand.copy()

    def target(self, now: float) -> Array:
        """Joint target (n,) [rad]."""
        goal = self._goal(now)
        way = goal - self._hand
        length = float(np.linalg.norm(way))
        self._hand += way * min(1.0, self._speed * COMMAND_PERIOD / max(length, 1e-9))
        self._turn += float(np.clip(self._yaw - self._turn, -0.01, 0.01))
        tilt = 0.3 * math.sin(0.9 * now + self._yaw)
        pose = tool_down(self._hand, self._turn)
        pose[:3, :3] = pose[:3, :3] @ np.array(
            [
                [math.cos(tilt), 0.0, math.sin(tilt)],
                [0.0, 1.0, 0.0],
                [-math.sin(tilt), 0.0, math.cos(tilt)],
            ]
        )
        measured = self._world.arm_q(self.side)
        return measured + np.clip(self._tracker.solve(pose) - measured, -LEASH, LEASH)

    def _goal(self, now: float) -> Array:
        if now < self._phase:
            return self._table
        if now < 2.0 * self._phase:
            # The other tool, and with it wrist and elbow: whatever can be hit.
            other = self._world.tool_pose(self._other)[:3, 3]
            return np.maximum(other + self._offset, [-1.0, -1.0, 0.03])
        if float(np.linalg.norm(self._anywhere - self._hand)) < 0.02:
            self._anywhere = self._rng.uniform([-0.1, -0.5, -0.1], [0.5, 0.5, 0.4])
        return self._anywhere


def run_attempt(cell: Cell, world: SimWorld, seed: int, seconds: float) -> Attempt:
    """One attempt, from rest at home."""
    rng = np.random.default_rng(seed)
    world.reset(0)
    drivers = [_driver(cell, world, side) for side in SIDES]
    operators = [Operator(world, side, seconds, rng) for side in SIDES]
    distances = TrueDistances(world)
    least: dict[str, float] = {}
    told: dict[str, set[str]] = {side: set() for side in SIDES}
    held, ticks = 0, 0
    steps_per_tick = round(TICK / world.timestep)
    due = [0.0, COMMAND_PERIOD / 2.0]
    for step in range(round(seconds / world.timestep)):
        now = step * world.timestep
        for index, (driver, operator) in enumerate(zip(drivers, operators, strict=True)):
            if now >= due[index]:
                due[index] += COMMAND_PERIOD
                command = JointCommand(
                    commander="operator", position=operator.target(now), stamp=now
                )
                driver.safety.submit(command, now)
            if (step + 2 * index) % steps_per_tick == 0:
                _tick(world, driver, drivers[1 - index], now, rng)
                ticks += 1
                held += _note(driver, told[driver.side])
            world.set_arm_target(driver.side, driver.ramp.at(now))
        world.step(1)
        if step % MEASURE_STEPS == 0:
            for kind, distance in distances.now().items():
                least[kind] = min(least.get(kind, FAR), distance)
    below = {kind: value - getattr(cell.guard, kind).stop for kind, value in least.items()}
    return Attempt(
        seed=seed,
        least=least,
        below=below,
        told={side: frozenset(words) for side, words in told.items()},
        pressed=held / ticks,
    )


def _driver(cell: Cell, world: SimWorld, side: Side) -> Driver:
    guard = DistanceGuard.of_cell(cell, side)
    safety = SafetyFilter(cell.safety, cell.arms[side], guard)
    q = world.arm_q(side)
    safety.step(-TICK, q)
    return Driver(side=side, safety=safety, guard=guard, ramp=TargetRamp(q))


def _tick(
    world: SimWorld, driver: Driver, other: Driver, now: float, rng: np.random.Generator
) -> None:
    """One tick of a driver: hear, filter, send, publish."""
    while driver.heard and driver.heard[0][0] <= now:
        arrived, q, qd = driver.heard.pop(0)
        driver.guard.see_other(q, arrived, qd)
    q, qd = world.arm_q(driver.side), world.arm_qd(driver.side)
    driver.output = driver.safety.step(now, q)
    if driver.output.target is not None:
        driver.ramp.offer(driver.output.target, round(now * 1e9) + 1, now)
    if rng.uniform() < GAP_CHANCE:
        driver.silent_until = now + GAP
    if now >= driver.silent_until:
        other.heard.append((now + float(rng.uniform(*LATENCY)), q, qd))
        other.heard.sort(key=lambda entry: entry[0])


def _note(driver: Driver, told: set[str]) -> bool:
    """Remember what a side was told; True when it was held back."""
    assert driver.output is not None
    reason = driver.output.reason
    if "table" in reason:
        told.add("table")
    if "left" in reason and "right" in reason:
        told.add("arm")
    return reason.startswith("slowed") and ("comes to" in reason or "last seen" in reason)


def main(config: AttemptsConfig) -> int:
    """Try, and print the least true distances; the exit code tells whether a bound was broken."""
    cell = load_cell(config.cell, "sim")
    world = SimWorld(Nothing(), cell=cell)
    attempts = []
    for seed in range(config.seed, config.seed + config.attempts):
        attempts.append(run_attempt(cell, world, seed, config.seconds))
        worst = min(attempts[-1].below.items(), key=lambda entry: entry[1])
        if worst[1] < 0.0:
            print(f"seed {seed}: {worst[0]} {worst[1] * 1e3:.1f} mm below its stop distance")
    print(f"{len(attempts)} attempts of {config.seconds:g} s each")
    print("kind              stop mm   least true mm   median of least   violated")
    kinds = sorted({kind for attempt in attempts for kind in attempt.least})
    for kind in kinds:
        values = np.array([attempt.least.get(kind, FAR) for attempt in attempts])
        stop = getattr(cell.guard, kind).stop
        print(
            f"{kind:16}  {stop * 1e3:7.1f}   {values.min() * 1e3:13.1f}   "
            f"{np.median(values) * 1e3:15.1f}   {int(np.sum(values < stop)):8d}"
        )
    for words in ("arm", "table"):
        due = [attempt for attempt in attempts if attempt.must_be_told(words)]
        both = sum(attempt.is_told(words) for attempt in due)
        print(f"both sides told of the {words}: {both} of {len(due)} attempts that came near it")
    held = float(np.mean([attempt.pressed for attempt in attempts]))
    print(f"held back for {held:.0%} of the time")
    violated = any(value < 0.0 for attempt in attempts for value in attempt.below.values())
    return int(violated)


if __name__ == "__main__":
    raise SystemExit(main(tyro.cli(AttemptsConfig)))
