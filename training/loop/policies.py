"""Networks for `ate finetune`: sizes from a preset and the data, weights fresh or pre-trained."""

import dataclasses
from contextlib import nullcontext

import torch

from ate_core.contract import Cell, parse_cell_text
from ate_core.errors import TrainingError, UsageError
from ate_policy.checkpoint import Checkpoint, load_checkpoint
from ate_policy.chunking import CHUNK_SECONDS, ticks_in
from ate_policy.loading import placed_weights, without_weights
from ate_policy.models.interface import ChunkModel, PolicyConfig
from ate_policy.models.rdt_config import RdtConfig
from ate_policy.models.rdt_encoders import require_encoders
from ate_policy.models.registry import build_model, config_class, policy_entry
from training.configs.finetune import FinetuneConfig
from training.data.episode_file import read_cell
from training.data.trajectory import Trajectory


def horizon_of(config: FinetuneConfig) -> int:
    """Actions per chunk: as given, or those of one second at the tick rate of the episodes."""
    if config.horizon is not None:
        return config.horizon
    return ticks_in(CHUNK_SECONDS, read_cell(config.episodes).tick_rate)


def policy_sizes(config: FinetuneConfig, first: Trajectory) -> PolicyConfig:
    """Sizes of the policy: of the preset or the pre-trained one, with the data's interface.

    Args:
        config: Of the run.
        first: A demonstration; the others are checked against it.
    """
    kind = config.policy
    layout = parse_cell_text(first.contract).layout
    vision = config.variant == "vision"
    objects = 0 if vision or first.environment is None else first.environment.shape[1]
    if not vision and objects == 0:
        raise TrainingError(
            f"{first.name} has no object poses: a state policy learns from the simulated cell; "
            "train with --variant vision"
        )
    fixed = {
        "horizon": horizon_of(config),
        "action_size": layout.action.size,
        "state_size": layout.state.size,
        "objects": objects,
        "cameras": (config.cameras or layout.cameras) if vision else (),
    }
    fixed |= _options(config, parse_cell_text(first.contract))
    if config.init is None:
        sizes = policy_entry(kind).preset(config.preset).sizes
        return _reading_all(config, config_class(kind)(**{**sizes, **fixed}))
    stored = load_checkpoint(config.init, kind=kind)
    preset = stored.training.get("preset", config.preset)
    if preset != config.preset:
        raise UsageError(
            f"{config.init} is of preset {preset}, this run of {config.preset}: give --preset "
            f"{preset}, which also decides learning rate, batch and augmentation"
        )
    return _reading_all(config, dataclasses.replace(config_class(kind)(**stored.model), **fixed))


def _reading_all(config: FinetuneConfig, sizes: PolicyConfig) -> PolicyConfig:
    """The sizes, unless something was given that they do not read, or lacks that they do."""
    for name, reads, remedy in (
        ("tokenizer", sizes.language, "--language True"),
        ("text_encoder", sizes.language, "--language True"),
        ("image_encoder", sizes.cameras, "--variant vision"),
        ("freeze_vision", sizes.cameras, "--variant vision"),
    ):
        if getattr(config, name) and not reads:
            raise UsageError(
                f"{name} is {getattr(config, name)}, which this policy does not read: leave it "
                f"out, or give {remedy}"
            )
    if isinstance(sizes, RdtConfig):
        require_encoders(sizes)  # before gigabytes are drawn
    return sizes


def build_policy(config: FinetuneConfig, sizes: PolicyConfig, contract: str) -> ChunkModel:
    """A fresh network, or the pre-trained one of `init`."""
    kind = config.policy
    torch.manual_seed(config.seed)
    if config.init is None:
        return build_model(kind, sizes)
    stored = load_checkpoint(config.init, parse_cell_text(contract), kind)
    adapters = getattr(sizes, "train", "") == "lora"  # these are drawn, the rest is not
    with nullcontext() if adapters else without_weights():
        model = build_model(kind, sizes)
    weights = placed_weights(stored.weights, torch.device("cpu"), torch.float32)
    try:
        model.load_state_dict(weights, assign=not adapters)
    except RuntimeError as error:
        differing = _differing_sizes(stored, sizes)
        reason = "; ".join(differing) or " ".join(str(error).split())[:200]
        raise TrainingError(f"{config.init} has other sizes than this run: {reason}") from None
    return model


def _differing_sizes(stored: Checkpoint, sizes: PolicyConfig) -> list[str]:
    return [
        f"{name} {stored.model.get(name)} against {value}"
        for name, value in dataclasses.asdict(sizes).items()
        if stored.model.get(name) != (list(value) if isinstance(value, tuple) else value)
    ]


def _options(config: FinetuneConfig, cell: Cell) -> dict[str, object]:
    """Fields of a network's configuration that the command line or the cell decides."""
    options: dict[str, object] = {}
    if config.language is not None:
        options["language"] = config.language
    if config.policy in ("pi0", "rdt"):
        options["gradient_checkpointing"] = config.gradient_checkpointing
    if config.policy == "pi0":
        options |= {
            "train": config.pi0_train,
            "lora_rank": config.lora_rank,
            "lora_alpha": float(config.lora_rank),
            "freeze_vision": config.freeze_vision,
        }
        if config.tokenizer is not None:
            options["tokenizer"] = str(config.tokenizer)
    if config.policy == "rdt":
        options |= {
            "action_names": cell.layout.action.names,
            "state_names": cell.layout.state.names,
            "control_frequency": round(cell.tick_rate),
        }
        for name in ("text_encoder", "image_encoder"):
            if getattr(config, name) is not None:
                options[name] = str(getattr(config, name))
    return options
