"""One rollout of a policy in the simulated cell."""

import dataclasses
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ate_core.contract import Cell
from ate_core.errors import SafetyError
from ate_core.observation import Observation
from ate_policy.chunk_check import ChunkLimits
from ate_policy.chunking import ActionQueue, ChunkingConfig, usual_execute
from ate_policy.policy import Policy
from ate_sim.env import CellEnv
from ate_sim.world.sim_world import Difficulty
from training.reporting.video import VIDEO_SIZE


@dataclass(frozen=True, kw_only=True)
class Trial:
    """One rollout."""

    seed: int
    """Seed of the start and of the sampler's noise."""
    success: bool
    """Whether the task was done before the limit."""
    score: float
    """Best graded score, 0..1."""
    duration: float
    """Time to success or to the limit [s]."""
    jerk: float
    """Root mean square jerk of the measured joints [rad/s^3]."""
    refused: int
    """Chunks that the check refused, so that the arms held."""


def roll_out(
    env: CellEnv,
    policy: Policy,
    seed: int,
    *,
    limit: float,
    difficulty: Difficulty = "normal",
    execute: int | None = None,
    frames: list[NDArray[np.uint8]] | None = None,
) -> Trial:
    """Let the policy play one episode.

    Args:
        env: The simulated cell.
        policy: Fit for its task.
        seed: Of the start and of the sampler's noise.
        limit: Longest rollout [s].
        difficulty: Spread of the starts.
        execute: Actions executed of each chunk [ticks]; None: those of half a second, at most
            all.
        frames: Images of the cell's first camera are appended to it.
    """
    observation = env.reset(seed, difficulty)
    # demonstrations may have been recorded with other words than the simulated task's
    known = policy.only_instruction
    instruction = env.instruction if known is None else known
    player = _ChunkPlayer(policy, env.cell, execute, observation.state)
    states, best, success = [observation.state], 0.0, False
    ticks = round(limit * env.cell.tick_rate)
    for tick in range(ticks):
        observation = dataclasses.replace(observation, instruction=instruction)
        observation = env.step(player.action(tick, observation, seed * ticks + tick))
        states.append(observation.state)
        if frames is not None:
            frames.append(env.overview(*VIDEO_SIZE))
        best = max(best, env.score())
        if env.success():
            success = True
            break
    return Trial(
        seed=seed,
        success=success,
        score=best,
        duration=(tick + 1) / env.cell.tick_rate,
        jerk=jerk(np.stack(states), env.cell.tick_rate),
        refused=player.refused,
    )


class _ChunkPlayer:
    """What the policy node does at each tick: ask for a chunk when it is time, else go on."""

    def __init__(
        self, policy: Policy, cell: Cell, execute: int | None, state: NDArray[np.float32]
    ) -> None:
        if execute is None:
            execute = usual_execute(cell.tick_rate, policy.horizon)
        self.refused = 0
        self._policy = policy
        self._queue = ActionQueue(ChunkingConfig(execute=execute))
        self._limits = ChunkLimits.of_cell(cell)
        self._action: NDArray[np.float32] = state.copy()

    def action(self, tick: int, observation: Observation, seed: int) -> NDArray[np.float32]:
        """The action of the next tick; an empty queue means hold."""
        if self._queue.wants_chunk(tick):
            chunk = self._policy.infer(observation, seed)
            if chunk_is_safe(self._limits, chunk, observation.state):
                self._queue.mark_requested(tick)
                self._queue.add(chunk, tick)
            else:
                self.refused += 1
        wanted = self._queue.action(tick + 1)
        if wanted is not None:
            self._action = wanted
        return self._action


def chunk_is_safe(
    limits: ChunkLimits, chunk: NDArray[np.floating], state: NDArray[np.floating]
) -> bool:
    """Whether the policy node would have let this chunk pass."""
    try:
        limits.check(chunk, state)
    except SafetyError:
        return False
    return True


def jerk(states: NDArray[np.floating], rate: float) -> float:
    """Root mean square of the third derivative of states (T, D) on ticks [1/s] -> [unit/s^3]."""
    if len(states) < 4:
        return 0.0
    return float(np.sqrt(np.mean((np.diff(states, n=3, axis=0) * rate**3) ** 2)))
