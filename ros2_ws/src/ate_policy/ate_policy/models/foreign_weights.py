"""Weights that other projects published: their files, their names, and whether they fit ours."""

import pickle
import re
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor

from ate_core.errors import CheckpointError
from ate_policy.checkpoint import read_tensors
from ate_policy.models.foreign_files import (
    INDEX,
    SINGLE,
    require_file,
    require_folder,
    require_whole,
    shards_of,
)

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

EXACT = (torch.float64, torch.float32, torch.float16, torch.bfloat16)
"""Types in which weights are what they were trained as; in others they are quantised."""


KINDS = (
    ("pi0.5", r"(^|\.)time_mlp_in\.", "`ate import-pi0` reads them"),
    ("pi0", r"(^|\.)action_time_mlp_in\.", "`ate import-pi0` reads them"),
    ("SmolVLA", r"(^|\.)vlm_with_expert\.", ""),
    ("pi0-FAST or PaliGemma alone, without an expert", r"(^|\.)(paligemma|language_model)\.", ""),
    ("RDT", r"^lang_adaptor\.", "`ate import-rdt` reads them"),
    ("the released action VAE", r"(^|\.)global_motion_token$", "`ate import-vae` reads them"),
    ("Diffusion Policy", r"(^|\.)(unet\.mid_modules|mid_modules)\.", "`ate import-dp` reads them"),
    ("ACT", r"(^|\.)vae_encoder\.", "`ate import` reads its recordings, not its weights"),
)
"""Published networks: what they are called, a name that only they have, what reads them."""


def kind_of(names: Iterable[str]) -> str | None:
    """What a published network with weights of these names is called, as in `KINDS`."""
    names = list(names)
    signs = ((kind, re.compile(sign)) for kind, sign, _ in KINDS)
    return next((kind for kind, sign in signs if any(map(sign.search, names))), None)


def require_kind(names: Iterable[str], wanted: str, sources: str) -> None:
    """Refuse weights of another published network than the wanted one, by its name.

    Args:
        names: Of the weights, as published.
        wanted: What the network is called, as in `KINDS`.
        sources: Where the right ones can be had.
    """
    kind = kind_of(names)
    if kind in (None, wanted):
        return  # what is nobody's is told by `require_fit`
    remedy = next(remedy for name, _, remedy in KINDS if name == kind)
    raise CheckpointError(
        f"these are weights of {kind}, not of {wanted}: {remedy or f'for {wanted} {sources}'}"
    )


def weight_names(folder: Path, sources: str) -> list[str]:
    """Names of all tensors of a folder, without reading these, see `weight_files`."""
    files = weight_files(folder, sources)
    if (folder / INDEX).is_file():
        names = list(shards_of(folder / INDEX))
    else:
        try:
            with safe_open(files[0], framework="pt") as file:
                names = list(file.keys())
        except (OSError, SafetensorError) as error:
            raise CheckpointError(f"{files[0]} cannot be read ({error}): copy it again") from None
    require_whole(names, folder)
    return names


def read_folder(folder: Path, sources: str) -> dict[str, Tensor]:
    """All tensors of a folder, each from the one file that its index names, see `weight_files`."""
    weight_names(folder, sources)
    files = weight_files(folder, sources)
    index = folder / INDEX
    if not index.is_file():
        return read_tensors(files[0])
    home = shards_of(index)
    tensors: dict[str, Tensor] = {}
    for file in files:
        part = read_tensors(file)
        strange = sorted(set(part) - set(home))
        if strange:
            raise CheckpointError(
                f"{file} holds {strange[0]}, which {INDEX} does not name: download both again"
            )
        own = file.relative_to(folder).as_posix()
        tensors |= {name: value for name, value in part.items() if home[name] == own}
    missing = sorted(set(home) - set(tensors))
    if missing:
        raise CheckpointError(
            f"{folder / home[missing[0]]} lacks {missing[0]}, which {INDEX} says it holds: "
            "download it again"
        )
    return tensors


