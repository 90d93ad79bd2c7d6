"""What is known of each stream while it is recorded: rate, gaps, skew. Loss is never silent."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass

from ate_core.observation import FARTHEST_STAMP, StreamLimits
from ate_core.resample import NANOSECONDS
from ate_core.streams import StreamSpec

GAP_PERIODS = 2.5
"""A pause of more than so many nominal periods is a gap: at least one sample is missing for sure,
and a sample that is merely late by one period is not called lost."""
MOST_TOLD = 3
"""Streams that are named where several would have an episode rejected."""


@dataclass(frozen=True, kw_only=True)
class StreamSummary:
    """One stream over one episode, as stored with the outcome."""

    count: int
    """Messages written."""
    rate_hz: float
    """Messages per second between the first and the last [Hz]."""
    gaps: int
    """Pauses longer than 2.5 nominal periods; 0 where the stream has no nominal rate."""
    longest_gap_ms: float
    """Longest pause between two stamps [ms]."""
    skew_ms: float
    """Mean of receive time minus header stamp [ms]."""
    skew_max_ms: float
    """Largest of it [ms]."""
    out_of_order: int
    """Stamps that fell."""
    stamp_steps: int
    """Times that the clock behind the header stamps was set by more than half a second."""

    def as_dict(self) -> dict[str, float]:
        """Return plain values."""
        return asdict(self)

    def as_status(self, nominal_hz: float) -> dict[str, float]:
        """Return what the live status tells, beside the rate that the contract promises [Hz]."""
        return {
            "rate_hz": self.rate_hz,
            "nominal_hz": nominal_hz,
            "count": self.count,
            "gaps": self.gaps,
            "longest_gap_ms": self.longest_gap_ms,
            "skew_ms": self.skew_ms,
            "stamp_steps": self.stamp_steps,
        }


STAMP_STEP_NS = NANOSECONDS // 2
"""How far stamps fall, or overtake their receipt, where the clock behind them was set [ns]. On
its way a message is delayed, but none comes before it was sent, nor half a second out of turn."""


class StreamCounter:
    """Counts one stream.

    Args:
        rate_hz: Nominal rate [Hz]; 0 for a stream without one.
    """

    def __init__(self, rate_hz: float) -> None:
        self._gap_ns = round(GAP_PERIODS * NANOSECONDS / rate_hz) if rate_hz > 0 else 0
        self._first_ns = self._last_ns = 0
        self._count = self._gaps = self._out_of_order = 0
        self._longest_ns = self._skew_sum_ns = self._skew_max_ns = 0
        self._skew_least_ns = self._stamp_steps = self._shift_ns = 0

    def add(self, stamp_ns: int, receive_ns: int) -> None:
        """Count one message by its header stamp and receive time [ns]."""
        stamp_ns += self._shift_ns
        skew = receive_ns - stamp_ns
        if self._count == 0:
            self._first_ns = self._last_ns = stamp_ns
            self._skew_max_ns = self._skew_least_ns = skew
        fell = stamp_ns < self._last_ns - STAMP_STEP_NS
        if fell or skew < min(0, self._skew_least_ns) - STAMP_STEP_NS:
            self._stamp_steps += 1
            back_ns = skew - self._skew_least_ns  # what follows is counted as if it had not been
            self._shift_ns += back_ns
            stamp_ns, skew = stamp_ns + back_ns, self._skew_least_ns
        self._skew_sum_ns += skew
        self._skew_least_ns = min(self._skew_least_ns, skew)
        self._count += 1
        self._skew_max_ns = max(self._skew_max_ns, skew)
        pause = stamp_ns - self._last_ns
        if pause < 0:
            self._out_of_order += 1
            return
        self._last_ns = stamp_ns
        self._longest_ns = max(self._longest_ns, pause)
        if self._gap_ns and pause > self._gap_ns:
            self._gaps += 1

    @property
    def count(self) -> int:
        """Messages counted so far."""
        return self._count

    def held_s(self, end_ns: int) -> float:
        """Return how long a message was the newest at most, until the end of the episode [s, ns].

        What came before the first one is another matter: the converter begins when all are there.
        """
        return max(self._longest_ns, end_ns - self._last_ns) / NANOSECONDS if self._count else 0.0

    def summary(self, start_ns: int, end_ns: int) -> StreamSummary:
        """Return what was counted between the start and the end of the episode [ns].

        The pauses before the first and after the last message count too: a camera that died in
        mid-episode has one long gap.
        """
        span = self._last_ns - self._first_ns
        edges = [self._first_ns - start_ns, end_ns - self._last_ns] if self._count else []
        if not self._count and self._gap_ns:
            edges = [end_ns - start_ns]
        gaps = self._gaps + sum(1 for pause in edges if self._gap_ns and pause > self._gap_ns)
        longest_ns = max([self._longest_ns, *edges]) if self._gap_ns else self._longest_ns
        return StreamSummary(
            count=self._count,
            rate_hz=round((self._count - 1) * NANOSECONDS / span, 2) if span > 0 else 0.0,
            gaps=gaps,
            longest_gap_ms=round(longest_ns / 1e6, 1),
            skew_ms=round(self._skew_sum_ns / max(1, self._count) / 1e6, 2),
            skew_max_ms=round(self._skew_max_ns / 1e6, 2),
            out_of_order=self._out_of_order,
            stamp_steps=self._stamp_steps,
        )


def summary_line(duration_s: float, streams: Mapping[str, StreamSummary]) -> str:
    """Say in one line what was counted in an episode of some length [s]."""
    rates = ", ".join(f"{name} {s.rate_hz:.1f} Hz" for name, s in streams.items())
    gaps = [
        f"{name} {s.gaps} (longest {s.longest_gap_ms:.0f} ms)"
        for name, s in streams.items()
        if s.gaps
    ]
    steps = [f"{name} {s.stamp_steps}" for name, s in streams.items() if s.stamp_steps]
    stepped = f"; stamps that step: {', '.join(steps)}" if steps else ""
    return f"{duration_s:.1f} s; {rates}; gaps: {', '.join(gaps) or 'none'}{stepped}"


def doubt_line(
    specs: Iterable[StreamSpec],
    held_s: Mapping[str, float],
    streams: Mapping[str, StreamSummary],
    tick_rate: float,
) -> str:
    """Say why the converter will reject an episode, as far as it shows here; empty if it does not.

    Bounds: the ages that the converter takes unless it is told others, and a tick more.

    Args:
        specs: Streams without which there is no episode.
        held_s: How long one message of each was the newest at most [s].
        streams: What was counted of each.
        tick_rate: Ticks of an episode per second [Hz].
    """
    limits, told = StreamLimits(), []
    for spec in specs:
        pause, late = held_s[spec.name], 1e-3 * streams[spec.name].skew_max_ms
        if late > FARTHEST_STAMP:  # or its clock is wrong: then pauses say nothing
            told.append(f"{spec.name} came {late:.1f} s late (bound {FARTHEST_STAMP:g} s)")
        elif pause > limits.of(spec) + 1.0 / tick_rate:
            told.append(f"{spec.name} paused for {pause:.2f} s (bound {limits.of(spec):g} s)")
    if not told:
        return ""
    more = f" and {len(told) - MOST_TOLD} more" if len(told) > MOST_TOLD else ""
    return (
        f"THE CONVERTER WILL REJECT IT: {', '.join(told[:MOST_TOLD])}{more}; end other programs, "
        "or see what /diagnostics tells of these devices"
    )
