"""LeRobot data sets with their videos; each episode is read alone."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow
import pyarrow.parquet
from numpy.typing import NDArray

from ate_core.errors import EpisodeError
from training.data.lerobot_index import EpisodePlace, flat_names, read_index, read_tasks
from training.foreign.mapping import ColumnMapping, feature_names
from training.foreign.pictures import as_jpeg, least_jpeg
from training.foreign.recordings import Frames, RecordedEpisode
from training.foreign.video import VideoFrames, count_frames

NUMBERS = ("float32", "float64", "int64", "int32", "bool")
"""Types of features that may be mapped."""
OWN = ("timestamp", "frame_index", "episode_index", "index", "task_index")
"""Features that LeRobot itself adds."""
AT_ONCE = 16
"""Images read from a table at a time."""


class LeRobotSet:
    """One data set.

    Args:
        folder: With meta/info.json.

    Raises:
        TrainingError: its description cannot be read.
    """

    def __init__(self, folder: Path) -> None:
        self._index = index = read_index(folder)
        self._tasks = read_tasks(index)
        self.rate: float | None = index.rate
        self.body = index.body
        self.cameras = index.cameras
        self.vectors = {
            key: feature_names(_names(value.get("names")), value["shape"][0])
            for key, value in index.features.items()
            if value["dtype"] in NUMBERS and key not in OWN and len(value["shape"]) == 1
        }

    def names(self) -> Sequence[str]:
        """One for each episode."""
        return [place.name for place in self._index.places]

    def read(self, index: int, mapping: ColumnMapping, features: set[str]) -> RecordedEpisode:
        """See `training.foreign.recordings.Recordings`."""
        place, rate = self._index.places[index], self._index.rate
        texts = [mapping.instruction_column] if mapping.instruction_column else []
        table = place.rows([*sorted(features), *texts], rate)
        times = table["timestamp"].to_numpy().astype(np.float64)
        cameras = sorted({camera.feature for camera in mapping.cameras.values()})
        frames = {key: self._frames(place, key, times) for key in cameras}
        return RecordedEpisode(
            name=place.name,
            rows={key: _rows(table, key, len(self.vectors[key])) for key in features},
            rate=rate,
            instruction=str(table[texts[0]][0]) if texts else self._instruction(place),
            outcome=place.outcome,
            seed=place.seed,
            frames=frames,
            files=[f.path for f in frames.values() if isinstance(f, VideoFrames | TableImages)],
        )

    def least_jpegs(self, index: int, mapping: ColumnMapping, rate: float) -> int:
        """See `training.foreign.recordings.Recordings`."""
        pictures = self._index.places[index].length / self._index.rate * rate
        shapes = [self._index.features[one.feature]["shape"] for one in mapping.cameras.values()]
        return round(pictures * sum(least_jpeg(shape) for shape in shapes))

    def _frames(self, place: EpisodePlace, key: str, times: NDArray[np.float64]) -> Frames:
        rate = self._index.rate
        if key not in place.videos:
            return TableImages(path=place.table, column=key, episode=place.number)
        video = place.videos[key]
        if not video.path.is_file():
            raise EpisodeError(f"video {video.path} is missing: copy it, or leave {key} out")
        if video.end is None:
            self._check_count(video.path, key, place.length)
        elif abs((video.end - video.start) * rate - place.length) > 0.5:
            raise EpisodeError(
                f"{video.path} holds {(video.end - video.start) * rate:.1f} frames of "
                f"{place.name}, which has {place.length} rows: copy the data set again"
            )
        return VideoFrames(path=video.path, times=video.start + times, rate=rate)

    def _check_count(self, path: Path, key: str, rows: int) -> None:
        """A file of one episode has one frame for each row, or as many at its own rate."""
        about = self._index.features[key].get("info") or {}
        rate = float(about.get("video.fps") or self._index.rate)
        frames, wanted = count_frames(path), rows * rate / self._index.rate
        if abs(frames - wanted) > 0.5:
            raise EpisodeError(
                f"{path} has {frames} frames for {rows} rows (need {wanted:g}): copy the data set "
                "again, or remove the episode"
            )

    def _instruction(self, place: EpisodePlace) -> str:
        if place.tasks or not self._tasks:
            return place.tasks[0] if place.tasks else ""
        number = place.rows(["task_index"], self._index.rate)["task_index"][0].as_py()
        if number not in self._tasks:
            raise EpisodeError(f"{place.name} has the task {number}, which meta does not know")
        return self._tasks[number]


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


def _names(names: object) -> list[str] | None:
    try:
        return flat_names(names)
    except TypeError:
        return None  # a form that nobody knows; columns are then named by number


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
