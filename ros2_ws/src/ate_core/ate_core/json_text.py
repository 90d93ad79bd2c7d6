"""What reading JSON from elsewhere can raise; a text must never end the process that hears it."""

UNREADABLE = (
    ValueError,  # no JSON
    TypeError,  # another kind of value
    KeyError,  # an entry is missing
    AttributeError,  # no mapping
    OverflowError,  # Infinity where a whole number is needed
    RecursionError,  # brackets without end
)
"""Caught around `json.loads` and the conversion of what it gave, for every text from a topic."""
