"""Who may command an arm: one publisher at a time, and nobody who talked through a stop."""

from typing import NamedTuple

LEASE_SILENCE = 0.5
"""Silence after which another commander may take the arm [s]: several command timeouts, so a
hiccup of one producer does not hand its arm to another."""
REMEMBERED = 32
"""From so many commanders on, those that were silent for ``LEASE_SILENCE`` are forgotten."""


class Commander(NamedTuple):
    """One publisher of commands."""

    name: str
    """What it is, for instance ``teleop``; empty: nobody."""
    source: str = ""
    """Which one of its kind."""

    def __str__(self) -> str:
        """Name and source, for people."""
        return f"{self.name} ({self.source})" if self.source else self.name


NOBODY = Commander("")
"""Holder of a lease that is free."""


class Lease:
    """The right to command one arm. Time is an argument."""

    def __init__(self, silence: float) -> None:
        """Begin free.

        Args:
            silence: how long a commander that talked through a stop must be silent [s].
        """
        self._silence = silence
        self._heard: dict[Commander, float] = {}
        self._muted: set[Commander] = set()
        self._stamps: dict[Commander, float] = {}
        self._why_muted = ""
        self.holder = NOBODY
        """Who holds it."""
        self.last_accepted = float("-inf")
        """When a command was last accepted [s]."""

    def hear(self, commander: Commander, now: float) -> None:
        """Note that somebody sent a command, good or bad."""
        quiet = now - self._heard.pop(commander, float("-inf"))
        if commander in self._muted and quiet >= self._silence:
            self._muted.discard(commander)
        for other in list(self._heard) if len(self._heard) >= REMEMBERED else ():
            if now - self._heard[other] > LEASE_SILENCE:
                self._forget(other)
        self._heard[commander] = now

    def refusal(self, commander: Commander, stamp: float, now: float) -> str:
        """Why a command of somebody may not be taken now; empty when it may.

        Args:
            commander: who asks.
            stamp: when the command was made [s].
            now: present time [s].
        """
        if commander in self._muted:
            return (
                f"{commander} kept sending through {self._why_muted}: it must be silent for "
                f"{self._silence * 1e3:.0f} ms first"
            )
        if self.holder not in (NOBODY, commander) and not self.is_over(now):
            return f"{self.holder} holds the arm, {commander} is refused"
        if stamp <= self._stamps.get(commander, float("-inf")):
            return "stamp is not newer than the command before"
        return ""

    def take(self, commander: Commander, stamp: float, now: float) -> None:
        """Count an accepted command."""
        self.holder = commander
        self._stamps[commander] = stamp
        self.last_accepted = now

    def is_over(self, now: float) -> bool:
        """Whether the holder was silent for so long that another may take it."""
        return now - self.last_accepted > LEASE_SILENCE

    def drop(self) -> None:
        """Be free."""
        self.holder = NOBODY

    def mute(self, why: str) -> None:
        """Be free, and refuse everybody who goes on sending until they were silent once."""
        self.drop()
        self._muted.update(self._heard)
        self._why_muted = why

    def rewind(self, now: float) -> None:
        """Forget times that lie ahead, after a clock went backwards."""
        self.last_accepted = min(self.last_accepted, now)
        self._heard = {key: min(heard, now) for key, heard in self._heard.items()}
        self._stamps = {key: stamp for key, stamp in self._stamps.items() if stamp <= now}

    def _forget(self, commander: Commander) -> None:
        del self._heard[commander]
        self._muted.discard(commander)
        self._stamps.pop(commander, None)
