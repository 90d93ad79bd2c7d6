"""A pi0 or pi0.5 of ours as a folder that lerobot's own loader opens (tried with lerobot 0.6.1).

config.json names inputs, outputs and sizes; policy_preprocessor.json and policy_postprocessor.json
what happens around the network, with the statistics in a file of their own, and norm_stats.json
the same statistics for openpi. Their normalisation is (x - mean) / (std + 1e-8), ours
(x - mean) / std; of pi0.5 theirs is 2 (x - q01) / (q99 - q01) - 1, for which the quantiles are
written as mean - std and mean + std of ours.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file
from torch import Tensor

from ate_core.layout import Layout
from ate_policy.models.pi0_config import Pi0Config
from ate_policy.models.pi0_inputs import camera_order
from ate_policy.transforms import Statistics, VectorStatistics

STATE, ACTION = "observation.state", "action"
"""Their names of what a policy reads and gives."""

TOKENIZER = "google/paligemma-3b-pt-224"
"""Where lerobot takes the tokenizer from."""

Json = dict[str, Any]


@dataclass(frozen=True, kw_only=True)
class _Kind:
    """What lerobot does differently for a pi0.5."""

    name: str
    """Its word for the policy."""
    normalisation: str
    """Of states and actions."""
    longest_prompt: int
    """Tokens of a prompt (openpi)."""

    @property
    def mapping(self) -> dict[str, str]:
        """Normalisation by kind of feature."""
        return {
            "VISUAL": "IDENTITY",
            "STATE": self.normalisation,
            "ACTION": self.normalisation,
        }


PI0 = _Kind(name="pi0", normalisation="MEAN_STD", longest_prompt=48)
PI05 = _Kind(name="pi05", normalisation="QUANTILES", longest_prompt=200)


def write_lerobot_folder(
    folder: Path,
    weights: Mapping[str, Tensor],
    config: Pi0Config,
    statistics: Statistics,
    layout: Layout,
) -> None:
    """Write a new folder.

    Args:
        folder: Must not exist.
        weights: By lerobot's names.
        config: Sizes of the network.
        statistics: What it normalises with.
        layout: Names of its state and actions.
    """
    kind = PI05 if config.adaptive else PI0
    if kind is PI05:
        state, action = _ends(statistics.state), _ends(statistics.action)
        statistics = replace(statistics, state=state, action=action)
    folder.mkdir(parents=True)
    save_file(dict(weights), folder / "model.safetensors", metadata={"format": "pt"})
    relative = {
        "enabled": bool(statistics.relative),
        "exclude_joints": _absolute_names(statistics, layout),
        "action_names": list(layout.action.names),
    }
    _write(folder / "config.json", _config(kind, config, relative))
    normaliser = {"eps": 1e-8, "norm_map": kind.mapping}
    before = _before(kind, config, relative, normaliser)
    after: list[Json] = [
        {
            "registry_name": "unnormalizer_processor",
            "config": {**normaliser, "features": _outputs(config)},
        },
        {
            "registry_name": "absolute_actions_processor",
            "config": {"enabled": relative["enabled"]},
        },
        {"registry_name": "device_processor", "config": {"device": "cpu", "float_dtype": None}},
    ]
    parts = {STATE: statistics.state, ACTION: statistics.action}
    _write_steps(folder, "policy_preprocessor", before, parts)
    _write_steps(folder, "policy_postprocessor", after, parts)
    _write(folder / "norm_stats.json", statistics.to_dict())


def _before(kind: _Kind, config: Pi0Config, relative: Json, normaliser: Json) -> list[Json]:
    """Steps in front of the network; a pi0.5 spells the normalised state in its prompt."""
    begin: list[Json] = [
        {"registry_name": "rename_observations_processor", "config": {"rename_map": {}}},
        {"registry_name": "to_batch_processor", "config": {}},
    ]
    tokenizer = {"registry_name": "tokenizer_processor", "config": _tokenizing(kind)}
    device = {
        "registry_name": "device_processor",
        "config": {"device": "cpu", "float_dtype": None},
    }
    numbers: list[Json] = [
        {"registry_name": "relative_actions_processor", "config": relative},
        {
            "registry_name": "normalizer_processor",
            "config": {**normaliser, "features": _inputs(config) | _outputs(config)},
        },
    ]
    if kind is PI0:
        line = {"registry_name": "pi0_new_line_processor", "config": {}}
        return [*begin, line, tokenizer, device, *numbers]
    spell = {
        "registry_name": "pi05_prepare_state_tokenizer_processor_step",
        "config": {},
    }
    return [*begin, *numbers, spell, tokenizer, device]


def _ends(vector: VectorStatistics) -> VectorStatistics:
    """What becomes -1 and 1, as quantiles."""
    pairs = list(zip(vector.mean, vector.std, strict=True))
    return replace(
        vector,
        q01=tuple(mean - std for mean, std in pairs),
        q99=tuple(mean + std for mean, std in pairs),
    )


def _config(kind: _Kind, config: Pi0Config, relative: Json) -> Json:
    return {
        "type": kind.name,
        "n_obs_steps": 1,
        "input_features": _inputs(config),
        "output_features": _outputs(config),
        "paligemma_variant": "gemma_2b",
        "action_expert_variant": "gemma_300m",
        "chunk_size": config.horizon,
        "n_action_steps": config.horizon,
        "max_state_dim": config.max_state_size,
        "max_action_dim": config.max_action_size,
        "num_inference_steps": config.steps,
        "image_resolution": [config.image_height, config.image_width],
        "use_relative_actions": relative["enabled"],
        "relative_exclude_joints": relative["exclude_joints"],
        "action_feature_names": relative["action_names"],
        "normalization_mapping": kind.mapping,
        "tokenizer_max_length": kind.longest_prompt,
    }


def _inputs(config: Pi0Config) -> Json:
    """What it reads; lerobot gives it the images in the order in which they stand here."""
    image = [3, config.image_height, config.image_width]
    cameras = [config.cameras[index] for index in camera_order(config.cameras)]
    return {
        STATE: {"type": "STATE", "shape": [config.state_size]},
        **{f"observation.images.{key}": {"type": "VISUAL", "shape": image} for key in cameras},
    }


def _outputs(config: Pi0Config) -> Json:
    return {ACTION: {"type": "ACTION", "shape": [config.action_size]}}


def _tokenizing(kind: _Kind) -> Json:
    return {
        "max_length": kind.longest_prompt,
        "task_key": "task",
        "padding_side": "right",
        "padding": "max_length",
        "truncation": True,
        "tokenizer_name": TOKENIZER,
    }


def _absolute_names(statistics: Statistics, layout: Layout) -> list[str]:
    """Names of actions that stay absolute where the others are differences."""
    names = layout.action.names
    return [name for index, name in enumerate(names) if index not in statistics.relative]


def _write_steps(
    folder: Path, name: str, steps: list[Json], parts: Mapping[str, VectorStatistics]
) -> None:
    """A list of steps, and the statistics of the one that normalises."""
    tensors = {
        f"{part}.{key}": torch.tensor(getattr(vector, key), dtype=torch.float32)
        for part, vector in parts.items()
        for key in ("mean", "std", "q01", "q99")
    }
    for index, step in enumerate(steps):
        if "norm_map" in step["config"]:
            step["state_file"] = f"{name}_step_{index}_{step['registry_name']}.safetensors"
            save_file(tensors, folder / step["state_file"])
    _write(folder / f"{name}.json", {"name": name, "steps": steps})


def _write(file: Path, value: Json) -> None:
    file.write_text(json.dumps(value, indent=2) + "\n")
