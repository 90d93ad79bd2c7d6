"""Cook bun: the left arm opens the steamer, the right one puts the bun in, the left closes it."""

import numpy as np

from ate_sim.motion_plan import Plan
from ate_sim.tasks.steamer import (
    BUN_LIFT,
    OBJECT_NAMES,
    add_objects,
    bun_is_inside,
    bun_lies_on,
    lid_is_on,
    put_lid_back,
    take_lid_off,
)
from ate_sim.tasks.task import Array, pose_on_table, within_disc
from ate_sim.world.engine import mujoco
from ate_sim.world.shapes import BUN_HEIGHT, PLATE_HEIGHT, STEAMER_FLOOR, STEAMER_HEIGHT
from ate_sim.world.sim_world import SimWorld

_LID_ASIDE = np.array([-0.02, 0.235])  # from the steamer [m]


class CookBun:
    """Bun into the steamer, both arms at once."""

    name = "cook_bun"
    instruction = "open the steamer, put the bun in and close it"
    object_names = OBJECT_NAMES

    def build(self, spec: mujoco.MjSpec) -> None:
        """Add steamer, lid, bun and plate."""
        add_objects(spec)

    def sample(self, rng: np.random.Generator, radius: float) -> dict[str, Array]:
        """Closed steamer in the middle, within reach of both arms; bun on a plate on the right."""
        steamer = within_disc(rng, (0.235, 0.0), radius / 2)
        plate = within_disc(rng, (0.26, -0.29), radius)
        bun = plate + within_disc(rng, (0.0, 0.0), 0.015)
        return {
            "steamer": pose_on_table(steamer, 0.0),
            "plate": pose_on_table(plate, 0.0),
            "bun": pose_on_table(bun, PLATE_HEIGHT + BUN_HEIGHT / 2),
            "lid": pose_on_table(steamer, STEAMER_HEIGHT, rng.uniform(-0.3, 0.3)),
        }

    def score(self, world: SimWorld) -> float:
        """0.25 bun off its plate, 0.5 in the steamer, 1 and the lid back on."""
        bun, lid, steamer, plate = world.object_poses()
        if bun_is_inside(bun, steamer):
            closed = lid_is_on(lid, steamer) and not world.gripper_blocked("left")
            return 1.0 if closed else 0.5
        return 0.0 if bun_lies_on(bun, plate, PLATE_HEIGHT) else 0.25

    def plan(self, world: SimWorld, plan: Plan) -> None:
        """Lid aside and bun up at once; bun in; lid back."""
        bun, lid, steamer, _ = world.object_poses()
        aside = steamer[:2] + _LID_ASIDE
        left, right = plan.side("left"), plan.side("right")
        take_lid_off(left, lid, aside)
        right.pick(bun[:2], height=bun[2] - 0.002, lift=BUN_LIFT)
        plan.synchronise()
        in_steamer = STEAMER_FLOOR + BUN_HEIGHT / 2
        right.place(steamer[:2], height=in_steamer, clearance=BUN_LIFT)
        plan.synchronise()
        right.home()
        put_lid_back(left, lid, aside, steamer)
        left.home()
