"""Give each command a disk that refuses, call by call, and look at what it says and leaves.

    python -m benchmarks.refused_writes --bags runs/bags --episodes runs/data

The calls of the system's library fail below the folder that a command writes to, also those of
HDF5, of the video library and of parquet. Whatever fails, a command must end with 1, name the
cause and a remedy that fits it, leave no half file under a final name and none of what was there
changed, and do its work when it is run again. Needs a C compiler.
"""

import contextlib
import ctypes
import errno
import io
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import h5py
import tyro

from ate_bringup.cli import main as ate
from benchmarks.preload import preloaded
from training.data.bag_reader import bag_file
from training.tasks import choose
from training.tasks.in_process import InProcess

SOURCE = Path(__file__).with_name("refusing_disk.c")
CALLS = {"write": 1, "flush": 2, "rename": 4, "open": 8, "mkdir": 16}
"""Kind of call -> its bit there."""
NUMBERS = (errno.EIO, errno.EROFS, errno.EDQUOT, errno.ENOSPC)
BAGS: dict[str, tuple[str, ...]] = {
    "convert": ("convert", "--bags", "{bags}", "--output", "{place}/out"),
    "audit": ("audit", "--bags", "{bags}", "--output", "{place}/audit.html"),
    "repair": ("repair", "--bag", "{place}/cut/episode_000000"),
}
EXPORT = ("--episodes", "{episodes}", "--output", "{place}/out")
EPISODES: dict[str, tuple[str, ...]] = {
    "export lerobot": ("export", "lerobot", *EXPORT),
    "export act": ("export", "act", *EXPORT),
    "export rdt": ("export", "rdt", "--drop-joint", "4", *EXPORT),
    "export robotwin": ("export", "robotwin", *EXPORT),
    "episodes export": ("episodes", "export", "{episodes}", "--output", "{place}/out"),
    "episodes delete": ("episodes", "delete", "{place}/data", "0"),
    "episodes label": ("episodes", "label", "{place}/data", "failure", "0"),
    "episodes split": ("episodes", "split", "{place}/data", "0", "--at", "0.1"),
    "episodes merge": ("episodes", "merge", "{place}/data", "0", "1"),
}
"""What reads converted episodes."""
PATH_MAX = 4096
SUMMARIES = "statistics"
"""Folder of what is kept to save time only: without it nothing is lost, and nothing is told."""
MOVED = "then rename it back"
"""Said where even that was refused which would have put things back."""


@dataclass(frozen=True, kw_only=True)
class RefusedConfig:
    """Refuse what commands write."""

    bags: Path | None = None
    """Folder of two recorded episodes or more."""
    episodes: Path | None = None
    """Folder of two converted episodes or more."""
    only: tuple[str, ...] = ()
    """Commands; all when none is named."""
    after: tuple[int, ...] = (0, 1, 3)
    """Calls of a kind that succeed before they fail."""


def main(config: RefusedConfig) -> int:
    """Print one line for each case that went wrong; 1 where there was one."""
    if "refusing_disk" not in os.environ.get("LD_PRELOAD", ""):
        return _with_library()
    choose.LocalProcesses = lambda *_: InProcess()  # type: ignore[attr-defined,assignment]
    os.environ["COLUMNS"] = "2000"
    cases = wrong = 0
    commands = (BAGS if config.bags else {}) | (EPISODES if config.episodes else {})
    for name in config.only or commands:
        for call in CALLS:
            for number, after in _moments(config.after):
                with tempfile.TemporaryDirectory() as place:
                    found = _case(config, commands[name], Path(place), (call, number, after))
                if found is None:
                    break  # so many calls are not made
                cases += 1
                wrong += bool(found)
                if found:
                    print(f"{name}: {call} {errno.errorcode[number]} after {after}: {found}")
    print(f"{cases} cases, {wrong} wrong")
    return int(bool(wrong) or not cases)


