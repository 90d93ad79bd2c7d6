"""What the arm driver does on every tick: link state, safety filter, homing, faults. No ROS.

The back end is the only way to the arm, and everything sent through it went through the filter.
"""

import threading
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from arm_driver.clearing import Clearing
from arm_driver.device_stop import DeviceStop
from arm_driver.feedback import Feedback
from arm_driver.home_motion import PASSED, Aside, HomeMotion, Permit, in_a_thread
from arm_driver.homing import HOME, PathCheck
from arm_driver.interface import ArmBackend, ArmSample, misfit
from arm_driver.latch import (
    CLEARED,
    ENDED_BY_ENABLE,
    ESTOP,
    FAULT,
    INACTIVE,
    OBSTACLE,
    SERVICE,
)
from arm_driver.place import Place
from arm_driver.status import SETTLING, Condition, driver_status
from arm_driver.status import DriverStatus as DriverStatus
from ate_core.contract import SafetyConfig
from ate_core.devices import ArmConfig
from ate_core.lease import LEASE_SILENCE, UNMARKED, Commander, Mark
from ate_core.motion_guard import MotionGuard
from ate_core.safety import CommandVerdict, JointCommand, SafetyFilter
from ate_core.stop_latch import StopLatch

Array = NDArray[np.float64]

STREAM_ANSWER = 0.050
"""How long a stop waits for the stream to begin braking before the device is told itself [s]."""
DEVICE_ANSWER = 0.040
"""How long it then waits for the device: together less than the 100 ms that are promised [s]."""

REPEAT_PERIOD = 0.2
"""How often a stop is asked for that the device did not confirm [s]."""


@dataclass(frozen=True, kw_only=True)
class Tick:
    """Result of one tick."""

    sample: ArmSample | None
    """Good state that no tick has reported before, else None: an old one is never stamped anew."""
    status: DriverStatus
    """What the driver does."""
    target: Array | None
    """What was sent, for traces."""


@dataclass(frozen=True, kw_only=True)
class _Stops:
    """The stops as one tick found them."""

    asked: int
    """Changes of the stops so far, for who waits for them to be taken."""
    epoch: int
    """Stops of the device so far; targets under way before the next are void."""
    count: int
    """Stops so far."""
    refusal: str
    """Why nobody may move the arm; empty: somebody may."""
    anew: bool
    """Whether the device's set point is no longer ours."""


