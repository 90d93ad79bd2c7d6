"""The safety filter of one arm, last before the wire: every joint target passes here.

Time is an argument (any monotonic clock, seconds), nothing is read inside, so the same code runs
in the driver at 100 Hz and in a simulation at any rate. The rules, in the order they apply:

=================  ==========================================================================
rule               effect
=================  ==========================================================================
stopped            after `stop` every command is refused until `resume`
feedback           without fresh measured joints commands are refused and nothing is sent
complete           a command needs all joints, each a finite number
age                a stamp older than ``stamp_max_age`` (or as far ahead) is refused, and so is
                   one that is not newer than the last one taken: a repeated target is not new
lease              one commander at a time; another is refused until the first was silent for
                   ``LEASE_SILENCE`` or released the arm
position           the target is clipped to the limits less ``position_margin``, and to the guards
                   of the arm's model (the RM75's elbow stays above 0.1 rad)
jump               a target further than ``max_step`` from the set point is refused
interpolation      targets are joined by straight lines and played about one command period
                   later (`TargetPlayback`), so 20 Hz and 90 Hz commands both move smoothly
speed              at most ``max_joint_speed`` and the joint's own speed
acceleration       at most ``max_joint_acceleration``
bounds             it brakes in time for position limits, and never leads the measured joint
                   by more than ``max_step``: an arm that is blocked does not wind up
silence            no accepted command for ``command_timeout``: brake to rest and hold
re-seeding         after a stop, lost feedback or a `reset` the set point starts from the
                   measured joints; after a hold also, if the arm is elsewhere by more than
                   ``RESEED_TOLERANCE``. Resuming never jumps.
=================  ==========================================================================
"""

from dataclasses import dataclass
from enum import StrEnum

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ate_core.contract import SafetyConfig
from ate_core.devices import ArmConfig
from ate_core.errors import SafetyError
from ate_core.motion_limits import MotionLimits
from ate_core.playback import TargetPlayback

Array = NDArray[np.float64]

LEASE_SILENCE = 0.5
"""Silence after which another commander may take the arm [s]: several command timeouts, so a
hiccup of one producer does not hand its arm to another."""
RESEED_TOLERANCE = 0.02
"""Servo droop that is no reason to move the set point when resuming after a hold [rad]."""
LONGEST_STEP = 0.060
"""A later step moves the arm as if this much time had passed [s]."""
AT_REST = 1e-9
"""Speed below which the set point stands [rad/s]."""


class FilterState(StrEnum):
    """What the filter does with the arm."""

    NO_FEEDBACK = "no_feedback"  # the measured joints are missing or old; nothing is sent
    IDLE = "idle"  # no commander; nothing is sent, the controller keeps its last target
    TRACKING = "tracking"  # following a commander
    HOLDING = "holding"  # the commander fell silent or was refused: braking, then standing
    STOPPED = "stopped"  # stopped on purpose; nothing is sent until `SafetyFilter.resume`


@dataclass(frozen=True, kw_only=True, eq=False)
class JointCommand:
    """What a commander asks of one arm."""

    commander: str
    """Who asks, for instance ``teleop``."""
    position: ArrayLike
    """Joint targets (n,) [rad]."""
    stamp: float
    """When it was made, on the clock of ``now`` [s]."""


@dataclass(frozen=True, kw_only=True)
class CommandVerdict:
    """Whether a command was taken."""

    accepted: bool
    """True when it became the new target."""
    reason: str = ""
    """Why not: what, the value and the bound."""


@dataclass(frozen=True, kw_only=True, eq=False)
class FilterOutput:
    """What to send now."""

    target: Array | None
    """Set point (n,) [rad]; None: send nothing, the arm keeps what it has."""
    state: FilterState
    """What the filter does."""
    reason: str
    """Why it does not track; empty while it does."""
    commander: str
    """Who holds the lease; empty when nobody does."""


