"""``ate import``: recordings of other robots to HDF5 episodes, by a mapping of their columns.

An episode that is damaged or not what the mapping says is rejected with its reason and the others
go on; the exit code is then 1. The same recordings and mapping give the same bytes, and what is
up to date is not made twice.
"""

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from rich.console import Console
from rich.progress import track
from rich.table import Table

from ate_core.contract import load_cell
from ate_core.errors import AteError
from training.configs.output_folder import make_folder
from training.foreign.importer import Importer, make_importer
from training.foreign.mapping import read_mapping

SHOWN = 3
"""Episodes named of those that were rejected for one kind of reason."""


@dataclass(frozen=True, kw_only=True)
class ImportConfig:
    """Import recordings of other robots as HDF5 episodes.

    LeRobot v2.1 and v3.0 with their videos, and HDF5 files of ALOHA, ACT, RoboTwin and RDT.
    `ate mapping` proposes the mapping file; check signs, units and grippers before you use it.
    """

    recordings: Path
    """Folder of the data set, or of HDF5 files."""
    mapping: Path
    """YAML file that says whose columns are which."""
    output: Path
    """Folder for the episode_NNNNNN.hdf5 files."""
    cell: Path | None = None
    """Cell whose layout the motion is brought into; None: the packaged one."""
    overwrite: bool = False
    """Import again what is already there and up to date."""


@dataclass(frozen=True, kw_only=True)
class ImportReport:
    """What became of one recorded episode."""

    name: str
    """Of the episode there."""
    file: str
    """Of the episode here."""
    result: Literal["imported", "up to date", "rejected"]
    """What was done."""
    reason: str = ""
    """Why it was rejected."""
    seconds: float = 0.0
    """Duration on ticks [s]."""


def import_recordings(config: ImportConfig) -> int:
    """Import every episode, print a table, and return 1 when any was rejected."""
    mapping = read_mapping(config.mapping)
    importer = make_importer(config.recordings.resolve(), mapping, load_cell(config.cell))
    make_folder(config.output)
    console = Console()
    names = importer.recordings.names()
    reports = [
        import_episode(importer, index, config)
        for index in track(range(len(names)), "importing", console=console, transient=True)
    ]
    _print_table(console, reports)
    return 1 if any(report.result == "rejected" for report in reports) else 0


def import_episode(importer: Importer, index: int, config: ImportConfig) -> ImportReport:
    """Import one episode; one that is not sound is reported, not raised."""
    name = importer.recordings.names()[index]
    path = config.output / f"episode_{index:06d}.hdf5"
    try:
        episode = importer.write(index, path, overwrite=config.overwrite)
    except AteError as error:
        return ImportReport(name=name, file=path.name, result="rejected", reason=str(error))
    except Exception as error:  # foreign files break in ways nobody listed; the rest goes on
        reason = f"{type(error).__name__}: {' '.join(str(error).split())}"
        return ImportReport(name=name, file=path.name, result="rejected", reason=reason)
    if episode is None:
        return ImportReport(name=name, file=path.name, result="up to date")
    seconds = len(episode) / episode.cell.tick_rate
    return ImportReport(name=name, file=path.name, result="imported", seconds=seconds)


def _print_table(console: Console, reports: list[ImportReport]) -> None:
    """What was rejected, one row per kind of reason, and how many of each result there are."""
    alike: dict[str, list[ImportReport]] = {}
    for report in reports:
        if report.result == "rejected":
            alike.setdefault(re.sub(r"\d+(\.\d+)?", "#", report.reason), []).append(report)
    if alike:
        table = Table("rejected")
        table.add_column("reason", overflow="fold")
        for same in alike.values():
            more = f" and {len(same) - SHOWN} more" if len(same) > SHOWN else ""
            names = ", ".join(report.name for report in same[:SHOWN])
            table.add_row(f"{names}{more}", same[0].reason)
        console.print(table)
    counts = {
        result: sum(report.result == result for report in reports)
        for result in ("imported", "up to date", "rejected")
    }
    seconds = sum(report.seconds for report in reports)
    console.print(
        ", ".join(f"{count} {result}" for result, count in counts.items()) + f" ({seconds:.1f} s)"
    )
