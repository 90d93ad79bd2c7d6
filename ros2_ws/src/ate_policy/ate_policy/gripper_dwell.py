"""How often a policy may turn its grippers round. Ticks are integers and arguments.

A network that is undecided says open and close in turn, at every tick. A turn is a change of
direction by more than `HYSTERESIS`; after one, the opening that it began with stands for
`DWELL` seconds before the next turn counts. Motion that does not turn passes untouched.
"""

import logging
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

logger = logging.getLogger(__name__)

DWELL = 0.25
"""Least time between two turns of one gripper [s]: it needs 0.7 s for its whole way."""
HYSTERESIS = 0.05
"""Way back that is no turn yet, as a share of the opening: noise."""
CHATTER = 3
"""So many turns held back within `CALM` are told."""
CALM = 2.0
"""Time without a turn held back after which chatter has ended [s]."""


@dataclass(kw_only=True)
class _Gripper:
    """One gripper's motion so far."""

    given: float
    """Opening of the last tick."""
    furthest: float
    """Opening at which its present direction has led furthest."""
    direction: int = 0
    """1 opens, -1 closes, 0: it has not moved yet."""
    turned: int | None = None
    """Tick of its last turn, or of its first motion; None: it did not move yet."""


class GripperDwell:
    """Bounds the turns of the grippers in a stream of actions."""

    def __init__(self, columns: tuple[int, ...], names: tuple[str, ...], tick_rate: float) -> None:
        """Begin anew.

        Args:
            columns: of the grippers in the action.
            names: of the action's components.
            tick_rate: ticks per second [Hz].
        """
        self._columns, self._names = columns, names
        self._dwell, self._calm = round(DWELL * tick_rate), round(CALM * tick_rate)
        self._grippers: dict[int, _Gripper] = {}
        self._recent: list[int] = []
        self._chatters = False
        self.held_back = 0
        """Turns that were held back so far."""

    def reset(self) -> None:
        """Forget all motion, for instance at a new start."""
        self._grippers.clear()
        self._recent.clear()
        self._chatters = False

    def apply(self, action: NDArray[np.float32], tick: int) -> NDArray[np.float32]:
        """The action (D,) of a tick, in which no gripper turns too soon."""
        bounded = action
        for column in self._columns:
            given = self._bound(column, float(action[column]), tick)
            if given != action[column]:
                bounded = action.copy() if bounded is action else bounded
                bounded[column] = given
                self._note(column, tick)
        self._recent = [held for held in self._recent if tick - held <= self._calm]
        if self._chatters and not self._recent:
            self._chatters = False
            logger.info("the grippers are calm again")
        return bounded

    def _bound(self, column: int, wanted: float, tick: int) -> float:
        gripper = self._grippers.setdefault(column, _Gripper(given=wanted, furthest=wanted))
        way = wanted - gripper.furthest
        if gripper.direction == 0 and abs(way) > HYSTERESIS:
            gripper.direction, gripper.turned = (1 if way > 0.0 else -1), tick
        if way * gripper.direction >= 0.0:
            gripper.furthest = wanted if gripper.direction else gripper.furthest
        elif abs(way) > HYSTERESIS:
            if gripper.turned is not None and tick - gripper.turned < self._dwell:
                return gripper.given
            gripper.direction = -gripper.direction
            gripper.furthest, gripper.turned = wanted, tick
        gripper.given = wanted
        return wanted

    def _note(self, column: int, tick: int) -> None:
        self.held_back += 1
        self._recent.append(tick)
        if len(self._recent) >= CHATTER and not self._chatters:
            self._chatters = True
            logger.warning(
                "%s is told to open and close in turn: each turn stands for %.2f s; "
                "the policy is undecided here",
                self._names[column],
                DWELL,
            )
