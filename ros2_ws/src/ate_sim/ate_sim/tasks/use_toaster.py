"""Use toaster: the left arm puts a slice into the slot, the right one presses the button."""

import numpy as np

from ate_core.geometry import quaternion_to_matrix
from ate_sim.motion_plan import Plan, tool_down
from ate_sim.tasks.task import Array, pose_on_table, upright, within_disc, yaw_of
from ate_sim.world.engine import mujoco
from ate_sim.world.shapes import BLACK, DARK_BAMBOO, RED, STEEL, TOAST, box, fixture, movable
from ate_sim.world.sim_world import SimWorld

_SLICE = (0.040, 0.007, 0.045)  # half sizes [m]
_FLOOR = 0.010  # of the slot [m]
_TOP = 0.055  # of the toaster [m]
_SLOT = (0.052, 0.012)  # half length and half width [m]
_BUTTON = (0.0, -0.065)  # in the toaster's frame [m]
_BUTTON_TOP = 0.052
_TRAVEL = 0.012
_GRASP_BELOW_TOP = 0.018
_LIFT = 0.085


class UseToaster:
    """Slice from the rack into the toaster, then the button."""

    name = "use_toaster"
    instruction = "put the slice into the toaster and press the red button"
    object_names = ("slice", "toaster", "rack", "button")

    def build(self, spec: mujoco.MjSpec) -> None:
        """Add slice, rack and toaster."""
        box(movable(spec, "slice"), _SLICE, TOAST, mass=0.05)
        rack = fixture(spec, "rack")
        for side in (-1.0, 1.0):
            wall = (0.0, side * (_SLICE[1] + 0.001 + 0.004), 0.011)
            box(rack, (0.035, 0.004, 0.011), DARK_BAMBOO, wall)
        toaster = fixture(spec, "toaster")
        length, width = _SLOT
        box(toaster, (length + 0.012, 0.036, _FLOOR / 2), STEEL, (0.0, 0.0, _FLOOR / 2))
        for side in (-1.0, 1.0):
            wall = (0.0, side * 0.024, _TOP / 2)
            box(toaster, (length + 0.012, 0.024 - width, _TOP / 2), STEEL, wall)
            end = (side * (length + 0.006), 0.0, _TOP / 2)
            box(toaster, (0.006, width, _TOP / 2), STEEL, end)
        box(toaster, (0.024, 0.024, 0.016), BLACK, (*_BUTTON, 0.016))
        button = toaster.add_body(name="button", pos=[*_BUTTON, 0.0])
        box(button, (0.012, 0.012, 0.010), RED, (0.0, 0.0, _BUTTON_TOP - 0.010), mass=0.02)
        button.add_joint(
            name="button",
            type=mujoco.mjtJoint.mjJNT_SLIDE,
            axis=[0.0, 0.0, -1.0],
            range=[0.0, _TRAVEL],
            limited=mujoco.mjtLimited.mjLIMITED_TRUE,
            frictionloss=3.0,  # it stays where it was pressed to
            damping=5.0,
            armature=0.05,
        )

    def sample(self, rng: np.random.Generator, radius: float) -> dict[str, Array]:
        """Rack on the left, toaster in the middle, within reach of both arms."""
        toaster = within_disc(rng, (0.235, 0.06), radius / 2)
        rack = within_disc(rng, (0.25, 0.33), radius)
        yaw = rng.uniform(-0.3, 0.3)
        return {
            "toaster": pose_on_table(toaster, 0.0),
            "rack": pose_on_table(rack, 0.0, yaw),
            "slice": pose_on_table(rack, _SLICE[2], yaw),
        }

    def score(self, world: SimWorld) -> float:
        """0.25 slice out of the rack, 0.5 in the slot, 1 and the button pressed."""
        bread, toaster, rack, _ = world.object_poses()
        if self._in_slot(bread, toaster):
            return 1.0 if world.joint_position("button") > 0.7 * _TRAVEL else 0.5
        away = bread[2] > _SLICE[2] + 0.03 or np.linalg.norm(bread[:2] - rack[:2]) > 0.06
        return 0.25 if away else 0.0

    def plan(self, world: SimWorld, plan: Plan) -> None:
        """Left carries the slice over; right presses."""
        bread, toaster, _, button = world.object_poses()
        left, right = plan.side("left"), plan.side("right")
        above = _SLICE[2] - _GRASP_BELOW_TOP  # of the tool, over the middle of the slice
        left.pick(bread[:2], height=bread[2] + above, yaw=yaw_of(bread), lift=_LIFT)
        height = _FLOOR + _SLICE[2] + above + 0.002
        left.place(toaster[:2], height=height, yaw=yaw_of(toaster), clearance=_LIFT)
        plan.synchronise()
        left.home()
        fingertip = 0.010  # below the tool
        right.grip(0.0)
        right.move(tool_down([*button[:2], _BUTTON_TOP + fingertip + 0.05]))
        right.move(tool_down([*button[:2], _BUTTON_TOP - _TRAVEL + fingertip - 0.003]))
        right.wait(0.3)
        right.lift_to(_BUTTON_TOP + fingertip + 0.05)
        right.home()
        right.grip(1.0)

    @staticmethod
    def _in_slot(bread: Array, toaster: Array) -> bool:
        rotation = quaternion_to_matrix(toaster[3:])
        x, y, z = rotation.T @ (bread[:3] - toaster[:3])
        low = z < _FLOOR + _SLICE[2] + 0.012
        return bool(abs(x) < 0.03 and abs(y) < _SLOT[1] and low and upright(bread, 0.35))
