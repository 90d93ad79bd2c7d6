"""What a disk says when it refuses, and what helps: the same words under every command."""

from __future__ import annotations

import errno
import os
import re

_NO_ROOM = (errno.ENOSPC, errno.EDQUOT)
_NO_RIGHT = (errno.EACCES, errno.EPERM)
_BROKEN = (errno.EIO, errno.ENXIO, errno.ENODEV, errno.ESTALE, errno.ETIMEDOUT)
_BY_DISK = (*_NO_ROOM, *_BROKEN, errno.EROFS, errno.EFBIG)
_NUMBER = re.compile(r"\(os error (\d+)\)")


def is_full(error: BaseException) -> bool:
    """Whether the room of a disk, or one's share of it, is used up."""
    return isinstance(error, OSError) and error.errno in _NO_ROOM


def is_by_disk(error: BaseException) -> bool:
    """Whether a disk is to blame, and neither the path nor the rights of who asked."""
    return isinstance(error, OSError) and error.errno in _BY_DISK


def remedy(error: OSError) -> str:
    """What helps against a refusal, as a half sentence."""
    if error.errno == errno.EDQUOT:
        return "free space there, or have your quota raised"
    if error.errno == errno.ENOSPC:
        return "free space there"
    if error.errno == errno.EROFS:
        return "mount it for writing (a disk that errs turns read-only: see `dmesg`)"
    if error.errno == errno.EFBIG:
        return "its file system, or `ulimit -f`, takes no file so large: choose another folder"
    if error.errno in _NO_RIGHT:
        return "give yourself the right to it"
    if error.errno in _BROKEN:
        return "check the disk (see `dmesg`)"
    return "check the path and the disk"


def error_of_rust(error: Exception) -> OSError:
    """The refusal that a library written in Rust tells as text: ``... (os error 28)``."""
    found = _NUMBER.search(str(error))
    number = int(found.group(1)) if found else 0
    return OSError(number, os.strerror(number) if number else str(error))
