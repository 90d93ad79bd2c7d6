"""Takes back what a step of the wall clock did to header stamps.

A bag's receive times never step: they count on from the wall clock at the start of the episode.
Header stamps are wall time as it was, so behind a step they lie apart by its size. A step is
found a little after it was made, and what was stamped before it comes in after it.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

CLOCK_TOPIC = "/episode/clock"
"""Wall clock and monotonic clock at one moment (JSON); ``step_ns`` where the former was set."""
TRANSIT_NS = 1_000_000_000
"""How long before its receipt a message may have been stamped [ns]."""
LOOK_NS = 40_000_000
"""How long before it was found a step was made at most, where the bag does not say [ns]: the
recorder looks at the clocks fifty times a second."""
CLEAR_NS = 200_000_000
"""How long after a step few messages are on their way that were stamped before it [ns]."""
EARLY_NS = 20_000_000
"""How much younger than usual a stream's message may be at its receipt [ns]; less than half of
the smallest step."""
EARLY_SHARE = 0.05
"""Share of a stream's messages that may be younger than what is usual, lest one decides on it."""
_IMPOSSIBLE = 1e18
_LONG_AGO, _NEVER = -(2**61), 2**61


class _Step(NamedTuple):
    since_ns: int
    """When it was not yet made [ns]."""
    at_ns: int
    """When it was found [ns]."""
    size_ns: int
    """Above zero forwards [ns]."""


class ClockSteps:
    """The steps of one episode, in the order found.

    Args:
        start_ns: Start of the episode, by whose wall clock receive times count [ns].
    """

    def __init__(self, start_ns: int = 0) -> None:
        self._start_ns = start_ns
        self._steps: list[_Step] = []

    def add(self, mark: Mapping[str, Any]) -> None:
        """Take one message of the clock."""
        if mark.get("step_ns"):
            at_ns = int(mark["bag_ns"])
            since_ns = int(mark.get("since_ns", at_ns - LOOK_NS))
            self._steps.append(_Step(since_ns, at_ns, int(mark["step_ns"])))

    def undo(
        self, stamps_ns: NDArray[np.int64], received_ns: NDArray[np.int64]
    ) -> NDArray[np.int64]:
        """Return a stream's header stamps as if the clock had never been set, shape (N,) [ns].

        Near a step a stamp has several readings, one by each setting of the clock around its
        receipt. The one that makes it youngest is true, unless it cannot be: younger than
        messages of the stream are, or from a time at which the clock was set otherwise.
        """
        if not self._steps:
            return stamps_ns
        offsets = self._offsets()
        usual_ns = self._usual_age(stamps_ns, received_ns)
        true_ns, ranks = stamps_ns.copy(), np.full(len(stamps_ns), np.inf)
        begun = [_LONG_AGO, *(step.since_ns for step in self._steps)]
        ended = [*(step.at_ns for step in self._steps), _NEVER]
        for offset, begin, end in zip(offsets.tolist(), begun, ended, strict=True):
            (near,) = np.nonzero((received_ns >= begin) & (received_ns < end + TRANSIT_NS))
            reading = stamps_ns[near] - offset
            ages = received_ns[near] - reading
            is_possible = (
                (ages >= usual_ns - EARLY_NS)
                & (reading >= begin - max(usual_ns, 0))
                & (reading < end - min(usual_ns, 0))
            )
            rank = np.where(is_possible, ages, _IMPOSSIBLE + np.abs(ages))
            is_better = rank < ranks[near]
            true_ns[near[is_better]] = reading[is_better]
            ranks[near[is_better]] = rank[is_better]
        return true_ns

    def _offsets(self) -> NDArray[np.int64]:
        """Wall clock less that of the bag before, between and after the steps [ns]."""
        sums = np.cumsum([0, *(step.size_ns for step in self._steps)])
        earlier = sum(step.at_ns < self._start_ns for step in self._steps)
        return np.asarray(sums - sums[earlier])

    def _usual_age(self, stamps_ns: NDArray[np.int64], received_ns: NDArray[np.int64]) -> int:
        """Age at their receipt of the stream's youngest messages, away from steps [ns].

        Zero where all messages are near a step.
        """
        active = np.searchsorted([step.at_ns for step in self._steps], received_ns, side="right")
        ages = received_ns - (stamps_ns - self._offsets()[active])
        is_clear = np.ones(len(ages), dtype=bool)
        for since_ns, at_ns, _ in self._steps:
            is_clear &= (received_ns < since_ns) | (received_ns >= at_ns + CLEAR_NS)
        return int(np.quantile(ages[is_clear], EARLY_SHARE)) if is_clear.any() else 0
