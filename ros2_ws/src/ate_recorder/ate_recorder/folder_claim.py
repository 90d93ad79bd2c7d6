"""One recorder per folder: a lock that ends with the process, and names who holds it."""

from __future__ import annotations

import os
import platform
from contextlib import suppress
from pathlib import Path

from ate_core.locks import holder_of, is_in_place, open_locked
from ate_core.open_bags import RECORDER_LOCK


class FolderClaim:
    """Keeps a second recorder out of a folder of episodes.

    The file stays there, only its lock counts.

    Args:
        folder: Of the episodes.
    """

    def __init__(self, folder: Path) -> None:
        self._file = folder / RECORDER_LOCK
        self._descriptor: int | None = None

    def trouble(self) -> str:
        """Claim the folder; say who has it, and a remedy, where somebody else has.

        A folder that was removed meanwhile is claimed anew. Where files cannot be locked nobody
        is kept out.
        """
        if self._descriptor is not None and is_in_place(self._descriptor, self._file):
            return ""
        self.release()
        try:
            descriptor = open_locked(self._file)
        except BlockingIOError:
            holder = holder_of(self._file) or "unnamed"
            return (
                f"another recorder ({holder}) writes to {self._file.parent}: stop it, or choose "
                "another output folder"
            )
        except OSError:
            return ""  # what the folder lacks is told by others
        self._descriptor = descriptor
        with suppress(OSError):  # a full disk takes no name; the lock holds
            os.ftruncate(descriptor, 0)
            os.pwrite(descriptor, f"process {os.getpid()} on {platform.node()}\n".encode(), 0)
        return ""

    def release(self) -> None:
        """Let go of the folder."""
        if self._descriptor is not None:
            os.close(self._descriptor)
            self._descriptor = None