def read_pickled(file: Path, sources: str) -> dict[str, Tensor]:
    """Tensors of a file that torch.save wrote, without running anything that it holds.

    Args:
        file: .pth, .pt or .safetensors.
        sources: Where it can be had, for the error message.
    """
    require_file(file, sources)
    if file.suffix == ".safetensors":
        tensors = read_tensors(file)
        require_whole(tensors, file)
        return tensors
    try:
        held = torch.load(file, map_location="cpu", weights_only=True)
    except (OSError, RuntimeError, EOFError, ValueError, pickle.UnpicklingError) as error:
        reason = " ".join(str(error).split())[:160]
        raise CheckpointError(
            f"{file} is damaged, or holds more than numbers and could run code, which is not read "
            f"here ({reason}): {sources}"
        ) from None
    for key in ("state_dict", "model"):
        if isinstance(held, Mapping) and isinstance(held.get(key), Mapping):
            held = held[key]
    if not isinstance(held, Mapping) or not all(isinstance(v, Tensor) for v in held.values()):
        raise CheckpointError(f"{file} holds no table of weights by name: {sources}")
    require_whole(map(str, held), file)
    return {str(name): value for name, value in held.items()}


def weight_files(folder: Path, sources: str) -> list[Path]:
    """model.safetensors of a folder, or the shards that its index names; not both.

    Args:
        folder: As downloaded.
        sources: Where it can be had, for the error message.
    """
    require_folder(folder, sources)
    index, single = (folder / name for name in (INDEX, SINGLE))
    if single.is_file() and index.is_file():
        raise CheckpointError(
            f"{folder} holds {SINGLE} and {INDEX}, so that each weight would have two "
            "sources: keep one of them"
        )
    if single.is_file() or single.is_symlink():
        files = [SINGLE]
    elif index.is_file() or index.is_symlink():
        files = sorted(set(shards_of(index).values()))
    elif (folder / PICKLED).is_file():
        raise CheckpointError(
            f"{folder} holds {PICKLED}, a pickled file that could run code, which is not read "
            f"here: convert it once, in that folder, with {CONVERT}"
        )
    else:
        raise CheckpointError(f"{folder} holds no {SINGLE} and no {INDEX}: {sources}")
    for name in files:
        require_file(folder / name, "download it again, with all files beside it")
    return [folder / name for name in files]


def rename(name: str, table: Renaming) -> str:
    """A name in the other naming."""
    for pattern, replacement in table:
        name = re.sub(pattern, replacement, name)
    return name


def rename_all(
    theirs: Mapping[str, Tensor], table: Renaming, first: str = ""
) -> dict[str, Tensor]:
    """Weights in the other naming; each name has one source, whatever the order of the files.

    Args:
        theirs: By their names.
        table: To the other names.
        first: Of two of them that become one name, the one that this pattern finds is taken.

    Raises:
        CheckpointError: two others become one name, and they are not equal; or one is quantised.
    """
    _require_exact(theirs)
    sources: dict[str, str] = {}
    for name in sorted(theirs):
        ours = rename(name, table)
        other = sources.setdefault(ours, name)
        if other == name or torch.equal(theirs[name], theirs[other]):
            continue
        ranked = [one for one in (name, other) if first and re.search(first, one)]
        if len(ranked) != 1:
            raise CheckpointError(
                f"{other} and {name} are both {ours} and differ: remove the older one"
            )
        sources[ours] = ranked[0]
    return {ours: theirs[name] for ours, name in sources.items()}


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
        "not finite": [
            name
            for name, value in weights.items()
            if not value.is_meta and not value.isfinite().all()  # those have shapes alone
        ],
    }
    found = [
        f"{len(names)} {what}, for instance {names[0]}"
        for what, names in problems.items()
        if names
    ]
    if found:
        raise CheckpointError(f"these are not the weights of this {network}: {'; '.join(found)}")


def _require_exact(theirs: Mapping[str, Tensor]) -> None:
    """Refuse weights that a quantisation left, whose scales stand elsewhere."""
    found = [name for name in sorted(theirs) if theirs[name].dtype not in EXACT]
    if found:
        kind, known = theirs[found[0]].dtype, ", ".join(_word(dtype) for dtype in EXACT)
        raise CheckpointError(
            f"{found[0]} is of {_word(kind)} ({len(found)} of {len(theirs)} weights are not of "
            f"{known}): they were quantised, give the folder from before that"
        )


def _word(dtype: torch.dtype) -> str:
    return str(dtype).removeprefix("torch.")
