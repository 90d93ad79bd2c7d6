"""Folders that commands write to."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from ate_core.errors import UsageError
from ate_core.locks import open_locked


def make_folder(path: Path) -> None:
    """Make a folder and its parents; called before the work whose results go there.

    Raises:
        UsageError: it cannot be made.
    """
    try:
        path.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UsageError(
            f"folder {path} cannot be made ({error.strerror}): choose another output"
        ) from None


class Hold:
    """A folder that no other process may hold until it is released, or this process ends.

    Where the file system has no locks for folders (NFS) nobody is kept off.
    """

    def __init__(self, folder: Path, told: str) -> None:
        """Hold it.

        Args:
            folder: That is there.
            told: What is said where another one holds it.

        Raises:
            UsageError: another one holds it.
        """
        self._descriptor: int | None = None
        try:
            self._descriptor = open_locked(folder, os.O_RDONLY)
        except BlockingIOError:
            raise UsageError(f"{told}: wait for it, or name another --output") from None

    def release(self) -> None:
        """Let others hold it; a second call changes nothing."""
        if self._descriptor is not None:
            os.close(self._descriptor)
        self._descriptor = None

    def __del__(self) -> None:
        """A hold that nobody knows of any more is none."""
        self.release()


@contextmanager
def only_writer(folder: Path, told: str) -> Iterator[None]:
    """Hold a folder for one process, see `Hold`."""
    hold = Hold(folder, told)
    try:
        yield
    finally:
        hold.release()
