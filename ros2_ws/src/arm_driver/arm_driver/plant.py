"""What an emulated controller drives: an ideal arm, or the arm in the simulated world."""

import time
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray

from ate_core.contract import SIDES, Cell
from ate_core.errors import DeviceError
from ate_core.shared_state import (
    SharedBlock,
    arm_target_dtype,
    new_record,
    world_dtype,
)

Array = NDArray[np.float64]

FRESH_FOR = 0.1
"""A world that has not stepped for this long gives no measurement [s]."""
LATE = 0.03
"""A state that is older when first seen is carried on to the present at its speeds [s]: the next
one comes soon, and between the two the arm would move far in no time."""
CARRIED = 0.03
"""No joint is carried further [rad]: one that brakes meanwhile was never there."""
CHECK_PERIOD = 0.25
"""How often the plant looks whether the world was restarted [s]."""


class Measurement(NamedTuple):
    """What the joint encoders and the wrist sensor say."""

    q: Array
    """Joint angles (n,) [rad]."""
    qd: Array
    """Joint speeds (n,) [rad/s]."""
    torque: Array
    """Joint torques (n,) [N m]."""
    wrench: Array
    """Force and moment (6,) [N, N m], tool frame."""


class Plant(Protocol):
    """The arm behind the controller."""

    def read(self) -> Measurement | None:
        """Newest measurement, or None while there is no fresh one."""
        ...

    def write_target(self, q: Array) -> None:
        """Set the joint set point (n,) [rad]."""
        ...

    def close(self) -> None:
        """Let go of the arm; it keeps its last set point."""
        ...


class IdealPlant:
    """Joints that follow their set point with a first-order lag; no gravity, no contact."""

    def __init__(
        self, q: Array, lag: float = 0.02, clock: Callable[[], float] = time.monotonic
    ) -> None:
        """Begin at rest.

        Args:
            q: joint angles (n,) [rad].
            lag: time constant [s].
            clock: monotonic time [s].
        """
        self._q = np.array(q, dtype=np.float64)
        self._qd = np.zeros_like(self._q)
        self._target = self._q.copy()
        self._lag = lag
        self._clock = clock
        self._last = clock()

    def read(self) -> Measurement:
        """Advance to the present and return the joints."""
        now = self._clock()
        dt, self._last = now - self._last, now
        error = self._target - self._q
        self._q = self._target - error * np.exp(-dt / self._lag)
        self._qd = (self._target - self._q) / self._lag
        return Measurement(self._q.copy(), self._qd, np.zeros_like(self._q), np.zeros(6))

    def write_target(self, q: Array) -> None:
        """Set the point the joints approach."""
        self.read()
        self._target = np.array(q, dtype=np.float64)

    def close(self) -> None:
        """Nothing to release."""


class WorldPlant:
    """One arm of the simulated world, through the blocks in its runtime folder."""

    def __init__(self, cell: Cell, side: str, clock: Callable[[], float] = time.monotonic) -> None:
        """Prepare; the world may start later.

        Args:
            cell: says where the blocks lie.
            side: of the arm.
            clock: monotonic time [s].

        Raises:
            DeviceError: the runtime folder cannot be used.
        """
        folder = Path(cell.runtime_dir)
        try:
            folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise DeviceError(
                f"runtime folder {folder} cannot be made ({error.strerror}): "
                "set ATE_RUNTIME_DIR to a writable one"
            ) from None
        self._side, self._row = side, SIDES.index(side)
        self._world_dtype = world_dtype(cell)
        self._target_dtype = arm_target_dtype(cell.arms[side])
        self._world_path = folder / "world.state"
        self._world: SharedBlock | None = None
        self._clock = clock
        self._seen_ns = 0
        self._carried = 0.0
        self._inode = -1
        self._next_check = 0.0
        self._target_path = folder / f"arm_{side}.target"
        self._target: SharedBlock | None = None
        self._record = new_record(self._target_dtype)

    def read(self) -> Measurement | None:
        """Joints of the world, or None while it does not step."""
        now = self._clock()
        if now >= self._next_check:
            self._next_check = now + CHECK_PERIOD
            self._follow_world()
        if self._world is None:
            return None
        try:
            record = self._world.read()
        except DeviceError:
            return None  # its writer died inside a write; the next check finds the new one
        stamp_ns = int(record["time_ns"])
        age = now - stamp_ns / 1e9
        if age > FRESH_FOR:
            return None
        if stamp_ns != self._seen_ns:
            self._seen_ns, self._carried = stamp_ns, age if age > LATE else 0.0
        speeds = record[f"{self._side}_qd"].copy()  # a view would keep the whole record
        return Measurement(
            record[f"{self._side}_q"] + np.clip(self._carried * speeds, -CARRIED, CARRIED),
            speeds,
            record[f"{self._side}_torque"].copy(),
            record["arm_wrench"][self._row].copy(),
        )

    def write_target(self, q: Array) -> None:
        """Publish the set point to the world."""
        if self._target is None:
            # Not before the first target: a second controller, which finds its address taken,
            # must not pull the block away from the first.
            self._target = SharedBlock(self._target_path, self._target_dtype, create=True)
        self._record["time_ns"] = time.monotonic_ns()
        self._record["active"] = 1
        self._record["q"] = q
        self._target.write(self._record)

    def close(self) -> None:
        """Release the blocks; the world keeps the last set point."""
        if self._target is not None:
            self._target.close()
        if self._world is not None:
            self._world.close()

    def _follow_world(self) -> None:
        # A restarted world renames a new file into place; the old mapping would stay silent.
        try:
            inode = self._world_path.stat().st_ino
        except FileNotFoundError:
            return
        if inode == self._inode:
            return
        try:
            world = SharedBlock(self._world_path, self._world_dtype, create=False)
        except DeviceError:
            return
        if self._world is not None:
            self._world.close()
        self._world, self._inode = world, inode
