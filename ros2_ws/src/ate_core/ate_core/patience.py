"""Tells the troubles of a device only once they outlast the start of its process.

Whatever is started together comes up in any order: the first seconds without an answer are a wait,
and an alarm then is one that people learn to ignore.
"""

import logging
import time
from collections import deque
from collections.abc import Callable

START_PATIENCE = 10.0
"""How long everything may take to come up [s]."""


class Patience:
    """Log of one device: waits, troubles and that all is well, each once."""

    def __init__(
        self,
        log: logging.Logger,
        what: str,
        limit: float = START_PATIENCE,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """Begin the wait.

        Args:
            log: where to tell.
            what: name of the device, for people.
            limit: how long troubles are kept back [s].
            clock: monotonic time [s].
        """
        self._log, self._what, self._clock = log, what, clock
        self._until = clock() + limit
        self._told = ""

    def trouble(self, text: str) -> None:
        """Tell a trouble once; called again as long as it lasts."""
        starting = self._clock() < self._until
        message = f"waiting for {self._what}" if starting else text
        if message == self._told:
            return
        self._told = message
        self._log.log(logging.INFO if starting else logging.WARNING, "%s", message)

    def end(self) -> None:
        """The start is over: troubles are told at once."""
        self._until = float("-inf")

    def well(self, text: str = "") -> None:
        """All is well."""
        if text and text != self._told:
            self._log.info("%s", text)
        self._told = text


class Repeated:
    """Tells what happens again and again from what happened once: a late message is no trouble."""

    def __init__(self, count: int = 3, window: float = 1.0) -> None:
        """Begin.

        Args:
            count: so many within the window are a trouble.
            window: time looked back [s].
        """
        self._window = window
        self._times: deque[float] = deque(maxlen=count)

    def happened(self, now: float) -> bool:
        """Count one; True when it is one of too many. Time is monotonic [s]."""
        self._times.append(now)
        return len(self._times) == self._times.maxlen and now - self._times[0] <= self._window
