"""`ate teleop-calibrate`: lead one operator through the gesture that calibrates."""

import sys
from dataclasses import dataclass

import tyro

from ate_core.contract import Side, load_cell
from ate_core.errors import require_timeout


@dataclass(frozen=True, kw_only=True)
class CalibrateConfig:
    """Fit which way an operator faces and how their hand lies in its frame.

    The arm holds meanwhile. The person holds the clutch, pushes the hand forward, releases, then
    the same to one side. A bad stroke is refused with its reason, and nothing changes. The exit
    code is 0 where it was fitted, 1 where it was refused, 3 where no such operator is running, or
    none to the end.
    """

    side: tyro.conf.Positional[Side]
    """Operator, by the side of the arm."""
    cell: str | None = None
    """cell.yaml, or the name of a packaged cell, for its names; None: the packaged one."""
    timeout: float = 5.0
    """How long the operator's node is looked for [s]."""

    def __post_init__(self) -> None:
        require_timeout(self.timeout)


def teleop_calibrate(config: CalibrateConfig) -> int:
    """Ask for it, print every step and what came of it.

    Raises:
        NoCellError: no such operator is running, or not to the end.
    """
    from ate_teleop.nodes.calibrate_client import calibrate

    cell = load_cell(config.cell)
    done, sentence = calibrate(
        cell, config.side, config.timeout, lambda step: print(step, flush=True)
    )
    print(sentence, file=sys.stdout if done else sys.stderr)
    return 0 if done else 1
