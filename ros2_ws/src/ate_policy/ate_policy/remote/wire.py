"""Messages of the link: msgpack maps with numpy arrays, as openpi's client packs them.

An array is a map of its bytes (C order), dtype and shape. Nothing is ever unpickled: only numbers
of the dtypes below are read, and their bytes must be as many as the shape says.
"""

import math
from collections.abc import Mapping
from typing import Any

import msgpack
import numpy as np

from ate_core.errors import LayoutError

LARGEST = 8 * 2**20
"""Longest message either end reads [bytes]."""
DTYPES = ("<f4", "<f8", "|u1", "<i8", "|b1")
"""Numbers that travel."""
MOST_AXES = 4
"""Of an array."""


def pack(message: Mapping[str, Any]) -> bytes:
    """A message as bytes.

    Raises:
        LayoutError: it holds what does not travel.
    """
    try:
        return bytes(msgpack.packb(dict(message), default=_encode))
    except (TypeError, ValueError) as error:
        raise LayoutError(f"a message cannot be packed: {error}") from None


def unpack(data: bytes) -> dict[str, Any]:
    """A message from bytes.

    Raises:
        LayoutError: it is no map in msgpack, or holds what does not travel.
    """
    try:
        message = msgpack.unpackb(data, object_hook=_decode, ext_hook=_refuse)
    except (ValueError, TypeError, msgpack.exceptions.UnpackException) as error:
        words = str(error) or type(error).__name__
        raise LayoutError(f"{len(data)} bytes are no message in msgpack: {words}") from None
    if not isinstance(message, dict) or not all(isinstance(key, str) for key in message):
        raise LayoutError("a message must be a map with words as keys")
    return message


def _encode(value: object) -> dict[bytes, Any]:
    if isinstance(value, np.ndarray | np.generic):
        if value.dtype.str not in DTYPES:
            raise LayoutError(f"an array of {value.dtype} does not travel: use one of {DTYPES}")
        if isinstance(value, np.generic):
            return {b"__npgeneric__": True, b"data": value.item(), b"dtype": value.dtype.str}
        return {
            b"__ndarray__": True,
            b"data": value.tobytes(),
            b"dtype": value.dtype.str,
            b"shape": value.shape,
        }
    raise TypeError(f"{type(value).__name__} does not travel")


def _decode(table: dict[Any, Any]) -> Any:
    if b"__ndarray__" in table:
        return _array(table)
    if b"__npgeneric__" in table:
        number = table.get(b"data")
        if table.get(b"dtype") not in DTYPES or not isinstance(number, bool | int | float):
            raise LayoutError(f"a scalar of dtype {table.get(b'dtype')!r} is not read")
        return number
    return table


def _array(table: dict[Any, Any]) -> np.ndarray:
    name, shape, data = (table.get(key) for key in (b"dtype", b"shape", b"data"))
    if name not in DTYPES:
        raise LayoutError(f"an array of dtype {name!r} is not read: use one of {DTYPES}")
    sizes = shape if isinstance(shape, list) else [-1]
    if len(sizes) > MOST_AXES or not all(type(size) is int and size >= 0 for size in sizes):
        raise LayoutError(f"an array has shape {shape!r}: up to {MOST_AXES} sizes of 0 or more")
    wanted = math.prod(sizes) * np.dtype(name).itemsize
    if not isinstance(data, bytes) or len(data) != wanted:
        raise LayoutError(f"an array {sizes} of {name} is not {wanted} bytes long: send it whole")
    return np.frombuffer(data, name).reshape(sizes).copy()


def _refuse(code: int, _: bytes) -> Any:
    raise LayoutError(f"an extension of type {code} is not read")
