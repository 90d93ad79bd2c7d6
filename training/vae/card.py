"""What a VAE's checkpoint says about itself: moments, choices and a model card."""

import dataclasses
import json

import torch

from ate_policy.checkpoint import Checkpoint
from training.configs.train_vae import TrainVaeConfig
from training.vae.chunks import VaeData
from training.vae.losses import DiagonalGaussian
from training.vae.model import ActionVae
from training.vae.moments import aggregate_moments
from training.vae.recipe import Recipe
from training.vae.reference import noised_moments
from training.vae.storage import describe_vae

INTERIM_CHUNKS = 2000
"""Chunks behind the moments of a checkpoint that is not the last."""


def describe(
    config: TrainVaeConfig, recipe: Recipe, data: VaeData, vae: ActionVae, step: int
) -> Checkpoint:
    """The checkpoint of this moment, with moments over training chunks.

    A finished run takes all of them; one that goes on takes a regular sample, so that stopping
    takes no longer than a step or two.
    """
    stride = 1 if step >= config.steps else max(1, len(data.chunks) // INTERIM_CHUNKS)
    chunks = data.chunks if stride == 1 else data.chunks[::stride]
    if recipe.moments == "total variance":
        moments = aggregate_moments(vae, chunks)
    else:
        moments = noised_moments(vae, chunks, torch.Generator().manual_seed(config.seed))
    training = json.loads(json.dumps(dataclasses.asdict(config), default=str))
    training |= {"step": step, "chunks": len(data.chunks), "moment_chunks": len(chunks)}
    training |= {"recipe": recipe.as_dict(), "deviations": recipe.deviations()}
    return describe_vae(
        vae,
        moments,
        contract=data.contract,
        statistics=data.statistics,
        training=training | data.about,
        card=_card(config, recipe, data, vae, moments, step),
    )


def _card(
    config: TrainVaeConfig,
    recipe: Recipe,
    data: VaeData,
    vae: ActionVae,
    moments: DiagonalGaussian,
    step: int,
) -> str:
    origin = ", ".join(f"{name} ({count})" for name, count in data.sources.items())
    parameters = sum(parameter.numel() for parameter in vae.parameters())
    return f"""# Action VAE, stage {config.stage}

| | |
|---|---|
| chunks of {vae.config.horizon} {config.actions} actions | {origin} |
| latent | {vae.latent}, mean sigma of q(z) {moments.variance.sqrt().mean():.3f} |
| parameters | {parameters / 1e6:.2f} M |
| steps | {step} of {config.steps}, seed {config.seed}, {config.precision} |
| matches | {config.match} |

| choice | this run | paper |
|---|---|---|
{recipe.rows()}

`moments.safetensors` holds mean and variance of the aggregate posterior ({recipe.moments}). It is
used in training only and is no part of a policy.
"""
