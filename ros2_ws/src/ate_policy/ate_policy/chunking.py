"""Which action is executed at which tick, out of chunks that arrive late and overlap.

A chunk inferred from the observation of tick k holds the actions of ticks k+1 .. k+H. It may
arrive some ticks later; the actions whose tick has passed under other actions are then skipped,
never replayed. Ticks at which the arms held, also for want of a command in time, move nothing and
are not counted: after them a chunk goes on where it was, and one that was waited for at rest
begins with its first action.
Ticks are integers and arguments: nothing here reads a clock.
"""

from dataclasses import dataclass
from typing import Literal, get_args

import numpy as np

from ate_core.errors import LayoutError, UsageError
from ate_policy.continuation import Continuation, DelayEstimate

ChunkMode = Literal["synchronous", "temporal_ensemble", "rtc", "rtc_jacobian"]
"""synchronous: the newest chunk alone; temporal_ensemble: weighted mean of all chunks; rtc: the
newest chunk, inferred so that it goes on with the one before it (real-time chunking);
rtc_jacobian: the same, but the old actions draw it through the network, as published."""
GOING_ON = ("rtc", "rtc_jacobian")
"""Modes whose chunks are inferred so that they go on with others."""
GONE_MODES = {"rtc_direct": "rtc"}
"""Modes of before, and what to give instead."""

CHUNK_SECONDS = 1.0
"""Time that a chunk covers where no number of actions is given [s]."""
EXECUTED_SECONDS = 0.5
"""Time between the observations of two chunks where no number is given [s]: half a usual chunk, so
that there are old actions that the new ones can go on with."""
EXECUTED_ALONE_SECONDS = 0.65
"""The same of `synchronous`, whose chunks know nothing of each other [s].

Demonstrations rest before a gripper opens or closes, the experts' for 0.4 s. A network without a
memory plans that rest anew in every chunk: where no more is executed than the rest takes, the
gripper never moves (docs/deployment.md, "A policy that rests for ever").
"""


def executed_seconds(mode: ChunkMode) -> float:
    """Time between the observations of two chunks where no number is given [s]."""
    return EXECUTED_ALONE_SECONDS if mode == "synchronous" else EXECUTED_SECONDS


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


def usual_execute(tick_rate: float, horizon: int, mode: ChunkMode = "synchronous") -> int:
    """Actions executed of each chunk where no number is given [ticks]: no more than it holds.

    Args:
        tick_rate: Of the cell [Hz].
        horizon: Actions per chunk [ticks].
        mode: How they are used.
    """
    return min(ticks_in(executed_seconds(mode), tick_rate), horizon)


@dataclass(frozen=True, kw_only=True)
class ChunkingConfig:
    """How chunks become actions."""

    mode: ChunkMode = "synchronous"
    """Which of the chunks is played, see `ChunkMode`."""
    execute: int
    """Actions executed between the observations of two chunks [ticks]; fewer where the chunk would
    else be played out before the next one comes."""
    ensemble_decay: float = 0.01
    """Weight exp(-decay * i) of the i-th oldest chunk, as in ACT (temporal_ensemble only)."""
    expected_delay: int = 1
    """From an observation to its chunk, until it has been measured [ticks] (rtc only)."""
    longest_gap: int | None = None
    """Commands that lie further apart count as a hold between them, as for the drivers [ticks];
    None: none do."""

    def __post_init__(self) -> None:
        """Refuse values outside their bounds."""
        if self.mode not in get_args(ChunkMode):
            instead = GONE_MODES.get(self.mode) or f"one of {', '.join(get_args(ChunkMode))}"
            raise UsageError(f"chunk mode is '{self.mode}': use {instead}")
        if self.execute < 1:
            raise UsageError(f"execute is {self.execute} ticks, must be at least 1")
        if self.ensemble_decay < 0.0:
            raise UsageError(f"ensemble_decay is {self.ensemble_decay}, must not be negative")
        if self.longest_gap is not None and self.longest_gap < 1:
            raise UsageError(f"longest_gap is {self.longest_gap} ticks, must be at least 1")


@dataclass(frozen=True)
class _Chunk:
    """Actions (H, D) of which row i is the action i + 1 after the observation."""

    observed: int
    actions: np.ndarray


