"""The journal of a set's edits: one line before an edit begins, one when it ended.

Every edit is a list of renames and of small texts that are replaced, known before the first is
done. So an edit that was cut short can be taken back, and one that ended can be undone.
"""

from __future__ import annotations

import dataclasses
import functools
import json
import os
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

from ate_core.errors import EpisodeError
from ate_core.json_text import UNREADABLE
from training.data.set_files import JOURNAL

DONE = "done"
ROLLED_BACK = "rolled back"


@dataclass(frozen=True, kw_only=True)
class Text:
    """A small file whose content changes; None is a file that is not there."""

    name: str
    """Relative to the set."""
    old: str | None
    """Before."""
    new: str | None
    """After."""


@dataclass(frozen=True, kw_only=True)
class Edit:
    """One change of a set, as the journal keeps it."""

    number: int
    """Counts the edits of the set from 1."""
    what: str
    """delete, restore, label, split, merge or undo."""
    words: str
    """For people: what was done to which episode."""
    when: str
    """Time, ISO 8601 with zone."""
    who: str
    """user@host."""
    moves: tuple[tuple[str, str], ...] = ()
    """Renames in order, names relative to the set."""
    texts: tuple[Text, ...] = ()
    """Small files replaced after them."""
    made: tuple[str, ...] = ()
    """Temporary names of the files that the edit writes before its first rename."""
    sources: tuple[tuple[str, str], ...] = ()
    """Names and sha256 of the files that new ones were made from."""
    undoes: int = 0
    """Number of the edit that this one takes back; 0 none."""

    def brings_back(self, suffix: str) -> bool:
        """Whether what was set aside, under names with a suffix, has its own name again."""
        return any(source == target + suffix for source, target in self.moves)


@dataclass(frozen=True)
class Journal:
    """The edits of a set in order, and how each ended."""

    folder: Path
    edits: tuple[Edit, ...] = ()
    ends: tuple[tuple[int, str], ...] = ()

    @property
    def next_number(self) -> int:
        """Number of the next edit."""
        return max((edit.number for edit in self.edits), default=0) + 1

    def unfinished(self) -> Edit | None:
        """The edit that began and never ended; None without one."""
        ended = dict(self.ends)
        return next((edit for edit in self.edits if edit.number not in ended), None)

    def done(self) -> list[Edit]:
        """Edits that were done, undone ones included."""
        ended = dict(self.ends)
        return [edit for edit in self.edits if ended.get(edit.number) == DONE]

    def made_of(self, file: str) -> Sequence[str]:
        """Names of what edits wrote out of a file, or out of what was written so."""
        return self._made.get(file, ())

    def made_at_ns(self, file: str) -> int:
        """When an edit wrote a file, to the second [ns]; 0 where none in force did."""
        when = self._when.get(file)
        return 0 if when is None else int(datetime.fromisoformat(when).timestamp()) * 10**9

    @functools.cached_property
    def _made(self) -> dict[str, list[str]]:
        """File -> what was written out of it, at any remove."""
        made: dict[str, list[str]] = {}
        origins: dict[str, set[str]] = {}
        for edit in self.done():
            whole = {source for source, _ in edit.sources}
            whole.update(*(origins.get(source, ()) for source in whole))
            for target in (target for source, target in edit.moves if source in edit.made):
                origins.setdefault(target, set()).update(whole)
                for source in whole:
                    made.setdefault(source, []).append(target)
        return made

    @functools.cached_property
    def _when(self) -> dict[str, str]:
        """File -> when the newest edit that wrote it did."""
        edits = [(edit.when, edit) for edit in self.done()]
        return {t: when for when, edit in edits for s, t in edit.moves if s in edit.made}

    def last_undoable(self) -> Edit | None:
        """The newest edit that is in force and no undo itself; None without one."""
        undone = {edit.undoes for edit in self.done()}
        open_ = [edit for edit in self.done() if not edit.undoes and edit.number not in undone]
        return open_[-1] if open_ else None


def read_journal(folder: Path) -> Journal:
    """Read the journal; empty where there is none. A last line that was cut counts as absent.

    Raises:
        EpisodeError: another line is damaged.
    """
    file = folder / JOURNAL
    try:
        lines = file.read_bytes().split(b"\n")
    except FileNotFoundError:
        return Journal(folder)
    except OSError as error:
        raise EpisodeError(f"{file} cannot be read ({error.strerror})") from None
    edits, ends = [], []
    for index, line in enumerate(lines[:-1]):  # behind the last newline stands nothing, or a part
        if not line:
            continue
        try:
            entry = json.loads(line)
            if "end" in entry:
                ends.append((int(entry["edit"]), str(entry["end"])))
            else:
                edits.append(_parse(entry))
        except UNREADABLE as error:
            raise EpisodeError(
                f"{file}, line {index + 1} is no edit ({error}): move the file away; the episodes "
                "stay as they are, only undo loses its memory"
            ) from None
    return Journal(folder, tuple(edits), tuple(ends))


def append_begin(folder: Path, edit: Edit) -> None:
    """Write that an edit begins; on the disk before it returns."""
    fields = dataclasses.asdict(edit)
    _append(folder, {"edit": fields.pop("number"), **fields})


def append_end(folder: Path, number: int, end: str) -> None:
    """Write that an edit ended: ``done`` or ``rolled back``."""
    _append(folder, {"edit": number, "end": end})


def drop_cut_line(folder: Path) -> None:
    """Remove a last line that was cut by a kill: the next one must begin on its own."""
    file = folder / JOURNAL
    if file.is_file():
        content = file.read_bytes()
        if content and not content.endswith(b"\n"):
            os.truncate(file, content.rfind(b"\n") + 1)


def undo(edit: Edit, aside: str) -> tuple[tuple[tuple[str, str], ...], tuple[Text, ...]]:
    """Renames and texts that take an edit back; what it made is set aside by a suffix."""
    moves = [
        (target, target + aside if source in edit.made else source)
        for source, target in reversed(edit.moves)
    ]
    texts = [Text(name=text.name, old=text.new, new=text.old) for text in reversed(edit.texts)]
    return tuple(moves), tuple(texts)


def _append(folder: Path, entry: dict[str, Any]) -> None:
    line = json.dumps(entry, sort_keys=True) + "\n"
    descriptor = os.open(folder / JOURNAL, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o666)
    try:
        data = line.encode()
        while data:
            data = data[os.write(descriptor, data) :]
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _parse(entry: dict[str, Any]) -> Edit:
    return Edit(
        number=int(entry["edit"]),
        what=str(entry["what"]),
        words=str(entry["words"]),
        when=str(entry["when"]),
        who=str(entry["who"]),
        moves=_pairs(entry["moves"]),
        texts=tuple(Text(**text) for text in entry["texts"]),
        made=tuple(map(str, entry["made"])),
        sources=_pairs(entry["sources"]),
        undoes=int(entry["undoes"]),
    )


def _pairs(entries: Sequence[Sequence[str]]) -> tuple[tuple[str, str], ...]:
    return tuple((str(first), str(second)) for first, second in entries)
