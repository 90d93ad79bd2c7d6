"""Whether two sets are alike: how far apart each column's distributions are, and by chance.

The distance is that of Wasserstein, the mean way that values must be moved, in the column's unit.
Ticks of one episode depend on each other, so chance is judged by whole episodes: they are dealt
anew to two sets of the same sizes, a thousand times, and the largest distance of all columns is
noted (Westfall and Young 1993). Few episodes can be dealt in few ways and never raise an alarm.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from ate_core.errors import EpisodeError
from training.data.summaries import Column, Summary
from training.episodes.spread import Array, grid_of, shares_below, weights_of

CHANCE = 0.01
"""Largest probability that any column of two alike sets raises an alarm."""
DEALS = 999
"""How often the episodes are dealt anew."""
BOUNDS = {"rad": 0.05, "ratio": 0.05, "N": 1.0, "N m": 0.1, "m": 0.01, "1": 0.05, "grey": 5.0}
"""Unit -> distance below which a difference does not matter, however certain it is."""
Verdict = Literal["alike", "drift", "cannot tell"]


@dataclass(frozen=True, kw_only=True)
class ColumnDrift:
    """One column of two sets."""

    name: str
    """Kind and name, for instance ``state left_arm_1``."""
    unit: str
    """Of the distance."""
    distance: float
    """Mean way from one distribution to the other."""
    shift: float
    """Mean of the second set minus that of the first."""
    chance: float
    """Probability of such a distance in any column if the sets were alike."""
    bound: float
    """Distance below which it does not matter."""

    @property
    def drifted(self) -> bool:
        """Whether it is beyond chance, and large enough to matter."""
        return self.chance <= CHANCE and self.distance > self.bound


@dataclass(frozen=True, kw_only=True)
class Drift:
    """Two sets compared."""

    first: int
    """Episodes of the first."""
    second: int
    """Episodes of the second."""
    columns: tuple[ColumnDrift, ...]
    """Every column that both have, those that drifted most first."""
    only_one: tuple[str, ...] = ()
    """Columns that only one of them has, or that not all its episodes have."""
    unlike_layouts: bool = False
    """Whether they were recorded with unlike layouts: equal names may mean other joints."""

    @property
    def verdict(self) -> Verdict:
        """Drift, or none, or too few episodes to say so."""
        if least_chance(self.first, self.second) > CHANCE:
            return "cannot tell"
        return "drift" if any(one.drifted for one in self.columns) else "alike"


def compare_sets(first: Sequence[Summary], second: Sequence[Summary], *, seed: int = 0) -> Drift:
    """Compare two sets column by column.

    Args:
        first: Episodes of one set.
        second: Episodes of the other one.
        seed: Of the dealing.

    Raises:
        EpisodeError: one is empty, or they have no column in common.
    """
    if not first or not second:
        raise EpisodeError("a set without successful episodes cannot be compared: record some")
    both = [*first, *second]
    names = [name for name in both[0].columns if all(name in one.columns for one in both)]
    if not names:
        raise EpisodeError("the two sets have no column in common: they are of other robots")
    every = dict.fromkeys(name for one in both for name in one.columns)
    labels = _deals(len(first), len(both), seed)
    distances = np.array([_distances([s.columns[name] for s in both], labels) for name in names])
    chances = _chances(distances)
    found = [
        _column(name, [s.columns[name] for s in both], len(first), float(row[0]), float(chance))
        for name, row, chance in zip(names, distances, chances, strict=True)
    ]
    found.sort(key=lambda one: (not one.drifted, -one.distance / one.bound))
    return Drift(
        first=len(first),
        second=len(second),
        columns=tuple(found),
        only_one=tuple(name for name in every if name not in names),
        unlike_layouts=len({one.facts.get("layout_sha256") for one in both}) > 1,
    )


def least_chance(first: int, second: int) -> float:
    """Return the smallest probability that two sets of these sizes can give at all."""
    mirrored = 2 if first == second else 1
    return mirrored / math.comb(first + second, first)


def _deals(first: int, total: int, seed: int) -> NDArray[np.bool_]:
    """Who is in the first set, shape (R, E): as it is, then dealt in all ways, or in `DEALS`."""
    if math.comb(total, first) <= DEALS:
        chosen = np.array(list(itertools.combinations(range(total), first)))
        every = np.zeros((len(chosen), total), dtype=bool)
        np.put_along_axis(every, chosen, True, axis=1)
        return every
    labels = np.zeros((1 + DEALS, total), dtype=bool)
    labels[:, :first] = True
    labels[1:] = np.random.default_rng(seed).permuted(labels[1:], axis=1)
    return labels


def _distances(columns: Sequence[Column], labels: NDArray[np.bool_]) -> Array:
    """Wasserstein distance of one column for every deal, shape (R,)."""
    grid, weights = grid_of(columns), weights_of(columns)
    shares = shares_below(columns, grid)
    members = labels * weights
    others = ~labels * weights
    first = members @ shares / members.sum(axis=1, keepdims=True)
    second = others @ shares / others.sum(axis=1, keepdims=True)
    apart = np.abs(first - second)
    distances: Array = (apart[:, 1:] + apart[:, :-1]) @ np.diff(grid) / 2.0
    return distances


def _chances(distances: Array) -> Array:
    """How often chance gives, in any column, what each column shows; shape (C,)."""
    usual = distances.mean(axis=1, keepdims=True)
    ratio = np.divide(distances, usual, out=np.zeros_like(distances), where=usual > 1e-12)
    largest = ratio.max(axis=0)  # the sets as they are count among the deals
    chances: Array = (largest[None, :] >= ratio[:, :1] * (1.0 - 1e-9)).mean(axis=1)
    return chances


def _column(
    name: str, columns: Sequence[Column], first: int, distance: float, chance: float
) -> ColumnDrift:
    weights = weights_of(columns)
    means = np.array([column.moments.mean for column in columns])
    one, two = (
        float(np.average(means[part], weights=weights[part]))
        for part in (slice(None, first), slice(first, None))
    )
    unit = columns[0].unit
    return ColumnDrift(
        name=name,
        unit=unit,
        distance=distance,
        shift=two - one,
        chance=chance,
        bound=BOUNDS[unit],
    )


def table(drift: Drift, names: Mapping[str, str], *, most: int = 12) -> str:
    """The comparison for people.

    Args:
        drift: Two sets, compared.
        names: ``first`` and ``second`` -> what to call them.
        most: Columns that are shown where none drifted.
    """
    lines = [
        f"{names['first']}: {drift.first} episodes; {names['second']}: {drift.second} episodes"
    ]
    drifted = [one for one in drift.columns if one.drifted]
    shown = [*drifted, *[one for one in drift.columns if not one.drifted][:most]]
    lines.append(f"{'column':34} {'distance':>12} {'shift':>9} {'bound':>7} {'chance':>7}")
    for one in shown:
        mark = "  DRIFT" if one.drifted and drift.verdict != "cannot tell" else ""
        lines.append(
            f"{one.name:34} {one.distance:8.3f} {one.unit:5}{one.shift:+8.3f} {one.bound:7.3g} "
            f"{one.chance:7.3f}{mark}"
        )
    if drift.only_one:
        lines.append(f"not compared, not in all episodes: {', '.join(drift.only_one)}")
    if drift.unlike_layouts:
        lines.append("the layouts differ: another robot, or other units; equal names may mislead")
    return "\n".join([*lines, _sentence(drift, len(drifted))])


def _sentence(drift: Drift, drifted: int) -> str:
    if drift.verdict == "cannot tell":
        least = least_chance(drift.first, drift.second)
        return (
            f"cannot tell: {drift.first} and {drift.second} episodes are too few (the least "
            f"chance they can show is {least:.2g}, needed {CHANCE}); 5 and 5 are enough"
        )
    if drift.verdict == "drift":
        return f"drift in {drifted} of {len(drift.columns)} columns"
    return f"alike in all {len(drift.columns)} columns"
