"""``ate export lerobot``: HDF5 episodes to a LeRobot data set.

What was begun is finished, what is there is not made twice; the set holds what the folder holds.
A set of another folder's episodes is not replaced.
"""

import functools
import hashlib
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Annotated

import tyro

from ate_core.disk_refusals import is_by_disk
from ate_core.errors import UsageError
from training.data.episode_file import (
    file_sha256,
    list_episodes,
    read_episode,
    read_recording_of,
)
from training.data.recording import NEAR
from training.export.camera_video import VideoConfig
from training.export.copies import remark
from training.export.lerobot_folder import LerobotFolder
from training.export.report import FAILURES, ExportReport, Finished, one_line, print_reports
from training.tasks.choose import WorkConfig


@dataclass(frozen=True, kw_only=True)
class LerobotExport:
    """A LeRobot data set, version 3.0: tables in parquet, pictures as video."""

    episodes: Path
    """Folder with HDF5 episodes."""
    output: Path
    """Folder of the data set."""
    video: VideoConfig = field(default_factory=VideoConfig)
    """How pictures are encoded."""
    objects: bool = True
    """Write poses of objects where recorded, as the feature `environment`."""
    work: Annotated[WorkConfig, tyro.conf.arg(name="")] = field(default_factory=WorkConfig)
    """Where, and how many at the same time."""

    def folder(self) -> LerobotFolder:
        """The set that is written."""
        return LerobotFolder(output=self.output, video=self.video, objects=self.objects)


def export_lerobot(config: LerobotExport) -> int:
    """Write the set; return 1 when an episode was rejected."""
    config = replace(config, output=config.output.resolve())  # workers may start elsewhere
    paths, folder = list_episodes(config.episodes.resolve()), config.folder()
    reports: list[ExportReport] = []
    with folder.held():
        _refuse_others(paths, folder, config.episodes)
        folder.require_room({path.stem: path for path in paths})
        try:
            for done in config.work.run(functools.partial(export_episode, config=config), paths):
                failed = ExportReport(name=done.item.stem, result="rejected", note=done.failure)
                reports.append(done.result or failed)
            reports.sort(key=lambda report: report.name)
            finished = folder.finish(
                [report.name for report in reports if report.result != "rejected"],
                disk_refused=any(report.disk_refused for report in reports),
            )
            reports = [_completed(report, finished) for report in reports]
        finally:
            code = print_reports(reports, config.output)
    return code


def _completed(report: ExportReport, finished: Finished) -> ExportReport:
    """Its row when the set is written, or refused it."""
    if (reason := finished.refused.get(report.name)) is not None:
        return replace(report, result="rejected", ticks=0, note=reason)
    return replace(report, note=remark(report.note, finished.notes.get(report.name, "")))


def _refuse_others(paths: list[Path], folder: LerobotFolder, episodes: Path) -> None:
    """Refuse to replace episodes of other recordings, or to drop what another folder holds.

    Raises:
        UsageError: naming them.
    """
    for path in paths:
        own = read_recording_of(path)
        others = {} if own is None else folder.of_others(path.stem, own, NEAR)
        for part, when in others.items():
            raise UsageError(
                f"{part} is of another recording ({when}, this {path.name} {own}): choose another "
                f"--output, or delete {folder.output} and {folder.parts} to make the set anew"
            )
    put_away = (path.name.partition(".")[0] for path in episodes.glob("episode_*.hdf5.*"))
    folder.kept([*(path.stem for path in paths), *put_away], episodes, is_one=False)


def export_episode(path: Path, config: LerobotExport) -> ExportReport:
    """Make the part of one episode, unless it is there; an unsound one is reported."""
    folder, name = config.folder(), path.stem
    try:
        own = file_sha256(path)
        digest = hashlib.sha256(f"{own} {folder.options_text()}".encode()).hexdigest()
        if folder.has(name, digest):
            return ExportReport(name=name, result="up to date")
        episode = read_episode(path)
        folder.write(name, episode, digest)
    except FAILURES as error:
        return ExportReport(
            name=name, result="rejected", note=one_line(error), disk_refused=is_by_disk(error)
        )
    return ExportReport(name=name, result="exported", ticks=len(episode))
