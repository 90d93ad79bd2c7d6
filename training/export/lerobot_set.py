"""A LeRobot data set, version 3.0, out of the parts of its episodes.

The set is built beside its place and moved there when it is whole; nobody ever reads half of one.
"""

import functools
import json
import shutil
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow
import pyarrow.parquet
from numpy.typing import NDArray

from ate_core.errors import EpisodeError, UsageError
from ate_core.files import replace_folder
from ate_core.json_text import read_document
from training.data.exact_quantiles import exact_quantiles
from training.export.camera_video import count_frames, header_of, join_videos
from training.export.lerobot_part import PICTURES, Part
from training.export.set_statistics import (
    QUANTILES,
    Statistics,
    column_statistics,
    join_statistics,
)

VERSION = "v3.0"
INFO = Path("meta") / "info.json"
MANIFEST = Path("meta") / "ate.json"
"""What LeRobot does not ask for: the cell's contract, and from what each episode was made."""
STATISTICS = 2
"""Version of how a set's statistics are made; a set of another one is written anew."""
DATA_PATH = "data/chunk-{chunk_index:03d}/file-{file_index:03d}.parquet"
VIDEO_PATH = "videos/{video_key}/chunk-{chunk_index:03d}/file-{file_index:03d}.mp4"
EPISODES_PATH = "meta/episodes/chunk-{chunk_index:03d}/file-{file_index:03d}.parquet"
NUMBERS = {
    "frame_index": "int64",
    "episode_index": "int64",
    "index": "int64",
    "task_index": "int64",
}
"""Columns that every LeRobot set has besides `timestamp`."""


@dataclass(frozen=True, kw_only=True)
class FileSizes:
    """When the next file is begun; LeRobot's own values."""

    data_mb: int = 100
    """Largest file of rows [MB]."""
    video_mb: int = 200
    """Largest video [MB]."""
    files_per_chunk: int = 1000
    """Files in one folder."""


@dataclass(frozen=True, kw_only=True)
class _Place:
    """In which file an episode lies, and where in it."""

    file: int
    """Number of the file, over all folders."""
    before: int
    """Ticks before it in that file."""


def is_current(output: Path, parts: Sequence[Part]) -> bool:
    """Whether a set holds just these episodes already."""
    digests = {part.name: part.digest for part in parts}
    is_new = _read_manifest(output).get("statistics") == STATISTICS
    return is_new and members(output) == digests


def members(output: Path) -> dict[str, str]:
    """What a set holds, episode -> digest; empty where nobody can tell."""
    found = _read_manifest(output).get("episodes")
    return dict(found) if isinstance(found, dict) else {}


def starts(output: Path) -> dict[str, int]:
    """When the recordings in a set began, episode -> first tick [ns], as far as it tells."""
    found = _read_manifest(output).get("start_ns")
    known = found.items() if isinstance(found, dict) else ()
    return {name: start_ns for name, start_ns in known if isinstance(start_ns, int)}


def _read_manifest(output: Path) -> dict[str, Any]:
    try:
        return read_document((output / MANIFEST).read_text())
    except (OSError, UnicodeDecodeError):
        return {}


def differing(part: Part, first: Part) -> str | None:
    """Why an episode cannot stand in one set with the first; None: it can."""
    if part.rate != first.rate:
        return f"its rate is {part.rate} Hz, that of {first.name} {first.rate} Hz"
    for key in sorted({*part.features, *first.features}):
        if key not in part.features:
            return f"it lacks {key}, which {first.name} has"
        if key not in first.features:
            return f"it has {key}, which {first.name} lacks"
        if part.features[key] != first.features[key]:
            return f"its {key} is not described as that of {first.name}: see shape and names"
    return None


def write_set(
    output: Path, parts: Sequence[Part], working: Path, sizes: FileSizes | None = None
) -> None:
    """Write a set of episodes that have the same features, in place of an older one.

    Args:
        output: Folder of the set.
        parts: The episodes in order, at least one.
        working: Folder on the same disk, empty or absent.
        sizes: When the next file is begun.
    """
    sizes = sizes or FileSizes()
    shutil.rmtree(working, ignore_errors=True)
    (working / "meta").mkdir(parents=True)
    tasks = list(dict.fromkeys(part.task for part in parts))
    rows = _write_rows(working, parts, tasks, sizes)
    places = {"data": rows.places}
    for feature in (key for key in parts[0].features if key.startswith(PICTURES)):
        places[feature] = _write_videos(working, parts, feature, sizes)
    _write_tasks(working, tasks)
    _write_episodes(working, parts, places, rows.statistics, sizes)
    _write_json(working / "meta" / "stats.json", _statistics(parts, rows.statistics))
    _write_json(working / MANIFEST, _manifest(parts))
    _write_json(working / INFO, _info(parts, len(tasks), sizes))
    aside = aside_of(working)
    shutil.rmtree(aside, ignore_errors=True)
    replace_folder(working, output, aside)


