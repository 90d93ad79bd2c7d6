"""When messages came, recomputed from the bag."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view
from numpy.typing import NDArray

from ate_core.resample import NANOSECONDS
from ate_core.streams import StreamSpec, cell_streams
from training.audit.findings import Finding, Untold
from training.audit.rules.needs import needs
from training.audit.rules.spans import finding, seconds_of
from training.data.bag_reader import BagEpisode

GAP_PERIODS = 10.0
"""Longest pause of a fast stream, in periods of its rate."""
GAP_LEAST = 0.2
"""Pause that is borne whatever the rate: the converter's bound of a state's age [s]."""
GAP_IMAGE = 0.4
"""The same for images, whose age may be 0.5 s at conversion [s]."""
RATE_SHARE = 0.8
"""Least share of the contract's rate at which a stream may come."""
SKEW = 0.2
"""Largest median age of a message at its receipt: the converter's bound of a state's age [s]."""
AHEAD = 0.02
"""How far a stamp may lie after its receipt: clocks of two computers [s]."""
STEP = 0.03
"""How far the clock behind stamps may be set [s]: the least ages of messages differ by less,
whatever the load."""
SUDDEN, NEIGHBOURS = 0.5, 5
"""Share of a step that is made at once, between the quickest of so many messages before and after
a moment: queues are worked off in many."""
STEP_TIME, STEP_LEAST = 0.4, 8
"""Time [s] and messages before and after a step, of which the quickest is looked at."""
QUICK_SHARE, QUICK_LEAST, AGREE = 0.2, 4, 0.015
"""Share of the messages on a side of a moment, the quickest, and how many at least, that must
agree, and to within what [s]: where all are held up, the least age is chance and no clock."""
REPEATED_SHARE = 0.005
"""Share of messages that may carry the stamp of the one before."""
ORDER_SHARE = 0.01
"""Share of messages that may arrive after a younger one."""


@needs("receive times")
def gaps(episode: BagEpisode) -> Iterator[Finding]:
    """No stream pauses for long, begins late or ends early.

    Bound: 10 periods of the contract's rate, 0.2 s at least; 0.4 s for images.
    """
    for spec in cell_streams(episode.cell):
        series = episode.series.get(spec.name)
        if _is_free(spec) or series is None or len(series) < 2:
            continue
        seconds = _with_edges(episode, seconds_of(episode, series.stamps_ns))
        pauses = np.diff(seconds)
        bound = GAP_IMAGE
        if spec.kind != "image":
            bound = max(GAP_LEAST, GAP_PERIODS / spec.rate_hz)
        worst = int(np.argmax(pauses))
        if pauses[worst] > bound:
            text = (
                f"{spec.topic} pauses for {pauses[worst]:.2f} s (bound {bound:.2f} s), "
                f"{int((pauses > bound).sum())} times in all; look at the load of the computer"
            )
            yield finding(
                "gaps",
                "flag",
                spec.name,
                text,
                value=float(pauses[worst]),
                bound=bound,
                seconds=seconds[worst : worst + 2],
            )


@needs("receive times")
def rate(episode: BagEpisode) -> Iterator[Finding]:
    """Every stream comes at its rate.

    Bound: 80 % of the rate in the contract.
    """
    for spec in cell_streams(episode.cell):
        series = episode.series.get(spec.name)
        if _is_free(spec) or series is None or len(series) < 3:
            continue
        seconds = seconds_of(episode, series.stamps_ns)
        length = max(seconds[-1] - seconds[0], 1e-9)
        measured = (len(seconds) - 1) / length
        if measured < RATE_SHARE * spec.rate_hz:
            text = (
                f"{spec.topic} comes at {measured:.1f} Hz, the contract says {spec.rate_hz:g} Hz"
            )
            yield finding(
                "rate",
                "flag",
                spec.name,
                text,
                value=measured,
                bound=RATE_SHARE * spec.rate_hz,
                seconds=seconds,
            )


