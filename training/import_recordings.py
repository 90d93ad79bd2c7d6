"""``ate import``: recordings of other robots to HDF5 episodes, by a mapping of their columns.

An episode that is damaged or not what the mapping says is rejected with its reason and the others
go on; the exit code is then 1. The same recordings and mapping give the same bytes. What is up to
date is not made twice, and what was set aside is not made again; what an earlier import made of
an episode that is rejected now, or that the recordings have no more, is put away.
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
from ate_core.disk_refusals import is_by_disk
from ate_core.episode_folders import SUFFIX
from ate_core.errors import AteError, UsageError
from training.configs.output_folder import make_folder, only_writer
from training.data.disk_room import refusal, require_room
from training.foreign.importer import Importer, make_importer
from training.foreign.mapping import read_mapping
from training.foreign.places import is_renewed, left_behind
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
    result: Literal["imported", "up to date", "rejected", "set aside", "put away"]
    """What was done; put away: the recordings have it no more."""
    reason: str = ""
    """Why it was rejected, or what else is to be told."""
    seconds: float = 0.0
    """Duration on ticks [s]."""


def import_recordings(config: ImportConfig) -> int:
    """Import every episode, print what was rejected, and return 1 when any was."""
    mapping = read_mapping(config.mapping)
    importer = make_importer(config.recordings.resolve(), mapping, load_cell(config.cell))
    config = replace(config, output=config.output.resolve())  # workers may start elsewhere
    if config.output in (importer.folder, importer.folder / "train"):
        raise UsageError(
            f"--output {config.output} holds the recordings themselves, which would be replaced: "
            "name another folder"
        )
    make_folder(config.output)
    indices = range(len(importer.recordings.names()))
    console = terminal()
    reports: dict[int, ImportReport] = {}
    gone: list[ImportReport] = []
    told = f"another `ate import`, `ate convert` or edit writes to {config.output}"
    with only_writer(config.output, told):
        missing = [index for index in indices if not _is_there(config, index)]
        require_room(config.output, importer.least_size(missing), "the pictures")
        try:
            renewed = is_renewed(config.output, importer.sources)
            if renewed:
                gone += _put_away_what_is_gone(importer, config)
            with Progress(console=console, transient=True) as progress:
                work = _run(importer, indices, config, renewed)
                for index, report in progress.track(work, len(indices), description="importing"):
                    reports[index] = report
        finally:
            _print_table(console, [*(reports[index] for index in sorted(reports)), *gone])
    return 1 if any(report.result == "rejected" for report in reports.values()) else 0


def _is_there(config: ImportConfig, index: int) -> bool:
    """Whether an episode is there, or was and is set aside."""
    path = _file(config, index)
    return path.exists() or path.with_name(path.name + SUFFIX).exists()


def _put_away_what_is_gone(importer: Importer, config: ImportConfig) -> list[ImportReport]:
    """Nobody trains on an episode that the recordings have no more."""
    return [
        ImportReport(
            name=place.path.stem,
            file=place.path.name,
            result="put away",
            reason=f"{importer.folder.name} has it no more{place.put_away()}",
        )
        for place in left_behind(config.output, importer.folder.name, len(importer.sources))
    ]


def _file(config: ImportConfig, index: int) -> Path:
    return config.output / f"episode_{index:06d}.hdf5"


def _run(
    importer: Importer, indices: Sequence[int], config: ImportConfig, renewed: bool
) -> Iterator[tuple[int, ImportReport]]:
    """Import episodes in processes; the death of one costs the episode it held."""
    work = functools.partial(import_episode, importer, config=config, renewed=renewed)
    for done in config.work.run(work, indices):
        yield done.item, done.result or _rejected(importer, done.item, config, done.failure)


def import_episode(
    importer: Importer, index: int, config: ImportConfig, renewed: bool = True
) -> ImportReport:
    """Import one episode; one that is not sound is reported, not raised."""
    path = _file(config, index)
    try:
        done = importer.write(index, path, overwrite=config.overwrite, is_renewed=renewed)
    except AteError as error:
        # Of a disk that errs no recording is to blame: what was made of it before stays, as does
        # what is of others.
        cause = error.__cause__ or error.__context__
        is_unsound = renewed and (cause is None or not is_by_disk(cause))
        return _rejected(importer, index, config, str(error), is_unsound=is_unsound)
    except OSError as error:
        reason = refusal(error, config.output) if error.strerror else describe(error)
        return _rejected(importer, index, config, reason)
    except Exception as error:  # foreign files break in ways nobody listed; the rest goes on
        return _rejected(importer, index, config, describe(error))
    return ImportReport(
        name=importer.recordings.names()[index],
        file=path.name,
        result=done.result,
        reason=done.note,
        seconds=done.seconds,
    )


def _rejected(
    importer: Importer,
    index: int,
    config: ImportConfig,
    reason: str,
    *,
    is_unsound: bool = False,
) -> ImportReport:
    """Reject an episode; what an earlier import made of an unsound one is put away, too."""
    path = _file(config, index)
    note = importer.place(path).put_away() if is_unsound else ""
    return ImportReport(
        name=importer.recordings.names()[index],
        file=path.name,
        result="rejected",
        reason=reason + note,
    )


def _print_table(console: Console, reports: list[ImportReport]) -> None:
    """What there is to tell, one row per kind of reason, and how many of each result there are."""
    alike: dict[tuple[str, str], list[ImportReport]] = {}
    for report in reports:
        if report.reason:
            kind = re.sub(r"\d+(\.\d+)?", "#", report.reason)
            alike.setdefault((report.result, kind), []).append(report)
    if alike:
        table = Table("episode", "result")
        table.add_column("reason", overflow="fold")
        for (result, _), same in alike.items():
            shown = SHOWN if result == "rejected" else len(same)
            more = f" and {len(same) - shown} more" if len(same) > shown else ""
            names = ", ".join(report.name for report in same[:shown])
            table.add_row(f"{names}{more}", result, same[0].reason)
        console.print(table)
    counts = {
        result: sum(report.result == result for report in reports)
        for result in ("imported", "up to date", "rejected", "set aside", "put away")
    }
    always = ("imported", "up to date", "rejected")
    said = [f"{count} {result}" for result, count in counts.items() if count or result in always]
    seconds = sum(report.seconds for report in reports)
    console.print(f"{', '.join(said)} ({seconds:.1f} s)")
