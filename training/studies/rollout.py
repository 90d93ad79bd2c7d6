"""One rollout of a policy in the simulated cell."""

import dataclasses
import math
from collections import Counter
from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from ate_core.contract import Cell
from ate_core.observation import Observation
from ate_policy.chunk_check import ChunkLimits, ChunkRefusal
from ate_policy.chunking import ActionQueue, ChunkingConfig, ChunkMode, usual_execute
from ate_policy.policy import Policy
from ate_policy.runtime import MOST_FAR, MOST_VAIN
from ate_sim.env import CellEnv
from ate_sim.world.perturbations import Difficulty, parse_perturbation
from training.evaluation.motion import contact_force, motion_of, phases_of
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
    outcome: Literal["", "success", "failure", "stuck"] = ""
    """stuck: its chunks were refused again and again; empty in files of before."""
    reason: str = ""
    """Why it was stuck."""
    seams: tuple[float, ...] = ()
    """Largest change of a joint from the last action of each chunk to the first of the next one
    [rad]: the motion itself included."""
    seam_jumps: tuple[float, ...] = ()
    """How far the first action played of each chunk is from the one that the chunk before it had
    for that tick, the largest of all joints [rad]; only where that had one."""
    seam_velocities: tuple[float, ...] = ()
    """Largest change of a joint's commanded velocity where a chunk takes over [rad/s]."""
    refusals: dict[str, int] = field(default_factory=dict)
    """Chunks that the check refused, by kind."""
    perturbation: str = "none"
    """What differed from a usual start, in words joined by +."""
    disturbed: float | None = None
    """When the objects were put back [s]; None: they were not."""
    path: float = math.nan
    """Way of both tools together [m]; NaN in files of before."""
    force_peak: float = math.nan
    """Largest force on a wrist, beyond that at the start [N]."""
    force_rate: float = math.nan
    """Root mean square change of the wrists' forces [N/s]."""
    stages: dict[str, int] = field(default_factory=dict)
    """Tick at which each score was reached first, by the score."""
    phases: dict[str, dict[str, float]] = field(default_factory=dict)
    """The measures of `training.evaluation.motion.phases_of`, by phase of the task's score; empty
    in files of before."""
    force: tuple[float, ...] = ()
    """Larger of the wrists' forces at each tick, beyond those at the start [N]."""


def roll_out(
    env: CellEnv,
    policy: Policy,
    seed: int,
    *,
    limit: float,
    difficulty: Difficulty = "normal",
    execute: int | None = None,
    mode: ChunkMode = "synchronous",
    delay: float = 0.0,
    expected_delay: float = 0.0,
    perturbation: str = "none",
    frames: list[NDArray[np.uint8]] | None = None,
) -> Trial:
    """Let the policy play one episode.

    Args:
        env: The simulated cell.
        policy: Fit for its task.
        seed: Of the start and of the sampler's noise.
        limit: Longest rollout [s].
        difficulty: Spread of the starts.
        execute: Actions executed of each chunk [ticks]; None: the usual number, at most all.
        mode: How chunks that overlap are used.
        delay: Time after the observation at which its chunk comes [s]; the arms go on meanwhile.
        expected_delay: What a chunk of mode rtc is made for until the delay is measured [s].
        perturbation: What differs from a usual start, in words joined by +.
        frames: Images of the cell's first camera are appended to it.
    """
    observation = env.reset(seed, difficulty, parse_perturbation(perturbation))
    # demonstrations may have been recorded with other words than the simulated task's
    known = policy.only_instruction
    instruction = env.instruction if known is None else known
    rate = env.cell.tick_rate
    chunking = ChunkingConfig(
        mode=mode,
        execute=usual_execute(rate, policy.horizon, mode) if execute is None else execute,
        expected_delay=_ticks(expected_delay, rate),
    )
    player = _ChunkPlayer(policy, env.cell, chunking, _ticks(delay, rate), observation.state)
    trace, best, success = _Trace(env, observation), 0.0, False
    ticks = round(limit * env.cell.tick_rate)
    for tick in range(ticks):
        observation = dataclasses.replace(observation, instruction=instruction)
        observation = env.step(player.action(tick, observation, seed * ticks + tick))
        trace.append(env, observation)
        if frames is not None:
            frames.append(env.overview(*VIDEO_SIZE))
        best = max(best, env.score())
        success = env.success()
        if success or player.stuck:
            break
    return Trial(
        seed=seed,
        success=success,
        score=best,
        duration=(tick + 1) / env.cell.tick_rate,
        **trace.measures(env.cell.tick_rate),
        refused=player.refusals.total(),
        outcome="success" if success else "stuck" if player.stuck else "failure",
        reason="" if success else player.stuck,
        seams=tuple(player.seams),
        seam_jumps=tuple(player.seam_jumps),
        seam_velocities=tuple(player.seam_velocities),
        refusals=dict(player.refusals),
        perturbation=perturbation,
        disturbed=env.disturbed_at,
    )


