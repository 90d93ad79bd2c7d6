"""What a launch asks the doctor before it starts anything: quick, and no device is opened."""

from collections.abc import Mapping
from pathlib import Path

from ate_bringup.doctor.finding import Patient
from ate_bringup.doctor.registry import launch_checks, static_checks
from ate_bringup.doctor.visit import visit
from ate_bringup.specs import Launch, is_on
from ate_core.blind_scoring import resume
from ate_core.contract import Hardware
from ate_core.errors import DeviceError, UsageError
from ate_core.findings import Finding

FILES = ("report", "summary")
"""Arguments of launches that name a file to be written."""


def static_problems(
    cell: str | None = None, hardware: Hardware = "real", checkpoint: Path | None = None
) -> list[str]:
    """What is wrong with a cell, read from files only; one line each, empty when all is well.

    Args:
        cell: cell file or packaged name; None: the packaged cell.
        hardware: which body of it.
        checkpoint: what shall drive it; None: no policy.
    """
    patient = Patient(cell_name=cell, hardware=hardware, checkpoint=checkpoint)
    results = visit(static_checks(), patient)
    return _failures([finding for result in results for finding in result.findings])


def checks_before_launch(launch: Launch, values: Mapping[str, str]) -> list[Finding]:
    """What the doctor finds before a launch starts its processes.

    Args:
        launch: what is started.
        values: its resolved arguments.
    """
    checkpoint, server = values.get("checkpoint"), values.get("policy_server", "")
    has_policy = bool(checkpoint or server)
    output = values.get("output") if is_on(values, "record", True) else None
    patient = Patient(
        cell_name=values["cell"] or None,
        hardware="sim" if values["hardware"] == "sim" else "real",
        checkpoint=Path(checkpoint) if checkpoint else None,
        policy_server=server,
        policy_token=values.get("policy_token", ""),
        policy_keys=values.get("policy_keys", ""),
        instruction=values.get("instruction") if has_policy else None,
        execute=int(values.get("execute", 0)),
        delay_ms=int(values.get("delay_ms", 0)),
        chunk_mode=values.get("chunk_mode", ""),
        device=values.get("device", "") if checkpoint else "",
        starts=_starts(values) if has_policy else range(0),
        runs_cameras=is_on(values, "cameras", True),
        output=Path(output) if output else Path.cwd(),
        files={name: Path(values[name]) for name in FILES if values.get(name)},
        starts_devices=launch.has_devices,
        plays_headsets=is_on(values, "operators", "hands" in values),
    )
    asked = [check for check in launch_checks() if output or not check.needs_output]
    results = visit(asked, patient)
    return [finding for result in results for finding in result.findings]


def _starts(values: Mapping[str, str]) -> range:
    """Seeds of the rollouts that a launch counts; none where it runs for ever."""
    if values["hardware"] != "sim":
        return range(0)
    first = int(values["seed"])
    return range(first, first + int(values["episodes"]))


def refuse_to_launch(launch: Launch, values: Mapping[str, str]) -> None:
    """Refuse a launch that would fail a moment after its start, or drive a wrong cell.

    Raises:
        DeviceError: naming all that must be mended.
    """
    failures = _failures(checks_before_launch(launch, values)) + _no_session(values)
    if failures:
        raise DeviceError("; ".join(failures))


def _no_session(values: Mapping[str, str]) -> list[str]:
    """Why what the page shall score cannot be scored; empty where it can, or nothing shall be."""
    folder = values.get("cockpit_score", "")
    try:
        if folder:
            resume(Path(folder))
    except UsageError as error:
        return [str(error)]
    return []


def _failures(findings: list[Finding]) -> list[str]:
    return [finding.text for finding in findings if finding.status == "fail"]