class ArmDriver:
    """One arm.

    Threads. `tick` belongs to one thread, the stream. Everything else may be called from any
    other. Two locks: ``_gate`` guards the stops in force and what is asked of the stream, and is
    held for assignments only; ``_motion`` guards filter and homing, and is held for computation
    only. Neither is held during a call to the back end, so `stop`, `estop` and `set_active` never
    wait for a device, for `clear_errors`, `enable` or `home` of another thread, nor for a stream
    that hangs: the device's own stop is called in threads of its own (`DeviceStop`). A target
    that was under way while the device was told to stop is followed by another stop.
    """

    def __init__(
        self,
        arm: ArmConfig,
        safety: SafetyConfig,
        backend: ArmBackend,
        period: float = 0.01,
        path_problem: PathCheck | None = None,
        guard: MotionGuard | None = None,
        aside: Aside = in_a_thread,
    ) -> None:
        """Prepare; nothing is sent before a command comes.

        Args:
            arm: joints, limits and home posture.
            safety: limits of the filter.
            backend: link to the arm.
            period: time between two ticks [s].
            path_problem: judges the way home before it begins; None: only the filter does, on the
                way.
            guard: slows the arm near obstacles; None: nothing does.
            aside: looks at the way home where nobody may be kept waiting.
        """
        self._arm = arm
        self._safety = safety
        self._backend = backend
        self._period = period
        self._feedback = Feedback(backend, arm, safety.feedback_timeout)
        self._gentle = DeviceStop(lambda: backend.stop(fast=False))
        self._urgent = DeviceStop(lambda: backend.stop(fast=True))
        self._clearing = Clearing(backend)
        # Under the gate.
        self._gate = threading.Condition()
        self._stops = StopLatch()
        self._asked = 0  # changes of the stops
        self._taken = 0  # the last one that the stream took
        self._device_stops = 0  # stops of the device; targets under way before are void
        self._void = 0, 0  # requests of a stop, gentle and urgent, before the set point was lost
        self._told = 0  # stops so far that the device was told itself, or need not be
        self._begin_anew = False  # the device's set point is no longer ours
        self._forget = False  # the states before say nothing about those to come
        self._condition = Condition()
        # Under the lock of the motion.
        self._motion = threading.Lock()
        self._filter = SafetyFilter(safety, arm, guard, period)
        self.way_home = HomeMotion(
            arm.home,
            self._filter,
            self._motion,
            self._permit_way,
            lambda: self.stops_so_far,
            path_problem=path_problem,
            period=period,
            aside=aside,
        )
        """The arm's own motion."""
        # Of the stream alone.
        self._obeyed = ""
        self._strange = False  # the arm may be elsewhere than it was known to be
        self._was_ready = False
        self._settled = False
        self._hiccup = False  # the set point was lost, but nobody has to end anything
        self._hiccup_began = -np.inf
        self._gliding = False
        self._moves_itself = False  # it may brake, glide or follow somebody else
        self._obeyed_stops = 0
        self._repeated_at = -np.inf
        self._target: Array | None = None
        self._set_point: Array | None = None
        self._place = Place()
        self.ticks = 0
        """Ticks so far."""
        self.refused = 0
        """Commands refused so far."""

    # --- from any thread ---------------------------------------------------------------------

    def command(
        self, names: Sequence[str], position: Sequence[float], commander: str, stamp: float,
        now: float, source: str = "", mark: Mark = UNMARKED, refusal: str = "",
    ) -> CommandVerdict:  # fmt: skip
        """Take a command of another node, also one that is refused: its sender is not silent.

        Args:
            names: joint names, in any order.
            position: targets in that order [rad].
            commander: who asks.
            stamp: when it was made, monotonic clock [s].
            now: present monotonic time [s].
            source: which publisher it came from; empty where that cannot be told.
            mark: which message of its publisher it is.
            refusal: why it is refused already; empty when it is not.
        """
        ordered = self._in_order(names, position)
        if not refusal and ordered is None:
            refusal = f"command has joints {list(names)}, need {list(self._arm.joint_names)}"
        if not refusal and commander in ("", HOME):
            refusal = f"command has commander {commander!r}, need a name in frame_id"
        if refusal or ordered is None:
            with self._motion:
                self._filter.hear(Commander(commander, source), now, mark)
            self.refused += 1
            return CommandVerdict(accepted=False, reason=refusal)
        command = JointCommand(
            commander=commander, source=source, position=ordered, stamp=stamp, mark=mark
        )
        with self._motion:
            if self.way_home.is_wanted and abs(now - stamp) <= self._safety.stamp_max_age:
                self.way_home.end(f"the way home was ended by {commander}")
            # A refused one is shown to the filter too: who kept on sending during a stop
            # must not move the arm after it.
            verdict = self._filter.submit(command, now)
            if verdict.accepted:
                self.way_home.ended = ""
        refusal = self.refusal
        if verdict.accepted and refusal:
            verdict = CommandVerdict(accepted=False, reason=refusal)
        self.refused += not verdict.accepted
        return verdict

    def hold(self, frame_id: str, stamp: float, now: float) -> None:
        """Brake at once for a commander that falls silent, see `SafetyFilter.hold`."""
        with self._motion:
            self._filter.hold(frame_id, stamp, now)

    def release(self, commander: str, source: str) -> None:
        """Give the arm back for a commander that is done or gone; the arm comes to rest."""
        with self._motion:
            self._filter.release(commander, source)

    def stop(self, reason: str) -> bool:
        """Stop and stay stopped until `enable`; acknowledged within 100 ms.

        The stream brakes within the limits. Where it does not answer, the device is told itself.

        Returns:
            False when neither the stream nor the device confirmed in time; the stop is in force.
        """
        with self._gate:
            number = self._latch(SERVICE, reason)
            if self._gate.wait_for(lambda: self._taken >= number, STREAM_ANSWER):
                return True
        return self.stop_device(reason, DEVICE_ANSWER)

    def estop(self, reason: str) -> bool:
        """Stop as fast as the joints can until `estop_reset`; acknowledged within 100 ms.

        Returns:
            False when the device did not confirm in time; the stop is in force.
        """
        with self._gate:
            self._latch(ESTOP, reason)
            self._give_up_set_point()
            self._told = self._stops.count
        return self._urgent.wait(self._urgent.request(), STREAM_ANSWER + DEVICE_ANSWER)

    def estop_reset(self) -> None:
        """End the emergency stop; the arm moves with a commander that begins anew, or home."""
        with self._gate:
            self._stops.release(ESTOP)
            self._asked += 1

    def stop_device(self, reason: str, timeout: float) -> bool:
        """Tell the device itself to stop, whatever the stream does; whether it confirmed.

        Args:
            reason: why, for the log.
            timeout: longest wait for the device [s].
        """
        with self._gate:
            self._give_up_set_point()
            self._told = self._stops.count
        return self._gentle.wait(self._gentle.request(), timeout)

    def enable(self, stops: int | None = None) -> str:
        """End a stop, or the refusal after a fault or an obstacle; returns why not, or nothing.

        Args:
            stops: `stops_so_far` when it was asked for; None: it is asked for now.
        """
        with self._gate:
            if stops not in (None, self.stops_so_far):
                return "a stop came after this was asked for: enable anew"
            fault, estop = self._stops.reason_of(FAULT), self._stops.reason_of(ESTOP)
            if fault:
                return f"{fault}: call clear_errors first"
            if estop:
                return f"emergency stop: {estop}: reset it first"
            if self._condition.obstacle:
                return f"{self._condition.obstacle}: end that first"
            for cause in ENDED_BY_ENABLE:
                self._stops.release(cause)
            self._asked += 1
            self._forget = True
        return ""

    def clear_errors(self) -> str:
        """Clear the device's errors; returns why not, or nothing. Never lets the arm move.

        Succeeds when fresh states have shown no error for a while, and fails after at most
        `clearing.CALL_TIMEOUT` + `clearing.CHECK_TIMEOUT`; call it from a thread of its own. After
        it `enable` is needed. A fault that vanishes by itself needs both.
        """
        problem = self._clearing.run(self._misfit)
        if problem:
            return problem
        with self._gate:
            self._forget = True
            fault = self._stops.reason_of(FAULT)
            if fault:
                self._stops.release(FAULT)
                self._latch(CLEARED, f"cleared: {fault}; call arm/enable")
        return ""

    @property
    def stops_so_far(self) -> int:
        """Counts all that ends motions: stops of any cause, also of the device, and new links.

        What was asked for before a change of it must not begin after it.
        """
        with self._gate:
            return self._stops.count + self._device_stops

    @property
    def refusal(self) -> str:
        """Why no motion may begin now; empty when one may."""
        with self._gate:
            if self._stops.reason:
                return f"stopped: {self._stops.reason}"
            if self._condition.obstacle:
                return self._condition.obstacle
            return SETTLING if self._condition.settling else ""

    def home(self, now: float, stops: int | None = None) -> str:
        """Begin the whole way home, see `HomeMotion.home`; returns why not, or nothing.

        Any command of another commander, a stop, an emergency stop or deactivation ends it.
        """
        return self.way_home.home(now, stops)

    def hold_home(self, now: float) -> str:
        """Go home as long as a button is held, see `HomeMotion.hold`; returns why not."""
        return self.way_home.hold(now)

    def set_active(self, active: bool) -> None:
        """Accept commands, or refuse them and brake; moves nothing by itself."""
        with self._gate:
            if active:
                self._stops.release(INACTIVE)
                self._asked += 1
            else:
                self._latch(INACTIVE, "inactive: activate the driver")

    def link_problem(self) -> str:
        """Why the arm cannot be activated: no link, no good state, another device; or nothing."""
        with self._gate:
            condition = self._condition
        if self._backend.link_error:
            return self._backend.link_error
        wrong = self._misfit()
        if wrong or condition.fresh:
            return wrong
        return condition.doubt or "no state of the arm yet"

    def measured(self, now: float) -> Array | None:
        """Joints (n,) [rad] of the newest good state; None when it is too old, or without link."""
        sample = self._feedback.fresh(now)
        return None if sample is None else sample.position

    @property
    def at_rest(self) -> bool:
        """Whether the stream took the last stop and sends nothing."""
        with self._gate:
            taken = self._taken >= self._asked or bool(self._condition.link_error)
            return taken and self._target is None

    # --- the stream --------------------------------------------------------------------------

    def tick(self, now: float) -> Tick:
        """Read, filter, send."""
        new = self._read()
        current, fresh = self._feedback.current(now), self._feedback.fresh(now)
        self._watch_faults(current)
        obstacle = self._watch_obstacle(current)
        self._watch_place(fresh, now)
        self._repeat_stops(now)
        stops = self._take_stops(obstacle)
        settling = not stops.refusal and fresh is not None and not self._settle(fresh, stops.epoch)
        with self._motion:
            self._obey(stops.refusal or (SETTLING if settling else ""), stops, now)
            if self._hiccup:  # nothing is sent, whoever goes on commanding
                self._filter.reset(SETTLING, silence=False)
            goes_on = self.way_home.step(now, self._target, fresh is not None and not settling)
            output = self._filter.step(now, None if fresh is None else fresh.position)
            home_ended = self.way_home.ended
        delivered = self._send(output.target, stops.epoch)
        if settling or self._target is not None:
            self._place.send(now)
        condition = Condition(
            link_error=self._backend.link_error,
            fresh=fresh is not None,
            obstacle=obstacle,
            doubt=self._feedback.doubt,
            settling=settling,
            hiccup=self._hiccup,
            home_ended=home_ended,
        )
        with self._gate:
            self._condition = condition
            if delivered:
                self._taken = stops.asked
                self._gate.notify_all()
            status = driver_status(self._stops, condition, output, self._feedback.newest)
        if goes_on:
            self.way_home.go_on(now)
        self.ticks += 1
        return Tick(sample=new, status=status, target=self._target)

    def _read(self) -> ArmSample | None:
        """Look at the newest state; returned when it is new and good."""
        with self._gate:
            forget, self._forget = self._forget, False
        reading = self._feedback.read(forget, self._target, self._set_point)
        if reading.has_moved:
            self._strange = self._strange or reading.is_strange
            with self._gate:
                self._give_up_set_point()
        return reading.sample

    def _watch_faults(self, current: ArmSample | None) -> None:
        """Latch a fault of the device, and let it brake when it has just appeared.

        A device that is another one may have told nothing but that.
        """
        fault = (current.fault if current is not None else "") or self._misfit()
        if not fault:
            return
        with self._gate:
            appeared = self._stops.set(FAULT, fault)
            if appeared:
                self._asked += 1
                self._give_up_set_point()
                self._told = self._stops.count
        if appeared:
            self._gentle.request()

    def _watch_obstacle(self, current: ArmSample | None) -> str:
        """Why the device follows no targets; it stays refused until enabled once it was ready."""
        if current is None:
            return self._condition.obstacle
        with self._gate:
            active = not self._stops.any_of(INACTIVE)
            appeared = bool(current.obstacle) and not self._condition.obstacle
            if appeared:
                self._give_up_set_point()
            if current.obstacle and active and self._was_ready:
                self._stops.set(OBSTACLE, f"there was {current.obstacle}; call arm/enable")
        if appeared and self._target is not None and not all(current.enabled):
            self._gentle.request()  # nobody else brakes the joints that are left
        if not current.obstacle and active:
            self._was_ready = True
        return current.obstacle

    def _watch_place(self, fresh: ArmSample | None, now: float) -> None:
        """Give the set point up where somebody else moved an arm that was told nothing."""
        if self._set_point is not None and self._place.is_left(fresh, now):
            with self._gate:
                self._give_up_set_point()

    def _take_stops(self, obstacle: str) -> _Stops:
        """Look at the stops in force; a device that moves by itself is told, as nothing is sent.

        Args:
            obstacle: why the device follows no targets; empty when it does.
        """
        with self._gate:
            told, self._told = self._told, self._stops.count
            halts = self._moves_itself and (
                self._stops.count != told or (self._gliding and bool(obstacle))
            )
            if halts:
                self._give_up_set_point()
            anew, self._begin_anew = self._begin_anew or bool(obstacle), False
            stops = _Stops(
                asked=self._asked,
                epoch=self._device_stops,
                count=self._stops.count,
                refusal=self._stops.reason or obstacle,
                anew=anew,
            )
        if halts:
            self._gentle.request()
        if anew:
            self._settled, self._gliding, self._moves_itself = False, False, True
            self._set_point = None
        return stops

    def _repeat_stops(self, now: float) -> None:
        """Ask again for a stop that the device did not confirm, as long as one is in force."""
        if now - self._repeated_at < REPEAT_PERIOD or self._backend.link_error:
            return
        with self._gate:
            stopped = bool(self._stops.reason)
        for stop in (self._urgent, self._gentle):
            if stopped and stop.is_open:
                self._repeated_at = now
                stop.request()

    def _settle(self, fresh: ArmSample, epoch: int) -> bool:
        if not self._settled and not self._feedback.doubt:
            self._moves_itself = self._gliding = True
            self._settled = self._backend.settle(fresh.position)
            self._moves_itself = self._gliding = not self._settled
            self._stop_again(epoch)
        return self._settled

    def _obey(self, refusal: str, stops: _Stops, now: float) -> None:
        """Stop or free the filter; under the lock of the motion.

        Args:
            refusal: why nobody may move the arm; empty: somebody may.
            stops: all of them; one that came and went between two ticks counts.
            now: present time [s].
        """
        if stops.anew:
            # After a hiccup of the stream its commander goes on; nobody enabled anything.
            silence = self._strange or bool(stops.refusal)
            if silence:
                self.way_home.end(refusal)
            else:
                self.way_home.interrupt(SETTLING, now)
            self._filter.reset(refusal, silence=silence)
            self._hiccup_began = self._hiccup_began if self._hiccup else now
            self._hiccup, self._strange = not silence, False
        if self._settled or stops.refusal or now - self._hiccup_began >= LEASE_SILENCE:
            self._hiccup = False  # one that lasts is a stop
        if self._hiccup:
            refusal = ""
        passed = stops.count != self._obeyed_stops
        if refusal == self._obeyed and not passed:
            return
        if refusal or passed:
            self.way_home.end(refusal or PASSED)
            self._filter.stop(refusal or PASSED)
        if not refusal:
            self._filter.resume()
        self._obeyed, self._obeyed_stops = refusal, stops.count

    def _send(self, target: Array | None, epoch: int) -> bool:
        """Send a target; whether the arm is where the filter has it, moving or at rest."""
        with self._gate:
            overtaken = self._device_stops != epoch
        self._target = target = None if overtaken else target
        if overtaken:
            return False
        if target is None:
            return not self._backend.link_error and (not self._moves_itself or self._halted())
        self._set_point = target
        delivered = self._backend.stream(target)
        self._stop_again(epoch)
        return delivered

    def _halted(self) -> bool:
        """Whether the device confirmed a stop since the set point was given up."""
        with self._gate:
            stops = zip((self._gentle, self._urgent), self._void, strict=True)
            return any(stop.is_confirmed_since(number) for stop, number in stops)

    def _stop_again(self, epoch: int) -> None:
        """Repeat a stop of the device that was told while a target was on its way."""
        with self._gate:
            overtaken = self._device_stops != epoch
            urgent = self._stops.any_of(ESTOP)
        if overtaken:
            (self._urgent if urgent else self._gentle).request()

    # --- parts -------------------------------------------------------------------------------

    def _latch(self, cause: str, reason: str) -> int:
        """Set a stop, under the gate; its number, to wait for the stream to take it."""
        self._stops.set(cause, reason)
        self._asked += 1
        return self._asked

    def _give_up_set_point(self) -> None:
        """Void the targets under way, under the gate: the device stops by itself."""
        self._device_stops += 1
        self._begin_anew = True
        self._void = self._gentle.asked, self._urgent.asked

    def _permit_way(self, now: float) -> Permit:
        """Whether a way home may begin at ``now`` [s]."""
        fresh, refusal = self._feedback.fresh(now), self.refusal
        if fresh is None and not refusal:
            refusal = f"no state of the arm: {self._feedback.problem}"
        return Permit(refusal, None if refusal or fresh is None else fresh.position)

    def _misfit(self) -> str:
        return misfit(self._backend.identity(), self._arm, self._safety.position_margin)

    def _in_order(self, names: Sequence[str], position: Sequence[float]) -> Array | None:
        """Targets (n,) in the arm's order, or None when joints are missing, unknown or twice."""
        if tuple(names) == self._arm.joint_names and len(position) == len(names):
            return np.array(position, dtype=np.float64)
        if len(position) != len(names) or sorted(names) != sorted(self._arm.joint_names):
            return None
        by_name = dict(zip(names, position, strict=True))
        return np.array([by_name[name] for name in self._arm.joint_names], dtype=np.float64)
