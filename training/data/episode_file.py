"""One converted episode: the HDF5 schema, its writer and its reader.

Keys follow the field (ALOHA, RoboTwin); `ate export` writes the copies that their loaders need.
docs/episode_format.md describes every entry of ``DATASETS`` and ``ATTRIBUTES``.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import h5py
import numpy as np
from numpy.typing import NDArray

from ate_core.contract import Cell, parse_cell_text
from ate_core.errors import EpisodeError
from ate_core.files import replacing
from ate_core.layout import Layout
from training.data.bag_images import ChosenImages
from training.data.commanders import OPERATOR, POLICY
from training.data.contract_hashes import require_hashes
from training.data.hdf5_file import new_hdf5
from training.data.recording import Recording
from training.data.set_files import read_label, refuse_half_edited, require_readable

FORMAT = 3
"""Version of this schema; 2 lacks `/commanded_by`, 1 also `/ages` and what `SINCE_2` has."""
PATTERN = "episode_[0-9][0-9][0-9][0-9][0-9][0-9].hdf5"
DATASETS = (
    "/observations/qpos",
    "/observations/qvel",
    "/observations/wrench",
    "/observations/environment",
    "/observations/images/<key>",
    "/action",
    "/timestamps_ns",
    "/commanded_by",
    "/ages/<stream>",
)
"""Every dataset; environment, images, commanded_by and ages are absent where nothing was
recorded."""
ATTRIBUTES = (
    "audit",
    "clock",
    "compress",
    "contract",
    "contract_sha256",
    "format",
    "instruction",
    "layout_sha256",
    "object_names",
    "operator",
    "outcome",
    "recorded",
    "rules",
    "seed",
    "sim",
    "source",
    "source_sha256",
    "streams",
    "task",
    "tick_rate",
)
"""Every attribute of the root, in the order written."""
FORMATS = (1, 2, 3)
"""Versions that are read."""
_JSON = ("audit", "clock", "recorded", "rules", "streams")
SINCE_2 = {"audit": "{}", "clock": "{}", "contract_sha256": "", "rules": "{}"}
"""What a file of format 1 does not have, and what stands for it."""
LATER = {"recorded": "{}"}
"""What older files of any format do not have, and what stands for it."""


IMAGES_AT_ONCE = 32
"""Images of one camera in memory while an episode is written."""


class EpisodeImages(Sequence[bytes]):
    """The JPEG bytes of one camera, read from the file when asked for.

    Args:
        path: HDF5 file.
        key: Camera key, for instance ``cam_high``.
        length: Number of ticks.
    """

    def __init__(self, path: Path, key: str, length: int) -> None:
        self._path, self._key, self._length = path, key, length

    def __len__(self) -> int:
        return self._length

    def __getitem__(self, index: Any) -> Any:
        with open_episode(self._path) as file:
            rows = file[f"/observations/images/{self._key}"][index]
        return bytes(rows) if isinstance(rows, bytes) else [bytes(row) for row in rows]

    def __iter__(self) -> Iterator[bytes]:
        return iter(self[:])


@dataclass(frozen=True, kw_only=True)
class Episode:
    """One episode on ticks; see docs/episode_format.md for frames and units."""

    state: NDArray[np.float32]
    """Measured vectors, shape (T, 16) [rad, ratio]."""
    velocity: NDArray[np.float32]
    """Measured joint velocities, left then right, shape (T, 14) [rad/s]."""
    wrench: NDArray[np.float32]
    """Zeroed wrenches, left then right, shape (T, 12) [N, N m]."""
    action: NDArray[np.float32]
    """Command in force one tick later, shape (T, 16) [rad, ratio]."""
    timestamps_ns: NDArray[np.int64]
    """Ticks, shape (T,) [ns]."""
    commanded_by: NDArray[np.uint8] | None = None
    """Who gave the action, per arm, shape (T, 2), see `training.data.commanders`; None where
    nobody wrote it down: operators demonstrated."""
    environment: NDArray[np.float32] | None = None
    """Object poses in the world frame, shape (T, n, 7); None without any."""
    images: Mapping[str, Sequence[bytes]] = field(default_factory=dict)
    """Camera key to T JPEGs, read lazily from a file."""
    cell: Cell
    """The cell at recording time, from the contract."""
    task: str = ""
    """Short name of the task."""
    instruction: str = ""
    """The task in words."""
    operator: str = ""
    """Who demonstrated."""
    seed: int = -1
    """Seed of a scripted demonstration; -1 for people."""
    object_names: tuple[str, ...] = ()
    """Names of the objects in ``environment``."""
    outcome: str = "success"
    """How it ended: success, failure or interrupted."""
    source: str = ""
    """Name of the bag."""
    source_sha256: str = ""
    """Hash of the bag's bytes and of the options of the conversion."""
    recorded: Mapping[str, str] = field(default_factory=dict)
    """Feature of the imported recording to the hash of its rows, whatever the mapping made of
    them; empty for bags."""
    streams: Mapping[str, Mapping[str, float]] = field(default_factory=dict)
    """Rate, gaps and skew per stream while it was recorded."""
    ages: Mapping[str, NDArray[np.float32]] = field(default_factory=dict)
    """Stream to the age of the sample used at each tick, shape (T,) [s]; NaN where none was."""
    rules: Mapping[str, str] = field(default_factory=dict)
    """Kind of stream to the rule by which its samples were chosen (`ate_core.sampling`)."""
    clock: Mapping[str, Any] = field(default_factory=dict)
    """Steps of the wall clock while it was recorded."""
    audit: Mapping[str, Any] = field(default_factory=dict)
    """Score and findings, where it was audited."""

    def __len__(self) -> int:
        return len(self.timestamps_ns)

    @property
    def commanders(self) -> NDArray[np.uint8]:
        """Who gave the action, per arm, shape (T, 2)."""
        if self.commanded_by is not None:
            return self.commanded_by
        return np.full((len(self), len(self.cell.arms)), OPERATOR, dtype=np.uint8)

    def sha256(self) -> str:
        """Hash of its numbers and of what it was made from, which stands for its pictures."""
        digest = hashlib.sha256(f"{self.source} {self.source_sha256}".encode())
        for values in (self.state, self.velocity, self.wrench, self.action, self.timestamps_ns):
            digest.update(np.ascontiguousarray(values).tobytes())
        if self.environment is not None:
            digest.update(np.ascontiguousarray(self.environment).tobytes())
        return digest.hexdigest()

    def __post_init__(self) -> None:
        layout, ticks = self.cell.layout, len(self.timestamps_ns)
        joints = sum(len(arm.joint_names) for arm in self.cell.arms.values())
        wanted = {
            "state": (ticks, layout.state.size),
            "velocity": (ticks, joints),
            "wrench": (ticks, 6 * len(self.cell.arms)),
            "action": (ticks, layout.action.size),
            "commanders": (ticks, len(self.cell.arms)),
        }
        for name, shape in wanted.items():
            values = getattr(self, name)
            if values.shape != shape:
                raise EpisodeError(f"{name} has shape {values.shape}, its contract wants {shape}")
            if not np.all(np.isfinite(values)):
                tick, entry = np.argwhere(~np.isfinite(values))[0]
                raise EpisodeError(
                    f"{name} is {values[tick, entry]} at tick {tick}, entry {entry}: no number "
                    "was sent, and no conversion mends it; leave this episode out, and look "
                    "at the node that published it"
                )
        if np.any(self.commanders > POLICY):
            tick, entry = np.argwhere(self.commanders > POLICY)[0]
            raise EpisodeError(
                f"commanded_by is {self.commanders[tick, entry]} at tick {tick}, entry {entry} "
                f"(bound {POLICY}): convert its bag again"
            )
        for key, images in self.images.items():
            if len(images) != ticks:
                raise EpisodeError(f"{key} has {len(images)} images for {ticks} ticks")


