"""LeRobot data sets, v2.1 and v3.0, with their videos; each episode is read alone."""

import functools
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow
import pyarrow.parquet
from numpy.typing import NDArray

from ate_core.errors import EpisodeError, TrainingError
from training.data.lerobot_tables import INFO, flat_names, read_info_file, read_table
from training.foreign.mapping import ColumnMapping, feature_names
from training.foreign.pictures import as_jpeg
from training.foreign.recordings import Frames, RecordedEpisode
from training.foreign.video import VideoFrames, count_frames

NUMBERS = ("float32", "float64", "int64", "int32", "bool")
"""Types of features that may be mapped."""
OWN = ("timestamp", "frame_index", "episode_index", "index", "task_index")
"""Features that LeRobot itself adds."""
AT_ONCE = 16
"""Images read from a table at a time."""


@dataclass(frozen=True, kw_only=True)
class _Place:
    """Where one episode lies."""

    number: int
    length: int
    table: Path
    tasks: Sequence[str] = ()
    videos: Mapping[str, tuple[Path, float, float | None]]
    """Camera -> file, where it begins in it, and ends [s]; None: the file is its own."""


class LeRobotSet:
    """One data set.

    Args:
        folder: With meta/info.json.

    Raises:
        TrainingError: its description cannot be read.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._info = info = read_info_file(folder)
        try:
            features: dict[str, Any] = info["features"]
            self.rate: float | None = float(info["fps"])
            self.body = str(info.get("robot_type") or "unknown")
            self.cameras = [k for k, v in features.items() if v["dtype"] in ("video", "image")]
            self.vectors = {
                key: feature_names(_names(value.get("names")), int(value["shape"][0]))
                for key, value in features.items()
                if value["dtype"] in NUMBERS and key not in OWN and len(value["shape"]) == 1
            }
            self._videos = [key for key in self.cameras if features[key]["dtype"] == "video"]
            self._tasks = _read_tasks(folder, str(info["codebase_version"]))
            self._places = list(self._list_places())
        except (KeyError, TypeError, ValueError, IndexError, AttributeError) as error:
            raise TrainingError(
                f"{folder / INFO} or a table of meta is not LeRobot "
                f"{info['codebase_version']} ({error!r}): copy the data set again"
            ) from None

    def names(self) -> Sequence[str]:
        """One for each episode."""
        return [f"episode {place.number}" for place in self._places]

    def read(self, index: int, mapping: ColumnMapping, features: set[str]) -> RecordedEpisode:
        """See `training.foreign.recordings.Recordings`."""
        place = self._places[index]
        texts = [mapping.instruction_column] if mapping.instruction_column else []
        wanted = [*sorted(features), *texts, "timestamp", "episode_index"]
        table = self._table(place, wanted)
        assert self.rate is not None
        times = table["timestamp"].to_numpy().astype(np.float64)
        _check_times(times, self.rate)
        cameras = sorted({camera.feature for camera in mapping.cameras.values()})
        frames = {key: self._frames(place, key, times) for key in cameras}
        return RecordedEpisode(
            name=f"episode {place.number}",
            rows={key: _rows(table, key, len(self.vectors[key])) for key in features},
            rate=self.rate,
            instruction=str(table[texts[0]][0]) if texts else self._instruction(place),
            frames=frames,
            files=[f.path for f in frames.values() if isinstance(f, VideoFrames | TableImages)],
        )

    def _table(self, place: _Place, columns: list[str]) -> pyarrow.Table:
        table = _kept_table(place.table, tuple(columns))
        mine = table.filter(pyarrow.compute.equal(table["episode_index"], place.number))
        if len(mine) != place.length or len(mine) < 2:
            raise EpisodeError(
                f"{place.table} has {len(mine)} rows of episode {place.number}, meta says "
                f"{place.length} (at least 2): copy the data set again"
            )
        return mine

    def _frames(self, place: _Place, key: str, times: NDArray[np.float64]) -> Frames:
        assert self.rate is not None
        if key not in self._videos:
            return TableImages(path=place.table, column=key, episode=place.number)
        path, start, end = place.videos[key]
        if not path.is_file():
            raise EpisodeError(f"video {path} is missing: copy it, or leave {key} out")
        if end is None:
            self._check_count(path, key, place.length)
        elif abs((end - start) * self.rate - place.length) > 0.5:
            raise EpisodeError(
                f"{path} holds {(end - start) * self.rate:.1f} frames of episode {place.number}, "
                f"which has {place.length} rows: copy the data set again"
            )
        return VideoFrames(path=path, times=start + times, rate=self.rate)

    def _check_count(self, path: Path, key: str, rows: int) -> None:
        """A file of one episode has one frame for each row, or as many at its own rate."""
        assert self.rate is not None
        about = self._info["features"][key].get("info") or {}
        rate = float(about.get("video.fps") or self.rate)
        frames, wanted = count_frames(path), rows * rate / self.rate
        if abs(frames - wanted) > 0.5:
            raise EpisodeError(
                f"{path} has {frames} frames for {rows} rows (need {wanted:g}): copy the data set "
                "again, or remove the episode"
            )

    def _instruction(self, place: _Place) -> str:
        return place.tasks[0] if place.tasks else self._tasks.get(self._task_index(place), "")

    def _task_index(self, place: _Place) -> int:
        table = read_table(place.table, ["task_index", "episode_index"])
        mine = table.filter(pyarrow.compute.equal(table["episode_index"], place.number))
        return int(mine["task_index"][0].as_py())

    def _list_places(self) -> Iterator[_Place]:
        listed = _places_v2 if self._info["codebase_version"] == "v2.1" else _places_v3
        places = list(listed(self._folder, self._info, self._videos))
        if not places:
            raise TrainingError(f"{self._folder} holds no episodes: copy the data set again")
        yield from places


@dataclass(frozen=True, kw_only=True)
class TableImages:
    """Images that lie in a table: bytes, or the name of a file beside it."""

    path: Path
    """Parquet file."""
    column: str
    """Which camera."""
    episode: int
    """Whose rows."""

    def jpegs(self, rows: NDArray[np.int64], *, swap: bool) -> Iterator[bytes]:
        """See `training.foreign.recordings.Frames`."""
        images, row, data, jpeg = self._images(), -1, b"", b""
        for wanted in rows.tolist():
            if row == wanted:
                yield jpeg
                continue
            while row < wanted:
                row += 1
                data = next(images, b"")
            jpeg = as_jpeg(data, swap=swap, where=f"{self.path}: {self.column}, row {row}")
            yield jpeg

    def _images(self) -> Iterator[bytes]:
        columns = [self.column, "episode_index"]
        with pyarrow.parquet.ParquetFile(self.path) as file:
            for batch in file.iter_batches(AT_ONCE, columns=columns):
                values = batch.to_pydict()
                for value, owner in zip(values[self.column], values["episode_index"], strict=True):
                    if owner == self.episode:
                        yield (value or {}).get("bytes") or b""


def _places_v2(folder: Path, info: dict[str, Any], videos: Sequence[str]) -> Iterator[_Place]:
    for line in _read_lines(folder / "meta" / "episodes.jsonl"):
        number = int(line["episode_index"])
        where = {"episode_chunk": number // int(info["chunks_size"]), "episode_index": number}
        yield _Place(
            number=number,
            length=int(line["length"]),
            table=folder / info["data_path"].format(**where),
            tasks=tuple(map(str, line.get("tasks") or ())),
            videos={
                key: (folder / info["video_path"].format(video_key=key, **where), 0.0, None)
                for key in videos
            },
        )


def _places_v3(folder: Path, info: dict[str, Any], videos: Sequence[str]) -> Iterator[_Place]:
    files = sorted((folder / "meta" / "episodes").glob("chunk-*/file-*.parquet"))
    wanted = ["episode_index", "length", "tasks", "data/chunk_index", "data/file_index"]
    per_video = ("chunk_index", "file_index", "from_timestamp", "to_timestamp")
    wanted += [f"videos/{key}/{name}" for key in videos for name in per_video]
    lines = [line for file in files for line in read_table(file, wanted).to_pylist()]
    for line in sorted(lines, key=lambda line: int(line["episode_index"])):
        yield _Place(
            number=int(line["episode_index"]),
            length=int(line["length"]),
            table=folder / info["data_path"].format(**_file(line, "data")),
            tasks=tuple(line["tasks"] or ()),
            videos={key: _video_v3(folder, info, line, key) for key in videos},
        )


def _video_v3(
    folder: Path, info: dict[str, Any], line: dict[str, Any], key: str
) -> tuple[Path, float, float]:
    prefix = f"videos/{key}"
    path = folder / info["video_path"].format(video_key=key, **_file(line, prefix))
    return path, float(line[f"{prefix}/from_timestamp"]), float(line[f"{prefix}/to_timestamp"])


def _file(line: dict[str, Any], prefix: str) -> dict[str, int]:
    return {name: int(line[f"{prefix}/{name}"]) for name in ("chunk_index", "file_index")}


def _read_tasks(folder: Path, version: str) -> dict[int, str]:
    """Task index -> words; a set without that file says nothing."""
    if version == "v2.1":
        path = folder / "meta" / "tasks.jsonl"
        lines = _read_lines(path) if path.is_file() else []
        return {int(line["task_index"]): str(line["task"]) for line in lines}
    path = folder / "meta" / "tasks.parquet"
    if not path.is_file():
        return {}
    table = pyarrow.parquet.read_table(path).to_pydict()
    texts = table.get("task") or table.get("__index_level_0__") or []
    return dict(zip(table["task_index"], map(str, texts), strict=True))


def _read_lines(path: Path) -> list[dict[str, Any]]:
    try:
        return [json.loads(line) for line in path.read_text().splitlines() if line.strip()]
    except (OSError, ValueError) as error:
        raise TrainingError(f"{path} cannot be read ({error}): copy the data set again") from None


def _names(names: object) -> list[str] | None:
    try:
        return flat_names(names)
    except TypeError:
        return None  # a form that nobody knows; columns are then named by number


@functools.lru_cache(maxsize=1)
def _kept_table(path: Path, columns: tuple[str, ...]) -> pyarrow.Table:
    """The table read last is kept: version 3 puts many episodes into one."""
    return read_table(path, list(columns))


def _rows(table: pyarrow.Table, key: str, width: int) -> NDArray[np.float64]:
    column = table[key].to_pylist()
    try:
        rows = np.array(column, dtype=np.float64).reshape(len(column), -1)
    except (ValueError, TypeError):
        rows = np.empty((0, 0))
    if rows.shape[1] != width:
        raise EpisodeError(
            f"{key} has rows of {rows.shape[1] or 'unequal'} numbers, info.json says {width}: "
            "copy the data set again"
        )
    return rows


def _check_times(times: NDArray[np.float64], rate: float) -> None:
    """Rows lie one period apart: nothing was cut out, and fps is true."""
    off = np.abs(times - times[0] - np.arange(len(times)) / rate) * rate
    row = int(np.argmax(off > 0.5))
    if off[row] > 0.5 or not np.isfinite(times).all():
        raise EpisodeError(
            f"timestamp of row {row} is {times[row]:.3f} s, need {times[0] + row / rate:.3f} at "
            f"{rate:g} rows per second: rows are missing, or fps in info.json is wrong"
        )
