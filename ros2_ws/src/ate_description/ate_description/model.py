"""Load the URDF, read its chain of joints and derive other embodiments from it."""

import importlib.resources
import xml.etree.ElementTree as ET
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ate_core.errors import ContractError
from ate_core.geometry import rpy_to_matrix, transform
from ate_core.kinematics import Joint, SerialChain

FLANGE = "flange"


@dataclass(frozen=True, kw_only=True)
class Embodiment:
    """How another arm differs from the RM75; used to make pre-training motion."""

    name: str
    """Name of the embodiment."""
    upper_arm_scale: float = 1.0
    """Length of the upper arm, shoulder to elbow, over the RM75's."""
    forearm_scale: float = 1.0
    """Length of the forearm, elbow to wrist, over the RM75's."""
    locked_joints: tuple[str, ...] = ()
    """Joints that this arm does not have; they stay at zero."""


def load_urdf_text(version: str = "rm75_6f") -> str:
    """URDF text of an arm version.

    Raises:
        ContractError: there is no such version.
    """
    file = importlib.resources.files("ate_description") / "urdf" / f"{version}.urdf"
    if not file.is_file():
        raise ContractError(f"there is no arm description {version!r}; known: rm75_6f")
    return file.read_text()


def load_chain(embodiment: Embodiment | None = None) -> SerialChain:
    """Chain of an arm from its base to the flange; the RM75-6F unless told otherwise."""
    return parse_chain(load_urdf_text() if embodiment is None else urdf_variant(embodiment))


def parse_chain(urdf_text: str, tip: str = FLANGE) -> SerialChain:
    """Chain of movable joints from the root link to ``tip`` of a URDF text.

    Raises:
        ContractError: the URDF has no such link or a joint type other than revolute and fixed.
    """
    by_child = {_link(joint, "child"): joint for joint in ET.fromstring(urdf_text).iter("joint")}
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


def urdf_variant(embodiment: Embodiment) -> str:
    """URDF text of another embodiment: scaled arm lengths, locked joints made fixed."""
    root = ET.fromstring(load_urdf_text())
    scales = {"joint3": embodiment.upper_arm_scale, "joint5": embodiment.forearm_scale}
    names = {joint.get("name", "") for joint in root.iter("joint")}
    for name in embodiment.locked_joints:
        if name not in names:
            raise ContractError(f"embodiment {embodiment.name!r} locks {name!r}: no such joint")
    for joint in root.iter("joint"):
        name = joint.get("name", "")
        origin = joint.find("origin")
        if name in scales and origin is not None:
            xyz = _numbers(origin, "xyz", "0 0 0") * scales[name]
            origin.set("xyz", " ".join(repr(float(value)) for value in xyz))
        if name in embodiment.locked_joints:
            joint.set("type", "fixed")
    for link, scale in (("link2", scales["joint3"]), ("link4", scales["joint5"])):
        _scale_link(root, link, scale)
    root.set("name", embodiment.name)
    return ET.tostring(root, encoding="unicode")


def _scale_link(root: ET.Element, name: str, scale: float) -> None:
    """Stretch the shapes of a link along its length with the distance between its joints."""
    for link in root.iter("link"):
        if link.get("name") != name:
            continue
        for origin in link.iter("origin"):
            x, y, z = _numbers(origin, "xyz", "0 0 0")
            origin.set("xyz", f"{float(x)!r} {float(y)!r} {float(z * scale)!r}")
        for cylinder in link.iter("cylinder"):
            cylinder.set("length", repr(float(cylinder.get("length", "0")) * scale))


def _link(joint: ET.Element, end: str) -> str:
    element = joint.find(end)
    return "" if element is None else element.get("link", "")


def _numbers(element: ET.Element | None, key: str, default: str) -> NDArray[np.float64]:
    text = default if element is None else element.get(key, default)
    return np.array([float(word) for word in text.split()])


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
    return Joint(
        name=name,
        origin=origin,
        axis=axis / np.linalg.norm(axis),
        lower=float(limit.get("lower", "0")),
        upper=float(limit.get("upper", "0")),
        speed=float(limit.get("velocity", "0")),
        effort=float(limit.get("effort", "0")),
    )