def write_episode(path: Path, episode: Episode) -> None:
    """Write an episode so that the file is either whole or absent; equal episodes, equal bytes."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with (
        replacing(path) as temporary,
        new_hdf5(temporary, _least_size(episode), libver=("v110", "v110")) as file,
    ):
        _write_array(file, "/observations/qpos", episode.state)
        _write_array(file, "/observations/qvel", episode.velocity)
        _write_array(file, "/observations/wrench", episode.wrench)
        if episode.environment is not None:
            _write_array(file, "/observations/environment", episode.environment)
        for key in sorted(episode.images):
            _write_images(file, f"/observations/images/{key}", episode.images[key])
        _write_array(file, "/action", episode.action)
        _write_array(file, "/timestamps_ns", episode.timestamps_ns)
        if episode.commanded_by is not None:
            _write_array(file, "/commanded_by", episode.commanded_by)
        for name in sorted(episode.ages):
            _write_array(file, f"/ages/{name}", episode.ages[name])
        attributes = _attributes(episode)
        for name in ATTRIBUTES:
            file.attrs[name] = attributes[name]


def _least_size(episode: Episode) -> int:
    """What its file takes at least, without reading a picture [byte]."""
    arrays = (episode.state, episode.velocity, episode.wrench, episode.action)
    chosen = [images for images in episode.images.values() if isinstance(images, ChosenImages)]
    pictures = sum(len(images) * images.longest for images in chosen)
    return sum(array.nbytes for array in arrays) + pictures


def read_episode(path: Path, layout: Layout | None = None) -> Episode:
    """Read and check one episode; its images stay in the file until asked for.

    Args:
        path: HDF5 file.
        layout: Layout the caller needs; None accepts any.

    Raises:
        EpisodeError: the file is damaged or incomplete.
        LayoutError: the episode has another layout, naming the differing fields.
    """
    path = Path(path)
    with open_episode(path) as file:
        attributes = read_attributes(path, file)
        try:
            arrays = {
                name: file[key][()]
                for name, key in (
                    ("state", "/observations/qpos"),
                    ("velocity", "/observations/qvel"),
                    ("wrench", "/observations/wrench"),
                    ("action", "/action"),
                    ("timestamps_ns", "/timestamps_ns"),
                )
            }
            environment = file.get("/observations/environment")
            arrays["environment"] = None if environment is None else environment[()]
            who = file.get("/commanded_by")
            arrays["commanded_by"] = None if who is None else who[()]
            images = file.get("/observations/images", {})
            lengths = {key: len(images[key]) for key in images}
            ages = {name: values[()] for name, values in file.get("/ages", {}).items()}
        except (KeyError, OSError) as error:
            raise EpisodeError(
                f"{path} is damaged ({' '.join(str(error).split())}); convert its bag again"
            ) from None
    cell = checked_cell(path, attributes)
    if layout is not None:
        layout.require(cell.layout, str(path))
    names = object_names_of(path, attributes)
    del attributes["compress"], attributes["format"], attributes["sim"], attributes["tick_rate"]
    label = read_label(path)
    if label is not None:
        attributes["outcome"] = label
    try:
        return Episode(
            **arrays,
            images={key: EpisodeImages(path, key, length) for key, length in lengths.items()},
            cell=cell,
            object_names=names,
            ages=ages,
            **{name: _json(attributes.pop(name), name, dict) for name in _JSON},
            seed=int(attributes.pop("seed")),
            **attributes,
        )
    except EpisodeError as error:
        raise EpisodeError(f"{path}: {error}") from None


def object_names_of(path: Path, attributes: dict[str, Any]) -> tuple[str, ...]:
    """Take the names of the objects out of the attributes, in the order of their poses."""
    try:
        return tuple(_json(attributes.pop("object_names"), "object_names", list))
    except EpisodeError as error:
        raise EpisodeError(f"{path}: {error}") from None


def _json(text: Any, name: str, kind: type) -> Any:
    try:
        values = json.loads(text)
        if isinstance(values, kind):
            return values
        raise ValueError(f"no {kind.__name__}")
    except (ValueError, TypeError, RecursionError) as error:
        raise EpisodeError(
            f"attribute {name} is damaged ({error}); convert its bag again"
        ) from None


def checked_cell(path: Path, attributes: dict[str, Any]) -> Cell:
    """Take the contract out of the attributes, and compare it with the hashes beside it."""
    text = str(attributes.pop("contract"))
    cell = parse_cell_text(text, f"contract of {path.name}")
    layout_sha256, sha256 = attributes.pop("layout_sha256"), attributes.pop("contract_sha256")
    require_hashes(cell, text, {"contract": sha256, "layout": layout_sha256}, str(path))
    return cell


def read_source_hash(path: Path) -> str | None:
    """Return from which bag and options a file was made; None when it is not a whole episode."""
    try:
        with open_episode(path) as file:
            return str(read_attributes(path, file)["source_sha256"])
    except EpisodeError:
        return None


def read_recording_of(path: Path) -> Recording | None:
    """Of which recording a file was made; None when it is not a whole episode, or not there."""
    try:
        with open_episode(path) as file:
            contract = str(read_attributes(path, file)["contract"])
            return Recording(contract=contract, start_ns=int(file["/timestamps_ns"][0]))
    except (EpisodeError, KeyError, ValueError, OSError):
        return None


def is_of_others(path: Path) -> bool:
    """Whether a file is whole and no episode of this project, of whatever version."""
    try:
        with h5py.File(path, "r") as file:
            return not {"format", "contract"} & set(file.attrs)
    except OSError:
        return False


def read_outcome_of(path: Path) -> str:
    """How an episode ended: the label given later, or its own."""
    label = read_label(path)
    return read_own_outcome(path) if label is None else label


def read_own_outcome(path: Path) -> str:
    """How an episode ended as its file says, whatever label it was given later."""
    with open_episode(path) as file:
        return str(read_attributes(path, file)["outcome"])


def file_sha256(path: Path) -> str:
    """Digest of an episode's file, and of the label that was given to it later."""
    with path.open("rb") as file:
        own = hashlib.file_digest(file, "sha256").hexdigest()
    label = read_label(path)
    return own if label is None else hashlib.sha256(f"{own} {label}".encode()).hexdigest()


