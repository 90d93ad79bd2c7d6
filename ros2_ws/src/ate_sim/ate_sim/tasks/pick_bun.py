"""Pick bun: the left arm takes the lid off, puts the bun on the plate and the lid back."""

import numpy as np

from ate_sim.motion_plan import Plan
from ate_sim.tasks.steamer import bun_lies_on, lid_is_off, lid_is_on
from ate_sim.tasks.task import Array, draw_apart, pose_on_table, within_disc, yaw_of
from ate_sim.world.engine import mujoco
from ate_sim.world.shapes import (
    BUN_HEIGHT,
    KNOB_GRASP,
    PLATE_HEIGHT,
    STEAMER_FLOOR,
    STEAMER_HEIGHT,
    add_bun,
    add_lid,
    add_plate,
    add_steamer,
)
from ate_sim.world.sim_world import SimWorld

_LID_ASIDE = np.array([-0.05, 0.222])  # from the steamer [m]
_LID_LIFT = 0.06
_BUN_LIFT = 0.08


class PickBun:
    """Bun out of the steamer."""

    name = "pick_bun"
    instruction = "take the lid off, put the bun on the plate and put the lid back on"
    object_names = ("bun", "lid", "steamer", "plate")

    def build(self, spec: mujoco.MjSpec) -> None:
        """Add steamer, lid, bun and plate."""
        add_bun(spec, "bun")
        add_lid(spec, "lid")
        add_steamer(spec, "steamer")
        add_plate(spec, "plate")

    def sample(self, rng: np.random.Generator, radius: float) -> dict[str, Array]:
        """Closed steamer in front of the left arm, plate in the middle."""
        steamer, plate = draw_apart(
            lambda: (
                within_disc(rng, (0.28, 0.20), radius),
                within_disc(rng, (0.24, 0.0), radius),
            ),
            distance=0.185,
        )
        bun = steamer + within_disc(rng, (0.0, 0.0), 0.006)
        return {
            "steamer": pose_on_table(steamer, 0.0),
            "plate": pose_on_table(plate, 0.0),
            "bun": pose_on_table(bun, STEAMER_FLOOR + BUN_HEIGHT / 2),
            "lid": pose_on_table(steamer, STEAMER_HEIGHT, rng.uniform(-0.3, 0.3)),
        }

    def score(self, world: SimWorld) -> float:
        """0.25 lid off, 0.5 bun on the plate, 1 and the lid back on."""
        bun, lid, steamer, plate = world.object_poses()
        plated = bun_lies_on(bun, plate, PLATE_HEIGHT)
        if plated and lid_is_on(lid, steamer) and not world.gripper_blocked("left"):
            return 1.0
        if plated:
            return 0.5
        return 0.25 if lid_is_off(lid, steamer) else 0.0

    def plan(self, world: SimWorld, plan: Plan) -> None:
        """Lid aside, bun to the plate, lid back."""
        bun, lid, steamer, plate = world.object_poses()
        aside = steamer[:2] + _LID_ASIDE
        yaw = yaw_of(lid)
        closed = STEAMER_HEIGHT + KNOB_GRASP
        left = plan.side("left")
        left.pick(lid[:2], height=closed, yaw=yaw, lift=_LID_LIFT)
        left.place(aside, height=KNOB_GRASP + 0.001, yaw=yaw, clearance=closed + _LID_LIFT)
        left.pick(bun[:2], height=bun[2] - 0.002, lift=_BUN_LIFT)
        on_plate = PLATE_HEIGHT + BUN_HEIGHT / 2
        left.place(plate[:2], height=on_plate, clearance=_BUN_LIFT)
        left.pick(aside, height=KNOB_GRASP, yaw=yaw, lift=closed + _LID_LIFT - KNOB_GRASP)
        left.place(steamer[:2], height=closed + 0.002, yaw=yaw, clearance=_LID_LIFT)
        left.home()
