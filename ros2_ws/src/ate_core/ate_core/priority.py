"""Scheduling priority of the processes that must not be late."""

import contextlib
import logging
import os
import time
from collections.abc import Iterator
from pathlib import Path

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

GROUP = Path("/proc/self/autogroup")
"""Niceness of our session, where the kernel shares the processor out between sessions first
(`sched_autogroup_enabled`, as on desktops): there the niceness of a process counts within its
session only, and a launch gives each of its processes a session of its own."""
GROUP_TRIES, GROUP_PAUSE = 20, 0.1
"""The kernel takes one such change per so long from users without rights [s]; who starts beside
many others asks again."""

OWN = 0
"""The calling thread, as the kernel names it."""
TASKS = Path("/proc/self/task")
"""Threads of this process."""
REALTIME = (os.SCHED_FIFO, os.SCHED_RR)
"""Classes of threads that go before all others."""

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
    if os.getsid(0) == os.getpid():  # else it is also that of the terminal we were started from
        _set_group_niceness(level)
    return True


def _set_group_niceness(level: int) -> None:
    """Let a niceness count against other sessions too.

    Where the kernel has no such groups, or the right to it is missing, nothing is changed.
    """
    for _ in range(GROUP_TRIES):
        try:
            GROUP.write_text(str(level))
        except BlockingIOError:  # another process was just given one
            time.sleep(GROUP_PAUSE)
        except OSError:
            return
        else:
            return


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
    return _set_fifo(OWN, wanted_fifo())


def set_fifo_of_process() -> int:
    """Give every other thread of this process SCHED_FIFO too, one below the setting's priority.

    Those of middleware and devices carry what the loops wait for, and any that is put aside for
    another program while it holds Python's lock keeps them waiting as long. Below the loops, so
    that a flood of messages keeps nobody from streaming. A thread that is made later has it after
    the next call. A missing permission is said by `set_fifo` alone.

    Returns:
        How many were given it.
    """
    level = wanted_fifo()
    return sum(_set_fifo(thread, max(level - 1, 1)) for thread in _usual_threads() if level)


def _usual_threads() -> Iterator[int]:
    for thread in map(int, os.listdir(TASKS)):
        with contextlib.suppress(ProcessLookupError):  # it has just ended
            if os.sched_getscheduler(thread) & ~os.SCHED_RESET_ON_FORK not in REALTIME:
                yield thread


def _set_fifo(thread: int, level: int) -> bool:
    if level == 0:
        return False
    policy = os.SCHED_FIFO | os.SCHED_RESET_ON_FORK
    try:
        os.sched_setscheduler(thread, policy, os.sched_param(level))
    except ProcessLookupError:  # a thread that has just ended
        return False
    except PermissionError:
        if thread != OWN:
            return False
        logger.log(
            logging.WARNING if FIFO_SETTING in os.environ else logging.INFO,
            "%s=%d is not permitted: grant rtprio (docs/workstation.md), or set it to 0",
            FIFO_SETTING,
            level,
        )
        return False
    return True
