"""Two clocks of the host: one that never steps, and the wall clock, which is set now and then.

Recording is ordered, started, ended and judged by the first, called monotonic here. It goes on
while the host is suspended, so that what was missed then is a gap and no step.
"""

from __future__ import annotations

import itertools
import json
import time
from collections import deque
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

from ate_core.resample import NANOSECONDS

STEP_BOUND_NS = 50_000_000
"""Change of the wall against the monotonic clock between two looks that is a step [ns]; a clock
that is slewed moves by half a millisecond in a second."""
LOOK_SPREAD_NS = 1_000_000
"""Longest time between the readings of two clocks that count as one moment [ns]."""
KEPT_STEPS = 1000
"""Steps that are remembered."""
PAIR_PERIOD_NS = NANOSECONDS
"""Time between two messages on /episode/clock [ns]."""
TRANSIT_NS = NANOSECONDS
"""How long before its receipt a message may have been stamped [ns]."""


class Step(NamedTuple):
    """The wall clock was set."""

    at_ns: int
    """When it was found, monotonic [ns]."""
    size_ns: int
    """By how much, above zero forwards [ns]."""
    since_ns: int
    """When it was not yet made: at the look before, monotonic [ns]."""


def read_clocks(
    monotonic_ns: Callable[[], int] = lambda: time.clock_gettime_ns(time.CLOCK_BOOTTIME),
    wall_ns: Callable[[], int] = time.time_ns,
) -> tuple[int, int]:
    """Return the monotonic and the wall clock at one moment [ns].

    A process may be put aside between the two readings: they are taken again then.
    """
    readings = []
    for _ in range(5):
        before, wall, after = monotonic_ns(), wall_ns(), monotonic_ns()
        readings.append((after - before, (before + after) // 2, wall))
        if after - before <= LOOK_SPREAD_NS:
            break
    _, monotonic, wall = min(readings)
    return monotonic, wall


class WallClock:
    """What the wall clock says at a monotonic time, and when it was set.

    Before it has seen a clock the two are taken for the same.
    """

    def __init__(self) -> None:
        self._offset_ns = 0
        self._seen_ns: int | None = None
        self._steps: deque[Step] = deque(maxlen=KEPT_STEPS)

    def see(self, now_ns: int, wall_ns: int) -> Step | None:
        """Take a look at both clocks [ns]; return the step since the last look, if any."""
        offset_ns = wall_ns - now_ns
        change_ns = offset_ns - self._offset_ns
        self._offset_ns = offset_ns
        seen_ns, self._seen_ns = self._seen_ns, now_ns
        if seen_ns is None or abs(change_ns) <= STEP_BOUND_NS:
            return None
        step = Step(now_ns, change_ns, seen_ns)
        self._steps.append(step)
        return step

    def wall_at(self, then_ns: int) -> int:
        """What the wall clock said, or says, at a monotonic time [ns]."""
        return then_ns + self._offset_ns - sum(step.size_ns for step in self.steps_since(then_ns))

    def steps_since(self, then_ns: int) -> list[Step]:
        """Steps found after a monotonic time [ns]."""
        return [step for step in self._steps if step.at_ns > then_ns]


def receipt_ns(now: tuple[int, int], received_ns: int, earlier: tuple[int, int]) -> int:
    """Monotonic time at which a message arrived [ns].

    Args:
        now: Both clocks at present, as of `read_clocks`.
        received_ns: Wall clock at its arrival [ns], which may have been set since.
        earlier: Both clocks at a look at which it was certainly not there yet.
    """
    monotonic, wall = now
    earliest, wall_before = earlier
    arrived = monotonic - (wall - received_ns)
    if not earliest <= arrived <= monotonic:  # by the clock as it was before a step, then
        arrived = earliest + received_ns - wall_before
    return min(monotonic, max(earliest, arrived))


class ClockMarks:
    """What one episode says of the clocks: pairs of both, and each step.

    Args:
        wall: The wall clock.
        start_ns: Start of the episode, monotonic [ns].
    """

    def __init__(self, wall: WallClock, start_ns: int) -> None:
        self.shift_ns = wall.wall_at(start_ns) - start_ns
        """What makes a monotonic time one of the bag [ns]."""
        self.steps = wall.steps_since(start_ns)
        """Steps within the episode."""
        self._earlier = [
            step._replace(at_ns=min(step.at_ns, start_ns - 1))
            for step in wall.steps_since(start_ns - TRANSIT_NS)
            if step.at_ns <= start_ns
        ]  # what was stamped before them may come in still
        self._start_ns = start_ns
        self._seen = start_ns, start_ns + self.shift_ns
        self._told_ns = start_ns

    def begin(self) -> list[dict[str, Any]]:
        """Return the first messages: the pair at the start, and the steps up to now.

        Those of the second before the start are among them.
        """
        start = _message(*self._seen, self.shift_ns)
        return [start, *(self._mark(step) for step in (*self._earlier, *self.steps))]

    def see(self, now_ns: int, wall_ns: int, step: Step | None) -> Iterator[str]:
        """Take a look at both clocks [ns]; yield the message that is due, if any."""
        if step is not None:
            self.steps = [*self.steps, step]
        self._seen = now_ns, wall_ns
        if step is not None or now_ns - self._told_ns >= PAIR_PERIOD_NS:
            self._told_ns = now_ns
            told = _message(now_ns, wall_ns, self.shift_ns, step)
            yield json.dumps(told, sort_keys=True)

    def age_ns(self, age_ns: int, receive_ns: int) -> int:
        """Return the age of a message at its receipt [ns].

        It may have been stamped before a step and received after it.

        Args:
            age_ns: Wall clock at its receipt less its header stamp [ns].
            receive_ns: Monotonic time of its receipt [ns].
        """
        near = [
            step.size_ns
            for step in (*self._earlier, *self.steps)
            if step.since_ns <= receive_ns <= step.at_ns + TRANSIT_NS
        ]
        between = itertools.combinations(itertools.accumulate(near, initial=0), 2)
        return min((age_ns, *(age_ns - (after - before) for before, after in between)), key=abs)

    def as_dict(self) -> dict[str, Any]:
        """Return what the outcome tells: each step, and how far the clock was slewed."""
        now_ns, wall_ns = self._seen
        slewed_ns = wall_ns - now_ns - self._offset_ns(now_ns)
        steps = [
            {
                "at_s": round((step.at_ns - self._start_ns) / NANOSECONDS, 3),
                "step_s": round(step.size_ns / NANOSECONDS, 6),
            }
            for step in self.steps
        ]
        return {"steps": steps, "slewed_ms": round(slewed_ns / 1e6, 3)}

    def words(self) -> str:
        """Return one line about what happened to the clock; empty where nothing did."""
        told = self.as_dict()
        words = [f"by {s['step_s']:+.3f} s at {s['at_s']:.1f} s" for s in told["steps"]]
        line = f"the host's clock was set {', '.join(words)}" if words else ""
        if abs(told["slewed_ms"]) * 1e6 > STEP_BOUND_NS:
            line += f"{'; ' if line else ''}it was slewed by {told['slewed_ms']:+.0f} ms"
        return line

    def _offset_ns(self, then_ns: int) -> int:
        """Wall less monotonic clock, by the steps alone [ns]."""
        since = sum(s.size_ns for s in self.steps if s.at_ns <= then_ns)
        return self.shift_ns + since - sum(s.size_ns for s in self._earlier if s.at_ns > then_ns)

    def _mark(self, step: Step) -> dict[str, Any]:
        """Tell a step by itself."""
        wall_ns = step.at_ns + self._offset_ns(step.at_ns)
        return _message(step.at_ns, wall_ns, self.shift_ns, step)


def _message(now_ns: int, wall_ns: int, shift_ns: int, step: Step | None = None) -> dict[str, Any]:
    """One message on /episode/clock."""
    message = {
        "bag_ns": now_ns + shift_ns,
        "monotonic_ns": now_ns,
        "wall_ns": wall_ns,
        "step_ns": 0,
    }
    if step is not None:
        message |= {"step_ns": step.size_ns, "since_ns": step.since_ns + shift_ns}
    return message
