"""Joint motion of a two-arm robot from a LeRobot v2.1 data set (parquet tables, no videos)."""

import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pyarrow
import pyarrow.parquet

from ate_core.errors import TrainingError
from ate_core.layout import VectorLayout

COLUMN = "action"
"""The table column that is read: policies are trained on actions, not on measured joints."""

FINGERS = ("Pinky", "Ring", "Middle", "Index")
"""Hand joints that are averaged to one opening; the thumb turns rather than closes."""


def read_motion(folder: Path, layout: VectorLayout, tick_rate: float) -> list[np.ndarray]:
    """Read all episodes in the layout of this cell, resampled to its ticks.

    Returns:
        One (T, D) float32 per episode; joints in the other robot's own angles [rad].
    """
    info = _read_info(folder)
    try:
        rate = float(info["fps"])
        names = _flat(info["features"][COLUMN]["names"])
        template, chunk_size = str(info["data_path"]), int(info["chunks_size"])
        total = int(info["total_episodes"])
    except (KeyError, TypeError, ValueError) as error:
        raise TrainingError(f"{folder}/meta/info.json lacks {error}: not LeRobot v2.1") from None
    fold = fold_matrix(names, layout)
    motions = []
    for index in range(total):
        path = folder / template.format(episode_chunk=index // chunk_size, episode_index=index)
        motions.append(resample(_read_table(path, len(names)) @ fold, rate, tick_rate))
    return motions


def fold_matrix(names: Sequence[str], layout: VectorLayout) -> np.ndarray:
    """Linear map from the other robot's columns to ours: joints by order, fingers averaged.

    Returns:
        (columns, D) float32.
    """
    fold = np.zeros((len(names), layout.size), np.float32)
    for side in ("left", "right"):
        mine = [i for i, name in enumerate(names) if side in name.lower()]
        joints = [i for i in mine if "hand" not in names[i].lower()]
        fingers = [i for i in mine if any(names[i].endswith(finger) for finger in FINGERS)]
        arm = layout.slice(f"{side}_arm")
        if len(joints) != arm.stop - arm.start or not fingers:
            raise TrainingError(
                f"the recordings have {len(joints)} {side} arm joints and {len(fingers)} finger "
                f"columns, need {arm.stop - arm.start} and at least 1: use another data set"
            )
        fold[joints, np.arange(arm.start, arm.stop)] = 1.0
        fold[fingers, layout.slice(f"{side}_gripper").start] = 1.0 / len(fingers)
    return fold


def resample(values: np.ndarray, rate: float, tick_rate: float) -> np.ndarray:
    """Linear interpolation of (T, D) rows from one fixed rate to another [Hz]."""
    duration = (len(values) - 1) / rate
    ticks = np.arange(int(np.floor(duration * tick_rate + 1e-9)) + 1) / tick_rate
    times = np.arange(len(values)) / rate
    columns = [np.interp(ticks, times, values[:, i]) for i in range(values.shape[1])]
    return np.stack(columns, axis=1).astype(np.float32)


def _read_info(folder: Path) -> dict:
    file = folder / "meta" / "info.json"
    try:
        info = json.loads(file.read_text())
        version = info["codebase_version"]
    except (OSError, ValueError, KeyError, TypeError) as error:
        reason = getattr(error, "strerror", None) or repr(error)
        raise TrainingError(
            f"{file} cannot be read ({reason}): give the folder of a LeRobot v2.1 data set"
        ) from None
    if version != "v2.1":
        raise TrainingError(f"{folder} is LeRobot {version}, this reads v2.1: convert it")
    return info


def _read_table(path: Path, columns: int) -> np.ndarray:
    try:
        table = pyarrow.parquet.read_table(path, columns=[COLUMN])
        rows = np.stack(table[COLUMN].to_numpy()).astype(np.float32)
    except (OSError, KeyError, ValueError, pyarrow.ArrowException) as error:
        reason = " ".join(str(error).split())[:160]
        raise TrainingError(f"{path} cannot be read ({reason}): copy the data set again") from None
    if rows.ndim != 2 or rows.shape[1] != columns or len(rows) < 2:
        raise TrainingError(f"{path} has shape {rows.shape}, info.json names {columns} columns")
    if not np.isfinite(rows).all():
        raise TrainingError(f"{path} holds NaN or infinity: remove that episode")
    return rows


def _flat(names: object) -> list[str]:
    """LeRobot writes names as a list, or as a list in a list."""
    if isinstance(names, list) and len(names) == 1 and isinstance(names[0], list):
        names = names[0]
    if not isinstance(names, list) or not all(isinstance(name, str) for name in names):
        raise TypeError("a list of column names")
    return names
