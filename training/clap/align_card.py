"""What a checkpoint of aligned video says about itself."""

import copy
import dataclasses
import json
from typing import Any

import torch

from ate_policy.checkpoint import Checkpoint
from ate_policy.token_folder import StoredTokens
from training.clap.align_measures import code_accuracy, latents_of, motion_latents, retrieval
from training.clap.align_recipe import AlignRecipe
from training.clap.align_storage import describe_alignment
from training.clap.chunks import same_take_note
from training.clap.features import FrameEncoder
from training.clap.vd_vae import VdVae
from training.clap.video_data import AlignmentData
from training.configs.align_video import AlignVideoConfig

MEASURED = 1000
"""Held-out windows behind the measures of a card, spread over their episodes."""


def describe(
    config: AlignVideoConfig,
    recipe: AlignRecipe,
    data: AlignmentData,
    tokens: StoredTokens,
    features: FrameEncoder,
    model: VdVae,
    step: int,
) -> Checkpoint:
    """The checkpoint of this moment, measured on the robot's held-out episodes."""
    measures = measure_held_out(data, tokens, features, model)
    training = json.loads(json.dumps(dataclasses.asdict(config), default=str))
    training |= {"step": step, "recipe": recipe.as_dict(), "deviations": recipe.deviations()}
    training |= {"data": data.about, "measures": measures}
    card = _card(config, recipe, data, tokens, model, step, measures)
    return describe_alignment(
        model, features=features, tokens=tokens, training=training, card=card
    )


def measure_held_out(
    data: AlignmentData, tokens: StoredTokens, features: FrameEncoder, model: VdVae
) -> dict[str, Any]:
    """Retrieval and codes on the robot's held-out windows; nothing where there are none."""
    windows = data.held_out
    if not len(windows):
        return {}
    every = max(1, len(windows) // MEASURED)
    windows = windows.select(torch.arange(0, len(windows), every))
    assert windows.idle is not None
    found = latents_of(model, features, windows, tokens.identity.horizon)
    latents, codes = motion_latents(tokens.model, windows)
    space, draws = copy.deepcopy(model.space).cpu(), torch.Generator().manual_seed(0)
    top1, candidates = retrieval(found.z_a, latents, windows, space, draws)
    measures = {"top1": top1, "candidates": candidates}
    measures |= code_accuracy(found.codes, codes, windows.idle)
    return {name: None if value != value else value for name, value in measures.items()}


def _card(
    config: AlignVideoConfig,
    recipe: AlignRecipe,
    data: AlignmentData,
    tokens: StoredTokens,
    model: VdVae,
    step: int,
    measures: dict[str, Any],
) -> str:
    sizes = dataclasses.asdict(model.config) | {
        name: getattr(config, name) for name in ("steps", "batch", "learning_rate")
    }
    trained = sum(p.numel() for p in model.parameters() if p.requires_grad)
    counts = "\n".join(f"| {name.replace('_', ' ')} | {n} |" for name, n in data.about.items())
    measured = "\n".join(f"| {name} | {_number(value)} |" for name, value in measures.items())
    same = same_take_note(data.tokens.about["same_take"])
    control = "\nThe labels were shuffled: this is a control.\n" if config.shuffle_labels else ""
    return f"""# Aligned video, codes of tokens {tokens.identity.sha256[:12]}
{control}
| | |
|---|---|
| camera | {config.camera}, frames {tokens.identity.horizon} ticks apart |
{counts}
| trained parameters | {trained / 1e6:.2f} M |
| steps | {step} of {config.steps}, seed {config.seed}, {config.precision} |
| matches | {config.match} |

| held-out episodes of the robot{same} | |
|---|---|
{measured}

The video is of simulated or recorded robots whose actions were not read; it shows no people.

| choice | this run | paper |
|---|---|---|
{recipe.rows(sizes)}
"""


def _number(value: float | None) -> str:
    return "none" if value is None else f"{value:.3g}"
