"""URDF of the whole cell below the link ``world``: arms, grippers, obstacles and camera frames.

Joints have the names of the topics, cameras the frames of their images
(``<role>_color_optical_frame``: x right, y down, z forward). `FrameTree` gives its transforms.
"""

import xml.etree.ElementTree as ET
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ate_core.arm_model import load_arm_model
from ate_core.camera_config import WORLD_MOUNT, CameraView
from ate_core.contract import Cell
from ate_core.geometry import (
    pose_to_matrix,
    quaternion_to_matrix,
    rotation_exp,
    rpy_to_matrix,
    transform,
)
from ate_core.gripper_shapes import load_gripper
from ate_core.robot_description import WORLD, fix, numbers, robot_description, roll_pitch_yaw

Array = NDArray[np.float64]

FRAME_SUFFIX = "_color_optical_frame"
"""Behind the role of a camera: the frame of its images."""
CAMERA_SIZE = (0.06, 0.025, 0.025)
"""Box that is drawn for a camera [m]."""


def cell_description(cell: Cell) -> str:
    """The cell as one URDF."""
    robot = ET.Element("robot", name=cell.name)
    ET.SubElement(robot, "link", name=WORLD)
    for side, arm in cell.arms.items():
        for element in ET.fromstring(robot_description(side, arm)):
            if not (element.tag == "link" and element.get("name") == WORLD):
                robot.append(element)
        gripper = f"{side}_gripper"
        link = ET.SubElement(robot, "link", name=gripper)
        for box in load_gripper(cell.guard.gripper).boxes:
            size = [2.0 * half for half in box.half]
            _solid(link, transform(np.eye(3), box.centre), "box", size=numbers(size))
        flange = f"{side}_{load_arm_model(arm.model).tip}"
        fix(robot, f"{gripper}_mount", flange, gripper, (0.0, 0.0, 0.0), (0.0, 0.0, 0.0))
    for name, obstacle in cell.obstacles.items():
        link = ET.SubElement(robot, "link", name=f"obstacle_{name}")
        shape, measures = _shape(obstacle.shape, obstacle.size)
        _solid(link, pose_to_matrix(obstacle.pose), shape, **measures)
        fix(robot, f"obstacle_{name}_mount", WORLD, f"obstacle_{name}", (0.0,) * 3, (0.0,) * 3)
    for role, camera in cell.cameras.items():
        if camera.view is not None:
            _add_camera(robot, cell, f"{role}{FRAME_SUFFIX}", camera.view)
    ET.indent(robot)
    return ET.tostring(robot, encoding="unicode")


def optical_rotation(view: CameraView) -> Array:
    """Rotation (3, 3) of a camera's optical frame in the frame of its mount."""
    if view.quaternion:
        return quaternion_to_matrix(view.quaternion)
    z = np.subtract(view.look_at, view.position)
    z = z / np.linalg.norm(z)
    x = np.cross(z, view.up)
    x /= np.linalg.norm(x)
    return np.column_stack([x, np.cross(z, x), z])


@dataclass(frozen=True, kw_only=True, eq=False)
class Frame:
    """A link and where it is on its parent."""

    parent: str
    """Link that carries it."""
    child: str
    """The link."""
    transform_child_to_parent: Array
    """Its placement (4, 4)."""


class FrameTree:
    """Frames of a URDF: those that stand and those that joints move."""

    def __init__(self, urdf_text: str) -> None:
        """Read the joints.

        Args:
            urdf_text: URDF whose joints are fixed or revolute.
        """
        self.standing: list[Frame] = []
        """Frames that never move on their parents."""
        self._moving: dict[str, tuple[Frame, Array]] = {}
        for joint in ET.fromstring(urdf_text).iterfind("joint"):
            frame = Frame(
                parent=_attribute(joint, "parent", "link"),
                child=_attribute(joint, "child", "link"),
                transform_child_to_parent=_placement(joint),
            )
            if joint.get("type") == "fixed":
                self.standing.append(frame)
            else:
                axis = np.array([float(v) for v in _attribute(joint, "axis", "xyz").split()])
                self._moving[joint.get("name", "")] = (frame, axis / np.linalg.norm(axis))

    def moved(self, positions: Mapping[str, float]) -> Iterator[Frame]:
        """Frames behind joints at some angles [rad]; names that are no joint are passed over."""
        for name, angle in positions.items():
            if name not in self._moving:
                continue
            frame, axis = self._moving[name]
            turn = transform(rotation_exp(axis * angle), np.zeros(3))
            yield Frame(
                parent=frame.parent,
                child=frame.child,
                transform_child_to_parent=frame.transform_child_to_parent @ turn,
            )


def _add_camera(robot: ET.Element, cell: Cell, name: str, view: CameraView) -> None:
    parent = WORLD
    if view.mount != WORLD_MOUNT:
        side = view.mount.removesuffix("_flange")
        parent = f"{side}_{load_arm_model(cell.arms[side].model).tip}"
    link = ET.SubElement(robot, "link", name=name)
    _solid(link, np.eye(4), "box", size=numbers(CAMERA_SIZE))
    rotation = optical_rotation(view)
    fix(robot, f"{name}_mount", parent, name, view.position, roll_pitch_yaw(rotation))


def _shape(shape: str, size: tuple[float, ...]) -> tuple[str, dict[str, str]]:
    """Element of URDF for an obstacle; a capsule is drawn as the cylinder between its ends."""
    if shape == "box":
        return "box", {"size": numbers(size)}
    if shape == "sphere":
        return "sphere", {"radius": repr(size[0])}
    return "cylinder", {"radius": repr(size[0]), "length": repr(size[1])}


def _solid(link: ET.Element, placement: ArrayLike, shape: str, **measures: str) -> None:
    frame = np.asarray(placement)
    for tag in ("visual", "collision"):
        element = ET.SubElement(link, tag)
        xyz, rpy = numbers(frame[:3, 3]), numbers(roll_pitch_yaw(frame[:3, :3]))
        ET.SubElement(element, "origin", xyz=xyz, rpy=rpy)
        ET.SubElement(ET.SubElement(element, "geometry"), shape, measures)


def _attribute(joint: ET.Element, tag: str, key: str) -> str:
    element = joint.find(tag)
    return "" if element is None else element.get(key, "")


def _placement(joint: ET.Element) -> Array:
    origin = joint.find("origin")
    if origin is None:
        return np.eye(4)
    xyz, rpy = (
        np.array([float(value) for value in origin.get(key, "0 0 0").split()])
        for key in ("xyz", "rpy")
    )
    return transform(rpy_to_matrix(rpy), xyz)
