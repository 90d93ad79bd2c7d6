"""What the gripper driver does: commands, stops, faults and what it tells. No ROS, no clock.

A stop never opens the fingers: they come to rest where they are, and what they press on stays
pressed. Nothing moves because a stop was released; see `omnipicker_driver.gate`.
"""

import math
from dataclasses import dataclass
from typing import Protocol

from ate_core.lease import LEASE_SILENCE
from omnipicker_driver.gate import GateConfig, GripperCommand, GripperGate, Verdict
from omnipicker_driver.state import GripperState
from omnipicker_driver.status import GripperStatus, fault_text, silence_text, status_of

ESTOP = "estop"
"""The emergency stop of the cell."""
ARM = "arm"
"""The arm of this gripper was stopped, or has a fault."""
FAULT = "fault"
"""The gripper reports a fault."""
ARM_HELD = ("stopped", "fault")
"""States of the arm in which its gripper holds."""
ARM_FREE = ("connected", "tracking", "homing", "holding")
"""States of the arm that end such a hold; others, as a lost link, say nothing about it."""
STARTING = "not activated"


class GripperPort(Protocol):
    """What drives the fingers; see `GripperClient`."""

    @property
    def state(self) -> GripperState:
        """The newest knowledge."""

    def set_target(self, ratio: float) -> bool:
        """Move to an opening; False when the gripper cannot be driven yet."""

    def hold(self) -> None:
        """Come to rest where the fingers are."""


@dataclass(frozen=True, kw_only=True)
class DriverConfig:
    """One gripper."""

    gate: GateConfig
    """Which commands pass."""
    stale_after: float
    """Age from which a report no longer describes the gripper [s]."""
    stroke_m: float
    """Opening between the fingers at ratio 1 [m]."""


class GripperDriver:
    """One gripper. All methods are called from one thread."""

    def __init__(self, config: DriverConfig, port: GripperPort) -> None:
        """Prepare; commands are refused until `activate`.

        Args:
            config: the gripper.
            port: drives the fingers.
        """
        self._config = config
        self._port = port
        self._gate = GripperGate(config.gate)
        self._inactive = STARTING
        self._openings = 0
        self._has_told = False
        self._silent_since = math.inf

    @property
    def refused(self) -> int:
        """Commands refused so far."""
        return self._gate.refused

    def command(self, command: GripperCommand, now: float) -> Verdict:
        """Take a command of another node at ``now`` (monotonic) [s]."""
        self._follow_link(now)
        obstacle = self._inactive or self._follow_silence(now)
        target = self._port.state.target
        verdict = self._gate.submit(command, now, obstacle=obstacle, held=target)
        if verdict.accepted:
            self._port.set_target(verdict.ratio)
        return verdict

    def depart(self, source: str) -> None:
        """End the lease of a publisher that has left; the gripper keeps its target."""
        self._gate.depart(source)

    def stop(self, cause: str, reason: str) -> None:
        """Come to rest, hold, and refuse commands until the cause is released."""
        if self._gate.stop(cause, reason):
            self._port.hold()

    def release(self, cause: str) -> None:
        """End the stop of a cause; nothing moves by it."""
        self._gate.release(cause)

    def see_arm(self, state: str, reason: str) -> None:
        """Follow the state of the gripper's arm: stopped with it, released with it."""
        if state in ARM_HELD:
            self.stop(ARM, f"its arm is {state} ({reason}); release the arm")
        elif state in ARM_FREE:
            self.release(ARM)

    def set_active(self, active: bool) -> None:
        """Take commands, or come to rest and hold; nothing moves by activating."""
        self._inactive = "" if active else STARTING
        self._gate.expect_silence("an activation" if active else "a deactivation")
        if not active:
            self._port.hold()

    def explain_inactive(self, reason: str) -> None:
        """Say why the driver is not active; said again at every change."""
        if self._inactive:
            self._inactive = reason or STARTING

    def problem(self, now: float) -> str:
        """Why the gripper is not linked and checked; empty when it is."""
        state = self._port.state
        silent = silence_text(state, now, self._config.stale_after)
        fault = state.report.fault if state.report is not None and not silent else 0
        return silent or fault_text(fault)

    def tick(self, now: float) -> GripperStatus:
        """Look after link and faults, and say how things stand; a few times per second."""
        self._follow_link(now)
        self._follow_silence(now)
        self._follow_fault(now)
        return status_of(
            self._port.state,
            self._gate,
            now,
            inactive=self._inactive,
            stale_after=self._config.stale_after,
            command_timeout=self._config.gate.command_timeout,
            stroke=self._config.stroke_m,
        )

    def _follow_link(self, now: float) -> None:
        """After a new link the target is the measured opening: nobody is followed on the way."""
        openings = self._port.state.openings
        if openings != self._openings:
            self._openings, self._has_told = openings, False
        if not self._has_told and self._port.state.target is not None:
            self._has_told = True
            self._gate.expect_silence("a new link")

    def _follow_silence(self, now: float) -> str:
        """Why the gripper cannot be driven; after a while nobody goes on who kept on sending."""
        state = self._port.state
        silent = "" if state.is_frozen else silence_text(state, now, self._config.stale_after)
        if not silent:
            self._silent_since = math.inf
            return ""
        self._silent_since = min(self._silent_since, now)
        if now - self._silent_since >= LEASE_SILENCE:
            self._gate.expect_silence("a loss of the gripper's reports")
        return silent

    def _follow_fault(self, now: float) -> None:
        state = self._port.state
        if not state.fresh(now, self._config.stale_after) or state.report is None:
            return
        if state.report.fault:
            self.stop(FAULT, fault_text(state.report.fault))
        else:
            self.release(FAULT)
