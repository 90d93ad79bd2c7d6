"""A gripper whose fingers move in the simulated world."""

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from ate_core.contract import SIDES, Cell
from ate_core.errors import DeviceError, UsageError
from ate_core.shared_state import (
    GRIPPER_TARGET_DTYPE,
    SharedBlock,
    new_record,
    world_dtype,
)
from omnipicker_driver.emulator.drive import TOP_SPEED, Drive
from omnipicker_driver.emulator.plant import ARRIVED
from omnipicker_driver.protocol import FULL_SCALE, Command, Fault, Motion, Report

_WORLD_STALE = 0.5
"""Age of the world's state from which the gripper counts as without power [s]."""
_SETTLED = 4.0
"""Speed below which fingers that follow a finished motion count as at rest [counts/s]."""
_GRASP_TIME = 0.06
"""Time that fingers must be stopped to count as blocked [s]: they also push before they start."""
_SPEED_FILTER = 0.02
"""Time constant of the reported speed [s]: the world's steps and ours are not in phase."""


class WorldPlant:
    """Turn commands into a moving position target and report what the world's fingers do."""

    def __init__(self, cell: Cell, side: str) -> None:
        """Connect one side.

        Args:
            cell: simulated cell; its runtime folder is made when missing.
            side: "left" or "right".
        """
        folder = Path(cell.runtime_dir)
        folder.mkdir(parents=True, exist_ok=True)
        self._index = SIDES.index(side)
        self._world_dtype = world_dtype(cell)
        self._world_path = folder / "world.state"
        self._world_block: SharedBlock | None = None
        self._opened_at = -np.inf
        self._target_block = SharedBlock(
            folder / f"gripper_{side}.target", GRIPPER_TARGET_DTYPE, create=True
        )
        self._drive: Drive | None = None
        self._command: Command | None = None
        self._epoch = -1
        self._fault = int(Fault.NONE)
        self._advanced_to = 0.0
        self._position = 0.0
        self._speed = 0.0
        self._force = 0.0
        self._blocked_since: float | None = None
        self._blocked = False
        self._grasp_position = 0.0
        self._lost_object = False

    def command(self, command: Command, now: float) -> None:
        """Follow a new command."""
        self._command = command

    def advance(self, now: float) -> None:
        """Read the world and move the position target up to ``now`` (monotonic) [s]."""
        world = self._read_world(now)
        if world is None:
            self._drive = self._command = None
            return
        self._observe(world, now)
        dt = now - self._advanced_to
        self._advanced_to = now
        if self._drive is None or int(world["epoch"]) != self._epoch:
            # A reset moved the fingers: start from where they are, not from the old target.
            self._epoch = int(world["epoch"])
            self._drive = Drive(position=self._position)
            dt = 0.0
        if self._command is not None and not self._fault:
            self._drive = self._drive.advanced(self._command, dt)
            self._write_target(self._drive, self._command, now)

    def report(self) -> Report | None:
        """What the world's fingers do; None without a running world."""
        if self._drive is None:
            return None
        return Report(
            position=self._position / FULL_SCALE,
            speed=abs(self._speed) / TOP_SPEED,
            force=self._force,
            fault=self._fault,
            motion=self._motion(self._drive),
        )

    def set_fault(self, fault: int) -> None:
        """Switch a fault on (the position target stops moving) or off."""
        self._fault = fault

    def set_object(self, width: float | None) -> None:
        """Refused: objects are in the world."""
        raise UsageError("this gripper is in the simulated world; place objects there instead")

    def _read_world(self, now: float) -> NDArray[np.void] | None:
        if self._world_block is None:
            if now - self._opened_at < _WORLD_STALE:
                return None
            self._opened_at = now
            try:
                self._world_block = SharedBlock(self._world_path, self._world_dtype, create=False)
            except DeviceError:
                return None
        try:
            world = self._world_block.read()
        except DeviceError:
            world = None
        if world is None or now - int(world["time_ns"]) / 1e9 > _WORLD_STALE:
            # A restarted world makes a new file; the mapping of the old one stays silent.
            self._world_block.close()
            self._world_block = None
            return None
        return world

    def _observe(self, world: NDArray[np.void], now: float) -> None:
        position = float(world["gripper"][self._index]) * FULL_SCALE
        dt = now - self._advanced_to
        if self._drive is None:
            self._speed = 0.0
        elif dt > 0.0:
            share = min(dt / _SPEED_FILTER, 1.0)
            self._speed += share * ((position - self._position) / dt - self._speed)
        self._position = position
        self._force = float(world["gripper_force"][self._index])
        self._observe_grasp(bool(world["gripper_blocked"][self._index]), now)

    def _observe_grasp(self, stopped: bool, now: float) -> None:
        if not stopped:
            closing = self._command is not None and (
                self._command.position * FULL_SCALE < self._grasp_position - ARRIVED
            )
            self._lost_object |= self._blocked and closing
            self._blocked_since, self._blocked = None, False
            return
        self._grasp_position = self._position
        if self._blocked_since is None:
            self._blocked_since = now
        self._blocked = now - self._blocked_since >= _GRASP_TIME

    def _write_target(self, drive: Drive, command: Command, now: float) -> None:
        record = new_record(GRIPPER_TARGET_DTYPE)
        record["time_ns"] = round(now * 1e9)
        record["active"] = 1
        record["position"] = drive.position / FULL_SCALE
        record["force"] = command.force
        record["speed"] = 1.0  # the position already moves at the commanded speed
        self._target_block.write(record)

    def _motion(self, drive: Drive) -> Motion:
        if self._lost_object:
            self._lost_object = False
            return Motion.LOST_OBJECT
        if self._blocked:
            return Motion.BLOCKED
        if self._command is None:
            return Motion.REACHED
        goal = self._command.position * FULL_SCALE
        arrived = abs(goal - self._position) <= ARRIVED
        settled = abs(goal - drive.position) <= ARRIVED and abs(self._speed) <= _SETTLED
        return Motion.REACHED if arrived or settled else Motion.MOVING
