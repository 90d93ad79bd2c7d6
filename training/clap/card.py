"""What a checkpoint of action tokens says about itself."""

import dataclasses
import json

from ate_policy.checkpoint import Checkpoint
from ate_policy.models.action_tokens import ActionTokens
from training.clap.chunks import TokenData, same_take_note
from training.clap.measures import TokenMeasures, measure
from training.clap.recipe import TokenRecipe
from training.clap.storage import describe_tokens
from training.configs.train_tokens import TrainTokensConfig

INTERIM_CHUNKS = 2000
"""Chunks behind the measures of a checkpoint that is not the last."""
CONTRADICTION = (
    "Table V of the paper counts 16 codes for the seven numbers of one arm (40.0 dB); Table IX "
    "and the released code have 8 per arm, for which Table V says 29.9 dB. Bits here are per arm "
    "and chunk."
)
"""What two tables of the paper say of the same choice."""


def describe(
    config: TrainTokensConfig, recipe: TokenRecipe, data: TokenData, model: ActionTokens, step: int
) -> Checkpoint:
    """The checkpoint of this moment, measured on training and on held-out episodes.

    A finished run takes all chunks; one that goes on takes a regular sample, so that stopping
    takes no longer than a step or two.
    """
    chunks = data.normalised()
    found = {}
    for name, mask in (("train", ~data.held_out), ("held_out", data.held_out)):
        rows = chunks[mask].flatten(0, 1)
        stride = 1 if step >= config.steps else max(1, len(rows) // INTERIM_CHUNKS)
        found[name] = measure(model, rows[::stride])
    training = json.loads(json.dumps(dataclasses.asdict(config), default=str))
    training |= {"step": step, "sources": data.sources, "recipe": recipe.as_dict()}
    training |= {"deviations": recipe.deviations()} | data.about
    training["measures"] = {name: one.as_dict() for name, one in found.items()}
    card = _card(config, recipe, data, model, found, step)
    return describe_tokens(model, data=data, training=training, card=card)


def _card(
    config: TrainTokensConfig,
    recipe: TokenRecipe,
    data: TokenData,
    model: ActionTokens,
    found: dict[str, TokenMeasures],
    step: int,
) -> str:
    origin = ", ".join(f"{name} ({count})" for name, count in data.sources.items())
    parameters = sum(parameter.numel() for parameter in model.parameters())
    sizes = dataclasses.asdict(model.config) | {"steps": config.steps, "batch": config.batch}
    measured = [
        f"| {name} | {one.psnr:.2f} | {one.psnr_unquantised:.2f} | {one.used} of "
        f"{model.config.codebook} | {one.perplexity:.0f} | {100 * one.outside:.1f} % |"
        for name, one in found.items()
    ]
    held = f"{data.about['held_out_episodes']} of {data.about['episode_count']} episodes"
    return f"""# Action tokens, {model.config.codes} of {model.config.codebook} per arm and chunk

| | |
|---|---|
| chunks of {model.config.horizon} actions, {model.config.space} space | {origin} |
| held out | {held}, {config.split}{same_take_note(data.about["same_take"])} |
| bits per arm and chunk | {model.config.bits:g} |
| parameters | {parameters / 1e6:.2f} M |
| steps | {step} of {config.steps}, seed {config.seed}, {config.precision} |
| matches | {config.match} |

| episodes | PSNR [dB] | without codes [dB] | codes used | perplexity | outside [-1, 1] |
|---|---|---|---|---|---|
{chr(10).join(measured)}

| choice | this run | paper |
|---|---|---|
{recipe.rows(sizes)}

{CONTRADICTION}
"""
