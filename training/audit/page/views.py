"""What a page shows of one episode besides its verdict: plots and small frames."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from ate_core.resample import NANOSECONDS
from ate_core.streams import cell_streams
from training.audit.motion import arm_motion, gripper_grid
from training.audit.page.film import Film, make_film
from training.audit.page.plots import Line, Plot, binned, make_plot
from training.audit.pictures import picture_measures
from training.audit.rules.images import cameras
from training.audit.rules.spans import seconds_of
from training.data.bag_reader import BagEpisode

Array = NDArray[np.float64]


def films_of(episode: BagEpisode) -> dict[str, Film]:
    """Return the film of each camera that shows anything, by its key."""
    films = {camera.key: make_film(images, when) for camera, images, when in cameras(episode)}
    return {key: film for key, film in films.items() if film is not None}


def plots_of(episode: BagEpisode, length: float) -> list[Plot]:
    """Return joints with their commands, speeds, grippers, forces, pictures, pauses and ages.

    Args:
        episode: As recorded, or on ticks.
        length: Of the episode [s].
    """
    return [
        *_arms(episode),
        *_grippers(episode),
        *_forces(episode),
        *(
            plot
            for plot in (
                _speeds(episode, length),
                _pictures(episode, length),
                _pauses(episode, length),
                _ages(episode, length),
            )
            if plot is not None
        ),
    ]


def _arms(episode: BagEpisode) -> Iterator[Plot]:
    for side, arm in episode.cell.arms.items():
        motion = arm_motion(episode, side)
        if motion is None or not len(motion.times):
            continue
        lines = [
            Line(name=name, values=values)
            for name, values in zip(arm.joint_names, motion.position.T, strict=True)
        ]
        if motion.command is not None:
            lines += [
                Line(name=name, values=values, is_command=True)
                for name, values in zip(arm.joint_names, motion.command.T, strict=True)
            ]
        streams = (f"{side}_arm_state", f"{side}_arm_command")
        yield make_plot(f"{side} arm", "rad", streams, motion.times, lines)


def _speeds(episode: BagEpisode, length: float) -> Plot | None:
    lines = {}
    for side in episode.cell.arms:
        motion = arm_motion(episode, side)
        if motion is not None and len(motion.times):
            lines[f"{side}_arm_state"] = motion.times, motion.speed
    return binned("speed of all joints together", "rad/s", lines, length)


def _grippers(episode: BagEpisode) -> Iterator[Plot]:
    for side in episode.cell.grippers:
        streams = (f"{side}_gripper_state", f"{side}_gripper_command")
        grids = [gripper_grid(episode, name) for name in streams]
        times = max((times for times, _ in grids), key=len)
        lines = [
            Line(
                name="opening",
                values=np.interp(times, moments, opening, left=np.nan, right=np.nan),
                is_command=name.endswith("command"),
            )
            for name, (moments, opening) in zip(streams, grids, strict=True)
            if len(moments)
        ]
        if lines:
            yield make_plot(f"{side} gripper", "ratio", streams, times, lines)


def _forces(episode: BagEpisode) -> Iterator[Plot]:
    for side in episode.cell.arms:
        wrench = episode.series.get(f"{side}_wrench")
        if wrench is None or not len(wrench):
            continue
        lines = [
            Line(name=axis, values=values)
            for axis, values in zip("xyz", wrench.values.T[:3], strict=False)
        ]
        seconds = seconds_of(episode, wrench.stamps_ns)
        yield make_plot(f"{side} force", "N", (f"{side}_wrench",), seconds, lines)


def _pictures(episode: BagEpisode, length: float) -> Plot | None:
    lines = {
        camera.key: (when, picture_measures(images).change)
        for camera, images, when in cameras(episode)
    }
    return binned("pictures: change from the one before", "of 255", lines, length)


def _pauses(episode: BagEpisode, length: float) -> Plot | None:
    """Time since the message before, of streams that have a rate; largest of each stretch."""
    lines = {}
    for spec in cell_streams(episode.cell):
        series = episode.series.get(spec.name)
        if spec.rate_hz and spec.kind != "other" and series is not None and len(series) > 1:
            seconds = seconds_of(episode, series.stamps_ns)
            lines[spec.name] = (seconds[1:], 1e3 * np.diff(seconds))
    return binned("pauses between messages", "ms", lines, length)


def _ages(episode: BagEpisode, length: float) -> Plot | None:
    """Age of messages at their receipt; recorded episodes only."""
    lines = {}
    for spec in cell_streams(episode.cell):
        series, received = episode.series.get(spec.name), episode.received_ns.get(spec.name)
        if series is None or received is None or len(received) != len(series):
            continue
        if spec.rate_hz and len(series):
            age = (received - series.stamps_ns) / NANOSECONDS
            lines[spec.name] = (seconds_of(episode, series.stamps_ns), 1e3 * age)
    return binned("age at receipt", "ms", lines, length)
