"""Scheduling priority of the processes that must not be late."""

import logging
import os

CONTROL = -10
"""Drivers, emulated controllers, teleoperation, policy: lateness stops an arm."""

logger = logging.getLogger(__name__)


def set_niceness(level: int) -> bool:
    """Ask for a niceness; without permission the process goes on at its present one.

    A negative level needs the right to it: root, or a `nice` entry in limits.conf.

    Returns:
        Whether the level is in force.
    """
    try:
        os.setpriority(os.PRIO_PROCESS, 0, level)
    except PermissionError:
        logger.info("niceness %d is not permitted: see docs/workstation.md on limits.conf", level)
        return False
    return True
