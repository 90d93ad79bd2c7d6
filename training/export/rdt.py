"""Copies for the published RDT loader (thu-ml/RoboticsDiffusionTransformer, ``hdf5_vla_dataset``).

It drops episodes below 128 ticks, fails on one in which nothing moves, has room for six joints
and a gripper per arm, divides grippers by constants of its own robot, reads three cameras by name
and a file of instructions from an episode's folder, and hands out pictures as OpenCV decodes them.
"""

import functools
import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any, Literal

import h5py
import numpy as np
import tyro
from numpy.typing import NDArray

from ate_core.episode_outcome import SUCCESS
from ate_core.errors import EpisodeError, UsageError
from ate_core.layout import VectorLayout
from training.data.episode_file import Episode, read_episode
from training.export.chosen import demonstrations
from training.export.copies import (
    BESIDE,
    Copy,
    FolderNames,
    least_size,
    length_note,
    lost_note,
    make_copies,
    new_folder,
    remark,
    require_cameras,
    require_room_for,
    text_of,
    ticks_for,
    write_copy,
    write_jpegs,
)
from training.export.report import ExportReport, print_reports
from training.tasks.choose import WorkConfig

SHORTEST = 128
"""Ticks below which the loader drops an episode."""
MOVEMENT = 0.01
"""Change of an entry that the loader takes for motion; it fails where there is none."""
JOINTS = 6
"""Joints per arm that the loader has room for."""
STATE_DIVISORS = {"left": 4.7908, "right": 4.7888}
"""By what the loader divides measured grippers."""
ACTION_DIVISORS = {"left": 11.8997, "right": 13.9231}
"""By what it divides commanded ones."""
CAMERAS = ("cam_high", "cam_left_wrist", "cam_right_wrist")
INSTRUCTIONS = BESIDE[1]
SIDES = ("left", "right")


@dataclass(frozen=True, kw_only=True)
class RdtExport:
    """Copies that the published RDT loader reads: 14 wide, 128 ticks or more, instructions."""

    episodes: Path
    """Folder with HDF5 episodes."""
    output: Path
    """Folder of the copies."""
    drop_joint: int | None = None
    """Which joint of each arm is left out, 1 to 7, where the arms have seven."""
    hold_short: bool = True
    """Hold the last tick of an episode below 128 ticks; otherwise it is rejected."""
    channels: Literal["rgb", "bgr"] = "rgb"
    """Order of the channels that the loader hands out: rgb encodes anew, bgr leaves the bytes."""
    outcome: str = SUCCESS
    """Only those with this outcome; empty: all."""
    overwrite: bool = False
    """Replace the output."""
    work: Annotated[WorkConfig, tyro.conf.arg(name="")] = field(default_factory=WorkConfig)
    """Where, and how many at the same time."""

    def __post_init__(self) -> None:
        if self.drop_joint is not None and not 1 <= self.drop_joint <= JOINTS + 1:
            raise UsageError(f"--drop-joint {self.drop_joint} is outside 1 to {JOINTS + 1}")


def export_rdt(config: RdtExport) -> int:
    """Write the copies; return 1 when an episode was rejected."""
    reports: list[ExportReport] = []
    source = config.episodes.resolve()
    odd = demonstrations(source, config.outcome, CAMERAS, config.work, reports)
    paths = list(odd)
    with new_folder(config.output.resolve(), config.overwrite, config.episodes) as folder:
        exchange = config.channels == "rgb"
        sizes = {path: least_size(path, CAMERAS, SHORTEST, exchange=exchange) for path in paths}
        require_room_for(folder, sizes)
        make = functools.partial(_copy, folder=folder, config=config)
        copies = make_copies(paths, make, config.work, reports)
        names = FolderNames()
        for copy in copies:
            text = copy.facts["text"]
            task = folder / names.of(text)
            task.mkdir(exist_ok=True)
            copy.path.rename(task / copy.path.name)
            words = ("instruction", "simplified_instruction", "expanded_instruction")
            told = json.dumps(dict.fromkeys(words, text), indent=2)
            (task / INSTRUCTIONS).write_text(told + "\n")
            reports.append(copy.report(note=remark(copy.note, odd[source / copy.path.name])))
        if not copies:
            print_reports(reports, config.output)
            raise EpisodeError(f"no episode is left for {config.output}: see the reasons above")
    return print_reports(reports, config.output)


def _copy(path: Path, folder: Path, config: RdtExport) -> Copy:
    episode = read_episode(path)
    options = f"rdt 1 {config.drop_joint} {config.hold_short} {config.channels}"
    write = functools.partial(_write, episode=episode, config=config)
    target, facts = write_copy(folder, path, options, write)
    note = remark(length_note(facts["ticks"], len(episode)), lost_note(episode))
    return Copy(name=path.stem, path=target, ticks=facts["ticks"], note=note, facts=facts)


def _write(file: h5py.File, episode: Episode, config: RdtExport) -> dict[str, Any]:
    """Fill one copy; returns its ticks, and the instruction that lies beside it."""
    text = text_of(episode)
    require_cameras(episode, CAMERAS)
    if len(episode) < SHORTEST and not config.hold_short:
        raise EpisodeError(f"{len(episode)} ticks; RDT's loader drops what is below {SHORTEST}")
    length = max(len(episode), SHORTEST)
    ticks = ticks_for(length, len(episode))
    layout = episode.cell.layout
    state = _narrow(episode.state, layout.state, config.drop_joint, STATE_DIVISORS)
    action = _narrow(episode.action, layout.action, config.drop_joint, ACTION_DIVISORS)
    if not np.any(np.abs(state - state[:1]) > MOVEMENT):
        raise EpisodeError(f"nothing moves by {MOVEMENT}; RDT's loader fails on such an episode")
    file["/observations/qpos"], file["/action"] = state[ticks], action[ticks]
    for key in CAMERAS:
        write_jpegs(
            file,
            f"/observations/images/{key}",
            episode.images[key],
            length,
            exchange=config.channels == "rgb",
        )
    return {"ticks": length, "text": text}


def _narrow(
    values: NDArray[np.float32],
    layout: VectorLayout,
    drop: int | None,
    divisors: dict[str, float],
) -> NDArray[np.float32]:
    """Six joints and a gripper per arm, left first; grippers so that the division gives 0 to 1."""
    names = {field.name: field.size for field in layout.fields}
    blocks = []
    for side in SIDES:
        size = names.get(f"{side}_arm", 0)
        if size not in (JOINTS, JOINTS + 1) or f"{side}_gripper" not in names:
            raise EpisodeError(
                f"the {side} arm has {size} joints; RDT's loader has room for two arms of "
                f"{JOINTS} joints and a gripper each"
            )
        arm = values[:, layout.slice(f"{side}_arm")]
        if size > JOINTS:
            if drop is None:
                raise EpisodeError(
                    f"the {side} arm has {size} joints and RDT's loader room for {JOINTS}: name "
                    "the one to leave out by --drop-joint, or use `ate export robotwin`, whose "
                    "RDT has room for all"
                )
            arm = np.delete(arm, drop - 1, axis=1)
        blocks += [arm, values[:, layout.slice(f"{side}_gripper")] * np.float32(divisors[side])]
    return np.concatenate(blocks, axis=1)
