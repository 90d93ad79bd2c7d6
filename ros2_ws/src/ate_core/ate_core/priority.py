"""Scheduling priority of the processes that must not be late."""

import logging
import os

from ate_core.errors import UsageError

CONTROL = -10
"""Drivers, emulated controllers, teleoperation, policy: lateness stops an arm."""

SWITCH_INTERVAL = 0.0005
"""How long a thread that computes may keep a loop from going on in the same process [s]; Python's
own is 5 ms, half a tick of a driver."""

FIFO_SETTING = "ATE_FIFO_PRIORITY"
"""Environment variable: SCHED_FIFO priority of what streams to arms; 0: off; unset:
`USUAL_FIFO` where the machine permits it."""
USUAL_FIFO = 10
HIGHEST_FIFO = 20
"""Highest one: what the workstation grants, well below the kernel's interrupt threads at 50."""

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


def wanted_fifo() -> int:
    """SCHED_FIFO priority that this machine's setting asks for; 0: none.

    Raises:
        UsageError: it is no whole number from 0 to `HIGHEST_FIFO`.
    """
    text = os.environ.get(FIFO_SETTING, str(USUAL_FIFO))
    if text.isdecimal() and int(text) <= HIGHEST_FIFO:
        return int(text)
    raise UsageError(
        f"{FIFO_SETTING} is {text!r}; need 0 (off) to {HIGHEST_FIFO}: see docs/workstation.md"
    )


def set_fifo() -> bool:
    """Give the calling thread, and nothing it starts, the SCHED_FIFO priority of the setting.

    Without permission the thread goes on as it is; where the setting asked, that is said.

    Returns:
        Whether it has one.
    """
    level = wanted_fifo()
    if level == 0:
        return False
    policy = os.SCHED_FIFO | os.SCHED_RESET_ON_FORK
    try:
        os.sched_setscheduler(0, policy, os.sched_param(level))
    except PermissionError:
        logger.log(
            logging.WARNING if FIFO_SETTING in os.environ else logging.INFO,
            "%s=%d is not permitted: grant rtprio (docs/workstation.md), or set it to 0",
            FIFO_SETTING,
            level,
        )
        return False
    return True