@needs("receive times")
def skew(episode: BagEpisode) -> Iterator[Finding]:
    """Stamps and receipts of a stream agree.

    Bound: a median age of 0.2 s at the receipt, and never 0.02 s in the future.
    """
    for spec in cell_streams(episode.cell):
        series, received = episode.series.get(spec.name), episode.received_ns.get(spec.name)
        if series is None or received is None or len(received) != len(series) or not len(series):
            continue
        if not spec.rate_hz:
            continue  # the last of these before the start is repeated with its old stamp
        age = (received - series.stamps_ns) / NANOSECONDS
        late, early = float(np.median(age)), float(-age.min())
        value, bound = (late, SKEW) if late > SKEW else (early, AHEAD)
        if value > bound:
            when = "before" if late > SKEW else "after"
            text = (
                f"stamps of {spec.topic} lie {value:.3f} s {when} their receipt (bound {bound} "
                "s); check the clocks, the node that stamps, and the load of the computer"
            )
            seconds = seconds_of(episode, series.stamps_ns)
            yield finding(
                "skew", "flag", spec.name, text, value=value, bound=bound, seconds=seconds
            )


@needs("receive times")
def clock_step(episode: BagEpisode) -> Iterator[Finding | Untold]:
    """The clock behind the stamps of a stream is not set in mid-episode.

    Bound: 0.03 s between the least ages at the receipt before and after any moment, half of it
    at once. Messages are held up now and then, but the quickest of many show
    the clock; a queue that is worked off makes ages fall bit by bit. Where the stamps keep their
    beat and the receipts do not, messages take longer from there on, and no clock was set. It
    cannot be told where the quickest fifth before or after differ by 0.015 s: all are held up.
    """
    for spec in cell_streams(episode.cell):
        series, received = episode.series.get(spec.name), episode.received_ns.get(spec.name)
        if _is_free(spec) or series is None or received is None or len(received) != len(series):
            continue
        order = np.argsort(received, kind="stable")
        seconds = np.stack([series.stamps_ns, received])[:, order] / NANOSECONDS
        age = (received - series.stamps_ns)[order] / NANOSECONDS
        side = max(STEP_LEAST, round(STEP_TIME * spec.rate_hz))
        if len(age) < 2 * side:
            reason = f"it has {len(age)} messages (at least {2 * side})"
            yield Untold(rule="clock_step", stream=spec.name, reason=reason)
            continue
        row, worst, sudden = _largest_step(age, side)
        scatter = max(_quick_scatter(age[:row]), _quick_scatter(age[row:]))
        if scatter > AGREE:
            reason = f"all its messages are held up, the quickest fifth by up to {scatter:.3f} s"
            yield Untold(rule="clock_step", stream=spec.name, reason=reason)
        elif (
            abs(worst) > STEP
            and sudden > SUDDEN * abs(worst)
            and not _keeps_its_beat(seconds[0], seconds[1], row)
        ):
            at = seconds_of(episode, received[order][row : row + 1])
            way = "back" if worst > 0 else "forth"
            text = (
                f"the clock that stamps {spec.topic} was set {way} by {abs(worst):.3f} s at "
                f"{at[0]:.1f} s (bound {STEP} s): its samples lie at wrong ticks from there on; "
                "let the machines keep one time (chrony)"
            )
            yield finding(
                "clock_step", "flag", spec.name, text, value=worst, bound=STEP, seconds=at
            )


def _largest_step(age: NDArray[np.float64], side: int) -> tuple[int, float, float]:
    """Where the least ages before and after differ most.

    Args:
        age: At the receipt, in order of receipt, shape (N,) [s].
        side: Messages that must lie before and after.

    Returns:
        First message after the step, the step, and what of it is made at once [s].
    """
    before = np.minimum.accumulate(age)[side - 1 : len(age) - side]
    after = np.minimum.accumulate(age[::-1])[::-1][side : len(age) - side + 1]
    step = after - before
    worst = float(step[np.argmax(np.abs(step))])
    # Before it each split is as good as the next: the clock was set where one message tells. Of
    # neighbours that hold one young message, the last is before it; of old ones, the first.
    least = sliding_window_view(age, NEIGHBOURS).min(axis=1)
    jumps = (least[NEIGHBOURS:] - least[:-NEIGHBOURS])[side - NEIGHBOURS :][: len(step)]
    sudden = np.where(np.abs(step) > 0.9 * abs(worst), jumps * np.sign(worst), 0.0)
    rows = np.flatnonzero(sudden >= sudden.max() - 0.1 * abs(sudden.max()))
    row = int(rows[0] if worst > 0 else rows[-1])
    return side + row, worst, float(sudden[row])


