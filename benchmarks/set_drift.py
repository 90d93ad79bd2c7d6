"""Count what `ate episodes drift` finds of planted shifts, and how often it alarms without any.

    python -m benchmarks.set_drift
    python -m benchmarks.set_drift --pairs 200

Two sets of synthetic episodes: sixteen joints, two forces, three cameras. Each episode lies
somewhere else (its own start and object), as demonstrations do; its ticks lie around that. Beside
our test by whole episodes stands the usual one that takes every tick for an observation
(Kolmogorov and Smirnov, Bonferroni over the columns).
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import tyro
from numpy.typing import NDArray

from training.data.moments import moments_of
from training.data.summaries import LEVELS, Column, Summary
from training.episodes.drift import CHANCE, compare_sets

TICKS = 150
"""Of an episode."""
COLUMNS = {
    **{f"state joint_{index}": ("rad", 0.15, 0.2) for index in range(16)},
    **{f"force {side}": ("N", 1.5, 1.5) for side in ("left", "right")},
    **{f"brightness cam_{index}": ("grey", 4.0, 2.0) for index in range(3)},
}
"""Name -> unit, spread between episodes, spread within one."""
SHIFTS = {
    "none": None,
    "joint by 0.2 rad": ("state joint_3", 0.2),
    "joint by 0.4 rad": ("state joint_3", 0.4),
    "force by 4 N": ("force left", 4.0),
    "light by 15 grey": ("brightness cam_0", 15.0),
}
"""What is planted in the second set."""

Set = list[dict[str, NDArray[np.float32]]]


@dataclass(frozen=True, kw_only=True)
class Options:
    """Count alarms."""

    pairs: int = 60
    """Pairs of sets for each shift and size."""
    sizes: tuple[int, ...] = (4, 6, 10, 20, 50)
    """Episodes of each set."""


def main(options: Options) -> int:
    """Print a table; 1 where more alarms are false than are allowed."""
    print(
        f"{'planted':18} {'episodes':>8} {'alarms':>8} {'right column':>13} {'tick by tick':>13}"
    )
    false = judged = 0
    for planted, shift in SHIFTS.items():
        for size in options.sizes:
            alarms = right = naive = 0
            for pair in range(options.pairs):
                rng = np.random.default_rng([size, pair])
                first, second = make_set(size, rng), make_set(size, rng, shift)
                found = compare_sets(summaries(first), summaries(second), seed=pair)
                alarms += found.verdict == "drift"
                right += (
                    shift is not None
                    and any(one.drifted and one.name == shift[0] for one in found.columns)
                    and found.verdict == "drift"
                )
                naive += tick_by_tick(first, second)
            share = [f"{count}/{options.pairs}" for count in (alarms, right, naive)]
            share[1] = share[1] if shift else "-"
            print(f"{planted:18} {size:8} {share[0]:>8} {share[1]:>13} {share[2]:>13}")
            if shift is None:
                false, judged = false + alarms, judged + options.pairs
    print(f"false alarms: {false} of {judged}, allowed {CHANCE:.0%}")
    return int(false > judged * CHANCE + 3.0 * math.sqrt(judged * CHANCE))


def make_set(size: int, rng: np.random.Generator, shift: tuple[str, float] | None = None) -> Set:
    """Values of each column of some episodes."""
    made: Set = []
    for _ in range(size):
        episode = {}
        for name, (_, between, within) in COLUMNS.items():
            centre = rng.normal(0.0, between)
            if shift is not None and shift[0] == name:
                centre += shift[1]
            episode[name] = (centre + rng.normal(0.0, within, TICKS)).astype(np.float32)
        made.append(episode)
    return made


def summaries(episodes: Set) -> list[Summary]:
    """What is kept of such episodes."""
    return [
        Summary(
            size=0,
            mtime_ns=0,
            sha256="",
            file_sha256="",
            facts={},
            columns={
                name: Column(
                    unit=COLUMNS[name][0],
                    moments=moments_of(values[:, None])[0],
                    quantiles=tuple(np.quantile(values, LEVELS).tolist()),
                )
                for name, values in episode.items()
            },
        )
        for episode in episodes
    ]


def tick_by_tick(first: Set, second: Set) -> bool:
    """Whether a test that takes each tick for an observation sees drift in any column."""
    from scipy.stats import ks_2samp

    return any(
        ks_2samp(
            np.concatenate([one[name] for one in first]),
            np.concatenate([one[name] for one in second]),
        ).pvalue
        < CHANCE / len(COLUMNS)
        for name in COLUMNS
    )


if __name__ == "__main__":
    raise SystemExit(main(tyro.cli(Options)))
