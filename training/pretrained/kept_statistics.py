"""Whose statistics a run that starts from a checkpoint normalises with: its own data's or those.

Few demonstrations move less than the many that the weights learned from: normalised with their own
statistics, the same motion would mean other numbers to the network than it learned.
"""

import dataclasses
from collections.abc import Callable

from ate_core.contract import Cell, parse_cell_text
from ate_core.errors import UsageError
from ate_core.layout import Layout
from ate_core.trained_for import misfits
from ate_policy.checkpoint import Checkpoint
from ate_policy.models.registry import entry_of
from ate_policy.transforms import OBJECT_FEATURES, Statistics, VectorStatistics
from training.configs.finetune import FinetuneConfig, StatisticsSource
from training.data.dataset import Demonstrations
from training.data.statistics import quantile_statistics
from training.objectives.guidance import ComparesWithInitial
from training.pretrained.start import Start, read_start

FEW = 50
"""Demonstrations below which the statistics of the start are usually kept: the paper fine-tunes on
50 to 100, whose own statistics are as good."""

REACH = 10.0
"""Largest value that the demonstrations may reach in units of the start's statistics for these to
be kept unasked: a joint that rested in pre-training would be amplified without bound [std]."""

SHIFTED, STRETCHED = 1.0, 2.0
"""Statistics differ much where the means lie more than so many deviations apart, or one deviation
is more than so many times the other."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Entry:
    """One number that is read or written, in the statistics of the start and of the data."""

    name: str
    """Which one."""
    kept: tuple[float, float]
    """Mean and deviation that the weights learned with."""
    own: tuple[float, float]
    """Mean and deviation of the demonstrations."""
    reach: float
    """How far the demonstrations lie from the kept mean, in kept deviations."""

    @property
    def differs(self) -> bool:
        """Whether the two differ much."""
        (mean, std), (own_mean, own_std) = self.kept, self.own
        ratio = max(std / own_std, own_std / std)
        return abs(mean - own_mean) > SHIFTED * max(std, own_std) or ratio > STRETCHED


def choose_statistics(
    config: FinetuneConfig, data: Demonstrations, tell: Callable[[str], object] = print
) -> tuple[StatisticsSource, Statistics]:
    """Whose statistics a run that begins uses, and these.

    Args:
        config: With everything inherited, see `training.pretrained.start.inherit`.
        data: The demonstrations.
        tell: Is given what was chosen, and why.

    Raises:
        UsageError: those of the start were asked for, and there are none that fit.
    """
    own = data.statistics(config.space, normalise=config.normalise)
    start = None if config.init is None else read_start(config.init, config.policy)
    if config.normalise and _reads_quantiles(config, start):
        own = quantile_statistics(own)
    if start is None:
        _refuse(config, "nothing is started from")
        return "data", own
    if not config.normalise or start.statistics is None:
        _refuse(config, f"{start.folder} holds none of what its weights learned")
        if config.normalise:
            _tell_anchored(config, start, tell)
        return "data", own
    cell, theirs = parse_cell_text(data.contract), start.layout
    layout = cell.layout
    if (theirs.state.names, theirs.action.names) != (layout.state.names, layout.action.names):
        _refuse(config, f"{start.folder} has those of another layout")
        _tell_anchored(config, start, tell)
        return "data", own
    objects = compare_objects(start.statistics.environment, own.environment)
    kept = _with_objects(start.statistics, own, objects)
    if start.trunk_only:  # a trunk reads observations only
        kept = dataclasses.replace(kept, action=own.action, relative=own.relative)
    entries = compare(kept, own, layout)
    doubts = [*_far(entries, start), *(f"  {line}" for line in impossible(kept, cell))]
    is_usual = (data.episodes < FEW or _is_anchored(config)) and not doubts
    source = config.statistics or ("init" if is_usual else "data")
    tell(_account(start, source, data.episodes, doubts, [*entries, *objects]))
    if source == "init" and (moved := [entry.name for entry in objects if entry.reach > REACH]):
        tell(f"  those of the episodes for what moved less before: {', '.join(moved)}")
    if source == "data":
        _tell_anchored(config, start, tell)
    return source, kept if source == "init" else own


def statistics_of(stored: Checkpoint) -> tuple[StatisticsSource, Statistics]:
    """Whose statistics the weights of a run's checkpoint know, and these.

    Args:
        stored: One of before the choice has those of its data.
    """
    return "init" if stored.training.get("statistics") == "init" else "data", stored.statistics


def compare(kept: Statistics, own: Statistics, layout: Layout) -> list[Entry]:
    """Entry by entry, state before action.

    Args:
        kept: That the weights learned with.
        own: Of the demonstrations.
        layout: Names of the entries.
    """
    states = [f"state {name}" for name in layout.state.names]
    actions = [f"action {name}" for name in layout.action.names]
    return [
        *_entries(states, kept.state, own.state),
        *_entries(actions, kept.action, own.action),
    ]


def compare_objects(kept: VectorStatistics | None, own: VectorStatistics | None) -> list[Entry]:
    """The same of object features; none where the start read other objects, or none."""
    if kept is None or own is None or kept.size != own.size:
        return []
    objects = range(own.size // len(OBJECT_FEATURES))
    names = [f"object {place} {name}" for place in objects for name in OBJECT_FEATURES]
    return _entries(names, kept, own)


def _entries(names: list[str], kept: VectorStatistics, own: VectorStatistics) -> list[Entry]:
    return [
        Entry(
            name=name,
            kept=(mean, std),
            own=(own.mean[index], own.std[index]),
            reach=max(abs(end - mean) for end in (own.q01[index], own.q99[index])) / std,
        )
        for index, (name, mean, std) in enumerate(zip(names, kept.mean, kept.std, strict=True))
    ]


def _with_objects(kept: Statistics, own: Statistics, objects: list[Entry]) -> Statistics:
    """Statistics of the start; of objects that it did not read, those of the data.

    So are those of a coordinate that goes far beyond where it was in pre-training: of a task in
    which the object stood still or was missing.
    """
    theirs, ours = kept.environment, own.environment
    if not objects or theirs is None or ours is None:
        return dataclasses.replace(kept, environment=ours)
    merged = {
        key: tuple(
            one if entry.reach > REACH else other
            for entry, one, other in zip(
                objects, getattr(ours, key), getattr(theirs, key), strict=True
            )
        )
        for key in ("mean", "std", "q01", "q99")
    }
    return dataclasses.replace(kept, environment=VectorStatistics(**merged))


def impossible(kept: Statistics, cell: Cell) -> list[str]:
    """What of statistics the vectors of a cell cannot have, a sentence each.

    Args:
        kept: That weights learned with.
        cell: Whose vectors they shall be.
    """
    norms = {
        name: {key: list(getattr(vector, key)) for key in ("q01", "q99")}
        for name, vector in (("state", kept.state), ("actions", kept.action))
    }
    return [finding.text for finding in misfits(norms, kept.relative, cell)]


def _reads_quantiles(config: FinetuneConfig, start: Start | None) -> bool:
    """Whether the weights read the 1 % and 99 % quantiles at -1 and 1: as learned, or as usual."""
    usual: bool = entry_of(config.policy)[1].config.by_quantiles
    learned = None if start is None or start.trunk_only else start.by_quantiles
    return usual if learned is None else learned


def _is_anchored(config: FinetuneConfig) -> bool:
    """Whether the loss compares with what the weights predicted before, in their own numbers."""
    guidance = config.guidance
    return isinstance(guidance, ComparesWithInitial) and guidance.strength > 0.0


def _tell_anchored(config: FinetuneConfig, start: Start, tell: Callable[[str], object]) -> None:
    """Tell where an anchor reads the initial weights with others than their statistics."""
    if _is_anchored(config):
        tell(
            f"  the anchor holds to what the weights of {start.folder} make of numbers that were "
            "normalised otherwise: other motions than theirs"
        )


def _far(entries: list[Entry], start: Start) -> list[str]:
    """The entry that goes furthest beyond the kept statistics, if it goes too far."""
    far = max(entries, key=lambda entry: entry.reach)
    if far.reach <= REACH:
        return []
    return [
        f"  {far.name} reaches {far.reach:.0f} deviations of {start.folder}, more than "
        f"{REACH:.0f}: is it in the same units?"
    ]


def _refuse(config: FinetuneConfig, why: str) -> None:
    if config.statistics == "init":
        raise UsageError(f"statistics is init, but {why}: leave --statistics out")


def _account(
    start: Start,
    source: StatisticsSource,
    episodes: int,
    doubts: list[str],
    entries: list[Entry],
) -> str:
    """What was chosen and why, and a table of what differs much."""
    chosen = f"those of {start.folder}" if source == "init" else "those of the episodes"
    other: StatisticsSource = "data" if source == "init" else "init"
    lines = [f"statistics: {chosen} ({episodes} episodes; --statistics {other} for the others)"]
    lines += doubts
    differing = [entry for entry in entries if entry.differs]
    if differing:
        lines.append(f"  {len(differing)} of {len(entries)} entries differ much (mean +- std):")
        lines.append(f"  {'':24} {'start':>19} {'episodes':>19}")
        lines += [
            f"  {entry.name:24} {entry.kept[0]:9.3f} +-{entry.kept[1]:8.3f} "
            f"{entry.own[0]:9.3f} +-{entry.own[1]:8.3f}"
            for entry in differing
        ]
    return "\n".join(lines)
