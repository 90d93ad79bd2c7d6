"""What would make a simulated cell fail a moment after its start, found before it."""

import socket

from ate_core.contract import Cell
from ate_core.errors import DeviceError


def check_addresses(cell: Cell, headsets: bool) -> None:
    """Refuse to start emulators whose addresses are taken.

    Args:
        cell: a simulated cell.
        headsets: whether the launch emulates headsets too.

    Raises:
        DeviceError: naming the address and the remedy.
    """
    addresses = [(arm.ip, arm.tcp_port) for arm in cell.arms.values() if arm.ip]
    if headsets:
        addresses += [(o.headset_ip, o.headset_port) for o in cell.operators.values()]
    for ip, port in addresses:
        with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind((ip, port))
            except OSError as error:
                raise DeviceError(
                    f"{ip}:{port} cannot be used ({error.strerror}): stop the other simulated "
                    "cell, or give this one other addresses in the section simulation of cell.yaml"
                ) from None