def check_output(output: Path, aside: Path) -> None:
    """Refuse a place that holds something else; finish a move that was cut short.

    Raises:
        UsageError: it is a file, or a folder with files that this command did not write.
    """
    if aside.exists() and not output.exists():
        aside.rename(output)
    is_empty = not output.exists() or (output.is_dir() and not any(output.iterdir()))
    if not is_empty and not (output / MANIFEST).is_file():
        raise UsageError(
            f"{output} holds something that is no data set of this command: name a new folder"
        )


def aside_of(working: Path) -> Path:
    """Where the older set lies while the new one takes its place."""
    return working.with_name(".older")


def _statistics(
    parts: Sequence[Part], episodes: Sequence[dict[str, Statistics]]
) -> dict[str, Statistics]:
    """Statistics of the set by feature; quantiles of vectors are those of all values."""
    found = {key: join_statistics([one[key] for one in episodes]) for key in episodes[0]}
    for key, feature in parts[0].features.items():
        if feature["dtype"] == "float32":
            read = functools.partial(_vectors, parts, key)
            levels = exact_quantiles(read, list(QUANTILES.values()))
            found[key] |= dict(zip(QUANTILES, levels.tolist(), strict=True))
    return found


def _vectors(parts: Sequence[Part], key: str) -> Iterator[NDArray[np.float32]]:
    return (part.vector(key) for part in parts)


@dataclass(frozen=True, kw_only=True)
class _Rows:
    places: list[_Place]
    statistics: list[dict[str, Statistics]]


def _write_rows(folder: Path, parts: Sequence[Part], tasks: list[str], sizes: FileSizes) -> _Rows:
    """Write the tables, one row group per episode, and complete the statistics."""
    places: list[_Place] = []
    statistics = []
    writer: pyarrow.parquet.ParquetWriter | None = None
    file, in_file, in_bytes, start = -1, 0, 0, 0
    for index, part in enumerate(parts):
        table, numbers = _numbered(part, index, start, tasks.index(part.task))
        if writer is None or in_bytes + table.nbytes > sizes.data_mb * 1e6:
            if writer is not None:
                writer.close()
            file, in_file, in_bytes = file + 1, 0, 0
            path = folder / _path(DATA_PATH, file, sizes)
            path.parent.mkdir(parents=True, exist_ok=True)
            writer = pyarrow.parquet.ParquetWriter(path, table.schema, compression="snappy")
        writer.write_table(table, row_group_size=max(len(table), 1))
        places.append(_Place(file=file, before=in_file))
        statistics.append({**part.statistics, **numbers})
        in_file, in_bytes, start = (
            in_file + part.length,
            in_bytes + table.nbytes,
            start + len(table),
        )
    if writer is not None:
        writer.close()
    return _Rows(places=places, statistics=statistics)


def _numbered(
    part: Part, index: int, start: int, task: int
) -> tuple[pyarrow.Table, dict[str, Statistics]]:
    """The rows of an episode with the columns that count, and the statistics of those."""
    table, length = part.rows(), part.length
    if len(table) != length:
        raise EpisodeError(f"{part.folder} has {len(table)} rows for {length} ticks: delete it")
    frame = np.arange(length, dtype=np.int64)
    columns: dict[str, NDArray[Any]] = {
        "timestamp": (frame / part.rate).astype(np.float32),
        "frame_index": frame,
        "episode_index": np.full(length, index),
        "index": frame + start,
        "task_index": np.full(length, task),
    }
    for key, values in columns.items():
        table = table.append_column(key, pyarrow.array(values))
    return table, {key: column_statistics(values) for key, values in columns.items()}


