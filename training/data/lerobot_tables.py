"""Joint motion of a two-arm robot from a LeRobot data set, v2.1 or v3.0 (tables, no videos)."""

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow
import pyarrow.parquet

from ate_core.contract import Cell
from ate_core.errors import TrainingError
from ate_core.layout import VectorLayout
from training.data.column_mapping import map_rows, mapping_by_names

ACTION = "action"
"""The column of motion: policies are trained on actions, not on measured joints."""

STATE = "observation.state"
"""The column of measured joints, from which relative actions start."""

VERSIONS = ("v2.1", "v3.0")
"""Layouts of files that are read."""

INFO = Path("meta") / "info.json"
"""What every LeRobot data set holds."""


@dataclass(frozen=True, kw_only=True)
class _Info:
    """What is needed of meta/info.json."""

    folder: Path
    column: str
    version: str
    rate: float
    names: list[str] | None
    width: int
    data_path: str
    chunk_size: int
    episodes: int


SIGN = f"{INFO} (LeRobot)"
"""By what such a folder is known."""


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
    """Read all episodes in the layout of this cell, resampled to its ticks.

    Args:
        folder: Of the data set.
        layout: Of the cell's action.
        tick_rate: Of the cell [Hz].
        column: What is read.

    Returns:
        One (T, D) float32 per episode, joints in the other robot's own angles [rad]; and what to
        call each episode.
    """
    info = _read_info(folder, column)
    mapping = None if info.names is None else mapping_by_names(info.names, layout)
    motions, names = [], []
    for name, rows in _episodes_v2(info) if info.version == "v2.1" else _episodes_v3(info):
        rows = _checked(rows, info, name)
        mapped = map_rows(rows, layout, name) if mapping is None else rows @ mapping
        motions.append(resample(mapped, info.rate, tick_rate))
        names.append(name)
    if not motions:
        raise TrainingError(f"{folder} holds no episodes: copy the data set again")
    return motions, names


def resample(values: np.ndarray, rate: float, tick_rate: float) -> np.ndarray:
    """Linear interpolation of (T, D) rows from one fixed rate to another [Hz]."""
    duration = (len(values) - 1) / rate
    ticks = np.arange(int(np.floor(duration * tick_rate + 1e-9)) + 1) / tick_rate
    times = np.arange(len(values)) / rate
    columns = [np.interp(ticks, times, values[:, i]) for i in range(values.shape[1])]
    return np.stack(columns, axis=1).astype(np.float32)


def _episodes_v2(info: _Info) -> Iterator[tuple[str, np.ndarray]]:
    """One parquet file per episode."""
    for index in range(info.episodes):
        path = info.folder / info.data_path.format(
            episode_chunk=index // info.chunk_size, episode_index=index
        )
        yield path.name, _rows(read_table(path, [info.column]), path)


def _episodes_v3(info: _Info) -> Iterator[tuple[str, np.ndarray]]:
    """Many episodes per file; meta/episodes says which, and how long each is."""
    wanted = ["episode_index", "length", "data/chunk_index", "data/file_index"]
    files = sorted((info.folder / "meta" / "episodes").glob("chunk-*/file-*.parquet"))
    tables = [read_table(file, wanted).to_pydict() for file in files]
    entries = sorted(entry for t in tables for entry in zip(*(t[k] for k in wanted), strict=True))
    if [entry[0] for entry in entries] != list(range(info.episodes)):
        raise TrainingError(
            f"{info.folder}/meta/episodes names {len(entries)} episodes, info.json "
            f"{info.episodes}: copy the data set again"
        )
    opened, path, rows, owner = None, Path(), np.empty((0, 0)), np.empty(0)
    for index, length, chunk, file in entries:
        if opened != (chunk, file):
            opened = (chunk, file)
            path = info.folder / info.data_path.format(chunk_index=chunk, file_index=file)
            table = read_table(path, [info.column, "episode_index"])
            rows, owner = _rows(table, path), table["episode_index"].to_numpy()
        episode = rows[owner == index]
        if len(episode) != length:
            raise TrainingError(
                f"{path} has {len(episode)} rows of episode {index}, meta/episodes says {length}: "
                "copy the data set again"
            )
        yield f"episode {index}", episode


def read_info_file(folder: Path) -> dict[str, Any]:
    """Values of meta/info.json, of a version that is read."""
    file = folder / INFO
    try:
        info: dict[str, Any] = json.loads(file.read_text())
        version = info["codebase_version"]
    except (OSError, ValueError, KeyError, TypeError) as error:
        reason = getattr(error, "strerror", None) or repr(error)
        raise TrainingError(
            f"{file} cannot be read ({reason}): give the folder of a LeRobot data set"
        ) from None
    if version not in VERSIONS:
        raise TrainingError(
            f"{folder} is LeRobot {version}, this reads {' and '.join(VERSIONS)}: convert it"
        )
    return info


def _read_info(folder: Path, column: str) -> _Info:
    file, info = folder / INFO, read_info_file(folder)
    version = info["codebase_version"]
    try:
        feature = info["features"][column]
        found = _Info(
            folder=folder,
            column=column,
            version=version,
            rate=float(info["fps"]),
            names=flat_names(feature["names"]),
            width=int(feature["shape"][0]),
            data_path=str(info["data_path"]),
            chunk_size=int(info["chunks_size"]),
            episodes=int(info["total_episodes"]),
        )
    except (KeyError, TypeError, ValueError, IndexError) as error:
        raise TrainingError(f"{file} lacks {error}: not LeRobot {version}") from None
    if found.names is not None and len(found.names) != found.width:
        raise TrainingError(
            f"{file} names {len(found.names)} columns of {found.width}: correct its names"
        )
    return found


def read_table(path: Path, columns: list[str]) -> pyarrow.Table:
    """These columns of a parquet file, held to their checksums where it has some."""
    try:
        table = pyarrow.parquet.read_table(path, columns=columns, page_checksum_verification=True)
        return table.select(columns)
    except (OSError, KeyError, ValueError, pyarrow.ArrowException) as error:
        reason = " ".join(str(error).split())[:160]
        raise TrainingError(f"{path} cannot be read ({reason}): copy the data set again") from None


def _rows(table: pyarrow.Table, path: Path) -> np.ndarray:
    try:
        return np.stack(table[0].to_numpy()).astype(np.float32)
    except (ValueError, TypeError) as error:
        reason = " ".join(str(error).split())[:160]
        raise TrainingError(f"{path} cannot be read ({reason}): copy the data set again") from None


def _checked(rows: np.ndarray, info: _Info, name: str) -> np.ndarray:
    where = f"{info.folder}: {name}"
    if rows.ndim != 2 or rows.shape[1] != info.width or len(rows) < 2:
        raise TrainingError(
            f"{where} has shape {rows.shape}, info.json names {info.width} columns"
        )
    if not np.isfinite(rows).all():
        raise TrainingError(f"{where} holds NaN or infinity: remove that episode")
    return rows


def flat_names(names: object) -> list[str] | None:
    """LeRobot writes names as a list, a list in a list, a list under one key, or null."""
    if isinstance(names, dict) and len(names) == 1:
        names = next(iter(names.values()))
    if isinstance(names, list) and len(names) == 1 and isinstance(names[0], list):
        names = names[0]
    if names is None:
        return None
    if not isinstance(names, list) or not all(isinstance(name, str) for name in names):
        raise TypeError("a list of column names")
    return names
