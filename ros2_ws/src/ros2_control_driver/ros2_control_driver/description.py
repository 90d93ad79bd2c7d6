"""What a robot description (URDF) says of an arm's joints."""

import math
import xml.etree.ElementTree as ET
from collections.abc import Sequence

import numpy as np

from arm_driver.interface import ArmIdentity


def identity_of_urdf(
    text: str, name: str, joint_names: Sequence[str], joint_speed: Sequence[float]
) -> ArmIdentity:
    """Which arm a description is of; a misfit where it cannot be the one of the cell.

    Args:
        text: URDF as published.
        name: what the identity is called in diagnostics.
        joint_names: joints of the cell's arm, base first.
        joint_speed: their largest speeds in the cell's model [rad/s].
    """
    try:
        robot = ET.fromstring(text)
    except ET.ParseError as error:
        return ArmIdentity(name=name, misfit=f"the robot description is not readable ({error})")
    joints = {joint.get("name", ""): joint for joint in robot.findall("joint")}
    missing = [joint for joint in joint_names if joint not in joints]
    if missing:
        return ArmIdentity(
            name=name,
            misfit=f"the robot description lacks {', '.join(missing)}: correct joint_names or "
            "the description's topic in the cell file",
        )
    try:
        rows = np.array([_bounds(joints[joint]) for joint in joint_names])
    except ValueError as error:
        return ArmIdentity(name=name, misfit=f"the robot description has limits that are {error}")
    lower, upper, speed = rows.T
    slow = [index for index, own in enumerate(speed) if own < joint_speed[index] - 1e-6]
    misfit = "" if not slow else (
        f"the robot description allows {joint_names[slow[0]]} {speed[slow[0]]:.2f} rad/s, the "
        f"model {joint_speed[slow[0]]:.2f} rad/s: correct one of the two"
    )  # fmt: skip
    return ArmIdentity(
        name=name,
        joints=len(joint_names),
        lower=lower,
        upper=upper,
        model=robot.get("name", ""),
        misfit=misfit,
    )


def _bounds(joint: ET.Element) -> tuple[float, float, float]:
    """Lower, upper [rad] and speed [rad/s]; the soft limits where they are narrower."""
    limit, soft = joint.find("limit"), joint.find("safety_controller")
    lower, upper, speed = -math.inf, math.inf, math.inf
    if limit is not None:
        if joint.get("type") != "continuous":
            lower = float(limit.get("lower", 0.0))
            upper = float(limit.get("upper", 0.0))
        speed = float(limit.get("velocity", math.inf))
    if soft is not None:
        lower = max(lower, float(soft.get("soft_lower_limit", -math.inf)))
        upper = min(upper, float(soft.get("soft_upper_limit", math.inf)))
    if any(math.isnan(value) for value in (lower, upper, speed)):
        raise ValueError(f"{lower} to {upper} rad, {speed} rad/s")
    return lower, upper, speed
