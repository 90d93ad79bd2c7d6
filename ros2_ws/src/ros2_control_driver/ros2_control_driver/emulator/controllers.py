"""What the emulated controllers do with a command and a measurement. No ROS."""

import threading
from collections.abc import Sequence

import numpy as np

from arm_driver.plant import Measurement, Plant


class ForwardPositionController:
    """Passes an array of joint angles on to the arm, as ros2_control's does: unchecked."""

    def __init__(self, plant: Plant, joints: int) -> None:
        """Prepare.

        Args:
            plant: the arm.
            joints: how many angles a command has.
        """
        self._plant = plant
        self._use = threading.Lock()  # commands and measurements come from two threads
        self._joints = joints
        self._closed = False
        self.commands = 0
        """Commands passed on so far."""

    def take(self, angles: Sequence[float]) -> str:
        """Pass a command on; why it was dropped, or an empty text."""
        if len(angles) != self._joints:
            return f"command has {len(angles)} angles, the controller has {self._joints} joints"
        q = np.array(angles, dtype=np.float64)
        if not np.all(np.isfinite(q)):
            return f"command {q} is not finite"
        with self._use:
            if self._closed:
                return ""  # one was still on its way
            self._plant.write_target(q)
        self.commands += 1
        return ""

    def measure(self) -> Measurement | None:
        """Joints and wrench, or None while the simulated world stands still."""
        with self._use:
            return None if self._closed else self._plant.read()

    def close(self) -> None:
        """Let go of the arm, which keeps its last set point; later commands are dropped."""
        with self._use:
            self._closed = True
            self._plant.close()
