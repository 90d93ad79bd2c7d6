"""Whether two episodes are of one recording: by its cell, and by when it began."""

from __future__ import annotations

import functools
from dataclasses import dataclass
from datetime import UTC, datetime

from ate_core.contract import Cell, parse_cell_text
from ate_core.errors import ContractError
from ate_core.resample import NANOSECONDS

NEAR = 10.0
"""How far a recording's first tick may be from its start [s]: streams begin late, and no cell
stops one session and starts the next one within it."""


@dataclass(frozen=True, kw_only=True)
class Recording:
    """What tells a recording from others of the same number."""

    contract: str
    """Text of its cell."""
    start_ns: int
    """When it began, or its first tick [ns]."""

    def is_same(self, other: Recording, near: float = NEAR) -> bool:
        """Whether both are of one recording.

        Args:
            other: In the words of another version, perhaps.
            near: How far the first tick may be from the start [s].
        """
        if abs(self.start_ns - other.start_ns) > near * NANOSECONDS:
            return False
        try:
            return self.contract == other.contract or _cell(self.contract) == _cell(other.contract)
        except ContractError:
            return True  # a damaged contract tells of no other cell

    def __str__(self) -> str:
        """When it began."""
        return f"started {told_time(self.start_ns)}"


def told_time(stamp_ns: int) -> str:
    """A time for people, for instance ``2026-11-30 09:15:02 UTC``."""
    return f"{datetime.fromtimestamp(stamp_ns // NANOSECONDS, UTC):%Y-%m-%d %H:%M:%S} UTC"


@functools.lru_cache(maxsize=16)
def _cell(text: str) -> Cell:
    return parse_cell_text(text, "contract of a recording")
