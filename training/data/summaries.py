"""What is remembered of each episode of a set: its columns' moments and spread, and its facts.

One small file per episode lies in ``statistics/`` beside the set. An episode that comes or goes
costs only itself; the statistics of the set are joined from these files.
"""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import simplejpeg
from numpy.typing import NDArray

from ate_core.files import replace_text
from ate_core.json_text import UNREADABLE
from ate_policy.transforms import OBJECT_FEATURES, environment_features
from training.data.episode_file import Episode, list_episodes, read_episode
from training.data.first_motion import first_motion
from training.data.moments import Moments, moments_of

FOLDER = "statistics"
"""Where the files lie, in the folder of the episodes."""
VERSION = 1
"""Of their content."""
LEVELS = (0.0, 0.01, 0.05, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 0.95, 0.99, 1.0)
"""Shares of the values below the quantiles that are kept."""
PICTURES = 32
"""Pictures of each camera whose brightness is measured, evenly over an episode."""
DIGITS = 9
"""Of a quantile, as many as a float32 has."""


@dataclass(frozen=True, kw_only=True)
class Column:
    """The values of one number over an episode, from its first motion on."""

    unit: str
    """rad, ratio, N, N m, m, grey (0 black to 255) or 1."""
    moments: Moments
    """Exact."""
    quantiles: tuple[float, ...]
    """At `LEVELS`; the first and the last are the extremes."""


@dataclass(frozen=True, kw_only=True)
class Summary:
    """What is remembered of an episode."""

    size: int
    """Bytes of its file."""
    mtime_ns: int
    """When its file was written [ns]; with the size, whether this is still of that file."""
    sha256: str
    """`Episode.sha256`."""
    file_sha256: str
    """Of all bytes of the file."""
    facts: Mapping[str, Any]
    """Task, operator and the like, by name."""
    columns: Mapping[str, Column]
    """Kind and name, for instance ``state left_arm_1`` -> its values."""

    def moments(self, kind: str) -> tuple[Moments, ...]:
        """Of all columns of a kind, in their order."""
        own = f"{kind} "
        return tuple(one.moments for name, one in self.columns.items() if name.startswith(own))


def summaries_of(folder: Path) -> dict[Path, Summary]:
    """Summaries of the episodes of a folder; only those of new or changed ones are made.

    A folder that cannot be written to is read anew each time.

    Raises:
        EpisodeError: there is none, or one is damaged.
    """
    found = {}
    for path in list_episodes(folder):
        kept = read_summary(path)
        if kept is None:
            kept = summarise(path)
            write_summary(path, kept)
        found[path] = kept
    return found


def read_summary(path: Path) -> Summary | None:
    """The summary kept of an episode's file; None where there is none of it as it is now."""
    try:
        values = json.loads(summary_file(path).read_text(encoding="utf-8"))
        status = path.stat()
        if (values["version"], values["size"], values["mtime_ns"]) != (
            VERSION,
            status.st_size,
            status.st_mtime_ns,
        ):
            return None
        columns = {name: _column(**one) for name, one in values.pop("columns").items()}
        del values["version"]
        return Summary(columns=columns, **values)
    except (*UNREADABLE, OSError):
        return None


def write_summary(path: Path, summary: Summary) -> None:
    """Keep a summary beside an episode; where one may not write, nothing is kept."""
    text = json.dumps({"version": VERSION, **asdict(summary)}, allow_nan=False)
    with suppress(OSError):
        summary_file(path).parent.mkdir(exist_ok=True)
        replace_text(summary_file(path), text + "\n")


def file_sha256(path: Path) -> str:
    """Hash of a file's bytes."""
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def summary_file(path: Path) -> Path:
    """Where the summary of an episode's file is kept."""
    return path.parent / FOLDER / f"{path.stem}.json"


def summarise(path: Path) -> Summary:
    """Read an episode and make its summary.

    Raises:
        EpisodeError: it is damaged.
    """
    status = path.stat()  # before it is read: what is written meanwhile makes this one old
    episode = read_episode(path)
    return Summary(
        size=status.st_size,
        mtime_ns=status.st_mtime_ns,
        sha256=episode.sha256(),
        file_sha256=file_sha256(path),
        facts=_facts(episode),
        columns={
            name: _summarised(unit, values) for name, (unit, values) in _values(episode).items()
        },
    )


