"""Who the controller of an arm is, for `ate doctor`; changes nothing in the controller.

The connection is the vendor library's own, so this runs in a process that ends right after it.
"""

import socket
import sys
from collections.abc import Iterator

from arm_driver.interface import misfit
from ate_core.contract import Cell
from ate_core.errors import DeviceError
from ate_core.findings import Finding, failed, passed, probe_main
from realman_driver.client import link_config
from realman_driver.identity import misfit_of
from realman_driver.protocol import identity_from_record
from realman_driver.sdk import local_address_towards, open_arm, read_identity

KNOCK_TIMEOUT = 2.0
"""Longest wait for the controller to accept a connection [s]."""


def look(cell: Cell, side: str) -> Iterator[Finding]:
    """Connect, ask who it is and compare it with the cell."""
    arm = cell.arms[side]
    config = link_config(arm)
    what = f"{side} arm"
    if arm.ip == local_address_towards(arm.ip) and cell.hardware == "real":
        remedy = f"correct arms.{side}.ip, unless a controller is emulated here"
        yield failed(what, f"{arm.ip} is this machine's own address", remedy)
    _knock(arm.ip, arm.tcp_port)
    handle = open_arm(config)
    record = read_identity(handle, config)
    identity = identity_from_record(record, f"{arm.ip}:{arm.tcp_port}", misfit_of(record, arm))
    wrong = identity.misfit or misfit(identity, arm, cell.safety.position_margin)
    value = f"{record.product}, firmware {record.firmware}, at {identity.name}"
    yield failed(what, wrong, "") if wrong else passed(what, value)
    code, power = handle.rm_get_arm_power_state()
    if code == 0 and power == 0:
        yield failed(what, "its power is off", "switch the arm on at the pendant")
    code, push = handle.rm_get_realtime_push()
    if code == 0:
        where = f"{push.get('ip')}:{push.get('port')}"
        yield passed(f"{what} pushes its state", f"to {where}, until its driver asks")


def _knock(ip: str, port: int) -> None:
    """Tell a controller that is off from one that is none.

    Raises:
        DeviceError: nobody accepts connections there.
    """
    try:
        socket.create_connection((ip, port), KNOCK_TIMEOUT).close()
    except OSError as error:
        raise DeviceError(
            f"nobody answers at {ip}:{port} ({error}): check power, cable and the ip in the cell "
            "file"
        ) from None


if __name__ == "__main__":
    sys.exit(probe_main(look, "arm"))
