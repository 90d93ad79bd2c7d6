"""A policy in a fixed-rate loop: inference runs beside the loop and fills an action queue.

The loop asks `PolicyRuntime.tick` for the action of each tick and never waits for the network.
"""

import logging
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ate_core.errors import AteError
from ate_core.observation import Observation, Refusal
from ate_policy.chunk_check import ChunkLimits
from ate_policy.chunking import ActionQueue

logger = logging.getLogger(__name__)

Infer = Callable[[Observation], NDArray[np.float32]]


@dataclass(frozen=True, kw_only=True)
class RuntimeStats:
    """What the runtime did, for diagnostics and the sentence at the end."""

    chunks: int
    """Chunks inferred and accepted."""
    refused: int
    """Chunks or observations refused."""
    held: int
    """Ticks at which no action was known, so the arms held."""
    inference_ms: float
    """Median duration of one inference [ms]; NaN before the first."""
    queue_depth: int
    """Actions known beyond the present tick."""
    action_age_ticks: int
    """Ticks between the observation behind the last action and its execution; -1 before."""
    last_reason: str
    """Why the last refusal happened; empty without any."""


class PolicyRuntime:
    """Ticks in, actions out; one inference at a time in a thread of its own."""

    def __init__(self, infer: Infer, limits: ChunkLimits, queue: ActionQueue) -> None:
        """Start the inference thread.

        Args:
            infer: from an observation to a chunk (H, D) in robot units.
            limits: checks every chunk before its first action.
            queue: decides which action belongs to which tick.
        """
        self._infer = infer
        self._limits = limits
        self._queue = queue
        self._lock = threading.Lock()
        self._work: tuple[int, int, Observation] | None = None
        self._generation = 0  # counts resets: a chunk of before a stop must not run after it
        self._wake = threading.Condition(self._lock)
        self._closed = False
        self._chunks = self._refused = self._held = 0
        self._age = -1
        self._observed = -1
        self._durations: list[float] = []
        self._reason = ""
        self._thread = threading.Thread(target=self._run, name="inference", daemon=True)
        self._thread.start()

    def reset(self) -> None:
        """Forget all chunks, also the one being inferred; the next tick asks for a new one."""
        with self._lock:
            self._queue.reset()
            self._work = None
            self._generation += 1
            self._observed = -1

    def tick(
        self, tick: int, observe: Callable[[], Observation | Refusal]
    ) -> NDArray[np.float32] | None:
        """The action (D,) to publish at a tick, or None: hold.

        It is the action of the next tick: the driver ramps to it within one period, so that it
        is reached when that tick comes, as in the recorded episodes.

        Args:
            tick: index of the present tick.
            observe: gives the observation of this tick; called only when a chunk is wanted.
        """
        with self._lock:
            action = self._queue.action(tick + 1)
            wanted = self._queue.wants_chunk(tick) and self._work is None
            if action is None:
                self._held += 1
            else:
                self._age = tick + 1 - self._observed
        if wanted:
            self._request(tick, observe())
        return action

    def _request(self, tick: int, observation: Observation | Refusal) -> None:
        with self._lock:
            if isinstance(observation, Refusal):
                self._refuse(f"no observation: {observation}")
                return
            self._queue.mark_requested(tick)
            self._work = (self._generation, tick, observation)
            self._wake.notify()

    def _refuse(self, reason: str) -> None:
        if reason != self._reason:
            logger.warning("%s", reason)
        self._reason = reason
        self._refused += 1

    def _run(self) -> None:
        while True:
            with self._lock:
                while self._work is None and not self._closed:
                    self._wake.wait()
                if self._closed or self._work is None:
                    return
                generation, tick, observation = self._work
            begin = time.perf_counter()
            try:
                chunk = self._infer(observation)
                self._limits.check(chunk, observation.state)
                error = ""
            except AteError as caught:
                chunk, error = None, str(caught)
            except Exception as caught:  # a dead thread would hold the arms and never say why
                logger.exception("inference failed")
                chunk, error = None, f"inference failed ({caught!r}): start the policy again"
            duration = time.perf_counter() - begin
            with self._lock:
                if generation != self._generation:
                    continue
                self._work = None
                self._durations.append(duration)
                self._take(chunk, tick, error)

    def _take(self, chunk: NDArray[np.float32] | None, tick: int, error: str) -> None:
        """Queue a chunk, or ask again and say why there is none."""
        if chunk is not None:
            try:
                self._queue.add(chunk, tick)
            except AteError as caught:
                chunk, error = None, str(caught)
        if chunk is None:
            self._queue.abandon_request()
            self._refuse(error)
        else:
            self._observed = tick
            self._chunks += 1

    def stats(self, tick: int = 0) -> RuntimeStats:
        """Counters so far; ``tick`` is the present one, for the queue's depth."""
        with self._lock:
            durations = self._durations[-1000:]
            return RuntimeStats(
                chunks=self._chunks,
                refused=self._refused,
                held=self._held,
                inference_ms=1e3 * float(np.median(durations)) if durations else float("nan"),
                queue_depth=self._queue.depth(tick),
                action_age_ticks=self._age,
                last_reason=self._reason,
            )

    def close(self) -> None:
        """End the inference thread; an inference under way is waited for at most a second."""
        with self._lock:
            self._closed = True
            self._wake.notify()
        self._thread.join(timeout=1.0)
