"""What edits made of an episode follows it where its bag was judged anew since."""

from __future__ import annotations

from pathlib import Path

from ate_core.episode_folders import number_of
from training.data.episode_file import read_outcome_of
from training.data.set_files import read_label_time
from training.episodes import operations
from training.episodes.editor import Editor, recover
from training.episodes.episode_set import EpisodeSet
from training.episodes.journal import read_journal


def parts_of(episodes: EpisodeSet, name: str) -> list[int]:
    """Numbers of what edits made of an episode, wholly or in part, and that is not set aside."""
    files = read_journal(episodes.folder).made_of(f"{name}.hdf5")
    return [number for file in files if episodes.path(number := number_of(Path(file))).is_file()]


def has_parts(folder: Path, name: str) -> bool:
    """Whether a set holds something that edits made of an episode."""
    return bool(parts_of(EpisodeSet(folder, "hdf5"), name))


def set_parts_aside(folder: Path, name: str, decided_ns: int | None) -> str:
    """Set aside what was made of an episode that is refused by now; returns what to tell.

    Args:
        folder: Of the set, which the caller holds.
        name: Of the episode.
        decided_ns: When its bag was judged; what was labelled since stays [ns]. None: all goes.

    Raises:
        EpisodeError: the set takes no edit.
    """
    episodes = EpisodeSet(folder, "hdf5")
    numbers = [
        number
        for number in parts_of(episodes, name)
        if decided_ns is None or _judged_ns(episodes.path(number)) <= decided_ns
    ]
    if not numbers:
        return ""
    editor = _editor(episodes)
    edit = operations.delete(editor, numbers)
    told = ", ".join(episodes.path(number).name for number in numbers)
    keep = "" if decided_ns is None else "; a label of their own keeps them then"
    return (
        f"{told}, made of it, set aside by edit {edit.number}: `ate episodes restore` brings them "
        f"back{keep}"
    )


def label_parts(folder: Path, name: str, label: str, decided_ns: int) -> str:
    """Label what was made of an episode as its bag was since; returns what to tell.

    What was labelled or cut since keeps its outcome. Arguments and errors as above.
    """
    episodes = EpisodeSet(folder, "hdf5")
    paths = {number: episodes.path(number) for number in parts_of(episodes, name)}
    numbers = [
        number
        for number, path in paths.items()
        if _judged_ns(path) <= decided_ns and read_outcome_of(path) != label
    ]
    if not numbers:
        return ""
    edit = operations.label(_editor(episodes), numbers, label)
    told = ", ".join(paths[number].name for number in numbers)
    return f"{told}, made of it, labelled {label} by edit {edit.number}"


def _judged_ns(path: Path) -> int:
    """When a part was labelled, or was cut with the outcome that the whole had then [ns]."""
    labelled_ns = read_label_time(path)
    return read_journal(path.parent).made_at_ns(path.name) if labelled_ns is None else labelled_ns


def _editor(episodes: EpisodeSet) -> Editor:
    editor = Editor(episodes)
    recover(editor)
    return editor
