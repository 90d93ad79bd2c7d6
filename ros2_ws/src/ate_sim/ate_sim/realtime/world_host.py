"""The simulated world beside its shared blocks: targets in, state out, in real time."""

import logging
import time
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path

from ate_core.contract import SIDES, Cell
from ate_core.errors import UsageError, require_seed
from ate_core.shared_state import (
    GRIPPER_TARGET_DTYPE,
    SharedBlock,
    arm_target_dtype,
    new_record,
    world_dtype,
)
from ate_sim.realtime.blocks import BlockReader
from ate_sim.realtime.posture import Posture
from ate_sim.realtime.ramp import TargetRamp
from ate_sim.realtime.scheduler import SchedulerConfig, StepScheduler
from ate_sim.world.perturbations import Difficulty, parse_perturbation
from ate_sim.world.sim_world import SimWorld, check_difficulty

LOG = logging.getLogger(__name__)

JUDGEMENT_PERIOD = 0.04
"""Time between two judgements of the task [s]; people do not see faster."""


@dataclass(frozen=True, kw_only=True)
class Start:
    """What decides where the objects are."""

    task: str
    """Name of the task."""
    seed: int
    """Seed of the object placement."""
    difficulty: Difficulty
    """Name of the placement's spread."""
    perturbation: str = "none"
    """What differs from a usual start, in words joined by +."""

    def apply(self, world: SimWorld) -> None:
        """Reset a world to it."""
        world.reset(self.seed, self.difficulty, parse_perturbation(self.perturbation))


