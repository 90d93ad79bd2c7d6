"""A run folder: configuration, log, checkpoints, and all that an exact resume needs.

run.json               the command's configuration
environment.json       versions of what ran it, and the command line
log.jsonl              one line per logged step
initial_policy.sha256  of the weights that an anchored run is compared with
knowledge.sha256       of the token policy that a trunk is held to
data.sha256            of the data that it learns from
labels.sha256          of its episodes' instructions, seeds and lengths
encoder.sha256         of the action VAE that steers a guided run
prior.sha256           of the prior of a stage-2 VAE
knowledge_episodes.sha256, pseudo.sha256  of the other episodes that it reads
step_001000/           checkpoint folders; the newest also holds training_state.safetensors
last -> step_001000
"""

import contextlib
import dataclasses
import json
import platform
import shutil
import sys
from collections.abc import Callable, Mapping
from importlib import metadata
from pathlib import Path
from typing import NoReturn, Protocol, Self, cast

import torch
from safetensors.torch import save_file
from torch import Tensor, nn
from torch.distributed.checkpoint.state_dict import (
    OptimizerStateType,
    StateDictOptions,
    ValueType,
    get_model_state_dict,
    get_optimizer_state_dict,
    set_model_state_dict,
    set_optimizer_state_dict,
)
from torch.distributed.tensor import DTensor, distribute_tensor

from ate_core.checkpoint_folders import LATEST
from ate_core.errors import TrainingError, UsageError
from ate_core.files import replace_text
from ate_core.json_text import read_object
from ate_policy.checkpoint import (
    Checkpoint,
    point_latest,
    read_tensors,
    resolve_checkpoint,
    save_checkpoint,
)
from training.configs.output_folder import Hold, make_folder
from training.configs.record import Record, complete, differences, record_of

STATE = "training_state"
"""Stem of the file with optimiser, raw weights and random generators."""

DATA = "data.sha256"
HOW_TO_RUN = ("resume", "output", "log_to")
"""Settings that change no result: a run may be moved, and resumed with others."""

WHOLE = StateDictOptions(full_state_dict=True, cpu_offload=True)
"""Whole tensors by parameter name, whatever processes they are spread over."""


class Run(Protocol):
    """What the configuration of a training command says of its run."""

    @property
    def output(self) -> Path:
        """Run folder to write."""

    @property
    def resume(self) -> bool:
        """Go on with the run in it."""


