"""Room on disks: asked for before something is written, and told of where there is none.

An estimate refuses early what cannot fit. A disk that fills up all the same ends a work that is
only good as a whole; what is finished is kept for the next attempt.
"""

from __future__ import annotations

import errno
import shutil
from pathlib import Path

from ate_core.disk_refusals import is_full, remedy
from ate_core.errors import DiskError

SPARE = 2**20
"""Free room wanted beyond an estimate [byte]."""
MAKE_ROOM = "free space there, then run this again"
"""What helps where a disk is full."""


def free_room(folder: Path) -> int:
    """Bytes that may be written into a folder, which need not be there yet."""
    there = folder.resolve()
    while not there.exists():
        there = there.parent
    return shutil.disk_usage(there).free


def require_room(folder: Path, needed: int, what: str) -> None:
    """Refuse early what would fill a disk.

    Args:
        folder: Where it is written; it need not be there yet.
        needed: About how much [byte].
        what: What is written, in the plural.

    Raises:
        DiskError: it would not fit; nothing was written.
    """
    if lacks := shortage(folder, needed, what):
        raise DiskError(f"{lacks}: free space there, or choose a folder on another disk")


def shortage(folder: Path, needed: int, what: str) -> str:
    """Say what is needed and what is there, as `require_room`; empty where it fits."""
    free = free_room(folder)
    if free >= needed + SPARE:
        return ""
    return f"{what} need about {_size(needed + SPARE)}, {folder} has {_size(free)} free"


def file_size(path: Path) -> int:
    """Size of a file, 0 where it cannot be looked at [byte]."""
    try:
        return path.stat().st_size
    except OSError:
        return 0


def refusal(error: OSError, output: Path | None = None) -> str:
    """Say in one line what a disk refused, and what helps.

    Args:
        error: What it said.
        output: Folder that is written to; what lies elsewhere was read. None: not known.
    """
    where = f" {error.filename}" if error.filename else ""
    return f"the disk refused{where} ({error.strerror or error}); {_remedy(error, output)}"


def _remedy(error: OSError, output: Path | None) -> str:
    if is_full(error):
        return f"{MAKE_ROOM}: what is done is kept"
    if error.errno not in (errno.EACCES, errno.EPERM, errno.EROFS, errno.EFBIG):
        return f"{remedy(error)}, then run this again"
    if output and error.filename and not Path(error.filename).is_relative_to(output):
        return "give yourself the right to read it"
    return f"{remedy(error)}, or name another --output"


def _size(count: int) -> str:
    return f"{count / 1e6:.1f} MB" if count < 1e9 else f"{count / 1e9:.1f} GB"
