"""What the copies for published loaders share: a folder made as a whole, lengths, pictures."""

import functools
import hashlib
import json
import shutil
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field, replace
from itertools import islice
from pathlib import Path
from typing import Any, TypeVar

import h5py
import numpy as np
import simplejpeg
from numpy.typing import NDArray

from ate_core.disk_refusals import is_by_disk
from ate_core.errors import DiskError, EpisodeError, UsageError
from ate_core.files import replace_folder, replacing
from training.configs.output_folder import make_folder, only_writer
from training.data.commanders import POLICY
from training.data.disk_room import require_room
from training.data.episode_file import Episode, file_sha256
from training.data.hdf5_file import new_hdf5
from training.export.camera_video import decode_picture, in_blocks
from training.export.report import FAILURES, ExportReport, one_line
from training.tasks.choose import WorkConfig

Answer = TypeVar("Answer")
PARTS = ".parts"
"""Folder of the copies that have no place yet."""
MADE_OF = "made_of"
"""Attribute of a copy: the hash of its source and of the options."""
FACTS = "facts"
"""Attribute of a copy: what its place is decided by, as JSON."""
BESIDE = ("task_config.json", "expanded_instruction_gpt-4-turbo.json", "instructions/*.json")
"""What lies beside the copies for ACT, RDT and RoboTwin."""
RECODED_QUALITY = 95
"""JPEG quality of a picture whose colours are exchanged; OpenCV's own."""
RECODED_SHARE = 0.5
"""Bytes of such a picture to those before, low: one of quality 100 shrinks."""


@dataclass(frozen=True, kw_only=True)
class Copy:
    """One finished copy, before it has its place among the others."""

    name: str
    """Of the episode."""
    path: Path
    """Where it lies."""
    ticks: int
    """Of the copy."""
    note: str = ""
    """What was changed."""
    facts: Mapping[str, Any] = field(default_factory=dict)
    """What decides its place."""

    def report(self, **changes: Any) -> ExportReport:
        """Its row of the table."""
        about = ExportReport(name=self.name, result="exported", ticks=self.ticks, note=self.note)
        return replace(about, **changes)


def no_copy(output: Path) -> str:
    """What is there and is no copy of an export; empty: all is, or nothing is there."""
    if not output.is_dir():
        return f"{output} is no copy of an export" if output.exists() else ""
    paths = [path for path in sorted(output.rglob("*")) if not path.is_dir()]
    for path in paths:
        if not (_is_copy(path) or any(path.match(pattern) for pattern in BESIDE)):
            return f"{path} is no copy of an export"
    if paths and not any(_is_copy(path) for path in paths):
        return f"{paths[0]} is no copy of an export"
    return ""


def _is_copy(path: Path) -> bool:
    with suppress(OSError), h5py.File(path) as file:
        return MADE_OF in file.attrs
    return False


@contextmanager
def new_folder(
    output: Path, overwrite: bool, source: Path, foreign: Callable[[Path], str] = no_copy
) -> Iterator[Path]:
    """A folder beside the output, which takes its place when everything is written.

    The copies of an export that was stopped are kept there, for the next one.

    Args:
        output: What it becomes.
        overwrite: Whether an output that is there is replaced.
        source: Folder of the episodes, which must not be replaced.
        foreign: Says what in an output is of no export and must not be replaced, either.

    Raises:
        UsageError: the output is there and may not be replaced, holds the source or something
            else, or cannot be made, or another export writes it.
    """
    if source.resolve().is_relative_to(output.resolve()):
        raise UsageError(
            f"{output} holds the episodes themselves, which would be replaced: name another "
            "--output"
        )
    if output.exists() and not overwrite:
        raise UsageError(f"{output} exists: name another --output, or replace it by --overwrite")
    if told := foreign(output):
        raise UsageError(
            f"{told}, and would be deleted with {output}: move it elsewhere, or name another "
            "--output"
        )
    working = output.with_name(f".{output.name}.partial")
    make_folder(working / PARTS)
    with only_writer(working, f"another export writes {output}"):
        for path in working.iterdir():
            if path.name != PARTS:
                _remove(path)
        try:
            yield working
            _remove(working / PARTS)
            replace_folder(working, output)
        finally:
            with suppress(OSError):  # copies are in it, or it is the output now
                (working / PARTS).rmdir()
                working.rmdir()


