"""Reading JSON from elsewhere: a text must never end the process that hears it."""

import json
import math
from collections.abc import Mapping

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
"""Caught around `json.loads` and the conversion of what it gave, for every text from a topic."""


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
