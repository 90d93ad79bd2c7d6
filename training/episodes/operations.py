"""What can be done to the episodes of a set. Nothing is rewritten, everything can be undone."""

from __future__ import annotations

import functools
import json
import time
from collections.abc import Sequence
from pathlib import Path

from ate_core.episode_outcome import SUCCESS, check_label
from ate_core.errors import EpisodeError, UsageError
from training.data.episode_file import read_episode, write_episode
from training.data.summaries import file_sha256
from training.episodes.cutting import joint_sha256, merge_episodes, split_episode
from training.episodes.editor import Editor, Writer
from training.episodes.journal import Edit

__all__ = ["SUCCESS", "delete", "label", "merge", "restore", "split"]


def delete(editor: Editor, numbers: Sequence[int]) -> Edit:
    """Set episodes aside: their names get a suffix, and no reader takes them any more."""
    _distinct(numbers)
    episodes = editor.episodes
    moves = [(episodes.require_closed(one), episodes.aside(one)) for one in numbers]
    return editor.run("delete", f"delete {_words(numbers)}", moves=moves)


def restore(editor: Editor, numbers: Sequence[int]) -> Edit:
    """Bring episodes back that were set aside."""
    _distinct(numbers)
    episodes = editor.episodes
    for number in numbers:
        if not episodes.aside(number).exists():
            known = " ".join(map(str, episodes.set_aside())) or "none"
            raise EpisodeError(
                f"episode {number} of {editor.folder} is not set aside (those are: {known})"
            )
    moves = [(episodes.aside(one), episodes.path(one)) for one in numbers]
    return editor.run("restore", f"restore {_words(numbers)}", moves=moves)


def label(editor: Editor, numbers: Sequence[int], text: str) -> Edit:
    """Judge episodes anew; the label lies beside each and overrides what it says of itself."""
    _distinct(numbers)
    text = check_label(text)
    for number in numbers:
        editor.episodes.require_closed(number)
    decided = {"outcome": text, "reason": "", "decided_ns": time.time_ns()}
    content = json.dumps(decided, sort_keys=True) + "\n"
    texts: dict[Path, str | None] = {
        editor.episodes.label_file(number): content for number in numbers
    }
    return editor.run("label", f"label {_words(numbers)} {text!r}", texts=texts)


def split(editor: Editor, number: int, at: Sequence[int]) -> Edit:
    """Write the parts of an episode as new episodes, and set it aside.

    Args:
        editor: Of a set of converted episodes.
        number: Of the episode.
        at: Ticks with which a new part begins.
    """
    _converted_only(editor, "split")
    if not at:
        raise UsageError("--at is empty: give the ticks with which new parts begin")
    path = editor.episodes.require(number)
    parts = split_episode(read_episode(path), at, path.name, file_sha256(path))
    first = editor.episodes.next_made()
    made: dict[Path, Writer] = {
        editor.episodes.path(first + index): functools.partial(write_episode, episode=part)
        for index, part in enumerate(parts)
    }
    ticks = " ".join(map(str, at))
    return editor.run(
        "split",
        f"split {number} at {ticks} into {first} to {first + len(parts) - 1}",
        moves=[(path, editor.episodes.aside(number))],
        made=made,
        sources=[path],
    )


def merge(editor: Editor, numbers: Sequence[int]) -> Edit:
    """Write episodes that follow each other as a new one, and set them aside."""
    _converted_only(editor, "merge")
    _distinct(numbers)
    if len(numbers) < 2:
        raise UsageError(f"merge needs two episodes or more, {len(numbers)} given")
    paths = [editor.episodes.require(one) for one in numbers]
    names = [path.name for path in paths]
    whole = merge_episodes(
        [read_episode(path) for path in paths],
        names,
        joint_sha256([file_sha256(path) for path in paths]),
    )
    target = editor.episodes.path(editor.episodes.next_made())
    return editor.run(
        "merge",
        f"merge {_words(numbers)} into {target.name}",
        moves=[
            (path, editor.episodes.aside(one)) for path, one in zip(paths, numbers, strict=True)
        ],
        made={target: functools.partial(write_episode, episode=whole)},
        sources=paths,
    )


def _converted_only(editor: Editor, what: str) -> None:
    if editor.episodes.kind != "hdf5":
        raise UsageError(
            f"{editor.folder} holds bags, which stay as they were recorded: convert them, then "
            f"{what} the converted episodes"
        )


def _distinct(numbers: Sequence[int]) -> None:
    if not numbers:
        raise UsageError("no episode is named: give their numbers")
    twice = sorted({one for one in numbers if numbers.count(one) > 1})
    if twice:
        raise UsageError(f"episode {twice[0]} is named twice: name it once")


def _words(numbers: Sequence[int]) -> str:
    return " ".join(map(str, numbers))