class RunFolder:
    """Where a training command writes."""

    def __init__(
        self,
        path: Path,
        config: Record,
        resume: bool,
        *,
        upgrade: Callable[[Record], Record] = dict,
        main: bool = True,
    ) -> None:
        """Create the folder, or check that the run in it has this configuration.

        Args:
            path: The folder.
            config: Of the command, see `training.configs.record`.
            resume: Go on with the run in it.
            upgrade: Brings the configuration of a run that is older to today's words and options.
            main: Whether this process writes; of several, one does.
        """
        self.path = path
        self.main = main
        self._resumed = resume
        self._log = path / "log.jsonl"
        self.config = config
        """Of the command, as JSON values."""
        self._hold: Hold | None = None
        try:
            self._open(upgrade)
        except BaseException:
            self.release()
            raise

    @classmethod
    def of(cls, config: Run, *, main: bool) -> Self:
        """The folder of a configuration dataclass whose words did not change since it was made.

        Args:
            config: Of the command.
            main: Whether this process writes; of several, one does.
        """
        return cls(
            config.output,
            record_of(config),
            config.resume,
            upgrade=lambda stored: complete(stored, config),
            main=main,
        )

    def _open(self, upgrade: Callable[[Record], Record]) -> None:
        """Keep other processes off, then check or begin; nothing of a run that goes on is lost."""
        path = self.path
        if self.main and not self._resumed:
            make_folder(path)
        if self.main and path.is_dir():
            self._hold = Hold(path, f"another run writes to {path}")
        if self._resumed:
            self._check_resumable(upgrade)
        elif self.main:
            if any(path.iterdir()) and not self._never_saved():
                raise UsageError(f"{path} is not empty: choose another output, or add --resume")
            (path / "run.json").write_text(json.dumps(self.config, indent=2) + "\n")
            environment = json.dumps(describe_environment(), indent=2)
            (path / "environment.json").write_text(environment + "\n")
            self._log.unlink(missing_ok=True)
        if self.main:
            for unfinished in path.glob(".step_*"):  # a kill while a checkpoint was written
                shutil.rmtree(unfinished)

    def log(self, step: int, metrics: Mapping[str, float]) -> None:
        """Append one line to the log."""
        if not self.main:
            return
        with self._log.open("a") as file:
            file.write(json.dumps({"step": step, **metrics}) + "\n")

    def save(self, step: int, checkpoint: Checkpoint, state: Mapping[str, Tensor]) -> Path:
        """Write a checkpoint and make it the newest; older ones keep their weights only.

        Raises:
            TrainingError: a weight is not finite; the newest checkpoint stays what it was.
        """
        folder = self.path / f"step_{step:06d}"
        if not self.main:
            return folder
        for name, value in checkpoint.weights.items():
            if not torch.isfinite(value).all():
                raise TrainingError(
                    f"{name} is not finite after step {step}, and nothing is saved: the last good "
                    "checkpoint is untouched; lower the learning rate or the guidance strength"
                )
        extra = {**checkpoint.extra, STATE: state}
        save_checkpoint(folder, dataclasses.replace(checkpoint, extra=extra))
        point_latest(self.path, folder)
        for other in self.path.glob("step_*"):
            if other != folder:
                (other / f"{STATE}.safetensors").unlink(missing_ok=True)
        return folder

    def load_state(self) -> dict[str, Tensor]:
        """Read what the newest checkpoint needs to go on, and cut the log to that step."""
        file = resolve_checkpoint(self.path / LATEST) / f"{STATE}.safetensors"
        state = read_tensors(file)
        if self.main:
            self._cut_log(int(state["step"]))
        return state

    def require_same(
        self, name: str, value: str, what: str, remedy: str, *, adopt: bool = False
    ) -> None:
        """Keep a line in a file of a new run; refuse to resume one whose line was another.

        Args:
            name: Of the file.
            value: The line.
            what: It tells apart.
            remedy: What to do where it differs.
            adopt: A run of an older version, which kept none, takes it for its own.
        """
        file = self.path / name
        if not self._resumed or (adopt and not file.is_file()):
            if self.main:
                file.write_text(value + "\n")
        elif not file.is_file() or file.read_text().strip() != value:
            raise UsageError(f"{what} is not the one that {file} tells of: {remedy}")

    def require_same_data(self, digest: str) -> None:
        """Refuse to resume with other data: its statistics, and all that is drawn, would change.

        Args:
            digest: Of what the run learns from.
        """
        self.require_same(
            DATA,
            digest,
            "what the run learns from",
            "episodes were added, taken away, labelled or changed since it began. Resume with the "
            "former ones, or begin another run from its newest checkpoint",
            adopt=True,
        )

    def refuse_loss(self, step: int, loss: Tensor, batch: Mapping[str, Tensor]) -> NoReturn:
        """Stop a run whose loss is not finite; keep the batch on which it broke."""
        file = self.path / "nonfinite_batch.safetensors"
        save_file({name: value.detach().cpu().clone() for name, value in batch.items()}, file)
        raise TrainingError(
            f"loss is {loss.item()} at step {step}: the batch is in {file}, the last good "
            "checkpoint is untouched; lower the learning rate or the guidance strength"
        )

    def release(self) -> None:
        """Let another process write here: the run has ended."""
        if self._hold is not None:
            self._hold.release()

    def _never_saved(self) -> bool:
        """Whether a run began here and ended before its first checkpoint: nothing is lost."""
        return (self.path / "run.json").is_file() and not (self.path / LATEST).exists()

    def _check_resumable(self, upgrade: Callable[[Record], Record]) -> None:
        """Refuse other settings."""
        file = self.path / "run.json"
        if not file.is_file() or not (self.path / LATEST).exists():
            raise UsageError(
                f"{self.path} holds no run with a checkpoint to resume: run without --resume"
            )
        remedy = "choose another output, and give its newest checkpoint as --init"
        stored = upgrade(read_object(file, UsageError, remedy))
        differing = [
            words for key, words in differences(stored, self.config) if key not in HOW_TO_RUN
        ]
        if differing:
            raise UsageError(
                f"{self.path} was started with other settings: {'; '.join(differing)}. Resume "
                "with the same ones or choose another output"
            )

    def _cut_log(self, step: int) -> None:
        """Drop lines after a step, and a last line that was cut by a kill."""
        kept = []
        if self._log.is_file():
            for line in self._log.read_text(errors="replace").splitlines():
                with contextlib.suppress(ValueError, KeyError, TypeError):
                    if json.loads(line)["step"] <= step:
                        kept.append(line + "\n")
        replace_text(self._log, "".join(kept))


