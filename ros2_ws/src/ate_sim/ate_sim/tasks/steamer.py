"""What the two steamer tasks share: when the lid is on, and where the bun is."""

import numpy as np

from ate_sim.tasks.task import Array, upright
from ate_sim.world.shapes import BUN_HEIGHT, BUN_RADIUS, STEAMER_HEIGHT, STEAMER_RADIUS


def lid_is_on(lid: Array, steamer: Array) -> bool:
    """Whether the lid (7,) lies level on the steamer (7,), within 20 mm of its middle."""
    centred = np.linalg.norm(lid[:2] - steamer[:2]) < 0.020
    return bool(centred and upright(lid, 0.1) and abs(lid[2] - STEAMER_HEIGHT) < 0.008)


def lid_is_off(lid: Array, steamer: Array) -> bool:
    """Whether the lid was put aside."""
    return bool(np.linalg.norm(lid[:2] - steamer[:2]) > 0.10)


def bun_is_inside(bun: Array, steamer: Array) -> bool:
    """Whether the bun (7,) lies inside the ring and below its rim."""
    inside = np.linalg.norm(bun[:2] - steamer[:2]) < STEAMER_RADIUS - BUN_RADIUS + 0.002
    return bool(inside and bun[2] < STEAMER_HEIGHT)


def bun_lies_on(bun: Array, plate: Array, height: float) -> bool:
    """Whether the bun (7,) lies on the plate (7,) of this height [m]."""
    near = np.linalg.norm(bun[:2] - plate[:2]) < 0.045
    return bool(near and bun[2] < height + BUN_HEIGHT / 2 + 0.008)
