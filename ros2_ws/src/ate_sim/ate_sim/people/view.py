"""What the scripted people see of the simulated cell."""

from collections import deque
from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from ate_core.arm_model import tool_chain
from ate_core.contract import SIDES, Cell, Side
from ate_core.geometry import pose_to_matrix
from ate_core.shared_state import world_dtype
from ate_sim.realtime.blocks import BlockReader

HOME_TOLERANCE = 0.02
"""Largest joint error of an arm that is at home [rad]."""
REST_SPEED = 0.03
"""Largest joint speed of an arm that stands still [rad/s]."""
REST_WINDOW = 0.15
"""An object that did not move for this long lies still [s]."""
REST_DISTANCE = 0.0005
"""Movement within the window that still counts as rest [m]."""


class WorldView:
    """The newest published state of the world and what can be told from it."""

    def __init__(self, cell: Cell) -> None:
        self._cell = cell
        self._reader = BlockReader(cell.runtime_path("world.state"), world_dtype(cell))
        self._record: NDArray[np.void] | None = None
        self._positions: deque[tuple[float, NDArray[np.float64]]] = deque()
        self._bases = {side: pose_to_matrix(cell.arms[side].base_pose) for side in SIDES}
        self._chains = {side: tool_chain(cell.arms[side]) for side in SIDES}

    def update(self, now: float) -> None:
        """Look at the world at monotonic time `now` [s]."""
        record = self._reader.read_new(now)
        if record is None:
            return
        if self._record is not None and record["epoch"] != self._record["epoch"]:
            self._positions.clear()
        self._record = record
        positions = record["object_poses"][: int(record["object_count"]), :3].copy()
        self._positions.append((now, positions))
        while self._positions[0][0] < now - 2.0 * REST_WINDOW:
            self._positions.popleft()

    @property
    def seen(self) -> bool:
        """Whether the world was seen at all."""
        return self._record is not None

    @property
    def epoch(self) -> int:
        """Count of resets, -1 before the first look."""
        return -1 if self._record is None else int(self._record["epoch"])

    @property
    def physics_state(self) -> NDArray[np.float64]:
        """Physics state of the world, ready for a private copy."""
        record = self._known()
        return np.array(record["state"][: int(record["state_size"])])

    def at_home(self, side: Side) -> bool:
        """Whether an arm stands still at its home posture."""
        q = self._known()[f"{side}_q"]
        error = np.abs(q - np.asarray(self._cell.arms[side].home)).max()
        return bool(error < HOME_TOLERANCE) and not self.moving(side)

    def moving(self, side: Side) -> bool:
        """Whether an arm moves."""
        return bool(np.abs(self._known()[f"{side}_qd"]).max() > REST_SPEED)

    def objects_rest(self) -> bool:
        """Whether no object moved during the last `REST_WINDOW`."""
        if not self._positions:
            return False
        newest, latest = self._positions[-1]
        moved = [
            float(np.abs(latest - positions).max(initial=0.0))
            for stamp, positions in self._positions
            if newest - stamp <= REST_WINDOW + 0.05
        ]
        return newest - self._positions[0][0] >= REST_WINDOW and max(moved) < REST_DISTANCE

    def tool(self, side: Side) -> NDArray[np.float64]:
        """Return transform_tool_to_world (4, 4) of an arm, from its measured joints."""
        q = self._known()[f"{side}_q"]
        return self._bases[side] @ self._chains[side].fk(q)

    def base(self, side: Side) -> NDArray[np.float64]:
        """Return transform_base_to_world (4, 4) of an arm."""
        return self._bases[side]

    def opening(self, side: Side) -> float:
        """Measured opening of a gripper, 0 closed .. 1 open."""
        return float(self._known()["gripper"][SIDES.index(side)])

    def blocked(self, side: Side) -> bool:
        """Whether an object stops the fingers."""
        return bool(self._known()["gripper_blocked"][SIDES.index(side)])

    @property
    def outcome(self) -> Mapping[str, float]:
        """Score (0..1) and success (0 or 1) as last judged by the world."""
        record = self._known()
        return {"score": float(record["score"]), "success": float(record["success"])}

    def close(self) -> None:
        """Release the shared block."""
        self._reader.close()

    def _known(self) -> NDArray[np.void]:
        if self._record is None:
            raise RuntimeError("update() has not seen the world yet")
        return self._record
