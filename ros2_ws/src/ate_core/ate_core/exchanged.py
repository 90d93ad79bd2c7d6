"""Whether left and right are exchanged: by where a chunk begins, and by which arm answers.

Neither asks how the arms stand: from equal postures, the first motion tells. Time is counted in
ticks.
"""

from collections import deque
from collections.abc import Iterator, Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]

CLEAR = 0.05
"""Distance, or motion, below which nothing is said [rad]."""
SHARE = 1 / 3
"""The other arm fits where its error is below this share of what is told of the own one."""
LONGEST_LAG = 4
"""Latest answer of an arm to a command [ticks]: the command's own tick, its servo, its state."""
SPAN = 20
"""Motions are compared over so long at most [ticks]."""
CONFIRMED = 2
"""So many ticks in a row must show it."""
LONGEST_GAP = 4
"""Commands further apart begin anew [ticks]."""
REMEDY = (
    "left and right are exchanged; check the addresses and topics of the arms in the cell file"
)


def exchanged_start(
    action: NDArray[np.floating], measured: NDArray[np.floating], arms: Sequence[slice]
) -> str:
    """Why a chunk begins with each arm where the other one is; empty: it does not.

    Args:
        action: what is played first (D,).
        measured: what its network saw (D,), in the same order.
        arms: where the joints of each arm are.
    """
    if len(arms) != 2:
        return ""
    left, right = arms
    told = np.asarray(action, np.float64)
    seen = np.asarray(measured, np.float64)
    if left.stop - left.start != right.stop - right.start:
        return ""
    own = max(np.abs(told[arm] - seen[arm]).max() for arm in arms)
    other = max(np.abs(told[left] - seen[right]).max(), np.abs(told[right] - seen[left]).max())
    if own < CLEAR or other > SHARE * own:
        return ""
    return (
        f"each arm shall begin {other:.3f} rad from where the other one is, {own:.3f} rad from "
        "its own place: left and right are exchanged"
    )


class Answers:
    """Compares what each of two arms was told with what both did."""

    def __init__(self) -> None:
        """Begin without a motion."""
        self._told: deque[Array] = deque(maxlen=SPAN + LONGEST_LAG + 1)
        self._did: deque[Array] = deque(maxlen=SPAN + LONGEST_LAG + 1)
        self._driven: tuple[bool, ...] = ()
        self._rest = np.empty((2, 0))
        self._tick = 0
        self._shown = 0

    def reset(self) -> None:
        """Forget all, for instance where nobody commanded."""
        self._told.clear()
        self._did.clear()
        self._shown = 0

    def note(self, tick: int, told: Mapping[str, Array | None], did: Mapping[str, Array]) -> str:
        """Take a tick; which arm does what the other one is told, or nothing.

        Args:
            tick: index of it.
            told: joints commanded by side (n,) [rad]; None: nobody drives that arm, so it ought to
                stay where it was when that began.
            did: joints measured by side (n,) [rad].
        """
        sides = tuple(told)
        if len(sides) != 2 or set(sides) - set(did):
            return ""
        sizes = {len(joints) for joints in (*told.values(), *did.values()) if joints is not None}
        driven = tuple(told[side] is not None for side in sides)
        if tick - self._tick > LONGEST_GAP or driven != self._driven:
            self.reset()
        self._tick, self._driven = tick, driven
        if len(sizes) != 1 or not any(driven):
            return ""
        measured = np.array([did[side] for side in sides], np.float64)
        if not self._told:  # until now they were held where they are
            self._rest = measured
            self._told.extend([measured] * LONGEST_LAG)
            self._did.extend([measured] * LONGEST_LAG)
        commands = [told[side] for side in sides]
        self._told.append(
            np.array([self._rest[row] if q is None else q for row, q in enumerate(commands)])
        )
        self._did.append(measured)
        found = next(self._crossings(sides), "")
        self._shown = self._shown + 1 if found else 0
        return found if self._shown >= CONFIRMED else ""

    def _crossings(self, sides: Sequence[str]) -> Iterator[str]:
        """What each arm went since each of the last ticks, against what both were told."""
        told, did = np.array(self._told), np.array(self._did)  # (N, 2, n)
        first = np.arange(LONGEST_LAG, len(told) - 1)
        lags = range(LONGEST_LAG + 1)
        since = np.array([told[-1 - lag] - told[first - lag] for lag in lags])  # (L, F, 2, n)
        went = did[-1] - did[first]  # (F, 2, n)
        if not len(first):
            return
        for mine, other in ((0, 1), (1, 0)):
            way = np.abs(since[:, :, mine]).max(axis=2).min(axis=0)  # (F,)
            own = _error(since[:, :, mine], went[:, mine])
            crossed = _error(since[:, :, mine], went[:, other])
            others = _error(since[:, :, other], went[:, other])
            least = (1.0 - SHARE) * way
            shows = (way >= CLEAR) & (crossed < SHARE * way) & (own > least) & (others > least)
            if shows.any():
                row = int(np.argmax(np.where(shows, way, 0.0)))
                yield (
                    f"the {sides[other]} arm does what the {sides[mine]} one is told: of "
                    f"{way[row]:.2f} rad it is {crossed[row]:.2f} rad off, the {sides[mine]} "
                    f"arm {own[row]:.2f} rad: {REMEDY}"
                )


def _error(since: Array, went: Array) -> Array:
    """Error of a motion (F, n) to what was told (L, F, n): of its worst joint, at the best lag."""
    error: Array = np.abs(went - since).max(axis=2).min(axis=0)
    return error
