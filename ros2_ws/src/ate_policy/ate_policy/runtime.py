"""A policy in a fixed-rate loop: inference runs beside the loop and fills an action queue.

The loop asks `PolicyRuntime.tick` for the action of each tick and never waits for the network.
"""

import logging
import threading
import time
from collections import Counter, deque
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ate_core.errors import AteError, LinkError
from ate_core.observation import Observation, Refusal
from ate_policy.approach import approach
from ate_policy.chunk_check import ChunkLimits, ChunkRefusal
from ate_policy.chunking import ActionQueue
from ate_policy.continuation import Continuation

logger = logging.getLogger(__name__)

Infer = Callable[..., NDArray[np.float32]]
"""From an observation to a chunk (H, D) in robot units. In the chunk modes rtc it is also given
`continuation=`, wherever there is an old chunk to go on with."""

PATIENCE = 1.0
"""An inference that takes longer is told [s]."""
GIVE_UP = 5.0
"""One that takes longer is left to itself, and the next begins in a thread of its own [s]."""
MOST_LEFT = 3
"""So many may be left to themselves; then the policy is stuck."""
MOST_VAIN = 10
"""Chunks refused in a row, without an action between them, after which the policy is stuck."""
MOST_FAR = 3
"""Likewise where nothing was played yet and each first action was too far from the arms: they
stand still, so that the next one will be, too."""
_REMEMBERED = 1000


@dataclass(frozen=True, kw_only=True)
class RuntimeStats:
    """What the runtime did, for diagnostics and the sentence at the end."""

    chunks: int
    """Chunks inferred and accepted."""
    refused: int
    """Chunks refused."""
    refusals: dict[str, int]
    """The same by kind (`ate_policy.chunk_check.Kind`)."""
    unobserved: int
    """Ticks at which a chunk was wanted but there was no observation."""
    held: int
    """Ticks at which no action was known, so the arms held."""
    inference_ms: float
    """Median duration of one inference [ms]; NaN before the first."""
    inference_p99_ms: float
    """Its 99th percentile [ms]."""
    queue_depth: int
    """Actions known beyond the present tick."""
    action_age_ticks: int
    """Ticks between the observation behind the last action and its execution; -1 before."""
    delay_ticks: int
    """Ticks from an observation to its chunk, as expected of the next one from the latest ones."""
    reason: str
    """Why no chunk comes at present; empty where the last one was accepted."""
    stuck: str
    """Why the policy cannot go on by itself; empty: it can."""


