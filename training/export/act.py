"""Copies for the published ACT loader (tonyzhaozh/act, ``utils.py``).

It stacks the whole vectors of all episodes, so that they must have one length; it reads pictures
as raw arrays, stacks those of all cameras, so that they must have one size; and it takes the files
``episode_0.hdf5`` to ``episode_<n-1>.hdf5``.
"""

import json
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Literal

import h5py
import numpy as np
from numpy.typing import NDArray

from ate_core.errors import EpisodeError, UsageError
from ate_policy.images import resize_image
from training.data.episode_file import Episode
from training.export.camera_video import decode_picture, in_blocks
from training.export.copies import length_note, new_folder, readable, ticks_for
from training.export.report import FAILURES, ExportReport, one_line, print_reports

TASK_FILE = "task_config.json"
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
    overwrite: bool = False
    """Replace the output."""

    def __post_init__(self) -> None:
        if isinstance(self.length, int) and self.length < 1:
            raise UsageError(f"--length {self.length} is below 1 tick")
        if self.size is not None and min(self.size) < 1:
            raise UsageError(f"--size {self.size} is below 1 pixel")


def export_act(config: ActExport) -> int:
    """Write the copies; return 1 when an episode was rejected."""
    reports: list[ExportReport] = []
    episodes = readable(config.episodes, reports)
    ticks = [len(episode) for _, episode in episodes] or [0]
    lengths = {"longest": max(ticks), "shortest": min(ticks)}
    length = config.length if isinstance(config.length, int) else lengths[config.length]
    with new_folder(config.output, config.overwrite) as folder:
        done: list[Episode] = []
        for name, episode in episodes:
            target = folder / f"episode_{len(done)}.hdf5"
            try:
                _require_like(episode, done[0] if done else None)
                _write(target, episode, length, config.size)
            except FAILURES as error:
                target.unlink(missing_ok=True)
                reports.append(ExportReport(name=name, result="rejected", note=one_line(error)))
                continue
            note = f"{target.name} {length_note(length, len(episode))}".strip()
            reports.append(ExportReport(name=name, result="exported", ticks=length, note=note))
            done.append(episode)
        if len(done) < FEWEST:
            print_reports(reports, config.output)
            raise EpisodeError(f"{len(done)} episodes are left; ACT's loader needs {FEWEST}")
        task = {
            "dataset_dir": str(config.output.resolve()),
            "num_episodes": len(done),
            "episode_len": length,
            "camera_names": sorted(done[0].images),
        }
        (folder / TASK_FILE).write_text(json.dumps(task, indent=2) + "\n")
    return print_reports(reports, config.output)


def _require_like(episode: Episode, first: Episode | None) -> None:
    if not episode.images:
        raise EpisodeError("it has no pictures, and ACT's loader stacks those of all cameras")
    if first is None:
        return
    first.cell.layout.require(episode.cell.layout, "it")
    if sorted(episode.images) != sorted(first.images):
        raise EpisodeError(f"its cameras are {sorted(episode.images)}, not {sorted(first.images)}")


def _write(target: Path, episode: Episode, length: int, size: tuple[int, int] | None) -> None:
    ticks = ticks_for(length, len(episode))
    wanted = size
    with h5py.File(target, "w") as file:
        # Here the word only decides whether the loader shifts actions back by one tick. Ours stand
        # at their tick already.
        file.attrs["sim"] = True
        file.attrs["hardware"] = episode.cell.hardware
        file["/observations/qpos"] = episode.state[ticks]
        file["/observations/qvel"] = episode.velocity[ticks]
        file["/action"] = episode.action[ticks]
        for key in sorted(episode.images):
            wanted = _write_raw(file, key, episode, length, wanted, fixed=size is not None)


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
