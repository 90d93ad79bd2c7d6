"""`ate status`: one look at a running cell, on one screen."""

import json
from dataclasses import asdict, dataclass

from ate_bringup.cell_state import screen
from ate_core.contract import load_cell
from ate_core.errors import NoCellError, UsageError


@dataclass(frozen=True, kw_only=True)
class StatusConfig:
    """Tell what a running cell is at.

    The exit code is 0 where all is well, 1 where something needs attention, 3 where no cell runs.
    """

    cell: str | None = None
    """cell.yaml, or the name of a packaged cell, for the names of its parts; None: the packaged
    one."""
    seconds: float = 2.5
    """How long to look; rates are measured meanwhile [s]."""
    json: bool = False
    """Print JSON instead of a screen."""

    def __post_init__(self) -> None:
        if not 1.0 <= self.seconds <= 60.0:
            raise UsageError(f"--seconds is {self.seconds}; need 1 to 60 s")


def status(config: StatusConfig) -> int:
    """Look, print, and return the exit code.

    Raises:
        NoCellError: no cell runs.
    """
    from ate_bringup.nodes.cell_look import look

    state = look(load_cell(config.cell), config.seconds)
    if config.json:
        document = {"running": state.is_there, "attention": state.attention(), **asdict(state)}
        print(json.dumps(document, indent=2))
    elif state.is_there:
        print(screen(state))
    if not state.is_there:
        raise NoCellError("part of a cell", config.seconds)
    return 1 if state.attention() else 0
