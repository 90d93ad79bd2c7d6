"""Whether entries of grippers, cameras and vectors can work together in a cell that is driven."""

import re
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from ate_core.camera_config import CameraConfig
from ate_core.checked_cell import Problems
from ate_core.devices import ArmConfig, GripperConfig, OperatorConfig

LONGEST_READ = 0.015
"""Longest wait for the report of a gripper [s]."""
READ_SHARE = 0.8
"""Share of the time between two polls that this wait may take."""
EXCHANGE_BITS = 2 * 12 * 10
"""Bits of a question and its answer on a serial line: 12 bytes each, with start and stop."""
LINK = re.compile(r"[A-Za-z][\w-]{0,63}", re.ASCII)
"""Name of a link."""
INTERFACE = re.compile(r"[A-Za-z0-9][\w.-]{0,14}")
"""Name of a network interface, for instance can0."""


def read_limit(rate: float) -> float:
    """Longest wait for the report of a gripper [s] that is polled at ``rate`` [Hz]."""
    return min(LONGEST_READ, READ_SHARE / rate)


def gripper_lines(grippers: Mapping[str, GripperConfig], rate: float) -> Problems:
    """A serial line carries question and answer in the time that a poll waits.

    Args:
        grippers: by side.
        rate: of their polls [Hz].
    """
    for side, gripper in grippers.items():
        exchange, limit = EXCHANGE_BITS / gripper.baud, read_limit(rate)
        if gripper.transport == "rs485" and exchange >= limit:
            yield (
                f"grippers.{side}.baud is {gripper.baud} bit/s: question and answer take "
                f"{1e3 * exchange:.1f} ms; need less than the {1e3 * limit:.1f} ms that one of "
                f"{rate:g} polls per second waits (rates.gripper): raise baud to 115200, as "
                "delivered"
            )


def gripper_ports(grippers: Mapping[str, GripperConfig]) -> Problems:
    """The port has the form that its transport opens.

    Args:
        grippers: by side, of a real cell.
    """
    for side, gripper in grippers.items():
        where = f"grippers.{side}.port is {gripper.port!r} for transport {gripper.transport}"
        if gripper.transport == "socketcan":
            if not INTERFACE.fullmatch(gripper.port):
                yield f"{where}; need the name of a CAN interface, such as can0"
        elif not re.fullmatch(r"/[^\s/].*[^\s/]", gripper.port) or Path(gripper.port).is_dir():
            yield (
                f"{where}; need the path of a serial port, such as /dev/serial/by-id/..., or "
                "transport: socketcan for a CAN interface"
            )


def headsets(operators: Mapping[str, OperatorConfig]) -> Problems:
    """Every operator who drives an arm has a headset.

    Args:
        operators: by side.
    """
    for side, operator in operators.items():
        if not operator.headset_ip:
            yield (
                f"operators.{side}.headset_ip is ''; need the address of the headset that drives "
                "the arm, such as 192.168.1.31"
            )


def obstacle_names(obstacles: Iterable[str]) -> Problems:
    """Names of obstacles become links of the cell's description."""
    for name in obstacles:
        if not LINK.fullmatch(name):
            yield f"obstacles has the name {name!r}; need a letter, then letters, digits, _ and -"


def vector_fields(arms: Mapping[str, ArmConfig], vectors: Any) -> Problems:
    """What is driven is measured and commanded, and nothing else; left before right.

    Args:
        arms: by side, left before right.
        vectors: layout of state and action.
    """
    sizes = {
        name: size
        for side, arm in arms.items()
        for name, size in ((f"{side}_arm", len(arm.joint_names)), (f"{side}_gripper", 1))
    }
    for vector in ("state", "action"):
        found = {entry.name: entry.size for entry in getattr(vectors, vector)}
        for name, size in sizes.items():
            if name not in found:
                yield f"vectors.{vector} has no {name}; need it with size {size}: add the field"
            elif name.endswith("_gripper") and found[name] != size:
                yield f"vectors.{vector} gives {name} the size {found[name]}; need {size}, a ratio"
        for name in found.keys() - sizes.keys():
            yield (
                f"vectors.{vector} has {name}, which no device of this cell gives; need "
                f"{', '.join(sizes)}: remove the field, or no episode can be made"
            )
        for part in ("_arm", "_gripper"):
            order = [name for name in found if name in sizes and name.endswith(part)]
            if order != [name for name in sizes if name in order]:
                yield (
                    f"vectors.{vector} has {order[0]} before {order[1]}; need left before right, "
                    "as velocities and wrenches stand: exchange them"
                )


def camera_addresses(cameras: Mapping[str, CameraConfig]) -> Problems:
    """A camera is named as its back end finds it.

    Args:
        cameras: by role, of a real cell.
    """
    for role, camera in cameras.items():
        where = f"cameras.{role}.serial is {camera.serial!r} for backend {camera.backend}"
        if camera.backend == "v4l2" and not camera.serial.startswith("/dev/"):
            yield (
                f"{where}; need the path of its video device, such as /dev/v4l/by-id/...: "
                "`ls /dev/v4l/by-id` shows those that are connected"
            )
        if camera.backend == "realsense" and not re.fullmatch(r"[\w-]*", camera.serial, re.ASCII):
            yield (
                f"{where}; need the serial number, such as '218622271234', or backend: v4l2 for "
                "the path of a video device"
            )


def tick_rates(rates: Mapping[str, float], tick_rate: float) -> Problems:
    """Every tick has a new sample.

    Args:
        rates: of pictures or states, by the place of the entry [Hz].
        tick_rate: of episodes and policies [Hz].
    """
    for place, rate in rates.items():
        if rate < tick_rate:
            what = "picture" if place.endswith(".fps") else "state"
            yield (
                f"{place} is {rate:g}; need at least tick_rate ({tick_rate:g} Hz), or ticks "
                f"record the same {what} twice: raise {place.rpartition('.')[2]}, or lower "
                "tick_rate"
            )
