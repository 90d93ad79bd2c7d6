"""What lies beside the episodes of a folder: labels given later, and the journal of edits.

A converted episode is never rewritten. What is decided afterwards stands in a small file beside
it and overrides what the episode says of itself, for every reader.
"""

from __future__ import annotations

import json
import os
from pathlib import Path

from ate_core.episode_outcome import check_label
from ate_core.errors import EpisodeError
from ate_core.json_text import UNREADABLE

EXCLUDED = ".excluded"
"""Suffix of a file that nobody reads any more: what it was made of is kept out, or gone."""
JOURNAL = "edits.jsonl"
"""One line when an edit begins, one when it ended."""


def label_file(path: Path) -> Path:
    """The file beside a converted episode that holds the label it was given later."""
    return path.with_name(f"{path.name.partition('.')[0]}.outcome.json")


def excluded_file(path: Path) -> Path:
    """Where a file lies once it was put away."""
    return path.with_name(path.name + EXCLUDED)


def put_away(path: Path) -> str:
    """Give a file a suffix that no reader takes, if it is there; returns its name then."""
    return path.replace(excluded_file(path)).name if path.exists() else ""


def read_label(path: Path) -> str | None:
    """The label given to a converted episode later; None where there is none.

    Raises:
        EpisodeError: the file beside it is damaged, or its label is none.
    """
    file = label_file(path)
    try:
        label = json.loads(file.read_text(encoding="utf-8"))["outcome"]
        return check_label(label)
    except FileNotFoundError:
        return None
    except (*UNREADABLE, OSError, EpisodeError) as error:
        raise EpisodeError(
            f"{file} cannot be read ({error}): `ate episodes label` writes it anew"
        ) from None


def read_label_time(path: Path) -> int | None:
    """When a converted episode was given its label [ns]; None where it has none that tells.

    Raises:
        OSError: the disk does not give it.
    """
    try:
        return int(json.loads(label_file(path).read_text(encoding="utf-8"))["decided_ns"])
    except (*UNREADABLE, FileNotFoundError):
        return None


def require_readable(folder: Path) -> None:
    """Refuse a folder that may not be read, which a glob takes for an empty one.

    Raises:
        EpisodeError: its entries cannot be listed.
    """
    if folder.is_dir():
        try:
            os.scandir(folder).close()
        except OSError as error:
            raise EpisodeError(
                f"{folder} cannot be read ({error.strerror}): give yourself the right to it"
            ) from None


def refuse_half_edited(folder: Path) -> None:
    """Refuse a folder in which an edit is under way or was cut short.

    Raises:
        EpisodeError: episodes may be there twice, or not at all.
    """
    try:
        lines = (folder / JOURNAL).read_text(encoding="utf-8").splitlines()
    except (FileNotFoundError, NotADirectoryError):
        return
    except (OSError, ValueError) as error:
        raise EpisodeError(f"{folder / JOURNAL} cannot be read ({error})") from None
    for line in reversed(lines):
        try:
            entry = json.loads(line)
            begins = "end" not in entry
        except UNREADABLE:
            continue  # a line cut short: nothing was done under it yet
        if begins:
            raise EpisodeError(
                f"edit {entry.get('edit')} of {folder} is not finished: wait for it, or roll it "
                f"back with `ate episodes list {folder}`"
            )
        return
