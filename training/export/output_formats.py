"""What ``ate convert`` can write: one entry per format."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from ate_core.episode_folders import SUFFIX, number_of
from training.audit.stored import StoredAudit, parse_audit
from training.configs.convert import ConvertConfig
from training.data.episode_file import (
    PATTERN,
    Episode,
    is_of_others,
    read_episode,
    read_recording_of,
    read_source_hash,
    write_episode,
)
from training.data.recording import Recording, told_time
from training.data.set_files import excluded_file, label_file, put_away, read_label_time
from training.episodes.episode_set import FIRST_MADE
from training.export.lerobot_folder import LerobotFolder
from training.export.report import Finished


class OutputFormat(Protocol):
    """Where episodes go. It is made anew in every process that converts."""

    def held(self) -> AbstractContextManager[None]:
        """Hold the place for one command."""
        ...

    def require_room(self, sources: Mapping[str, Path]) -> None:
        """Refuse early what is only good as a whole and cannot fit: episode -> its bag."""
        ...

    def kept(
        self, listed: Collection[str], source: Path, *, is_one: bool, drop: bool = False
    ) -> list[str]:
        """Refuse to drop what is not listed; returns what `finish` needs to keep it.

        Args:
            listed: Episodes whose bags are there, discarded ones too.
            source: Where they are.
            is_one: Whether one bag was named, which is added to what is there.
            drop: Whether it may be dropped, where not one bag was named.
        """
        ...

    def has(self, name: str, digest: str) -> bool:
        """Whether an episode is there, made of this source with these options."""
        ...

    def names(self) -> list[str]:
        """Episodes that readers see, besides what edits made."""
        ...

    def remember_source(self, source: Path) -> None:
        """Write down of which folder the output is, where that is to be asked for later."""
        ...

    def holds(self, name: str) -> bool:
        """Whether readers see an episode of this name, whatever it was made of."""
        ...

    def audit(self, name: str) -> StoredAudit | None:
        """The audit kept with an episode that is there; None where none is kept."""
        ...

    def of_others(self, name: str, own: Recording, near: float) -> dict[Path, str]:
        """What is kept under an episode's name but is of another recording.

        Args:
            name: Of the episode.
            own: Its recording.
            near: How far its first tick may be from its start [s].

        Returns:
            File or folder -> when that recording began, for people.
        """
        ...

    def write(self, name: str, episode: Episode, digest: str) -> None:
        """Write one episode as a whole, or raise."""
        ...

    def put_away(self, name: str) -> str:
        """Take an episode out of what readers see, if it is there; returns where it is then."""
        ...

    def finish(
        self, names: Sequence[str], kept: Sequence[str] = (), *, disk_refused: bool = False
    ) -> Finished:
        """Complete the output of these episodes; returns what became of them.

        Args:
            names: Of the episodes.
            kept: Others that stay.
            disk_refused: Whether others are missing because a disk refused.
        """
        ...


@dataclass(frozen=True, kw_only=True)
class Hdf5Files:
    """One HDF5 file per episode."""

    output: Path
    """Folder of the files."""

    @contextmanager
    def held(self) -> Iterator[None]:
        """Nothing to hold besides the folder."""
        yield

    def require_room(self, sources: Mapping[str, Path]) -> None:
        """Each file asks for its own room: those that fit are good without the others."""

    def kept(
        self, listed: Collection[str], source: Path, *, is_one: bool, drop: bool = False
    ) -> list[str]:
        """Every file stays where it is."""
        return []

    def names(self) -> list[str]:
        """Those whose files are there."""
        paths = [path.with_suffix("") for path in sorted(self.output.glob(PATTERN))]
        return [path.name for path in paths if number_of(path) < FIRST_MADE]

    def remember_source(self, source: Path) -> None:
        """Every file tells it of itself."""

    def has(self, name: str, digest: str) -> bool:
        """Whether the file says that it was made of this."""
        path = self._path(name)
        return path.exists() and read_source_hash(path) == digest

    def holds(self, name: str) -> bool:
        """Whether its file is there."""
        return self._path(name).exists()

    def audit(self, name: str) -> StoredAudit | None:
        """The attribute of the file."""
        values = read_episode(self._path(name)).audit
        return parse_audit(values, name) if values else None

    def of_others(self, name: str, own: Recording, near: float) -> dict[Path, str]:
        """Its files, kept out and set aside ones too, and the label beside them.

        A label alone is of another recording where it was given before this one began.
        """
        path = self._path(name)
        files = (path, self._away(name), path.with_name(path.name + SUFFIX))
        kept = {file: found for file in files if (found := read_recording_of(file)) is not None}
        others = {file: str(found) for file, found in kept.items() if not found.is_same(own, near)}
        if is_of_others(path):
            others[path] = "it is no episode of this project"
        labelled_ns = read_label_time(path)
        if labelled_ns is not None:
            if others and others.keys() == kept.keys():
                others[label_file(path)] = next(iter(others.values()))
            elif not kept and labelled_ns < own.start_ns:
                others[label_file(path)] = f"labelled {told_time(labelled_ns)}"
        return others

    def write(self, name: str, episode: Episode, digest: str) -> None:
        """Write the file; the episode carries the digest itself."""
        write_episode(self._path(name), episode)
        self._away(name).unlink(missing_ok=True)

    def put_away(self, name: str) -> str:
        """Give the file a suffix that no reader takes; the next conversion may make it anew."""
        return put_away(self._path(name))

    def finish(
        self, names: Sequence[str], kept: Sequence[str] = (), *, disk_refused: bool = False
    ) -> Finished:
        """Every file is complete by itself."""
        return Finished()

    def _path(self, name: str) -> Path:
        return self.output / f"{name}.hdf5"

    def _away(self, name: str) -> Path:
        return excluded_file(self._path(name))


def _hdf5(config: ConvertConfig) -> OutputFormat:
    return Hdf5Files(output=config.output)


def _lerobot(config: ConvertConfig) -> OutputFormat:
    return LerobotFolder(output=config.output, video=config.video)


FORMATS: dict[str, Callable[[ConvertConfig], OutputFormat]] = {"hdf5": _hdf5, "lerobot": _lerobot}
"""The word of `--format` -> where the episodes go."""


def output_of(config: ConvertConfig) -> OutputFormat:
    """Where the episodes of a conversion go."""
    return FORMATS[config.format](config)
