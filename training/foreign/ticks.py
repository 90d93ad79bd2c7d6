"""Rows at one fixed rate -> ticks of the cell.

Row r lies at r / rate. Numbers are interpolated between two rows; an image is that of the last
row at or before the tick. The action of row r is what the body shall have reached one row later,
as ours of tick k is in force at tick k + 1: at equal rates, row r becomes tick r unchanged.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ate_core.errors import EpisodeError
from ate_core.resample import NANOSECONDS, latest_at, tick_grid, tick_period_ns

SLACK_NS = NANOSECONDS // 1_000_000
"""By how much a row may lie after the tick that it belongs to: rates are rounded [ns]."""


@dataclass(frozen=True, kw_only=True)
class Ticks:
    """The ticks of one episode, from its first row on."""

    times_ns: NDArray[np.int64]
    """Ticks [ns], the first 0."""
    rows_ns: NDArray[np.int64]
    """Rows [ns]."""

    def measured(self, rows: NDArray[np.float64]) -> NDArray[np.float64]:
        """State (rows, D) at each tick."""
        return _interpolate(self.rows_ns, rows, self.times_ns)

    def velocity(self, rows: NDArray[np.float64]) -> NDArray[np.float64]:
        """Slope of the state (rows, D) at each tick [1/s]."""
        return _interpolate(
            self.rows_ns, np.gradient(rows, self.rows_ns / NANOSECONDS, axis=0), self.times_ns
        )

    def in_force(self, rows: NDArray[np.float64], period_ns: int) -> NDArray[np.float64]:
        """Action (rows, D) in force one tick after each tick; rows at the end may be missing."""
        reached_ns = self.rows_ns[: len(rows)] + self.rows_ns[1]
        return _interpolate(reached_ns, rows, self.times_ns + period_ns)

    def given(self, rows: NDArray[np.float64], period_ns: int) -> NDArray[np.float64]:
        """Entries (rows, D) of the action in force one tick after each tick, none in between."""
        reached_ns = self.rows_ns[: len(rows)] + self.rows_ns[1]
        last = latest_at(reached_ns, self.times_ns + period_ns + SLACK_NS)
        return np.asarray(rows[np.maximum(last, 0)])

    def shown(self) -> NDArray[np.int64]:
        """Row of the image at each tick."""
        return latest_at(self.rows_ns, self.times_ns + SLACK_NS)

    def ages(self) -> NDArray[np.float32]:
        """Age of the row shown at each tick, of two the older [s]."""
        age_ns = np.maximum(self.times_ns - self.rows_ns[self.shown()], 0)
        ages: NDArray[np.float32] = (age_ns / NANOSECONDS).astype(np.float32)
        return ages


def make_ticks(rows: int, rate: float, tick_rate: float, *, own_actions: bool) -> Ticks:
    """Ticks at which the state is known, and the action one tick later.

    Args:
        rows: Of the episode.
        rate: Rows per second [Hz].
        tick_rate: Of the cell [Hz].
        own_actions: The last row has an action, which reaches one row further.
    """
    if not rate > 0:
        raise EpisodeError(f"rate is {rate:g} rows per second; need above 0")
    rows_ns = np.round(np.arange(rows) * (NANOSECONDS / rate)).astype(np.int64)
    period_ns = tick_period_ns(tick_rate)
    last_ns = int(rows_ns[-1])
    known_ns = last_ns + (int(rows_ns[1]) if own_actions else 0)
    end_ns = min(last_ns, known_ns - period_ns) + SLACK_NS
    times_ns = tick_grid(0, end_ns, period_ns)
    if not len(times_ns):
        raise EpisodeError(f"{rows} rows at {rate:g} Hz are too short for a tick: remove it")
    return Ticks(times_ns=times_ns, rows_ns=rows_ns)


def _interpolate(
    at_ns: NDArray[np.int64], values: NDArray[np.float64], ticks_ns: NDArray[np.int64]
) -> NDArray[np.float64]:
    columns = [np.interp(ticks_ns, at_ns, values[:, i]) for i in range(values.shape[1])]
    return np.stack(columns, axis=1)
