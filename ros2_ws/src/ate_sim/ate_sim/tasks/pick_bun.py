"""Pick bun: the left arm takes the lid off, puts the bun on the plate and the lid back."""

import numpy as np

from ate_sim.motion_plan import Plan
from ate_sim.tasks.steamer import (
    BUN_LIFT,
    OBJECT_NAMES,
    add_objects,
    bun_lies_on,
    lid_is_off,
    lid_is_on,
    put_lid_back,
    take_lid_off,
)
from ate_sim.tasks.task import Array, draw_apart, pose_on_table, within_disc
from ate_sim.world.engine import mujoco
from ate_sim.world.shapes import BUN_HEIGHT, PLATE_HEIGHT, STEAMER_FLOOR, STEAMER_HEIGHT
from ate_sim.world.sim_world import SimWorld

_LID_ASIDE = np.array([-0.05, 0.222])  # from the steamer [m]


class PickBun:
    """Bun out of the steamer."""

    name = "pick_bun"
    instruction = "take the lid off, put the bun on the plate and put the lid back on"
    object_names = OBJECT_NAMES

    def build(self, spec: mujoco.MjSpec) -> None:
        """Add steamer, lid, bun and plate."""
        add_objects(spec)

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
        left = plan.side("left")
        take_lid_off(left, lid, aside)
        left.pick(bun[:2], height=bun[2] - 0.002, lift=BUN_LIFT)
        on_plate = PLATE_HEIGHT + BUN_HEIGHT / 2
        left.place(plate[:2], height=on_plate, clearance=BUN_LIFT)
        put_lid_back(left, lid, aside, steamer)
        left.home()
