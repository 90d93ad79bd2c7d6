"""What lies where weights of others should: told by its name, with what to give instead."""

from collections.abc import Iterable
from pathlib import Path, PurePosixPath

from ate_core.errors import CheckpointError
from ate_core.json_text import UNREADABLE, read_object

INDEX = "model.safetensors.index.json"
"""Tells which of several files holds which weight."""

SINGLE = "model.safetensors"
"""The one file that holds all weights, where there are no shards."""

POINTER = b"version https://git-lfs.github.com/spec"
"""How a file begins that git-lfs left in place of the real one."""

ADAPTER = ("adapter_config.json", "adapter_model.safetensors", "adapter_model.bin")
"""Files of peft: changes of a network, not the network."""

ADAPTER_NAMES = ("lora_", "base_layer")
"""How parts of a weight's name begin that is of an adapter, or lies below one."""

MERGE = (
    "merge it into the network that it changes with peft (merge_and_unload), save that, and give "
    "its folder"
)


def require_file(file: Path, sources: str) -> None:
    """Refuse what is no file, or one that only stands for another.

    Args:
        file: As named by a person or an index.
        sources: Where it can be had, for the error message.
    """
    if file.is_symlink() and not file.exists():
        raise CheckpointError(
            f"{file} is a link to {file.readlink()}, which is not there, as in a Hugging Face "
            "cache that was copied without its blobs: copy it with `cp -rL`, or download it again"
        )
    if file.is_dir():
        raise CheckpointError(f"{file} is a folder, must be a file: {_within(file) or sources}")
    if not file.is_file():
        raise CheckpointError(f"{file} cannot be read, as it is no file: {sources}")
    try:
        with file.open("rb") as stream:
            is_pointer = stream.read(len(POINTER)) == POINTER
    except OSError as error:
        raise CheckpointError(f"{file} cannot be read ({error.strerror}): {sources}") from None
    if is_pointer:
        raise CheckpointError(
            f"{file} is a git-lfs pointer of {file.stat().st_size} bytes, not the file itself: "
            "run `git lfs pull` in its repository, or download the file alone"
        )


def require_folder(folder: Path, sources: str) -> None:
    """Refuse what is no folder of weights, by the name of what it is.

    Args:
        folder: As named by a person.
        sources: Where the right one can be had, for the error message.
    """
    if folder.is_symlink() and not folder.exists():
        raise CheckpointError(f"{folder} is a link to {folder.readlink()}, which is not there")
    if folder.is_file():
        remedy = f"give {folder.parent}" if folder.name in (SINGLE, INDEX) else sources
        raise CheckpointError(f"{folder} is a file, must be the folder that holds it: {remedy}")
    if not folder.is_dir():
        raise CheckpointError(f"{folder} is no folder: {sources}")
    found = [name for name in ADAPTER if (folder / name).exists()]
    if found:
        raise CheckpointError(
            f"{folder} holds {found[0]}: an adapter (LoRA) {_base_of(folder)}: {MERGE}, without "
            f"{found[0]}"
        )
    if not _holds_weights(folder) and (inside := _within(folder)):
        raise CheckpointError(f"{folder} is a Hugging Face cache, not a folder of it: {inside}")


def require_whole(names: Iterable[str], where: Path) -> None:
    """Refuse weights of an adapter among those of a network.

    Args:
        names: Of the weights.
        where: They lie, for people.
    """
    for name in names:
        if any(part.startswith(ADAPTER_NAMES) for part in name.lower().split(".")):
            raise CheckpointError(
                f"{where} holds {name}, of an adapter (LoRA) that is not merged: {MERGE}"
            )


def shards_of(index: Path) -> dict[str, str]:
    """Which file holds each weight, as paths from the folder of the index.

    Raises:
        CheckpointError: it names none, or one outside the folder.
    """
    require_file(index, "download it again")
    table = read_object(index, CheckpointError, "download it again").get("weight_map")
    if not isinstance(table, dict) or not table:
        raise CheckpointError(f"{index} names no weights (weight_map): download it again")
    for name, file in table.items():
        path = PurePosixPath(file) if isinstance(file, str) else None
        if path is None or path.is_absolute() or ".." in path.parts or not path.name:
            raise CheckpointError(
                f"{index} names {file!r} for {name}, must be a file inside its folder: download "
                "it again"
            )
    return {str(name): str(PurePosixPath(file)) for name, file in table.items()}


def _holds_weights(folder: Path) -> bool:
    """Whether it does, or did before what its links lead to was lost."""
    files = [folder / name for name in (SINGLE, INDEX)]
    return any(file.exists() or file.is_symlink() for file in files)


def _within(folder: Path) -> str:
    """Where weights lie in a Hugging Face cache; empty: it is none."""
    patterns = ["snapshots/*", "models--*/snapshots/*"]
    patterns += ["*"] if folder.name == "snapshots" else []
    found = [
        snapshot
        for pattern in patterns
        for snapshot in sorted(folder.glob(pattern))
        if _holds_weights(snapshot)
    ]
    if found:
        return f"give {' or '.join(map(str, found))}"
    is_cache = folder.name.startswith("models--") and (folder / "blobs").is_dir()
    return "it holds no weights: download them again, all files" if is_cache else ""


def _base_of(folder: Path) -> str:
    try:
        base = read_object(folder / ADAPTER[0], CheckpointError, "").get("base_model_name_or_path")
    except (CheckpointError, *UNREADABLE):
        base = None
    return f"of {base}" if base else "of another network"
