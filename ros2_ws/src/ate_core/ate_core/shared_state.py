"""State that the processes of the simulated cell share: one writer, many readers, no locks.

Each block is a file mapping with a sequence counter that is odd while its writer is inside
(a seqlock). Readers retry until they see the same even counter before and after the copy.
"""

import mmap
import os
import time
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from ate_core.contract import Cell
from ate_core.devices import POSE_SIZE, ArmConfig
from ate_core.errors import DeviceError

MAX_OBJECTS = 16
MAX_PHYSICS_STATE = 512


def world_dtype(cell: Cell) -> np.dtype[np.void]:
    """What the world publishes; each arm has as many joints as its model."""
    arms = []
    for side, arm in cell.arms.items():
        joints = (len(arm.joint_names),)
        arms += [
            (f"{side}_q", np.float64, joints),  # [rad]
            (f"{side}_qd", np.float64, joints),  # [rad/s]
            (f"{side}_torque", np.float64, joints),  # [N m]
        ]
    return np.dtype(
        [
            ("time_ns", np.int64),  # monotonic clock of the last physics step
            ("sim_time", np.float64),  # [s]
            ("epoch", np.int64),  # counts resets
            *arms,
            ("arm_wrench", np.float64, (2, 6)),  # left first; [N, N m], tool frame
            ("gripper", np.float64, (2,)),  # opening ratio, 0 closed
            ("gripper_force", np.float64, (2,)),  # share of the largest force
            ("gripper_blocked", np.float64, (2,)),  # 1 while an object stops the fingers
            ("object_count", np.int64),
            ("object_poses", np.float64, (MAX_OBJECTS, POSE_SIZE)),  # world frame, xyz xyzw
            ("state", np.float64, (MAX_PHYSICS_STATE,)),  # physics state for the renderer
            ("state_size", np.int64),
            ("score", np.float64),
            ("success", np.int64),
        ]
    )


def arm_target_dtype(arm: ArmConfig) -> np.dtype[np.void]:
    """What the controller of one arm asks of the world, one angle per joint [rad]."""
    joints = (len(arm.joint_names),)
    return np.dtype([("time_ns", np.int64), ("active", np.int64), ("q", np.float64, joints)])


GRIPPER_TARGET_DTYPE = np.dtype(
    [
        ("time_ns", np.int64),
        ("active", np.int64),
        ("position", np.float64),
        ("force", np.float64),
        ("speed", np.float64),
    ]
)
"""What one gripper asks of the world; ratios 0..1."""

READ_TIMEOUT = 2.0
"""Longest time a writer may be suspended inside a write [s]."""
READ_SPINS = 100
"""Looks without a pause: a write lasts microseconds unless its writer is suspended."""
READ_PAUSE = 50e-6
"""Pause between two looks at a block that is being written [s]."""


def frame_dtype(height: int, width: int) -> np.dtype[np.void]:
    """One camera frame: monotonic time, sequence number and RGB image (height, width, 3)."""
    return np.dtype(
        [("time_ns", np.int64), ("sequence", np.int64), ("image", np.uint8, (height, width, 3))]
    )


class SharedBlock:
    """One numpy record in a file mapping, for one writer and many readers."""

    _HEADER = 64  # keeps the record on its own cache line

    def __init__(self, path: str | Path, dtype: np.dtype[np.void], create: bool) -> None:
        """Open a block.

        Args:
            path: file of the block; the folder must exist.
            dtype: layout of the record.
            create: the writer creates and zeroes the file; readers open an existing one.

        Raises:
            DeviceError: the block does not exist or holds another record.
        """
        self.path = Path(path)
        size = self._HEADER + dtype.itemsize
        if create:
            self._create_file(size)
        try:
            descriptor = os.open(self.path, os.O_RDWR)
        except OSError as error:
            raise DeviceError(
                f"shared block {self.path} cannot be opened ({error.strerror}): "
                "start the simulated cell first"
            ) from None
        try:
            found = os.fstat(descriptor).st_size
            if found != size:
                raise DeviceError(
                    f"shared block {self.path} has {found} bytes, this cell needs {size}: "
                    "start all processes with the same cell file"
                )
            self._map = mmap.mmap(descriptor, size)
        finally:
            os.close(descriptor)
        self._counter: NDArray[np.int64] = np.frombuffer(self._map, np.int64, 1)
        self._record: NDArray[np.void] = np.frombuffer(self._map, dtype, 1, self._HEADER)

    def _create_file(self, size: int) -> None:
        # Renamed into place, so a reader never opens a block of the wrong size.
        temporary = self.path.with_name(f"{self.path.name}.{os.getpid()}")
        with open(temporary, "wb") as file:
            file.truncate(size)
        os.replace(temporary, self.path)

    @property
    def version(self) -> int:
        """Counts writes; unchanged means nothing new."""
        return int(self._counter[0]) // 2

    def write(self, record: NDArray[np.void]) -> None:
        """Publish a record of shape () or (1,); only one process may write."""
        self._counter[0] += 1
        self._record[...] = record
        self._counter[0] += 1

    def read(self) -> NDArray[np.void]:
        """A consistent copy of the record, shape (); fields are read as ``record["name"]``.

        Raises:
            DeviceError: the writer stopped in the middle of a write.
        """
        deadline = time.monotonic() + READ_TIMEOUT
        attempt = 0
        while True:
            before = int(self._counter[0])
            if before % 2 == 0:
                record = self._record.copy()
                if int(self._counter[0]) == before:
                    return record[0]  # type: ignore[no-any-return]
            attempt += 1
            if attempt < READ_SPINS:
                continue
            if time.monotonic() > deadline:
                raise DeviceError(
                    f"shared block {self.path} stays half written for {READ_TIMEOUT:g} s: "
                    "its writer died, restart it"
                )
            # Asleep, not spinning: a reader of higher priority must let the writer finish.
            time.sleep(READ_PAUSE)

    def close(self) -> None:
        """Release the mapping; the file stays for the other processes."""
        del self._counter, self._record
        self._map.close()

    def unlink(self) -> None:
        """Remove the file, for the writer at its end."""
        self.path.unlink(missing_ok=True)


def new_record(dtype: np.dtype[np.void]) -> NDArray[np.void]:
    """A zeroed record of shape (1,) whose fields can be assigned and then written."""
    return np.zeros(1, dtype)
