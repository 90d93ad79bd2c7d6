"""A LeRobot data set that is made, or made longer, episode by episode."""

import os
import shutil
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path

from ate_core.contract import parse_cell_text
from ate_core.errors import AteError, EpisodeError, UsageError
from ate_core.files import replace_text
from ate_core.locks import open_locked
from training.audit.stored import StoredAudit
from training.data.disk_room import MAKE_ROOM, file_size, refusal, require_room, shortage
from training.data.episode_file import Episode
from training.data.recording import Recording
from training.export.camera_video import VideoConfig
from training.export.chosen import beside
from training.export.lerobot_part import FORMAT, PICTURES, Part, read_part, write_part
from training.export.lerobot_set import (
    aside_of,
    check_output,
    differing,
    is_current,
    members,
    starts,
    write_set,
)
from training.export.report import Finished, one_line

REFUSED = "the disk refused others: see the reasons above, then run this again, or move them away"
LEAST_SHARE = 0.05
"""Bytes of a video to those of an episode's JPEGs, low: AV1 has 0.2 at its usual quality."""


TOLD = 3
"""Episodes named in a refusal."""


@dataclass(frozen=True, kw_only=True)
class LerobotFolder:
    """A data set and, beside it, the parts that it is made of.

    The parts may be deleted: the next export encodes again what it needs.
    """

    output: Path
    """Folder of the data set."""
    video: VideoConfig = field(default_factory=VideoConfig)
    """How pictures are encoded."""
    objects: bool = True
    """Whether poses of objects are written."""
    dropping: str = "--drop-missing"
    """Option that lets episodes leave the set which its source lacks."""

    @property
    def parts(self) -> Path:
        """Folder of the parts."""
        return self.output.with_name(f"{self.output.name}.parts")

    @property
    def working(self) -> Path:
        """Where the set is built."""
        return self.parts / ".set"

    def options_text(self) -> str:
        """Everything besides the episode that decides the bytes of a part."""
        return f"lerobot {FORMAT} {self.video.text()} objects {self.objects}"

    @contextmanager
    def held(self) -> Iterator[None]:
        """Hold the set for one process.

        Raises:
            UsageError: another process writes it, or it holds something else.
        """
        try:
            self.parts.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise UsageError(
                f"folder {self.parts} cannot be made ({error.strerror}): choose another output"
            ) from None
        try:
            lock = open_locked(self.parts / ".lock")
        except BlockingIOError:
            raise UsageError(
                f"another export writes {self.output}: wait for it, or name another output"
            ) from None
        try:
            check_output(self.output, aside_of(self.working))
            yield
        finally:
            os.close(lock)

    def require_room(self, sources: Mapping[str, Path]) -> None:
        """Refuse early what cannot fit: what is encoded, and the set beside it.

        Args:
            sources: Episode -> its HDF5 file or bag.

        Raises:
            DiskError: the disk has not even room for strongly compressed pictures.
        """
        missing = [path for name, path in sources.items() if not (self.parts / name).exists()]
        least = 2 * LEAST_SHARE * sum(file_size(path) for path in missing)
        require_room(self.output.parent, round(least), "the videos")

    def kept(
        self, listed: Collection[str], source: Path, *, is_one: bool, drop: bool = False
    ) -> list[str]:
        """What stays in the set beside what is written now; arguments as `OutputFormat`.

        Raises:
            UsageError: episodes would leave the set without a word, or another folder's set.
        """
        held = members(self.output)
        others = sorted(held.keys() - set(listed))
        lost = [name for name in others if not (is_one and self.has(name, held[name]))]
        if lost and drop and not is_one:
            self.require_source(source)
            return []
        if lost:
            told = ", ".join(lost[:TOLD]) + (f" and {len(lost) - TOLD} more" * (len(lost) > TOLD))
            why = f"whose parts in {self.parts} are gone" if is_one else f"which {source} lacks"
            leave = "" if is_one else f"take them out of it with {self.dropping}, "
            raise UsageError(
                f"{self.output} holds {told}, {why}: they would leave the set; name the folder "
                f"that has all of them, choose another --output, {leave}or delete {self.output} "
                "to make the set anew without them"
            )
        return others

    def require_source(self, source: Path) -> None:
        """Refuse to replace what the set holds of another folder.

        Raises:
            UsageError: the set was written of that one last.
        """
        try:
            known = self._source_file.read_text(encoding="utf-8")
        except (OSError, UnicodeDecodeError):
            return  # of an older version, or its parts were deleted
        if known != self._told(source):
            of = (self.output.parent / known).resolve()
            raise UsageError(
                f"{self.output} is the set of {of}, not of {source}: choose another --output, "
                f"or delete {self.output} and {self.parts} to make the set anew"
            )

    def remember_source(self, source: Path) -> None:
        """Write down of which folder the set is; it stays beside it, nobody is given it."""
        with suppress(OSError):  # a full disk refuses what matters more, too
            replace_text(self._source_file, self._told(source))

    def _told(self, source: Path) -> str:
        """Where the source is, seen from the set: both may move to another disk together."""
        return os.path.relpath(source.resolve(), self.output.resolve().parent)

    @property
    def _source_file(self) -> Path:
        return self.parts / ".folder"

    def has(self, name: str, digest: str) -> bool:
        """Whether the part of an episode is there already."""
        part = self.part(name)
        return part is not None and part.digest == digest

    def names(self) -> list[str]:
        """Those in the set."""
        return sorted(members(self.output))

    def holds(self, name: str) -> bool:
        """Whether the set holds an episode of this name."""
        return name in members(self.output)

    def of_others(self, name: str, own: Recording, near: float) -> dict[Path, str]:
        """The part of the episode, or the set without it; arguments as `OutputFormat`."""
        part = self.part(name)
        place = self.output if part is None else part.folder
        found = None if part is None else part.recording()
        if found is None and (start_ns := starts(self.output).get(name)) is not None:
            place, found = self.output, Recording(contract=own.contract, start_ns=start_ns)
        return {} if found is None or found.is_same(own, near) else {place: str(found)}

    def part(self, name: str) -> Part | None:
        """The part of an episode, whatever it was made of."""
        return read_part(self.parts / name)

    def audit(self, name: str) -> StoredAudit | None:
        """No audit is kept in a part."""
        return None

    def put_away(self, name: str) -> str:
        """The set is written of those that are left."""
        return ""

    def write(self, name: str, episode: Episode, digest: str) -> None:
        """Make the part of an episode."""
        write_part(self.parts, name, episode, digest, self.video, self.objects)

    def finish(
        self, names: Sequence[str], kept: Sequence[str] = (), *, disk_refused: bool = False
    ) -> Finished:
        """Write the set of these episodes; older parts of others are removed.

        Args:
            names: Of the episodes.
            kept: Those that stay beside them, with which they must agree.
            disk_refused: Whether a disk refused others: then nothing is written.

        Returns:
            Which could not stand beside the others, and why; all of them where the disk takes
            no set: the older one stays, and the parts are kept.

        Raises:
            EpisodeError: no episode is left; the older set stays as it was.
        """
        if disk_refused:
            return _no_set(names, REFUSED)
        parts: list[Part] = []
        refused, notes = {}, {}
        for name in [*kept, *sorted(names)]:
            part = self.part(name)
            if part is None:
                refused[name] = f"its part in {self.parts} is gone; export again"
                continue
            try:
                notes[name] = _beside(part, parts[0]) if parts else ""
                parts.append(part)
            except AteError as error:
                if name in kept:
                    raise EpisodeError(
                        f"{self.output} holds {name} and {parts[0].name}, which cannot stand in "
                        f"one set ({one_line(error)}): make it anew from all its episodes"
                    ) from None
                refused[name] = f"{one_line(error)}; give it a set of its own"
        if not parts:
            raise EpisodeError(f"no episode is left for {self.output}: see the reasons above")
        parts.sort(key=lambda part: part.name)
        if not is_current(self.output, parts):
            if lacks := shortage(self.parts, sum(part.size for part in parts), "its files"):
                return _no_set(names, f"{lacks}: {MAKE_ROOM}")
            try:
                write_set(self.output, parts, self.working)
            except OSError as error:
                shutil.rmtree(self.working, ignore_errors=True)
                return _no_set(names, refusal(error, self.output.parent))
        in_set = {part.name for part in parts}
        for path in self.parts.iterdir():
            if path.is_dir() and path.name not in in_set:
                shutil.rmtree(path)
        return Finished(refused=refused, notes=notes)


def _beside(part: Part, first: Part) -> str:
    """What is odd about an episode beside the first one; empty: nothing.

    Raises:
        AteError: it cannot stand in one set with it.
    """
    if (reason := differing(part, first)) is not None:
        raise EpisodeError(reason)
    if part.contract == first.contract:
        return ""
    own, other = (
        parse_cell_text(one.contract, f"contract of {one.name}") for one in (part, first)
    )
    keys = [key.removeprefix(PICTURES) for key in part.features if key.startswith(PICTURES)]
    return beside(own, other, keys, first.name)


def _no_set(names: Sequence[str], why: str) -> Finished:
    """No set is written of these episodes, with what helps."""
    note = f"it is encoded and kept, but no set is written, an older one stays: {why}"
    return Finished(refused=dict.fromkeys(names, note))
