"""Which action is executed at which tick, out of chunks that arrive late and overlap.

A chunk inferred from the observation of tick k holds the actions of ticks k+1 .. k+H. It may
arrive some ticks later; the actions whose tick has passed are then skipped, never replayed.
Ticks are integers and arguments: nothing here reads a clock.
"""

from dataclasses import dataclass
from typing import Literal

import numpy as np

from ate_core.errors import LayoutError, UsageError

ChunkMode = Literal["synchronous", "temporal_ensemble"]

CHUNK_SECONDS = 1.0
"""Time that a chunk covers where no number of actions is given [s]."""
EXECUTED_SECONDS = 0.5
"""Time between the observations of two chunks where no number is given [s]: half a usual chunk."""


def ticks_in(seconds: float, tick_rate: float) -> int:
    """Ticks of a duration, at least one.

    Args:
        seconds: The duration [s].
        tick_rate: Of the cell [Hz].
    """
    return max(1, round(seconds * tick_rate))


def usual_horizon(tick_rate: float) -> int:
    """Actions per chunk where no number is given [ticks].

    Args:
        tick_rate: Of the cell [Hz].
    """
    return ticks_in(CHUNK_SECONDS, tick_rate)


def usual_execute(tick_rate: float, horizon: int) -> int:
    """Actions executed of each chunk where no number is given [ticks]: no more than it holds.

    Args:
        tick_rate: Of the cell [Hz].
        horizon: Actions per chunk [ticks].
    """
    return min(ticks_in(EXECUTED_SECONDS, tick_rate), horizon)


@dataclass(frozen=True, kw_only=True)
class ChunkingConfig:
    """How chunks become actions."""

    mode: ChunkMode = "synchronous"
    """synchronous: the newest chunk alone; temporal_ensemble: weighted mean of all chunks."""
    execute: int
    """Actions executed between the observations of two chunks [ticks]."""
    ensemble_decay: float = 0.01
    """Weight exp(-decay * i) of the i-th oldest chunk, as in ACT (temporal_ensemble only)."""

    def __post_init__(self) -> None:
        """Refuse values outside their bounds."""
        if self.mode not in ("synchronous", "temporal_ensemble"):
            raise UsageError(
                f"chunk mode is '{self.mode}': use 'synchronous' or 'temporal_ensemble'"
            )
        if self.execute < 1:
            raise UsageError(f"execute is {self.execute} ticks, must be at least 1")
        if self.ensemble_decay < 0.0:
            raise UsageError(f"ensemble_decay is {self.ensemble_decay}, must not be negative")


@dataclass(frozen=True)
class _Chunk:
    """Actions (H, D) of which row i belongs to tick `observed + 1 + i`."""

    observed: int
    actions: np.ndarray

    def at(self, tick: int) -> np.ndarray | None:
        index = tick - self.observed - 1
        return self.actions[index] if 0 <= index < len(self.actions) else None


class ActionQueue:
    """Chunks in, one action per tick out; an empty queue means hold."""

    def __init__(self, config: ChunkingConfig) -> None:
        self.config = config
        self._chunks: list[_Chunk] = []
        self._requested: int | None = None

    def reset(self) -> None:
        """Forget all chunks, for instance after a stop or at the start of an episode."""
        self._chunks.clear()
        self._requested = None

    def wants_chunk(self, tick: int) -> bool:
        """Whether inference should start with the observation of this tick.

        True when nothing has been requested yet or when `execute` ticks have passed since the
        observation of the last request. Call `mark_requested` when inference really starts.
        """
        if self._requested is None:
            return True
        return tick - self._requested >= self.config.execute

    def mark_requested(self, tick: int) -> None:
        """Note that a chunk is being inferred from the observation of this tick."""
        self._requested = tick

    def abandon_request(self) -> None:
        """Note that the requested chunk will not come (refused or failed): ask again."""
        self._requested = None

    def add(self, actions: np.ndarray, observed_tick: int) -> None:
        """Take a chunk.

        Args:
            actions: (H, D), robot units; row i is the action of tick observed_tick + 1 + i.
            observed_tick: Tick of the observation from which the chunk was inferred.
        """
        actions = np.asarray(actions)
        if actions.ndim != 2 or len(actions) == 0:
            raise LayoutError(f"a chunk has shape {actions.shape}, must be (H, D) with H >= 1")
        if len(actions) < self.config.execute:
            raise UsageError(
                f"a chunk holds {len(actions)} actions but execute is {self.config.execute}: "
                "lower execute to the horizon of the policy"
            )
        if self._chunks and observed_tick <= self._chunks[-1].observed:
            return  # overtaken by a newer chunk
        chunk = _Chunk(observed_tick, actions.copy())
        if self.config.mode == "synchronous":
            self._chunks = [chunk]
        else:
            self._chunks.append(chunk)

    def action(self, tick: int) -> np.ndarray | None:
        """The action (D,) to command at this tick, or None: hold."""
        self._drop_passed(tick)
        rows = [row for chunk in self._chunks if (row := chunk.at(tick)) is not None]
        if not rows:
            return None
        if self.config.mode == "synchronous":
            return rows[-1].copy()
        weights = np.exp(-self.config.ensemble_decay * np.arange(len(rows)))
        mean = np.average(np.stack(rows).astype(np.float64), axis=0, weights=weights)
        return mean.astype(rows[-1].dtype)

    def depth(self, tick: int) -> int:
        """Number of ticks after this one for which an action is known."""
        if not self._chunks:
            return 0
        newest = self._chunks[-1]
        return max(0, newest.observed + len(newest.actions) - max(tick, newest.observed))

    def _drop_passed(self, tick: int) -> None:
        self._chunks = [c for c in self._chunks if c.observed + len(c.actions) >= tick]
