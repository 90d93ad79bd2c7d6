"""A checkpoint against the cell that it shall drive, without loading its network."""

import importlib
import importlib.util
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from ate_bringup.doctor.finding import Patient
from ate_core.checkpoint_folders import (
    LATEST,
    TRAVELLING,
    named_checkpoint,
    read_part,
    read_settings,
    refuse_part,
    require_sound_tensors,
)
from ate_core.contract import parse_cell_text
from ate_core.errors import CheckpointError, UsageError
from ate_core.findings import Finding, failed, passed
from ate_core.trained_for import TrainedOn, findings, free_start, known_starts, robot_findings

FILES = ("config.json", "contract.yaml", "statistics.json", "model.safetensors")
"""What a checkpoint folder holds."""
GOES_ON = "rtc"
"""How the chunk modes begin in which a chunk goes on with the one before."""


def look_at_checkpoint(patient: Patient) -> Iterator[Finding]:
    """The folder is whole, and trained for the layout of this cell."""
    if patient.checkpoint is None:
        return
    what = f"checkpoint {patient.checkpoint}"
    folder = _resolve(patient.checkpoint)
    missing = [name for name in FILES if not (folder / name).is_file()]
    if missing:
        remedy = "give the folder that `ate finetune` wrote, or copy it again"
        yield failed(what, f"lacks {', '.join(missing)}", remedy)
        return
    config = read_settings(folder)
    require_sound_tensors(folder / "model.safetensors")
    yield from _companions(what, folder, config["model"])
    text = (folder / "contract.yaml").read_text(errors="replace")
    contract = parse_cell_text(text, f"{folder}/contract.yaml")
    if contract.layout.sha256 != config["layout_sha256"]:
        yield failed(
            what,
            f"its contract.yaml has layout {contract.layout.sha256[:12]}, its config.json says "
            f"{str(config['layout_sha256'])[:12]}",
            "the folder was edited: train or copy it again",
        )
        return
    differing = robot_findings(contract, patient.cell, what)
    yield from differing
    if not differing:
        yield _kind(what, str(config["kind"]))
        if patient.chunk_mode.startswith(GOES_ON):
            yield from mode_findings(patient, what, continues=_continues(str(config["kind"])))
        statistics = read_part(folder / "statistics.json")
        parts = (config["model"], statistics, config["training"])
        yield from compare_training(patient, text, str(folder), *parts)
        yield from _device(patient)


def compare_training(
    patient: Patient, contract: str, where: str, model: Any, statistics: Any, training: Any
) -> Iterator[Finding]:
    """What a policy was trained on, against what it shall see and do.

    Args:
        patient: what it shall drive.
        contract: text of the cell that it was trained for, of the same layout.
        where: whose settings these are, for people.
        model: that part of its config.json.
        statistics: its statistics.json.
        training: that part of its config.json.

    Raises:
        CheckpointError: a part is not what it should be.
    """
    if not all(isinstance(part, dict) for part in (model, statistics, training)):
        raise CheckpointError(f"{where}: config.json or statistics.json is damaged: copy it again")
    trained = TrainedOn.read(contract, model, statistics, training)
    yield from findings(trained, patient.cell, patient.instruction)
    if known := known_starts(training, patient.starts):
        remedy = f"success there may be memory: start with seed:={free_start(training)}"
        yield failed("starts", known, remedy)
    yield from chunk_findings(patient, model.get("horizon"))
    if trained.cameras and not patient.runs_cameras:
        yield failed(
            "cameras",
            f"cameras:=false, the policy looks through {', '.join(trained.cameras)}",
            "start it with cameras:=true",
        )


def _kind(what: str, kind: str) -> Finding:
    refuse_part(kind, what)
    if importlib.util.find_spec("ate_policy") is not None:
        importlib.import_module("ate_policy.models.names").require_policy(kind, what)
    return passed(what, f"{kind}, trained for this layout")


def mode_findings(patient: Patient, what: str, *, continues: bool) -> Iterator[Finding]:
    """What is asked of a policy that cannot go on with the chunk before.

    Args:
        patient: what is asked.
        what: the policy, for people.
        continues: whether it can.
    """
    if patient.chunk_mode.startswith(GOES_ON) and not continues:
        remedy = "give chunk_mode:=synchronous or temporal_ensemble"
        yield failed(
            "chunk_mode", f"{patient.chunk_mode}, {what} cannot go on with a chunk", remedy
        )


def _companions(what: str, folder: Path, model: Any) -> Iterator[Finding]:
    """Folders that travel with a checkpoint: they are there, and those of networks whole."""
    for name in TRAVELLING:
        if not isinstance(model, dict) or model.get(name) != name:
            continue
        beside = folder / name
        lacks = [one for one in FILES if name == "tokens" and not (beside / one).is_file()]
        if lacks or not beside.is_dir():
            remedy = "copy the whole folder of the checkpoint again"
            yield failed(what, f"lacks {name}/{', '.join(lacks)}".rstrip("/"), remedy)
        elif name == "tokens":
            require_sound_tensors(beside / "model.safetensors")


def _device(patient: Patient) -> Iterator[Finding]:
    """Where the network shall run; a GPU is looked for only where one is asked for."""
    if patient.device in ("", "auto", "cpu") or importlib.util.find_spec("ate_policy") is None:
        return
    loading = importlib.import_module("ate_policy.loading")  # slow: it loads torch
    try:
        loading.find_device(patient.device)
    except UsageError as error:
        yield failed("device", str(error), "")


def _continues(kind: str) -> bool:
    """Whether chunks of such a network go on with others; one that does not say may do so."""
    if importlib.util.find_spec("ate_policy") is None:
        return True
    names = importlib.import_module("ate_policy.models.names")
    registry = importlib.import_module("ate_policy.models.registry")  # slow: it loads the network
    entry = registry.policy_entry(names.RENAMED.get(kind, kind))
    return not entry.writes and bool(getattr(entry.build, "continues", True))


def chunk_findings(patient: Patient, horizon: object) -> Iterator[Finding]:
    """What is asked of chunks that are too short for it.

    Args:
        patient: what is asked.
        horizon: actions of a chunk [ticks], as it was read.
    """
    if not isinstance(horizon, int):
        return
    if patient.execute > horizon:
        yield failed(
            "execute",
            f"{patient.execute} actions of each chunk, the policy's have {horizon}",
            f"give execute:={horizon} or less",
        )
    seconds = horizon / patient.cell.tick_rate
    if patient.delay_ms >= 1e3 * seconds:
        yield failed(
            "delay_ms",
            f"{patient.delay_ms} ms from an observation to its chunk, which covers {seconds:g} s",
            "every chunk would be over when it comes: use a faster device or a longer horizon",
        )


def _resolve(folder: Path) -> Path:
    folder = named_checkpoint(folder)
    has_config = (folder / "config.json").is_file()
    return folder if has_config or not (folder / LATEST).is_dir() else folder / LATEST
