"""Whether the devices that a policy commands are heard. Time is an argument.

Both arms stop and start together: a device that is silent for a moment makes all of them hold,
and one that is silent for longer ends the policy until it is started on purpose.
"""

from dataclasses import dataclass

PAUSE_AFTER = 0.2
"""Silence of a device after which all arms hold [s]: as old as a state may be."""
END_AFTER = 0.4
"""Silence after which the policy does not go on by itself [s]; less than an arm's lease."""
LONGEST_LOOK = 0.1
"""A look that comes later counts as this long [s]: then messages wait to be taken, too."""


@dataclass(frozen=True, kw_only=True)
class Silences:
    """What is not heard at present."""

    pause: str = ""
    """What has been silent for `PAUSE_AFTER`, and for how long; empty: nothing."""
    end: str = ""
    """The same for `END_AFTER`."""


class DeviceSilence:
    """Counts how long devices that were heard have been silent."""

    def __init__(self) -> None:
        self._silent: dict[str, float] = {}
        self._looked_at = float("-inf")

    def hear(self, device: str) -> None:
        """Note a message of a device; one that never came is not waited for here."""
        self._silent[device] = 0.0

    def look(self, now: float) -> Silences:
        """What is silent at ``now`` [s]; to be asked every `LONGEST_LOOK` at least."""
        passed, self._looked_at = min(now - self._looked_at, LONGEST_LOOK), now
        for device in self._silent:
            self._silent[device] += passed
        device, silent = max(self._silent.items(), key=lambda item: item[1], default=("", 0.0))
        if silent <= PAUSE_AFTER:
            return Silences()
        if silent <= END_AFTER:
            return Silences(pause=f"{device} is silent: all arms hold")
        return Silences(
            pause=f"{device} is silent: all arms hold",
            end=f"{device} has been silent for more than {END_AFTER:g} s: is its driver running?",
        )
