"""Copies for the published ACT loader (tonyzhaozh/act, ``utils.py``).

It stacks the whole vectors of all episodes, so that they must have one length; it reads pictures
as raw arrays, stacks those of all cameras, so that they must have one size; and it takes the files
``episode_0.hdf5`` to ``episode_<n-1>.hdf5``.
"""

import functools
import json
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from typing import Annotated, Any, Literal

import h5py
import numpy as np
import tyro
from numpy.typing import NDArray

from ate_core.contract import Cell
from ate_core.episode_outcome import SUCCESS
from ate_core.errors import EpisodeError, UsageError
from ate_policy.images import resize_image
from training.data.episode_file import Episode, read_episode
from training.export.camera_video import decode_picture, in_blocks
from training.export.chosen import of_one_cell, of_outcome
from training.export.copies import (
    BESIDE,
    Copy,
    length_note,
    lost_note,
    make_copies,
    new_folder,
    remark,
    require_room_for,
    ticks_for,
    write_copy,
)
from training.export.report import ExportReport, print_reports
from training.tasks.choose import WorkConfig

TASK_FILE = BESIDE[0]
"""An entry for the task table of ACT's `constants.py`."""
FEWEST = 2
"""The loader trains on 80 % of the episodes and needs one on each side."""


@dataclass(frozen=True, kw_only=True)
class ActExport:
    """Copies that the published ACT loader reads: one length, raw pictures."""

    episodes: Path
    """Folder with HDF5 episodes."""
    output: Path
    """Folder of the copies."""
    length: Literal["longest", "shortest"] | int = "longest"
    """Ticks of every copy: the last tick is held, or the rest is cut off."""
    size: tuple[int, int] | None = None
    """Height and width of the pictures [px]; None: as recorded."""
    outcome: str = SUCCESS
    """Only those with this outcome; empty: all."""
    overwrite: bool = False
    """Replace the output."""
    work: Annotated[WorkConfig, tyro.conf.arg(name="")] = field(default_factory=WorkConfig)
    """Where, and how many at the same time."""

    def __post_init__(self) -> None:
        if isinstance(self.length, int) and self.length < 1:
            raise UsageError(f"--length {self.length} is below 1 tick")
        if self.size is not None and min(self.size) < 1:
            raise UsageError(f"--size {self.size} is below 1 pixel")


def export_act(config: ActExport) -> int:
    """Write the copies; return 1 when an episode was rejected."""
    reports: list[ExportReport] = []
    alike = _alike(config, reports)
    looks = [look for look, _ in alike]
    odd = {look.path.stem: note for look, note in alike}
    ticks = [look.ticks for look in looks] or [0]
    lengths = {"longest": max(ticks), "shortest": min(ticks)}
    length = config.length if isinstance(config.length, int) else lengths[config.length]
    with new_folder(config.output.resolve(), config.overwrite, config.episodes) as folder:
        require_room_for(folder, {look.path: look.tick_bytes * length for look in looks})
        make = functools.partial(_copy, folder=folder, length=length, size=config.size)
        copies = make_copies([look.path for look in looks], make, config.work, reports)
        copies = _of_one_size(copies, reports)
        for index, copy in enumerate(copies):
            target = folder / f"episode_{index}.hdf5"
            copy.path.rename(target)
            reports.append(
                copy.report(note=remark(f"{target.name} {copy.note}".strip(), odd[copy.name]))
            )
        if len(copies) < FEWEST:
            print_reports(reports, config.output)
            raise EpisodeError(f"{len(copies)} episodes are left; ACT's loader needs {FEWEST}")
        task = {
            "dataset_dir": str(config.output.resolve()),
            "num_episodes": len(copies),
            "episode_len": length,
            "camera_names": sorted(looks[0].cameras),
        }
        (folder / TASK_FILE).write_text(json.dumps(task, indent=2) + "\n")
    return print_reports(reports, config.output)


@dataclass(frozen=True, kw_only=True)
class _Look:
    """What decides whether an episode can stand beside others."""

    path: Path
    ticks: int
    cell: Cell
    cameras: tuple[str, ...]
    tick_bytes: int
    """Of the pictures at one tick, raw [byte]."""


