"""Folders that commands write to."""

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from ate_core.errors import UsageError


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


@contextmanager
def only_writer(folder: Path, told: str) -> Iterator[None]:
    """Hold a folder for one process.

    Args:
        folder: That is there.
        told: What is said where another one holds it.

    Raises:
        UsageError: another one holds it.
    """
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise UsageError(f"{told}: wait for it, or name another --output") from None
        yield
    finally:
        os.close(descriptor)
