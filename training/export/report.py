"""What became of each episode of an export, as a table."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal

from rich.table import Table

from ate_core.errors import AteError
from training.data.disk_room import refusal
from training.reporting.terminal import coloured, terminal

FAILURES = (AteError, OSError, ValueError)
"""What rejects an episode: errors of ours, of the disk, and of the video library."""

Result = Literal["exported", "up to date", "rejected", "left out"]


@dataclass(frozen=True, kw_only=True)
class ExportReport:
    """What became of one episode."""

    name: str
    """Of the episode."""
    result: Result
    """What was done."""
    ticks: int = 0
    """Ticks written."""
    note: str = ""
    """Why it was rejected or left out, or what was changed."""
    disk_refused: bool = False
    """Whether it was rejected because a disk did not take it, or give it."""


@dataclass(frozen=True, kw_only=True)
class Finished:
    """What became of the episodes of an output that was completed."""

    refused: Mapping[str, str] = field(default_factory=dict)
    """Name of an episode that could not be taken -> why."""
    notes: Mapping[str, str] = field(default_factory=dict)
    """Name of one that was taken -> what is odd about it beside the first."""


def print_reports(reports: Sequence[ExportReport], target: object) -> int:
    """Print the table; return 1 when an episode was rejected."""
    console = terminal()
    table = Table("episode", "result", "ticks", "remark, or reason")
    for report in sorted(reports, key=lambda report: report.name):
        colour = "red" if report.result == "rejected" else "green"
        table.add_row(
            report.name, coloured(report.result, colour), str(report.ticks or ""), report.note
        )
    console.print(table)
    words: tuple[Result, ...] = ("exported", "up to date", "rejected")
    counts = [f"{sum(r.result == word for r in reports)} {word}" for word in words]
    left_out = sum(report.result == "left out" for report in reports)
    counts += [f"{left_out} left out"] if left_out else []
    console.print(f"{', '.join(counts)}: {target}")
    return int(any(report.result == "rejected" for report in reports))


def one_line(error: Exception) -> str:
    """What an error says, for a row of the table."""
    if isinstance(error, OSError) and error.strerror:
        return refusal(error)
    return " ".join(str(error).split())
