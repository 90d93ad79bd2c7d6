"""The solids of the cell: what each part of an arm, gripper and obstacle fills."""

from dataclasses import dataclass

import coal
import numpy as np
from numpy.typing import ArrayLike, NDArray

from ate_core.arm_model import BASE, ArmModel, Capsule, load_arm_model
from ate_core.devices import ArmConfig
from ate_core.geometry import pose_to_matrix, transform
from ate_core.gripper_shapes import GripperShapes
from ate_core.guard_config import Obstacle
from ate_core.kinematics import SerialChain

Array = NDArray[np.float64]

GRIPPER = "gripper"
"""Name of the part behind the last joint."""
UNKNOWN_RADIUS = 0.06
"""Radius of the links of an arm that describes neither capsules nor a simulation [m]."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Solid:
    """One convex solid, fixed to one part of the cell."""

    part: str
    """What it belongs to, in words for messages, for instance ``left joint4``."""
    shape: coal.CollisionGeometry
    """Its shape."""
    placement: Array
    """Transform (4, 4) from its own frame to that of its joint, or to the world."""


def arm_solids(side: str, arm: ArmConfig, gripper: GripperShapes) -> list[list[Solid]]:
    """Solids of an arm by part: base, the link behind each joint, gripper last.

    Those of the base are placed in the frame of the base, the gripper's in that of the last joint.
    """
    model = load_arm_model(arm.model)
    chain = model.chain()
    capsules = model.capsules or _plain_capsules(model, chain)
    names = (BASE, *model.joints)
    parts = [
        [_capsule(f"{side} {name}", capsule) for capsule in capsules.get(name, ())]
        for name in names
    ]
    part = f"{side} {GRIPPER}"
    solids = [
        Solid(
            part=part,
            shape=coal.Box(*(2.0 * value for value in box.half)),
            placement=chain.tip @ transform(np.eye(3), box.centre),
        )
        for box in gripper.boxes
    ]
    solids += [_capsule(part, capsule, chain.tip) for capsule in gripper.capsules]
    return [*parts, solids]


def obstacle_solid(name: str, obstacle: Obstacle) -> Solid:
    """Solid of a declared obstacle, placed in the world."""
    size = obstacle.size
    shapes = {"box": coal.Box, "cylinder": coal.Cylinder, "sphere": coal.Sphere}
    shape = shapes.get(obstacle.shape, coal.Capsule)(*size)
    return Solid(part=name, shape=shape, placement=pose_to_matrix(obstacle.pose))


def levers(chain: SerialChain, gripper: GripperShapes) -> Array:
    """Largest distance (n,) of any point behind each joint from that joint, at any posture [m]."""
    corners = [np.abs(box.centre) + np.abs(box.half) for box in gripper.boxes]
    corners += [
        np.maximum(np.abs(capsule.start), np.abs(capsule.end)) + capsule.radius
        for capsule in gripper.capsules
    ]
    behind = max((float(np.linalg.norm(corner)) for corner in corners), default=0.0)
    lengths = [float(np.linalg.norm(joint.origin[:3, 3])) for joint in chain.joints[1:]]
    lengths.append(float(np.linalg.norm(chain.tip[:3, 3])) + behind)
    return np.cumsum(lengths[::-1])[::-1].copy()


def _plain_capsules(model: ArmModel, chain: SerialChain) -> dict[str, tuple[Capsule, ...]]:
    """Links of an arm whose model says nothing: straight from joint to joint."""
    ends = [joint.origin[:3, 3] for joint in chain.joints[1:]] + [chain.tip[:3, 3]]
    count = len(chain.joints)
    radii = model.simulation.radius if model.simulation else (UNKNOWN_RADIUS,) * count
    zero = (0.0, 0.0, 0.0)
    links = {
        joint.name: (Capsule(start=zero, end=tuple(float(x) for x in end), radius=float(radius)),)
        for joint, end, radius in zip(chain.joints, ends, radii, strict=True)
    }
    first = tuple(float(x) for x in chain.joints[0].origin[:3, 3])
    return {BASE: (Capsule(start=zero, end=first, radius=float(radii[0])),), **links}


def _capsule(part: str, capsule: Capsule, placement: ArrayLike | None = None) -> Solid:
    start, end = np.asarray(capsule.start), np.asarray(capsule.end)
    length = float(np.linalg.norm(end - start))
    shape = coal.Capsule(capsule.radius, length) if length > 0.0 else coal.Sphere(capsule.radius)
    frame = np.eye(4) if placement is None else np.asarray(placement)
    own = transform(_turn_z_to(end - start), (start + end) / 2.0)
    return Solid(part=part, shape=shape, placement=frame @ own)


def _turn_z_to(direction: Array) -> Array:
    """A rotation (3, 3) that takes z to the direction."""
    length = float(np.linalg.norm(direction))
    if length == 0.0:
        return np.eye(3)
    z = direction / length
    x = np.cross([0.0, 1.0, 0.0] if abs(z[1]) < 0.9 else [1.0, 0.0, 0.0], z)
    x /= np.linalg.norm(x)
    return np.column_stack([x, np.cross(z, x), z])
