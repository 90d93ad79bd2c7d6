"""A checkpoint is a folder; nothing in it can execute code.

    model.safetensors   weights
    config.json         kind, format, layout hash, the network's configuration, how it was trained
    contract.yaml       the cell it was trained for
    statistics.json     normalisation
    README.md           model card
    tokenizer/, tokens/ where the model's configuration names one

Each file of tensors says in its metadata which statistics and cell it is for, and of which
checkpoint it is, so that files of two checkpoints are not taken for one.

A folder is written beside its final name and renamed, so that a reader sees all of it or nothing.
"""

import hashlib
import json
import os
import shutil
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from safetensors import SafetensorError, safe_open
from safetensors.torch import load_file, save_file
from torch import Tensor

from ate_core.checkpoint_folders import (
    FORMAT,
    LATEST,
    TRAVELLING,
    known_runs,
    named_checkpoint,
    read_part,
    read_settings,
    require_sound_tensors,
)
from ate_core.contract import Cell, parse_cell_text
from ate_core.disk_refusals import error_of_rust, remedy
from ate_core.errors import CheckpointError, LayoutError
from ate_core.files import replace_folder
from ate_core.trained_for import require_layout
from ate_policy.models.names import RENAMED
from ate_policy.transforms import Statistics

WEIGHTS = "model.safetensors"
DECIDING = ("config.json", WEIGHTS, "statistics.json")
"""Files that decide what a network makes of an observation; tokens are named in config.json."""
SCALING = ("statistics.json", "contract.yaml")
"""Files that say what the numbers of a network mean."""
STAMP = "checkpoint"
"""Metadata of a file of tensors: digest of what scales them, and of the whole description."""
STAYING = ("training_state.safetensors",)
"""Files that do not travel with their folder: what its own training needs to go on."""


Kinds = str | tuple[str, ...]
"""A kind of checkpoint, several that will do, or "": any."""


@dataclass(frozen=True, kw_only=True)
class Checkpoint:
    """What a checkpoint folder holds."""

    kind: str
    """What the weights are, for instance 'flow' or 'action_vae'."""
    weights: Mapping[str, Tensor]
    """Parameters by name."""
    model: Mapping[str, Any]
    """Configuration from which the network is rebuilt."""
    contract: str
    """Canonical text of the cell."""
    statistics: Statistics
    """Normalisation of state, action and objects."""
    training: Mapping[str, Any] = field(default_factory=dict)
    """How it was trained: data, seed, steps, guidance."""
    card: str = ""
    """Model card in Markdown."""
    extra: Mapping[str, Mapping[str, Tensor]] = field(default_factory=dict)
    """Further tensor files by stem, for instance what a resumed training needs."""

    @property
    def cell(self) -> Cell:
        """The cell it was trained for."""
        return parse_cell_text(self.contract)


def save_checkpoint(folder: Path, checkpoint: Checkpoint) -> None:
    """Write a checkpoint folder; its parent must exist, a folder of that name is replaced."""
    model = dict(checkpoint.model)
    work = Path(tempfile.mkdtemp(prefix=f".{folder.name}-", dir=folder.parent))
    try:
        for name in TRAVELLING:
            if model.get(name) and Path(str(model[name])).is_dir():
                left = shutil.ignore_patterns(*STAYING)
                shutil.copytree(str(model[name]), work / name, ignore=left)
                model[name] = name
        config = {
            "format": FORMAT,
            "kind": checkpoint.kind,
            "layout_sha256": checkpoint.cell.layout.sha256,
            "model": model,
            "training": dict(checkpoint.training),
        }
        _write(work / "config.json", json.dumps(config, indent=2) + "\n")
        _write(work / "contract.yaml", checkpoint.contract)
        _write(
            work / "statistics.json", json.dumps(checkpoint.statistics.to_dict(), indent=1) + "\n"
        )
        stamp = f"{_sha256(work, SCALING)} {_sha256(work, ('config.json',))}"
        _write_tensors(work / WEIGHTS, checkpoint.weights, stamp)
        for stem, tensors in checkpoint.extra.items():
            _write_tensors(work / f"{stem}.safetensors", tensors, stamp)
        _write(work / "README.md", checkpoint.card or f"# {checkpoint.kind}\n")
        work.chmod(0o755)  # mkdtemp makes it private
        replace_folder(work, folder)
    except BaseException:
        shutil.rmtree(work, ignore_errors=True)
        raise


def load_checkpoint(folder: str | Path, cell: Cell | None = None, kind: Kinds = "") -> Checkpoint:
    """Read a checkpoint folder, or the newest one of a run folder.

    Args:
        folder: Checkpoint or run folder.
        cell: The cell it shall run on; None checks only that the folder agrees with itself.
        kind: Refuse every other kind, or all but some; "" takes any.
    """
    folder = resolve_checkpoint(Path(folder))
    described = describe_checkpoint(folder, kind)
    if cell is not None:
        require_layout(described.cell, cell, str(folder))
    _require_one_checkpoint(folder)
    require_sound_tensors(folder / WEIGHTS)
    return replace(described, weights=read_tensors(folder / WEIGHTS))


