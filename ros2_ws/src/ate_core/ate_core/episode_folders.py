"""The folders of the episodes: their numbers, which one waits to be judged, and setting aside.

Nothing is deleted here: a discarded episode's folder gets the suffix ``.discarded``.
"""

from __future__ import annotations

import logging
import os
import re
import tempfile
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from ate_core.disk_refusals import remedy
from ate_core.episode_outcome import (
    DISCARDED,
    PENDING,
    UnreadOutcomeError,
    read_outcome,
    write_outcome,
)
from ate_core.errors import EpisodeError
from ate_core.files import replace_text

SUFFIX = ".discarded"
NEXT_NUMBER = ".next_episode"
"""File with the number of the next episode, where the newest ones were deleted."""
_EPISODE = re.compile(r"episode_(\d{6})")
_LOG = logging.getLogger(__name__)


@dataclass(frozen=True)
class EpisodeFolders:
    """The episodes below one folder."""

    output: Path
    """Folder of the episodes."""

    def trouble(self) -> str:
        """Why the folder takes no episode, and a remedy; empty where it does. It is made."""
        try:
            self.output.mkdir(parents=True, exist_ok=True)
            with tempfile.TemporaryFile(dir=self.output):
                return ""
        except OSError as error:
            return (
                f"no episode can be written to {self.output} ({error.strerror}): correct its "
                "owner, or choose another output folder"
            )

    def next_folder(self) -> Path:
        """Folder of an episode whose number was never used.

        Raises:
            OSError: nobody can tell which were, as the disk refuses.
        """
        return self.output / f"episode_{self._next_number():06d}"

    def remember_numbers(self) -> None:
        """Write down which numbers were given, so that none is given again.

        Raises:
            OSError: the disk refuses.
        """
        replace_text(self.output / NEXT_NUMBER, f"{self._next_number()}\n")

    def _next_number(self) -> int:
        numbers = [0]
        with suppress(FileNotFoundError), os.scandir(self.output) as entries:
            numbers += [number_of(Path(entry.name)) + 1 for entry in entries]
        with suppress(FileNotFoundError, ValueError):  # most folders have none
            numbers.append(int((self.output / NEXT_NUMBER).read_text()))
        return max(numbers)

    def find(self, number: int) -> Path:
        """Folder of the episode with a number, discarded ones left out.

        Raises:
            EpisodeError: there is none.
        """
        folder = self.output / f"episode_{number:06d}"
        if not folder.is_dir():
            raise EpisodeError(f"there is no {folder}; `ate episode list` shows the episodes")
        return folder

    def episodes(self) -> list[Path]:
        """Folders of all episodes with their discarded ones, by number."""
        found = [path for path in self.output.glob("episode_*") if path.is_dir()]
        names = {path.name.removesuffix(SUFFIX): path for path in sorted(found)}
        return [path for name, path in sorted(names.items()) if _EPISODE.fullmatch(name)]

    def pending(self) -> Path | None:
        """The first episode that waits to be judged, also after a crash; None without one."""
        return next((path for path in self.episodes() if is_pending(path)), None)

    def newest(self, count: int) -> list[dict[str, str]]:
        """Name and outcome of the newest episodes, newest first; none where nothing can be read.

        Args:
            count: how many at most.
        """
        try:
            found = self.episodes()[-count:]
        except OSError:
            return []
        return [
            {"name": path.name.removesuffix(SUFFIX), "outcome": told_outcome(path)}
            for path in reversed(found)
        ]

    def mark(self, folder: Path, outcome: str, reason: str, now_ns: int) -> None:
        """Write what becomes of an episode beside its bag.

        Args:
            folder: Of the episode.
            outcome: A label, ``pending`` or ``interrupted``.
            reason: Why, where there is something to say.
            now_ns: Time [ns].

        Raises:
            EpisodeError: the disk refuses.
        """
        try:
            write_outcome(folder, outcome, reason, now_ns)
        except OSError as error:
            raise EpisodeError(_refused(folder, outcome, error)) from None

    def set_aside(self, folder: Path, reason: str, now_ns: int) -> None:
        """Take an episode out of the game, at a time [ns].

        Raises:
            EpisodeError: the disk refuses.
        """
        with suppress(OSError):  # the name alone says it too, and needs no room
            write_outcome(folder, DISCARDED, reason, now_ns)
        try:
            folder.rename(folder.with_name(folder.name + SUFFIX))
        except OSError as error:
            raise EpisodeError(_refused(folder, DISCARDED, error)) from None


def is_pending(folder: Path) -> bool:
    """Whether an episode waits to be judged; a damaged decision is told and counts as none."""
    if folder.name.endswith(SUFFIX):
        return False
    try:
        return bool(read_outcome(folder).get("outcome") == PENDING)
    except EpisodeError as error:
        _LOG.error(str(error))
        return False


def is_judged(folder: Path) -> bool:
    """Whether an episode that waited does so no more; nobody knows while its disk errs."""
    if folder.name.endswith(SUFFIX):
        return True
    try:
        return bool(read_outcome(folder).get("outcome") != PENDING)
    except UnreadOutcomeError:
        return False
    except EpisodeError as error:
        _LOG.error(str(error))
        return True


def decided_ns(folder: Path) -> int | None:
    """When an episode was judged, or began to wait for that [ns]; None where nothing tells it."""
    try:
        told = read_outcome(folder).get("decided_ns")
    except EpisodeError:
        return None
    return told if isinstance(told, int) else None


def told_outcome(folder: Path) -> str:
    """What became of an episode, for people; a damaged decision is told, never raised."""
    if folder.name.endswith(SUFFIX):
        return DISCARDED
    try:
        return str(read_outcome(folder).get("outcome", ""))
    except EpisodeError as error:
        return str(error)


def number_of(folder: Path) -> int:
    """Number of an episode's folder; -1 of any other."""
    match = _EPISODE.match(folder.name)
    return int(match.group(1)) if match else -1


def _refused(folder: Path, outcome: str, error: OSError) -> str:
    return f"{folder.name} cannot be marked {outcome} ({error.strerror}): {remedy(error)}"
