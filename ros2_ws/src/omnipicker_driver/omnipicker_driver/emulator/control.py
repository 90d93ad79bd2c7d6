"""The control calls of an emulated gripper; README.md lists them."""

from pathlib import Path

from ate_core.control_socket import ControlClient


def control_path(port: str | Path) -> Path:
    """The control socket of the emulated gripper at a port."""
    return Path(f"{port}.sock")


def call(
    port: str | Path, name: str, timeout: float = 2.0, **arguments: object
) -> dict[str, object]:
    """Make one control call and return its answer.

    Args:
        port: path of the gripper's serial port.
        name: the call; see README.md.
        timeout: longest wait [s].
        arguments: arguments of the call.

    Raises:
        DeviceError: no emulator at this port, no answer in time, or the call was refused.
    """
    client = ControlClient(
        control_path(port),
        peer="the emulated gripper",
        remedy="start the emulated gripper first",
        timeout=timeout,
    )
    return client.call(name, **arguments)
