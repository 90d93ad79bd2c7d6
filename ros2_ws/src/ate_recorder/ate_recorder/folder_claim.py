"""One recorder per folder: a lock that ends with the process, and names who holds it."""

from __future__ import annotations

import fcntl
import os
import platform
from pathlib import Path

LOCK_FILE = ".recorder.lock"
"""Hidden, in the folder of the episodes; it stays there, only its lock counts."""


class FolderClaim:
    """Keeps a second recorder out of a folder of episodes.

    Args:
        folder: Of the episodes.
    """

    def __init__(self, folder: Path) -> None:
        self._file = folder / LOCK_FILE
        self._descriptor: int | None = None

    def trouble(self) -> str:
        """Claim the folder; say who has it, and a remedy, where somebody else has.

        A folder that was removed meanwhile is claimed anew. Where files cannot be locked nobody
        is kept out.
        """
        if self._descriptor is not None and self._is_in_place(self._descriptor):
            return ""
        self.release()
        try:
            descriptor = os.open(self._file, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o666)
        except OSError:
            return ""  # what the folder lacks is told by others
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            holder = os.pread(descriptor, 200, 0).decode(errors="replace").strip()
            os.close(descriptor)
            return (
                f"another recorder ({holder or 'unnamed'}) writes to {self._file.parent}: stop "
                "it, or choose another output folder"
            )
        except OSError:
            os.close(descriptor)
            return ""
        os.ftruncate(descriptor, 0)
        os.pwrite(descriptor, f"process {os.getpid()} on {platform.node()}\n".encode(), 0)
        self._descriptor = descriptor
        return ""

    def release(self) -> None:
        """Let go of the folder."""
        if self._descriptor is not None:
            os.close(self._descriptor)
            self._descriptor = None

    def _is_in_place(self, descriptor: int) -> bool:
        try:
            return os.path.samestat(os.fstat(descriptor), os.stat(self._file))
        except OSError:
            return False