def _write_videos(
    folder: Path, parts: Sequence[Part], feature: str, sizes: FileSizes
) -> list[_Place]:
    """Join the videos of one camera until a file is full, or a decoder needs another start."""
    places: list[_Place] = []
    files: list[list[Path]] = []
    in_bytes, in_file, header = 0, 0, b""
    for part in parts:
        video = part.video(feature)
        size, own = video.stat().st_size, header_of(video)
        frames = count_frames(video)
        if frames != part.length:
            raise EpisodeError(f"{video} has {frames} frames for {part.length} ticks: delete it")
        if not files or own != header or in_bytes + size > sizes.video_mb * 1e6:
            files.append([])
            in_bytes, in_file, header = 0, 0, own
        files[-1].append(video)
        places.append(_Place(file=len(files) - 1, before=in_file))
        in_bytes, in_file = in_bytes + size, in_file + part.length
    for number, videos in enumerate(files):
        path = folder / _path(VIDEO_PATH, number, sizes, video_key=feature)
        path.parent.mkdir(parents=True, exist_ok=True)
        join_videos(path, videos, parts[0].rate)
    return places


def _write_tasks(folder: Path, tasks: list[str]) -> None:
    """LeRobot reads the table with pandas and takes the text from its index."""
    table = pyarrow.table({"task_index": np.arange(len(tasks)), "task": tasks})
    column = {"metadata": None, "field_name": "task", "name": "task"}
    pandas = {
        "index_columns": ["task"],
        "column_indexes": [],
        "columns": [
            {
                "name": "task_index",
                "field_name": "task_index",
                "pandas_type": "int64",
                "numpy_type": "int64",
                "metadata": None,
            },
            {**column, "pandas_type": "unicode", "numpy_type": "object"},
        ],
    }
    table = table.replace_schema_metadata({"pandas": json.dumps(pandas)})
    pyarrow.parquet.write_table(table, folder / "meta" / "tasks.parquet")


def _write_episodes(
    folder: Path,
    parts: Sequence[Part],
    places: dict[str, list[_Place]],
    statistics: Sequence[dict[str, Statistics]],
    sizes: FileSizes,
) -> None:
    rows = []
    start = 0
    for index, part in enumerate(parts):
        row: dict[str, Any] = {
            "episode_index": index,
            "tasks": [part.task],
            "length": part.length,
            "dataset_from_index": start,
            "dataset_to_index": start + part.length,
            "meta/episodes/chunk_index": 0,
            "meta/episodes/file_index": 0,
            **part.about,
        }
        for key, found in places.items():
            place, stem = found[index], key if key == "data" else f"videos/{key}"
            row[f"{stem}/chunk_index"] = place.file // sizes.files_per_chunk
            row[f"{stem}/file_index"] = place.file % sizes.files_per_chunk
            if key != "data":
                row[f"{stem}/from_timestamp"] = place.before / part.rate
                row[f"{stem}/to_timestamp"] = (place.before + part.length) / part.rate
        for key, values in statistics[index].items():
            row |= {f"stats/{key}/{name}": value for name, value in values.items()}
        rows.append(row)
        start += part.length
    path = folder / _path(EPISODES_PATH, 0, sizes)
    path.parent.mkdir(parents=True)
    pyarrow.parquet.write_table(pyarrow.Table.from_pylist(rows), path)


def _info(parts: Sequence[Part], tasks: int, sizes: FileSizes) -> dict[str, Any]:
    first = parts[0]
    counted = {"timestamp": "float32", **NUMBERS}
    numbers = {
        key: {"dtype": dtype, "shape": [1], "names": None} for key, dtype in counted.items()
    }
    has_video = any(key.startswith(PICTURES) for key in first.features)
    return {
        "codebase_version": VERSION,
        "robot_type": first.robot,
        "total_episodes": len(parts),
        "total_frames": sum(part.length for part in parts),
        "total_tasks": tasks,
        "chunks_size": sizes.files_per_chunk,
        "data_files_size_in_mb": sizes.data_mb,
        "video_files_size_in_mb": sizes.video_mb,
        "fps": first.rate,
        "splits": {"train": f"0:{len(parts)}"},
        "data_path": DATA_PATH,
        "video_path": VIDEO_PATH if has_video else None,
        "features": {**first.features, **numbers},
    }


def _manifest(parts: Sequence[Part]) -> dict[str, Any]:
    return {
        "contract": parts[0].contract,
        "statistics": STATISTICS,
        "episodes": {part.name: part.digest for part in parts},
        "start_ns": {part.name: part.rows()["stamp_ns"][0].as_py() for part in parts},
    }


def _path(template: str, number: int, sizes: FileSizes, **words: str) -> str:
    chunk, file = divmod(number, sizes.files_per_chunk)
    return template.format(chunk_index=chunk, file_index=file, **words)


def _write_json(path: Path, value: object) -> None:
    path.write_text(json.dumps(value, indent=2) + "\n")
