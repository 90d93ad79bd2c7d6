"""Plant one defect at a time in clean episodes, and count which the audit finds.

    python -m benchmarks.audit_defects --episodes 5                # simulated, without nodes
    python -m benchmarks.audit_defects --bags runs/bags            # in recorded ones

Each defect is planted in a copy of every clean episode, at a place drawn from the seed. It is
found when its own rule speaks, and told as unseen when that rule says that it cannot tell; what
other rules say besides is counted too. Rules that speak of a clean episode are false alarms.
Intervals are Wilson's, 95 %.
"""

import dataclasses
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import tyro
from rich.console import Console
from rich.table import Table

from benchmarks.clean_episodes import EpisodeMaker
from benchmarks.planted_defects import DEFECTS, plant_and_judge
from training.audit.command import find_episodes
from training.audit.judge import audit_episode
from training.data.bag_reader import BagEpisode


@dataclass(frozen=True, kw_only=True)
class DefectsConfig:
    """Plant defects in clean episodes and count what the audit finds."""

    episodes: int = 5
    """Simulated episodes, of the tasks in turn."""
    tasks: tuple[str, ...] = ("pick_place", "handover", "pick_bun", "cook_bun", "use_toaster")
    """Tasks of the simulated episodes."""
    seed: int = 0
    """Seed of the first episode and of all places."""
    bags: Path | None = None
    """Folder of recorded clean episodes to plant in instead."""
    only: tuple[str, ...] = ()
    """Defects to plant; all when none is named."""


def clean_episodes(config: DefectsConfig) -> Iterator[tuple[str, BagEpisode]]:
    """Yield the clean episodes by name, without what cannot be planted in."""
    if config.bags is not None:
        for name, read in find_episodes(config.bags).items():
            # Who signed a command is of no rule, and would have to be moved with it.
            yield name, dataclasses.replace(read(), commanders={})
        return
    makers = [EpisodeMaker(task) for task in config.tasks]
    for number in range(config.episodes):
        maker = makers[number % len(makers)]
        seed = config.seed + number
        yield f"{maker.name} {seed}", maker.make(seed)


def wilson(found: int, count: int) -> tuple[float, float]:
    """Return the 95 % interval of a share, by Wilson's score."""
    if not count:
        return 0.0, 1.0
    z, share = 1.96, found / count
    middle = (share + z**2 / (2 * count)) / (1 + z**2 / count)
    half = z / (1 + z**2 / count) * np.sqrt(share * (1 - share) / count + z**2 / (4 * count**2))
    return max(0.0, middle - half), min(1.0, middle + half)


def main(config: DefectsConfig) -> int:
    """Print what was found and what was a false alarm; 1 when a defect was passed as sound."""
    found: Counter[str] = Counter()
    unseen: Counter[str] = Counter()
    besides: dict[str, Counter[str]] = {name: Counter() for name in DEFECTS}
    alarms: list[str] = []
    defects = config.only or tuple(DEFECTS)
    count = 0
    for name, episode in clean_episodes(config):
        count += 1
        clean = set(audit_episode(name, episode).failed)
        alarms += [f"{name}: {rule}" for rule in sorted(clean)]
        for number, defect in enumerate(defects):
            rng = np.random.default_rng((config.seed, count, number))
            said = plant_and_judge(episode, defect, rng)
            rule = DEFECTS[defect][0]
            found[defect] += rule in said.failed
            unseen[defect] += said.verdicts[rule] == "cannot tell"
            besides[defect].update(set(said.failed) - clean - {rule})
    table = Table("defect", "rule", "found", "interval", "cannot tell", "missed", "besides")
    for defect in defects:
        also = ", ".join(f"{rule} {times}" for rule, times in besides[defect].most_common())
        low, high = wilson(found[defect], count)
        missed = count - found[defect] - unseen[defect]
        row = [f"{found[defect]} of {count}", f"{low:.0%} to {high:.0%}", str(unseen[defect])]
        table.add_row(defect, DEFECTS[defect][0], *row, str(missed), also)
    console = Console(width=150)
    console.print(table)
    planted = count * len(defects)
    console.print(
        f"{found.total()} of {planted} planted defects found, of {unseen.total()} its rule cannot "
        "tell"
    )
    console.print(f"{len(alarms)} false alarms in {count} clean episodes {alarms or ''}")
    return 0 if found.total() + unseen.total() == planted else 1


if __name__ == "__main__":
    raise SystemExit(main(tyro.cli(DefectsConfig)))
