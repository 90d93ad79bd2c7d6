"""The stop of the device, called in a thread of its own: nobody who asks for it can be kept."""

import logging
import threading
import time
from collections.abc import Callable

log = logging.getLogger(__name__)


class DeviceStop:
    """Calls one way to stop the device and tells who asked whether it was confirmed.

    Threads: `request` and `wait` may be called from any thread; they take only a lock that is
    never held during the call to the device. What is asked for during a call is called after it.
    """

    def __init__(self, stop: Callable[[], bool]) -> None:
        """Prepare; a thread runs only while there is something to do.

        Args:
            stop: brings the arm to rest; returns whether the device confirmed.
        """
        self._stop = stop
        self._change = threading.Condition()
        self._asked = 0
        self._done = 0
        self._confirmed = False
        self._working = False

    def request(self) -> int:
        """Ask for a stop; returns the number by which to `wait` for it. Waits for no device."""
        with self._change:
            self._asked += 1
            if not self._working:
                try:
                    threading.Thread(target=self._work, name="arm stop", daemon=True).start()
                except RuntimeError as error:  # no thread to be had now: the next request tries
                    log.critical("the device cannot be told to stop: %s", error)
                    self._done, self._confirmed = self._asked, False
                    self._change.notify_all()
                else:
                    self._working = True
            return self._asked

    def wait(self, number: int, timeout: float) -> bool:
        """Whether the device confirmed a request, or a later one, in time.

        Args:
            number: what `request` returned.
            timeout: longest wait [s].
        """
        with self._change:
            answered = self._change.wait_for(lambda: self._done >= number, timeout)
            return answered and self._confirmed

    @property
    def asked(self) -> int:
        """Number of the last request."""
        with self._change:
            return self._asked

    def is_confirmed_since(self, number: int) -> bool:
        """Whether the device confirmed the last request, and that came after another.

        Args:
            number: of the other one.
        """
        with self._change:
            return number < self._asked <= self._done and self._confirmed

    @property
    def is_open(self) -> bool:
        """Whether the device answered the last request, and did not confirm it."""
        with self._change:
            return 0 < self._asked <= self._done and not self._confirmed

    def _work(self) -> None:
        while True:
            with self._change:
                if self._done >= self._asked:
                    self._working = False
                    return
                number = self._asked
            confirmed = self._call()
            with self._change:
                self._done, self._confirmed = number, confirmed
                self._change.notify_all()

    def _call(self) -> bool:
        begin = time.monotonic()
        try:
            confirmed = self._stop()
        except Exception:  # whatever it is, those who wait must hear that the arm may move
            log.exception("the stop of the device failed")
            return False
        if not confirmed:
            took = (time.monotonic() - begin) * 1e3
            log.error("the device did not confirm a stop after %.0f ms", took)
        return confirmed
