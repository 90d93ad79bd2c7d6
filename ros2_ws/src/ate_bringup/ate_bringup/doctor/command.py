"""`ate doctor`: the command and its report."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from rich.console import Console
from rich.text import Text

from ate_bringup.doctor.finding import CheckResult, Patient
from ate_bringup.doctor.registry import CHECKS, static_checks
from ate_bringup.doctor.visit import visit, worst
from ate_core.contract import Hardware, cell_file
from ate_core.errors import UsageError

STYLES = {"pass": "green", "warn": "yellow", "fail": "bold red"}


@dataclass(frozen=True, kw_only=True)
class DoctorConfig:
    """Look for what would keep a cell from working; the exit code is 1 where something fails.

    Without --live or --hardware only files are read and no device is touched.
    """

    cell: str | None = None
    """cell.yaml, or the name of a packaged cell; None: the packaged one."""
    live: bool = False
    """Look at this machine and at the real devices too."""
    hardware: Hardware | None = None
    """The same for the real devices, or for the emulated ones of a running simulated cell."""
    checkpoint: Path | None = None
    """Compare this checkpoint with the cell."""
    output: Path = Path("runs/bags")
    """Folder for the bags: where the disk is measured, with --live."""
    json: bool = False
    """Print JSON instead of a report: the findings with status, what, value, bound, remedy."""

    def __post_init__(self) -> None:
        if self.live and self.hardware == "sim":
            raise UsageError("--live looks at real devices: give --hardware sim alone")


def doctor(config: DoctorConfig) -> int:
    """Run the checks and print what they found; returns 1 where one fails."""
    is_live = config.live or config.hardware is not None
    patient = Patient(
        cell_name=config.cell,
        hardware=config.hardware or "real",
        checkpoint=config.checkpoint,
        output=config.output,
    )
    results = visit(CHECKS if is_live else static_checks(), patient)
    if config.json:
        print(json.dumps(as_json(results, patient, is_live), indent=2))
    else:
        _print_report(results, patient, is_live)
    return 1 if worst(results) == "fail" else 0


def as_json(results: Sequence[CheckResult], patient: Patient, is_live: bool) -> dict[str, object]:
    """The report as plain values."""
    return {
        "cell": str(cell_file(patient.cell_name)),
        "hardware": patient.hardware if is_live else None,
        "status": worst(results),
        "checks": [result.as_dict() for result in results],
    }


def _print_report(results: Sequence[CheckResult], patient: Patient, is_live: bool) -> None:
    console = Console(soft_wrap=True, highlight=False)
    body = f"{patient.hardware} devices" if is_live else "files only"
    console.print(Text(f"{cell_file(patient.cell_name)} ({body})", style="bold"))
    group = ""
    for result in results:
        if result.group != group and result.findings:
            group = result.group
            console.print(Text(group, style="bold"))
        for finding in result.findings:
            line = Text("  ")
            line.append(f"{finding.status:5}", style=STYLES[finding.status])
            line.append(finding.text)
            console.print(line)
    found: list[str] = [finding.status for result in results for finding in result.findings]
    counts = ", ".join(f"{found.count(status)} {status}" for status in STYLES)
    console.print(Text(counts, style=STYLES[worst(results)]))
