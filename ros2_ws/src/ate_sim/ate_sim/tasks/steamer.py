"""What the two steamer tasks share: their objects, the lid's way, where lid and bun are."""

import numpy as np

from ate_sim.motion_plan import SidePlan
from ate_sim.tasks.task import Array, upright, yaw_of
from ate_sim.world.engine import mujoco
from ate_sim.world.shapes import (
    BUN_HEIGHT,
    BUN_RADIUS,
    KNOB_GRASP,
    STEAMER_HEIGHT,
    STEAMER_RADIUS,
    add_bun,
    add_lid,
    add_plate,
    add_steamer,
)

OBJECT_NAMES = ("bun", "lid", "steamer", "plate")
BUN_LIFT = 0.08
"""How high a bun is lifted [m]."""
_LID_LIFT = 0.06
_CLOSED = STEAMER_HEIGHT + KNOB_GRASP  # grasp height of a lid on the steamer [m]


def add_objects(spec: mujoco.MjSpec) -> None:
    """Add steamer, lid, bun and plate."""
    add_bun(spec, "bun")
    add_lid(spec, "lid")
    add_steamer(spec, "steamer")
    add_plate(spec, "plate")


def take_lid_off(arm: SidePlan, lid: Array, aside: Array) -> None:
    """Move the lid (7,) from the steamer to the point ``aside`` (2,) on the table."""
    yaw = yaw_of(lid)
    arm.pick(lid[:2], height=_CLOSED, yaw=yaw, lift=_LID_LIFT)
    arm.place(aside, height=KNOB_GRASP + 0.001, yaw=yaw, clearance=_CLOSED + _LID_LIFT)


def put_lid_back(arm: SidePlan, lid: Array, aside: Array, steamer: Array) -> None:
    """Move the lid, whose pose (7,) was taken before, from ``aside`` back to the steamer (7,)."""
    yaw = yaw_of(lid)
    arm.pick(aside, height=KNOB_GRASP, yaw=yaw, lift=_CLOSED + _LID_LIFT - KNOB_GRASP)
    arm.place(steamer[:2], height=_CLOSED + 0.002, yaw=yaw, clearance=_LID_LIFT)


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
