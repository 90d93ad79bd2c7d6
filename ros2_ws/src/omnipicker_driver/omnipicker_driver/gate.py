"""Which commands may move the gripper. Time is an argument.

The rules, in the order they apply:

=================  ==========================================================================
rule               effect
=================  ==========================================================================
joint              one opening, for the joint of this gripper, a finite number; clamped to 0..1
commander          the command names who asks, and one publisher of that name
age                a stamp further than ``stamp_max_age`` from now is refused, and so is one that
                   is not newer than the last one taken from the same source
stopped            while a cause to stop is in force every command is refused
obstacle           so it is while the gripper is not ready
lease              one source at a time; another is refused until the first was silent for
                   ``LEASE_SILENCE`` or left
kept on            a stream that went on through a stop must fall silent for ``command_timeout``
                   before it is followed again: nothing moves because somebody released a stop
=================  ==========================================================================

Silence of the commander keeps the last target: a held object is not dropped.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

from ate_core.safety import LEASE_SILENCE
from ate_core.stop_latch import StopLatch

SAME_OPENING = 0.03
"""Openings so close count as the same [ratio]: 3.6 mm."""
_FORGOTTEN_AFTER = 10.0
"""Silence after which a source is forgotten [s]."""


@dataclass(frozen=True, kw_only=True)
class GateConfig:
    """Which commands pass."""

    joint: str
    """Name of the gripper's joint in commands."""
    stamp_max_age: float
    """Largest distance of a stamp from now [s]."""
    command_timeout: float
    """Silence after which nobody is followed any more [s]."""


@dataclass(frozen=True, kw_only=True)
class GripperCommand:
    """What a commander asks of the gripper."""

    names: Sequence[str]
    """Joint names."""
    positions: Sequence[float]
    """One opening ratio, 0 closed, 1 open."""
    commander: str
    """Who asks, for instance ``teleop``."""
    source: str
    """Its publisher."""
    stamp_ns: int
    """When it was made, wall clock [ns]."""
    age: float
    """Age of the stamp on its own clock [s]."""
    refusal: str = ""
    """Why its publisher cannot be told; empty when it can."""


@dataclass(frozen=True, kw_only=True)
class Verdict:
    """Whether a command was taken."""

    accepted: bool
    """True when the gripper follows it."""
    ratio: float = 0.0
    """The opening, clamped."""
    reason: str = ""
    """Why not: what, the value, the bound, the remedy."""


@dataclass(kw_only=True)
class _Source:
    """What is known of one publisher of commands."""

    heard: float
    stamp: float = -math.inf
    stamp_ns: int = 0
    kept_on: bool = False
    may_agree: bool = False


