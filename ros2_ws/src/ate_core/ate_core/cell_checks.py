"""What no single entry of a cell file can show: what must fit together.

Each check yields one sentence per problem: the entries, their values, the bound and the remedy.
They hold for cell *files*; texts embedded in recordings are read without them.
"""

import os
from collections.abc import Iterable
from typing import get_args

import numpy as np
from numpy.typing import NDArray

from ate_core.arm_model import load_arm_model, tool_chain
from ate_core.camera_config import WORLD_MOUNT
from ate_core.checked_cell import Cell, Check, Problems
from ate_core.device_checks import (
    camera_addresses,
    gripper_lines,
    gripper_ports,
    headsets,
    obstacle_names,
    tick_rates,
    vector_fields,
)
from ate_core.device_names import is_local
from ate_core.devices import ArmConfig, Side
from ate_core.geometry import inverse, pose_to_matrix
from ate_core.gripper_shapes import load_gripper
from ate_core.guard_config import GuardConfig, Obstacle
from ate_core.stream_checks import (
    LIMIT_TOLERANCE,
    braking,
    pushes,
    steps,
    stream_rates,
    timeouts,
)
from ate_core.unique_checks import UNIQUE_CHECKS

Array = NDArray[np.float64]
SIDES = get_args(Side)

BASE_DISTANCE = 0.15
"""Smallest distance of two bases [m]: their housings are that wide."""
CLEARANCE = 0.01
"""Smallest distance of a resting arm's joints and grasp point from an obstacle [m]."""
LEAST_STOP = 0.005
"""Smallest distance at which the guard stops an arm [m]."""
CARRIED = 0.5
"""Largest distance of a carried camera from its flange [m]."""
LOWEST_CAMERA = -0.5
"""Lowest place of a camera that stands in the cell [m]."""
TOOL_DISTANCE = 0.10
"""Smallest distance of two resting grasp points [m]: a gripper is that wide."""


def _vector_units(cell: Cell) -> Problems:
    units = {f"{side}_arm": "rad" for side in cell.arms} | {
        f"{side}_gripper": "ratio" for side in cell.arms
    }
    for vector in ("state", "action"):
        for entry in getattr(cell.vectors, vector):
            unit = units.get(entry.name, entry.unit)
            if entry.unit != unit:
                yield (
                    f"vectors.{vector} gives {entry.name} in {entry.unit}; need {unit}, which is "
                    "what messages and recordings carry"
                )


def _model_bounds(cell: Cell) -> Problems:
    for side, arm in cell.arms.items():
        model = load_arm_model(arm.model)
        where = f"arms.{side}"
        for index, name in enumerate(arm.joint_names):
            low, high, speed = model.lower[index], model.upper[index], model.speed[index]
            remedy = f"a cell may only narrow what the model {model.name} allows"
            for key, value in (
                ("joint_lower", arm.joint_lower[index]),
                ("joint_upper", arm.joint_upper[index]),
            ):
                if not low - LIMIT_TOLERANCE <= value <= high + LIMIT_TOLERANCE:
                    yield (
                        f"{where}.{key} of {name} is {value:g} rad; need {low:g} to {high:g}: "
                        f"{remedy}"
                    )
            if arm.joint_speed[index] > speed + LIMIT_TOLERANCE:
                yield (
                    f"{where}.joint_speed of {name} is {arm.joint_speed[index]:g} rad/s; need at "
                    f"most {speed:g}: {remedy}"
                )
        if model.payload is not None and arm.payload_kg > model.payload:
            yield (
                f"{where}.payload_kg is {arm.payload_kg:g} kg; the model {model.name} carries at "
                f"most {model.payload:g} kg, tool included: weigh the tool again"
            )


def _tools(cell: Cell) -> Problems:
    """The guard knows of nothing beyond the gripper's shapes."""
    reach = load_gripper(cell.guard.gripper).reach
    for side, arm in cell.arms.items():
        if arm.tool_length > reach:
            yield (
                f"arms.{side}.tool_length is {arm.tool_length:g} m; need at most {reach:g} m, "
                f"where the shapes of guard.gripper {cell.guard.gripper} end: the guard keeps "
                "nothing away from what is longer, give it a gripper with shapes of your fingers"
            )