def _look(path: Path, size: tuple[int, int] | None) -> _Look:
    episode = read_episode(path)
    if not episode.images or not len(episode):
        raise EpisodeError("it has no pictures, and ACT's loader stacks those of all cameras")
    cameras = tuple(sorted(episode.images))
    sizes = [size or decode_picture(episode.images[key][0], key, 0).shape[:2] for key in cameras]
    pixels = sum(height * width for height, width in sizes)
    return _Look(
        path=path,
        ticks=len(episode),
        cell=episode.cell,
        cameras=cameras,
        tick_bytes=3 * pixels,
    )


def _alike(config: ActExport, reports: list[ExportReport]) -> list[tuple[_Look, str]]:
    """The episodes that fit the first one, and what is odd about each; others are reported."""
    paths = of_outcome(config.episodes.resolve(), config.outcome, reports)
    look_at = functools.partial(_look, size=config.size)
    looks = make_copies(paths, look_at, config.work, reports)
    alike = []
    for look, odd in of_one_cell(looks, reports):
        if look.cameras == looks[0].cameras:
            alike.append((look, odd))
            continue
        note = f"its cameras are {list(look.cameras)}, not {list(looks[0].cameras)}"
        reports.append(ExportReport(name=look.path.stem, result="rejected", note=note))
    return alike


def _of_one_size(copies: list[Copy], reports: list[ExportReport]) -> list[Copy]:
    """The copies whose pictures are as large as those of the first; the others are reported."""
    alike = []
    for copy in copies:
        (height, width), (first_height, first_width) = copy.facts["size"], copies[0].facts["size"]
        if (height, width) == (first_height, first_width):
            alike.append(copy)
            continue
        note = (
            f"its pictures are {width}x{height}, others {first_width}x{first_height}; ACT stacks "
            "them: give --size HEIGHT WIDTH"
        )
        reports.append(copy.report(result="rejected", ticks=0, note=note))
    return alike


def _copy(path: Path, folder: Path, length: int, size: tuple[int, int] | None) -> Copy:
    episode = read_episode(path)
    write = functools.partial(_write, episode=episode, length=length, size=size)
    target, facts = write_copy(folder, path, f"act 1 {length} {size}", write)
    note = remark(length_note(length, len(episode)), lost_note(episode))
    return Copy(name=path.stem, path=target, ticks=length, note=note, facts=facts)


def _write(
    file: h5py.File, episode: Episode, length: int, size: tuple[int, int] | None
) -> dict[str, Any]:
    ticks = ticks_for(length, len(episode))
    wanted = size
    # Here the word only decides whether the loader shifts actions back by one tick. Ours stand
    # at their tick already.
    file.attrs["sim"] = True
    file.attrs["hardware"] = episode.cell.hardware
    file["/observations/qpos"] = episode.state[ticks]
    file["/observations/qvel"] = episode.velocity[ticks]
    file["/action"] = episode.action[ticks]
    for key in sorted(episode.images):
        wanted = _write_raw(file, key, episode, length, wanted, fixed=size is not None)
    return {"size": wanted}


def _write_raw(
    file: h5py.File,
    key: str,
    episode: Episode,
    length: int,
    size: tuple[int, int] | None,
    *,
    fixed: bool,
) -> tuple[int, int]:
    """Write one camera; returns the size that the others must have, too."""
    dataset = None
    picture: NDArray[np.uint8] = np.empty(0, np.uint8)
    for tick, jpeg in enumerate(islice(in_blocks(episode.images[key]), length)):
        picture = decode_picture(jpeg, key, tick)
        own = (picture.shape[0], picture.shape[1])
        size = own if size is None else size
        height, width = size
        if fixed:
            picture, own = resize_image(picture, height, width), size
        if own != size:
            raise EpisodeError(
                f"{key} at tick {tick} is {own[1]}x{own[0]}, others "
                f"{width}x{height}; ACT stacks them: give --size HEIGHT WIDTH"
            )
        if dataset is None:
            shape = (length, *picture.shape)
            dataset = file.create_dataset(
                f"/observations/images/{key}", shape, np.uint8, chunks=(1, *picture.shape)
            )
        dataset[tick] = picture
    if dataset is None or size is None:
        raise EpisodeError(f"{key} has no pictures")
    for tick in range(len(episode), length):
        dataset[tick] = picture
    return size
