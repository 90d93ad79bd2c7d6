"""How the values of a column are spread over a set, from what is kept of its episodes."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from training.data.moments import join_moments
from training.data.summaries import LEVELS, Column

Array = NDArray[np.float64]
POINTS = 129
"""Points of a set's distribution; they lie where its values are."""
SHARES = {"q01": 0.01, "q50": 0.5, "q99": 0.99}
"""Quantiles of a set, by name."""


def grid_of(columns: Sequence[Column]) -> Array:
    """Return ascending places (M,) at which the distributions of some episodes are compared."""
    knots = np.concatenate([column.quantiles for column in columns])
    return np.unique(np.quantile(knots, np.linspace(0.0, 1.0, POINTS)))


def shares_below(columns: Sequence[Column], grid: Array) -> Array:
    """Return the share of each episode's values at or below each place, shape (E, M)."""
    steps = np.arange(len(LEVELS))
    rows = []
    for column in columns:
        knots = np.array(column.quantiles)
        # Equal quantiles are set apart by less than any value's own rounding.
        apart = knots + 1e-9 * max(1.0, float(np.abs(knots).max())) * (steps - steps[-1])
        rows.append(np.interp(grid, apart, LEVELS, left=0.0, right=1.0))
    return np.array(rows)


def weights_of(columns: Sequence[Column]) -> Array:
    """Return how many values each episode has, shape (E,)."""
    return np.array([column.moments.count for column in columns], dtype=np.float64)


def joined(columns: Sequence[Column]) -> dict[str, float | int | str]:
    """Return statistics of a column over a set: exact ones, and quantiles to about 1 %."""
    grid, weights = grid_of(columns), weights_of(columns)
    shares = weights @ shares_below(columns, grid) / weights.sum()
    moments = join_moments([column.moments for column in columns])
    return {
        "unit": columns[0].unit,
        "count": moments.count,
        "mean": moments.mean,
        "std": moments.std,
        "min": min(column.quantiles[0] for column in columns),
        "max": max(column.quantiles[-1] for column in columns),
        **{name: float(np.interp(share, shares, grid)) for name, share in SHARES.items()},
    }
