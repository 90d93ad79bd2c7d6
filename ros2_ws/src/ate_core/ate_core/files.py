"""Files that are whole or absent: written beside their name, forced to the disk, renamed.

A reader meets the old content or the new, never a part; two writers of one name each write their
own temporary file and the later one wins. What a killed process left is removed by the next
writer of that name on the same machine.
"""

from __future__ import annotations

import itertools
import os
import platform
import shutil
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

_SUFFIX = ".tmp"
_count = itertools.count()


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """Give the path of a temporary file to write; the end of the block renames it to `path`.

    An exception in the block removes it and leaves `path` as it was. The folder must exist. The
    temporary file does not: whoever writes it creates it, with the rights of any new file.

    Raises:
        OSError: it cannot be written, or the disk does not take it.
    """
    path = Path(path)
    _remove_abandoned(path)
    own = f"{os.getpid()}.{next(_count)}"
    temporary = path.with_name(_prefix(path) + own + _SUFFIX)
    try:
        yield temporary
        force_to_disk(temporary)
        temporary.replace(path)
    except BaseException as error:
        temporary.unlink(missing_ok=True)
        if isinstance(error, OSError) and error.filename == str(temporary):
            error.filename = str(path)  # the name that somebody asked for
        raise
    force_to_disk(path.parent)


def replace_text(path: Path, text: str) -> None:
    """Make a file's content `text`; after a kill or on a full disk it is the old or the new.

    Raises:
        OSError: it cannot be written; the old content is still there.
    """
    with replacing(path) as temporary:
        temporary.write_text(text, encoding="utf-8")


def replace_folder(new: Path, folder: Path, aside: Path | None = None) -> None:
    """Give a complete folder its final name; one that is there is replaced, or stays.

    Args:
        new: Folder on the same disk, whose files are forced onto it first.
        folder: What it becomes.
        aside: Where the older one lies in between; by default beside it, hidden.

    Raises:
        OSError: the disk refuses; the older folder, if any, is at its place.
    """
    aside = aside or folder.with_name(f".{folder.name}-replaced-{os.getpid()}")
    force_tree_to_disk(new)
    is_there = folder.exists()
    if is_there:
        folder.rename(aside)
    try:
        new.rename(folder)
    except OSError:
        if is_there:
            with suppress(OSError):  # it lies aside then, whole
                aside.rename(folder)
        raise
    force_to_disk(folder.parent)
    if aside.is_dir():
        shutil.rmtree(aside, ignore_errors=True)
    elif is_there:
        aside.unlink()


def force_to_disk(path: Path) -> None:
    """Return when a file, or the names in a folder, have reached the disk.

    Raises:
        OSError: the disk refuses; with the path.
    """
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    except OSError as error:
        raise OSError(error.errno, error.strerror, str(path)) from None
    finally:
        os.close(descriptor)


def force_tree_to_disk(folder: Path) -> None:
    """The same for a folder and all below it."""
    for path in [*sorted(folder.rglob("*")), folder]:
        force_to_disk(path)


def _prefix(path: Path) -> str:
    """Hidden; the machine is named because a folder may be shared and process numbers are not."""
    return f".{path.name}.{platform.node().partition('.')[0]}."


def _remove_abandoned(path: Path) -> None:
    prefix = _prefix(path)
    with os.scandir(path.parent) as entries:
        names = [
            entry.name
            for entry in entries
            if entry.name.startswith(prefix) and entry.name.endswith(_SUFFIX)
        ]
    for name in names:
        process = name.removeprefix(prefix).partition(".")[0]
        if process.isdecimal() and not _lives(int(process)):
            with suppress(OSError):  # another writer removed it, or it is somebody else's
                path.with_name(name).unlink()


def _lives(process: int) -> bool:
    try:
        os.kill(process, 0)
    except (ProcessLookupError, OverflowError):
        return False
    except PermissionError:  # somebody else's, and there
        return True
    return True
