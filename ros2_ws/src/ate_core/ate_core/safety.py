"""The safety filter of one arm, last before the wire: every joint target passes here.

Time is an argument (any monotonic clock, seconds), nothing is read inside, so the same code runs
in the driver at 100 Hz and in a simulation at any rate. The rules, in the order they apply:

=================  ==========================================================================
rule               effect
=================  ==========================================================================
stopped            after `stop` every command is refused until `resume`
feedback           without fresh measured joints commands are refused
complete           a command needs all joints, each a finite number
age                a stamp older than ``stamp_max_age`` (or as far ahead) is refused, and so is
                   one that is not newer than the last one taken: a repeated target is not new
lease              one publisher at a time (`ate_core.lease`); another, of the same kind too, is
                   refused until the first was silent for ``LEASE_SILENCE`` or released the arm.
                   Who went on sending through a stop, a `reset`, or a loss of the measured
                   joints for as long, must be silent for ``LEASE_SILENCE`` first: no arm moves
                   because somebody cleared or enabled something, or because something came back
position           the target is clipped to the limits less ``position_margin``, and to the guards
                   of the arm's model (the RM75's elbow stays above 0.1 rad)
jump               a target further than ``max_step`` from the set point is refused
interpolation      targets are joined by straight lines and played about one command period
                   later (`TargetPlayback`), so 20 Hz and 90 Hz commands both move smoothly
windup             a set point further than ``max_step`` from the measured joints goes no further
                   and comes back slowly: an arm that is blocked does not wind up
guard              what is near slows the arm down (`ate_core.motion_guard`)
motion             position, speed, acceleration and jerk (`ate_core.motion_limits`): every change
                   of the set point, braking too, is one continuous motion within them
silence            an arm goes no faster than it can be at rest ``REST_TIME`` after the last
                   accepted command; none for ``command_timeout``: brake to rest and hold. A
                   commander that knows its own silence says so with `hold`: brake at once
stop               braking is sent until the arm rests, then nothing. So it is when the measured
                   joints are lost: the controller still follows
set point          the controller stands at the last target, so the motion goes on from there
                   after holds, stops and lost feedback. After a `reset` the controller's set
                   point is another, and it starts from the measured joints
clock              a late step goes no further than one of ``LONGEST_ADVANCE``: what is just
                   before the wire would refuse it (`ate_core.stream_wall`). A step later than
                   ``LONGEST_STEP`` finds an arm that stands: it starts from rest. A clock that
                   goes backwards or is not finite makes the arm brake
=================  ==========================================================================
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ate_core.contract import SafetyConfig
from ate_core.devices import ArmConfig
from ate_core.errors import SafetyError
from ate_core.lease import LEASE_SILENCE as LEASE_SILENCE  # most meet it here
from ate_core.lease import NOBODY, UNMARKED, Commander, Lease, Mark
from ate_core.motion_guard import GuardVerdict, MotionGuard, NoGuard
from ate_core.motion_limits import MotionLimits, SetPoint
from ate_core.motion_profile import Motion, Rest, braking_speed, braking_time
from ate_core.playback import TargetPlayback
from ate_core.stream_wall import LONGEST_ADVANCE

Array = NDArray[np.float64]

LONGEST_STEP = 0.060
"""A step later than this finds the arm at rest where it was last told to be [s]."""
SHORTEST_STEP = 1e-4
"""Two steps closer than this are one [s]."""
USUAL_STEP = 0.010
"""Period of the stream where none is given [s]."""
RETURN_SPEED = 0.2
"""Speed at which the set point comes back to a blocked arm [rad/s]."""
REST_TIME = 0.190
"""Time from the last command after which an arm is at rest [s]: 200 ms from what it was made of.
That slows who commands at 20 Hz above 1.7 rad/s, at 90 Hz nobody."""
UNNOTICED = 0.015
"""Silence, beside two steps, that slows no joint, however long an arm needs to brake [s]."""
FEED_FORWARD_TIME = 0.010
"""Time constant of the path's velocity: a joint needs as long to take it up [s]."""


