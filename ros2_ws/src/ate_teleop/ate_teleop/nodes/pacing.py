"""The rhythm of an operator's loop: a tick per pose of the hand, and never long without one."""

import threading
import time
from collections import deque
from collections.abc import Iterator
from typing import Protocol

from ate_core.loop import LoopStats
from operator_devices.hand_pose import HandSample

PATIENCE = 1.4
"""Periods without a pose after which a tick comes all the same, for buttons and states."""

HURRY = 0.25
"""Periods between two ticks at least: a flood of poses must not eat the processor."""


class PoseSource(Protocol):
    """What wakes the loop."""

    def latest(self) -> HandSample | None:
        """Newest sample."""

    def wait_change(self, changed_ns: int, timeout: float) -> None:
        """Wait for a pose other than that of `changed_ns`, for `timeout` [s] at most."""


class PosePacedLoop:
    """Iterate once per pose until ``stop`` is set; each pose is seen, and at once."""

    def __init__(
        self, source: PoseSource, rate_hz: float, stop: threading.Event, keep: int
    ) -> None:
        """Prepare a loop.

        Args:
            source: of the poses.
            rate_hz: nominal rate of the poses; ticks come no seldomer than ``PATIENCE`` periods.
            stop: ends the iteration, after the present wait at the latest.
            keep: number of the newest wake-ups kept for the statistics.
        """
        self._source, self._stop = source, stop
        self._period = 1.0 / rate_hz
        self._times_ns: deque[int] = deque(maxlen=keep)
        self._ticks = 0

    def __iter__(self) -> Iterator[int]:
        """Yield the time of each tick [ns, monotonic]."""
        while not self._stop.is_set():
            now_ns = time.monotonic_ns()
            sample = self._source.latest()
            seen_ns = -1 if sample is None else sample.changed_ns
            self._times_ns.append(now_ns)
            self._ticks += 1
            yield now_ns
            self._source.wait_change(seen_ns, self._left(PATIENCE, now_ns))
            if (early := self._left(HURRY, now_ns)) > 0.0:
                self._stop.wait(early)

    def _left(self, periods: float, since_ns: int) -> float:
        """Time until so many periods have gone since a tick [s]; at least 0."""
        return max(0.0, periods * self._period - (time.monotonic_ns() - since_ns) * 1e-9)

    def stats(self) -> LoopStats:
        """Statistics of the newest ticks."""
        return LoopStats.of_times(tuple(self._times_ns), 1e3 * self._period)
