"""A chunk is checked as a whole before its first action may reach an arm."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ate_core.contract import Cell
from ate_core.errors import SafetyError
from ate_core.guard import ChunkGuard


@dataclass(frozen=True, kw_only=True)
class ChunkLimits:
    """What a chunk must respect, in the order of the action vector."""

    lower: NDArray[np.float64]
    """Lower bound of every component (D,) [rad, ratio]."""
    upper: NDArray[np.float64]
    """Upper bound (D,)."""
    step: NDArray[np.float64]
    """Largest change between two ticks, and from the present state (D,)."""
    names: tuple[str, ...]
    """Name of every component, for messages."""
    guard: ChunkGuard | None = None
    """Distances along the chunk; None: not looked at."""
    arms: tuple[slice, ...] = ()
    """Where the joints of each arm are, in the order of the guard."""

    @staticmethod
    def of_cell(cell: Cell, slack: float = 0.05) -> "ChunkLimits":
        """Limits of a cell; a robot that nobody drives has no guard: its model may be another's.

        Args:
            cell: a joint that moves more than its `max_step` between two ticks jumps.
            slack: overshoot beyond a joint limit that the safety filter is left to clip [rad].
        """
        layout = cell.layout.action
        lower, upper = np.full(layout.size, -0.05), np.full(layout.size, 1.05)
        step = np.full(layout.size, np.inf)  # grippers may open or close at once
        for side, arm in cell.arms.items():
            where = layout.slice(f"{side}_arm")
            lower[where] = np.asarray(arm.joint_lower) - slack
            upper[where] = np.asarray(arm.joint_upper) + slack
            step[where] = cell.safety.max_step
        return ChunkLimits(
            lower=lower,
            upper=upper,
            step=step,
            names=layout.names,
            guard=ChunkGuard(cell) if cell.operators else None,
            arms=tuple(layout.slice(f"{side}_arm") for side in cell.arms),
        )

    def check(self, chunk: NDArray[np.floating], state: NDArray[np.floating]) -> None:
        """Refuse a chunk (H, D) that is not finite, breaks a limit, jumps or comes too near.

        Args:
            chunk: actions in robot units.
            state: measured vector (D,) of the observation it was inferred from.

        Raises:
            SafetyError: naming the component or the pair, its value, the bound and what happens.
        """
        if not np.isfinite(chunk).all():
            row, column = (int(i) for i in np.argwhere(~np.isfinite(chunk))[0])
            raise SafetyError(
                f"chunk refused: {self.names[column]} of action {row} is not finite; arms hold"
            )
        outside = (chunk < self.lower) | (chunk > self.upper)
        if outside.any():
            row, column = (int(i) for i in np.argwhere(outside)[0])
            raise SafetyError(
                f"chunk refused: {self.names[column]} of action {row} is "
                f"{chunk[row, column]:.3f}, outside [{self.lower[column]:.3f}, "
                f"{self.upper[column]:.3f}]; arms hold"
            )
        steps = np.abs(np.diff(np.vstack([state, chunk]), axis=0))
        if (steps > self.step).any():
            row, column = (int(i) for i in np.argwhere(steps > self.step)[0])
            raise SafetyError(
                f"chunk refused: {self.names[column]} jumps by {steps[row, column]:.3f} rad at "
                f"action {row}, bound {self.step[column]:.3f}; arms hold"
            )
        if self.guard is not None:
            rows = np.vstack([state, chunk]).astype(np.float64)
            near = self.guard.problem(np.hstack([rows[:, arm] for arm in self.arms]))
            if near:
                raise SafetyError(f"chunk refused: {near}; arms hold")
