"""From the codes of a chunk and the measured state to commands of all joints and grippers.

The inverse of the chunks that action tokens learn from, arm by arm, found by the names of their
numbers: ``left_gripper`` belongs to the arm on the left wherever it stands. Motion of tools starts
at the measured pose; the joints follow it by inverse kinematics from the measured posture, and
come as near as they can where a pose is out of reach.
"""

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ate_core.contract import Cell
from ate_core.errors import CheckpointError
from ate_core.pose_tracking import PoseTracker
from ate_policy.token_folder import StoredTokens, TokenIdentity
from ate_policy.tool_space import ToolArm, from_tool_chunks, tool_arms, tool_layout, tool_poses
from ate_policy.transforms import Normalise

Array = NDArray[np.float64]


@dataclass(frozen=True, kw_only=True, eq=False)
class _Reach:
    """What the inverse kinematics of one arm needs."""

    arm: ToolArm
    """Its chain and columns."""
    rest: Array
    """Posture that a redundant joint is drawn to (n,) [rad]."""
    lower: Array
    """Smallest angles to command (n,) [rad]."""
    upper: Array
    """Largest angles (n,) [rad]."""


class CodeDecoder:
    """Codes of all arms -> a chunk of the cell's action vectors."""

    def __init__(self, tokens: StoredTokens, cell: Cell) -> None:
        """Find the numbers of the tokens in a cell's vectors.

        Args:
            tokens: Frozen.
            cell: Whose arms move.

        Raises:
            CheckpointError: the tokens are of other arms or another tick rate than the cell's.
        """
        self._tokens, self._layout = tokens.model, cell.layout.action
        self._space = tokens.model.config.space
        self._scale = Normalise(tokens.checkpoint.statistics.action)
        self._arms = tokens.arms
        identity = tokens.identity
        if cell.layout.state.names != self._layout.names:
            raise CheckpointError(
                f"{cell.name} measures {', '.join(cell.layout.state.names)} and commands "
                f"{', '.join(self._layout.names)}: codes are of motion from what is measured, so "
                "that both must have the same names"
            )
        wanted = _names_of(cell, self._space)
        if sorted(identity.layout) != sorted(name for names in wanted.values() for name in names):
            raise CheckpointError(
                f"the tokens are of {', '.join(identity.layout)}, which {cell.name} has not: give "
                "tokens of this cell's arms"
            )
        if identity.tick_rate != cell.tick_rate:
            raise CheckpointError(
                f"the tokens have {identity.tick_rate:g} ticks per second, {cell.name} "
                f"{cell.tick_rate:g}: train tokens at this rate"
            )
        size = tokens.model.config.action_size
        blocks = [identity.layout[i * size : (i + 1) * size] for i in range(self._arms)]
        self._sides = sides_of(identity, cell)
        self._columns: list[list[int]] = []
        self._reaches: dict[str, _Reach] = {}
        if self._space == "tool":
            self._reaches = _reaches(cell)
        else:
            names = self._layout.names
            self._columns = [[names.index(name) for name in block] for block in blocks]

    def actions(self, codes: Tensor, state: NDArray[np.floating]) -> NDArray[np.float32]:
        """Commands of the next H ticks, (H, D) in robot units.

        Args:
            codes: (L,) int64 of all arms, in the order in which the tokens have them.
            state: (D,) measured, in the order of the action vector.
        """
        with torch.no_grad():
            chunks = self._tokens.decode(codes.view(self._arms, -1).cpu())  # (A, H, D_arm)
            flat = self._scale.invert(chunks.transpose(0, 1).flatten(1))  # (H, A D_arm)
        arms = flat.numpy().reshape(len(flat), self._arms, -1)
        rows = np.tile(np.asarray(state, dtype=np.float64), (len(flat), 1))
        for index, side in enumerate(self._sides):
            chunk = arms[:, index].astype(np.float64)
            if self._space == "tool":
                _follow(rows, chunk, self._reaches[side])
            else:
                columns = self._columns[index]
                start = np.zeros(len(columns))
                if self._space == "relative":
                    joints = [self._layout.units[column] == "rad" for column in columns]
                    start = np.where(joints, np.asarray(state, np.float64)[columns], 0.0)
                rows[:, columns] = chunk + start
        return rows.astype(np.float32)


def sides_of(identity: TokenIdentity, cell: Cell) -> tuple[str, ...]:
    """The arms of a cell in the order in which tokens have them, by the names of their numbers.

    Raises:
        CheckpointError: the numbers are not those of one arm after the other.
    """
    wanted, sides, rest = _names_of(cell, identity.space), [], identity.layout
    while rest:
        side = next((s for s, names in wanted.items() if rest[: len(names)] == names), None)
        if side is None:
            raise CheckpointError(
                f"the numbers {', '.join(rest)} of the tokens begin with those of no single arm: "
                "train them again"
            )
        sides.append(side)
        rest = rest[len(wanted[side]) :]
    return tuple(sides)


def _follow(rows: Array, chunk: Array, reach: _Reach) -> None:
    """Write the joints and the gripper of one arm into rows (H, D) that hold the measured state.

    Args:
        rows: Changed in place.
        chunk: (H, 7) motion of the tool.
        reach: The arm.
    """
    arm, joints = reach.arm, list(reach.arm.joints)
    start = tool_poses(arm, rows[:1])
    positions, rotations, grippers = from_tool_chunks(chunk[None], start)
    tracker = PoseTracker(
        arm.chain.linearise, rows[0, joints], reach.rest, reach.lower, reach.upper
    )
    pose = np.eye(4)
    for row in range(len(rows)):
        pose[:3, :3], pose[:3, 3] = rotations[0, row], positions[0, row]
        rows[row, joints] = tracker.solve(pose)
    rows[:, arm.gripper] = grippers[0]


def _reaches(cell: Cell) -> dict[str, _Reach]:
    """By side."""
    found = {}
    for side, arm in tool_arms(cell).items():
        config = cell.arms[side]
        first = cell.layout.action.slice(f"{side}_arm").start
        slots = [joint - first for joint in arm.joints]
        lower, upper = config.bounds()
        found[side] = _Reach(
            arm=arm,
            rest=np.array(config.home)[slots],
            lower=np.array(lower)[slots],
            upper=np.array(upper)[slots],
        )
    return found


def _names_of(cell: Cell, space: str) -> dict[str, tuple[str, ...]]:
    """Names of the numbers of each arm, by side."""
    if space == "tool":
        return {side: tool_layout((side,)).names for side in cell.arms}
    layout = cell.layout.action
    return {
        side: tuple(
            name
            for field in (f"{side}_arm", f"{side}_gripper")
            for name in layout.names[layout.slice(field)]
        )
        for side in cell.arms
    }
