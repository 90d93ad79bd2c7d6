"""One emulated controller without a simulated world, for `ate emulate arm`."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager

from arm_driver.emulator_options import make_plant
from ate_core.contract import Cell
from realman_driver.emulator.main import make_server

EXAMPLE = """python -c "from Robotic_Arm.rm_robot_interface import RoboticArm as Arm, \
rm_thread_mode_e as mode; arm = Arm(mode.RM_SINGLE_MODE_E); \
print(arm.rm_create_robot_arm('{ip}', {port}, 4).id, arm.rm_get_current_arm_state())\""""


@contextmanager
def emulate(cell: Cell, side: str) -> Iterator[tuple[str, str]]:
    """Serve while the context lasts.

    Args:
        cell: a simulated cell.
        side: of the arm.

    Yields:
        Where it listens, and a command that connects to it.
    """
    arm = cell.arms[side]
    server = make_server(cell, side, make_plant("ideal", cell, side))
    thread = threading.Thread(target=server.run, name=f"arm {side}")
    thread.start()
    try:
        yield (
            f"RM75-6F controller at {arm.ip}:{arm.tcp_port}, pushes to UDP port {arm.udp_port}",
            EXAMPLE.format(ip=arm.ip, port=arm.tcp_port),
        )
    finally:
        server.stop()
        thread.join()
