"""What a device is, whatever a cell calls it: one name per device, the same for all cells."""

import os

from ate_core.camera_config import CameraConfig
from ate_core.devices import ArmConfig, GripperConfig, OperatorConfig

NO_MAKER = 0x02
"""Bit of the first byte of a Bluetooth address that no maker gave: of an emulated Joy-Con."""


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
