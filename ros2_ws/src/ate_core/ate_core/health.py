"""How a device is, in one line of diagnostics; no ROS."""

from dataclasses import dataclass
from typing import Literal

Level = Literal["ok", "warn", "error", "stale"]


@dataclass(frozen=True, kw_only=True)
class Health:
    """One line of diagnostics."""

    level: Level
    """How bad it is."""
    message: str
    """What is wrong and what to do; "working" or the state when nothing is."""
    values: dict[str, str]
    """Numbers behind it."""
