"""Which commands may move the gripper. Time is an argument.

The rules, in the order they apply:

=================  ==========================================================================
rule               effect
=================  ==========================================================================
joint              one opening, for the joint of this gripper, a finite number; clamped to 0..1
commander          the command names who asks, and one publisher of that name
age                a stamp further than ``stamp_max_age`` from now is refused
stopped            while a cause to stop is in force every command is refused
obstacle           so it is while the gripper is not ready
lease              as for an arm (`ate_core.lease`): one source at a time, each stamp newer than
                   the last one taken, and who went on sending through a stop, a lost gripper or
                   an activation must fall silent first. Where nobody stopped the gripper, who
                   asks for what it does anyway is followed
=================  ==========================================================================

Silence of the commander keeps the last target: a held object is not dropped.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

from ate_core.lease import UNMARKED, Commander, Lease, Mark
from ate_core.stop_latch import StopLatch

SAME_OPENING = 0.03
"""Openings so close count as the same [ratio]: 3.6 mm."""


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
    """Its publisher; empty where it cannot be told."""
    mark: Mark = UNMARKED
    """Which message of that publisher it is."""
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


class GripperGate:
    """Decides on the commands of one gripper."""

    def __init__(self, config: GateConfig) -> None:
        """Prepare; nobody holds the gripper."""
        self._config = config
        self._stops = StopLatch()
        self._lease = Lease("gripper")
        self._refusal = ""
        self.refused = 0
        """Commands refused so far."""

    @property
    def stop_reason(self) -> str:
        """Why the gripper is stopped; empty while it is free."""
        return self._stops.reason

    def commander(self, now: float) -> str:
        """Who holds the gripper; empty when nobody does."""
        if self._lease.is_over(now):
            self._lease.drop()
        return self._lease.holder.name

    @property
    def source(self) -> str:
        """Which publisher holds it, as of the last look at `commander`."""
        return self._lease.holder.source

    def silence(self, now: float) -> float:
        """Time since the last accepted command [s]."""
        return now - self._lease.last_accepted

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
        commander = Commander(command.commander, command.source)
        if command.refusal and not command.source:
            self._lease.hear_unknown(command.commander, now)
        else:
            self._lease.hear(commander, now, command.mark)
        ratio, stamp = 0.0, now - command.age
        problem = self._problem(command) or self._blocked(obstacle)
        if not problem:
            ratio = min(max(float(command.positions[0]), 0.0), 1.0)
            agrees = held is not None and abs(ratio - held) <= SAME_OPENING
            problem = self._lease.repetition(commander) or self._lease.refusal(
                commander, stamp, now, agrees=agrees
            )
        self._refusal = problem
        if problem:
            self.refused += 1
            return Verdict(accepted=False, reason=problem)
        self._lease.take(commander, stamp, now)
        return Verdict(accepted=True, ratio=ratio)

    def stop(self, cause: str, reason: str) -> bool:
        """Refuse everything for a cause until it is released; True when it is new."""
        self._lease.mute("a stop")
        return self._stops.set(cause, reason)

    def release(self, cause: str) -> bool:
        """End the stop of one cause; True when it was in force."""
        if not self._stops.release(cause):
            return False
        self._lease.mute("a stop")
        return True

    def expect_silence(self, why: str) -> None:
        """Follow no stream that goes on, but one that asks for what the gripper does anyway.

        Args:
            why: what it must not go on through.
        """
        self._lease.mute(why, may_agree=True)

    def depart(self, source: str) -> None:
        """End the lease of a publisher that has left."""
        if self._lease.holder.source == source:
            self._lease.drop()

    def _problem(self, command: GripperCommand) -> str:
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
        return ""

    def _blocked(self, obstacle: str) -> str:
        """Why no command is followed now."""
        return f"stopped: {self.stop_reason}" if self._stops.is_set else obstacle
