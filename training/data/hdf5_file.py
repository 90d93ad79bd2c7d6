"""HDF5 files on disks that refuse: an error of ours, where the library may end the process.

The library closes a file whose writes fail only in part, and crashes then. Here it writes to an
object that takes everything; what the disk refused first is raised when the file is closed.
"""

from __future__ import annotations

import io
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from errno import ENOSPC
from pathlib import Path
from typing import Any

import h5py


@contextmanager
def new_hdf5(path: Path, size: int = 0, **options: Any) -> Iterator[h5py.File]:
    """Create an HDF5 file; on a disk that refuses nothing is left of it.

    Args:
        path: File to create.
        size: What it will hold at least [byte].
        options: For `h5py.File`.

    Raises:
        OSError: the disk refuses, or has no room for so much; with its number and the path.
    """
    free = shutil.disk_usage(path.parent).free
    if size > free:
        told = f"{os.strerror(ENOSPC)}: {free / 1e6:.1f} MB free, it needs {size / 1e6:.1f} MB"
        raise OSError(ENOSPC, told, str(path))
    try:
        with _Patient(path) as sink:
            try:
                with h5py.File(sink, "w", **options) as file:
                    yield file
            except Exception:
                sink.require()  # the first cause, not what the library made of it
                raise
            sink.require()
    except BaseException:
        path.unlink(missing_ok=True)
        raise


class _Patient(io.RawIOBase):
    """A file that takes every write, and remembers the first that the disk refused."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._file = path.open("x+b", buffering=0)
        self._refusal: OSError | None = None

    def require(self) -> None:
        """Raise what the disk refused, if anything."""
        if self._refusal is not None:
            number, told = self._refusal.errno, self._refusal.strerror
            raise OSError(number, told, str(self._path)) from None

    def write(self, data: Any) -> int:
        """Write all of it; what comes after a refusal is dropped."""
        rest = memoryview(data).cast("B")
        size = len(rest)
        try:
            while rest and self._refusal is None:
                rest = rest[self._file.write(rest) :]
        except OSError as error:
            self._refusal = error
        return size

    def readinto(self, buffer: Any) -> int:
        """Read what was written; zeros where it was dropped."""
        view = memoryview(buffer).cast("B")
        count = self._file.readinto(view) or 0
        view[count:] = bytes(len(view) - count)
        return len(view)

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        """Go to a byte."""
        return self._file.seek(offset, whence)

    def tell(self) -> int:
        """Return the byte at which it is."""
        return self._file.tell()

    def truncate(self, size: int | None = None) -> int:
        """Set the length."""
        try:
            return self._file.truncate(size)
        except OSError as error:
            self._refusal = self._refusal or error
            return size or 0

    def readable(self) -> bool:
        """The library reads what it wrote."""
        return True

    def writable(self) -> bool:
        """It is there to be written."""
        return True

    def seekable(self) -> bool:
        """The library writes where it likes."""
        return True

    def close(self) -> None:
        """Close the file; a disk may refuse only now."""
        if not self.closed:
            try:
                self._file.close()
            except OSError as error:
                self._refusal = self._refusal or error
        super().close()