def describe_checkpoint(folder: Path, kind: Kinds = "") -> Checkpoint:
    """Read all of a checkpoint but its weights, of which there are none in the result.

    Args:
        folder: Checkpoint or run folder.
        kind: Refuse every other kind, or all but some; "" takes any.
    """
    folder = resolve_checkpoint(folder)
    config = _read_config(folder, kind)
    contract = (folder / "contract.yaml").read_text(errors="replace")
    layout = parse_cell_text(contract, where=f"{folder}/contract.yaml").layout
    if layout.sha256 != config["layout_sha256"]:
        raise LayoutError(
            f"{folder}: contract.yaml has layout {layout.sha256[:12]}, config.json says "
            f"{str(config['layout_sha256'])[:12]}: the folder was edited, train or copy it again"
        )
    model = dict(config["model"])
    for name in TRAVELLING:
        if model.get(name) == name:
            model[name] = str(folder / name)
    return Checkpoint(
        kind=str(config["kind"]),
        weights={},
        model=model,
        contract=contract,
        statistics=Statistics.from_dict(read_part(folder / "statistics.json")),
        training=config["training"],
        card=card.read_text(errors="replace") if (card := folder / "README.md").is_file() else "",
    )


def read_model(folder: Path, kind: Kinds = "") -> Mapping[str, Any]:
    """Configuration of a checkpoint's network, without its weights.

    Args:
        folder: Checkpoint or run folder.
        kind: Refuse every other kind, or all but some; "" takes any.
    """
    model: Mapping[str, Any] = _read_config(resolve_checkpoint(folder), kind)["model"]
    return model


def resolve_checkpoint(folder: Path) -> Path:
    """The checkpoint folder meant by a checkpoint folder, a run folder or a run's name."""
    folder = named_checkpoint(folder)
    for candidate in (folder, folder / LATEST):
        if (candidate / "config.json").is_file():
            break
    else:
        raise CheckpointError(
            f"{folder} is no checkpoint: it holds no config.json and no '{LATEST}'. Give the "
            f"folder that `ate finetune` or `ate train-vae` wrote, or its name.{known_runs()}"
        )
    for name in (WEIGHTS, "contract.yaml", "statistics.json"):
        if not (candidate / name).is_file():
            raise CheckpointError(f"{candidate} is incomplete: {name} is missing; copy it again")
    return candidate.resolve()


def files_sha256(folder: Path) -> dict[str, str]:
    """SHA-256 of the files that decide the chunks of a checkpoint, by name.

    They are read in pieces, which come from the system's cache right after loading.

    Args:
        folder: Checkpoint or run folder.
    """
    folder, found = resolve_checkpoint(folder), {}
    for name in DECIDING:
        with (folder / name).open("rb") as file:
            found[name] = hashlib.file_digest(file, "sha256").hexdigest()
    return found


def point_latest(run: Path, checkpoint: Path) -> None:
    """Make a run folder's link to its newest checkpoint point to this one, atomically."""
    link = run / f".{LATEST}.{os.getpid()}"
    link.unlink(missing_ok=True)
    link.symlink_to(checkpoint.name)
    os.replace(link, run / LATEST)


def read_tensors(file: Path) -> dict[str, Tensor]:
    """Read one safetensors file."""
    try:
        return load_file(file)
    except (OSError, SafetensorError) as error:
        raise CheckpointError(f"{file} cannot be read ({error}): copy or train it again") from None


def _read_config(folder: Path, kind: Kinds) -> dict[str, Any]:
    config = read_settings(folder)
    config["kind"] = RENAMED.get(config["kind"], config["kind"])
    kinds = (kind,) if isinstance(kind, str) else kind
    if any(kinds) and config["kind"] not in kinds:
        raise CheckpointError(
            f"{folder} is of kind {config['kind']}, must be {' or '.join(kinds)}: give a folder "
            "of that kind"
        )
    return config


def _require_one_checkpoint(folder: Path) -> None:
    """Refuse tensors beside statistics, a cell or other tensors that are of another checkpoint.

    Older checkpoints say nothing of it.
    """
    files = [file for file in sorted(folder.glob("*.safetensors")) if file.name not in STAYING]
    stamps = {file.name: _stamp(file) for file in files}
    weights = stamps[WEIGHTS]
    if weights and weights.split()[0] != _sha256(folder, SCALING):
        raise CheckpointError(
            f"{folder}: {WEIGHTS} was saved with other files than {' and '.join(SCALING)} here: "
            "they are of two checkpoints, or were edited; copy the whole folder again"
        )
    for name, stamp in stamps.items():
        if stamp and stamp != weights:
            raise CheckpointError(
                f"{folder}: {name} is of another checkpoint than {WEIGHTS}: copy the whole folder "
                "again"
            )


def _stamp(file: Path) -> str:
    try:
        with safe_open(file, framework="pt") as opened:
            return str((opened.metadata() or {}).get(STAMP, ""))
    except (OSError, SafetensorError) as error:
        raise CheckpointError(f"{file} cannot be read ({error}): copy or train it again") from None


def _sha256(folder: Path, names: tuple[str, ...]) -> str:
    return hashlib.sha256(b"".join((folder / name).read_bytes() for name in names)).hexdigest()


def _write_tensors(file: Path, tensors: Mapping[str, Tensor], stamp: str) -> None:
    whole = {name: value.detach().cpu().contiguous() for name, value in tensors.items()}
    try:
        save_file(whole, file, {STAMP: stamp})
    except SafetensorError as error:  # what safetensors makes of a disk that refuses
        gigabytes = sum(value.nbytes for value in whole.values()) * 1e-9
        raise CheckpointError(
            f"{file.name} ({gigabytes:.2f} GB) cannot be written below {file.parent.parent} "
            f"({error}): {remedy(error_of_rust(error))}; checkpoints that are there already are "
            "untouched"
        ) from None


def _write(file: Path, text: str) -> None:
    file.write_text(text)
