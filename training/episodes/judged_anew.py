"""What edits made of an episode follows it where its bag was judged anew since."""

from __future__ import annotations

from pathlib import Path

from ate_core.episode_folders import number_of
from training.data.episode_file import read_outcome_of
from training.data.set_files import read_label_time
from training.episodes import operations
from training.episodes.editor import Editor, recover
from training.episodes.episode_set import EpisodeSet
from training.episodes.journal import Journal


def parts_of(journal: Journal, name: str) -> dict[int, Path]:
    """Number -> file of what edits made of an episode, wholly or in part; none that is set aside.

    Args:
        journal: Of the set; edits that make nothing may have come since.
        name: Of the episode.
    """
    files = [journal.folder / file for file in journal.made_of(f"{name}.hdf5")]
    return {number_of(file): file for file in files if file.is_file()}


def set_parts_aside(journal: Journal, name: str, decided_ns: int | None) -> str:
    """Set aside what was made of an episode that is refused by now; returns what to tell.

    Args:
        journal: Of the set, which the caller holds.
        name: Of the episode.
        decided_ns: When its bag was judged; what was labelled since stays [ns]. None: all goes.

    Raises:
        EpisodeError: the set takes no edit.
    """
    paths = parts_of(journal, name)
    numbers = [
        number
        for number, path in paths.items()
        if decided_ns is None or _judged_ns(journal, path) <= decided_ns
    ]
    if not numbers:
        return ""
    edit = operations.delete(_editor(journal.folder), numbers)
    told = ", ".join(paths[number].name for number in numbers)
    keep = "" if decided_ns is None else "; a label of their own keeps them then"
    return (
        f"{told}, made of it, set aside by edit {edit.number}: `ate episodes restore` brings them "
        f"back{keep}"
    )


def label_parts(journal: Journal, name: str, label: str, decided_ns: int) -> str:
    """Label what was made of an episode as its bag was since; returns what to tell.

    What was labelled or cut since keeps its outcome. Arguments and errors as above.
    """
    paths = parts_of(journal, name)
    numbers = [
        number
        for number, path in paths.items()
        if _judged_ns(journal, path) <= decided_ns and read_outcome_of(path) != label
    ]
    if not numbers:
        return ""
    edit = operations.label(_editor(journal.folder), numbers, label)
    told = ", ".join(paths[number].name for number in numbers)
    return f"{told}, made of it, labelled {label} by edit {edit.number}"


def _judged_ns(journal: Journal, path: Path) -> int:
    """When a part was labelled, or was cut with the outcome that the whole had then [ns]."""
    labelled_ns = read_label_time(path)
    return journal.made_at_ns(path.name) if labelled_ns is None else labelled_ns


def _editor(folder: Path) -> Editor:
    editor = Editor(EpisodeSet(folder, "hdf5"))
    recover(editor)
    return editor