class FilterState(StrEnum):
    """What the filter does with the arm."""

    NO_FEEDBACK = "no_feedback"  # the measured joints are missing or old: braking, then nothing
    IDLE = "idle"  # no commander; nothing is sent, the controller keeps its last target
    TRACKING = "tracking"  # following a commander
    HOLDING = "holding"  # the commander fell silent or was refused: braking, then standing
    STOPPED = "stopped"  # stopped on purpose: braking, then nothing, until `SafetyFilter.resume`


@dataclass(frozen=True, kw_only=True, eq=False)
class JointCommand:
    """What a commander asks of one arm."""

    commander: str
    """Who asks, for instance ``teleop``."""
    source: str = ""
    """Which publisher of that name; empty where there is only one."""
    position: ArrayLike
    """Joint targets (n,) [rad]."""
    stamp: float
    """When it was made, on the clock of ``now`` [s]."""
    mark: Mark = UNMARKED
    """Which message of its publisher it is."""


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
    """Why it does not follow; while it does ``slowed:`` and by what, ``near:`` and what, or
    nothing."""
    commander: str
    """Who holds the lease; empty when nobody does."""
    source: str = ""
    """Which publisher of that name."""


class SafetyFilter:
    """Decide on commands (`submit`) and produce the set point (`step`) of one arm."""

    def __init__(
        self,
        config: SafetyConfig,
        arm: ArmConfig,
        guard: MotionGuard | None = None,
        period: float = USUAL_STEP,
    ) -> None:
        """Prepare; the first accepted command seeds the set point from the measured joints.

        Args:
            config: limits of the cell.
            arm: joints, their limits and guards.
            guard: what slows the arm near obstacles; None: nothing does.
            period: time between two steps that are in time [s].

        Raises:
            SafetyError: the limits leave a joint no room.
        """
        lower, upper = arm.bounds(config.position_margin)
        for name, low, high in zip(arm.joint_names, lower, upper, strict=True):
            if not low < high:
                raise SafetyError(
                    f"limits leave {name} no room ({low:.3f} to {high:.3f} rad): widen them or "
                    "shrink position_margin"
                )
        self._config = config
        self._limits = MotionLimits(
            lower=tuple(map(float, lower)),
            upper=tuple(map(float, upper)),
            speed=tuple(min(float(v), config.max_joint_speed) for v in arm.joint_speed),
            acceleration=config.max_joint_acceleration,
            jerk=config.max_joint_jerk,
        )
        brakes = config.max_joint_acceleration, config.max_joint_jerk
        longest = braking_time(max(self._limits.speed), *brakes)
        self._rest_time = max(REST_TIME, longest + UNNOTICED + 2.0 * period)
        self._guard: MotionGuard = guard or NoGuard()
        self._lease = Lease()
        self._lost_since: float | None = None
        self._stop_reason: str | None = None
        self._hold_reason = ""
        self._told = ""
        self._last_step = -math.inf
        self._usual_step = period
        self._longest_advance = max(LONGEST_ADVANCE, period)
        self._measured: list[float] | None = None
        self._set_point: SetPoint | None = None
        self._sent = False
        self._playback: TargetPlayback | None = None
        self._path_velocity = [0.0] * len(lower)

    def submit(self, command: JointCommand, now: float) -> CommandVerdict:
        """Check a command; when accepted it is the new target.

        Args:
            command: what is asked, by whom and when.
            now: present time [s].
        """
        commander = Commander(command.commander, command.source)
        self._lease.hear(commander, now, command.mark)
        reason, target = self._check(command, commander, now)
        if target is None:
            if self._lease.holder in (NOBODY, commander):
                self._hold_reason = reason
            return CommandVerdict(accepted=False, reason=reason)
        assert self._measured is not None
        if self._set_point is None:
            self._set_point, self._sent = SetPoint(self._limits, self._measured), False
        if self._playback is None or commander != self._lease.holder:
            self._playback = TargetPlayback(self._set_point.positions, now, now - command.stamp)
            self._path_velocity = [0.0] * len(target)
        self._playback.append(target, command.stamp, now)
        self._lease.take(commander, command.stamp, now)
        self._hold_reason = ""
        return CommandVerdict(accepted=True)

    def hear(self, commander: Commander, now: float, mark: Mark = UNMARKED) -> None:
        """Note a command that was refused before it came here: its sender is not silent.

        Args:
            commander: who sent it; without a source where that cannot be told.
            now: present time [s].
            mark: which message of its publisher it is.
        """
        if commander.source:
            self._lease.hear(commander, now, mark)
        else:
            self._lease.hear_unknown(commander.name, now)

    def hold(self, frame_id: str, stamp: float, now: float) -> None:
        """Let the arm brake at once because its commander says that it falls silent.

        The commander keeps the lease, and a command that it makes later moves the arm again.

        Args:
            frame_id: with which the commander signs; another's says nothing.
            stamp: when it said so, on the clock of ``now`` [s].
            now: present time [s].
        """
        holder = self._lease.holder
        if self._playback is None or not holder.signs(frame_id):
            return
        if not self._lease.is_newest(stamp):
            return
        self._hold(f"{holder} lets it hold")
        if abs(now - stamp) <= self._config.stamp_max_age:
            self._lease.silence(stamp)

    def release(self, commander: str, source: str = "") -> None:
        """Give the lease back; the arm then comes to rest."""
        if Commander(commander, source) == self._lease.holder:
            self._hold(f"released by {self._lease.holder}")
            self._lease.drop()

    def stop(self, reason: str) -> None:
        """Refuse everything until `resume`; `step` brakes, then sends nothing."""
        self._stop_reason = reason
        self._playback = None
        self._lease.mute("a stop")

    def resume(self) -> None:
        """End a stop; the motion goes on from the set point once somebody commands anew."""
        self._stop_reason = None
        self._hold_reason = ""
        self._lease.mute("a stop")

    def reset(self, reason: str, *, silence: bool = True) -> None:
        """Forget set point and commander: the controller's set point is no longer the last target.

        So it is with a new link, after a fault or a stop of the device's own, hand guiding or
        disabled joints. The next motion starts from the measured joints.

        Args:
            reason: why, for people.
            silence: whether who goes on sending must fall silent first; not after a hiccup that
                nobody has to end.
        """
        self._hold(reason)
        self._set_point = None
        if silence:
            self._lease.mute(f"a reset ({reason})" if reason else "a reset")

    def step(self, now: float, measured: ArrayLike | None) -> FilterOutput:
        """Advance to ``now``.

        Args:
            now: present time [s].
            measured: measured joints (n,) [rad], or None when they are missing or too old.
        """
        dt = self._elapsed(now)
        self._measured = self._believed(measured)
        self._mute_lost(now)
        tracked = self._playback is not None
        silence, timeout = now - self._lease.last_accepted, self._config.command_timeout
        if self._playback is not None and not silence < timeout:
            self._hold(
                self._hold_reason
                or f"no fresh command of {self._lease.holder} for {timeout * 1e3:.0f} ms"
            )
        if self._measured is None and self._playback is not None:
            self._hold("")
        if self._playback is None and not self._sent:
            self._set_point = None  # nothing of it reached the controller
        was_moving = self._set_point is not None and self._set_point.moving
        self._told = ""
        if self._set_point is not None and dt > 0.0 and (was_moving or self._playback):
            self._advance(self._set_point, now, dt)
        at_rest = self._set_point is None or not self._set_point.moving
        if not tracked and self._playback is None and at_rest and self._lease.is_over(now):
            self._lease.drop()
        return self._output(sends=was_moving or not at_rest)

    def _elapsed(self, now: float) -> float:
        """Time that the set point moves on [s]; a clock that cannot be believed makes it brake."""
        dt = now - self._last_step
        if 0.0 <= dt < SHORTEST_STEP:
            return 0.0
        if SHORTEST_STEP <= dt <= LONGEST_STEP:
            self._last_step, self._usual_step = now, dt
            return dt
        if dt > LONGEST_STEP and now < math.inf:
            self._last_step = now
            if self._set_point is not None:
                self._set_point.stand()
            if self._playback is not None:
                self._playback.at(now)
            return 0.0
        self._hold(f"the clock went from {self._last_step:.3f} to {now:.3f} s")
        if math.isfinite(now):
            self._last_step = now
            self._lease.rewind(now)
        else:
            self._last_step += self._usual_step
        return self._usual_step

    def _believed(self, measured: ArrayLike | None) -> list[float] | None:
        """Measured joints, or None when they are missing, incomplete or not finite."""
        if measured is None:
            return None
        q = np.asarray(measured, dtype=np.float64)
        if q.shape != (len(self._limits.lower),):
            return None
        joints: list[float] = q.tolist()
        return joints if all(map(math.isfinite, joints)) else None

    def _mute_lost(self, now: float) -> None:
        """After a longer loss of the measured joints nobody goes on who kept on sending."""
        if self._measured is not None:
            self._lost_since = None
            return
        if self._lost_since is None or now < self._lost_since:
            self._lost_since = now
        if now - self._lost_since >= LEASE_SILENCE:
            self._lease.mute("a loss of the measured joints")

    def _check(
        self, command: JointCommand, commander: Commander, now: float
    ) -> tuple[str, list[float] | None]:
        """Refusal reason, or the clipped target."""
        config = self._config
        if self._stop_reason is not None:
            return f"stopped: {self._stop_reason}", None
        if self._measured is None:
            return "no fresh measured joints", None
        position = np.asarray(command.position, dtype=np.float64)
        if position.shape != (len(self._measured),):
            return f"command has {position.size} joints, the arm has {len(self._measured)}", None
        target: list[float] = position.tolist()
        for joint, angle in enumerate(target, 1):
            if not math.isfinite(angle):
                return f"joint {joint} is {angle}, need a finite number", None
        reason = self._lease.repetition(commander)
        if reason:
            return reason, None
        age = now - command.stamp
        if not abs(age) <= config.stamp_max_age:
            bound = config.stamp_max_age * 1e3
            return f"stamp is {age * 1e3:.0f} ms old, bound {bound:.0f} ms", None
        reason = self._lease.refusal(commander, command.stamp, now)
        if reason:
            return reason, None
        limits = zip(target, self._limits.lower, self._limits.upper, strict=True)
        target = [min(max(angle, low), high) for angle, low, high in limits]
        reason = self._jump(target, self._measured)
        return reason, None if reason else target

    def _jump(self, target: list[float], measured: list[float]) -> str:
        """Why a target is too far away; what lies between set point and arm never is."""
        start = measured if self._set_point is None else self._set_point.positions
        step = [
            max(aim - max(a, b), min(a, b) - aim)
            for aim, a, b in zip(target, start, measured, strict=True)
        ]
        joint = step.index(max(step))
        if step[joint] <= self._config.max_step:
            return ""
        return (
            f"joint {joint + 1} jumps {step[joint]:.2f} rad from the set point, "
            f"bound {self._config.max_step:.2f} rad"
        )

    def _hold(self, reason: str) -> None:
        """Leave the path; the set point brakes."""
        self._playback = None
        self._hold_reason = reason

    def _advance(self, set_point: SetPoint, now: float, elapsed: float) -> None:
        """Move the set point by one step, a late one by no more than the wall lets through."""
        lower, upper = self._limits.lower, self._limits.upper
        dt = min(elapsed, self._longest_advance)
        if self._playback is None or self._measured is None:
            set_point.advance([0.0] * len(lower), dt, lower, upper)
            return
        wanted = self._paced(self._follow(set_point, self._playback, now, elapsed, dt), now, dt)
        reach = self._config.max_step
        nearest = [joint - reach for joint in self._measured]
        farthest = [joint + reach for joint in self._measured]
        for joint, (q, low, high) in enumerate(
            zip(set_point.positions, nearest, farthest, strict=True)
        ):
            if q > high:
                back = min(self._limits.closing_speed(q - high, dt), RETURN_SPEED)
                wanted[joint] = min(wanted[joint], -back)
            elif q < low:
                back = min(self._limits.closing_speed(low - q, dt), RETURN_SPEED)
                wanted[joint] = max(wanted[joint], back)
        lower = [a if a > b else b for a, b in zip(lower, nearest, strict=True)]
        upper = [a if a < b else b for a, b in zip(upper, farthest, strict=True)]
        if not isinstance(self._guard, NoGuard):
            verdict = self._guard.limit(
                set_point.q,
                set_point.velocity,
                np.array(wanted),
                dt,
                now,
                _Stopping(set_point, self._within_speed, dt, lower, upper),
            )
            wanted = self._within_speed(verdict.velocity)
            self._told = _told(verdict)
        set_point.advance(wanted, dt, lower, upper)

    def _follow(
        self,
        set_point: SetPoint,
        playback: TargetPlayback,
        now: float,
        elapsed: float,
        dt: float,
    ) -> list[float]:
        """Velocities (n,) [rad/s] that follow the commanded path.

        Args:
            set_point: what follows it.
            playback: the path.
            now: present time [s].
            elapsed: time since the step before, which the path goes on [s].
            dt: time by which the set point moves on [s].
        """
        before = playback.point
        after = playback.at(now)
        share = 1.0 - math.exp(-elapsed / FEED_FORWARD_TIME)
        self._path_velocity = [
            velocity + share * ((end - start) / elapsed - velocity)
            for velocity, start, end in zip(self._path_velocity, before, after, strict=True)
        ]
        follow = self._limits.follow
        return [
            follow(joint, q, point, velocity, dt)
            for joint, (q, point, velocity) in enumerate(
                zip(set_point.positions, before, self._path_velocity, strict=True)
            )
        ]

    def _paced(self, wanted: list[float], now: float, dt: float) -> list[float]:
        """Velocities (n,) from which the arm can be at rest in time if no command comes any more.

        Args:
            wanted: velocities (n,) [rad/s].
            now: present time [s].
            dt: length of the coming step, after which braking may begin [s].
        """
        left = self._rest_time - (now - self._lease.last_accepted) - dt
        pace = braking_speed(left, self._limits.acceleration, self._limits.jerk)
        return [min(max(velocity, -pace), pace) for velocity in wanted]

    def _within_speed(self, velocity: Array) -> list[float]:
        """Velocities (n,) within the joints' speeds; one that is no number brakes."""
        return [
            (v if -speed < v else -speed) if v < speed else (speed if v == v else 0.0)
            for v, speed in zip(velocity.tolist(), self._limits.speed, strict=True)
        ]

    def _output(self, *, sends: bool) -> FilterOutput:
        """What to send and say.

        Args:
            sends: whether the set point moved in this step.
        """
        holder = self._lease.holder
        if self._stop_reason is not None:
            state, reason = FilterState.STOPPED, self._stop_reason
        elif self._measured is None:
            state = FilterState.NO_FEEDBACK
            reason = f"measured joints older than {self._config.feedback_timeout * 1e3:.0f} ms"
        elif self._playback is not None:
            state, reason, sends = FilterState.TRACKING, self._told, True
        elif self._set_point is not None and (sends or holder is not NOBODY):
            state, reason, sends = FilterState.HOLDING, self._hold_reason, True
        else:
            state, reason = FilterState.IDLE, self._hold_reason
        target = self._set_point.q if self._set_point is not None and sends else None
        self._sent = self._sent or target is not None
        return FilterOutput(
            target=target,
            state=state,
            reason=reason,
            commander=holder.name,
            source=holder.source,
        )


class _Stopping(NamedTuple):
    """How the set point comes to rest after one step; see `StoppingPosture`."""

    set_point: SetPoint
    within_speed: Callable[[Array], list[float]]
    dt: float
    lower: Sequence[float]
    upper: Sequence[float]

    def __call__(self, velocity: Array) -> Array:
        wanted = self.within_speed(velocity)
        return self.set_point.stopping(wanted, self.dt, self.lower, self.upper)

    def ways(self, velocity: Array) -> list[tuple[Motion, Rest]]:
        wanted = self.within_speed(velocity)
        return self.set_point.ways(wanted, self.dt, self.lower, self.upper)


def _told(verdict: GuardVerdict) -> str:
    """What a guard says of a motion that it lets go on."""
    slowed = f"slowed: {verdict.reason}" if verdict.reason else ""
    near = f"near: {verdict.near}" if verdict.near else ""
    return f"{slowed}; {near}" if slowed and near else slowed or near
