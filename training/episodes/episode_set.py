"""A folder of episodes: which are there, which are set aside, and where their labels lie.

Two kinds: converted episodes (``episode_000000.hdf5``) and recorded ones (folders
``episode_000000`` with a bag). An episode that is set aside has the suffix ``.discarded``.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from ate_core.episode_folders import SUFFIX
from ate_core.episode_outcome import OUTCOME_FILE
from ate_core.errors import EpisodeError, UsageError
from ate_core.open_bags import require_closed
from training.data.set_files import label_file

Kind = Literal["hdf5", "bags"]
FIRST_MADE = 500_000
"""Number of the first episode that an edit makes: converted bags keep the numbers below."""
LAST = 999_999
_NAMES = {"hdf5": re.compile(r"episode_(\d{6})\.hdf5"), "bags": re.compile(r"episode_(\d{6})")}


@dataclass(frozen=True)
class EpisodeSet:
    """The episodes of one kind in a folder."""

    folder: Path
    """Where they lie."""
    kind: Kind
    """Converted ones, or bags."""
    only: int | None = None
    """The one episode that was named, where the folder of a bag was given; None: all."""

    def path(self, number: int) -> Path:
        """Where an episode lies that is not set aside."""
        ending = ".hdf5" if self.kind == "hdf5" else ""
        return self.folder / f"episode_{number:06d}{ending}"

    def aside(self, number: int) -> Path:
        """Where it lies when it is set aside."""
        path = self.path(number)
        return path.with_name(path.name + SUFFIX)

    def label_file(self, number: int) -> Path:
        """The file that holds the label given later."""
        path = self.path(number)
        return label_file(path) if self.kind == "hdf5" else path / OUTCOME_FILE

    def numbers(self) -> list[int]:
        """Episodes that are there."""
        return self._named(self._found(""))

    def set_aside(self) -> list[int]:
        """Episodes that are set aside."""
        return self._named(self._found(SUFFIX))

    def next_made(self) -> int:
        """First number for what an edit makes; none is ever given twice.

        Raises:
            EpisodeError: all are given.
        """
        used = [*self._found(""), *self._found(SUFFIX)]
        number = max([FIRST_MADE - 1, *used]) + 1
        if number > LAST:
            raise EpisodeError(
                f"{self.folder} has no number left below {LAST + 1}: export it, which counts anew"
            )
        return number

    def require(self, number: int) -> Path:
        """Where an episode lies.

        Raises:
            EpisodeError: it is not there, or set aside.
        """
        path = self.path(number)
        if self._is_there(path):
            return path
        if self.aside(number).exists():
            raise EpisodeError(
                f"episode {number} of {self.folder} is set aside: bring it back with "
                f"`ate episodes restore {self.folder} {number}`"
            )
        numbers = self.numbers()
        known = f"{len(numbers)} from {numbers[0]} to {numbers[-1]}" if numbers else "none"
        raise EpisodeError(
            f"{self.folder} has no episode {number} (it has {known}): "
            f"`ate episodes list {self.folder}` shows them"
        )

    def require_closed(self, number: int) -> Path:
        """Where an episode lies; one that is being recorded is refused.

        Raises:
            EpisodeError: it is not there, or its bag was never closed.
        """
        path = self.require(number)
        if self.kind == "bags":
            require_closed(path)
        return path

    def _named(self, numbers: Iterable[int]) -> list[int]:
        return sorted(one for one in numbers if self.only in (None, one))

    def _is_there(self, path: Path) -> bool:
        return path.is_file() if self.kind == "hdf5" else path.is_dir()

    def _found(self, suffix: str) -> Iterator[int]:
        for path in self.folder.iterdir():
            if not path.name.endswith(suffix):
                continue
            match = _NAMES[self.kind].fullmatch(path.name.removesuffix(suffix))
            if match and self._is_there(path):
                yield int(match.group(1))


def open_set(folder: Path, kind: Kind | None = None) -> EpisodeSet:
    """The episodes of a folder.

    Args:
        folder: With converted episodes, or bags; or that of one bag, set aside or not.
        kind: Which; None for the one that is there.

    Raises:
        UsageError: there is no such folder, nothing in it, or both kinds.
    """
    if not folder.is_dir():
        raise UsageError(f"there is no folder {folder}: give one with episodes")
    one_bag = _NAMES["bags"].fullmatch(folder.name.removesuffix(SUFFIX))
    if one_bag and kind != "hdf5" and any(folder.glob("*.mcap")):
        return EpisodeSet(folder.parent, "bags", only=int(one_bag.group(1)))
    sets = [EpisodeSet(folder, one) for one in ("hdf5", "bags")]
    if kind is not None:
        sets = [one for one in sets if one.kind == kind]
    try:
        found = [one for one in sets if one.numbers() or one.set_aside()]
    except OSError as error:
        raise UsageError(
            f"{folder} cannot be read ({error.strerror}): correct its owner"
        ) from None
    if len(found) > 1:
        raise UsageError(
            f"{folder} holds converted episodes and bags: add --kind hdf5 or --kind bags"
        )
    if not found:
        what = {"hdf5": "episode_NNNNNN.hdf5", "bags": "bags in episode_NNNNNN"}.get(kind or "")
        raise UsageError(
            f"{folder} holds no {what or 'episodes'}: convert some, or name their folder"
        )
    return found[0]
