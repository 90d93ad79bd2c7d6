"""Doing edits: one editor at a time, all of an edit or nothing of it.

The journal says what will be done before it is done. An edit that fails is taken back at once;
one whose process was killed is taken back by the next command.
"""

from __future__ import annotations

import getpass
import os
import platform
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from ate_core.disk_refusals import remedy
from ate_core.episode_folders import SUFFIX
from ate_core.errors import EpisodeError
from ate_core.files import replace_text
from ate_core.locks import open_locked
from training.data.disk_room import require_room
from training.data.summaries import file_sha256
from training.episodes.episode_set import EpisodeSet
from training.episodes.journal import (
    DONE,
    ROLLED_BACK,
    Edit,
    Text,
    append_begin,
    append_end,
    drop_cut_line,
    read_journal,
    undo,
)

Writer = Callable[[Path], None]
"""Writes a new episode to a path."""


@dataclass(frozen=True)
class Editor:
    """May change a set; made by `editing`, which holds the lock."""

    episodes: EpisodeSet

    @property
    def folder(self) -> Path:
        """Of the set."""
        return self.episodes.folder

    def run(
        self,
        what: str,
        words: str,
        *,
        moves: Sequence[tuple[Path, Path]] = (),
        texts: Mapping[Path, str | None] | None = None,
        made: Mapping[Path, Writer] | None = None,
        sources: Sequence[Path] = (),
    ) -> Edit:
        """Do one edit, and write it into the journal.

        Args:
            what: Kind of edit.
            words: For people.
            moves: Renames of what is there, in order.
            texts: New content of small files; None removes one.
            made: New episodes and what writes each; they appear after the renames.
            sources: Files that they are made from.

        Raises:
            AteError: it cannot be done, or the disk lacks the room; nothing has changed.
        """
        made, texts = made or {}, texts or {}
        if made:
            size = sum(path.stat().st_size for path in sources)
            require_room(self.folder, size, "the new episodes")
        number = read_journal(self.folder).next_number
        staged = {path: path.with_name(f".edit-{number}.{path.name}") for path in made}
        renames = [*moves, *((staged[path], path) for path in made)]
        edit = Edit(
            number=number,
            what=what,
            words=words,
            when=time.strftime("%Y-%m-%dT%H:%M:%S%z"),
            who=_who(),
            moves=tuple((self._name(source), self._name(target)) for source, target in renames),
            texts=tuple(
                Text(name=self._name(file), old=_content(file), new=new)
                for file, new in texts.items()
            ),
            made=tuple(self._name(path) for path in staged.values()),
            sources=tuple((path.name, file_sha256(path)) for path in sources),
        )
        return self._do(edit, {staged[path]: write for path, write in made.items()})

    def undo(self) -> Edit:
        """Take the newest edit back that is in force.

        Raises:
            EpisodeError: there is none, or the set was changed by other hands since.
        """
        journal = read_journal(self.folder)
        last = journal.last_undoable()
        if last is None:
            raise EpisodeError(f"{self.folder} has no edit to undo: `ate episodes log` lists them")
        moves, texts = undo(last, SUFFIX)
        edit = Edit(
            number=journal.next_number,
            what="undo",
            words=f"undo of edit {last.number}: {last.words}",
            when=time.strftime("%Y-%m-%dT%H:%M:%S%z"),
            who=_who(),
            moves=moves,
            texts=texts,
            undoes=last.number,
        )
        for text in texts:
            if _content(self.folder / text.name) != text.old:
                raise EpisodeError(
                    f"{text.name} was changed since edit {last.number}: label the episode anew "
                    "instead"
                )
        return self._do(edit, {})

    def _do(self, edit: Edit, writers: Mapping[Path, Writer]) -> Edit:
        for source, target in edit.moves:
            if source not in edit.made and not (self.folder / source).exists():
                raise EpisodeError(f"{self.folder / source} is gone: it was moved by other hands")
            if (self.folder / target).exists():
                raise EpisodeError(
                    f"{self.folder / target} is there already: move one of the two away by hand"
                )
        try:
            append_begin(self.folder, edit)
            for path, write in writers.items():
                write(path)
            for source, target in edit.moves:
                (self.folder / source).rename(self.folder / target)
            for text in edit.texts:
                _replace(self.folder / text.name, text.new)
            append_end(self.folder, edit.number, DONE)
        except BaseException as error:
            with suppress(OSError):  # no room to say so: the next command does it again
                self.roll_back(edit)
            if isinstance(error, OSError):
                raise EpisodeError(
                    f"{self.folder} takes no edit ({error.strerror or error}): nothing was "
                    f"changed; {remedy(error)}, or work on a copy"
                ) from None
            raise
        return edit

    def roll_back(self, edit: Edit) -> None:
        """Bring a set back to before an edit that did not end."""
        drop_cut_line(self.folder)
        journal = read_journal(self.folder)
        if all(one.number != edit.number for one in journal.edits):
            return  # its line never reached the disk, and nothing was done before it
        for text in reversed(edit.texts):
            if (self.folder / text.name).parent.is_dir():
                _replace(self.folder / text.name, text.old)
        for source, target in reversed(edit.moves):
            before, after = self.folder / source, self.folder / target
            if before.exists() and after.exists():
                raise EpisodeError(
                    f"edit {edit.number} was cut short and {source} was written again since: move "
                    f"it or {target} away by hand"
                )
            if after.exists():
                after.rename(before)
        for name in edit.made:
            (self.folder / name).unlink(missing_ok=True)
            for part in self.folder.glob(f".{name}.*.tmp"):  # of a writer that was killed
                part.unlink(missing_ok=True)
        append_end(self.folder, edit.number, ROLLED_BACK)

    def _name(self, path: Path) -> str:
        return path.relative_to(self.folder).as_posix()


@contextmanager
def editing(episodes: EpisodeSet) -> Iterator[Editor]:
    """Hold a set for one edit; what a killed edit left is taken back first.

    Raises:
        EpisodeError: somebody else edits it, or it cannot be written to.
    """
    folder = episodes.folder
    try:
        descriptor = open_locked(folder, os.O_RDONLY)
    except BlockingIOError:
        raise EpisodeError(
            f"{folder} is being changed by another edit, `ate convert` or `ate import`: try again "
            "later"
        ) from None
    try:
        editor = Editor(episodes)
        try:
            recover(editor)
        except OSError as error:
            raise EpisodeError(
                f"a half-finished edit of {folder} cannot be taken back ({error.strerror}): "
                f"{remedy(error)}"
            ) from None
        yield editor
    finally:
        os.close(descriptor)


def recover(editor: Editor) -> Edit | None:
    """Take back the edit that a killed process left half done; returns it."""
    drop_cut_line(editor.folder)
    left = read_journal(editor.folder).unfinished()
    if left is not None:
        editor.roll_back(left)
    return left


def _who() -> str:
    try:
        user = getpass.getuser()
    except (KeyError, OSError):  # a container without a name for its user
        user = str(os.getuid())
    return f"{user}@{platform.node()}"


def _content(file: Path) -> str | None:
    try:
        return file.read_text(encoding="utf-8")
    except FileNotFoundError:
        return None
    except UnicodeDecodeError:
        raise EpisodeError(f"{file} is no text: move it away") from None


def _replace(file: Path, text: str | None) -> None:
    if text is None:
        file.unlink(missing_ok=True)
    else:
        replace_text(file, text)
