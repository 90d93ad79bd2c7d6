"""Whether the devices that a policy commands follow it. Time is an argument."""

LONGEST_UNHEARD = 2.0
"""How long a policy commands a device that follows somebody else, or nobody, in all [s]; longer
than any lease, and than a status that changed takes to come."""
LONGEST_LOST = 0.6
"""The same for a device that has followed it since its commands began [s]; longer than a lease.
The other arm must not go on alone meanwhile."""
LONGEST_LOOK = 0.1
"""A look that comes later counts as this long [s]: then reports wait to be taken, too."""
LONGEST_PAUSE = 0.3
"""Commands that lie further apart are a pause, in which a lease may end [s]."""


class Unheard:
    """Notices commands that nobody follows: refused, overruled, or lost on their way."""

    def __init__(self, commander: str) -> None:
        """Begin silent.

        Args:
            commander: who a device that follows says it follows.
        """
        self._commander = commander
        self._holders: dict[str, tuple[str, str]] = {}
        self._unheard: dict[str, float] = {}
        self._followed: set[str] = set()  # since the last pause
        self._had: set[str] = set()  # since the policy was started
        self._sent_at = self._looked_at = float("-inf")

    def begin(self) -> None:
        """Forget what was counted: the policy is started on purpose."""
        self._unheard.clear()
        self._followed, self._had = self._following(), self._following()

    def send(self, now: float) -> None:
        """Note that all devices were commanded at ``now`` [s]."""
        if now - self._sent_at > LONGEST_PAUSE:
            self._followed = self._following()
        self._sent_at = now

    def hear(self, device: str, holder: str, reason: str) -> None:
        """Note whom a device follows.

        Args:
            device: which one.
            holder: name of that commander, or its source where that is another process of the
                policy's name; empty: nobody.
            reason: what the device says about it.
        """
        self._holders[device] = (holder, reason)
        if holder == self._commander:
            self._unheard.pop(device, None)
            self._followed.add(device)
            self._had.add(device)

    def held(self, kind: str) -> str:
        """Which device whose name ends so follows somebody else at present; empty: none does."""
        for device, (holder, _) in self._holders.items():
            if device.endswith(kind) and holder not in ("", self._commander):
                return f"{device} follows {holder}, which must be silent for half a second"
        return ""

    def look(self, now: float) -> str:
        """What does not follow although it was commanded until ``now`` [s]; empty: all do."""
        passed, self._looked_at = min(now - self._looked_at, LONGEST_LOOK), now
        if now - self._sent_at > LONGEST_PAUSE:
            return ""
        for device, (holder, reason) in self._holders.items():
            if holder == self._commander:
                continue
            unheard = self._unheard[device] = self._unheard.get(device, 0.0) + passed
            if unheard > self._patience(device, holder):
                whom = f"follows {holder}" if holder else "follows nobody"
                return f"{device} {whom}, not the policy: {reason or 'no reason is told'}"
        return ""

    def _patience(self, device: str, holder: str) -> float:
        """How long a device may follow somebody else [s]: one that was taken away, no time."""
        if holder:
            return 0.0 if device in self._had else LONGEST_UNHEARD
        return LONGEST_LOST if device in self._followed else LONGEST_UNHEARD

    def _following(self) -> set[str]:
        return {device for device, (who, _) in self._holders.items() if who == self._commander}
