"""Action VAEs on disk: a checkpoint folder with the moments of its aggregate posterior."""

import dataclasses
from pathlib import Path
from typing import Any

import torch

from ate_core.contract import Cell
from ate_core.errors import CheckpointError, TrainingError
from ate_core.layout import Layout
from ate_policy.checkpoint import (
    Checkpoint,
    load_checkpoint,
    read_tensors,
    resolve_checkpoint,
)
from ate_policy.transforms import Statistics
from training.data.dataset import action_space
from training.data.statistics import quantile_statistics
from training.vae.losses import DiagonalGaussian
from training.vae.model import ActionVae, VaeConfig

ACTION_VAE = "action_vae"
"""Kind of a checkpoint that holds an action VAE."""

MOMENTS = "moments"
"""Stem of the tensor file with mean and variance of q(z)."""


@dataclasses.dataclass(frozen=True)
class StoredVae:
    """A frozen VAE with what is known about it."""

    model: ActionVae
    """In eval mode, without gradients on its weights."""
    moments: DiagonalGaussian
    """Aggregate posterior over its training chunks."""
    checkpoint: Checkpoint
    """Folder content."""

    @property
    def stage(self) -> int:
        """1: pre-training data; 2: demonstrations."""
        return int(self.checkpoint.training.get("stage", 0))


def describe_vae(
    vae: ActionVae,
    moments: DiagonalGaussian,
    *,
    contract: str,
    statistics: Statistics,
    training: dict[str, Any],
    card: str,
) -> Checkpoint:
    """Describe a VAE as a checkpoint, ready to be saved."""
    return Checkpoint(
        kind=ACTION_VAE,
        weights=vae.state_dict(),
        model=dataclasses.asdict(vae.config),
        contract=contract,
        statistics=statistics,
        training=training,
        card=card,
        extra={MOMENTS: {"mean": moments.mean, "variance": moments.variance}},
    )


def load_vae(folder: Path, cell: Cell | None = None) -> StoredVae:
    """Load a frozen VAE from its checkpoint or run folder."""
    checkpoint = load_checkpoint(folder, cell, kind=ACTION_VAE)
    try:
        model = ActionVae(VaeConfig(**checkpoint.model))
        model.load_state_dict(dict(checkpoint.weights))
    except (TypeError, RuntimeError) as error:
        reason = " ".join(str(error).split())[:200]
        raise CheckpointError(f"{folder}: weights do not fit config.json ({reason})") from None
    stored = read_tensors(resolve_checkpoint(folder) / f"{MOMENTS}.safetensors")
    if set(stored) != {"mean", "variance"} or stored["mean"].shape != (model.latent,):
        raise CheckpointError(f"{folder}: moments.safetensors does not fit: train it again")
    if not torch.isfinite(stored["mean"]).all() or not (stored["variance"] > 0).all():
        raise CheckpointError(f"{folder}: moments are not finite and positive: train it again")
    moments = DiagonalGaussian(stored["mean"], stored["variance"])
    return StoredVae(model.eval().requires_grad_(False), moments, checkpoint)


def require_finished(vae: StoredVae, folder: Path) -> None:
    """Refuse the newest checkpoint of a run that was stopped; one that is named itself is meant.

    Args:
        vae: As loaded.
        folder: As given.
    """
    step, steps = (vae.checkpoint.training.get(name) for name in ("step", "steps"))
    is_named = folder.name.startswith("step_")
    if isinstance(step, int) and isinstance(steps, int) and step < steps and not is_named:
        raise TrainingError(
            f"{folder} was stopped after step {step} of {steps}: go on with the same command and "
            f"--resume, or give its checkpoint step_{step:06d} to use it as it is"
        )


def require_same_space(vae: StoredVae, statistics: Statistics, horizon: int) -> None:
    """Refuse a VAE that was trained on other chunks than the policy is trained on."""
    if vae.stage != 2:
        raise TrainingError(
            f"the VAE is of stage {vae.stage}, guidance needs stage 2: run "
            "`ate train-vae --stage 2` on these episodes"
        )
    if vae.model.config.horizon != horizon:
        raise TrainingError(
            f"the VAE's chunks have {vae.model.config.horizon} actions, the policy's {horizon}: "
            "use one horizon for both"
        )
    own, theirs = action_space(statistics), action_space(vae.checkpoint.statistics)
    if own != theirs:
        raise TrainingError(
            f"the VAE was trained on {theirs} actions, the policy on {own} ones: give both, and "
            "stage 1 of the VAE, the same --actions"
        )
    policy, encoder = statistics, vae.checkpoint.statistics
    for scaled, other, remedy in (
        (policy, encoder, "train it again with --by-quantiles"),
        (encoder, policy, "train it again without --by-quantiles"),
    ):
        if scaled.action == quantile_statistics(other).action != other.action:
            raise TrainingError(
                "only one of the VAE and the policy brings the 1 % and 99 % quantiles of the "
                f"demonstrations to -1 and 1: {remedy}"
            )
    if encoder.action != policy.action:
        raise TrainingError(
            "the VAE was trained on other episodes, or on more or fewer of them, or only one of "
            "both with --no-normalise (its action statistics differ): run `ate train-vae --stage "
            "2` with the --episodes, --demonstrations and --no-normalise of this run, and, where "
            "it keeps the statistics of --init INIT, with --statistics-of INIT"
        )


def require_same_demonstrations(vae: StoredVae, layout: Layout, motion: str) -> None:
    """Refuse a VAE of another cell's chunks, or of other demonstrations than the policy's.

    Args:
        vae: Of stage 2; one of an older version does not tell its demonstrations.
        layout: Of the policy's cell.
        motion: Digest of its demonstrations, see `Demonstrations.motion_sha256`.
    """
    learned = vae.checkpoint.cell.layout
    if (learned.action, learned.tick_rate) != (layout.action, layout.tick_rate):
        raise TrainingError(
            "the VAE has another action layout or tick rate than the policy's episodes "
            f"({'; '.join(learned.differences(layout))}): run `ate train-vae --stage 2` on these"
        )
    if vae.checkpoint.training.get("motion_sha256", motion) != motion:
        raise TrainingError(
            "the VAE was trained on other episodes than the policy, or on more or fewer of them: "
            "run `ate train-vae --stage 2` with the --episodes, --demonstrations, --min-score and "
            "--exclude of this run"
        )
