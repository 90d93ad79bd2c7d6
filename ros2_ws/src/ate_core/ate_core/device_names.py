"""What a device is, whatever a cell calls it: one name per device, the same for all cells."""

import os
import re
from collections.abc import Iterator, Mapping

from ate_core.camera_config import CameraConfig
from ate_core.devices import ArmConfig, GripperConfig, OperatorConfig

NO_MAKER = 0x02
"""Bit of the first byte of a Bluetooth address that no maker gave: of an emulated Joy-Con."""

NUMBERED = re.compile(r"/+dev/((tty\w*USB|ttyACM|rfcomm|video)\d+|char/\d+:\d+)")
"""Files of devices that the kernel numbers in the order in which it finds them."""
NUMBERED_BUS = re.compile(r"(sl)?can\d+")
"""Names of CAN interfaces that it numbers likewise."""
MAY_CHANGE = "which may be another device after the next plugging or power cycle"
"""What is wrong with such a name."""


def is_local(address: str) -> bool:
    """Whether an address is of this machine, or there is none."""
    return not address or address.startswith("127.")


def resolve(name: str) -> str:
    """A path as the file that it leads to now; any other name as it is."""
    return os.path.realpath(name) if "/" in name and name.isprintable() else name


def arm_device(arm: ArmConfig) -> str:
    """The controller of an arm; empty where the driver has no address of one."""
    return f"arm controller {_address(arm.ip, arm.tcp_port)}" if arm.ip else ""


def gripper_device(gripper: GripperConfig) -> str:
    """The serial port of a gripper, which is its own; on a CAN bus each has its id."""
    if "/" in gripper.port:
        return f"serial port {resolve(gripper.port)}"
    return f"gripper {gripper.device_id} on {gripper.port}" if gripper.port else ""


def camera_device(camera: CameraConfig) -> str:
    """A camera by its serial or its video device; empty where none is named, or it is drawn."""
    is_device = camera.serial and camera.backend != "software"
    return f"camera {resolve(camera.serial)}" if is_device else ""


def headset_device(operator: OperatorConfig) -> str:
    """The headset of an operator."""
    address = _address(operator.headset_ip, operator.headset_port)
    return f"headset {address}" if operator.headset_ip else ""


def joycon_device(operator: OperatorConfig) -> str:
    """The Joy-Con of an operator; empty for an emulated one, which each simulated cell has."""
    serial = operator.joycon_serial.replace(":", "").upper()
    is_device = serial and not int(serial[:2], 16) & NO_MAKER
    return f"Joy-Con {serial}" if is_device else ""


def _address(ip: str, port: int) -> str:
    """A device has an address; those of this machine, which are emulated, also have their port."""
    return f"{ip}:{port}" if is_local(ip) else ip


def unstable_names(
    grippers: Mapping[str, GripperConfig], cameras: Mapping[str, CameraConfig]
) -> Iterator[tuple[str, str, str]]:
    """Entries of a real cell that name a device by a number of the kernel, which may change.

    A single CAN interface has its number whatever is plugged.

    Args:
        grippers: by side.
        cameras: by role.

    Yields:
        The place of the entry, its value and what is wrong with it, and the remedy.
    """
    buses = {one.port for one in grippers.values() if NUMBERED_BUS.fullmatch(one.port)}
    for side, gripper in grippers.items():
        if NUMBERED.fullmatch(os.path.normpath(gripper.port)):
            links = "/dev/serial/by-id/..., or /dev/serial/by-path/... without a serial number"
        elif len(buses) > 1 and gripper.port in buses:
            links = "a name that a .link file of systemd gives to this adapter"
        else:
            continue
        yield f"grippers.{side}.port", f"{gripper.port}, {MAY_CHANGE}", f"use {links}"
    for role, camera in cameras.items():
        if NUMBERED.fullmatch(os.path.normpath(camera.serial)):
            links = "/dev/v4l/by-id/..., or /dev/v4l/by-path/... without a serial number"
            yield f"cameras.{role}.serial", f"{camera.serial}, {MAY_CHANGE}", f"use {links}"
