"""One message as it came: what ring, recorder and writer hand to each other."""

from __future__ import annotations

from typing import NamedTuple

from ate_core.streams import StreamSpec


class Sample(NamedTuple):
    """One message; immutable."""

    spec: StreamSpec
    """Its stream."""
    data: bytes
    """CDR bytes."""
    receive_ns: int
    """When it was received, monotonic [ns]."""
    wall_ns: int | None = None
    """What the wall clock said then [ns]; None: the same."""
    number: int = 0
    """Its publisher's own count."""
    missed: int = 0
    """Messages of this publisher that were lost just before it."""