def _keeps_its_beat(stamps: NDArray[np.float64], received: NDArray[np.float64], row: int) -> bool:
    """Whether stamps go on as before at a message, and it is the receipts that shifted.

    Args:
        stamps: In order of receipt, shape (N,) [s].
        received: Shape (N,) [s].
        row: First message after the shift.
    """
    period = float(np.median(np.diff(stamps)))
    age = received - stamps
    first = row - NEIGHBOURS + int(np.argmin(age[row - NEIGHBOURS : row]))
    last = row + int(np.argmin(age[row : row + NEIGHBOURS]))
    off = np.array(
        [one[last] - one[first] - (last - first) * period for one in (stamps, received)]
    )
    if period > 2.0 * abs(off[1] - off[0]):  # else one that is left out looks like a step
        off -= np.round(off / period) * period
    return bool(abs(off[0]) < 0.5 * abs(off[1]))


def _quick_scatter(age: NDArray[np.float64]) -> float:
    """By how much the ages of the quickest messages differ [s]."""
    count = min(len(age), max(QUICK_LEAST, round(QUICK_SHARE * len(age))))
    return float(np.partition(age, count - 1)[count - 1] - age.min())


def repeated_stamps(episode: BagEpisode) -> Iterator[Finding]:
    """Hardly two messages of a stream carry one stamp.

    Bound: 0.5 % of them; each is a moment of its own.
    """
    for name, series in episode.series.items():
        same = np.concatenate([[False], np.diff(series.stamps_ns) == 0])
        if same.sum() > max(1, REPEATED_SHARE * len(same)):
            text = (
                f"{int(same.sum())} of {len(same)} messages of {name} repeat the stamp before "
                "them; check the node that stamps, and that it runs once"
            )
            yield finding(
                "repeated_stamps",
                "flag",
                name,
                text,
                value=float(same.mean()),
                bound=REPEATED_SHARE,
                seconds=seconds_of(episode, series.stamps_ns)[same],
            )


@needs("receive times")
def out_of_order(episode: BagEpisode) -> Iterator[Finding]:
    """Hardly a message arrives after a younger one.

    Bound: 1 % of them.
    """
    for name, received in episode.received_ns.items():
        series = episode.series.get(name)
        if series is None or len(received) != len(series) or len(received) < 2:
            continue
        late = np.concatenate([[False], np.diff(received) < 0])
        if late.sum() > max(1, ORDER_SHARE * len(late)):
            text = f"{int(late.sum())} of {len(late)} messages of {name} come after a younger one"
            yield finding(
                "out_of_order",
                "flag",
                name,
                text,
                value=float(late.mean()),
                bound=ORDER_SHARE,
                seconds=seconds_of(episode, series.stamps_ns)[late],
            )


def _with_edges(episode: BagEpisode, seconds: NDArray[np.float64]) -> NDArray[np.float64]:
    """Times of messages with the start of the episode before them, and its end behind [s]."""
    end_ns = episode.outcome.get("end_ns")
    end = seconds[-1] if end_ns is None else seconds_of(episode, np.array([end_ns]))[0]
    return np.concatenate([[min(0.0, seconds[0])], seconds, [max(end, seconds[-1])]])


def _is_free(spec: StreamSpec) -> bool:
    """Whether a stream has no rate, or is recorded only."""
    return not spec.rate_hz or spec.kind == "other"
