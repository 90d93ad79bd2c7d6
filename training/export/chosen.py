"""Which episodes are copied for a published loader: those of one outcome, and of one layout."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol, TypeVar

from ate_core.errors import AteError
from ate_core.layout import Layout
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
    def layout(self) -> Layout:
        """Of its vectors and ticks."""


Looked = TypeVar("Looked", bound=Look)


@dataclass(frozen=True, kw_only=True)
class _Look:
    path: Path
    layout: Layout


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


def of_one_layout(looks: Sequence[Looked], reports: list[ExportReport]) -> list[Looked]:
    """Those with the layout of the first one: no copy says its rate or order of joints.

    Args:
        looks: In the order of their files.
        reports: Completed by the others.
    """
    alike = []
    for look in looks:
        try:
            looks[0].layout.require(look.layout, "it")
        except AteError as error:
            reports.append(
                ExportReport(name=look.path.stem, result="rejected", note=one_line(error))
            )
        else:
            alike.append(look)
    return alike


def demonstrations(
    folder: Path, outcome: str, work: WorkConfig, reports: list[ExportReport]
) -> list[Path]:
    """The episodes of one outcome and one layout; arguments as above."""
    looks = make_copies(of_outcome(folder, outcome, reports), _look, work, reports)
    return [look.path for look in of_one_layout(looks, reports)]


def _look(path: Path) -> _Look:
    return _Look(path=path, layout=read_episode(path).cell.layout)