def _moments(after: tuple[int, ...]) -> Iterator[tuple[int, int]]:
    """Every number at the first call, one of them at later ones."""
    for first in after:
        for number in NUMBERS if first == after[0] else NUMBERS[:1]:
            yield number, first


def _with_library() -> int:
    """Run this again with the library in front."""
    words = [sys.executable, "-m", "benchmarks.refused_writes", *sys.argv[1:]]
    with preloaded(SOURCE) as library:
        return subprocess.run(words, env={**os.environ, **library}).returncode


def _case(
    config: RefusedConfig, words: tuple[str, ...], place: Path, how: tuple[str, int, int]
) -> str | None:
    """What is wrong with a command whose calls fail so; None where none was made."""
    call, number, after = how
    text = " ".join(words)
    if config.bags and "{place}/cut" in text:
        cut = Path(shutil.copytree(config.bags / "episode_000000", place / "cut/episode_000000"))
        os.truncate(bag_file(cut), int(0.7 * bag_file(cut).stat().st_size))
    if config.episodes and "{place}/data" in text:
        shutil.copytree(config.episodes, place / "data")
    named = {"bags": config.bags, "episodes": config.episodes, "place": place}
    command = [word.format(**named) for word in words]
    before = _content(place)
    disk = ctypes.CDLL(None)
    disk.refuse(os.fsencode(place), number, CALLS[call], after)
    code, said = _run(command)
    refused = ctypes.c_int.in_dll(disk, "refused").value
    first = os.fsdecode((ctypes.c_char * PATH_MAX).in_dll(disk, "refused_at").value)
    disk.refuse(b"", 0, 0, 0)
    if not refused:
        return None
    was_there = call == "mkdir" and Path(first).is_dir()
    if code == 0 and (was_there or SUMMARIES in Path(first).parts):
        return ""  # nothing was lost by it
    problems = [
        *([] if os.strerror(number) in said else ["the cause is not named"]),
        *([] if code == 1 else [f"it ended with {code}"]),
        *(["a traceback"] if "Traceback" in said or "unforeseen" in said else []),
        *(["a wrong remedy"] if "free space" in said and number in NUMBERS[:2] else []),
        *_half_files(place),
        *_lost(place, before, said),
    ]
    if MOVED in said:
        return "; ".join(problems)
    again, told = _run(command)
    if again != 0 and "error: " in told:  # an audit may also end with 1 because of what it found
        problems.append(f"run again it ends with {again}: {told.strip()[-200:]}")
    return "; ".join(problems) + (f" | at {first} | {said.strip()[-300:]}" if problems else "")


def _run(command: list[str]) -> tuple[int, str]:
    said = io.TextIOWrapper(io.BytesIO(), encoding="utf-8", write_through=True)
    with contextlib.redirect_stdout(said), contextlib.redirect_stderr(said):
        code = ate(command)
    buffer = said.buffer
    assert isinstance(buffer, io.BytesIO)
    return code, buffer.getvalue().decode()


def _content(place: Path) -> dict[str, bytes]:
    files = (path for path in sorted(place.rglob("*")) if path.is_file())
    return {str(path.relative_to(place)): path.read_bytes() for path in files}


def _lost(place: Path, before: dict[str, bytes], said: str) -> Iterator[str]:
    """Files that are not as they were; one may lie elsewhere where that is said."""
    after = _content(place)
    for name, data in before.items():
        if after.get(name) != data and not (MOVED in said and data in after.values()):
            yield f"{name} is lost"


def _half_files(place: Path) -> Iterator[str]:
    """HDF5 files under a final name that cannot be read through."""
    for path in place.rglob("*.hdf5"):
        if any(part.startswith(".") for part in path.relative_to(place).parts):
            continue
        try:
            with h5py.File(path) as file:
                file.visititems(lambda _, one: one[()] if isinstance(one, h5py.Dataset) else None)
        except (OSError, RuntimeError) as error:
            yield f"{path.relative_to(place)} is half a file ({error})"


if __name__ == "__main__":
    raise SystemExit(main(tyro.cli(RefusedConfig)))