def describe_environment() -> dict[str, object]:
    """Versions that decide whether a run can be repeated to the bit."""
    names = ("ate-stack", "torch", "accelerate", "transformers", "diffusers", "peft", "numpy")
    versions = {}
    for name in names:
        with contextlib.suppress(metadata.PackageNotFoundError):
            versions[name] = metadata.version(name)
    return {
        "python": platform.python_version(),
        "machine": f"{platform.system()} {platform.machine()}",
        "packages": versions,
        "device": torch.cuda.get_device_name() if torch.cuda.is_available() else "cpu",
        "command": sys.argv,
    }


def pack_state(
    step: int,
    model: nn.Module,
    optimizer: torch.optim.Optimizer,
    generators: Mapping[str, torch.Generator],
    averaged: Mapping[str, Tensor] | None = None,
) -> dict[str, Tensor]:
    """Everything that decides the next step, as named tensors on the CPU.

    Every process must call it: weights that are spread over processes are collected, on the
    first one only.
    """
    state = {"step": torch.tensor(step)}
    state |= {f"model.{name}": value for name, value in _weights(model).items()}
    state |= {f"averaged.{name}": _whole(value) for name, value in (averaged or {}).items()}
    whole = get_optimizer_state_dict(model, optimizer, options=WHOLE)
    for name, entries in _moments(whole).items():
        state |= {f"optimizer.{key}.{name}": value for key, value in entries.items()}
    state |= {f"generator.{name}": g.get_state() for name, g in generators.items()}
    return {name: value.detach().clone() for name, value in state.items()}


def unpack_state(
    state: Mapping[str, Tensor],
    model: nn.Module,
    optimizer: torch.optim.Optimizer,
    generators: Mapping[str, torch.Generator],
    averaged: Mapping[str, Tensor] | None = None,
) -> int:
    """Put a packed state back; returns the step."""
    try:
        set_model_state_dict(model, _part(state, "model."), options=WHOLE)
        for name, value in (averaged or {}).items():
            value.copy_(_like(state[f"averaged.{name}"], value))
        template = get_optimizer_state_dict(model, optimizer)
        moments: dict[str, ValueType] = {
            name: {key: state[f"optimizer.{key}.{name}"] for key in entries}
            for name, entries in _moments(template).items()
        }
        set_optimizer_state_dict(model, optimizer, {**template, "state": moments}, options=WHOLE)
        for name, generator in generators.items():
            generator.set_state(state[f"generator.{name}"])
    except (KeyError, RuntimeError, ValueError) as error:
        reason = " ".join(str(error).split())[:200]
        raise TrainingError(f"the stored training state does not fit ({reason})") from None
    return int(state["step"])


def saved_weights(model: nn.Module, averaged: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Weights of a checkpoint: averages where there are any; every process must call it."""
    return _weights(model) | {name: _whole(value) for name, value in averaged.items()}


# torch gives both as anything that a state may hold; these hold tensors
def _weights(model: nn.Module) -> dict[str, Tensor]:
    return cast("dict[str, Tensor]", get_model_state_dict(model, options=WHOLE))


def _moments(state: OptimizerStateType) -> dict[str, dict[str, Tensor]]:
    """By parameter; none on the processes that do not collect."""
    return cast("dict[str, dict[str, Tensor]]", state.get("state", {}))


def _whole(value: Tensor) -> Tensor:
    return (value.full_tensor() if isinstance(value, DTensor) else value).cpu()


def _like(value: Tensor, other: Tensor) -> Tensor:
    """The same value, spread over processes as another tensor is."""
    if not isinstance(other, DTensor):
        return value
    return distribute_tensor(value.to(other.device), other.device_mesh, other.placements)


def _part(state: Mapping[str, Tensor], prefix: str) -> dict[str, ValueType]:
    return {name[len(prefix) :]: v for name, v in state.items() if name.startswith(prefix)}
