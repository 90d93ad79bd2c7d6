"""How well an arm or a gripper is, by the state that its status tells."""

from collections.abc import Mapping

from ate_core.health import Level
from ate_core.json_text import plain_text

AT_WORK = ("connected", "tracking", "homing", "holding")
"""States of a part that follows, or would."""
GONE = ("fault", "disconnected", "no_feedback")
"""States of a part that needs a repair, not only an act of a person."""
UNHEARD = "unheard"
"""What is said of a part that told no state."""


def part_state(status: Mapping[str, object]) -> str:
    """The state that a status tells; `UNHEARD` where it tells none."""
    return plain_text(status.get("state") or UNHEARD)


def part_level(state: str) -> Level:
    """How bad the state of a part is; one that nobody knows is no good one."""
    return "ok" if state in AT_WORK else "error" if state in GONE else "warn"
