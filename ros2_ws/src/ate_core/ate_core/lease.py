"""Who may command a device: one publisher at a time, and nobody who talked through a stop."""

from dataclasses import dataclass
from typing import NamedTuple

LEASE_SILENCE = 0.5
"""Silence after which another commander may take the device, and after which one that talked
through a stop begins anew [s]: several command timeouts, so a hiccup is no silence. A policy
falls silent by itself when an arm is stopped; an operator opens the clutch."""
REMEMBERED = 32
"""From so many commanders on, those that were silent for ``LEASE_SILENCE`` are forgotten."""
LOST_MESSAGES = 3
"""So many messages may be lost around a silence; where more are missing there was none."""

BEFORE = "the time before this driver heard it"
"""Through what somebody kept sending whose publisher was there before."""
LOSS = "a loss of its messages"
"""Through what somebody kept sending whose messages were not heard for a while."""


class Commander(NamedTuple):
    """One publisher of commands."""

    name: str
    """What it is, for instance ``teleop``; empty: nobody."""
    source: str = ""
    """Which one of its kind."""

    def signs(self, frame_id: str) -> bool:
        """Whether it is who signs its messages with a ``frame_id``."""
        process = self.source.rpartition("/")[0]
        return bool(self.name) and frame_id in (process, self.source or self.name)

    def __str__(self) -> str:
        """Name and source, for people."""
        return f"{self.name} ({self.source})" if self.source else self.name


NOBODY = Commander("")
"""Holder of a lease that is free."""


class Mark(NamedTuple):
    """What tells the messages of one publisher apart, beside their stamps."""

    number: int | None = None
    """The publisher's own count, from 1; None: not known."""
    made_ns: int | None = None
    """The stamp as it was sent, on whatever clock [ns]; None: not known."""
    joined: bool = False
    """Whether the publisher was found only now, and had sent others before."""


UNMARKED = Mark()
"""Mark of a message that says nothing of its own."""


@dataclass(kw_only=True)
class _Known:
    """What is known of one commander."""

    heard: float
    mark: Mark
    stamp: float = float("-inf")
    repeats: bool = False
    muted: str = ""
    """Through what it kept sending; empty: it may be followed."""
    may_agree: bool = False


class Lease:
    """The right to command one device. Time is an argument."""

    def __init__(self, device: str = "arm") -> None:
        """Begin free.

        Args:
            device: what is commanded, for the words of refusals.
        """
        self._device = device
        self._known: dict[Commander, _Known] = {}
        self.holder = NOBODY
        """Who holds it."""
        self.last_accepted = float("-inf")
        """When a command was last accepted [s]."""

    def hear(self, commander: Commander, now: float, mark: Mark = UNMARKED) -> None:
        """Note a message, good or bad; every one of a device's commanders must come here.

        Args:
            commander: who sent it.
            now: present time [s].
            mark: which of his messages it is.
        """
        known = self._known.get(commander)
        if known is None:
            self._forget_silent(now)
            known = self._known[commander] = _Known(heard=now, mark=Mark(mark.number))
            known.muted = BEFORE if mark.joined else ""
        elif now - known.heard >= LEASE_SILENCE:
            if _was_silent(known.mark, mark):
                known.muted = ""
            else:  # nobody stopped anything: who agrees with the device may go on
                known.may_agree = known.may_agree or not known.muted
                known.muted = LOSS
        known.repeats = mark.made_ns is not None and mark.made_ns == known.mark.made_ns
        known.heard, known.mark = now, mark

    def hear_unknown(self, name: str, now: float) -> None:
        """Note a message of somebody who cannot be told from others of his name.

        Args:
            name: of the commander.
            now: present time [s].
        """
        for commander, known in self._known.items():
            if commander.name == name:
                known.heard = now

    def repetition(self, commander: Commander) -> str:
        """Why the newest message of somebody is no new command; empty when it is one."""
        if not self._known[commander].repeats:
            return ""
        return f"{commander} repeats a command: stamp each one anew"

    def refusal(
        self, commander: Commander, stamp: float, now: float, *, agrees: bool = False
    ) -> str:
        """Why a command that was just heard may not be taken now; empty when it may.

        Args:
            commander: who asks.
            stamp: when the command was made [s].
            now: present time [s].
            agrees: whether it asks for what the device does anyway.
        """
        known = self._known[commander]
        if known.muted and not (agrees and known.may_agree):
            return (
                f"{commander} kept sending through {known.muted}: it must be silent for "
                f"{LEASE_SILENCE * 1e3:.0f} ms first"
            )
        if self.holder not in (NOBODY, commander) and not self.is_over(now):
            return f"{self.holder} holds the {self._device}, {commander} is refused"
        if stamp <= known.stamp:
            return "stamp is not newer than the command before"
        return ""

    def take(self, commander: Commander, stamp: float, now: float) -> None:
        """Count an accepted command."""
        known = self._known[commander]
        known.stamp, known.muted = stamp, ""
        self.holder, self.last_accepted = commander, now

    def is_over(self, now: float) -> bool:
        """Whether the holder was silent for so long that another may take it."""
        return now - self.last_accepted > LEASE_SILENCE

    def is_newest(self, stamp: float) -> bool:
        """Whether the holder made no command after a time [s]."""
        known = self._known.get(self.holder)
        return known is not None and stamp >= known.stamp

    def silence(self, stamp: float) -> None:
        """Take no command of the holder that was made before a time [s]."""
        self._known[self.holder].stamp = stamp

    def drop(self) -> None:
        """Be free."""
        self.holder = NOBODY

    def mute(self, why: str, *, may_agree: bool = False) -> None:
        """Be free, and refuse everybody who goes on sending until they were silent once.

        Args:
            why: what happened, for people.
            may_agree: follow also who asks for what the device does anyway.
        """
        self.drop()
        for known in self._known.values():
            known.may_agree = may_agree and (known.may_agree or not known.muted)
            known.muted = why

    def rewind(self, now: float) -> None:
        """Forget times that lie ahead, after a clock went backwards."""
        self.last_accepted = min(self.last_accepted, now)
        for known in self._known.values():
            known.heard = min(known.heard, now)
            if known.stamp > now:
                known.stamp = float("-inf")

    def _forget_silent(self, now: float) -> None:
        if len(self._known) >= REMEMBERED:
            self._known = {
                key: known
                for key, known in self._known.items()
                if now - known.heard <= LEASE_SILENCE
            }


def _was_silent(before: Mark, mark: Mark) -> bool:
    """Whether a publisher was silent between two messages; else those between were lost."""
    if before.number is None or mark.number is None:
        return True
    return mark.number - before.number <= 1 + LOST_MESSAGES