class SafetyFilter:
    """Decide on commands (`submit`) and produce the set point (`step`) of one arm."""

    def __init__(self, config: SafetyConfig, arm: ArmConfig) -> None:
        """Prepare; the first `step` with measured joints seeds the set point.

        Args:
            config: limits of the cell.
            arm: joints, their limits and guards.

        Raises:
            SafetyError: the limits leave a joint no room.
        """
        lower, upper = arm.bounds(config.position_margin)
        limits = MotionLimits(
            lower=np.array(lower),
            upper=np.array(upper),
            speed=np.minimum(arm.joint_speed, config.max_joint_speed),
            acceleration=config.max_joint_acceleration,
        )
        if not np.all(limits.lower < limits.upper):
            joint = int(np.argmin(limits.upper - limits.lower))
            raise SafetyError(
                f"limits leave {arm.joint_names[joint]} no room ({limits.lower[joint]:.3f} to "
                f"{limits.upper[joint]:.3f} rad): widen them or shrink position_margin"
            )
        self._config = config
        self._limits = limits
        self._stop_reason: str | None = None
        self._hold_reason = ""
        self._commander = ""
        self._last_accepted = -np.inf
        self._last_stamp = -np.inf
        self._last_step = -np.inf
        self._measured: Array | None = None
        self._setpoint: Array | None = None
        self._velocity: Array = np.zeros_like(limits.lower)
        self._playback: TargetPlayback | None = None
        self._state = FilterState.IDLE

    def submit(self, command: JointCommand, now: float) -> CommandVerdict:
        """Check a command; when accepted it is the new target.

        Args:
            command: what is asked, by whom and when.
            now: present time [s].
        """
        self._hold_reason, target = self._check(command, now)
        if target is None:
            return CommandVerdict(accepted=False, reason=self._hold_reason)
        if self._playback is None or self._state is not FilterState.TRACKING:
            assert self._setpoint is not None
            self._playback = TargetPlayback(self._setpoint, now, now - command.stamp)
        self._playback.append(target, command.stamp, now)
        self._commander = command.commander
        self._last_accepted = now
        self._last_stamp = command.stamp
        self._state = FilterState.TRACKING
        return CommandVerdict(accepted=True)

    def release(self, commander: str) -> None:
        """Give the lease back; the arm then comes to rest."""
        if commander == self._commander:
            self._last_accepted = -np.inf
            self._hold_reason = f"released by {commander}"

    def stop(self, reason: str) -> None:
        """Refuse everything and send nothing until `resume`; the caller stops the device."""
        self._stop_reason = reason
        self._forget_motion()

    def resume(self) -> None:
        """End a stop; the set point starts again from the measured joints."""
        self._stop_reason = None
        self._hold_reason = ""
        self._forget_motion()

    def reset(self, reason: str) -> None:
        """Forget set point and commander, for instance when the link was lost."""
        self._hold_reason = reason
        self._forget_motion()

    def step(self, now: float, measured: ArrayLike | None) -> FilterOutput:
        """Advance to ``now``.

        Args:
            now: present time [s].
            measured: measured joints (n,) [rad], or None when they are missing or too old.
        """
        dt = min(max(now - self._last_step, 0.0), LONGEST_STEP)
        self._last_step = now
        self._measured = None if measured is None else np.array(measured, dtype=np.float64)
        if self._measured is None:
            self._forget_motion()
        if self._stop_reason is not None:
            return self._output(FilterState.STOPPED, self._stop_reason, None)
        if self._measured is None:
            reason = f"measured joints older than {self._config.feedback_timeout * 1e3:.0f} ms"
            return self._output(FilterState.NO_FEEDBACK, reason, None)
        silence = now - self._last_accepted
        if self._state is FilterState.TRACKING and silence > self._config.command_timeout:
            self._state = FilterState.HOLDING
            limit_ms = self._config.command_timeout * 1e3
            self._playback = None
            if not self._hold_reason:
                self._hold_reason = f"no fresh command of {self._commander} for {limit_ms:.0f} ms"
        if self._setpoint is not None and dt > 0.0:
            self._advance(now, dt)
        at_rest = bool(np.all(np.abs(self._velocity) < AT_REST))
        if self._state is FilterState.HOLDING and at_rest and silence > LEASE_SILENCE:
            self._state = FilterState.IDLE
            self._commander = ""
        if self._state is FilterState.IDLE:
            return self._output(FilterState.IDLE, self._hold_reason, None)
        if self._state is FilterState.TRACKING:
            return self._output(FilterState.TRACKING, "", self._setpoint)
        return self._output(FilterState.HOLDING, self._hold_reason, self._setpoint)

    def _check(self, command: JointCommand, now: float) -> tuple[str, Array | None]:
        """Refusal reason, or the clipped target; seeds the set point when the arm was idle."""
        config = self._config
        if self._stop_reason is not None:
            return f"stopped: {self._stop_reason}", None
        if self._measured is None:
            return "no fresh measured joints", None
        target = np.asarray(command.position, dtype=np.float64)
        if target.shape != self._limits.lower.shape:
            return f"command has {target.size} joints, the arm has {self._limits.lower.size}", None
        if not np.all(np.isfinite(target)):
            joint = int(np.argmin(np.isfinite(target))) + 1
            return f"joint {joint} is {target[joint - 1]}, need a finite number", None
        age = now - command.stamp
        if not abs(age) <= config.stamp_max_age:
            bound = config.stamp_max_age * 1e3
            return f"stamp is {age * 1e3:.0f} ms old, bound {bound:.0f} ms", None
        silence = now - self._last_accepted
        if command.commander != self._commander:
            if self._commander and silence <= LEASE_SILENCE:
                return f"{self._commander} holds the arm, {command.commander} is refused", None
        elif command.stamp <= self._last_stamp:
            return "stamp is not newer than the command before", None
        target = np.clip(target, self._limits.lower, self._limits.upper)
        seed = self._seed()
        step = np.abs(target - seed)
        joint = int(np.argmax(step))
        if step[joint] > config.max_step:
            return (
                f"joint {joint + 1} jumps {step[joint]:.2f} rad from the set point, "
                f"bound {config.max_step:.2f} rad"
            ), None
        self._setpoint = seed
        return "", target

    def _seed(self) -> Array:
        """Set point from which a command starts."""
        assert self._measured is not None
        if self._setpoint is None:
            return self._measured
        if self._state is FilterState.TRACKING or np.any(np.abs(self._velocity) >= AT_REST):
            return self._setpoint
        away = float(np.max(np.abs(self._setpoint - self._measured)))
        return self._setpoint if away <= RESEED_TOLERANCE else self._measured

    def _advance(self, now: float, dt: float) -> None:
        """Move the set point by one step within speed, acceleration and bounds."""
        assert self._setpoint is not None and self._measured is not None
        wanted = np.zeros_like(self._setpoint)
        if self._state is FilterState.TRACKING and self._playback is not None:
            before = self._playback.point
            path_velocity = (self._playback.at(now) - before) / dt
            wanted = self._limits.follow(self._setpoint, before, path_velocity, dt)
            wanted = self._limits.within(
                self._setpoint, wanted, self._measured, self._config.max_step, dt
            )
        self._setpoint, self._velocity = self._limits.advance(
            self._setpoint, self._velocity, wanted, dt
        )

    def _forget_motion(self) -> None:
        self._setpoint = None
        self._velocity = np.zeros_like(self._limits.lower)
        self._playback = None
        self._commander = ""
        self._state = FilterState.IDLE

    def _output(self, state: FilterState, reason: str, target: Array | None) -> FilterOutput:
        return FilterOutput(
            target=None if target is None else target.copy(),
            state=state,
            reason=reason,
            commander=self._commander,
        )
