"""Reading JSON from elsewhere: a text must never end the process that hears it."""

import json
import math
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from ate_core.errors import AteError

Document = dict[str, object]
"""A JSON object."""

LONGEST = 500
"""Characters of a text from elsewhere that are kept."""

UNREADABLE = (
    ValueError,  # no JSON
    TypeError,  # another kind of value
    KeyError,  # an entry is missing
    AttributeError,  # no mapping
    OverflowError,  # Infinity where a whole number is needed
    RecursionError,  # brackets without end
)
"""Caught around `json.loads` and the conversion of what it gave, for every text from elsewhere."""


def plain_text(value: object) -> str:
    r"""A value from elsewhere as a text that can be sent, logged and printed.

    JSON may hold halves of characters (``"\ud800"``), which no ROS message and no log takes.
    """
    return str(value)[:LONGEST].encode("utf-8", "replace").decode()


def as_document(value: object) -> Document:
    """A parsed JSON text as an object; an empty one when it is none."""
    return {str(key): entry for key, entry in value.items()} if isinstance(value, Mapping) else {}


def finite(value: object) -> object:
    """The value with None in the place of numbers that JSON does not know: NaN, infinities."""
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, Mapping):
        return {name: finite(entry) for name, entry in value.items()}
    return [finite(entry) for entry in value] if isinstance(value, list | tuple) else value


def read_document(text: str) -> Document:
    """The JSON object that a text is; an empty one when it is none."""
    try:
        return as_document(json.loads(text))
    except UNREADABLE:
        return {}


def read_object(file: Path, refusal: type[AteError], remedy: str) -> dict[str, Any]:
    """The JSON object in a file.

    Raises:
        AteError: `refusal`: the file cannot be read, or holds something else.
    """
    return _objects(file, refusal, remedy, lambda text: [text])[0]


def read_objects(file: Path, refusal: type[AteError], remedy: str) -> list[dict[str, Any]]:
    """The JSON objects in the lines of a file; a last line that was cut off is left out.

    Raises:
        AteError: `refusal`: the file cannot be read, or a line holds something else.
    """
    return _objects(file, refusal, remedy, _whole_lines)


def _whole_lines(text: str) -> list[str]:
    lines = [line for line in text.splitlines() if line.strip()]
    is_cut = lines and not text.endswith("\n") and not read_document(lines[-1])
    return lines[:-1] if is_cut else lines


def _objects(
    file: Path, refusal: type[AteError], remedy: str, parts: Callable[[str], list[str]]
) -> list[dict[str, Any]]:
    try:
        found = [json.loads(part) for part in parts(file.read_text(encoding="utf-8"))]
    except (OSError, *UNREADABLE) as error:
        why = getattr(error, "strerror", None) or error
        raise refusal(f"{file} cannot be read ({why}): {remedy}") from None
    for one in found:
        if not isinstance(one, dict):
            raise refusal(f"{file} holds a {type(one).__name__}, must hold an object: {remedy}")
    return found
