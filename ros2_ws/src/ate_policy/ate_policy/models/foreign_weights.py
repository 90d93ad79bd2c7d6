"""Weights that other projects published: their files, their names, and whether they fit ours."""

import json
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from ate_core.errors import CheckpointError
from ate_policy.checkpoint import read_tensors

PICKLED = "pytorch_model.bin"
"""What torch.save wrote; reading it may execute what it holds."""

CONVERT = (
    'python -c "import torch, safetensors.torch as s; s.save_file({k: v.contiguous() for k, v in '
    f"torch.load('{PICKLED}', map_location='cpu', weights_only=True).items()}}, "
    "'model.safetensors')\""
)
"""How to get a file that holds nothing but numbers."""

Renaming = Sequence[tuple[str, str]]
"""Patterns and replacements, in the order in which they are applied to a name."""


def read_folder(folder: Path, sources: str) -> dict[str, Tensor]:
    """All tensors of a folder, see `weight_files`."""
    tensors: dict[str, Tensor] = {}
    for file in weight_files(folder, sources):
        tensors |= read_tensors(file)
    return tensors


def weight_files(folder: Path, sources: str) -> list[Path]:
    """model.safetensors of a folder, or the shards that its index names.

    Args:
        folder: As downloaded.
        sources: Where it can be had, for the error message.
    """
    index = folder / "model.safetensors.index.json"
    if (folder / "model.safetensors").is_file():
        files = ["model.safetensors"]
    elif index.is_file():
        files = sorted(set(_json(index).get("weight_map", {}).values()))
    elif (folder / PICKLED).is_file():
        raise CheckpointError(
            f"{folder} holds {PICKLED}, a pickled file that could run code, which is not read "
            f"here: convert it once, in that folder, with {CONVERT}"
        )
    else:
        raise CheckpointError(
            f"{folder} holds no model.safetensors and no model.safetensors.index.json: {sources}"
        )
    return [folder / name for name in files]


def rename(name: str, table: Renaming) -> str:
    """A name in the other naming."""
    for pattern, replacement in table:
        name = re.sub(pattern, replacement, name)
    return name


def require_fit(
    weights: Mapping[str, Tensor], shapes: Mapping[str, torch.Size], network: str
) -> None:
    """Refuse weights unless every one of a network is there, in its shape, and no other.

    Args:
        weights: By our names.
        shapes: Of the network's weights.
        network: What it is called.
    """
    problems = {
        "missing": [name for name in shapes if name not in weights],
        "unexpected": [name for name in weights if name not in shapes],
        "of another shape": [
            f"{name} {tuple(value.shape)} instead of {tuple(shapes[name])}"
            for name, value in weights.items()
            if name in shapes and value.shape != shapes[name]
        ],
    }
    found = [
        f"{len(names)} {what}, for instance {names[0]}"
        for what, names in problems.items()
        if names
    ]
    if found:
        raise CheckpointError(f"these are not the weights of this {network}: {'; '.join(found)}")


def _json(file: Path) -> dict[str, Any]:
    try:
        table: dict[str, Any] = json.loads(file.read_text())
    except (OSError, ValueError) as error:
        raise CheckpointError(f"{file} cannot be read ({error}): copy it again") from None
    return table
