"""What must not be there twice in a cell, nor on the wrong side: addresses, names, ports."""

import re
from collections.abc import Iterable
from dataclasses import fields
from typing import get_args

from ate_core.checked_cell import Cell, Check, Problems
from ate_core.device_names import gripper_device, is_local, resolve
from ate_core.devices import Side
from ate_core.drivers import ROS_NAMES
from ate_core.entry_checks import RosName
from ate_core.topics import FIXED, Topics


def _shared(entries: Iterable[tuple[str, str]], remedy: str) -> Problems:
    """One sentence for each entry whose value another has already; empty values are not compared.

    Args:
        entries: (place, value).
        remedy: what to do.
    """
    first: dict[str, str] = {}
    for place, value in entries:
        if value and first.setdefault(value.casefold(), place) != place:
            yield f"{first[value.casefold()]} and {place} are both {value}: {remedy}"


def _unique_namespaces(cell: Cell) -> Problems:
    yield from _shared(
        ((f"arms.{side}.namespace", arm.namespace) for side, arm in cell.arms.items()),
        "give each arm its own, or one command moves both",
    )
    for side, arm in cell.arms.items():
        for other in cell.arms:
            if other != side and other in arm.namespace.split("/"):
                yield (
                    f"arms.{side}.namespace is {arm.namespace}, the name of the other side: the "
                    f"{other} operator would move this arm; need for instance /{side}"
                )
        gripper = cell.grippers[side]
        if gripper.namespace != arm.namespace:
            yield (
                f"grippers.{side}.namespace is {gripper.namespace}; need {arm.namespace}, that of "
                "its arm"
            )


def _unique_joint_names(cell: Cell) -> Problems:
    names = [
        (f"arms.{side}.joint_names[{index}]", name)
        for side, arm in cell.arms.items()
        for index, name in enumerate(arm.joint_names)
    ]
    yield from _shared(names, "give each joint of the cell its own name")
    for side, arm in cell.arms.items():
        for name in arm.joint_names:
            for other in cell.arms:
                if other != side and name.startswith(f"{other}_"):
                    yield (
                        f"arms.{side}.joint_names has {name!r}, a name of the other side: the "
                        f"commands of the {other} arm would fit this one; need {side}_..."
                    )


def _unique_controllers(cell: Cell) -> Problems:
    """Two arms behind one address are one arm, which both operators move."""
    remedy = "give each arm the address of its own controller, or both operators move one arm"
    arms = cell.arms.items()
    yield from _shared(
        ((f"arms.{s}.ip:tcp_port", f"{a.ip}:{a.tcp_port}" if a.ip else "") for s, a in arms),
        remedy,
    )
    hosts = [(f"arms.{side}.ip", arm.ip) for side, arm in arms if not is_local(arm.ip)]
    headsets = [
        (f"operators.{side}.headset_ip", one.headset_ip)
        for side, one in cell.operators.items()
        if not is_local(one.headset_ip)
    ]
    if len({(arm.ip, arm.tcp_port) for _, arm in arms}) == len(arms):  # else said already
        yield from _shared(hosts, remedy)
    for place, value in headsets:
        for other, taken in hosts:
            if value and value == taken:
                yield f"{other} and {place} are both {value}: an arm is no headset, correct one"


def _unique_driver_topics(cell: Cell) -> Problems:
    options = [
        (f"arms.{side}.options.{key}", value)
        for side, arm in cell.arms.items()
        for key, value in arm.options.items()
        if key.endswith("_topic")
    ]
    own = {value: place for place, value in _absolute_names(cell)}
    for side, arm in cell.arms.items():
        for key, value in arm.options.items():
            wrong = RosName().problem(value) if key in ROS_NAMES else ""
            if wrong:
                yield f"arms.{side}.options.{key} {wrong}"
    for place, value in options:
        if value in own:
            yield f"{place} and {own[value]} are both {value}: give each its own topic"
    yield from _shared(options, "give each its own topic, or both drive one arm")


