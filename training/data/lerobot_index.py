"""Where the episodes of a LeRobot data set lie (v2.0, v2.1, v3.0), and their rows, checked.

Everything that reads such a set goes through its episodes here. Statistics that it brings are not
read.
"""

import functools
import json
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow
import pyarrow.compute
import pyarrow.parquet
from numpy.typing import NDArray

from ate_core.errors import EpisodeError, TrainingError

VERSIONS = ("v2.0", "v2.1", "v3.0")
"""Layouts of files that are read; v2.0 and v2.1 differ in their statistics only."""
INFO = Path("meta") / "info.json"
"""What every LeRobot data set holds."""
LINES, TABLES = Path("meta") / "episodes.jsonl", Path("meta") / "episodes"
"""What lists the episodes, in version 2 and 3."""
FASTEST = 1000.0
"""Largest rate that is believed [Hz]."""
WHERE = ("timestamp", "episode_index")
"""Columns that say when a row was, and whose it is."""


@dataclass(frozen=True, kw_only=True)
class VideoPlace:
    """Where the frames of an episode lie."""

    path: Path
    """File."""
    start: float = 0.0
    """Where they begin in it [s]."""
    end: float | None = None
    """Where they end in it [s]; None: the file is the episode's own."""


@dataclass(frozen=True, kw_only=True)
class EpisodePlace:
    """Where one episode lies."""

    number: int
    """Its index in the set."""
    length: int
    """Rows, as the set says."""
    table: Path
    """Parquet file of its rows."""
    tasks: Sequence[str] = ()
    """Its texts."""
    videos: Mapping[str, VideoPlace] = field(default_factory=dict)
    """By camera."""
    outcome: str = ""
    """How it ended, as our own sets tell; empty: nobody says."""
    seed: int = -1
    """Of the scripted demonstration, likewise; -1: none."""

    @property
    def name(self) -> str:
        """What to call it."""
        return f"episode {self.number}"

    def rows(self, columns: Sequence[str], rate: float) -> pyarrow.Table:
        """These columns of its rows, and `WHERE`, one period apart and as many as the set says.

        Raises:
            EpisodeError: rows are missing or lie at another rate [Hz].
            TrainingError: the file or a column cannot be read.
        """
        table = _kept_table(self.table, (*columns, *WHERE))
        mine = table.filter(pyarrow.compute.equal(table["episode_index"], self.number))
        if len(mine) != self.length or len(mine) < 2:
            raise EpisodeError(
                f"{self.table} has {len(mine)} rows of episode {self.number}, meta says "
                f"{self.length} (at least 2): copy the data set again"
            )
        _check_times(mine["timestamp"].to_numpy().astype(np.float64), rate)
        return mine


@dataclass(frozen=True, kw_only=True)
class SetIndex:
    """What a data set says of itself."""

    folder: Path
    """Of the set."""
    version: str
    """Of its layout."""
    rate: float
    """Rows per second [Hz]."""
    body: str
    """Which robot."""
    features: Mapping[str, Mapping[str, Any]]
    """LeRobot's description of its columns and videos."""
    places: Sequence[EpisodePlace]
    """Its episodes by number, at least one."""

    @property
    def cameras(self) -> list[str]:
        """Features of images, in tables or videos."""
        return [key for key, one in self.features.items() if one["dtype"] in ("video", "image")]


