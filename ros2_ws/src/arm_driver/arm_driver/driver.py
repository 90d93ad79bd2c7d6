"""What the arm driver does on every tick: link state, safety filter, homing, faults. No ROS.

The back end is the only way to the arm, and everything sent through it went through the filter.
"""

import threading
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from arm_driver.homing import HomePath
from arm_driver.interface import ArmBackend, ArmSample, misfit
from arm_driver.latch import FAULT, SERVICE, StopLatch
from ate_core.contract import SafetyConfig
from ate_core.devices import ArmConfig
from ate_core.errors import DeviceError
from ate_core.safety import CommandVerdict, FilterOutput, FilterState, JointCommand, SafetyFilter

Array = NDArray[np.float64]

HOME = "home"
"""Commander name of the driver's own motion."""
HOME_SPEED = 1.0
"""Largest joint speed on the way home [rad/s]."""

STATE_NAMES = {
    FilterState.NO_FEEDBACK: "no_feedback",
    FilterState.IDLE: "connected",
    FilterState.TRACKING: "tracking",
    FilterState.HOLDING: "holding",
    FilterState.STOPPED: "stopped",
}


@dataclass(frozen=True, kw_only=True)
class DriverStatus:
    """What operators and other nodes are told."""

    state: str
    """disconnected, no_feedback, connected, tracking, homing, holding, stopped or fault."""
    reason: str
    """Why the arm does not follow; empty while it does or nobody asks."""
    commander: str
    """Who holds the arm; empty when nobody does."""


@dataclass(frozen=True, kw_only=True)
class Tick:
    """Result of one tick."""

    sample: ArmSample | None
    """State that no tick has reported before, else None: an old one is never stamped anew."""
    status: DriverStatus
    """What the driver does."""
    target: Array | None
    """What was sent, for traces."""


