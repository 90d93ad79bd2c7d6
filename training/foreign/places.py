"""What lies in the output of an import already: earlier files, set aside ones, and labels."""

from __future__ import annotations

import json
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from ate_core.episode_folders import SUFFIX
from ate_core.errors import EpisodeError
from ate_core.json_text import UNREADABLE
from training.data.episode_file import PATTERN, is_of_others, open_episode, read_attributes
from training.data.set_files import excluded_file, label_file, put_away


@dataclass(frozen=True, kw_only=True)
class Origin:
    """What an episode was imported from."""

    source: str
    """Folder and name of the recording."""
    sha256: str
    """Hash of all that decides the bytes of the episode."""
    recorded: Mapping[str, str]
    """Feature -> hash of its rows; empty in files that older versions wrote."""

    @property
    def set_name(self) -> str:
        """Folder of the recordings."""
        return self.source.rpartition("/")[0]

    def has_rows_of(self, other: Origin) -> bool | None:
        """Whether both are of the same rows, whatever the mapping; None where nothing tells."""
        if self.sha256 == other.sha256:
            return True
        shared = self.recorded.keys() & other.recorded.keys()
        return all(self.recorded[one] == other.recorded[one] for one in shared) if shared else None

    def is_of(self, other: Origin) -> bool:
        """Whether both are of one recording: by its rows or, where these do not tell, by name."""
        same = self.has_rows_of(other)
        return self.source == other.source if same is None else same


def read_origin(path: Path) -> Origin | None:
    """What an episode's file says; None where there is none, or none that can be read."""
    try:
        with open_episode(path) as file:
            values = read_attributes(path, file)
        return Origin(
            source=str(values["source"]),
            sha256=str(values["source_sha256"]),
            recorded=dict(json.loads(values["recorded"])),
        )
    except (*UNREADABLE, EpisodeError):
        return None


@dataclass(frozen=True, kw_only=True)
class Place:
    """Where one episode goes, and what an earlier import left there."""

    path: Path
    """Its file."""
    set_name: str
    """Folder of the recordings that are imported."""

    @property
    def aside(self) -> Path:
        """The file when it is set aside."""
        return self.path.with_name(self.path.name + SUFFIX)

    def set_aside(self, origin: Origin) -> Path | None:
        """The file of a recording that was set aside; None where it was not.

        A set that lost an episode numbers the others anew: what was set aside is known by its
        rows, under whichever number.

        Raises:
            EpisodeError: what was set aside in this place is another recording.
        """
        if self.aside.exists():
            kept = read_origin(self.aside)
            if kept is None or kept.is_of(origin):
                return self.aside
            raise EpisodeError(
                f"{self.aside.name}, which was set aside, is of another recording than "
                f"{origin.source} is now ({kept.source}, or other rows): choose another --output"
            )
        there = read_origin(self.path)
        if there is not None and there.is_of(origin):
            return None
        for file in sorted(self.path.parent.glob(PATTERN + SUFFIX)):
            kept = read_origin(file)
            if kept is not None and kept.is_of(origin):
                return file
        return None

    def has(self, origin: Origin) -> bool:
        """Whether the file is there, and made of this."""
        there = read_origin(self.path)
        return there is not None and there.sha256 == origin.sha256

    def require_own(self, origin: Origin, *, is_renewed: bool) -> None:
        """Refuse to replace what is of other recordings.

        Args:
            origin: Of the recording that goes here.
            is_renewed: Whether the recordings are those of the set there, perhaps numbered anew.

        Raises:
            EpisodeError: it is.
        """
        if is_of_others(self.path):
            raise EpisodeError(
                f"{self.path} is no episode of this project: choose another --output, or "
                "--overwrite, which puts it away"
            )
        there = read_origin(self.path)
        if there is None:
            return
        if there.set_name != self.set_name or not (is_renewed or there.is_of(origin)):
            raise EpisodeError(
                f"{self.path.name} is of another recording ({there.source}, this one is "
                f"{origin.source}): choose another --output, or --overwrite"
            )

    def clear(self, origin: Origin) -> str:
        """Put away what is of another recording, and the label it had; returns what to tell.

        A label holds as long as the rows are the same, whatever the mapping makes of them.
        """
        kept = read_origin(self.path) or read_origin(excluded_file(self.path))
        if kept is not None and kept.set_name == self.set_name and kept.is_of(origin):
            return ""
        put_away(self.path)
        moved = put_away(label_file(self.path))
        told = "the label there was given to another recording, or to other rows"
        return f"{told}: it is now {moved}; label that recording anew" if moved else ""

    def forget_excluded(self, origin: Origin) -> None:
        """Delete what was put away here of the same recording; that of another one stays."""
        away = excluded_file(self.path)
        kept = read_origin(away)
        if kept is not None and kept.is_of(origin):
            away.unlink(missing_ok=True)

    def put_away(self) -> str:
        """Take the file of an earlier import out of what readers see; returns what to tell."""
        there = read_origin(self.path)
        if is_of_others(self.path) or (there is not None and there.set_name != self.set_name):
            return ""
        try:
            moved = put_away(self.path)
        except OSError as error:
            return f" (its earlier file could not be moved: {error.strerror})"
        return f" (its earlier file is now {moved})" if moved else ""


def is_renewed(output: Path, sources: Collection[str]) -> bool:
    """Whether recordings are those of an earlier import, or of the first one.

    A folder of the same name that holds none of the recordings that were imported is another one.

    Args:
        output: Folder of the episodes.
        sources: Of all recordings.
    """
    files = [*output.glob(PATTERN), *output.glob(PATTERN + SUFFIX)]
    known = {there.source for file in files if (there := read_origin(file)) is not None}
    return not known or not known.isdisjoint(sources)


def left_behind(output: Path, set_name: str, count: int) -> Iterator[Place]:
    """Episodes of a set that it has no more.

    Args:
        output: Folder of the episodes.
        set_name: Folder of the recordings.
        count: Episodes that they have, numbered from 0.
    """
    for path in sorted(output.glob(PATTERN)):
        there = read_origin(path)
        is_of_set = there is not None and there.set_name == set_name
        if is_of_set and int(path.stem.removeprefix("episode_")) >= count:
            yield Place(path=path, set_name=set_name)
