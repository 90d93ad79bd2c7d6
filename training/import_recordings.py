"""``ate import``: recordings of other robots to HDF5 episodes, by a mapping of their columns.

An episode that is damaged or not what the mapping says is rejected with its reason and the others
go on; the exit code is then 1. The same recordings and mapping give the same bytes, and what is
up to date is not made twice.
"""

import functools
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Annotated, Literal

import tyro
from rich.console import Console
from rich.progress import Progress
from rich.table import Table

from ate_core.contract import load_cell
from ate_core.errors import AteError
from training.configs.output_folder import make_folder
from training.data.disk_room import refusal, require_room
from training.foreign.importer import Importer, make_importer
from training.foreign.mapping import read_mapping
from training.reporting.terminal import terminal
from training.tasks.choose import WorkConfig
from training.tasks.engine import describe

SHOWN = 3
"""Episodes named of those that were rejected for one kind of reason."""


@dataclass(frozen=True, kw_only=True)
class ImportConfig:
    """Import recordings of other robots as HDF5 episodes.

    LeRobot v2.0, v2.1 and v3.0 with their videos, and HDF5 files of ALOHA, ACT, RoboTwin and RDT.
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
    work: Annotated[WorkConfig, tyro.conf.arg(name="")] = field(default_factory=WorkConfig)
    """Where, and how many at the same time."""
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
    """Import every episode, print what was rejected, and return 1 when any was."""
    mapping = read_mapping(config.mapping)
    importer = make_importer(config.recordings.resolve(), mapping, load_cell(config.cell))
    config = replace(config, output=config.output.resolve())  # workers may start elsewhere
    make_folder(config.output)
    indices = range(len(importer.recordings.names()))
    missing = [index for index in indices if not _file(config, index).exists()]
    require_room(config.output, importer.least_size(missing), "the pictures")
    console = terminal()
    reports: dict[int, ImportReport] = {}
    try:
        with Progress(console=console, transient=True) as progress:
            work = _run(importer, indices, config)
            for index, report in progress.track(work, len(indices), description="importing"):
                reports[index] = report
    finally:
        _print_table(console, [reports[index] for index in sorted(reports)])
    return 1 if any(report.result == "rejected" for report in reports.values()) else 0


def _file(config: ImportConfig, index: int) -> Path:
    return config.output / f"episode_{index:06d}.hdf5"


def _run(
    importer: Importer, indices: Sequence[int], config: ImportConfig
) -> Iterator[tuple[int, ImportReport]]:
    """Import episodes in processes; the death of one costs the episode it held."""
    work = functools.partial(import_episode, importer, config=config)
    for done in config.work.run(work, indices):
        name = importer.recordings.names()[done.item]
        failed = ImportReport(name=name, file="", result="rejected", reason=done.failure)
        yield done.item, done.result or failed


def import_episode(importer: Importer, index: int, config: ImportConfig) -> ImportReport:
    """Import one episode; one that is not sound is reported, not raised."""
    name = importer.recordings.names()[index]
    path = _file(config, index)
    try:
        episode = importer.write(index, path, overwrite=config.overwrite)
    except AteError as error:
        return ImportReport(name=name, file=path.name, result="rejected", reason=str(error))
    except OSError as error:
        reason = refusal(error, config.output) if error.strerror else describe(error)
        return ImportReport(name=name, file=path.name, result="rejected", reason=reason)
    except Exception as error:  # foreign files break in ways nobody listed; the rest goes on
        return ImportReport(name=name, file=path.name, result="rejected", reason=describe(error))
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
