"""How many physics steps are due: simulated time follows the clock and never overtakes it."""

from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class SchedulerConfig:
    """Real-time behaviour of the world."""

    step: float
    """Physics step [s]."""
    largest_debt: float = 0.2
    """Lag behind the clock from which the lost time is dropped instead of caught up [s]."""

    def __post_init__(self) -> None:
        if not 0.0 < self.step < self.largest_debt:
            raise ValueError(f"step {self.step} must lie between 0 and largest_debt")


@dataclass(frozen=True, kw_only=True)
class TimingReport:
    """What the scheduler has seen since it was made."""

    wall: float
    """Time on the clock, pauses left out [s]."""
    simulated: float
    """Time stepped [s]."""
    dropped: float
    """Time given up because the process was too late [s]."""
    drops: int
    """How often time was given up."""

    @property
    def factor(self) -> float:
        """Simulated over wall time; 1 when the world keeps up."""
        return self.simulated / self.wall if self.wall > 0.0 else 1.0


class StepScheduler:
    """Turn readings of a monotonic clock into numbers of steps."""

    def __init__(self, config: SchedulerConfig, now: float) -> None:
        self._config = config
        self._anchor = now
        self._steps_since_anchor = 0
        self._wall_before_anchor = 0.0
        self._steps = 0
        self._dropped = 0.0
        self._drops = 0

    @property
    def step(self) -> float:
        """Physics step [s]."""
        return self._config.step

    @property
    def drops(self) -> int:
        """How often time was given up."""
        return self._drops

    def steps_due(self, now: float) -> int:
        """Return the steps to take at time `now` [s]; they count as taken."""
        step = self._config.step
        due = int((now - self._anchor) / step) - self._steps_since_anchor
        if due * step > self._config.largest_debt:
            self._dropped += due * step
            self._drops += 1
            self._steps_since_anchor += due
            return 0
        due = max(due, 0)
        self._steps_since_anchor += due
        self._steps += due
        return due

    def resume(self, paused_at: float, now: float) -> None:
        """Leave the time from `paused_at` to `now` [s] out: the world was being rebuilt."""
        self._wall_before_anchor += paused_at - self._anchor
        self._anchor = now
        self._steps_since_anchor = 0

    def report(self, now: float) -> TimingReport:
        """Return the totals at time `now` [s]."""
        return TimingReport(
            wall=self._wall_before_anchor + now - self._anchor,
            simulated=self._steps * self._config.step,
            dropped=self._dropped,
            drops=self._drops,
        )
