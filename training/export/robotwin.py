"""Copies in the layouts that RoboTwin collects, from which each of its policies makes its own.

The scripts of 2.0 (branch ``stable_2.0``) read ``/joint_action`` and
``/observation/<camera>/rgb`` of ``<task>/<config>/data/episode<i>.hdf5``; state is the vector at a
tick and action the one a tick later. Those of ``main`` and of XPolicyLab, to which it has left its
policies, read ``/state``, ``/action`` and ``/vision/<camera>/colors`` of ``episode_<i>.hdf5`` with
seven digits; the action of a row follows its state, as ours does. Pictures of both are JPEGs that
OpenCV decodes to RGB, which takes exchanged colours in the file.
"""

import functools
import json
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any, Literal

import h5py
import numpy as np
import simplejpeg
import tyro

from ate_core.episode_outcome import SUCCESS
from ate_core.errors import EpisodeError, UsageError
from ate_core.layout import VectorLayout
from training.data.episode_file import Episode, read_episode
from training.export.chosen import demonstrations
from training.export.copies import (
    Copy,
    FolderNames,
    least_size,
    lost_note,
    make_copies,
    new_folder,
    remark,
    require_cameras,
    require_room_for,
    text_of,
    write_copy,
    write_jpegs,
)
from training.export.report import ExportReport, print_reports
from training.tasks.choose import WorkConfig

CAMERAS = {
    "head_camera": "cam_high",
    "left_camera": "cam_left_wrist",
    "right_camera": "cam_right_wrist",
}
"""RoboTwin's name of a camera -> ours."""
MAIN_CAMERAS = {
    "cam_head": "cam_high",
    "cam_left_wrist": "cam_left_wrist",
    "cam_right_wrist": "cam_right_wrist",
}
"""The same in ``main``."""
MAIN_VERSION = "v1.0"
"""What ``main`` writes into its files as their format."""
SIDES = ("left", "right")
Layout = Literal["stable_2.0", "main"]


@dataclass(frozen=True, kw_only=True)
class RobotwinExport:
    """Copies in RoboTwin's raw layout, for the scripts of its policies (ACT, DP, RDT, pi0 ...)."""

    episodes: Path
    """Folder with HDF5 episodes."""
    output: Path
    """Folder that becomes RoboTwin's `data`, or `data/<name>` of XPolicyLab."""
    layout: Layout = "stable_2.0"
    """Branch of RoboTwin whose scripts read the copies."""
    config: str = "demo_clean"
    """RoboTwin's name of a task configuration, or of an environment in `main`: the folder below
    the task."""
    outcome: str = SUCCESS
    """Only those with this outcome; empty: all."""
    overwrite: bool = False
    """Replace the output."""
    work: Annotated[WorkConfig, tyro.conf.arg(name="")] = field(default_factory=WorkConfig)
    """Where, and how many at the same time."""

    def __post_init__(self) -> None:
        if not self.config or Path(self.config).name != self.config:
            raise UsageError(f"--config {self.config!r} is no name of a folder")


def export_robotwin(config: RobotwinExport) -> int:
    """Write the copies; return 1 when an episode was rejected."""
    reports: list[ExportReport] = []
    counts: Counter[str] = Counter()
    names = FolderNames()
    keys = list(CAMERAS.values())
    source = config.episodes.resolve()
    odd = demonstrations(source, config.outcome, keys, config.work, reports)
    paths = list(odd)
    with new_folder(config.output.resolve(), config.overwrite, config.episodes) as folder:
        sizes = {path: least_size(path, keys, exchange=True) for path in paths}
        require_room_for(folder, sizes)
        make = functools.partial(_copy, folder=folder, layout=config.layout)
        for copy in make_copies(paths, make, config.work, reports):
            task, text = names.of(copy.facts["task"]), copy.facts["text"]
            number = counts[task]
            name = f"episode_{number:07d}" if config.layout == "main" else f"episode{number}"
            place = f"{task}/{config.config}/data/{name}.hdf5"
            target = folder / place
            target.parent.mkdir(parents=True, exist_ok=True)
            copy.path.rename(target)
            if config.layout == "stable_2.0":  # in main the file itself holds them
                words = target.parents[1] / "instructions" / f"{name}.json"
                words.parent.mkdir(exist_ok=True)
                words.write_text(json.dumps({"seen": [text], "unseen": [text]}, indent=2) + "\n")
            counts[task] += 1
            reports.append(
                copy.report(note=remark(place, copy.note, odd[source / copy.path.name]))
            )
        if not counts:
            print_reports(reports, config.output)
            raise EpisodeError(f"no episode is left for {config.output}: see the reasons above")
    return print_reports(reports, config.output)


def _copy(path: Path, folder: Path, layout: Layout) -> Copy:
    episode = read_episode(path)
    fill = _write_main if layout == "main" else _write
    write = functools.partial(fill, episode=episode)
    target, facts = write_copy(folder, path, f"robotwin 2 {layout}", write)
    note = lost_note(episode)
    return Copy(name=path.stem, path=target, ticks=len(episode), note=note, facts=facts)


def _write(file: h5py.File, episode: Episode) -> dict[str, Any]:
    """Fill one copy; returns its task, and the instruction that lies beside it."""
    text = text_of(episode)
    require_cameras(episode, list(CAMERAS.values()))
    for side, arm, grip in _columns(episode.cell.layout.state):
        file[f"/joint_action/{side}_arm"] = episode.state[:, arm]
        file[f"/joint_action/{side}_gripper"] = episode.state[:, grip.start]
    file["/joint_action/vector"] = episode.state
    for camera, key in CAMERAS.items():
        pictures = episode.images[key]
        write_jpegs(file, f"/observation/{camera}/rgb", pictures, len(episode), exchange=True)
    return {"task": episode.task or text, "text": text}


def _write_main(file: h5py.File, episode: Episode) -> dict[str, Any]:
    """Fill one copy as `main` and XPolicyLab read it; returns what `_write` does."""
    text = text_of(episode)
    require_cameras(episode, list(MAIN_CAMERAS.values()))
    file["/data_format_version"] = MAIN_VERSION
    file["/instructions"] = json.dumps([text], ensure_ascii=False)
    file["/additional_info/frequency"] = np.int32(round(episode.cell.tick_rate))
    layouts = episode.cell.layout
    for group, vectors, layout in (
        ("state", episode.state, layouts.state),
        ("action", episode.action, layouts.action),
    ):
        for side, arm, grip in _columns(layout):
            file[f"/{group}/{side}_arm_joint_states"] = vectors[:, arm]
            file[f"/{group}/{side}_ee_joint_states"] = vectors[:, grip]
    for camera, key in MAIN_CAMERAS.items():
        pictures = episode.images[key]
        write_jpegs(file, f"/vision/{camera}/colors", pictures, len(episode), exchange=True)
        height, width = simplejpeg.decode_jpeg_header(pictures[0])[:2]
        file[f"/vision/{camera}/shape"] = np.array([height, width, 3], dtype=np.int32)
    return {"task": episode.task or text, "text": text}


def _columns(layout: VectorLayout) -> Iterator[tuple[str, slice, slice]]:
    """Yield each side with the columns of its arm and of its gripper.

    Raises:
        EpisodeError: one has none.
    """
    names = {field.name for field in layout.fields}
    for side in SIDES:
        if not {f"{side}_arm", f"{side}_gripper"} <= names:
            raise EpisodeError(f"it has no {side} arm and gripper; RoboTwin's scripts read both")
        yield side, layout.slice(f"{side}_arm"), layout.slice(f"{side}_gripper")