class ArmDriver:
    """One arm. `tick` runs in the streaming thread, the rest may be called from another."""

    def __init__(
        self, arm: ArmConfig, safety: SafetyConfig, backend: ArmBackend, period: float = 0.01
    ) -> None:
        """Prepare; nothing is sent before a command comes.

        Args:
            arm: joints, limits and home posture.
            safety: limits of the filter.
            backend: link to the arm.
            period: time between two ticks [s].
        """
        self._arm = arm
        self._safety = safety
        self._backend = backend
        self._period = period
        self._filter = SafetyFilter(safety, arm)
        self._lock = threading.Lock()
        self._session = 0
        self._reported = 0
        self._misfit = ""
        self._stops = StopLatch()
        self._clearing = False
        self._home: HomePath | None = None
        self.refused = 0
        """Commands refused so far."""

    def command(
        self, names: Sequence[str], position: Sequence[float], commander: str, stamp: float,
        now: float,
    ) -> CommandVerdict:  # fmt: skip
        """Take a command of another node; joints may come in any order.

        Args:
            names: joint names.
            position: targets in that order [rad].
            commander: who asks.
            stamp: when it was made, monotonic clock [s].
            now: present monotonic time [s].
        """
        ordered = self._in_order(names, position)
        if ordered is None or not commander or commander == HOME:
            what = f"joints {list(names)}" if ordered is None else f"commander {commander!r}"
            need = list(self._arm.joint_names) if ordered is None else "a name in frame_id"
            verdict = CommandVerdict(accepted=False, reason=f"command has {what}, need {need}")
        else:
            command = JointCommand(commander=commander, position=ordered, stamp=stamp)
            with self._lock:
                verdict = self._filter.submit(command, now)
        self.refused += not verdict.accepted
        return verdict

    def tick(self, now: float) -> Tick:
        """Read, filter, send."""
        sample = self._backend.latest()
        with self._lock:
            fresh = self._fresh(sample, now)
            self._watch_link()
            braking = self._watch_faults(fresh)
            self._continue_home(now)
            output = self._filter.step(now, None if fresh is None else fresh.position)
            target = output.target
            if target is not None:
                self._backend.stream(target)
            status = self._status(output)
        if braking:
            self._backend.stop()
        new = None
        if sample is not None and sample.sequence != self._reported:
            self._reported, new = sample.sequence, sample
        return Tick(sample=new, status=status, target=target)

    def stop(self, reason: str) -> bool:
        """Stop and stay stopped until `enable`; False when the controller did not confirm."""
        with self._lock:
            self._home = None
            self._stops.set(SERVICE, reason)
            self._filter.stop(reason)
        return self._backend.stop()

    def enable(self) -> str:
        """End a stop; returns why not, or an empty text."""
        with self._lock:
            fault = self._stops.reason_of(FAULT)
            if fault:
                return f"{fault}: call clear_errors first"
            self._stops.release(SERVICE)
            self._resume()
        return ""

    def clear_errors(self) -> str:
        """Clear the controller's errors; returns why not, or an empty text."""
        try:
            self._backend.clear_errors()
        except DeviceError as error:
            return str(error)
        with self._lock:
            self._clearing = True
        return ""

    def home(self, now: float) -> str:
        """Begin the way home; returns why not, or an empty text."""
        sample = self._backend.latest()
        with self._lock:
            fresh = self._fresh(sample, now)
            if fresh is None:
                return f"no state of the arm: {self._backend.link_error or 'stale'}"
            path = HomePath(fresh.position, self._arm.home, now, HOME_SPEED, self._period)
            first = JointCommand(commander=HOME, position=path.advance(now), stamp=now)
            verdict = self._filter.submit(first, now)
            if verdict.accepted:
                self._home = path
            return verdict.reason

    # --- parts, under the lock -----------------------------------------------------------

    def _fresh(self, sample: ArmSample | None, now: float) -> ArmSample | None:
        if sample is None or self._backend.link_error:
            return None
        return sample if now - sample.received <= self._safety.feedback_timeout else None

    def _watch_link(self) -> None:
        if self._backend.session != self._session:
            self._session = self._backend.session
            self._home = None
            self._filter.reset("")
            self._misfit = misfit(
                self._backend.identity(), self._arm, self._safety.position_margin
            )

    def _watch_faults(self, fresh: ArmSample | None) -> bool:
        """Latch a fault of the device; True when it has just appeared."""
        if fresh is None:
            return False
        fault = fresh.fault or self._misfit
        if fault:
            self._home = None
            self._filter.stop(fault)
            return self._stops.set(FAULT, fault)
        if self._clearing and self._stops.reason_of(FAULT):
            self._stops.release(FAULT)
            self._resume()
        self._clearing = self._clearing and bool(self._stops.reason_of(FAULT))
        return False

    def _resume(self) -> None:
        """Let the filter move the arm again, unless another stop is in force."""
        if self._stops.reason:
            self._filter.stop(self._stops.reason)
        else:
            self._filter.resume()

    def _continue_home(self, now: float) -> None:
        if self._home is None:
            return
        if self._home.done:
            self._home = None
            self._filter.release(HOME)
            return
        point = JointCommand(commander=HOME, position=self._home.advance(now), stamp=now)
        if not self._filter.submit(point, now).accepted:
            self._home = None
            self._filter.release(HOME)

    def _status(self, output: FilterOutput) -> DriverStatus:
        state, reason = STATE_NAMES[output.state], output.reason
        fault = self._stops.reason_of(FAULT)
        if fault:
            state, reason = "fault", fault
        elif self._backend.link_error:
            state, reason = "disconnected", self._backend.link_error
        elif output.state is FilterState.TRACKING and output.commander == HOME:
            state = "homing"
        return DriverStatus(state=state, reason=reason, commander=output.commander)

    def _in_order(self, names: Sequence[str], position: Sequence[float]) -> Array | None:
        """Targets (n,) in the arm's order, or None when joints are missing or unknown."""
        if tuple(names) == self._arm.joint_names and len(position) == len(names):
            return np.array(position, dtype=np.float64)
        if len(position) != len(names) or set(names) != set(self._arm.joint_names):
            return None
        by_name = dict(zip(names, position, strict=True))
        return np.array([by_name[name] for name in self._arm.joint_names], dtype=np.float64)
