"""Handover: the right hand passes a bar to the left one, which puts it on the plate."""

import numpy as np

from ate_sim.motion_plan import Plan, tool_down
from ate_sim.tasks.task import Array, pose_on_table, within_disc, yaw_of
from ate_sim.world.engine import mujoco
from ate_sim.world.shapes import BLUE, PLATE_HEIGHT, add_plate, box, movable
from ate_sim.world.sim_world import SimWorld

_HALF_LENGTH = 0.090
_HALF = 0.012  # half width and half height [m]
_GRASP = 0.055  # of both hands, from the middle of the bar [m]
_MEETING = np.array([0.26, 0.0, 0.11])  # middle of the bar as it changes hands [m]
_ACROSS = np.pi / 2  # yaw of the bar then: along y, from arm to arm [rad]


class Handover:
    """Bar from the right hand to the left hand to the plate."""

    name = "handover"
    instruction = "hand the blue bar over to the left hand and put it on the plate"
    object_names = ("bar", "plate")

    def build(self, spec: mujoco.MjSpec) -> None:
        """Add bar and plate."""
        box(movable(spec, "bar"), (_HALF_LENGTH, _HALF, _HALF), BLUE, mass=0.06)
        add_plate(spec, "plate")

    def sample(self, rng: np.random.Generator, radius: float) -> dict[str, Array]:
        """Bar on the right, plate on the left."""
        bar = within_disc(rng, (0.27, -0.23), radius)
        plate = within_disc(rng, (0.27, 0.25), radius)
        return {
            "bar": pose_on_table(bar, _HALF, _ACROSS + rng.uniform(-0.3, 0.3)),
            "plate": pose_on_table(plate, 0.0),
        }

    def score(self, world: SimWorld) -> float:
        """0.25 bar lifted, 0.5 in the left hand alone, 1 on the plate and let go."""
        bar, plate = world.object_poses()
        left = world.gripper_blocked("left")
        near = np.linalg.norm(bar[:2] - plate[:2]) < 0.045
        if near and bar[2] < PLATE_HEIGHT + _HALF + 0.006 and not left:
            return 1.0
        if bar[2] < _HALF + 0.03:
            return 0.0
        return 0.5 if left and not world.gripper_blocked("right") else 0.25

    def plan(self, world: SimWorld, plan: Plan) -> None:
        """Right picks and presents, left takes and places."""
        bar, plate = world.object_poses()
        yaw = yaw_of(bar)
        along = np.array([np.cos(yaw), np.sin(yaw)])
        across = np.array([np.cos(_ACROSS), np.sin(_ACROSS)])
        grasp = _GRASP * np.array([*across, 0.0])
        left, right = plan.side("left"), plan.side("right")
        right.pick(bar[:2] - _GRASP * along, height=_HALF + 0.003, yaw=yaw, lift=0.1)
        right.move(tool_down(_MEETING - grasp, _ACROSS))
        left_yaw = _ACROSS - np.pi  # its wrist camera then looks from outside
        left.move(tool_down(_MEETING + grasp + [0.0, 0.08, 0.04], left_yaw))
        plan.synchronise()
        left.pick(_MEETING[:2] + grasp[:2], height=_MEETING[2], yaw=left_yaw, lift=0.0)
        plan.synchronise()
        right.grip(1.0)
        right.lift_to(_MEETING[2] + 0.06)
        plan.synchronise()
        right.home()
        target = plate[:2] + grasp[:2]
        left.place(target, height=PLATE_HEIGHT + _HALF + 0.004, yaw=left_yaw, clearance=0.1)
        left.home()
