"""When things happen inside a tick of the fast environment.

Ticks, targets for the arms and physics steps have rates of their own, which need not divide each
other: at 30 Hz a tick has 16.67 steps of 2 ms. Every moment is computed from the start of the
episode, so a remainder is carried to the next tick and nothing adds up over time.
"""

import math
from dataclasses import dataclass

_ROUNDING = 1e-9  # of a product that should be whole


@dataclass(frozen=True, kw_only=True)
class TickTiming:
    """Three rates of one episode."""

    tick_rate: float
    """Commands and observations [Hz]."""
    stream_rate: float
    """Targets that the safety filter sends to an arm [Hz]."""
    timestep: float
    """Physics step [s]."""

    def steps_at(self, time: float) -> int:
        """Physics steps taken by ``time`` of the episode [s]; off by half a step at most."""
        return math.floor(time / self.timestep + 0.5 + _ROUNDING)

    def stream_offsets(self, tick: int) -> list[float]:
        """Moments after the start of a tick at which targets are sent [s], in order."""
        period = 1.0 / self.tick_rate
        ratio = self.stream_rate / self.tick_rate
        first = math.floor(tick * ratio + _ROUNDING)
        last = math.floor((tick + 1) * ratio + _ROUNDING)
        return [period * (number - tick * ratio) / ratio for number in range(first + 1, last + 1)]
