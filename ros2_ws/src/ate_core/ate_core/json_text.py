"""Reading JSON from elsewhere: a text must never end the process that hears it."""

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
