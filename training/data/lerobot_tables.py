"""Joint motion of a two-arm robot from a LeRobot data set (tables, no videos)."""

import math
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np

from ate_core.contract import Cell
from ate_core.errors import EpisodeError, TrainingError
from ate_core.layout import VectorLayout
from training.data.column_mapping import map_rows, mapping_by_names
from training.data.hdf5_folder import is_demonstration
from training.data.lerobot_index import (
    INFO,
    EpisodePlace,
    SetIndex,
    flat_names,
    read_index,
    read_info_file,
)

ACTION = "action"
"""The column of motion: policies are trained on actions, not on measured joints."""

STATE = "observation.state"
"""The column of measured joints, from which relative actions start."""

SIGN = f"{INFO} (LeRobot)"
"""By what such a folder is known."""
TURN = 2.0 * math.pi
"""Largest angle that is believed [rad]: what lies beyond is taken for degrees."""


def holds(folder: Path) -> bool:
    """Whether a folder is a LeRobot data set."""
    return (folder / INFO).is_file()


def has_states(folder: Path) -> bool:
    """Whether measured joints were recorded."""
    return STATE in read_info_file(folder).get("features", ())


def read_actions(folder: Path, cell: Cell) -> tuple[list[np.ndarray], list[str]]:
    """Read the actions of all episodes; see `read_motion`."""
    return read_motion(folder, cell.layout.action, cell.tick_rate)


def read_states(folder: Path, cell: Cell) -> list[np.ndarray]:
    """Read the measured joints of all episodes, in the layout of the action."""
    return read_motion(folder, cell.layout.action, cell.tick_rate, STATE)[0]


def read_motion(
    folder: Path, layout: VectorLayout, tick_rate: float, column: str = ACTION
) -> tuple[list[np.ndarray], list[str]]:
    """Read the episodes in the layout of this cell, resampled to its ticks.

    Of a set that tells how they ended, as ours, only the successes.

    Args:
        folder: Of the data set.
        layout: Of the cell's action.
        tick_rate: Of the cell [Hz].
        column: What is read.

    Returns:
        One (T, D) float32 per episode, joints in the other robot's own angles [rad]; and what to
        call each episode.

    Raises:
        TrainingError: the set, or one of its episodes by name, is not what it says.
    """
    index = read_index(folder)
    names, width = _columns(index, column)
    mapping = None if names is None else mapping_by_names(names, layout)
    places = [place for place in index.places if is_demonstration(place.outcome)]
    if not places:
        raise TrainingError(
            f"none of the {len(index.places)} episodes in {folder} is a success: record more"
        )
    motions = []
    for name, rows in _episodes(index, places, column, width):
        mapped = map_rows(rows, layout, name) if mapping is None else rows @ mapping
        _refuse_degrees(mapped, layout, f"{folder}: {name}")
        motions.append(resample(mapped, index.rate, tick_rate))
    return motions, [place.name for place in places]


def resample(values: np.ndarray, rate: float, tick_rate: float) -> np.ndarray:
    """Linear interpolation of (T, D) rows from one fixed rate to another [Hz]."""
    duration = (len(values) - 1) / rate
    ticks = np.arange(int(np.floor(duration * tick_rate + 1e-9)) + 1) / tick_rate
    times = np.arange(len(values)) / rate
    columns = [np.interp(ticks, times, values[:, i]) for i in range(values.shape[1])]
    return np.stack(columns, axis=1).astype(np.float32)


def _columns(index: SetIndex, column: str) -> tuple[list[str] | None, int]:
    """Names of the columns of a vector, where it has some, and how many there are."""
    file = index.folder / INFO
    try:
        feature = index.features[column]
        names, (width,) = flat_names(feature.get("names")), feature["shape"]
    except (KeyError, TypeError, ValueError) as error:
        raise TrainingError(f"{file} lacks {error}: not LeRobot {index.version}") from None
    if names is not None and len(names) != width:
        raise TrainingError(f"{file} names {len(names)} columns of {width}: correct its names")
    return names, width


def _episodes(
    index: SetIndex, places: Sequence[EpisodePlace], column: str, width: int
) -> Iterator[tuple[str, np.ndarray]]:
    """Name and checked rows (T, width) of each episode."""
    for place in places:
        where = f"{index.folder}: {place.name}"
        try:
            table = place.rows([column], index.rate)
            rows = np.stack(table[0].to_numpy()).astype(np.float32)
        except (EpisodeError, ValueError, TypeError) as error:
            reason = " ".join(str(error).split())[:240]
            raise TrainingError(f"{where} cannot be used ({reason})") from None
        if rows.ndim != 2 or rows.shape[1] != width:
            raise TrainingError(f"{where} has shape {rows.shape}, info.json names {width} columns")
        if not np.isfinite(rows).all():
            raise TrainingError(f"{where} holds NaN or infinity: remove that episode")
        yield place.name, rows


def _refuse_degrees(rows: np.ndarray, layout: VectorLayout, where: str) -> None:
    angles = rows[:, list(layout.columns("rad"))]
    if np.abs(angles).max(initial=0.0) > TURN:
        column = int(np.argmax(np.abs(angles).max(axis=0)))
        name = layout.names[layout.columns("rad")[column]]
        raise TrainingError(
            f"{where}: {name} reaches {np.abs(angles).max():.4g}, beyond 2 pi rad: bring degrees "
            "in with a mapping (`ate mapping`, `ate import`), and train on what that wrote"
        )
