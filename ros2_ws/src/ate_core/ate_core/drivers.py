"""Drivers of arms and transports of grippers by the name in ``cell.yaml``.

The name of a driver stands for a package with the module ``nodes.driver_node`` (the node) and, for
``hardware:=sim``, the module ``emulator`` (``python -m``, with ``--side`` and ``--cell``).
"""

from collections.abc import Mapping

from ate_core.errors import ContractError
from ate_core.registry import Registry

ARM_DRIVERS = Registry(
    what="arm driver",
    group="ate.arm_drivers",
    builtin={"realman": "realman_driver", "ros2_control": "ros2_control_driver"},
    error=ContractError,
)
"""Name -> package."""

GRIPPER_TRANSPORTS = Registry(
    what="gripper transport",
    group="ate.gripper_transports",
    builtin={
        "rs485": "omnipicker_driver.transports.rs485:KIND",
        "at": "omnipicker_driver.transports.at:KIND",
        "can_a": "omnipicker_driver.transports.can_a:KIND",
        "ucanfd": "omnipicker_driver.transports.ucanfd:KIND",
        "socketcan": "omnipicker_driver.transports.socketcan:KIND",
    },
    error=ContractError,
)
"""Name -> how the frames of a gripper travel."""

NEEDED_ENTRIES: Mapping[str, tuple[str, ...]] = {"realman": ("ip", "udp_port")}
"""Entries of an arm in ``cell.yaml`` that a driver cannot do without."""
STREAM_RATES: Mapping[str, tuple[float, float]] = {"realman": (100.0, 500.0)}
"""Slowest and fastest stream of targets that a driver's controller takes [Hz].

RealMan: high follow needs a steady period of 10 ms or less; the fastest is 2 ms."""
KNOWN_OPTIONS: Mapping[str, tuple[str, ...]] = {
    "realman": (),
    "ros2_control": (
        "command_topic",
        "state_topic",
        "wrench_topic",
        "description_topic",
        "controller_manager",
    ),
}
"""Entries of ``options`` that a driver reads; drivers of other packages check their own."""
ROS_NAMES = frozenset(KNOWN_OPTIONS["ros2_control"])
"""Entries of ``options`` that name something of ROS."""