def _home(cell: Cell) -> Problems:
    """The resting postures lie within what may be commanded, clear of obstacles, and apart."""
    tools: dict[str, Array] = {}
    for side, arm in cell.arms.items():
        lower, upper = arm.bounds(cell.safety.position_margin)
        for name, low, angle, high in zip(arm.joint_names, lower, arm.home, upper, strict=True):
            if not low <= angle <= high:
                yield (
                    f"arms.{side}.home of {name} is {angle:g} rad; need {low:g} to {high:g}, the "
                    "limits less safety.position_margin: move home inside"
                )
        points = _resting_points(arm)
        tools[side] = points[-1]
        yield from _in_workspace(cell.guard, side, tools[side])
        for name, obstacle in cell.obstacles.items():
            clear = min(distance_to(obstacle, point) for point in points)
            if clear < CLEARANCE:
                yield (
                    f"arms.{side}.home puts the arm {1e3 * clear:.0f} mm from the obstacle {name}"
                    f"; need {1e3 * CLEARANCE:.0f} mm: correct home, base_pose or the obstacle"
                )
    if len(tools) == len(SIDES):
        apart = float(np.linalg.norm(np.subtract(*tools.values())))
        if apart < TOOL_DISTANCE:
            yield (
                f"arms.left.home and arms.right.home put the grasp points {1e3 * apart:.0f} mm "
                f"apart; need {1e3 * TOOL_DISTANCE:.0f} mm: correct home or base_pose"
            )


def _resting_points(arm: ArmConfig) -> list[Array]:
    """Joints beyond the shoulder, flange and grasp point at home, in the world (3,) [m]."""
    base = pose_to_matrix(arm.base_pose)
    joints = load_arm_model(arm.model).chain().fk_all(arm.home)[:-1]
    frames = [*joints[2:], tool_chain(arm).fk(arm.home)]
    return [(base @ frame)[:3, 3] for frame in frames]


def _in_workspace(guard: GuardConfig, side: str, tool: Array) -> Problems:
    rows = zip("xyz", guard.workspace_lower, tool, guard.workspace_upper, strict=True)
    for axis, low, place, high in rows:
        if not low <= place <= high:
            yield (
                f"arms.{side}.home puts the grasp point at {place:.3f} m in {axis}; need {low:g} "
                f"to {high:g} m, the guard's workspace: correct home, base_pose or "
                f"guard.workspace_lower and workspace_upper"
            )


def distance_to(obstacle: Obstacle, point: Array) -> float:
    """Distance of a point (3,) in the world from an obstacle [m]; below 0 inside."""
    x, y, z = (inverse(pose_to_matrix(obstacle.pose)) @ np.append(point, 1.0))[:3]
    size = obstacle.size
    if obstacle.shape == "sphere":
        return float(np.linalg.norm((x, y, z))) - size[0]
    if obstacle.shape == "capsule":
        beyond = max(abs(z) - size[1] / 2, 0.0)
        return float(np.linalg.norm((x, y, beyond))) - size[0]
    if obstacle.shape == "cylinder":
        gaps = np.array([np.hypot(x, y) - size[0], abs(z) - size[1] / 2])
    else:
        gaps = np.abs([x, y, z]) - np.array(size) / 2
    return float(np.linalg.norm(np.maximum(gaps, 0.0)) + min(float(np.max(gaps)), 0.0))


def _zones(cell: Cell) -> Problems:
    """Only a gripper may come within millimetres of something: of what it works on."""
    for name in ("arm_arm", "gripper_gripper", "arm_table", "same_arm", "obstacle"):
        stop = getattr(cell.guard, name).stop
        if stop < LEAST_STOP:
            yield (
                f"guard.{name}.stop is {stop:g} m; need at least {LEAST_STOP:g} m: joints droop "
                "and shapes are approximate, so less is contact"
            )


