"""Success rates with intervals, and paired comparisons over equal seeds."""

from collections.abc import Sequence
from dataclasses import dataclass

from scipy.stats import binomtest

from ate_core.errors import UsageError


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


def success_rate(successes: int, trials: int, confidence: float = 0.95) -> Rate:
    """Share of trials that succeeded, with its Wilson score interval (Wilson, 1927)."""
    if trials < 1 or not 0 <= successes <= trials:
        raise UsageError(
            f"{successes} successes of {trials} trials: need 0 <= successes <= trials"
        )
    interval = binomtest(successes, trials).proportion_ci(confidence, method="wilson")
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
    p_value: float
    """Exact McNemar test (two-sided sign test on the differing seeds)."""

    def __str__(self) -> str:
        return (
            f"{self.only_first} seeds only the first, {self.only_second} only the second "
            f"(exact McNemar p = {self.p_value:.2f})"
        )


def compare(first: Sequence[bool], second: Sequence[bool]) -> PairedComparison:
    """Compare outcomes on equal seeds, in equal order."""
    if len(first) != len(second):
        raise UsageError(f"{len(first)} trials against {len(second)}: pair them on equal seeds")
    only_first = sum(a and not b for a, b in zip(first, second, strict=True))
    only_second = sum(b and not a for a, b in zip(first, second, strict=True))
    differing = only_first + only_second
    p_value = float(binomtest(only_first, differing).pvalue) if differing else 1.0
    return PairedComparison(only_first=only_first, only_second=only_second, p_value=p_value)