def list_episodes(folder: Path) -> list[Path]:
    """Return the episode files of a folder in order.

    Raises:
        EpisodeError: there is no such folder, nothing in it, or an edit of it is half done.
    """
    require_readable(Path(folder))
    refuse_half_edited(Path(folder))
    paths = sorted(Path(folder).glob(PATTERN))
    if not paths:
        raise EpisodeError(f"{folder} holds no episode_*.hdf5; run 'ate convert' first")
    return paths


def read_cell(folder: Path) -> Cell:
    """The cell that the episodes of a folder were recorded on, from the first of them."""
    path = list_episodes(folder)[0]
    with open_episode(path) as file:
        contract = read_attributes(path, file)["contract"]
    return parse_cell_text(contract, f"contract of {path.name}")


def _attributes(episode: Episode) -> dict[str, Any]:
    cell = episode.cell
    contract = cell.canonical_text()
    return {
        "audit": json.dumps(episode.audit, sort_keys=True),
        "clock": json.dumps(episode.clock, sort_keys=True),
        "compress": True,
        "contract": contract,
        "contract_sha256": hashlib.sha256(contract.encode()).hexdigest(),
        "format": FORMAT,
        "instruction": episode.instruction,
        "layout_sha256": cell.layout.sha256,
        "object_names": json.dumps(list(episode.object_names)),
        "operator": episode.operator,
        "outcome": episode.outcome,
        "recorded": json.dumps(episode.recorded, sort_keys=True),
        "rules": json.dumps(episode.rules, sort_keys=True),
        "seed": episode.seed,
        "sim": cell.hardware == "sim",
        "source": episode.source,
        "source_sha256": episode.source_sha256,
        "streams": json.dumps(episode.streams, sort_keys=True),
        "task": episode.task,
        "tick_rate": cell.tick_rate,
    }


