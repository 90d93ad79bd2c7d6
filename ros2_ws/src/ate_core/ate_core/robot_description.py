"""URDF of one arm as it stands in the cell, with the names that its messages carry."""

import xml.etree.ElementTree as ET
from collections.abc import Mapping

import numpy as np
from numpy.typing import ArrayLike

from ate_core.arm_model import load_arm_model
from ate_core.devices import ArmConfig
from ate_core.geometry import quaternion_to_matrix

WORLD = "world"
"""Root of the description: the frame in which the bases of the arms stand."""


def robot_description(side: str, arm: ArmConfig) -> str:
    """The arm's model below the link ``world``, each name with the prefix ``<side>_``.

    The arm's joints have the names that its messages carry.
    The link ``<side>_tool`` is the grasp point.
    """
    model = load_arm_model(arm.model)
    robot = ET.fromstring(model.urdf_text())
    robot.set("name", f"{side}_{model.name}")
    _rename(robot, f"{side}_", dict(zip(model.joints, arm.joint_names, strict=True)))
    links = {str(link.get("name")) for link in robot.iterfind("link")}
    (base,) = links - {str(child.get("link")) for child in robot.iterfind("joint/child")}
    ET.SubElement(robot, "link", name=WORLD)
    turn = roll_pitch_yaw(quaternion_to_matrix(arm.base_pose[3:]))
    fix(robot, f"{side}_mount", WORLD, base, arm.base_pose[:3], turn)
    tool = f"{side}_tool"
    ET.SubElement(robot, "link", name=tool)
    fix(robot, f"{tool}_mount", f"{side}_{model.tip}", tool, (0.0, 0.0, arm.tool_length), (0,) * 3)
    return ET.tostring(robot, encoding="unicode")


def _rename(robot: ET.Element, prefix: str, joints: Mapping[str, str]) -> None:
    """Give every link and joint its name in the cell; joints not listed get the prefix."""

    def joint_name(name: str) -> str:
        return joints.get(name, prefix + name)

    for element in robot.iter():
        name = element.get("name")
        if name is not None and element.tag in ("link", "joint"):
            element.set("name", joint_name(name) if element.tag == "joint" else prefix + name)
        if (link := element.get("link")) is not None:
            element.set("link", prefix + link)
        if (joint := element.get("joint")) is not None:
            element.set("joint", joint_name(joint))


def fix(
    robot: ET.Element, name: str, parent: str, child: str, xyz: ArrayLike, rpy: ArrayLike
) -> None:
    """Fix a link to another.

    Args:
        robot: the URDF.
        name: of the joint.
        parent: link that carries.
        child: link that is carried.
        xyz: its origin in the parent [m].
        rpy: its turns about the parent's fixed axes [rad].
    """
    joint = ET.SubElement(robot, "joint", name=name, type="fixed")
    ET.SubElement(joint, "parent", link=parent)
    ET.SubElement(joint, "child", link=child)
    ET.SubElement(joint, "origin", xyz=numbers(xyz), rpy=numbers(rpy))


def numbers(values: ArrayLike) -> str:
    """Numbers as URDF writes them."""
    return " ".join(repr(float(value)) for value in np.asarray(values))


def roll_pitch_yaw(rotation: ArrayLike) -> tuple[float, float, float]:
    """Turns about the fixed axes x, y, z [rad], as URDF wants them."""
    r = np.asarray(rotation)
    pitch = float(np.arctan2(-r[2, 0], np.hypot(r[0, 0], r[1, 0])))
    if np.hypot(r[0, 0], r[1, 0]) < 1e-9:  # x and z turn about the same axis: leave it to x
        return float(np.arctan2(-r[1, 2], r[1, 1])), pitch, 0.0
    return float(np.arctan2(r[2, 1], r[2, 2])), pitch, float(np.arctan2(r[1, 0], r[0, 0]))
