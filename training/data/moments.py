"""Mean and standard deviation: exact ones of parts that are joined, quick ones of many chunks.

Sums of floats depend on their order, so statistics joined from parts differ from those of the
whole in the last digits. Here a sum is kept exactly, as a few floats that do not overlap
(Shewchuk 1997, which `math.fsum` implements): joined sums are those of all rows, to the bit.
That costs a Python number per value; what is made once, of chunks many times as large as their
actions, is joined in float64.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from fractions import Fraction

import numpy as np
from numpy.typing import NDArray

from ate_core.errors import TrainingError

Exact = tuple[float, ...]
"""A sum without rounding: these floats, added up."""


@dataclass(frozen=True, kw_only=True)
class Moments:
    """Of the values of one column."""

    count: int
    """How many."""
    total: Exact
    """Their sum."""
    squares: Exact
    """Sum of their squares; exact for float32 values."""

    @property
    def mean(self) -> float:
        """The float nearest to the mean."""
        return float(_number(self.total) / self.count)

    @property
    def std(self) -> float:
        """Standard deviation of the values, not of an estimate: divided by their count."""
        mean = _number(self.total) / self.count
        return math.sqrt(max(_number(self.squares) / self.count - mean * mean, Fraction(0)))


def moments_of(rows: NDArray[np.generic]) -> tuple[Moments, ...]:
    """Moments of each column of rows (N, D).

    Raises:
        TrainingError: there is no row, or a value that is not finite.
    """
    values = np.asarray(rows, dtype=np.float64)
    with np.errstate(over="ignore"):
        squares = values * values
    if values.ndim != 2 or not len(values) or not np.isfinite(squares).all():
        raise TrainingError(
            f"rows of shape {values.shape} have no moments: give at least one, all finite"
        )
    return tuple(
        Moments(
            count=len(values),
            total=exact_sum(column.tolist()),
            squares=exact_sum(square.tolist()),
        )
        for column, square in zip(values.T, squares.T, strict=True)
    )


def join_moments(parts: Sequence[Moments]) -> Moments:
    """Moments of the values of all parts."""
    return Moments(
        count=sum(part.count for part in parts),
        total=exact_sum([value for part in parts for value in part.total]),
        squares=exact_sum([value for part in parts for value in part.squares]),
    )


def exact_sum(values: Iterable[float]) -> Exact:
    """The sum of finite floats without rounding: the nearest float, that of what is left, ..."""
    left, parts = list(values), []
    while part := math.fsum(left):
        parts.append(part)
        left.append(-part)
    return tuple(parts)


def mean_and_std(
    blocks: Callable[[], Iterable[NDArray[np.generic]]],
) -> tuple[list[float], list[float]]:
    """Of each column, joined from blocks (N, D) in float64 (Chan, Golub and LeVeque 1979)."""
    count, mean, squares = 0, np.zeros(1), np.zeros(1)
    for block in blocks():
        own = block.astype(np.float64)
        own_mean, size = own.mean(axis=0), len(own)
        apart, total = own_mean - mean, count + size
        squares = squares + np.square(own - own_mean).sum(axis=0)
        squares = squares + apart**2 * (count * size / total)
        mean, count = mean + apart * (size / total), total
    return mean.tolist(), np.sqrt(squares / count).tolist()


def _number(total: Exact) -> Fraction:
    return sum(map(Fraction, total), Fraction(0))
