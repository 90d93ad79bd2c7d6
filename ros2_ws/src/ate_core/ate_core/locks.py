"""Files and folders that one process holds: a lock that ends with the process, however it ends.

Whoever opens a file just before its holder removes it would lock a file that nobody finds any
more, beside the next one's. So what was locked must still be what its path names.
"""

import errno
import fcntl
import os
from contextlib import suppress
from pathlib import Path

_GONE = (errno.ENOENT, errno.ENOTDIR)
ANEW = os.O_RDWR | os.O_CREAT
"""Opens a file, which is made where it is missing."""


def open_locked(path: Path, flags: int = ANEW) -> int:
    """Open and lock; the descriptor, whose end is that of the lock.

    Where the file system has no locks (NFS) nobody is kept off.

    Args:
        path: a file, or a folder.
        flags: of `os.open`.

    Raises:
        BlockingIOError: another one has it.
        OSError: it cannot be opened.
    """
    while True:
        descriptor = os.open(path, flags | os.O_CLOEXEC, 0o666)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            if is_in_place(descriptor, path):
                os.close(descriptor)
                raise
        except OSError:
            return descriptor
        else:
            if is_in_place(descriptor, path):
                return descriptor
        os.close(descriptor)  # removed or replaced meanwhile


def lock_opened(descriptor: int) -> None:
    """Lock a file that was just made, until it is closed; a moment's look of others is waited for.

    Where the file system has no locks (NFS) nobody is kept off.
    """
    with suppress(OSError):
        fcntl.flock(descriptor, fcntl.LOCK_EX)


def holder_of(path: Path) -> str:
    """What the holder of a file wrote into it; empty: nothing."""
    try:
        return path.read_bytes()[:200].decode(errors="replace").strip()
    except OSError:  # it has just left
        return ""


def is_in_place(descriptor: int, path: Path) -> bool:
    """Whether a path still names what was opened; a disk that errs is no sign that it does not."""
    try:
        return os.path.samestat(os.fstat(descriptor), os.stat(path))
    except OSError as error:
        return error.errno not in _GONE
