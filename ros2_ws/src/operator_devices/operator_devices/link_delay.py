"""Estimates how late a stream has become, from nothing but when its messages arrive.

The headset stamps no message. It sends them evenly, though, so messages that keep coming slower
than it sends them are queueing somewhere, and each is older than the one before. What came late
and all at once afterwards is no delay, and messages left out are none either: over those a hand
in motion has gone on, while over a hole that is a delay it is where it was. A constant delay that
the stream had from its beginning cannot be seen, nor one that jumps while the hand rests, or by
less than the hand's noise hides.
"""

import math
import statistics
from collections import deque
from collections.abc import Sequence
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
WAY = 8
"""Messages before it that tell how the hand moves: straight, where `STRAIGHT` of the way is a
distance. It stood still where its next step differs from theirs by no more than `USUAL` of it."""
STRAIGHT, USUAL = 0.6, 0.6
DOUBT = 3.0
"""Deviations of its usual steps by which a step must fall short of going on over a hole."""
SHARE = 0.1
"""How fast the sender's period is followed, per block."""
FORGOTTEN, NOTHING = 0.9, 0.01
"""Part of a delay that is left after a block in which it did not grow, and what counts as none
[s]: slips of a sender must not add up over hours."""
SURE = 0.995
"""The same for the part of it over which the hand stood still; nobody is always right."""
LEARNING = {0: (0.0, 1e9), 1: (1.0, 1e9), 2: (0.5, 0.1), 3: (0.5, 0.05)}
"""Share and tolerance of the first blocks, in which the period is being learned."""


class LinkDelay:
    """How much later than at first the messages of one unbroken stream arrive."""

    def __init__(self) -> None:
        self._arrivals: list[float] = []  # from the least late message of the last block on
        self._held: set[float] = set()  # arrivals after holes in which the hand stood still
        self._places: deque[Sequence[float]] = deque(maxlen=WAY + 1)
        self._block = 0  # index in it at which the present block begins
        self._period: float | None = None
        self._blocks = 0
        self._delay = 0.0
        self._sure = 0.0  # part of it that is no slip of a sender: the hand stood still

    def update(self, now: float, place: Sequence[float] = (0.0, 0.0, 0.0)) -> float:
        """Take a message that arrived at `now` [s, monotonic]; the delay so far [s].

        Args:
            now: monotonic time [s].
            place: of the hand in it, x, y, z [m].
        """
        if self._is_held(now, place):
            self._held.add(now)
        self._arrivals.append(now)
        if not self._places or tuple(place) != tuple(self._places[-1]):
            self._places.append(place)
        if now - self._arrivals[self._block] >= BLOCK:
            self._close_block()
        return self._delay

    def _is_held(self, now: float, place: Sequence[float]) -> bool:
        """Whether a hand in motion has stood still in a hole that ends with this message."""
        places = self._places
        if self._period is None or len(places) <= WAY or not self._arrivals:
            return False
        missing = (now - self._arrivals[-1]) / self._period
        if missing < LEFT_OUT:
            return False
        distance = math.dist(places[0], places[-1])
        if distance < STRAIGHT * sum(math.dist(one, other) for one, other in pairwise(places)):
            return False
        # Of a hand that turned back meanwhile the next step hardly ever is the usual one.
        usual = [(end - start) / WAY for start, end in zip(places[0], places[-1], strict=True)]
        step = [now - then for then, now in zip(places[-1], place, strict=True)]
        usual_way = distance / WAY
        if math.dist(step, usual) >= USUAL * usual_way:
            return False
        spread = sum(
            math.dist(usual, [b - a for a, b in zip(one, other, strict=True)]) ** 2
            for one, other in pairwise(places)
        )
        return (missing - 1.0) * usual_way > DOUBT * math.sqrt(spread / WAY)

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
        holes = [
            (after - before, after)
            for before, after in pairwise(arrivals)
            if after - before > LEFT_OUT * period
        ]
        held = sum(one - period for one, after in holes if after in self._held)
        # What came close upon another has made up for a hole.
        held -= sum(period - one for one in intervals if one < period / LEFT_OUT)
        known = self._held if held > 0.0 else set()
        if growth > 0.0 and median < STRETCHED * period:
            missing = (round(one / period) - 1 for one, after in holes if after not in known)
            growth = max(0.0, growth - sum(missing) * period)
        self._sure = max(0.0, SURE * self._sure + min(growth, max(held, 0.0)))
        if growth <= tolerance * elapsed and not self._delay:
            self._period = period + share * growth / count
        elif abs(growth) > tolerance * elapsed:
            self._delay = max(0.0, self._delay + growth)
        else:
            slips = FORGOTTEN * self._delay if self._delay > NOTHING else 0.0
            self._delay = max(slips, self._sure)
        self._block = len(arrivals) - count
        del arrivals[:count]
        self._held.intersection_update(arrivals)
