"""The even time base of poses that arrive unevenly.

A headset takes its poses at an even rate; the network delivers them a little early or late. A
speed computed with the time of arrival carries that jitter, and the arm would shake with it. So a
phase-locked loop follows the arrivals slowly, and its time is the one that filter and solver get.
"""

from dataclasses import dataclass

SHORTEST = 1e-3
"""Least time between two poses, by which others are divided [s]."""


@dataclass(frozen=True, kw_only=True)
class TimeBaseConfig:
    """How fast the time base follows the arrivals."""

    phase_gain: float = 0.1
    """Part of a pose's lateness that is believed; ten poses of memory."""
    period_gain: float = 0.005
    """Part of it that changes the period."""
    longest_gap: float = 5.0
    """Periods without a pose after which the time base begins anew."""
    lead: float = 0.5
    """Periods by which the time base may be ahead of the arrivals."""
    slack: float = 0.5
    """Largest relative difference from the nominal period."""


class TimeBase:
    """Time between poses, as they were taken."""

    def __init__(self, period: float, config: TimeBaseConfig | None = None) -> None:
        """Begin with the nominal `period` [s]."""
        self._nominal = self._period = period
        self._config = config or TimeBaseConfig()
        self._time: float | None = None

    def step(self, arrival: float) -> float:
        """Take the arrival of a new pose [s]; the time since the last pose was taken [s]."""
        config, last = self._config, self._time
        gap = float("inf") if last is None else (arrival - last) / self._period
        if last is None or gap > config.longest_gap:
            self._time = arrival
            return self._period if last is None else arrival - last
        steps = max(1, round(gap))
        error = arrival - last - steps * self._period
        even = last + steps * self._period + config.phase_gain * error
        # Never far ahead of the clock: poses that come in a bunch gain the arm no time.
        self._time = max(min(even, arrival + config.lead * self._period), last + SHORTEST)
        bound = config.slack * self._nominal
        period = self._period + config.period_gain * error / steps
        self._period = min(max(period, self._nominal - bound), self._nominal + bound)
        return self._time - last
