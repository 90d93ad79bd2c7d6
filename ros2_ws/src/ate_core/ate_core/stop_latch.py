"""Why a device must not move: stops by cause, each of which lasts until its own release."""


class StopLatch:
    """Stops that are in force, by cause; the device is free when there is none.

    A cause is one place in the code that may stop the device: each sets and releases only its own,
    so that clearing a fault never ends a stop that a person asked for.
    """

    def __init__(self) -> None:
        """Begin free."""
        self._reasons: dict[str, str] = {}
        self.count = 0
        """Stops so far: who looks now and then sees by it one that came and went meanwhile."""

    def set(self, cause: str, reason: str) -> bool:
        """Stop for a cause; True when it was not in force before."""
        new = cause not in self._reasons
        self._reasons[cause] = reason
        self.count += new
        return new

    def release(self, cause: str) -> bool:
        """End the stop of one cause; True when it was in force."""
        return self._reasons.pop(cause, None) is not None

    def reason_of(self, cause: str) -> str:
        """Reason of one cause; empty when it is not in force."""
        return self._reasons.get(cause, "")

    def any_of(self, *causes: str) -> bool:
        """Whether one of some causes is in force."""
        return any(cause in self._reasons for cause in causes)

    @property
    def is_set(self) -> bool:
        """Whether any stop is in force."""
        return bool(self._reasons)

    def first_of(self, *causes: str) -> str:
        """Reason of the first of some causes that is in force; empty when none is."""
        return next((self._reasons[cause] for cause in causes if cause in self._reasons), "")

    @property
    def reason(self) -> str:
        """Reason of the newest stop in force; empty when the device is free."""
        return next(reversed(self._reasons.values()), "")