def open_episode(path: Path) -> h5py.File:
    """Open an episode's file to read.

    Raises:
        EpisodeError: it cannot be.
    """
    try:
        return h5py.File(path, "r")
    except OSError as error:
        line = " ".join(str(error).split())
        raise EpisodeError(f"{path} cannot be read ({line}); convert its bag again") from None


def read_attributes(path: Path, file: h5py.File) -> dict[str, Any]:
    """All `ATTRIBUTES` of an open episode.

    Raises:
        EpisodeError: it is of another version, or lacks one.
    """
    version = file.attrs.get("format")
    if version not in FORMATS:
        raise EpisodeError(
            f"{path} has format {version}, this version reads {FORMATS}; convert its bag again"
        )
    given = {**LATER, **(SINCE_2 if version == 1 else {}), **file.attrs}
    missing = [name for name in ATTRIBUTES if name not in given]
    if missing:
        raise EpisodeError(f"{path} lacks the attribute {missing[0]!r}; convert its bag again")
    return {name: given[name] for name in ATTRIBUTES}


def _write_array(file: h5py.File, key: str, values: NDArray[Any]) -> None:
    # One checksummed chunk: a damaged file fails when it is read, not when it is trained on.
    file.create_dataset(key, data=values, chunks=values.shape, fletcher32=True, track_times=False)


def _write_images(file: h5py.File, key: str, images: Sequence[bytes]) -> None:
    dataset = file.create_dataset(
        key,
        shape=(len(images),),
        dtype=f"S{_longest(key, images)}",
        chunks=(1,),
        fletcher32=True,
        track_times=False,
    )
    for first in range(0, len(images), IMAGES_AT_ONCE):
        block = images[first : first + IMAGES_AT_ONCE]
        dataset[first : first + len(block)] = np.array(block, dtype=dataset.dtype)


def _longest(key: str, images: Sequence[bytes]) -> int:
    longest = images.longest if isinstance(images, ChosenImages) else max(map(len, images))
    if not longest:
        raise EpisodeError(f"every image of {key.rsplit('/', 1)[1]} is empty; check its camera")
    return longest
