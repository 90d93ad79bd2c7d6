"""The clock of the emulated controller, which stands while its process does."""

import time

TICK = 0.005
"""Controller cycle [s]: the unit of the push setting."""
LONGEST_GAP = 0.030
"""A process that is later than its cycle by more stood still [s]: by then a controller's own
watchdog has given up what it was sent."""


class StandingClock:
    """Monotonic time less all the time for which the process stood still."""

    def __init__(self) -> None:
        """It stood nowhere yet."""
        self._looked = time.monotonic()
        self._stood = 0.0

    def now(self) -> float:
        """The controller's time [s]."""
        return time.monotonic() - self._stood

    def look(self) -> float:
        """For how long the process stood still since the look before, else 0 [s]."""
        now = time.monotonic()
        late = now - self._looked - TICK
        self._looked = now
        if late <= LONGEST_GAP:
            return 0.0
        self._stood += late
        return late