class ActionQueue:
    """Chunks in, one action per tick out; an empty queue means hold."""

    def __init__(self, config: ChunkingConfig) -> None:
        self.config = config
        self.delay = DelayEstimate(config.expected_delay)
        """Ticks from an observation to its chunk, as measured; a reset keeps it."""
        self._chunks: list[_Chunk] = []
        self._requested: int | None = None
        self._inferred: int | None = None  # of which observation a chunk is still to come
        self._held: set[int] = set()
        self._asked: int | None = None
        self.last: np.ndarray | None = None
        """The action (D,) given at the last tick asked for; None: it was a hold."""

    def reset(self) -> None:
        """Forget all chunks, for instance after a stop or at the start of an episode."""
        self._chunks.clear()
        self._held.clear()
        self._requested = self._inferred = self._asked = self.last = None

    def wants_chunk(self, tick: int) -> bool:
        """Whether inference should start with the observation of this tick.

        True when nothing has been requested yet or when `execute` actions have been executed
        since the observation of the last request, or so many that the rest of the chunk lasts no
        longer than the next one is expected to take. Call `mark_requested` when inference really
        starts.
        """
        if self._requested is None:
            return True
        executed = tick - self._requested - self._held_between(self._requested, tick)
        due = self.config.execute
        if self._chunks:
            due = min(due, len(self._chunks[-1].actions) - self.delay.ticks)
        return executed >= max(due, 1)

    def mark_requested(self, tick: int) -> None:
        """Note that a chunk is being inferred from the observation of this tick."""
        self._requested = self._inferred = tick

    def abandon_request(self) -> None:
        """Note that the requested chunk will not come (refused or failed): ask again."""
        self._requested = self._inferred = None

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
        if observed_tick == self._inferred:
            self._inferred = None
        if self._chunks and observed_tick <= self._chunks[-1].observed:
            return  # overtaken by a newer chunk
        if self._asked is not None:
            self.delay.measured(self._asked - observed_tick)
        chunk = _Chunk(observed_tick, actions.copy())
        if self.config.mode == "temporal_ensemble":
            self._chunks.append(chunk)
        else:
            self._chunks = [chunk]

    def continuation(self, tick: int) -> Continuation | None:
        """What a chunk inferred from the observation of this tick has to go on with (rtc only).

        None: nothing is being played, or the mode does not ask for it.
        """
        rows = self.ahead(tick)
        mode = self.config.mode
        if mode not in GOING_ON or len(rows) == 0:
            return None
        through = mode == "rtc_jacobian"
        return Continuation(actions=rows, delay=self.delay.ticks, through_network=through)

    def ahead(self, tick: int) -> np.ndarray:
        """Actions (n, D) of the newest chunk from tick + 1 on; none where there is no chunk."""
        if not self._chunks:
            return np.empty((0, 0))
        newest = self._chunks[-1]
        return newest.actions[max(self._row(newest.observed, tick + 1), 0) :]

    def next_row(self, observed_tick: int) -> int:
        """Row with which a chunk of an observation would go on at the next tick asked for."""
        tick = observed_tick + 1 if self._asked is None else self._asked + 1
        return max(self._row(observed_tick, tick), 0)

    def action(self, tick: int) -> np.ndarray | None:
        """The action (D,) to command at this tick, or None: hold."""
        if self._asked is not None and (self.last is None or self._is_gap(tick - self._asked)):
            self._held.update(range(self._asked + 1, tick))  # nobody asked: they held meanwhile
        self._drop_passed(tick)
        self._asked = tick
        rows = [
            chunk.actions[row]
            for chunk in self._chunks
            if (row := self._row(chunk.observed, tick)) >= 0
        ]
        if not rows:
            self._held.add(tick)
            self.last = None
            return None
        if self.config.mode != "temporal_ensemble":
            self.last = rows[-1].copy()
            return self.last
        weights = np.exp(-self.config.ensemble_decay * np.arange(len(rows)))
        mean = np.average(np.stack(rows).astype(np.float64), axis=0, weights=weights)
        self.last = mean.astype(rows[-1].dtype)
        return self.last

    def withhold(self) -> None:
        """Note that the action that was given last is not executed: it is given anew."""
        self.last = None
        if self._asked is not None:
            self._held.add(self._asked)

    def hold(self) -> None:
        """Forget all chunks; the action that was given last is not executed."""
        self.withhold()
        self._chunks.clear()
        self._requested = None

    def depth(self, tick: int) -> int:
        """Number of ticks after this one for which an action is known."""
        if not self._chunks:
            return 0
        newest = self._chunks[-1]
        executed = self._row(newest.observed, max(tick, newest.observed) + 1)
        return max(0, len(newest.actions) - executed)

    def _row(self, observed: int, tick: int) -> int:
        """Row of a chunk that belongs to a tick: so many actions were executed before it."""
        return tick - observed - 1 - self._held_between(observed, tick - 1)

    def _held_between(self, first: int, last: int) -> int:
        """Ticks after `first` and up to `last` at which the arms held."""
        return sum(first < held <= last for held in self._held)

    def _drop_passed(self, tick: int) -> None:
        self._chunks = [c for c in self._chunks if self._row(c.observed, tick) < len(c.actions)]
        oldest = min((chunk.observed for chunk in self._chunks), default=tick)
        for asked in (self._requested, self._inferred):
            oldest = oldest if asked is None else min(oldest, asked)
        self._held = {held for held in self._held if held > oldest}

    def _is_gap(self, ticks: int) -> bool:
        """Whether the arms held between two commands that lie so far apart."""
        return self.config.longest_gap is not None and ticks > self.config.longest_gap
