"""How the fingers of an emulated gripper move: a trapezoidal speed profile in counts."""

import math
from dataclasses import dataclass

from omnipicker_driver.protocol import FULL_SCALE, MAX_SPEED, Command

TOP_SPEED = MAX_SPEED * FULL_SCALE
"""Speed at velocity byte 255 [counts/s]."""
TOP_RAMP = TOP_SPEED / 0.05
"""Ramp at acceleration byte 255 [counts/s2]: full speed after 50 ms, an assumption."""
_STEP = 0.002
"""Longest integration step [s]."""


@dataclass(frozen=True, kw_only=True)
class Drive:
    """Position and speed of the fingers."""

    position: float
    """Opening [counts], 0 closed, 255 open."""
    velocity: float = 0.0
    """Rate of opening [counts/s]."""

    def advanced(self, command: Command, dt: float, stop_at: float = 0.0) -> "Drive":
        """The drive after ``dt`` [s] under a command.

        Args:
            command: target, speed and ramps.
            dt: time passed [s].
            stop_at: opening below which the fingers cannot go: an object between them [counts].
        """
        goal = command.position * FULL_SCALE
        top = command.speed * TOP_SPEED
        speed_up = max(command.acceleration * TOP_RAMP, 1.0)
        slow_down = max(command.deceleration * TOP_RAMP, 1.0)
        position, velocity = self.position, self.velocity
        steps = max(math.ceil(dt / _STEP), 1)
        for _ in range(steps):
            step = dt / steps
            error = goal - position
            wanted = math.copysign(min(top, math.sqrt(2.0 * slow_down * abs(error))), error)
            ramp = (speed_up if abs(wanted) > abs(velocity) else slow_down) * step
            velocity += min(max(wanted - velocity, -ramp), ramp)
            moved = velocity * step
            if abs(moved) >= abs(error) and moved * error >= 0.0:
                position, velocity = goal, 0.0
            else:
                position += moved
            if position <= stop_at and velocity <= 0.0 and goal <= stop_at:
                position, velocity = stop_at, 0.0
            position = min(max(position, 0.0), float(FULL_SCALE))
        return Drive(position=position, velocity=velocity)
