"""Scripted experts: play a task from the objects' poses at the moment they are made."""

import numpy as np
from numpy.typing import NDArray

from ate_core.contract import Side
from ate_sim.motion_plan import ExpertConfig, Plan, SidePlan
from ate_sim.tasks.task import Task
from ate_sim.world.sim_world import SimWorld

Array = NDArray[np.float64]


class Expert:
    """Plays a task from the objects' poses at the moment it is made."""

    def __init__(
        self, task: Task, world: SimWorld, seed: int, config: ExpertConfig | None = None
    ) -> None:
        """Plan the whole episode.

        Args:
            task: what to do.
            world: freshly reset world of the task.
            seed: of the aiming noise.
            config: pace and noise.
        """
        config = config or ExpertConfig()
        left_rng, right_rng = np.random.default_rng(seed).spawn(2)
        self._plan = Plan(
            SidePlan(world.tool_pose("left"), config, left_rng),
            SidePlan(world.tool_pose("right"), config, right_rng),
        )
        task.plan(world, self._plan)
        self._plan.synchronise()
        self.duration = max(self._plan.side("left").time, self._plan.side("right").time)
        """Time until both arms are back [s]."""

    def tool_target(self, side: Side, time: float) -> tuple[Array, float]:
        """Tool pose (4, 4) in the world and gripper ratio at ``time`` [s] since the start."""
        return self._plan.side(side).target(time)
