"""Read the chain of joints of a URDF, and change the lengths and joints of one."""

import xml.etree.ElementTree as ET
from collections.abc import Collection, Mapping

import numpy as np
from numpy.typing import NDArray

from ate_core.errors import ContractError
from ate_core.geometry import rpy_to_matrix, transform
from ate_core.kinematics import Joint, SerialChain

FLANGE = "flange"


def parse_chain(urdf_text: str, tip: str = FLANGE) -> SerialChain:
    """Chain of movable joints from the root link to ``tip`` of a URDF text.

    Raises:
        ContractError: it is no URDF, has no such link, or a joint type other than revolute and
            fixed.
    """
    by_child = {_link(joint, "child"): joint for joint in _parse(urdf_text).iterfind("joint")}
    path: list[ET.Element] = []
    link = tip
    while link in by_child:
        path.insert(0, by_child[link])
        link = _link(by_child[link], "parent")
    if not path:
        raise ContractError(f"the URDF has no joint above a link {tip!r}")
    joints: list[Joint] = []
    pending = np.eye(4)  # fixed joints are folded into the next movable one, or into the tip
    for element in path:
        pending = pending @ _origin(element)
        if element.get("type") == "fixed":
            continue
        joints.append(_joint(element, pending))
        pending = np.eye(4)
    return SerialChain(joints=tuple(joints), tip=pending)


def change_lengths(
    urdf_text: str, name: str, scale: Mapping[str, float], locked: Collection[str]
) -> str:
    """URDF text of a similar arm.

    Args:
        urdf_text: the arm it is made from.
        name: name of the new robot.
        scale: joint -> length of the link before it, over its own length.
        locked: joints that become fixed, at zero.

    Raises:
        ContractError: there is no such joint.
    """
    root = _parse(urdf_text)
    joints = {joint.get("name", ""): joint for joint in root.iterfind("joint")}
    for joint in (*scale, *locked):
        if joint not in joints:
            raise ContractError(
                f"{name!r} changes the joint {joint!r}, which is not in the URDF: it has "
                f"{', '.join(joints)}"
            )
    for joint, factor in scale.items():
        origin = joints[joint].find("origin")
        if origin is not None:
            xyz = _numbers(origin, "xyz", "0 0 0") * factor
            origin.set("xyz", " ".join(repr(float(value)) for value in xyz))
        _scale_link(root, _link(joints[joint], "parent"), factor)
    for joint in locked:
        joints[joint].set("type", "fixed")
    root.set("name", name)
    return ET.tostring(root, encoding="unicode")


def _parse(urdf_text: str) -> ET.Element:
    try:
        return ET.fromstring(urdf_text)
    except ET.ParseError as error:
        raise ContractError(f"the URDF is not valid XML ({error}): mend it") from None


def _scale_link(root: ET.Element, name: str, scale: float) -> None:
    """Stretch the shapes of a link along its length with the distance between its joints."""
    for link in root.iter("link"):
        if link.get("name") != name:
            continue
        for origin in link.iter("origin"):
            x, y, z = _numbers(origin, "xyz", "0 0 0")
            origin.set("xyz", f"{float(x)!r} {float(y)!r} {float(z * scale)!r}")
        for cylinder in link.iter("cylinder"):
            cylinder.set("length", repr(_number(cylinder, "length") * scale))


def _link(joint: ET.Element, end: str) -> str:
    element = joint.find(end)
    return "" if element is None else element.get("link", "")


def _numbers(element: ET.Element | None, key: str, default: str) -> NDArray[np.float64]:
    text = default if element is None else element.get(key, default)
    try:
        values = [float(word) for word in text.split()]
    except ValueError:
        values = []
    if len(values) != 3 or not np.isfinite(values).all():
        raise ContractError(f"{key} is {text!r} in the URDF; need three finite numbers")
    return np.array(values)


def _number(element: ET.Element, key: str) -> float:
    text = element.get(key, "0")
    try:
        value = float(text)
    except ValueError:
        value = float("nan")
    if not np.isfinite(value):
        raise ContractError(f"{key} is {text!r} in the URDF; need a finite number")
    return value


def _origin(joint: ET.Element) -> NDArray[np.float64]:
    origin = joint.find("origin")
    rotation = rpy_to_matrix(_numbers(origin, "rpy", "0 0 0"))
    return transform(rotation, _numbers(origin, "xyz", "0 0 0"))


def _joint(element: ET.Element, origin: NDArray[np.float64]) -> Joint:
    name = element.get("name", "")
    limit = element.find("limit")
    if element.get("type") != "revolute" or limit is None:
        raise ContractError(
            f"joint {name!r} is {element.get('type')!r}; only revolute joints with limits and "
            "fixed joints are supported"
        )
    axis = _numbers(element.find("axis"), "xyz", "1 0 0")
    length = float(np.linalg.norm(axis))
    if length == 0.0:
        raise ContractError(
            f"joint {name!r} has an axis of length 0 in the URDF: give a direction"
        )
    return Joint(
        name=name,
        origin=origin,
        axis=axis / length,
        lower=_number(limit, "lower"),
        upper=_number(limit, "upper"),
        speed=_number(limit, "velocity"),
        effort=_number(limit, "effort"),
    )
