"""One episode on its way into a LeRobot data set: its rows, its videos, and what describes them.

A part is a folder beside the set. It is whole or absent, so that an export that was stopped goes
on where it was.
"""

import json
import os
import platform
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow
import pyarrow.parquet
from numpy.typing import NDArray

from ate_core.contract import Cell
from ate_core.errors import EpisodeError
from ate_core.files import replace_folder
from training.data.episode_file import Episode
from training.data.recording import Recording
from training.export.camera_video import PIXELS, VideoConfig, VideoFacts, encode_video
from training.export.set_statistics import Statistics, column_statistics, picture_statistics

FORMAT = 2
"""Version of what is written; another one makes every episode anew."""
PICTURES = "observation.images."
"""What the name of a camera's feature begins with."""
POSE = ("x", "y", "z", "qx", "qy", "qz", "qw")
AXES = ("force_x", "force_y", "force_z", "torque_x", "torque_y", "torque_z")
_FACTS, _ROWS = "part.json", "rows.parquet"


@dataclass(frozen=True, kw_only=True)
class Part:
    """A finished part."""

    folder: Path
    """Where it lies."""
    name: str
    """Of the episode."""
    digest: str
    """Of its source and of the options."""
    length: int
    """Ticks."""
    rate: int
    """Ticks per second [Hz]."""
    robot: str
    """Name of the cell."""
    contract: str
    """Canonical text of the cell."""
    task: str
    """What LeRobot calls the task: the instruction."""
    about: dict[str, Any]
    """What else is known, for the table of episodes."""
    features: dict[str, Any]
    """LeRobot's description of its columns and videos."""
    statistics: dict[str, Statistics]
    """Per feature."""

    def rows(self) -> pyarrow.Table:
        """Its vectors, one row per tick."""
        try:
            table = pyarrow.parquet.read_table(self.folder / _ROWS)
        except (OSError, pyarrow.ArrowException) as error:
            raise EpisodeError(f"{self.folder} is damaged ({error}): delete it") from None
        return table

    def vector(self, key: str) -> NDArray[np.float32]:
        """One of its vectors of numbers, (T, D)."""
        column = self.rows()[key].combine_chunks()
        rows = column.flatten() if pyarrow.types.is_fixed_size_list(column.type) else column
        values: NDArray[np.float32] = rows.to_numpy().reshape(len(column), -1)
        return values

    def recording(self) -> Recording | None:
        """Of which recording it was made; None where it is damaged."""
        try:
            start_ns = self.rows()["stamp_ns"][0].as_py()
        except (EpisodeError, KeyError, IndexError):
            return None
        return Recording(contract=self.contract, start_ns=start_ns)

    @property
    def size(self) -> int:
        """Of its files [byte]."""
        return sum(path.stat().st_size for path in self.folder.iterdir())

    def video(self, feature: str) -> Path:
        """Its video of a camera."""
        return self.folder / f"{feature.removeprefix(PICTURES)}.mp4"


def write_part(
    parts: Path, name: str, episode: Episode, digest: str, config: VideoConfig, objects: bool
) -> None:
    """Write the part of an episode, in place of an older one.

    Args:
        parts: Folder of the parts.
        name: Of the episode.
        episode: On ticks.
        digest: Of its source and of the options.
        config: How pictures are encoded.
        objects: Whether poses of objects are written.

    Raises:
        EpisodeError: the format cannot hold it.
    """
    rate = _whole_rate(episode.cell)
    task = episode.instruction or episode.task.replace("_", " ")
    if not task:
        raise EpisodeError("it has neither instruction nor task, and LeRobot needs a text")
    working = parts / f".{name}.{platform.node()}.{os.getpid()}"  # the folder may be shared
    shutil.rmtree(working, ignore_errors=True)
    working.mkdir(parents=True)
    try:
        vectors, features = _vectors(episode, objects)
        statistics = {key: column_statistics(values) for key, values in vectors.items()}
        for key in sorted(episode.images):
            path, feature = working / f"{key}.mp4", f"{PICTURES}{key}"
            facts = encode_video(path, episode.images[key], rate, config, key)
            features[feature] = _video_feature(facts, rate, config)
            statistics[feature] = picture_statistics(facts)
        pyarrow.parquet.write_table(_table(vectors), working / _ROWS)
        about = {
            "name": name,
            "digest": digest,
            "length": len(episode),
            "rate": rate,
            "robot": episode.cell.name,
            "contract": episode.cell.canonical_text(),
            "task": task,
            "about": _about(episode, name),
            "features": features,
            "statistics": statistics,
        }
        (working / _FACTS).write_text(json.dumps(about))
        replace_folder(working, parts / name)
    finally:
        shutil.rmtree(working, ignore_errors=True)


