"""How many rollouts a question needs, computed exactly from the tests that will answer it."""

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.stats import binom

from ate_core.errors import UsageError
from training.evaluation.comparison import success_rate
from training.evaluation.sequential import StoppingRule, log_evidence

MOST_TRIALS = 20_000
"""Beyond this the answer is: too small a difference to be shown by rollouts."""
LONGEST_OUTLOOK = 2000
"""Pairs up to which the outlook of the stopping rule is computed, in about a second."""


@dataclass(frozen=True, kw_only=True)
class Pair:
    """Two policies and how often they succeed."""

    first: float
    """Success rate of the first, 0..1."""
    second: float
    """Of the second."""
    correlation: float = 0.0
    """Of their outcomes on one start, from 0 (independent) on; policies that fail on the same hard
    starts need fewer."""

    def __post_init__(self) -> None:
        """Refuse rates that are none, and outcomes that cannot go together so often."""
        for name in ("first", "second"):
            if not 0.0 <= getattr(self, name) <= 1.0:
                raise UsageError(f"{name} is {getattr(self, name)}, a rate must lie in 0 to 1")
        if not 0.0 <= self.correlation <= self.most_correlation:
            raise UsageError(
                f"correlation is {self.correlation}, must lie in 0 to {self.most_correlation:.2f} "
                f"for rates of {self.first:g} and {self.second:g}"
            )

    @property
    def most_correlation(self) -> float:
        """Of the outcomes, when the worse one never succeeds alone."""
        low, high = sorted((self.first, self.second))
        spread = math.sqrt(low * (1 - low) * high * (1 - high))
        return low * (1 - high) / spread if spread else 0.0

    @property
    def only_first(self) -> float:
        """Probability that only the first succeeds on a start."""
        return max(self.first * (1 - self.second) - self._shared, 0.0)

    @property
    def only_second(self) -> float:
        """Probability that only the second does."""
        return max(self.second * (1 - self.first) - self._shared, 0.0)

    @property
    def differing(self) -> float:
        """Probability that their outcomes differ."""
        return self.only_first + self.only_second

    @property
    def _shared(self) -> float:
        rates = self.first * (1 - self.first) * self.second * (1 - self.second)
        return self.correlation * math.sqrt(rates)


def power(pair: Pair, trials: int, alpha: float = 0.05) -> float:
    """Probability that the exact McNemar test tells the two apart after this many pairs."""
    if pair.differing <= 0.0:
        return 0.0
    differing = np.arange(trials + 1)
    # largest number of wins of the worse one that is still significant, for each count
    least = binom.ppf(alpha / 2, differing, 0.5) - 1
    least += 2 * binom.cdf(least + 1, differing, 0.5) <= alpha
    share = pair.only_first / pair.differing
    found = binom.cdf(least, differing, share) + binom.cdf(least, differing, 1 - share)
    return float(binom.pmf(differing, trials, pair.differing) @ found)


def trials_for_difference(pair: Pair, wanted: float = 0.8, alpha: float = 0.05) -> int | None:
    """Pairs from which the exact McNemar test has the wanted power; None: too many."""
    low, high = 0, 8
    while power(pair, high, alpha) < wanted:
        low, high = high, 2 * high
        if low >= MOST_TRIALS:
            return None
    while high - low > 1:  # power grows but for small steps back, so the end is about the first
        middle = (low + high) // 2
        low, high = (low, middle) if power(pair, middle, alpha) >= wanted else (middle, high)
    return high


def trials_for_half_width(rate: float, half_width: float) -> int | None:
    """Rollouts from which the Wilson interval of an observed rate is this narrow; None: too many.

    Args:
        rate: expected success rate.
        half_width: half of the interval's length, for instance 0.05 for +-5 points.
    """
    low, high = 0, 1
    while _half_width(rate, high) > half_width:
        low, high = high, 2 * high
        if low >= MOST_TRIALS:
            return None
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (low, middle) if _half_width(rate, middle) <= half_width else (middle, high)
    return high


def _half_width(rate: float, trials: int) -> float:
    found = success_rate(round(rate * trials), trials)
    return (found.high - found.low) / 2


@dataclass(frozen=True, kw_only=True)
class SequentialOutlook:
    """What to expect of the stopping rule."""

    decided: float
    """Probability that it decides within the limit."""
    trials: float
    """Pairs that it takes on average, the limit included."""


def sequential_outlook(pair: Pair, limit: int, rule: StoppingRule) -> SequentialOutlook:
    """How often and how soon the stopping rule decides within `limit` pairs."""
    if pair.differing <= 0.0:
        return SequentialOutlook(decided=0.0, trials=limit)
    stops = _stops(pair.only_first / pair.differing, limit, rule)
    after = np.arange(limit + 1)
    counts = np.arange(1, limit + 1)
    # the rule sees differing pairs only: it has stopped once there were as many as it needed
    reached = binom.sf(counts[None, :] - 1, after[:, None], pair.differing)
    stopped = reached @ stops
    return SequentialOutlook(decided=float(stopped[-1]), trials=float((1 - stopped[:-1]).sum()))


def _stops(share: float, limit: int, rule: StoppingRule) -> NDArray[np.float64]:
    """Probability (limit,) that the rule stops at the first, second, ... differing pair."""
    going = np.array([1.0])  # over wins of the first so far
    stops = np.zeros(limit)
    for count in range(1, limit + 1):
        going = np.append(going * (1 - share), 0.0) + np.append(0.0, going * share)
        wins = np.arange(count + 1)
        ends = log_evidence(wins, count - wins) >= -math.log(rule.alpha)
        stops[count - 1] = going[ends].sum()
        going[ends] = 0.0
    return stops
