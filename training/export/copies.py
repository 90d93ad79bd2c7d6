"""What the copies for published loaders share: a folder made as a whole, lengths, pictures."""

import shutil
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from itertools import islice
from pathlib import Path

import h5py
import numpy as np
import simplejpeg
from numpy.typing import NDArray

from ate_core.errors import EpisodeError, UsageError
from training.data.episode_file import Episode, list_episodes, read_episode
from training.export.camera_video import decode_picture, in_blocks
from training.export.report import FAILURES, ExportReport, one_line

RECODED_QUALITY = 95
"""JPEG quality of a picture whose colours are exchanged; OpenCV's own."""


@contextmanager
def new_folder(output: Path, overwrite: bool) -> Iterator[Path]:
    """A folder beside the output, which takes its place when everything is written.

    Raises:
        UsageError: the output is there and may not be replaced, or cannot be made.
    """
    if output.exists() and not overwrite:
        raise UsageError(f"{output} exists: name another --output, or replace it by --overwrite")
    working = output.with_name(f".{output.name}.partial")
    shutil.rmtree(working, ignore_errors=True)
    try:
        working.mkdir(parents=True)
    except OSError as error:
        raise UsageError(
            f"folder {working} cannot be made ({error.strerror}): choose another output"
        ) from None
    try:
        yield working
        shutil.rmtree(output, ignore_errors=True)
        working.rename(output)
    finally:
        shutil.rmtree(working, ignore_errors=True)


def readable(folder: Path, reports: list[ExportReport]) -> list[tuple[str, Episode]]:
    """The episodes of a folder, pictures still in their files; damaged ones are reported."""
    episodes = []
    for path in list_episodes(folder):
        try:
            episodes.append((path.stem, read_episode(path)))
        except FAILURES as error:
            reports.append(ExportReport(name=path.stem, result="rejected", note=one_line(error)))
    return episodes


def require_cameras(episode: Episode, keys: Sequence[str]) -> None:
    """Refuse an episode without one of the cameras that a loader reads by name."""
    for key in keys:
        if key not in episode.images:
            found = ", ".join(sorted(episode.images)) or "none"
            raise EpisodeError(f"the loader reads camera {key}; the episode has {found}")


def text_of(episode: Episode) -> str:
    """The instruction, or the task as words."""
    text = episode.instruction or episode.task.replace("_", " ")
    if not text:
        raise EpisodeError("it has neither instruction nor task, and the loader reads one")
    return text


def folder_name(text: str) -> str:
    """A text as the name of a folder."""
    return "".join(c if c.isalnum() else "_" for c in text.lower()).strip("_")[:80] or "task"


def ticks_for(length: int, ticks: int) -> NDArray[np.int64]:
    """Which tick stands at each place of a copy: cut at the end, or the last one held."""
    return np.minimum(np.arange(length), ticks - 1)


def length_note(length: int, ticks: int) -> str:
    """What became of the length, for the table."""
    if length == ticks:
        return ""
    return f"last tick held {length - ticks} times" if length > ticks else f"cut from {ticks}"


def write_jpegs(
    file: h5py.File, key: str, images: Sequence[bytes], length: int, *, exchange: bool
) -> None:
    """Write pictures as JPEG bytes of fixed width.

    Args:
        file: Open for writing.
        key: Of the dataset.
        images: JPEGs, one per tick.
        length: Ticks wanted; the last picture is held, or the rest left out.
        exchange: Encode anew with red and blue exchanged, so that `cv2.imdecode`, which hands out
            BGR, hands out RGB. Otherwise the bytes stay as recorded.
    """
    made = []
    for tick, jpeg in enumerate(islice(in_blocks(images), length)):
        picture = decode_picture(jpeg, key, tick)
        made.append(
            bytes(simplejpeg.encode_jpeg(picture, RECODED_QUALITY, "BGR")) if exchange else jpeg
        )
    made += [made[-1]] * (length - len(made))
    file.create_dataset(key, data=np.array(made, dtype=f"S{max(map(len, made))}"))