def read_part(folder: Path) -> Part | None:
    """Return the part in a folder; None where there is no whole one."""
    try:
        return Part(folder=folder, **json.loads((folder / _FACTS).read_text()))
    except (OSError, ValueError, TypeError):
        return None


def _whole_rate(cell: Cell) -> int:
    if cell.tick_rate != int(cell.tick_rate):
        raise EpisodeError(
            f"its tick rate is {cell.tick_rate:g} Hz and LeRobot's info.json holds whole numbers "
            "of frames per second: convert its bag with another tick_rate in the cell"
        )
    return int(cell.tick_rate)


def _vectors(
    episode: Episode, objects: bool
) -> tuple[dict[str, NDArray[Any]], dict[str, dict[str, Any]]]:
    """What goes into columns, and LeRobot's description of it."""
    layout = episode.cell.layout
    joints = [layout.state.names[i] for i in episode.cell.joint_columns]
    columns: dict[str, tuple[NDArray[Any], list[str] | None]] = {
        "observation.state": (episode.state, list(layout.state.names)),
        "action": (episode.action, list(layout.action.names)),
        "observation.velocity": (episode.velocity, joints),
        "observation.wrench": (
            episode.wrench,
            [f"{side}_{axis}" for side in episode.cell.arms for axis in AXES],
        ),
    }
    if objects and episode.environment is not None and episode.environment.size:
        count = episode.environment.shape[1]
        names = episode.object_names or tuple(f"object_{i + 1}" for i in range(count))
        columns["environment"] = (
            episode.environment.reshape(len(episode), -1),
            [f"{name}_{axis}" for name in names for axis in POSE],
        )
    columns["commanded_by"] = (episode.commanders.astype(np.int64), list(episode.cell.arms))
    columns["stamp_ns"] = (episode.timestamps_ns, None)
    features = {
        key: {
            "dtype": str(values.dtype),
            "shape": list(values.shape[1:]) or [1],
            "names": names,
        }
        for key, (values, names) in columns.items()
    }
    return {key: values for key, (values, _) in columns.items()}, features


def _video_feature(facts: VideoFacts, rate: int, config: VideoConfig) -> dict[str, Any]:
    return {
        "dtype": "video",
        "shape": [facts.height, facts.width, 3],
        "names": ["height", "width", "channels"],
        "info": {
            "video.height": facts.height,
            "video.width": facts.width,
            "video.codec": config.codec,
            "video.pix_fmt": PIXELS,
            "video.is_depth_map": False,
            "video.fps": rate,
            "video.channels": 3,
            "has_audio": False,
        },
    }


def _table(vectors: dict[str, NDArray[Any]]) -> pyarrow.Table:
    columns = {}
    for key, values in vectors.items():
        flat = pyarrow.array(np.ascontiguousarray(values).reshape(-1))
        columns[key] = (
            flat
            if values.ndim == 1
            else pyarrow.FixedSizeListArray.from_arrays(flat, values.shape[1])
        )
    return pyarrow.table(columns)


def _about(episode: Episode, name: str) -> dict[str, Any]:
    return {
        "source": name,
        "bag": episode.source,
        "task_name": episode.task,
        "operator": episode.operator,
        "outcome": episode.outcome,
        "seed": episode.seed,
    }
