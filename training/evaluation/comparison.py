"""Success rates with intervals, and paired comparisons over equal seeds."""

from collections.abc import Sequence
from dataclasses import dataclass

from scipy.stats import binomtest

from ate_core.errors import UsageError
from training.evaluation.intervals import CONFIDENCE, Interval, difference_interval


@dataclass(frozen=True, kw_only=True)
class Rate:
    """A success rate with its Wilson interval."""

    successes: int
    """Trials that succeeded."""
    trials: int
    """All trials."""
    low: float
    """Lower end of the interval."""
    high: float
    """Upper end of the interval."""

    def __str__(self) -> str:
        return (
            f"{self.successes}/{self.trials} ({100 * self.successes / self.trials:.0f} %, "
            f"95 % interval {100 * self.low:.0f}-{100 * self.high:.0f} %)"
        )


def success_rate(successes: int, trials: int) -> Rate:
    """Share of trials that succeeded, with its Wilson score interval (Wilson, 1927)."""
    if trials < 1 or not 0 <= successes <= trials:
        raise UsageError(
            f"{successes} successes of {trials} trials: need 0 <= successes <= trials"
        )
    interval = binomtest(successes, trials).proportion_ci(CONFIDENCE, method="wilson")
    return Rate(
        successes=successes, trials=trials, low=float(interval.low), high=float(interval.high)
    )


@dataclass(frozen=True, kw_only=True)
class PairedComparison:
    """Two policies on the same seeds: only trials on which they differ carry information."""

    only_first: int
    """Seeds on which only the first succeeded."""
    only_second: int
    """Seeds on which only the second succeeded."""
    trials: int
    """All seeds."""
    p_value: float
    """Exact McNemar test (two-sided sign test on the differing seeds)."""

    @property
    def difference(self) -> float:
        """Success rate of the first minus that of the second."""
        return (self.only_first - self.only_second) / self.trials

    @property
    def interval(self) -> Interval:
        """95 % interval of the difference; holds if the number of seeds was fixed before."""
        return difference_interval(self.only_first, self.only_second, self.trials)

    def __str__(self) -> str:
        low, high = self.interval
        return (
            f"{100 * self.difference:+.0f} points (95 % interval {100 * low:+.0f} to "
            f"{100 * high:+.0f}), {self.only_first} seeds only the first, {self.only_second} only "
            f"the second (exact McNemar p = {self.p_value:.2g})"
        )


def compare(first: Sequence[bool], second: Sequence[bool]) -> PairedComparison:
    """Compare outcomes on equal seeds, in equal order."""
    if len(first) != len(second):
        raise UsageError(f"{len(first)} trials against {len(second)}: pair them on equal seeds")
    if not first:
        raise UsageError("there are no pairs of trials: roll out both on the same seeds")
    only_first = sum(a and not b for a, b in zip(first, second, strict=True))
    only_second = sum(b and not a for a, b in zip(first, second, strict=True))
    differing = only_first + only_second
    p_value = float(binomtest(only_first, differing).pvalue) if differing else 1.0
    return PairedComparison(
        only_first=only_first, only_second=only_second, trials=len(first), p_value=p_value
    )
