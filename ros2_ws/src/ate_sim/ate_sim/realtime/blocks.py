"""Shared blocks whose writer may die, come back or not have started yet."""

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from ate_core.errors import DeviceError
from ate_core.shared_state import SharedBlock

CHECK_PERIOD = 0.25
"""How often a reader looks whether the writer made a new file [s]."""


class BlockReader:
    """Read a block that comes and goes; a restarted writer is followed to its new file."""

    def __init__(self, path: Path, dtype: np.dtype[np.void]) -> None:
        self.path = path
        self._dtype = dtype
        self._block: SharedBlock | None = None
        self._inode = -1
        self._next_check = -np.inf
        self._version = -1

    def read_new(self, now: float) -> NDArray[np.void] | None:
        """Return the record when it changed since the last call, else None.

        Args:
            now: Monotonic time [s].
        """
        self._follow(now)
        if self._block is None or self._block.version == self._version:
            return None
        version = self._block.version
        try:
            record = self._block.read()
        except DeviceError:
            # The writer died inside a write: what it wanted is unknown, so nothing new is known.
            self._version = version
            return None
        self._version = version
        return record

    def close(self) -> None:
        """Release the mapping."""
        if self._block is not None:
            self._block.close()
        self._block = None

    def _follow(self, now: float) -> None:
        if now < self._next_check:
            return
        self._next_check = now + CHECK_PERIOD
        try:
            inode = self.path.stat().st_ino
        except FileNotFoundError:
            inode = -1
        if inode == self._inode:
            return
        self.close()
        self._inode, self._version = -1, -1
        if inode >= 0:
            try:
                self._block = SharedBlock(self.path, self._dtype, create=False)
            except DeviceError:
                return  # gone again, or still of another size: the next check decides
            self._inode = inode