def read_index(folder: Path) -> SetIndex:
    """Read the description of a data set and of its episodes.

    Raises:
        TrainingError: it cannot be read, contradicts itself, or holds no episode.
    """
    info = read_info_file(folder)
    version = info["codebase_version"]
    try:
        features = {str(key): dict(value) for key, value in info["features"].items()}
        for value in features.values():
            value["shape"] = [int(size) for size in value["shape"]]
            value["dtype"] = str(value["dtype"])
        rate = float(info["fps"])
        videos = [key for key, one in features.items() if one["dtype"] == "video"]
        listed = _places_v3 if version == "v3.0" else _places_v2
        places = sorted(listed(folder, info, videos), key=lambda place: place.number)
        total = int(info["total_episodes"])
    except (KeyError, TypeError, ValueError, IndexError, AttributeError, ArithmeticError) as error:
        raise TrainingError(
            f"{folder / INFO} or a table of meta is not LeRobot {version} ({error!r}): copy the "
            "data set again"
        ) from None
    _check(folder, rate, places, total)
    return SetIndex(
        folder=folder,
        version=version,
        rate=rate,
        body=str(info.get("robot_type") or "unknown"),
        features=features,
        places=places,
    )


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
            f"{folder} is LeRobot {version}, this reads {', '.join(VERSIONS[:-1])} and "
            f"{VERSIONS[-1]}: convert it"
        )
    return info


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


def read_table(path: Path, columns: Sequence[str], *optional: str) -> pyarrow.Table:
    """These columns of a parquet file, held to their checksums where it has some.

    Args:
        path: of the file.
        columns: that it must have.
        optional: more of them, those that it has.
    """
    try:
        there = pyarrow.parquet.read_schema(path).names
        names = [*columns, *(name for name in optional if name in there)]
        table = pyarrow.parquet.read_table(path, columns=names, page_checksum_verification=True)
        return table.select(names)
    except (OSError, KeyError, ValueError, pyarrow.ArrowException) as error:
        raise _unreadable(path, error) from None


def read_tasks(index: SetIndex) -> dict[int, str]:
    """Task index -> words; a set without that file says nothing."""
    if index.version != "v3.0":
        path = index.folder / "meta" / "tasks.jsonl"
        lines = _read_lines(path) if path.is_file() else []
    else:
        path = index.folder / "meta" / "tasks.parquet"
        lines = _task_rows(path) if path.is_file() else []
    try:
        return {int(line["task_index"]): str(line["task"]) for line in lines}
    except (KeyError, TypeError, ValueError) as error:
        raise TrainingError(f"{path} is no table of tasks ({error!r}): copy it again") from None


def _unreadable(path: Path, error: Exception) -> TrainingError:
    reason = " ".join(str(error).split())[:160]
    return TrainingError(f"{path} cannot be read ({reason}): copy the data set again")


def _task_rows(path: Path) -> list[dict[str, Any]]:
    try:
        rows = pyarrow.parquet.read_table(path).to_pylist()
    except (OSError, ValueError, pyarrow.ArrowException) as error:
        raise _unreadable(path, error) from None
    return [{**row, "task": row.get("task", row.get("__index_level_0__"))} for row in rows]


@functools.lru_cache(maxsize=1)
def _kept_table(path: Path, columns: tuple[str, ...]) -> pyarrow.Table:
    """The table read last is kept: version 3 puts many episodes into one."""
    return read_table(path, list(dict.fromkeys(columns)))


def _check(folder: Path, rate: float, places: Sequence[EpisodePlace], total: int) -> None:
    if not (math.isfinite(rate) and 0.0 < rate <= FASTEST):
        raise TrainingError(
            f"{folder / INFO} says fps {rate:g}; need above 0 and at most {FASTEST:g}: correct it"
        )
    if not places:
        raise TrainingError(f"{folder} holds no episodes: copy the data set again")
    if [place.number for place in places] != list(range(total)):
        raise TrainingError(
            f"{folder / 'meta'} lists {len(places)} episodes from {places[0].number} to "
            f"{places[-1].number}, info.json says {total}: copy the data set again"
        )
    ends: dict[Path, tuple[float, int]] = {}
    for place in places:
        for key, video in place.videos.items():
            before, owner = ends.get(video.path, (-math.inf, 0))
            if video.end is None:
                continue
            if not video.start > before - 0.5 / rate or not video.end > video.start:
                raise TrainingError(
                    f"{folder / 'meta'} gives the frames of {video.path.name} of {key} from "
                    f"{video.start:.3f} to {video.end:.3f} s to episode {place.number}, although "
                    f"those of episode {owner} end at {before:.3f} s: convert the set again"
                )
            ends[video.path] = (video.end, place.number)


