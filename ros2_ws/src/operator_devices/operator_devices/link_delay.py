"""Estimates how late a stream has become, from nothing but when its messages arrive.

The headset stamps no message. It sends them evenly, though, so messages that keep coming slower
than it sends them are queueing somewhere, and each is older than the one before. What came late
and all at once afterwards is no delay, and messages left out are none either. A constant delay
that the stream had from its beginning cannot be seen.
"""

import statistics
from itertools import pairwise

LONGEST_DELAY = 0.25
"""Delay from which a stream is of no use [s]: the clutch lets go and its reader opens it anew. One
limit for both, so that no delay keeps a clutch open for ever."""
BLOCK = 0.5
"""Time over which arrivals are compared with the sender's rate [s]."""
TOLERANCE = 0.02
"""Part of a block by which the sender's rate may drift unnoticed; jitter of 1 ms makes 0.003."""
LEFT_OUT = 1.6
"""Intervals longer than so many periods, among ordinary ones, have messages left out."""
STRETCHED = 1.3
"""Median interval, in periods, from which on the long ones are the ordinary ones."""
SHARE = 0.1
"""How fast the sender's period is followed, per block."""
FORGOTTEN, NOTHING = 0.9, 0.01
"""Part of a delay that is left after a block in which it did not grow, and what counts as none
[s]: slips of a sender must not add up over hours."""
LEARNING = {0: (0.0, 1e9), 1: (1.0, 1e9), 2: (0.5, 0.1), 3: (0.5, 0.05)}
"""Share and tolerance of the first blocks, in which the period is being learned."""


class LinkDelay:
    """How much later than at first the messages of one unbroken stream arrive."""

    def __init__(self) -> None:
        self._arrivals: list[float] = []  # from the least late message of the last block on
        self._block = 0  # index in it at which the present block begins
        self._period: float | None = None
        self._blocks = 0
        self._delay = 0.0

    def update(self, now: float) -> float:
        """Take a message that arrived at `now` [s, monotonic]; the delay so far [s]."""
        self._arrivals.append(now)
        if now - self._arrivals[self._block] >= BLOCK:
            self._close_block()
        return self._delay

    def _close_block(self) -> None:
        """Compare the least late message of this block with that of the last one.

        The least late one has met no stall: what held up the others did not last.
        """
        arrivals = self._arrivals
        intervals = [after - before for before, after in pairwise(arrivals)]
        median = statistics.median(intervals)
        period = self._period = self._period or sum(intervals) / len(intervals)
        share, tolerance = LEARNING.get(self._blocks, (SHARE, TOLERANCE))
        self._blocks += 1
        candidates = range(max(1, self._block), len(arrivals))
        count = min(candidates, key=lambda i: arrivals[i] - i * period)
        elapsed = arrivals[count] - arrivals[0]
        growth = elapsed - count * period
        if growth > 0.0 and median < STRETCHED * period:
            holes = (round(one / period) - 1 for one in intervals if one > LEFT_OUT * period)
            growth = max(0.0, growth - sum(holes) * period)
        if growth <= tolerance * elapsed and not self._delay:
            self._period = period + share * growth / count
        elif abs(growth) > tolerance * elapsed:
            self._delay = max(0.0, self._delay + growth)
        else:
            self._delay = FORGOTTEN * self._delay if self._delay > NOTHING else 0.0
        self._block = len(arrivals) - count
        del arrivals[:count]
