"""Which episodes are exported together: those of one outcome, and of one cell."""

import functools
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol, TypeVar

from ate_core.contract import Cell
from ate_core.errors import AteError, EpisodeError
from ate_core.trained_for import mixed
from training.data.episode_file import list_episodes, read_episode, read_outcome_of
from training.export.copies import make_copies
from training.export.report import FAILURES, ExportReport, one_line
from training.tasks.choose import WorkConfig


class Look(Protocol):
    """What decides whether an episode can stand beside others."""

    @property
    def path(self) -> Path:
        """Of the episode."""

    @property
    def cell(self) -> Cell:
        """Where it was recorded."""

    @property
    def cameras(self) -> tuple[str, ...]:
        """Keys of its pictures that are exported."""


Looked = TypeVar("Looked", bound=Look)


@dataclass(frozen=True, kw_only=True)
class _Look:
    path: Path
    cell: Cell
    cameras: tuple[str, ...]


def of_outcome(folder: Path, outcome: str, reports: list[ExportReport]) -> list[Path]:
    """The episodes of a folder that ended so, by the label that they were given last.

    Args:
        folder: Of HDF5 episodes.
        outcome: Label of those that are copied; empty: all.
        reports: Completed by the others.
    """
    chosen = []
    for path in list_episodes(folder):
        try:
            label = read_outcome_of(path)
        except FAILURES as error:
            reports.append(ExportReport(name=path.stem, result="rejected", note=one_line(error)))
            continue
        if outcome and label != outcome:
            note = f"its outcome is {label}, wanted is {outcome}"
            reports.append(ExportReport(name=path.stem, result="left out", note=note))
        else:
            chosen.append(path)
    return chosen


def beside(cell: Cell, first: Cell, cameras: Iterable[str], name: str) -> str:
    """What is odd about an episode beside the first one, for the table; empty: nothing.

    Args:
        cell: Of the episode, of the layout of the first.
        first: Cell of the first one.
        cameras: Keys of the pictures that are exported of both.
        name: Of the first one.

    Raises:
        EpisodeError: one network must not learn both, as `ate finetune` says, too.
    """
    if cell == first:
        return ""
    found = mixed(first, cell, tuple(cameras), name)
    if failed := [finding.text for finding in found if finding.status == "fail"]:
        raise EpisodeError("; ".join(failed))
    return "; ".join(finding.text for finding in found)


def of_one_cell(looks: Sequence[Looked], reports: list[ExportReport]) -> list[tuple[Looked, str]]:
    """Those that fit the first one, and what is odd about each: no copy says its rate or cell.

    Args:
        looks: In the order of their files.
        reports: Completed by the others.
    """
    alike = []
    for look in looks:
        first = looks[0]
        cameras = [key for key in look.cameras if key in first.cameras]
        try:
            first.cell.layout.require(look.cell.layout, "it")
            note = beside(look.cell, first.cell, cameras, first.path.stem)
        except AteError as error:
            reports.append(
                ExportReport(name=look.path.stem, result="rejected", note=one_line(error))
            )
        else:
            alike.append((look, note))
    return alike


def demonstrations(
    folder: Path,
    outcome: str,
    cameras: Iterable[str],
    work: WorkConfig,
    reports: list[ExportReport],
) -> dict[Path, str]:
    """The episodes of one outcome and one cell, with what is odd about each.

    Args:
        folder: Of HDF5 episodes.
        outcome: Label of those that are copied; empty: all.
        cameras: Keys of the pictures that are copied.
        work: Where, and how many at the same time.
        reports: Completed by the others.
    """
    look_at = functools.partial(_look, cameras=tuple(cameras))
    looks = make_copies(of_outcome(folder, outcome, reports), look_at, work, reports)
    return {look.path: note for look, note in of_one_cell(looks, reports)}


def _look(path: Path, cameras: tuple[str, ...]) -> _Look:
    episode = read_episode(path)
    return _Look(
        path=path,
        cell=episode.cell,
        cameras=tuple(key for key in cameras if key in episode.images),
    )