def _facts(episode: Episode) -> dict[str, Any]:
    cell = episode.cell
    return {
        "task": episode.task,
        "instruction": episode.instruction,
        "operator": episode.operator,
        "objects": list(episode.object_names),
        "ticks": len(episode),
        "waiting_ticks": first_motion(episode.action),
        "seconds": len(episode) / cell.tick_rate,
        "tick_rate": cell.tick_rate,
        "start_ns": int(episode.timestamps_ns[0]),
        "sim": cell.hardware == "sim",
        "cell": cell.name,
        "contract_sha256": cell.sha256,
        "layout_sha256": cell.layout.sha256,
        "cameras": _cameras(episode),
        "audit": dict(episode.audit),
        "source": episode.source,
        "source_sha256": episode.source_sha256,
    }


def _cameras(episode: Episode) -> dict[str, dict[str, int]]:
    """Pictures of each camera, and their size as the first one has it; 0 where it is none."""
    found = {}
    for key, images in sorted(episode.images.items()):
        height = width = 0
        with suppress(ValueError):
            height, width, *_ = simplejpeg.decode_jpeg_header(images[0])
        found[key] = {"pictures": len(images), "width": width, "height": height}
    return found


def _values(episode: Episode) -> dict[str, tuple[str, NDArray[Any]]]:
    """Every column by kind and name, with its unit and values (N,), as training sees them."""
    first, layout = first_motion(episode.action), episode.cell.layout
    found: dict[str, tuple[str, NDArray[Any]]] = {}
    for kind, vector, rows in (
        ("state", layout.state, episode.state),
        ("action", layout.action, episode.action),
    ):
        for index, (name, unit) in enumerate(zip(vector.names, vector.units, strict=True)):
            found[f"{kind} {name}"] = unit, rows[first:, index]
    for index, side in enumerate(episode.cell.arms):
        wrench = episode.wrench[first:, 6 * index : 6 * index + 6]
        found[f"force {side}"] = "N", np.linalg.norm(wrench[:, :3], axis=1)
        found[f"torque {side}"] = "N m", np.linalg.norm(wrench[:, 3:], axis=1)
    if episode.environment is not None:
        features = environment_features(episode.environment[first:])
        for index in range(features.shape[1]):
            place, axis = divmod(index, len(OBJECT_FEATURES))
            unit = "m" if axis < 3 else "1"
            found[f"environment object {place} {OBJECT_FEATURES[axis]}"] = unit, features[:, index]
    for key in sorted(episode.images):
        brightness = _brightness(episode, key, first)
        if len(brightness):
            found[f"brightness {key}"] = "grey", brightness
    return found


def _brightness(episode: Episode, key: str, first: int) -> NDArray[np.float64]:
    """Mean grey of a few pictures, shape (N,); those that do not decode are left out."""
    images, found = episode.images[key], []
    for index in np.unique(np.linspace(first, len(images) - 1, PICTURES).astype(int)).tolist():
        with suppress(ValueError):
            grey = simplejpeg.decode_jpeg(
                images[index], "GRAY", fastdct=True, min_height=1, min_width=1
            )
            found.append(float(grey.mean()))
    return np.array(found)


def _summarised(unit: str, values: NDArray[Any]) -> Column:
    (moments,) = moments_of(values[:, None])
    levels = np.quantile(values.astype(np.float64), LEVELS)
    return Column(
        unit=unit,
        moments=moments,
        quantiles=tuple(float(f"{level:.{DIGITS}g}") for level in levels),
    )


def _column(unit: str, moments: Mapping[str, Any], quantiles: list[float]) -> Column:
    numbers = [*quantiles, *moments["total"], *moments["squares"]]
    if len(quantiles) != len(LEVELS) or not all(map(math.isfinite, numbers)):
        raise ValueError(f"{len(quantiles)} quantiles, or numbers that are none")
    return Column(
        unit=unit,
        moments=Moments(
            count=int(moments["count"]),
            total=tuple(map(float, moments["total"])),
            squares=tuple(map(float, moments["squares"])),
        ),
        quantiles=tuple(map(float, quantiles)),
    )
