"""Clearing the errors of a device: an act with an end, which says whether they are gone."""

import threading
import time
from collections.abc import Callable

from arm_driver.interface import ArmBackend
from ate_core.errors import DeviceError

CALL_TIMEOUT = 3.0
"""How long the device may take to be told [s]; a RealMan answers in milliseconds or never."""
CHECK_TIMEOUT = 2.0
"""How long its errors may still be reported afterwards [s]."""
CLEAN_TIME = 0.1
"""For how long the states must show no error [s]."""
CLEAN_STATES = 5
"""In how many fresh states."""
LOOK_PERIOD = 0.005
"""How often the newest state is looked at [s]."""


class Clearing:
    """Clears one device's errors. Threads: `run` may be called from any, one at a time."""

    def __init__(self, backend: ArmBackend) -> None:
        """Prepare.

        Args:
            backend: link to the arm.
        """
        self._backend = backend
        self._busy = threading.Lock()

    def run(self, misfit: Callable[[], str]) -> str:
        """Clear, then look whether it helped; returns why not, or nothing.

        Args:
            misfit: why the device is not the arm of the cell, which no clearing mends.
        """
        # Released by the call's own thread where that hangs: a second call would not fare better.
        if not self._busy.acquire(blocking=False):
            return "errors are being cleared already: wait for the device"
        answer: list[str] = []
        done = threading.Event()

        def call() -> None:
            try:
                self._backend.clear_errors()
                answer.append("")
            except DeviceError as error:
                answer.append(str(error))
            except Exception as error:  # it must not pass for success
                answer.append(f"clearing failed: {error!r}")
            finally:
                self._busy.release()
                done.set()

        threading.Thread(target=call, name="arm clear errors", daemon=True).start()
        if not done.wait(CALL_TIMEOUT):
            return f"the device did not answer within {CALL_TIMEOUT:.0f} s: look at the arm"
        return answer[0] or misfit() or self._still_reported()

    def _still_reported(self) -> str:
        """What fresh states still report, or nothing when they are clean."""
        pause = threading.Event()
        begin = time.monotonic()
        first = self._backend.latest()
        sequence = None if first is None else first.sequence
        clean_since, clean, fault = begin, 0, ""
        while time.monotonic() - begin < CHECK_TIMEOUT:
            sample = self._backend.latest()
            if sample is not None and sample.sequence != sequence:
                sequence, fault, clean = sample.sequence, sample.fault, clean + 1
                if fault:
                    clean_since, clean = time.monotonic(), 0
                elif clean >= CLEAN_STATES and time.monotonic() - clean_since >= CLEAN_TIME:
                    return ""
            pause.wait(LOOK_PERIOD)
        if fault:
            return f"{fault}: still reported {CHECK_TIMEOUT:.0f} s after clearing; end its cause"
        return (
            f"no fresh state within {CHECK_TIMEOUT:.0f} s: {self._backend.link_error or 'silent'}"
        )
