"""What a task is, and helpers to draw start positions."""

from collections.abc import Callable
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from ate_core.errors import UsageError
from ate_sim.motion_plan import Plan
from ate_sim.world.sim_world import Scene, SimWorld

Array = NDArray[np.float64]


class Task(Scene, Protocol):
    """One task: a scene with its instruction and how an expert does it."""

    @property
    def instruction(self) -> str:
        """What to do, in words for a policy."""

    def plan(self, world: SimWorld, plan: Plan) -> None:
        """Write the expert's way-points from the objects' present poses."""


def pose_on_table(point: Array, height: float, yaw: float = 0.0) -> Array:
    """Pose (7,) of an upright object at ``point`` (2,) and ``height`` [m], ``yaw`` [rad]."""
    return np.array([point[0], point[1], height, 0.0, 0.0, np.sin(yaw / 2), np.cos(yaw / 2)])


def yaw_of(pose: Array) -> float:
    """Rotation about the vertical of the object's x axis [rad]."""
    x, y, z, w = pose[3:]
    return float(np.arctan2(2 * (w * z + x * y), 1 - 2 * (y * y + z * z)))


def upright(pose: Array, tolerance: float = 0.25) -> bool:
    """Whether the object's z axis points up within ``tolerance`` [rad]."""
    x, y = pose[3:5]
    return bool(1 - 2 * (x * x + y * y) > np.cos(tolerance))


def within_disc(rng: np.random.Generator, centre: tuple[float, float], radius: float) -> Array:
    """A point (2,) drawn uniformly from a disc."""
    angle = rng.uniform(0.0, 2 * np.pi)
    distance = radius * np.sqrt(rng.uniform())
    point: Array = np.array(centre) + distance * np.array([np.cos(angle), np.sin(angle)])
    return point


def draw_apart(draw: Callable[[], tuple[Array, Array]], distance: float) -> tuple[Array, Array]:
    """Draw two points until they lie at least ``distance`` [m] apart."""
    for _ in range(1000):
        first, second = draw()
        if np.linalg.norm(first - second) >= distance:
            return first, second
    raise UsageError(f"no start found with objects {distance} m apart; place the discs further")
