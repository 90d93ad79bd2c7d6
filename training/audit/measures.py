"""Numbers of an episode by name, with the unit in the name; NaN where one cannot be told."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from ate_core.resample import NANOSECONDS
from ate_core.streams import cell_streams
from training.audit.motion import GRID, arm_motion, gripper_grid
from training.audit.pictures import picture_measures
from training.audit.rules.camera_motion import camera_lag
from training.audit.rules.images import cameras
from training.audit.rules.motion import lag_of, near_mask, reversals, still_mask
from training.audit.rules.spans import seconds_of
from training.data.bag_reader import BagEpisode
from training.data.commanders import recorded_takeovers

Array = NDArray[np.float64]


def measures_of(episode: BagEpisode) -> dict[str, float]:
    """Return all measures of an episode."""
    _, still = still_mask(episode)
    found = {
        "seconds": _length(episode),
        "idle_fraction": float(still.mean()) if len(still) else float("nan"),
    }
    for side in episode.cell.arms:
        found |= _arm(episode, side)
    for side in episode.cell.grippers:
        _, opening = gripper_grid(episode, f"{side}_gripper_state")
        found[f"{side}_gripper_reversals"] = float(len(reversals(opening)))
        found[f"{side}_gripper_start"] = float(opening[0]) if len(opening) else float("nan")
        found[f"{side}_gripper_mean"] = float(opening.mean()) if len(opening) else float("nan")
    for camera, images, _ in cameras(episode):
        pictures = picture_measures(images)
        found[f"{camera.key}_brightness"] = _median(pictures.brightness)
        found[f"{camera.key}_sharpness"] = _median(pictures.sharpness)
        found |= {f"{camera.key}_{name}": value for name, value in pictures.sides.items()}
        found[f"{camera.key}_lag_s"] = camera_lag(episode, camera).seconds
    return found | _takeovers(episode) | _timing(episode)


def looks_of(episode: BagEpisode) -> dict[str, tuple[float, ...]]:
    """Return how each camera looks, as `PictureMeasures.look` row by row, by its key."""
    found = {camera.key: picture_measures(images).look for camera, images, _ in cameras(episode)}
    return {
        key: tuple(np.round(look, 1).ravel().tolist())
        for key, look in found.items()
        if np.isfinite(look).all()
    }


def _takeovers(episode: BagEpisode) -> dict[str, float]:
    """How often and how long operators took over; nothing where no policy drove."""
    told = recorded_takeovers(episode.cell, episode.series, episode.commanders)
    if not told.policy_seconds:
        return {}
    return {
        "takeovers": float(told.count),
        "takeover_s": told.seconds,
        "policy_s": told.policy_seconds,
    }


def _arm(episode: BagEpisode, side: str) -> dict[str, float]:
    motion = arm_motion(episode, side)
    wrench = episode.series.get(f"{side}_wrench")
    found = {}
    if wrench is not None and len(wrench):
        force = np.linalg.norm(wrench.values[:, :3], axis=1)
        found[f"{side}_force_max_n"] = float(np.nanmax(force))
        middle = np.median(wrench.values[:, :3], axis=0)
        found |= {f"{side}_force_{axis}_n": float(middle[i]) for i, axis in enumerate("xyz")}
        steps = np.diff(wrench.values[:, :3], axis=0)
        found[f"{side}_force_noise_n"] = _median(np.abs(steps).ravel())
    if motion is None or len(motion.times) < 4:
        return found
    acceleration = np.gradient(motion.velocity, GRID, axis=0)
    jerk = np.gradient(acceleration, GRID, axis=0)
    lower, upper = episode.cell.arms[side].bounds(episode.cell.safety.position_margin)
    room = np.minimum(motion.position - np.array(lower), np.array(upper) - motion.position)
    return found | {
        f"{side}_start_rad": float(
            np.linalg.norm(motion.position[0] - np.array(episode.cell.arms[side].home))
        ),
        f"{side}_path_rad": float(np.sum(motion.speed) * GRID),
        f"{side}_speed_max_rad_s": float(np.abs(motion.velocity).max()),
        f"{side}_acceleration_max_rad_s2": float(np.abs(acceleration).max()),
        f"{side}_jerk_rms_rad_s3": float(np.sqrt(np.mean(jerk**2))),
        f"{side}_room_to_limit_rad": float(room.min()),
        f"{side}_near_limit_fraction": float(near_mask(episode, side, motion).any(axis=1).mean()),
        f"{side}_command_lag_s": lag_of(motion),
    }


def _timing(episode: BagEpisode) -> dict[str, float]:
    """Longest pause, lowest share of a rate, and largest age at the receipt, of all streams."""
    pause, share, age = [0.0], [np.inf], [0.0]
    for spec in cell_streams(episode.cell):
        series, received = episode.series.get(spec.name), episode.received_ns.get(spec.name)
        if not spec.rate_hz or spec.kind == "other" or series is None or received is None:
            continue
        if len(series) < 3:
            continue
        seconds = seconds_of(episode, series.stamps_ns)
        pause.append(float(np.diff(seconds).max()))
        share.append((len(seconds) - 1) / max(seconds[-1] - seconds[0], 1e-9) / spec.rate_hz)
        if len(received) == len(series):
            age.append(float(np.median(received - series.stamps_ns)) / NANOSECONDS)
    if len(pause) == 1:
        return {}
    return {
        "longest_pause_s": max(pause),
        "lowest_rate_share": float(min(share)),
        "largest_median_skew_s": max(age),
    }


def _length(episode: BagEpisode) -> float:
    ends = [series.stamps_ns[[0, -1]] for series in episode.series.values() if len(series)]
    if not ends:
        return 0.0
    first, last = min(int(end[0]) for end in ends), max(int(end[1]) for end in ends)
    first = max(first, int(episode.info["start_ns"]))  # latched messages are older
    return max(0.0, (last - first) / NANOSECONDS)


def _median(values: Array) -> float:
    known = values[np.isfinite(values)]
    return float(np.median(known)) if len(known) else float("nan")
