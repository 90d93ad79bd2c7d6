"""A chunk is checked as a whole before its first action may reach an arm."""

from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from ate_core.contract import Cell
from ate_core.errors import SafetyError
from ate_core.exchanged import exchanged_start
from ate_core.guard import ChunkGuard

Kind = Literal[
    "not finite", "limit", "exchanged", "far", "jump", "distance", "late", "short", "unseen",
    "inference", "link",
]  # fmt: skip
"""Why a chunk is refused; exchanged: each arm would begin where the other one is; far: its first
action jumps away from where the arms are; unseen: where they are is not known."""


class ChunkRefusal(SafetyError):
    """A chunk that must not run; `kind` sorts the reasons."""

    def __init__(self, kind: Kind, words: str) -> None:
        super().__init__(f"chunk refused: {words}; arms hold")
        self.kind: Kind = kind


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

    def check(
        self,
        chunk: NDArray[np.floating],
        start: NDArray[np.floating],
        first: int = 0,
        measured: NDArray[np.floating] | None = None,
    ) -> None:
        """Refuse a chunk (H, D) that is not finite, breaks a limit, jumps or comes too near.

        Args:
            chunk: actions in robot units.
            start: where the arms are when it begins (D,): the action before it, or the measured
                vector where they hold.
            first: row that is played first; those before it have passed.
            measured: where the arms were when it was inferred (D,); None: not known.

        Raises:
            ChunkRefusal: naming the component or the pair, its value, the bound and what happens.
        """
        if not np.isfinite(chunk).all():
            row, column = (int(i) for i in np.argwhere(~np.isfinite(chunk))[0])
            raise ChunkRefusal("not finite", f"{self.names[column]} of action {row} is not finite")
        outside = (chunk < self.lower) | (chunk > self.upper)
        if outside.any():
            row, column = (int(i) for i in np.argwhere(outside)[0])
            raise ChunkRefusal(
                "limit",
                f"{self.names[column]} of action {row} is {chunk[row, column]:.3f}, outside "
                f"[{self.lower[column]:.3f}, {self.upper[column]:.3f}]",
            )
        if first >= len(chunk):
            raise ChunkRefusal(
                "late", f"it came after its {len(chunk)} actions: inference takes too long"
            )
        seen = start if measured is None else measured
        if exchanged := exchanged_start(chunk[first], seen, self.arms):
            raise ChunkRefusal("exchanged", exchanged)
        self._refuse_jumps(chunk, start, first)
        if self.guard is not None:
            rows = np.vstack([start, chunk[first:]]).astype(np.float64)
            near = self.guard.problem(np.hstack([rows[:, arm] for arm in self.arms]))
            if near:
                raise ChunkRefusal("distance", near)

    def jump(self, before: NDArray[np.floating], after: NDArray[np.floating]) -> str:
        """Which component jumps from one action (D,) to the next, by how much; empty: none."""
        way = np.abs(np.asarray(after, np.float64) - before)
        if not (way > self.step).any():
            return ""
        column = int(np.argmax(np.where(np.isfinite(self.step), way - self.step, -np.inf)))
        return (
            f"{self.names[column]} jumps by {way[column]:.3f} rad, bound {self.step[column]:.3f}"
        )

    def largest_step(self, before: NDArray[np.floating], after: NDArray[np.floating]) -> float:
        """Largest change of a joint between two actions (D,) [rad]; grippers are left out."""
        way = np.abs(np.asarray(after, np.float64) - before)
        return float(way[np.isfinite(self.step)].max())

    def _refuse_jumps(
        self, chunk: NDArray[np.floating], start: NDArray[np.floating], first: int
    ) -> None:
        steps = np.abs(np.diff(chunk, axis=0, prepend=chunk[:1]))
        steps[first] = np.abs(chunk[first] - start)
        steps[:first] = 0.0  # passed: whatever led there is not played
        if (steps > self.step).any():
            row, column = (int(i) for i in np.argwhere(steps > self.step)[0])
            raise ChunkRefusal(
                "far" if row == first else "jump",
                f"{self.names[column]} jumps by {steps[row, column]:.3f} rad at action {row}, "
                f"bound {self.step[column]:.3f}",
            )