class WorldHost:
    """Advance one `SimWorld` and exchange the shared blocks of the cell."""

    def __init__(
        self, start: Start, cell: Cell, make_world: Callable[[str], SimWorld], now: float
    ) -> None:
        """Build the world and create `world.state`.

        Args:
            start: First task and placement.
            cell: Says where the blocks lie and how many joints the arms have.
            make_world: Builds the world of a task.
            now: Monotonic time [s].
        """
        runtime_dir = Path(cell.runtime_dir)
        self._make_world = make_world
        self._start = start
        self._world = make_world(start.task)
        start.apply(self._world)
        self._epoch = 1
        self._scheduler = StepScheduler(SchedulerConfig(step=self._world.timestep), now)
        self._arms = {
            side: BlockReader(
                runtime_dir / f"arm_{side}.target", arm_target_dtype(cell.arms[side])
            )
            for side in SIDES
        }
        self._grippers = {
            side: BlockReader(runtime_dir / f"gripper_{side}.target", GRIPPER_TARGET_DTYPE)
            for side in SIDES
        }
        self._ramps = {side: TargetRamp(self._world.arm_q(side)) for side in SIDES}
        self._record = new_record(world_dtype(cell))
        self._time = 0.0
        self._next_judgement = 0.0
        self._block = SharedBlock(runtime_dir / "world.state", world_dtype(cell), create=True)
        self.quit_requested = False
        self._judge()
        self._publish(now)

    def close(self) -> None:
        """Remove `world.state` and let the targets go."""
        for reader in (*self._arms.values(), *self._grippers.values()):
            reader.close()
        self._block.close()
        self._block.unlink()

    def cycle(self, now: float) -> None:
        """Step up to monotonic time `now` [s] and publish the state of that time."""
        drops = self._scheduler.drops
        due = self._scheduler.steps_due(now)
        if self._scheduler.drops > drops:
            LOG.info("stood still: joints come back to their targets slowly")
            for ramp in self._ramps.values():
                ramp.stand_still(self._time)
        if due == 0:
            return
        self._read_targets(now)
        step = self._scheduler.step
        for _ in range(due):
            self._time += step
            for side, ramp in self._ramps.items():
                self._world.set_arm_target(side, ramp.at(self._time))
            self._world.step(1)
        if self._time >= self._next_judgement:
            self._judge()
        self._publish(now)

    def handle(self, request: Mapping[str, object]) -> dict[str, object]:
        """Answer one control request.

        Raises:
            UsageError: Unknown command or argument.
        """
        command = request.get("command")
        if command == "reset":
            return self._reset(request)
        if command == "state":
            return self._describe()
        if command == "score":
            self._judge()
            return {"score": float(self._record["score"][0]), "success": self._success}
        if command == "timing":
            return self._timing()
        if command == "quit":
            self.quit_requested = True
            return {}
        raise UsageError(f"unknown command {command!r}; use reset, state, score, timing or quit")

    @property
    def _success(self) -> bool:
        return bool(self._record["success"][0])

    def _read_targets(self, now: float) -> None:
        for side in SIDES:
            arm = self._arms[side].read_new(now)
            if arm is not None and arm["active"]:
                self._ramps[side].offer(arm["q"], int(arm["time_ns"]), self._time)
            gripper = self._grippers[side].read_new(now)
            if gripper is not None and gripper["active"]:
                self._world.set_gripper_target(
                    side,
                    float(gripper["position"]),
                    float(gripper["force"]),
                    float(gripper["speed"]),
                )

    def _reset(self, request: Mapping[str, object]) -> dict[str, object]:
        unknown = set(request) - {"command", "task", "seed", "difficulty", "perturbation"}
        if unknown:
            raise UsageError(f"unknown argument {sorted(unknown)[0]!r} of reset")
        started = time.monotonic()
        start = Start(
            task=str(request.get("task", self._start.task)),
            seed=_seed(request.get("seed", self._start.seed)),
            difficulty=check_difficulty(str(request.get("difficulty", self._start.difficulty))),
            perturbation=str(request.get("perturbation", self._start.perturbation)),
        )
        parse_perturbation(start.perturbation)  # refused before anything moves
        posture = Posture.of(self._world)
        world = self._world
        if start.task != self._start.task:
            world = self._make_world(start.task)
        start.apply(world)
        posture.restore(world)
        self._world = world
        self._start = start
        self._epoch += 1
        self._judge()
        now = time.monotonic()
        self._publish(now)
        self._scheduler.resume(started, now)
        LOG.info(
            "%s, seed %d, %s, perturbation %s",
            start.task,
            start.seed,
            start.difficulty,
            start.perturbation,
        )
        return self._describe()

    def _judge(self) -> None:
        self._next_judgement = self._time + JUDGEMENT_PERIOD
        self._record["score"] = self._world.score()
        self._record["success"] = int(self._world.success())

    def _describe(self) -> dict[str, object]:
        return {
            **asdict(self._start),
            "epoch": self._epoch,
            "sim_time": self._time,
            "objects": list(self._world.object_names),
            "score": float(self._record["score"][0]),
            "success": self._success,
        }

    def _timing(self) -> dict[str, object]:
        report = self._scheduler.report(time.monotonic())
        return {
            "real_time_factor": report.factor,
            "wall_s": report.wall,
            "simulated_s": report.simulated,
            "dropped_s": report.dropped,
            "drops": report.drops,
            "cpu_s": time.process_time(),
        }

    def _publish(self, now: float) -> None:
        record, world = self._record, self._world
        record["time_ns"] = round(now * 1e9)
        record["sim_time"] = self._time
        record["epoch"] = self._epoch
        for index, side in enumerate(SIDES):
            record[f"{side}_q"] = world.arm_q(side)
            record[f"{side}_qd"] = world.arm_qd(side)
            record[f"{side}_torque"] = world.arm_torque(side)
            record["arm_wrench"][0, index] = world.wrench(side)
            record["gripper"][0, index] = world.gripper(side)
            record["gripper_force"][0, index] = world.gripper_force(side)
            record["gripper_blocked"][0, index] = world.gripper_blocked(side)
        poses = world.object_poses()
        record["object_count"] = len(poses)
        record["object_poses"][0, : len(poses)] = poses
        state = world.physics_state()
        record["state_size"] = state.size
        record["state"][0, : state.size] = state
        self._block.write(record)


def _seed(value: object) -> int:
    if isinstance(value, bool) or not isinstance(value, int):
        raise UsageError(f"seed is {value!r}; need a whole number")
    require_seed(seed=value)
    return value
