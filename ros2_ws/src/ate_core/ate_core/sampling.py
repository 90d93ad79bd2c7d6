"""Which sample stands for a stream at a tick, by rule.

- ``hold``: the last one at or before the tick. Live and recorded data know no other by default.
- ``nearest``: the nearest in time, earlier or later.
- ``interpolate``: a straight line between the two neighbours; the last one after the end.
- ``refuse``: as ``hold``, but one sample that is missing for sure refuses the episode.

Only a recording can look past a tick: what was chosen other than ``hold`` is stored with the data.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ate_core.resample import NANOSECONDS, Series, latest_at, sample

Rule = Literal["hold", "nearest", "interpolate", "refuse"]
ImageRule = Literal["hold", "nearest", "refuse"]

GAP_PERIODS = 2.5
"""Age in nominal periods at which a sample is missing for sure: one that is merely late by a
period is not."""
FIELDS = {"joints": "joints", "ratio": "grippers", "wrench": "wrench", "poses": "objects"}
"""Kind of stream -> rule that holds for it; images have their own."""


@dataclass(frozen=True, kw_only=True)
class SamplingRules:
    """The rule of each kind of measured stream; commands are always held: they are in force."""

    joints: Rule = "hold"
    """Positions and velocities of the arms."""
    grippers: Rule = "hold"
    """Openings of the grippers."""
    wrench: Rule = "hold"
    """Forces and torques."""
    objects: Rule = "hold"
    """Poses of the objects."""
    images: ImageRule = "hold"
    """Images of the cameras."""

    def of(self, kind: str) -> Rule:
        """Return the rule of a kind of stream."""
        if kind == "image":
            return self.images
        rule: Rule = getattr(self, FIELDS[kind]) if kind in FIELDS else "hold"
        return rule


HOLD = SamplingRules()
"""What the live path does."""


def index_at(stamps_ns: ArrayLike, ticks_ns: ArrayLike, rule: Rule) -> NDArray[np.int64]:
    """Return for every tick the sample used, of a pair the earlier; -1 where none is known yet."""
    stamps = np.asarray(stamps_ns, dtype=np.int64)
    ticks = np.asarray(ticks_ns, dtype=np.int64)
    index = latest_at(stamps, ticks)
    if rule != "nearest" or not len(stamps):
        return index
    earlier, later = np.maximum(index, 0), np.minimum(index + 1, len(stamps) - 1)
    is_later = np.abs(stamps[later] - ticks) < np.abs(ticks - stamps[earlier])
    return np.where(is_later, later, earlier)


def sample_by(series: Series, ticks_ns: ArrayLike, rule: Rule) -> NDArray[np.float64]:
    """Return the value at every tick by a rule, shape (T, ...); NaN where none is known yet."""
    if rule in ("hold", "refuse"):
        return sample(series, ticks_ns)
    index = index_at(series.stamps_ns, ticks_ns, rule)
    values = np.full((len(index), *series.values.shape[1:]), np.nan)
    known = index >= 0
    if rule == "nearest":
        values[known] = series.values[index[known]]
        return values
    ticks, earlier = np.asarray(ticks_ns, dtype=np.int64)[known], index[known]
    later = np.minimum(earlier + 1, len(series) - 1)
    span = np.maximum(series.stamps_ns[later] - series.stamps_ns[earlier], 1)
    share = np.clip((ticks - series.stamps_ns[earlier]) / span, 0.0, 1.0)
    share = share.reshape(-1, *[1] * (series.values.ndim - 1))
    start, end = series.values[earlier], series.values[later]
    values[known] = start + share * (end - start)
    return values


def sample_poses(series: Series, ticks_ns: ArrayLike, rule: Rule) -> NDArray[np.float64]:
    """Return poses x y z qx qy qz qw at every tick, shape (T, n, 7); turns stay turns."""
    if rule != "interpolate":
        return sample_by(series, ticks_ns, rule)
    # q and -q are one turn: a line between them must not pass through zero.
    turns = series.values[..., 3:]
    opposite = np.sum(turns[1:] * turns[:-1], axis=-1) < 0
    sign = np.cumprod(np.where(opposite, -1.0, 1.0), axis=0)
    aligned = series.values.copy()
    aligned[1:, ..., 3:] *= sign[..., None]
    values = sample_by(Series(stamps_ns=series.stamps_ns, values=aligned), ticks_ns, rule)
    values[..., 3:] /= np.linalg.norm(values[..., 3:], axis=-1, keepdims=True)
    return values


def sample_ages(stamps_ns: ArrayLike, ticks_ns: ArrayLike, rule: Rule) -> NDArray[np.float32]:
    """Return how old the sample used at each tick is [s], shape (T,).

    Below zero where a later one was nearest; NaN where there is none.
    """
    stamps = np.asarray(stamps_ns, dtype=np.int64)
    ticks = np.asarray(ticks_ns, dtype=np.int64)
    index = index_at(stamps, ticks, rule)
    ages = np.full(ticks.shape, np.nan, dtype=np.float32)
    known = index >= 0
    ages[known] = (ticks[known] - stamps[index[known]]) / NANOSECONDS
    return ages
