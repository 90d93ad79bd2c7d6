"""Where checkpoints lie, found by path or by name, and whether one is whole. Opens no network."""

import json
import math
import os
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from ate_core.errors import CheckpointError
from ate_core.json_text import UNREADABLE, read_object

RUNS = "ATE_RUNS"
"""Environment variable: folder in which runs are looked for by name; unset: ``runs``."""
LATEST = "last"
"""Link of a run folder to its newest checkpoint."""
FORMAT = 1
"""Version of the layout of a checkpoint's folder."""
SETTINGS = ("format", "kind", "layout_sha256", "model", "training")
"""What its config.json holds at least."""
TRAVELLING = ("tokenizer", "tokens")
"""Fields of a model that may name a folder of files: it is copied into the checkpoint, and the
field names the copy after loading."""
PARTS = {
    "action_vae": "ate train-vae",
    "action_tokens": "ate train-tokens",
    "aligned_video": "ate align-video",
}
"""Kinds of checkpoints that drive nothing -> what makes them."""
EXPONENTS = {
    "F64": (np.uint64, 0x7FF0_0000_0000_0000),
    "F32": (np.uint32, 0x7F80_0000),
    "F16": (np.uint16, 0x7C00),
    "BF16": (np.uint16, 0x7F80),
}
"""Numbers of a safetensors file -> integers as wide, and the exponent of what is not finite."""
AT_A_TIME = 1 << 22
"""So many numbers are looked at in one go."""
LONGEST_HEADER = 100_000_000
"""Of a safetensors file, as the format has it [bytes]."""
DEEPEST = 6
"""Folders below the runs' folder that are looked into."""
SHOWN = 8
"""So many names are listed."""


def refuse_part(kind: str, what: str) -> None:
    """Refuse a checkpoint that is only a part of what drives.

    Args:
        kind: Of it.
        what: The checkpoint, for people.

    Raises:
        CheckpointError: saying what it is.
    """
    if kind in PARTS:
        raise CheckpointError(
            f"{what} is {kind}, made by `{PARTS[kind]}`: only a policy drives, give a run of "
            "`ate finetune`"
        )


def runs_folder() -> Path:
    """Folder in which runs are looked for by name."""
    return Path(os.environ.get(RUNS, "runs"))


def find_runs(root: Path) -> Iterator[Path]:
    """Run folders, and checkpoints that lie alone, in the order of their paths."""
    yield from _find(root, DEEPEST)


def _find(folder: Path, depth: int) -> Iterator[Path]:
    if any((folder / part / "config.json").is_file() for part in ("", LATEST)):
        yield folder
    elif depth > 0 and folder.is_dir():
        try:
            inside = sorted(one for one in folder.iterdir() if one.is_dir())
        except PermissionError:
            return
        for one in inside:
            if not one.name.startswith(".") and not one.is_symlink():
                yield from _find(one, depth - 1)


def named_checkpoint(given: str | Path) -> Path:
    """The folder that a path or a name means.

    What is there as a path is taken. Otherwise it is the end of a run's path below `runs_folder`:
    ``guided`` or ``demo/guided``, or ``guided/step_001000`` for one of its checkpoints. What is
    neither is left as it is.

    Raises:
        CheckpointError: several runs have that name.
    """
    path = Path(given)
    if path.exists() or path.is_absolute() or not path.parts:
        return path
    root = runs_folder()
    runs = list(find_runs(root))
    found = [run for run in runs if _ends_with(run, path)]
    if len(path.parts) > 1:
        inside = (run / path.name for run in runs if _ends_with(run, path.parent))
        found += [one for one in inside if one.is_dir()]
    if len(found) > 1:
        raise CheckpointError(f"{path} may be {_listed(found, root)}: give more of the path")
    return found[0] if found else path


def known_runs() -> str:
    """The names that there are, for an error; empty where there is none."""
    root = runs_folder()
    runs = list(find_runs(root))
    return f" `ate models` lists {_listed(runs, root)}" if runs else ""


