"""Networks for `ate finetune`: configured by a preset and the data, weights fresh or given."""

import dataclasses
from collections.abc import Mapping
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from ate_core.contract import Cell, parse_cell_text
from ate_core.errors import TrainingError, UsageError
from ate_policy.checkpoint import Checkpoint, describe_checkpoint, load_checkpoint, read_model
from ate_policy.chunking import usual_horizon
from ate_policy.loading import placed_weights, without_weights
from ate_policy.models.clap_trunk import TrunkConfig
from ate_policy.models.interface import Network, PolicyConfig
from ate_policy.models.pi0_config import Pi0Config
from ate_policy.models.pi0_inputs import (
    BYTES,
    TOKENIZER_HELP,
    ByteTokenizer,
    load_tokenizer,
    sample_ids,
)
from ate_policy.models.registry import entry_of
from ate_policy.token_folder import load_tokens, require_same_tokens
from training.configs.finetune import FinetuneConfig
from training.configs.old_words import preset_of
from training.data.episode_file import read_cell
from training.data.trajectory import Trajectory

TRUNK = "trunk."
"""How the weights of a trunk are named, in every network that has one."""


def horizon_of(config: FinetuneConfig) -> int:
    """Actions per chunk: as given, those of tokens, of `init`, or one second of the episodes."""
    if config.horizon is not None:
        return config.horizon
    decided = config.policy.horizon()
    if decided is not None:
        return decided
    if config.init is not None:
        name, entry = entry_of(config.policy)
        return int(read_model(config.init, entry.kinds_of_start(name))["horizon"])
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
    stored = _known_network(config)
    fixed = {
        "horizon": horizon_of(config),
        **({} if config.max_delay is None else {"max_delay": config.max_delay}),
        "action_size": cell.layout.action.size,
        "state_size": cell.layout.state.size,
        "objects": objects,
        "cameras": _cameras(config, cell, stored),
        **config.policy.fields(cell),
    }
    if config.init is None or stored is None:
        made = entry.config(**{**config.preset.sizes, **fixed})
        if made.keeps:
            raise UsageError(
                f"the {made.keeps} is frozen, and this run starts from random weights, which it "
                f"would keep: give --init, or train the {made.keeps} along"
            )
    else:
        _require_preset(config, stored)
        _require_tokens(config.init, stored, fixed)
        if stored.kind == name:
            made = dataclasses.replace(entry.config(**stored.model), **fixed)
            _require_same_objects(config.init, stored, made)
            _require_same_words(config.init, stored, made)
        else:
            made = entry.config(**{**config.preset.sizes, **_trunk_of(stored), **fixed})
            _require_same_prompt(config.init, stored, made)
    config.policy.check(made)
    return made


def _known_network(config: FinetuneConfig) -> Checkpoint | None:
    """The network that a run goes on with, or starts from, without weights; None: a fresh one."""
    name, entry = entry_of(config.policy)
    folder = config.output if config.resume else config.init
    return None if folder is None else describe_checkpoint(folder, entry.kinds_of_start(name))


def _cameras(config: FinetuneConfig, cell: Cell, stored: Checkpoint | None) -> tuple[str, ...]:
    """Images that the network reads: as given, those that it learned from, or all of the cell."""
    if config.variant != "vision":
        return ()
    learned = () if stored is None else tuple(stored.model.get("cameras", ()))
    return config.images.cameras or learned or cell.layout.cameras


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


def _require_same_words(init: Path, stored: Checkpoint, made: PolicyConfig) -> None:
    """Refuse a tokenizer whose numbers are other words than those that the weights know."""
    if not (isinstance(made, Pi0Config) and made.reads_text):
        return
    before = type(made)(**stored.model)
    if not before.reads_text:
        if made.tokenizer == BYTES and before.vocabulary != ByteTokenizer.size:
            raise UsageError(
                f"{init} knows {before.vocabulary} words, this run would read letters: give "
                f"--policy.tokenizer; {TOKENIZER_HELP}"
            )
    elif made.tokenizer != before.tokenizer:
        theirs, ours = (sample_ids(load_tokenizer(one.tokenizer)) for one in (before, made))
        if theirs != ours:
            raise UsageError(
                f"{init} learned with another tokenizer than {made.tokenizer}, whose numbers "
                "would be other words to it: leave --policy.tokenizer out"
            )


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
    kinds = entry.kinds_of_start(name)
    stored = _load_start(config.init, parse_cell_text(contract), kinds)
    weights = placed_weights(stored.weights, torch.device("cpu"), torch.float32)
    if stored.kind != name:
        return _with_trunk(entry.build(made), weights)
    with nullcontext() if made.adds_weights else without_weights():
        model = entry.build(made)
    try:
        model.load_state_dict(weights, assign=not made.adds_weights)
    except RuntimeError as error:
        differing = _differing_sizes(stored, made)
        reason = "; ".join(differing) or " ".join(str(error).split())[:200]
        raise TrainingError(f"{config.init} has other sizes than this run: {reason}") from None
    return model


def _trunk_of(stored: Checkpoint) -> dict[str, Any]:
    """Fields that a network takes over from the trunk of another kind of network."""
    names = {field.name for field in dataclasses.fields(TrunkConfig)}
    return {name: value for name, value in stored.model.items() if name in names}


def _require_same_prompt(init: Path, stored: Checkpoint, made: PolicyConfig) -> None:
    """Refuse a run whose trunk would be given something else than it learned from."""
    for name in ("horizon", "state_size", "objects", "cameras", "language"):
        ours, theirs = getattr(made, name), stored.model[name]
        theirs = tuple(theirs) if isinstance(ours, tuple) else theirs
        if ours != theirs:
            raise TrainingError(
                f"the trunk of {init} has {name} {theirs}, this run {ours}: train with the same "
                f"{name}, or start from a token policy that has it"
            )


def _require_same_objects(init: Path, stored: Checkpoint, made: PolicyConfig) -> None:
    """Refuse another number of object poses, for which some networks have room."""
    learned = stored.model.get("objects", 0)
    if made.objects and learned not in (0, made.objects):
        raise TrainingError(
            f"{init} learned from {learned} object poses per tick, these episodes have "
            f"{made.objects}: start from a policy of this task, or train with --variant vision"
        )


def _with_trunk(model: Network, weights: Mapping[str, Tensor]) -> Network:
    """A fresh network with a trunk that another kind of network learned."""
    trunk = {name: value for name, value in weights.items() if name.startswith(TRUNK)}
    wanted = {name for name in model.state_dict() if name.startswith(TRUNK)}
    if wanted != set(trunk):
        raise TrainingError(
            f"the trunk lacks {sorted(wanted - set(trunk))[:3]} and has "
            f"{sorted(set(trunk) - wanted)[:3]} besides: train the token policy again"
        )
    model.load_state_dict({**model.state_dict(), **trunk})
    return model


def _load_start(init: Path, cell: Cell, kinds: tuple[str, ...]) -> Checkpoint:
    """The pre-trained network; one of another body may have had fewer cameras than the cell."""
    stored = load_checkpoint(init, kind=kinds)
    if stored.cell.operators:
        return load_checkpoint(init, cell, kinds)
    theirs = stored.cell.layout
    dataclasses.replace(cell.layout, cameras=theirs.cameras).require(theirs, str(init))
    return stored


def _differing_sizes(stored: Checkpoint, made: PolicyConfig) -> list[str]:
    return [
        f"{name} {stored.model.get(name)} against {value}"
        for name, value in dataclasses.asdict(made).items()
        if stored.model.get(name) != (list(value) if isinstance(value, tuple) else value)
    ]