def _bodies(cell: Cell) -> Problems:
    """A simulated cell reaches no real device, and a real one shows no emulated pictures."""
    if cell.hardware == "real":
        for role, camera in cell.cameras.items():
            if camera.backend == "software":
                yield (
                    f"cameras.{role}.backend is software, which shows simulated pictures; need "
                    "realsense or v4l2: write software in simulation.cameras only"
                )
        return
    addresses = [(f"arms.{side}.ip", arm.ip) for side, arm in cell.arms.items()]
    addresses += [
        (f"operators.{side}.headset_ip", one.headset_ip) for side, one in cell.operators.items()
    ]
    for place, address in addresses:
        if not is_local(address):
            yield (
                f"{place} is {address} in simulation; need 127.x.x.x: simulated people would "
                f"move a real device, give simulation.{place} an address of this machine"
            )
    for side, gripper in cell.grippers.items():
        if not os.path.normpath(gripper.port).startswith(f"{os.path.normpath(cell.runtime_dir)}/"):
            yield (
                f"grippers.{side}.port is {gripper.port} in simulation; need one within "
                f"{{runtime_dir}}: simulated people would move a real device, correct "
                f"simulation.grippers.{side}.port"
            )


def _views(cell: Cell) -> Problems:
    """A camera stands in the cell, or is carried near a flange."""
    mounts = (WORLD_MOUNT, *(f"{side}_flange" for side in cell.arms))
    for role, camera in cell.cameras.items():
        view = camera.view
        if view is None:
            continue
        if view.mount not in mounts:
            yield f"camera {role}: mount is {view.mount!r}; need one of {', '.join(mounts)}"
        where = f"cameras.{role}.view.position"
        carried = float(np.linalg.norm(view.position))
        if view.mount.endswith("_flange") and carried > CARRIED:
            yield (
                f"{where} is {carried:.3g} m from {view.mount}; need at most {CARRIED:g} m: it "
                "is given in the frame of the flange"
            )
        if view.mount == WORLD_MOUNT and view.position[2] < LOWEST_CAMERA:
            yield (
                f"{where} is {view.position[2]:g} m high; need at least {LOWEST_CAMERA:g} m: the "
                "table is at 0, and z is up"
            )


def _bases(cell: Cell) -> Problems:
    if len(cell.arms) == 2:
        left, right = (np.array(arm.base_pose[:3]) for arm in cell.arms.values())
        apart = float(np.linalg.norm(left - right))
        if apart < BASE_DISTANCE:
            yield (
                f"arms.left.base_pose and arms.right.base_pose are {1e3 * apart:.0f} mm apart; "
                f"need {1e3 * BASE_DISTANCE:.0f} mm: the bases would stand in each other"
            )


def _left_of_right(cell: Cell) -> Problems:
    across = {side: arm.base_pose[1] for side, arm in cell.arms.items()}
    if len(across) == 2 and across["left"] < across["right"]:
        yield (
            f"arms.left.base_pose is at y {across['left']:g} m and arms.right.base_pose at "
            f"{across['right']:g} m; need the left arm on the left, where y is larger: swap them"
        )


def _devices(cell: Cell) -> Problems:
    yield from vector_fields(cell.arms, cell.vectors)
    yield from headsets(cell.operators)
    yield from obstacle_names(cell.obstacles)
    yield from gripper_lines(cell.grippers, cell.rates.gripper)
    states = {f"rates.{name}": getattr(cell.rates, name) for name in ("arm_state", "gripper")}
    yield from tick_rates(states, cell.tick_rate)
    if cell.hardware == "real":
        yield from gripper_ports(cell.grippers)
        yield from camera_addresses(cell.cameras)
        pictures = {f"cameras.{role}.fps": camera.fps for role, camera in cell.cameras.items()}
        yield from tick_rates(pictures, cell.tick_rate)


DRIVEN_CHECKS: tuple[Check, ...] = (
    _vector_units,
    _model_bounds,
    _tools,
    _home,
    _zones,
    _views,
    _left_of_right,
    _bodies,
    stream_rates,
    pushes,
    timeouts,
    braking,
    steps,
    _devices,
)
"""Checks of a cell whose arms are driven; without operators a robot is only read from files."""
LOADED_CHECKS: tuple[Check, ...] = (*UNIQUE_CHECKS, _bases, *DRIVEN_CHECKS)
"""All checks of a cell whose entries are each in range."""


def cell_problems(cell: Cell, checks: Iterable[Check] = LOADED_CHECKS) -> list[str]:
    """What these checks say of a cell."""
    asked = [check for check in checks if cell.operators or check not in DRIVEN_CHECKS]
    return [problem for check in asked for problem in check(cell)]