def _places_v2(
    folder: Path, info: dict[str, Any], videos: Sequence[str]
) -> Iterator[EpisodePlace]:
    if not (folder / LINES).is_file() and (folder / TABLES).is_dir():
        raise _mixed(folder, info, TABLES)
    for line in _read_lines(folder / LINES):
        number = int(line["episode_index"])
        where = {"episode_chunk": number // int(info["chunks_size"]), "episode_index": number}
        yield EpisodePlace(
            number=number,
            length=int(line["length"]),
            table=folder / info["data_path"].format(**where),
            tasks=tuple(map(str, line.get("tasks") or ())),
            videos={
                key: VideoPlace(path=folder / info["video_path"].format(video_key=key, **where))
                for key in videos
            },
        )


def _places_v3(
    folder: Path, info: dict[str, Any], videos: Sequence[str]
) -> Iterator[EpisodePlace]:
    files = sorted((folder / TABLES).glob("chunk-*/file-*.parquet"))
    if not files and (folder / LINES).is_file():
        raise _mixed(folder, info, LINES)
    wanted = ["episode_index", "length", "data/chunk_index", "data/file_index"]
    per_video = ("chunk_index", "file_index", "from_timestamp", "to_timestamp")
    wanted += [f"videos/{key}/{name}" for key in videos for name in per_video]
    tables = (read_table(file, wanted, "tasks", "outcome", "seed") for file in files)
    for line in (line for table in tables for line in table.to_pylist()):
        yield EpisodePlace(
            number=int(line["episode_index"]),
            length=int(line["length"]),
            table=folder / info["data_path"].format(**_file(line, "data")),
            tasks=tuple(line.get("tasks") or ()),
            videos={key: _video_v3(folder, info, line, key) for key in videos},
            outcome=_text(line.get("outcome")),
            seed=seed if isinstance(seed := line.get("seed"), int) else -1,
        )


def _text(value: object) -> str:
    return value if isinstance(value, str) else ""


def _mixed(folder: Path, info: dict[str, Any], found: Path) -> TrainingError:
    return TrainingError(
        f"{folder / INFO} says {info['codebase_version']}, and its episodes lie in {found}, as in "
        "another version: convert the set again"
    )


def _video_v3(folder: Path, info: dict[str, Any], line: dict[str, Any], key: str) -> VideoPlace:
    prefix = f"videos/{key}"
    return VideoPlace(
        path=folder / info["video_path"].format(video_key=key, **_file(line, prefix)),
        start=float(line[f"{prefix}/from_timestamp"]),
        end=float(line[f"{prefix}/to_timestamp"]),
    )


def _file(line: dict[str, Any], prefix: str) -> dict[str, int]:
    return {name: int(line[f"{prefix}/{name}"]) for name in ("chunk_index", "file_index")}


def _read_lines(path: Path) -> list[dict[str, Any]]:
    try:
        return [json.loads(line) for line in path.read_text().splitlines() if line.strip()]
    except (OSError, ValueError) as error:
        raise TrainingError(f"{path} cannot be read ({error}): copy the data set again") from None


def _check_times(times: NDArray[np.float64], rate: float) -> None:
    """Rows lie one period apart: nothing was cut out, and fps is true."""
    off = np.abs(times - times[0] - np.arange(len(times)) / rate) * rate
    row = int(np.argmax(~(off <= 0.5)))
    if not off[row] <= 0.5:
        raise EpisodeError(
            f"timestamp of row {row} is {times[row]:.3f} s, need {times[0] + row / rate:.3f} at "
            f"{rate:g} rows per second: rows are missing, or fps in info.json is wrong"
        )
