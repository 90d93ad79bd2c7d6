"""Folders of HDF5 files as ALOHA, ACT, RoboTwin and RDT write them: one episode each."""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import h5py
import numpy as np
from numpy.typing import NDArray

from ate_core.errors import EpisodeError, TrainingError
from training.data.hdf5_folder import find_hdf5, told_outcome
from training.foreign.mapping import ColumnMapping, feature_names
from training.foreign.pictures import as_jpeg, least_jpeg, to_jpeg
from training.foreign.recordings import RecordedEpisode

PICTURE = 64
"""Smallest row of bytes that may be a picture: shorter ones are numbers."""
JPEG_SHARE = 0.3
"""Bytes of a picture to those of its row, low: rows are padded to the longest of all cameras."""


class Hdf5Set:
    """The files of a folder, or of its folder `train`, in the order of their numbers.

    Args:
        folder: With *.hdf5 files.

    Raises:
        TrainingError: none of them can be read.
    """

    rate: float | None = None
    body = "unknown"

    def __init__(self, folder: Path) -> None:
        self._files = find_files(folder)
        reasons = []
        for path in self._files:
            try:
                self.vectors, self.cameras = _describe(path)
                return
            except OSError as error:
                reasons.append(f"{path.name}: {_line(error)}")
        raise TrainingError(
            f"{folder} holds no readable *.hdf5 ({'; '.join(reasons[:2]) or 'nothing'}): copy it "
            "again"
        )

    def names(self) -> Sequence[str]:
        """One for each file."""
        return [path.name for path in self._files]

    def least_jpegs(self, index: int, mapping: ColumnMapping, rate: float) -> int:
        """See `training.foreign.recordings.Recordings`."""
        if mapping.rate is None:
            return 0
        keys = [camera.feature for camera in mapping.cameras.values()]
        try:
            with h5py.File(self._files[index], "r") as file:
                sizes = [_least_jpegs(file, key, 1.0 / mapping.rate, rate) for key in keys]
        except (OSError, EpisodeError):
            return 0
        return round(sum(sizes))

    def read(self, index: int, mapping: ColumnMapping, features: set[str]) -> RecordedEpisode:
        """See `training.foreign.recordings.Recordings`."""
        path = self._files[index]
        if mapping.rate is None:
            raise EpisodeError(f"{path.name} does not say its rate: add rate to the mapping")
        try:
            with h5py.File(path, "r") as file:
                rows = {key: _rows(file, key, path, len(self.vectors[key])) for key in features}
                lengths = {len(values) for values in rows.values()}
                images = sorted({camera.feature for camera in mapping.cameras.values()})
                lengths |= {len(_dataset(file, key, path)) for key in images}
                text = _text(file, mapping.instruction_column, path)
            outcome = told_outcome(path)
        except OSError as error:
            raise EpisodeError(
                f"{path} cannot be read ({_line(error)}): copy the recordings again"
            ) from None
        if len(lengths) != 1 or min(lengths) < 2:
            raise EpisodeError(
                f"{path.name} has {sorted(lengths)} rows in its datasets, need one number of at "
                "least 2: remove it"
            )
        return RecordedEpisode(
            name=path.name,
            rows=rows,
            rate=mapping.rate,
            instruction=text,
            outcome=outcome,
            frames={key: Hdf5Images(path=path, key=key) for key in images},
            files=[path],
        )


def _least_jpegs(file: Any, key: str, seconds_per_row: float, rate: float) -> float:
    images = _dataset(file, key, Path(file.filename))
    if not len(images):
        return 0.0
    pictures = len(images) * seconds_per_row * rate
    is_raw = images.ndim == 4
    return pictures * (least_jpeg(images.shape[1:]) if is_raw else JPEG_SHARE * len(images[0]))


def find_files(folder: Path) -> list[Path]:
    """HDF5 files of a folder, or of its training split, by the numbers in their names."""
    return sorted(find_hdf5(folder), key=lambda path: (_numbers(path), path.name))


@dataclass(frozen=True, kw_only=True)
class Hdf5Images:
    """The images of one camera: raw, JPEGs padded to one length, or byte strings."""

    path: Path
    """File."""
    key: str
    """Dataset."""

    def jpegs(self, rows: NDArray[np.int64], *, swap: bool) -> Iterator[bytes]:
        """See `training.foreign.recordings.Frames`."""
        last, jpeg = -1, b""
        try:
            with h5py.File(self.path, "r") as file:
                images = file[self.key]
                for row in rows.tolist():
                    if row != last:
                        where = f"{self.path.name}: {self.key}, row {row}"
                        last, jpeg = row, _jpeg(images[row], swap=swap, where=where)
                    yield jpeg
        except (OSError, KeyError) as error:
            raise EpisodeError(
                f"{self.path} cannot be read ({_line(error)}): copy the recordings again"
            ) from None


def _jpeg(image: Any, *, swap: bool, where: str) -> bytes:
    if isinstance(image, bytes):
        return as_jpeg(image, swap=swap, where=where)
    if image.ndim == 1:  # Mobile ALOHA pads to the longest of all cameras
        return as_jpeg(image.tobytes().rstrip(b"\0"), swap=swap, where=where)
    return to_jpeg(image, swap=swap)


def _describe(path: Path) -> tuple[dict[str, tuple[str, ...]], list[str]]:
    """Columns by dataset of numbers, and the datasets of images."""
    vectors: dict[str, tuple[str, ...]] = {}
    cameras: list[str] = []

    def visit(key: str, item: Any) -> None:
        if not isinstance(item, h5py.Dataset) or not item.shape:
            return
        if _holds_images(item):
            cameras.append(key)
        elif item.dtype.kind in "fiu" and len(item.shape) <= 2:
            vectors[key] = feature_names(None, 1 if item.ndim == 1 else item.shape[1])

    with h5py.File(path, "r") as file:
        file.visititems(visit)
    return vectors, cameras


def _holds_images(item: Any) -> bool:
    if item.dtype.kind in "SO" and item.ndim == 1:
        first = item[0] if len(item) else b""
        return isinstance(first, bytes) and len(first) >= PICTURE
    if item.dtype != np.uint8:
        return False
    shape: tuple[int, ...] = item.shape
    return (len(shape) == 4 and shape[3] == 3) or (len(shape) == 2 and shape[1] >= PICTURE)


def _dataset(file: Any, key: str, path: Path) -> Any:
    if not isinstance(file.get(key), h5py.Dataset):
        raise EpisodeError(f"{path.name} lacks {key}, which other files have: remove it")
    return file[key]


def _rows(file: Any, key: str, path: Path, width: int) -> NDArray[np.float64]:
    values = np.asarray(_dataset(file, key, path)[()], dtype=np.float64)
    rows = values.reshape(len(values), -1)
    if rows.shape[1] != width:
        raise EpisodeError(
            f"{path.name}: {key} has rows of {rows.shape[1]} numbers, others have {width}: give "
            "each kind its own folder"
        )
    return rows


def _text(file: Any, name: str, path: Path) -> str:
    """A text: an attribute of the file, or a dataset of one."""
    if not name:
        return ""
    value = file.attrs.get(name)
    if value is None and isinstance(file.get(name), h5py.Dataset) and file[name].shape == ():
        value = file[name][()]
    if isinstance(value, bytes):
        value = value.decode(errors="replace")
    if not isinstance(value, str):
        raise EpisodeError(f"{path.name} has no text {name!r}: correct instruction_column")
    return value


def _numbers(path: Path) -> list[int]:
    return [int(part) for part in re.findall(r"\d+", path.stem)]


def _line(error: Exception) -> str:
    return " ".join(str(error).split())[:160]
