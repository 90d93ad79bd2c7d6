"""Run a module as the child of a launch: quiet until it answers signals, and gone with its parent.

    python -m ate_core.child MODULE [words ...]

does what ``python -m MODULE [words ...]`` does. A signal that comes while the interpreter or the
module is still being loaded ends it without a word, once whoever starts it has blocked `STOPS`.
"""

import contextlib
import ctypes
import os
import runpy
import signal
import sys
import threading
import time
from collections.abc import Sequence

STOPS = (signal.SIGINT, signal.SIGTERM)
"""Signals that stop a process on purpose."""
PARENT_VARIABLE = "ATE_PARENT"
"""Environment variable with the number of the process that a child must not outlive."""
SET_DEATH_SIGNAL = 1
"""PR_SET_PDEATHSIG of prctl: the signal a process gets when its parent has died."""
LOOK_PERIOD = 1.0
"""How often a child looks for its parent, where the kernel does not tell it [s]."""
END_BY_FORCE = 8.0
"""How long a child without a parent may take to stop its device [s]."""


def child_command(module: str, words: Sequence[str] = ()) -> list[str]:
    """Command line that runs a module as a child; start it with `child_environment`."""
    return [sys.executable, "-m", "ate_core.child", module, *words]


def child_environment() -> dict[str, str]:
    """Variables of a child of this process."""
    return {PARENT_VARIABLE: str(os.getpid())}


def end_with_parent() -> None:
    """End this process when the one that `PARENT_VARIABLE` names ends, however it does.

    It gets SIGINT, so that an arm is braked, and is ended by force when it is still there later.
    Without the variable nothing is done; it is read once, and not handed on.
    """
    parent = int(os.environ.pop(PARENT_VARIABLE, "0"))
    if not parent:
        return
    with contextlib.suppress(OSError, AttributeError):  # not Linux: the look below remains
        ctypes.CDLL(None).prctl(SET_DEATH_SIGNAL, int(signal.SIGINT), 0, 0, 0)
    if os.getppid() != parent:  # it has ended before the kernel knew whom to tell
        os._exit(1)
    threading.Thread(target=_look_for, args=(parent,), name="parent watch", daemon=True).start()


def _look_for(parent: int) -> None:
    while os.getppid() == parent:
        time.sleep(LOOK_PERIOD)
    os.kill(os.getpid(), signal.SIGINT)
    time.sleep(END_BY_FORCE)
    os._exit(1)


def main() -> None:
    """Run the module that the command line names."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)  # until the module takes it: no traceback
    signal.pthread_sigmask(signal.SIG_UNBLOCK, STOPS)
    end_with_parent()
    del sys.argv[0]
    runpy.run_module(sys.argv[0], run_name="__main__", alter_sys=True)


if __name__ == "__main__":
    main()