def _listed(runs: list[Path], root: Path) -> str:
    names = [str(run.relative_to(root)) for run in runs]
    return ", ".join(names[:SHOWN]) + (", ..." if len(names) > SHOWN else "") + f" in {root}"


def _ends_with(run: Path, name: Path) -> bool:
    return run.parts[-len(name.parts) :] == name.parts


def read_settings(folder: Path) -> dict[str, Any]:
    """The config.json of a checkpoint.

    Raises:
        CheckpointError: it cannot be read, is of another format, or lacks something.
    """
    config = read_part(folder / "config.json")
    missing = set(SETTINGS) - set(config)
    if missing:
        raise CheckpointError(f"{folder}/config.json lacks {sorted(missing)}: not ours, or cut")
    if config["format"] != FORMAT:
        raise CheckpointError(
            f"{folder} has format {config['format']}, this version reads {FORMAT}: update"
        )
    for name in ("model", "training"):
        if not isinstance(config[name], dict):
            raise CheckpointError(
                f"{name} of {folder}/config.json is {config[name]!r}, must be an object: copy it "
                "again"
            )
    return config


def read_part(file: Path) -> dict[str, Any]:
    """A JSON file of a checkpoint.

    Raises:
        CheckpointError: it cannot be read, or holds something else than an object.
    """
    return read_object(file, CheckpointError, "copy or train again")


def require_sound_tensors(file: Path) -> None:
    """Refuse a safetensors file that was cut, or holds a number that is none, or infinite.

    It begins with the length of its header (8 bytes, little-endian), then the header in JSON,
    which says where each tensor ends behind it.

    Raises:
        CheckpointError: it is; or it cannot be read.
    """
    size, begin, tensors = _described(file)
    expected = begin + max((end for *_, end in tensors), default=0)
    if size != expected:
        raise CheckpointError(
            f"{file} has {size} bytes, its header says {expected}: it was cut; copy it again"
        )
    for name, kind, first, end in tensors:
        width, exponent = EXPONENTS.get(kind, (np.uint8, 0))
        if not exponent or first == end:
            continue
        count = (end - first) // np.dtype(width).itemsize
        bits = np.memmap(file, width, mode="r", offset=begin + first, shape=(count,))
        for row in range(0, count, AT_A_TIME):
            if np.any((bits[row : row + AT_A_TIME] & exponent) == exponent):
                raise CheckpointError(
                    f"{name} of {file} is not finite: its training diverged, or the file was "
                    "damaged; take an earlier checkpoint, or copy it again"
                )


def require_sound_quantiles(low: Sequence[float], high: Sequence[float], what: str) -> None:
    """Refuse quantiles between which no number lies.

    Args:
        low: 1 % quantile of each column.
        high: 99 % quantile of each column.
        what: The statistics, for people.

    Raises:
        CheckpointError: Naming the first such column, counted from 0.
    """
    for column, (first, last) in enumerate(zip(low, high, strict=True)):
        if not (math.isfinite(first) and math.isfinite(last) and first <= last):
            raise CheckpointError(
                f"{what} span {first:g} .. {last:g} (q01, q99) in column {column}, must be finite "
                "and in order: rebuild them, or copy the checkpoint again"
            )


def _described(file: Path) -> tuple[int, int, list[tuple[str, str, int, int]]]:
    """Bytes of a safetensors file, those before its tensors; name, kind and place of each."""
    try:
        with file.open("rb") as stream:
            length = int.from_bytes(stream.read(8), "little")
            header = json.loads(stream.read(min(length, LONGEST_HEADER)))
        tensors = [
            (name, str(entry["dtype"]), *map(int, entry["data_offsets"]))
            for name, entry in header.items()
            if name != "__metadata__"
        ]
        return file.stat().st_size, 8 + length, tensors
    except (OSError, *UNREADABLE) as error:
        raise CheckpointError(f"{file} cannot be read ({error}): copy or train it again") from None
