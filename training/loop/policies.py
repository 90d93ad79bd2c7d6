"""Networks for `ate finetune`: configured by a preset and the data, weights fresh or given."""

import dataclasses
from collections.abc import Mapping
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import torch

from ate_core.contract import Cell, parse_cell_text
from ate_core.errors import TrainingError, UsageError
from ate_policy.checkpoint import Checkpoint, load_checkpoint, read_model
from ate_policy.chunking import usual_horizon
from ate_policy.loading import placed_weights, without_weights
from ate_policy.models.interface import Network, PolicyConfig
from ate_policy.models.registry import entry_of
from ate_policy.token_folder import load_tokens, require_same_tokens
from training.configs.finetune import FinetuneConfig
from training.configs.old_words import preset_of
from training.data.episode_file import read_cell
from training.data.trajectory import Trajectory


def horizon_of(config: FinetuneConfig) -> int:
    """Actions per chunk: as given, those of tokens, of `init`, or one second of the episodes."""
    if config.horizon is not None:
        return config.horizon
    decided = config.policy.horizon()
    if decided is not None:
        return decided
    if config.init is not None:
        return int(read_model(config.init, config.policy_name)["horizon"])
    return usual_horizon(read_cell(config.episodes).tick_rate)


def policy_config(config: FinetuneConfig, first: Trajectory) -> PolicyConfig:
    """Configuration of the network: of the preset or the pre-trained one, fitted to the data.

    Args:
        config: Of the run.
        first: A demonstration; the others are checked against it.
    """
    vision = config.variant == "vision"
    objects = 0 if vision or first.environment is None else first.environment.shape[1]
    if not vision and objects == 0:
        raise TrainingError(
            f"{first.name} has no object poses: a state policy learns from the simulated cell; "
            "train with --variant vision"
        )
    return config_for(config, parse_cell_text(first.contract), objects)


def config_for(config: FinetuneConfig, cell: Cell, objects: int) -> PolicyConfig:
    """Configuration of the network for a cell and so many object poses."""
    name, entry = entry_of(config.policy)
    vision = config.variant == "vision"
    fixed = {
        "horizon": horizon_of(config),
        **({} if config.max_delay is None else {"max_delay": config.max_delay}),
        "action_size": cell.layout.action.size,
        "state_size": cell.layout.state.size,
        "objects": objects,
        "cameras": (config.images.cameras or cell.layout.cameras) if vision else (),
        **config.policy.fields(cell),
    }
    if config.init is None:
        made = entry.config(**{**config.preset.sizes, **fixed})
        if made.keeps:
            raise UsageError(
                f"the {made.keeps} is frozen, and this run starts from random weights, which it "
                f"would keep: give --init, or train the {made.keeps} along"
            )
    else:
        stored = load_checkpoint(config.init, kind=name)
        _require_preset(config, stored)
        _require_tokens(config.init, stored, fixed)
        made = dataclasses.replace(entry.config(**stored.model), **fixed)
    config.policy.check(made)
    return made


def _require_preset(config: FinetuneConfig, stored: Checkpoint) -> None:
    preset = preset_of(stored.training) or config.policy.preset
    if preset != config.policy.preset:
        raise UsageError(
            f"{config.init} is of preset {preset}, this run of {config.policy.preset}: give "
            f"--policy.preset {preset}, which also decides learning rate, batch and augmentation"
        )


def _require_tokens(init: Path, stored: Checkpoint, fixed: Mapping[str, Any]) -> None:
    """Refuse other tokens than those that the start writes."""
    known, asked = stored.model.get("tokens_sha256"), fixed.get("tokens_sha256")
    if known and asked and known != asked:
        ours, theirs = (
            load_tokens(Path(str(one["tokens"]))).identity for one in (stored.model, fixed)
        )
        require_same_tokens(ours, theirs, f"the tokens {fixed['tokens']}, beside {init},")


def build_policy(config: FinetuneConfig, made: PolicyConfig, contract: str) -> Network:
    """A fresh network, or the pre-trained one of `init`.

    Args:
        config: Of the run.
        made: Configuration of the network.
        contract: Text of the data's cell.
    """
    name, entry = entry_of(config.policy)
    torch.manual_seed(config.seed)
    if config.init is None:
        return entry.build(made)
    stored = _load_start(config.init, parse_cell_text(contract), name)
    weights = placed_weights(stored.weights, torch.device("cpu"), torch.float32)
    with nullcontext() if made.adds_weights else without_weights():
        model = entry.build(made)
    try:
        model.load_state_dict(weights, assign=not made.adds_weights)
    except RuntimeError as error:
        differing = _differing_sizes(stored, made)
        reason = "; ".join(differing) or " ".join(str(error).split())[:200]
        raise TrainingError(f"{config.init} has other sizes than this run: {reason}") from None
    return model


def _load_start(init: Path, cell: Cell, name: str) -> Checkpoint:
    """The pre-trained network; one of another body may have had fewer cameras than the cell."""
    stored = load_checkpoint(init, kind=name)
    if stored.cell.operators:
        return load_checkpoint(init, cell, name)
    theirs = stored.cell.layout
    dataclasses.replace(cell.layout, cameras=theirs.cameras).require(theirs, str(init))
    return stored


def _differing_sizes(stored: Checkpoint, made: PolicyConfig) -> list[str]:
    return [
        f"{name} {stored.model.get(name)} against {value}"
        for name, value in dataclasses.asdict(made).items()
        if stored.model.get(name) != (list(value) if isinstance(value, tuple) else value)
    ]
