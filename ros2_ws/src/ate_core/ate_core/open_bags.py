"""Bags that are open: whoever writes one locks its file, until it is closed or the process ends.

Where files cannot be locked (NFS) nobody is kept off.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path

from ate_core.errors import EpisodeError
from ate_core.locks import holder_of, open_locked

RECORDER_LOCK = ".recorder.lock"
"""Hidden, in the folder of the episodes: names the recorder that writes to it."""


@contextmanager
def hold_bag(folder: Path) -> Iterator[None]:
    """Keep a bag from being written or repaired by others.

    Args:
        folder: Of the episode.

    Raises:
        EpisodeError: another process has it open.
        OSError: its file cannot be opened.
    """
    with ExitStack() as held:
        for file in folder.glob("*.mcap"):
            try:
                held.callback(os.close, open_locked(file, os.O_RDONLY))
            except BlockingIOError:
                recorder = holder_of(folder.parent / RECORDER_LOCK) or "unnamed"
                raise EpisodeError(
                    f"{folder.name} is being recorded, or repaired (the recorder of its folder: "
                    f"{recorder}): stop its recording, then try again"
                ) from None
        yield


def require_unheld(folder: Path) -> None:
    """Refuse a bag that another process has open.

    Raises:
        EpisodeError: with the name of the recorder.
    """
    with suppress(OSError), hold_bag(folder):  # what cannot be opened is told by its readers
        pass


def require_closed(folder: Path) -> None:
    """Refuse a bag that another process has open, or that was never closed.

    Raises:
        EpisodeError: with what helps.
    """
    require_unheld(folder)
    if not (folder / "metadata.yaml").is_file():
        raise EpisodeError(f"{folder.name} is not closed: stop it, or {remedy_of(folder)}")


def remedy_of(folder: Path) -> str:
    """What helps a bag that lacks its end: its repair, or first the end of its recording."""
    try:
        require_unheld(folder)
    except EpisodeError as error:
        return str(error)
    return f"run 'ate repair --bag {folder}'"
