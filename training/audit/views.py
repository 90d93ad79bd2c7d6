"""Plots and thumbnails of an episode, for the page of the report."""

from __future__ import annotations

import numpy as np
import simplejpeg

from training.audit.motion import arm_motion
from training.audit.pictures import picture_measures
from training.audit.report import Plot, Thumbnail, make_plot
from training.audit.rules.images import cameras
from training.audit.rules.spans import seconds_of
from training.data.bag_reader import BagEpisode

THUMBNAILS = 8
"""Pictures of each camera."""
WIDTH = 160
"""Least width of a picture [px]; the decoder halves no further."""
QUALITY = 60
"""JPEG quality of the pictures, 1..100."""


def plots_of(episode: BagEpisode) -> tuple[Plot, ...]:
    """Return joints with their commands, grippers, forces and the change of pictures."""
    plots: list[Plot] = []
    for side, arm in episode.cell.arms.items():
        motion = arm_motion(episode, side)
        if motion is not None:
            names = arm.joint_names
            lines = dict(zip(names, motion.position.T, strict=True))
            plots.append(make_plot(f"{side} arm, measured", "rad", motion.times, lines))
            if motion.command is not None:
                lines = dict(zip(names, motion.command.T, strict=True))
                plots.append(make_plot(f"{side} arm, commanded", "rad", motion.times, lines))
            plots.append(
                make_plot(
                    f"{side} arm, speed", "rad/s", motion.times, {"all joints": motion.speed}
                )
            )
        for name, title, unit in (
            (f"{side}_gripper_state", f"{side} gripper, measured", "ratio"),
            (f"{side}_gripper_command", f"{side} gripper, commanded", "ratio"),
            (f"{side}_wrench", f"{side} force", "N"),
        ):
            series = episode.series.get(name)
            if series is not None and len(series):
                columns = ("opening",) if unit == "ratio" else ("x", "y", "z")
                lines = dict(zip(columns, series.values.T, strict=False))
                seconds = seconds_of(episode, series.stamps_ns)
                plots.append(make_plot(title, unit, seconds, lines))
    for camera, images, seconds in cameras(episode):
        change = picture_measures(images).change
        plots.append(make_plot(f"{camera.key}, change", "of 255", seconds, {"change": change}))
    return tuple(plots)


def thumbnails_of(episode: BagEpisode) -> dict[str, tuple[Thumbnail, ...]]:
    """Return a few small pictures of each camera, evenly over the episode."""
    found: dict[str, tuple[Thumbnail, ...]] = {}
    for camera, images, seconds in cameras(episode):
        pictures = []
        for index in np.unique(np.linspace(0, len(images) - 1, THUMBNAILS).astype(int)).tolist():
            try:
                small = simplejpeg.decode_jpeg(
                    images[index], "RGB", fastdct=True, min_height=1, min_width=WIDTH
                )
            except ValueError:
                continue  # a rule has told of it
            jpeg = simplejpeg.encode_jpeg(np.ascontiguousarray(small), QUALITY, "RGB", "420")
            pictures.append(Thumbnail(time_s=float(seconds[index]), jpeg=jpeg))
        found[camera.key] = tuple(pictures)
    return found
