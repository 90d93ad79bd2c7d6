"""Copies in the layout that RoboTwin 2.0 collects, from which each of its policies makes its own.

RoboTwin's scripts read ``/joint_action`` and ``/observation/<camera>/rgb`` of
``<task>/<config>/data/episode<i>.hdf5``; state is the vector at a tick and action the one a tick
later. Pictures are JPEGs that OpenCV decodes to RGB, which takes exchanged colours in the file.
"""

import json
from dataclasses import dataclass
from pathlib import Path

import h5py

from ate_core.errors import EpisodeError, UsageError
from training.data.episode_file import Episode
from training.export.copies import (
    folder_name,
    new_folder,
    readable,
    require_cameras,
    text_of,
    write_jpegs,
)
from training.export.report import FAILURES, ExportReport, one_line, print_reports

CAMERAS = {
    "head_camera": "cam_high",
    "left_camera": "cam_left_wrist",
    "right_camera": "cam_right_wrist",
}
"""RoboTwin's name of a camera -> ours."""
SIDES = ("left", "right")


@dataclass(frozen=True, kw_only=True)
class RobotwinExport:
    """Copies in RoboTwin's raw layout, for the scripts of its policies (ACT, DP, RDT, pi0 ...)."""

    episodes: Path
    """Folder with HDF5 episodes."""
    output: Path
    """Folder that becomes RoboTwin's `data`."""
    config: str = "demo_clean"
    """RoboTwin's name of a task configuration, the folder below the task."""
    overwrite: bool = False
    """Replace the output."""

    def __post_init__(self) -> None:
        if not self.config or Path(self.config).name != self.config:
            raise UsageError(f"--config {self.config!r} is no name of a folder")


def export_robotwin(config: RobotwinExport) -> int:
    """Write the copies; return 1 when an episode was rejected."""
    reports: list[ExportReport] = []
    counts: dict[str, int] = {}
    with new_folder(config.output, config.overwrite) as folder:
        for name, episode in readable(config.episodes, reports):
            try:
                text = text_of(episode)
                task = folder_name(episode.task or text)
                number = counts.get(task, 0)
                _write(folder / task / config.config, number, text, episode)
            except FAILURES as error:
                reports.append(ExportReport(name=name, result="rejected", note=one_line(error)))
                continue
            counts[task] = number + 1
            note = f"{task}/{config.config}/data/episode{number}.hdf5"
            reports.append(
                ExportReport(name=name, result="exported", ticks=len(episode), note=note)
            )
        if not counts:
            print_reports(reports, config.output)
            raise EpisodeError(f"no episode is left for {config.output}: see the reasons above")
    return print_reports(reports, config.output)


def _write(folder: Path, number: int, text: str, episode: Episode) -> None:
    require_cameras(episode, list(CAMERAS.values()))
    layout = episode.cell.layout.state
    names = {field.name for field in layout.fields}
    for side in SIDES:
        if not {f"{side}_arm", f"{side}_gripper"} <= names:
            raise EpisodeError(f"it has no {side} arm and gripper; RoboTwin's scripts read both")
    target = folder / "data" / f"episode{number}.hdf5"
    target.parent.mkdir(parents=True, exist_ok=True)
    try:
        with h5py.File(target, "w") as file:
            for side in SIDES:
                arm, grip = layout.slice(f"{side}_arm"), layout.slice(f"{side}_gripper")
                file[f"/joint_action/{side}_arm"] = episode.state[:, arm]
                file[f"/joint_action/{side}_gripper"] = episode.state[:, grip.start]
            file["/joint_action/vector"] = episode.state
            for camera, key in CAMERAS.items():
                write_jpegs(
                    file,
                    f"/observation/{camera}/rgb",
                    episode.images[key],
                    len(episode),
                    exchange=True,
                )
    except FAILURES:
        target.unlink(missing_ok=True)
        raise
    words = folder / "instructions" / f"episode{number}.json"
    words.parent.mkdir(exist_ok=True)
    words.write_text(json.dumps({"seen": [text], "unseen": [text]}, indent=2) + "\n")