def make_copies(
    paths: Sequence[Path],
    make: Callable[[Path], Answer],
    work: WorkConfig,
    reports: list[ExportReport],
) -> list[Answer]:
    """Return what workers make of episodes, in the order of their files.

    Args:
        paths: HDF5 episodes.
        make: Makes one copy; runs in a worker.
        work: Where, and how many at the same time.
        reports: Completed by those of which nothing could be made.

    Raises:
        DiskError: the disk did not take some: a part of the copies would pass for all.
    """
    made: dict[str, Answer] = {}
    failed = []
    for done in work.run(functools.partial(_attempt, make=make), paths):
        if done.result is not None and not isinstance(done.result, ExportReport):
            made[done.item.stem] = done.result
        else:
            unforeseen = ExportReport(name=done.item.stem, result="rejected", note=done.failure)
            failed.append(done.result or unforeseen)
    reports += failed
    homeless = [report for report in failed if report.disk_refused]
    if homeless:
        raise DiskError(
            f"the disk refused {len(homeless)} of {len(paths)} copies, {homeless[0].name} first "
            f"({homeless[0].note}); an older output stays"
        )
    return [made[path.stem] for path in paths if path.stem in made]


def _attempt(path: Path, make: Callable[[Path], Answer]) -> Answer | ExportReport:
    """What becomes of one episode, or why nothing does."""
    try:
        return make(path)
    except FAILURES as error:
        return ExportReport(
            name=path.stem, result="rejected", note=one_line(error), disk_refused=is_by_disk(error)
        )


def least_size(path: Path, cameras: Sequence[str], ticks: int = 0, *, exchange: bool) -> int:
    """What `write_jpegs` makes of an episode at least; 0 where it cannot be read [byte].

    Args:
        path: HDF5 episode.
        cameras: Whose pictures are copied.
        ticks: Shortest copy: the last tick is held.
        exchange: Whether they are encoded anew.
    """
    try:
        with h5py.File(path) as file:
            found = [file[f"/observations/images/{key}"] for key in cameras]
            size = sum(max(len(images), ticks) * images.dtype.itemsize for images in found)
    except (OSError, KeyError):
        return 0  # it is rejected with its reason when it is copied
    return int(size * (RECODED_SHARE if exchange else 1.0))


def require_room_for(folder: Path, sizes: Mapping[Path, int]) -> None:
    """Refuse early what cannot fit.

    Args:
        folder: Of the export; copies that a stopped one left are there already.
        sizes: HDF5 episode -> what its copy takes at least [byte].

    Raises:
        DiskError: the disk lacks the room.
    """
    missing = [size for path, size in sizes.items() if not (folder / PARTS / path.name).exists()]
    require_room(folder.parent, sum(missing), "the copies")


def write_copy(
    folder: Path, path: Path, options: str, write: Callable[[h5py.File], Mapping[str, Any]]
) -> tuple[Path, Mapping[str, Any]]:
    """Write the copy of an episode, unless a stopped export left it; it is whole or absent.

    Args:
        folder: Of the export.
        path: HDF5 episode.
        options: Everything besides the episode that decides the bytes of the copy.
        write: Fills the open file and returns facts of it, of plain values.

    Returns:
        Where it lies, and the facts.
    """
    digest = hashlib.sha256(f"{file_sha256(path)} {options}".encode()).hexdigest()
    target = folder / PARTS / path.name
    with suppress(OSError, KeyError), h5py.File(target) as file:
        if file.attrs[MADE_OF] == digest:
            return target, json.loads(file.attrs[FACTS])
    with replacing(target) as temporary, new_hdf5(temporary) as file:
        facts = write(file)
        file.attrs[MADE_OF], file.attrs[FACTS] = digest, json.dumps(facts)
    return target, facts


def _remove(path: Path) -> None:
    if path.is_dir():
        shutil.rmtree(path, ignore_errors=True)
    else:
        path.unlink(missing_ok=True)


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


class FolderNames:
    """One folder per text; of those that read alike, later ones carry a piece of a hash."""

    def __init__(self) -> None:
        self._texts: dict[str, str] = {}

    def of(self, text: str) -> str:
        """The name of a text's folder: the same in every export that gives them in this order."""
        plain = "".join(c if c.isalnum() else "_" for c in text.lower()).strip("_")[:80] or "task"
        digest = hashlib.sha256(text.encode()).hexdigest()
        names = [plain, *(f"{plain}_{digest[:size]}" for size in range(8, len(digest) + 1, 8))]
        return next(name for name in names if self._texts.setdefault(name, text) == text)


def ticks_for(length: int, ticks: int) -> NDArray[np.int64]:
    """Which tick stands at each place of a copy: cut at the end, or the last one held."""
    return np.minimum(np.arange(length), ticks - 1)


def length_note(length: int, ticks: int) -> str:
    """What became of the length, for the table."""
    if length == ticks:
        return ""
    return f"last tick held {length - ticks} times" if length > ticks else f"cut from {ticks}"


def lost_note(episode: Episode) -> str:
    """What a loader that knows no commanders would learn as a demonstration, for the table."""
    ticks = int((episode.commanders == POLICY).any(axis=1).sum())
    return f"{ticks} ticks of a policy look like a person's: leave it out" if ticks else ""


def remark(*notes: str) -> str:
    """Notes in one row of the table."""
    return "; ".join(filter(None, notes))


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