class _Trace:
    """What is measured at every tick."""

    def __init__(self, env: CellEnv, observation: Observation) -> None:
        self._states: list[NDArray[np.float32]] = []
        self._tools: list[NDArray[np.float64]] = []
        self._forces: list[NDArray[np.float64]] = []
        self._stages: dict[str, int] = {}
        self.append(env, observation)

    def append(self, env: CellEnv, observation: Observation) -> None:
        """Note the present tick."""
        self._states.append(observation.state)
        self._tools.append(env.tool_points())
        self._forces.append(env.wrist_forces())
        if (score := env.score()) > 0.0:
            self._stages.setdefault(f"{score:g}", len(self._states) - 1)

    def measures(self, rate: float) -> dict[str, Any]:
        """Fields of a trial."""
        forces = np.stack(self._forces)
        states = np.stack(self._states).astype(np.float64)
        whole = states, np.stack(self._tools), forces, rate
        force = tuple(round(one, 3) for one in contact_force(forces).tolist())
        return {
            **dataclasses.asdict(motion_of(*whole)),
            "stages": self._stages,
            "phases": phases_of(*whole, self._stages),
            "force": force,
        }


def _ticks(seconds: float, rate: float) -> int:
    """Ticks that a duration takes up [ticks]."""
    return math.ceil(seconds * rate - 1e-9)


class _ChunkPlayer:
    """What the policy node does at each tick: ask for a chunk when it is time, else go on."""

    def __init__(
        self,
        policy: Policy,
        cell: Cell,
        chunking: ChunkingConfig,
        delay: int,
        state: NDArray[np.float32],
    ) -> None:
        self.refusals: Counter[str] = Counter()
        self.stuck = ""
        self.seams: list[float] = []
        self.seam_jumps: list[float] = []
        self.seam_velocities: list[float] = []
        self._rate = cell.tick_rate
        self._policy = policy
        self._queue = ActionQueue(chunking)
        self._limits = ChunkLimits.of_cell(cell)
        self._delay = delay
        self._coming: tuple[int, NDArray[np.float32], NDArray[np.float32]] | None = None
        self._vain, self._is_new, self._has_moved = 0, False, False
        self._expected: NDArray[np.floating] | None = None
        self._played: list[NDArray[np.float32]] = []  # the latest two, without a hold between
        self._action: NDArray[np.float32] = state.copy()

    def action(self, tick: int, observation: Observation, seed: int) -> NDArray[np.float32]:
        """The action of the next tick; an empty queue means hold."""
        if self._coming is None and self._queue.wants_chunk(tick):
            self._queue.mark_requested(tick)
            self._coming = tick, self._infer(tick, observation, seed), observation.state
        if self._coming is not None and tick - self._coming[0] >= self._delay:
            ahead = self._queue.ahead(tick)
            self._expected = ahead[0] if len(ahead) else None
            self._take(*self._coming)
            self._coming = None
        wanted = self._queue.action(tick + 1)
        if wanted is None:
            self._played.clear()
        else:
            if self._is_new:
                self._note_seam(wanted)
            self._played = [*self._played[-1:], wanted]
            self._action, self._vain, self._is_new = wanted, 0, False
        return self._action

    def _note_seam(self, action: NDArray[np.float32]) -> None:
        """Measure how a new chunk fits what was commanded before its first action."""
        largest = self._limits.largest_step
        if self._played:
            self.seams.append(largest(self._played[-1], action))
        if self._expected is not None:
            self.seam_jumps.append(largest(self._expected, action))
        if len(self._played) == 2:
            before, last = self._played
            self.seam_velocities.append(self._rate * largest(2.0 * last - before, action))

    def _infer(self, tick: int, observation: Observation, seed: int) -> NDArray[np.float32]:
        return self._policy.infer(observation, seed, self._queue.continuation(tick))

    def _take(self, observed: int, chunk: NDArray[np.float32], state: NDArray[np.float32]) -> None:
        before = self._queue.last
        try:
            start = state if before is None else before
            self._limits.check(chunk, start, self._queue.next_row(observed), state)
        except ChunkRefusal as refusal:
            self._queue.abandon_request()
            self.refusals[refusal.kind] += 1
            self._vain += 1
            is_hopeless = refusal.kind == "far" and not self._has_moved
            most = MOST_FAR if is_hopeless else MOST_VAIN
            if refusal.kind == "exchanged" or self._vain >= most:
                self.stuck = str(refusal)
            return
        self._queue.add(chunk, observed)
        self._is_new = self._has_moved = True
