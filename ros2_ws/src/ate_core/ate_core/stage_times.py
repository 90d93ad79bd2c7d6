"""How long the stages of a way take that is gone again and again, kept at next to no cost.

A way is told by moments on the monotonic clock: when it began, and when each stage was done.
"""

from collections.abc import Collection, Mapping, Sequence
from itertools import pairwise

import numpy as np

TOTAL = "total"
"""Name of the whole way."""
WINDOW = 5.0
"""What a status tells is that of the newest ways, of so long [s]."""

OPERATOR_STAGES = ("wake", "retarget", "ik", "publish")
"""Of a pose in an operator's node, from its receipt: the loop has woken, the wanted tool pose is
known, the joints are solved for, the command is published."""
RECEIPT = "receipt"
DRIVER_STAGES = (RECEIPT, "filter", "wire")
"""Of a command from its stamp on: taken by a tick of the driver, in its filter, and the next
target, of whichever command, at the arm's link."""

BOUND_MS = (2.0, 10.0)
"""Largest median and 99th percentile of a stage, and of the whole way of a pose [ms]."""
WAIT_MS = (10.0, 15.0)
"""Those of a stage that waits for a tick of the driver; its whole way has both [ms]."""

Summary = dict[str, tuple[float, float]]
"""Stage -> median and 99th percentile [ms]; the whole way comes last."""


class StageTimes:
    """The newest ways in a ring. One thread keeps, any other may ask."""

    def __init__(self, stages: Sequence[str], keep: int) -> None:
        """Begin with none.

        Args:
            stages: in the order of the way.
            keep: so many ways.
        """
        self._stages = tuple(stages)
        # Written to at once: of zeros each page would count as growth when it is reached.
        self._ring = np.full((keep, len(self._stages) + 2), -1, dtype=np.int64)
        self._count = 0

    def keep(self, begin_ns: int, done_ns: Mapping[str, int]) -> None:
        """Keep a way; one that lacks a stage went elsewhere, and is not kept.

        Args:
            begin_ns: when it began [ns].
            done_ns: stage -> when it was done [ns].
        """
        moments = [begin_ns, *(done_ns.get(stage, -1) for stage in self._stages)]
        if -1 in moments:
            return
        spans = [after - before for before, after in pairwise(moments)]
        row = [*spans, moments[-1] - begin_ns, moments[-1]]
        self._ring[self._count % len(self._ring)] = row
        self._count += 1

    def __len__(self) -> int:
        return min(self._count, len(self._ring))

    def summary(self, since_ns: int = 0) -> Summary:
        """Median and 99th percentile of each stage and of the whole way [ms]; empty: no way.

        Args:
            since_ns: of the ways that ended later [ns].
        """
        rows = self._ring[: len(self)]
        times = np.sort(rows[rows[:, -1] > since_ns, :-1], axis=0) / 1e6
        if not len(times):
            return {}
        middle, late = times[len(times) // 2], times[int(0.99 * len(times))]
        names = (*self._stages, TOTAL)
        return {
            name: (round(float(median), 2), round(float(p99), 2))
            for name, median, p99 in zip(names, middle, late, strict=True)
        }

    def sentence(self) -> str:
        """All that is kept, for people."""
        stages = ", ".join(f"{name} {a:.2f}/{b:.2f}" for name, (a, b) in self.summary().items())
        return f"median/p99 [ms] of {len(self)}: {stages or 'none yet'}"


def bounds(stage: str, way: Collection[str]) -> tuple[float, float]:
    """Largest median and 99th percentile of a stage, or of the whole, of a way [ms]."""
    if stage == RECEIPT:
        return WAIT_MS
    if stage == TOTAL and RECEIPT in way:
        return WAIT_MS[0] + BOUND_MS[0], WAIT_MS[1] + BOUND_MS[1]
    return BOUND_MS


def level(stage: str, way: Collection[str], median: float, p99: float) -> str:
    """What times of a stage are [ms]: ``ok``, beyond a bound ``warn``, twice it ``error``."""
    most = bounds(stage, way)
    excess = max(median / most[0], p99 / most[1])
    return "ok" if excess <= 1.0 else "warn" if excess <= 2.0 else "error"
