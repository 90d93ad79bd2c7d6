"""The small unrest of a human hand."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ate_core.geometry import rotation_exp, transform


@dataclass(frozen=True, kw_only=True)
class TremorConfig:
    """Size and speed of the unrest; a first-order (Ornstein-Uhlenbeck) process per axis."""

    position: float = 0.0004
    """Standard deviation per axis [m]."""
    rotation: float = 0.003
    """Standard deviation per axis [rad]."""
    correlation_time: float = 0.15
    """Time after which the noise has forgotten itself [s]."""


class Tremor:
    """Seeded noise of one hand."""

    def __init__(self, config: TremorConfig, seed: int) -> None:
        self._config = config
        self._random = np.random.default_rng(seed)
        self._state = self._random.standard_normal(6)

    def step(self, dt: float) -> NDArray[np.float64]:
        """Advance by `dt` [s] and return transform_noisy_hand_to_hand (4, 4)."""
        keep = np.exp(-dt / self._config.correlation_time)
        fresh = self._random.standard_normal(6)
        self._state = keep * self._state + np.sqrt(1.0 - keep**2) * fresh
        return transform(
            rotation_exp(self._config.rotation * self._state[3:]),
            self._config.position * self._state[:3],
        )
