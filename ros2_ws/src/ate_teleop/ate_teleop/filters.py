"""Smoothing of a hand pose: an outlier gate first, then a One-Euro filter.

The One-Euro filter (Casiez, Roussel, Vogel: "1 Euro Filter", CHI 2012) is a low pass whose
cutoff rises with speed: little jitter at rest, little lag in motion. Rotations are filtered on
the tangent space of SO(3) at the present estimate, so no parameterisation is averaged.
"""

from dataclasses import dataclass
from enum import Enum

import numpy as np
import pinocchio as pin
from numpy.typing import NDArray

from ate_core.errors import UsageError

Array = NDArray[np.float64]


@dataclass(frozen=True, kw_only=True)
class OneEuroConfig:
    """How strongly one quantity is smoothed."""

    min_cutoff: float
    """Cutoff at rest [Hz]."""
    beta: float
    """Rise of the cutoff with speed [Hz per unit/s]."""
    speed_cutoff: float = 5.0
    """Cutoff of the speed estimate that drives the adaptation [Hz]."""

    def __post_init__(self) -> None:
        if not (self.min_cutoff > 0 and self.speed_cutoff > 0 and self.beta >= 0):
            raise UsageError(f"{self}: cutoffs must be above 0 and beta at least 0")


def smoothing_factor(cutoff: float, dt: float) -> float:
    """Weight of the newest value in a low pass of first order; cutoff [Hz], dt [s]."""
    r = 2.0 * np.pi * cutoff * dt
    return float(r / (r + 1.0))


class _Tangent:
    """The One-Euro law for a vector of differences: speed estimate, cutoff, weight."""

    def __init__(self, config: OneEuroConfig) -> None:
        self._config = config
        self._speed = np.zeros(3)

    def step(self, raw_speed: Array, dt: float) -> float:
        """Take the speed of the raw signal (3,) and return the weight of the newest value."""
        blend = smoothing_factor(self._config.speed_cutoff, dt)
        self._speed = self._speed + blend * (raw_speed - self._speed)
        magnitude = float(np.sqrt(self._speed @ self._speed))
        return smoothing_factor(self._config.min_cutoff + self._config.beta * magnitude, dt)


class PoseFilter:
    """One-Euro filter of a pose; starts at a given pose and passes through it exactly."""

    def __init__(self, position: OneEuroConfig, rotation: OneEuroConfig, start: Array) -> None:
        """Begin at the transform `start` (4, 4)."""
        self._position_law = _Tangent(position)
        self._rotation_law = _Tangent(rotation)
        self._estimate = start.copy()
        self._raw = start.copy()

    @property
    def estimate(self) -> Array:
        """The smoothed pose (4, 4)."""
        return self._estimate

    def step(self, raw: Array, dt: float) -> Array:
        """Take the newest pose (4, 4), `dt` [s] after the last; return the smoothed one."""
        linear = (raw[:3, 3] - self._raw[:3, 3]) / dt
        angular = pin.log3(self._raw[:3, :3].T @ raw[:3, :3]) / dt
        linear_weight = self._position_law.step(linear, dt)
        angular_weight = self._rotation_law.step(angular, dt)
        old = self._estimate
        arc = pin.log3(old[:3, :3].T @ raw[:3, :3])  # tangent at the estimate
        new = np.eye(4)
        new[:3, 3] = old[:3, 3] + linear_weight * (raw[:3, 3] - old[:3, 3])
        new[:3, :3] = old[:3, :3] @ pin.exp3(angular_weight * arc)
        self._raw = raw
        self._estimate = new
        return new


class Verdict(Enum):
    """What the gate says of a pose."""

    ACCEPTED = "accepted"
    """Use it."""
    REJECTED = "rejected"
    """A glitch: use the last accepted pose."""
    JUMPED = "jumped"
    """The hand stays away: the frame moved or another hand is seen; accepted from here on."""


@dataclass(frozen=True, kw_only=True)
class GateConfig:
    """Which step between two poses is a glitch."""

    distance: float = 0.015
    """Step always allowed [m]."""
    speed: float = 3.0
    """Further allowance per second; the fastest reach of a hand [m/s]."""
    angle: float = 0.10
    """Turn always allowed [rad]."""
    turn_speed: float = 15.0
    """Further allowance per second [rad/s]."""
    patience: int = 4
    """Glitches in a row after which it is a jump; 45 ms at 90 Hz."""


class OutlierGate:
    """Drops single poses that a hand cannot have reached, and reports lasting jumps."""

    def __init__(self, pose: Array, time: float, config: GateConfig | None = None) -> None:
        """Begin with a trusted pose (4, 4) seen at `time` [s]."""
        self._config = config or GateConfig()
        self._gap = 0.0
        self._accept(pose, time)

    def check(self, pose: Array, time: float) -> Verdict:
        """Judge a pose (4, 4) seen at `time` [s]."""
        if self._rejected == 0:
            # Kept while poses are rejected: waiting must not make a jump look like a reach.
            self._gap = time - self._last_time
        if self._within_reach(pose, self._last, self._gap):
            self._accept(pose, time)
            return Verdict.ACCEPTED
        self._rejected += 1
        if self._rejected < self._config.patience:
            return Verdict.REJECTED
        self._accept(pose, time)
        return Verdict.JUMPED

    def _accept(self, pose: Array, time: float) -> None:
        self._last, self._last_time, self._rejected = pose, time, 0

    def _within_reach(self, pose: Array, last: Array, elapsed: float) -> bool:
        config = self._config
        step = pose[:3, 3] - last[:3, 3]
        allowed = config.distance + config.speed * elapsed
        if float(step @ step) > allowed * allowed:
            return False
        # trace(R) = 1 + 2 cos(angle)
        cosine = 0.5 * (float(np.sum(pose[:3, :3] * last[:3, :3])) - 1.0)
        limit = min(config.angle + config.turn_speed * elapsed, np.pi)
        return cosine >= float(np.cos(limit))