class GripperGate:
    """Decides on the commands of one gripper."""

    def __init__(self, config: GateConfig) -> None:
        """Prepare; nobody holds the gripper."""
        self._config = config
        self._stops = StopLatch()
        self._sources: dict[tuple[str, str], _Source] = {}
        self._holder: tuple[str, str] | None = None
        self._last_accepted = -math.inf
        self._refusal = ""
        self.refused = 0
        """Commands refused so far."""

    @property
    def stop_reason(self) -> str:
        """Why the gripper is stopped; empty while it is free."""
        return self._stops.reason

    def commander(self, now: float) -> str:
        """Who holds the gripper; empty when nobody does."""
        self._end_lease(now)
        return "" if self._holder is None else self._holder[0]

    def silence(self, now: float) -> float:
        """Time since the last accepted command [s]."""
        return now - self._last_accepted

    @property
    def refusal(self) -> str:
        """Why the newest command was refused; empty when it was taken."""
        return self._refusal

    def submit(
        self, command: GripperCommand, now: float, *, obstacle: str = "", held: float | None = None
    ) -> Verdict:
        """Decide on a command.

        Args:
            command: what is asked.
            now: present monotonic time [s].
            obstacle: why the gripper cannot be driven; empty when it can.
            held: opening that the gripper keeps without the command; None: not known.
        """
        source, silent_for = self._hear(command, now)
        problem = self._problem(command, source, now) or self._blocked(command, obstacle, now)
        ratio = min(max(float(command.positions[0]), 0.0), 1.0) if not problem else 0.0
        if not problem and source.kept_on:
            agrees = source.may_agree and held is not None and abs(ratio - held) <= SAME_OPENING
            if silent_for > self._config.command_timeout or agrees:
                source.kept_on = False
            else:
                problem = (
                    f"{command.commander} went on sending while the gripper did not follow: it "
                    f"must first be silent for {self._config.command_timeout * 1e3:.0f} ms"
                )
        self._refusal = problem
        if problem:
            self.refused += 1
            return Verdict(accepted=False, reason=problem)
        source.stamp, source.stamp_ns = now - command.age, command.stamp_ns
        self._holder = (command.commander, command.source)
        self._last_accepted = now
        return Verdict(accepted=True, ratio=ratio)

    def stop(self, cause: str, reason: str) -> bool:
        """Refuse everything for a cause until it is released; True when it is new."""
        self._holder, self._last_accepted = None, -math.inf
        return self._stops.set(cause, reason)

    def release(self, cause: str, now: float) -> bool:
        """End the stop of one cause; True when it was in force."""
        if not self._stops.release(cause):
            return False
        if not self._stops.is_set:
            self.expect_silence(now, may_agree=False)
        return True

    def expect_silence(self, now: float, *, may_agree: bool) -> None:
        """Follow no stream that goes on; who is silent or new is followed.

        Args:
            now: present monotonic time [s].
            may_agree: follow also a stream that asks for what the gripper does anyway.
        """
        self._holder, self._last_accepted = None, -math.inf
        for source in self._sources.values():
            if now - source.heard <= self._config.command_timeout:
                source.kept_on, source.may_agree = True, may_agree

    def depart(self, source: str) -> None:
        """End the lease of a publisher that has left."""
        self._sources = {key: value for key, value in self._sources.items() if key[1] != source}
        if self._holder is not None and self._holder[1] == source:
            self._holder = None

    def _hear(self, command: GripperCommand, now: float) -> tuple[_Source, float]:
        """Source of a command, and how long it was silent before [s]."""
        self._sources = {
            key: source
            for key, source in self._sources.items()
            if now - source.heard < _FORGOTTEN_AFTER
        }
        key = (command.commander, command.source)
        source = self._sources.get(key)
        if source is None:
            source = self._sources[key] = _Source(heard=-math.inf)
        silent_for, source.heard = now - source.heard, now
        return source, silent_for

    def _problem(self, command: GripperCommand, source: _Source, now: float) -> str:
        """What is wrong with the command itself."""
        config = self._config
        if list(command.names) != [config.joint]:
            return f"gripper command is for {list(command.names)}; need [{config.joint!r}]"
        if len(command.positions) != 1:
            count = len(command.positions)
            return f"gripper command has {count} positions; need 1 opening ratio"
        if not math.isfinite(command.positions[0]):
            return f"gripper command is {command.positions[0]}; need a finite ratio 0..1"
        if not command.commander:
            return "gripper command names nobody; need the commander in header.frame_id"
        if command.refusal:
            return command.refusal
        if not abs(command.age) <= config.stamp_max_age:
            return (
                f"gripper command is {command.age:.3f} s old; need at most "
                f"{config.stamp_max_age} s: stamp it when sending, and keep the clocks of the "
                "machines together"
            )
        # The wall stamp tells a repetition exactly; the age orders stamps when that clock steps.
        if command.stamp_ns == source.stamp_ns or now - command.age < source.stamp:
            return "gripper command is not newer than the one before; need a new stamp"
        return ""

    def _blocked(self, command: GripperCommand, obstacle: str, now: float) -> str:
        """Why a good command is not followed now."""
        if self._stops.is_set:
            return f"stopped: {self.stop_reason}"
        if obstacle:
            return obstacle
        self._end_lease(now)
        if self._holder not in (None, (command.commander, command.source)):
            assert self._holder is not None
            other = "another publisher of " if self._holder[0] == command.commander else ""
            return f"{self._holder[0]} holds the gripper, {other}{command.commander} is refused"
        return ""

    def _end_lease(self, now: float) -> None:
        if now - self._last_accepted > LEASE_SILENCE:
            self._holder = None
