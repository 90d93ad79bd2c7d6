"""``ate export lerobot``: HDF5 episodes to a LeRobot data set.

What was begun is finished, what is there is not made twice; the set holds what the folder holds.
Episodes of other recordings are replaced, and those that the folder lacks taken out, only where
this is asked for; a set of another folder never is.
"""

import functools
import hashlib
from collections.abc import Mapping
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
    overwrite: bool = False
    """Let the set follow a folder that was made anew: replace episodes of other recordings, take
    out those that the folder lacks. What is up to date stays."""
    work: Annotated[WorkConfig, tyro.conf.arg(name="")] = field(default_factory=WorkConfig)
    """Where, and how many at the same time."""

    def folder(self) -> LerobotFolder:
        """The set that is written."""
        return LerobotFolder(
            output=self.output, video=self.video, objects=self.objects, dropping="--overwrite"
        )


def export_lerobot(config: LerobotExport) -> int:
    """Write the set; return 1 when an episode was rejected."""
    config = replace(config, output=config.output.resolve())  # workers may start elsewhere
    paths, folder = list_episodes(config.episodes.resolve()), config.folder()
    reports: list[ExportReport] = []
    with folder.held():
        others = _others(paths, folder, config)
        held = folder.names()
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
            reports = [_completed(report, finished, others) for report in reports]
            known = {report.name for report in reports} | {*folder.names()}
            reports += [
                ExportReport(name=name, result="left out", note=_left(config.episodes))
                for name in held
                if name not in known
            ]
        finally:
            code = print_reports(reports, config.output)
    return code


def _completed(
    report: ExportReport, finished: Finished, others: Mapping[str, str]
) -> ExportReport:
    """Its row when the set is written, or refused it."""
    name = report.name
    if (reason := finished.refused.get(name)) is not None:
        return replace(report, result="rejected", ticks=0, note=reason)
    replaced = f"in place of another recording ({others[name]})" if name in others else ""
    return replace(report, note=remark(report.note, replaced, finished.notes.get(name, "")))


def _left(episodes: Path) -> str:
    return f"{episodes} does not hold it any more: it has left the set"


def _others(paths: list[Path], folder: LerobotFolder, config: LerobotExport) -> dict[str, str]:
    """What the set holds of other recordings, episode -> when that began.

    Raises:
        UsageError: it, or what the folder lacks, may not be replaced.
    """
    found: dict[str, str] = {}
    for path in paths:
        own = read_recording_of(path)
        others = {} if own is None else folder.of_others(path.stem, own, NEAR)
        for part, when in others.items():
            if not config.overwrite:
                raise UsageError(
                    f"{path.stem} in {part} is of another recording ({when}, this {path.name} "
                    f"{own}): choose another --output, or --overwrite, with which the set "
                    f"follows {config.episodes}"
                )
            found[path.stem] = when
    if found:
        folder.require_source(config.episodes)
    put_away = (path.name.partition(".")[0] for path in config.episodes.glob("episode_*.hdf5.*"))
    listed = [*(path.stem for path in paths), *put_away]
    folder.kept(listed, config.episodes, is_one=False, drop=config.overwrite)
    folder.remember_source(config.episodes)
    return found


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
