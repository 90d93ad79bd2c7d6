"""Discarded episodes: how much they hold, and deleting them on purpose.

Numbers are given once: before the newest one is deleted its number is written down.
"""

from __future__ import annotations

import os
import shutil
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from ate_core.episode_folders import SUFFIX, EpisodeFolders, number_of


@dataclass(frozen=True, kw_only=True)
class Discarded:
    """One episode in the trash."""

    name: str
    """Name of its folder."""
    bytes: int
    """What its files hold [byte]."""
    folder: str
    """Absolute path."""


def list_trash(folders: EpisodeFolders) -> list[Discarded]:
    """Return the discarded episodes of a folder, by number. Links are none: they hold nothing."""
    return [
        Discarded(name=path.name, bytes=_size(path), folder=str(path.resolve()))
        for path in sorted(folders.output.glob(f"episode_*{SUFFIX}"))
        if number_of(path) >= 0 and path.is_dir() and not path.is_symlink()
    ]


def empty_trash(folders: EpisodeFolders, trash: list[Discarded]) -> list[str]:
    """Delete discarded episodes for good; return why one was not, by name.

    The newest goes last: by then a full disk has room for the file with its number.

    Args:
        folders: Where they are.
        trash: Those to delete, as listed; what was discarded since then stays.
    """
    troubles = []
    for one in trash:
        try:
            if one is trash[-1]:
                folders.remember_numbers()
            shutil.rmtree(one.folder)
        except FileNotFoundError:
            continue  # somebody else deleted it, or has taken it back
        except OSError as error:
            troubles.append(f"{one.name} stays ({error.strerror}): correct the folder's owner")
    return troubles


def _size(folder: Path) -> int:
    """Bytes of the files below a folder; what vanishes meanwhile counts as nothing."""
    total = 0
    for root, _, files in os.walk(folder):
        for name in files:
            with suppress(OSError):
                total += (Path(root) / name).lstat().st_size
    return total
