"""Pick and place: the left arm puts a cube on a plate."""

import numpy as np

from ate_sim.motion_plan import Plan
from ate_sim.tasks.task import Array, draw_apart, pose_on_table, within_disc, yaw_of
from ate_sim.world.engine import mujoco
from ate_sim.world.shapes import PLATE_HEIGHT, RED, add_plate, box, movable
from ate_sim.world.sim_world import SimWorld

_HALF = 0.020  # half edge of the cube [m]


class PickPlace:
    """Cube to plate."""

    name = "pick_place"
    instruction = "put the red cube on the plate"
    object_names = ("cube", "plate")

    def build(self, spec: mujoco.MjSpec) -> None:
        """Add cube and plate."""
        box(movable(spec, "cube"), (_HALF, _HALF, _HALF), RED, mass=0.06)
        add_plate(spec, "plate")

    def sample(self, rng: np.random.Generator, radius: float) -> dict[str, Array]:
        """Cube on the far left, plate nearer to the middle."""
        cube, plate = draw_apart(
            lambda: (
                within_disc(rng, (0.27, 0.36), radius),
                within_disc(rng, (0.28, 0.13), radius),
            ),
            distance=0.16,
        )
        return {
            "cube": pose_on_table(cube, _HALF, rng.uniform(-0.4, 0.4)),
            "plate": pose_on_table(plate, 0.0),
        }

    def score(self, world: SimWorld) -> float:
        """0.25 cube lifted, 0.5 above the plate, 1 on the plate and let go."""
        cube, plate = world.object_pose("cube"), world.object_pose("plate")
        near = np.linalg.norm(cube[:2] - plate[:2]) < 0.045
        lying = cube[2] < PLATE_HEIGHT + _HALF + 0.006
        if near and lying and not world.gripper_blocked("left"):
            return 1.0
        if cube[2] < _HALF + 0.03:
            return 0.0
        return 0.5 if near else 0.25

    def plan(self, world: SimWorld, plan: Plan) -> None:
        """Pick, carry, put down."""
        cube, plate = world.object_pose("cube"), world.object_pose("plate")
        left = plan.side("left")
        left.pick(cube[:2], height=_HALF, yaw=yaw_of(cube), lift=0.1)
        left.place(plate[:2], height=PLATE_HEIGHT + _HALF + 0.002, clearance=0.1)
        left.home()