class PolicyRuntime:
    """Ticks in, actions out; one inference at a time in a thread of its own."""

    def __init__(
        self,
        infer: Infer,
        limits: ChunkLimits,
        queue: ActionQueue,
        clock: Callable[[], float] = time.monotonic,
        approach_step: float = 0.0,
        measure: Callable[[], NDArray[np.floating] | Refusal] | None = None,
    ) -> None:
        """Start the inference thread.

        Args:
            infer: from an observation to a chunk.
            limits: checks what will be played of every chunk, before its first action.
            queue: decides which action belongs to which tick.
            clock: monotonic time [s].
            approach_step: largest change of a joint per tick on the way to a first action that is
                too far from arms at rest [rad]; 0: there is no such way, the policy is stuck.
            measure: gives the present state (D,), with which a chunk is compared where the arms
                hold: they may have moved on since its observation. None: they have not.
        """
        self._approach_step = approach_step
        self._approaching = False
        self._infer, self._limits, self._queue, self._clock = infer, limits, queue, clock
        self._measure = measure
        self._lock = threading.Lock()
        self._work: tuple[int, int, Observation, Continuation | None] | None = None
        self._generation = 0  # counts resets: a chunk of before a stop must not run after it
        self._wake = threading.Condition(self._lock)
        self._closed = False
        self._chunks = self._unobserved = self._held = self._vain = self._left = 0
        self._refusals: Counter[str] = Counter()
        self._age = self._observed = -1
        self._durations: deque[float] = deque(maxlen=_REMEMBERED)
        self._reason = self._stuck = ""
        self._busy_since: float | None = None
        self._begin_thread()

    @property
    def is_inferring(self) -> bool:
        """Whether a chunk is asked for and not yet there."""
        with self._lock:
            return self._work is not None

    @property
    def observed(self) -> int:
        """Tick of the observation behind the newest chunk; -1 before the first."""
        return self._observed

    def reset(self) -> None:
        """Forget all chunks, also the one being inferred; the next tick asks for a new one."""
        with self._lock:
            self._queue.reset()
            self._work = None
            self._generation += 1
            self._observed, self._approaching = -1, False
            self._vain, self._stuck, self._reason = 0, "", ""
            if self._busy_since is not None and self._clock() - self._busy_since > PATIENCE:
                self._leave_inference()

    def withhold(self) -> None:
        """Note that the action of the last tick was not sent; the next tick gives it anew."""
        with self._lock:
            self._queue.withhold()

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
            before = self._queue.last
            action = self._queue.action(tick + 1)
            jump = "" if before is None or action is None else self._limits.jump(before, action)
            if jump:  # its chunk was checked for another row
                action = None
                self._queue.hold()
                self._refuse("jump", f"chunk refused: {jump} between two chunks; arms hold")
            if action is None:
                self._held += 1
            else:
                self._age, self._vain = tick + 1 - self._observed, 0
            self._watch_inference()
            wanted = self._queue.wants_chunk(tick) and self._work is None and not self._stuck
        if wanted:
            self._request(tick, observe())
        return action

    def _request(self, tick: int, observation: Observation | Refusal) -> None:
        with self._lock:
            if isinstance(observation, Refusal):
                self._unobserved += 1
                self._tell(f"no observation: {observation}")
                return
            self._queue.mark_requested(tick)
            old = self._queue.continuation(tick)
            self._work = (self._generation, tick, observation, old)
            self._wake.notify()

    def _tell(self, reason: str) -> None:
        if reason != self._reason:
            logger.warning("%s", reason)
        self._reason = reason

    def _refuse(self, kind: str, reason: str) -> None:
        self._tell(reason)
        self._refusals[kind] += 1
        if kind == "link":  # it comes back by itself, however long it takes
            return
        self._vain += 1
        if kind == "exchanged":  # the rest of the old chunk goes to the wrong arms, too
            self._queue.hold()
            self._stuck = reason
        most = MOST_FAR if kind == "far" and self._observed < 0 else MOST_VAIN
        if self._vain >= most and not self._stuck:
            self._stuck = f"{self._vain} chunks refused in a row: {reason}"
            if kind == "far":
                self._stuck += "; bring the arms nearer, or give approach:=true"

    def _watch_inference(self) -> None:
        """Tell of an inference that takes too long, and leave it to itself in the end."""
        if self._work is None or self._busy_since is None:
            return
        busy = self._clock() - self._busy_since
        if busy > PATIENCE:
            self._tell(f"inference has taken more than {PATIENCE:g} s: the arms hold")
        if busy > GIVE_UP:
            self._leave_inference()

    def _leave_inference(self) -> None:
        """Go on in another thread; what the one that hangs may still bring is void."""
        if self._left >= MOST_LEFT:
            self._stuck = (
                f"{self._left + 1} inferences have not ended: start the policy's node again"
            )
            return
        self._left += 1
        self._generation += 1
        self._work, self._busy_since = None, None
        self._queue.abandon_request()
        self._refusals["inference"] += 1
        self._begin_thread()

    def _begin_thread(self) -> None:
        self._thread = threading.Thread(target=self._run, name="inference", daemon=True)
        self._thread.start()

    def _run(self) -> None:
        me = threading.current_thread()
        while True:
            with self._lock:
                while self._work is None and not self._closed and self._thread is me:
                    self._wake.wait()
                if self._closed or self._work is None or self._thread is not me:
                    return
                generation, tick, observation, old = self._work
                self._busy_since = begin = self._clock()
            chunk, kind, error = self._try(tick, observation, old)
            with self._lock:
                if self._thread is not me:
                    self._left -= 1  # it did end
                    return
                self._busy_since = None
                if generation != self._generation:
                    continue
                self._work = None
                self._durations.append(self._clock() - begin)
                self._take(chunk, tick, kind, error)

    def _try(
        self, tick: int, observation: Observation, old: Continuation | None
    ) -> tuple[NDArray[np.float32] | None, str, str]:
        """A chunk of which what comes next may be played, or of what kind it is not, and why."""
        try:
            going_on = {} if old is None else {"continuation": old}
            chunk = self._infer(observation, **going_on)
            with self._lock:
                first, before = self._queue.next_row(tick), self._queue.last
                may_approach = self._approach_step > 0.0 and (before is None or self._approaching)
            start = self._at_rest(observation) if before is None else before
            try:
                self._limits.check(chunk, start, first, observation.state)
                self._approaching = False
            except ChunkRefusal as caught:
                if caught.kind != "far" or not may_approach:
                    raise
                chunk = self._way_to(chunk[first], start, first)
        except ChunkRefusal as caught:
            return None, caught.kind, str(caught)
        except LinkError as caught:
            return None, "link", str(caught)
        except AteError as caught:
            return None, "inference", str(caught)
        except Exception as caught:  # a dead thread would hold the arms and never say why
            logger.exception("inference failed")
            return None, "inference", f"inference failed ({caught!r}): start the policy again"
        return chunk, "", ""

    def _at_rest(self, observation: Observation) -> NDArray[np.floating]:
        """Where the arms are that hold (D,).

        Raises:
            ChunkRefusal: that is not known.
        """
        state = observation.state if self._measure is None else self._measure()
        if isinstance(state, Refusal):
            raise ChunkRefusal("unseen", f"where the arms are is not known: {state}")
        return state

    def _way_to(
        self, target: NDArray[np.floating], start: NDArray[np.floating], first: int
    ) -> NDArray[np.float32]:
        """A slow way to a first action, as a chunk of which `first` rows have passed.

        Raises:
            ChunkRefusal: the way itself is not free.
        """
        least = self._queue.config.execute
        way = approach(start, target, self._limits, self._approach_step, least)
        self._limits.check(way, start)
        self._approaching = True
        logger.info("the first action is far from the arms: %d ticks to get there", len(way))
        return np.concatenate([np.repeat(way[:1], first, axis=0), way])

    def _take(self, chunk: NDArray[np.float32] | None, tick: int, kind: str, error: str) -> None:
        """Queue a chunk, or ask again and say why there is none."""
        if chunk is not None:
            try:
                self._queue.add(chunk, tick)
            except AteError as caught:
                chunk, kind, error = None, "short", str(caught)
        if chunk is None:
            self._queue.abandon_request()
            self._refuse(kind, error)
        else:
            self._observed = tick
            self._chunks += 1
            self._reason = ""

    def stats(self, tick: int = 0) -> RuntimeStats:
        """Counters so far; ``tick`` is the present one, for the queue's depth."""
        with self._lock:
            durations = 1e3 * np.array(self._durations or [np.nan])
            return RuntimeStats(
                chunks=self._chunks,
                refused=self._refusals.total(),
                refusals=dict(self._refusals),
                unobserved=self._unobserved,
                held=self._held,
                inference_ms=float(np.median(durations)),
                inference_p99_ms=float(np.percentile(durations, 99)),
                queue_depth=self._queue.depth(tick),
                action_age_ticks=self._age,
                delay_ticks=self._queue.delay.ticks,
                reason=self._reason,
                stuck=self._stuck,
            )

    def close(self) -> None:
        """End the inference thread; an inference under way is waited for at most a second."""
        with self._lock:
            self._closed = True
            self._wake.notify_all()
        self._thread.join(timeout=1.0)