def _unique_grippers(cell: Cell) -> Problems:
    yield from _shared(
        ((f"grippers.{side}.port", gripper_device(one)) for side, one in cell.grippers.items()),
        "a port is opened by one driver, give each gripper its own adapter",
    )


def _unique_cameras(cell: Cell) -> Problems:
    serials = [(f"cameras.{role}.serial", resolve(c.serial)) for role, c in cell.cameras.items()]
    yield from _shared(serials, "give each camera its own, or two roles show one picture")
    for place, device in serials:
        for side, gripper in cell.grippers.items():
            if "/" in device and device == resolve(gripper.port):
                yield (
                    f"grippers.{side}.port and {place} are both {device}: a gripper is no camera, "
                    "correct one"
                )


def _unique_operators(cell: Cell) -> Problems:
    for side, one in cell.operators.items():
        if one.arm != side:
            yield (
                f"operators.{side}.arm is {one.arm}; need {side}: operators are named after the "
                "arm that they drive"
            )
    yield from _shared(
        ((f"operators.{side}.headset_ip", one.headset_ip) for side, one in cell.operators.items()),
        "give each operator the address of the own headset, or one person moves both arms",
    )
    yield from _shared(
        (
            (f"operators.{side}.joycon_serial", one.joycon_serial.replace(":", ""))
            for side, one in cell.operators.items()
        ),
        "give each operator the own Joy-Con, or one clutch engages both arms",
    )


def _sides(cell: Cell) -> Problems:
    """What is named after one side belongs to that side."""
    named = [
        (side, f"arms.{side}.options.{key}", value)
        for side, arm in cell.arms.items()
        for key, value in arm.options.items()
    ]
    named += [(side, f"grippers.{side}.port", one.port) for side, one in cell.grippers.items()]
    for role, camera in cell.cameras.items():
        for side in _sides_in(role):
            named.append((side, f"cameras.{role}.key", camera.key))
            named.append((side, f"cameras.{role}.serial", camera.serial))
            if camera.view is not None:
                named.append((side, f"cameras.{role}.view.mount", camera.view.mount))
    for side, place, value in named:
        others = _sides_in(value) - {side}
        if others and side not in _sides_in(value):
            yield (
                f"{place} is {value}, which is named after the other side: need what belongs to "
                f"the {side} one, or a name without {others.pop()}"
            )


def _sides_in(name: str) -> set[str]:
    """Sides that are words of a name."""
    return set(get_args(Side)) & set(re.split(r"[^a-z]+", name.casefold()))


def _names(topics: Topics) -> list[tuple[str, str]]:
    return [(field.name, getattr(topics, field.name)) for field in fields(topics)]


def _absolute_names(cell: Cell) -> list[tuple[str, str]]:
    """(place, name) of every topic and service that the nodes of a cell use."""
    named = [("a name of every cell", value) for value in FIXED]
    for name, value in _names(cell.topics):
        if value.startswith("/"):
            named.append((f"topics.{name}", value))
            continue
        named += [
            (f"topics.{name} of the {side} arm", cell.topics.of_arm(arm.namespace, value))
            for side, arm in cell.arms.items()
        ]
    return named


def _topic_names(cell: Cell) -> Problems:
    usual = Topics()
    for name, value in _names(cell.topics):
        wrong = RosName(getattr(usual, name).startswith("/")).problem(value)
        if wrong:
            yield f"topics.{name} {wrong}"
    remedy = "give each its own name"
    shared = [*_shared(((f"topics.{n}", value) for n, value in _names(cell.topics)), remedy)]
    yield from shared or _shared(_absolute_names(cell), remedy)


UNIQUE_CHECKS: tuple[Check, ...] = (
    _unique_namespaces,
    _unique_joint_names,
    _unique_controllers,
    _unique_driver_topics,
    _unique_grippers,
    _unique_cameras,
    _unique_operators,
    _sides,
    _topic_names,
)
"""Checks that make sense of entries out of range too."""
