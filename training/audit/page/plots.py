"""Lines over time, thinned out to what a page draws, peaks kept."""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

LONGEST = 400
"""Most points of a line."""
DIGITS = 4
"""Significant digits of a number on the page."""

Array = NDArray[np.float64]


@dataclass(frozen=True, kw_only=True)
class Line:
    """One line of a plot."""

    name: str
    """What it is, for instance ``joint_2``."""
    values: Array
    """One per time of the plot; NaN where there is none."""
    is_command: bool = False
    """Drawn dashed, in the colour of the measured line of the same place."""


@dataclass(frozen=True, kw_only=True)
class Plot:
    """Lines over the same times."""

    title: str
    """What is shown, for instance ``left arm joints``."""
    unit: str
    """Unit of the lines, for instance ``rad``."""
    streams: tuple[str, ...]
    """Streams it is drawn from: findings about them are marked in it."""
    times: Array
    """From the start of the episode, shape (N,) [s]."""
    lines: tuple[Line, ...]
    """In the order of the legend."""

    def as_dict(self) -> dict[str, Any]:
        """Plain values for JSON; NaN and infinity are null."""
        return {
            "title": self.title,
            "unit": self.unit,
            "streams": list(self.streams),
            "times": [round(time, 3) for time in self.times.tolist()],
            "lines": [
                {"name": line.name, "dashed": line.is_command, "values": short(line.values)}
                for line in self.lines
            ],
        }


def make_plot(
    title: str, unit: str, streams: Sequence[str], times: Array, lines: Sequence[Line]
) -> Plot:
    """Return a plot of at most `LONGEST` points: of each stretch the least and the most.

    Args:
        title: What is shown.
        unit: Unit of the lines.
        streams: What it is drawn from.
        times: From the start of the episode, shape (N,) [s].
        lines: With N values each.
    """
    if len(times) > LONGEST:
        edges = np.linspace(0, len(times), LONGEST // 2 + 1).astype(int)
        pairs = [slice(*pair) for pair in itertools.pairwise(edges)]
        middles = [(pair.start + pair.stop) // 2 for pair in pairs]
        kept = np.stack([edges[:-1], middles], axis=1).ravel()
        lines = [
            Line(
                name=line.name,
                values=np.concatenate([_ends(line.values[pair]) for pair in pairs]),
                is_command=line.is_command,
            )
            for line in lines
        ]
        times = times[kept]
    return Plot(title=title, unit=unit, streams=tuple(streams), times=times, lines=tuple(lines))


def binned(
    title: str, unit: str, lines: Mapping[str, tuple[Array, Array]], length: float
) -> Plot | None:
    """Return a plot of streams that have times of their own: the largest of each stretch.

    Args:
        title: What is shown.
        unit: Unit of the lines.
        lines: Stream -> its times [s] and values.
        length: Of the episode [s].
    """
    if not lines or length <= 0:
        return None
    longest = max(len(times) for times, _ in lines.values())
    edges = np.linspace(0.0, length, min(LONGEST, max(longest, 2)) + 1)
    moments = (edges[:-1] + edges[1:]) / 2
    found = []
    for name, (times, values) in lines.items():
        peaks = np.full(len(edges) - 1, np.nan)
        places = np.clip(np.searchsorted(edges, times, side="right") - 1, 0, len(peaks) - 1)
        known = np.isfinite(values)
        np.fmax.at(peaks, places[known], values[known])
        filled = np.flatnonzero(np.isfinite(peaks))
        if len(filled):  # slow streams leave stretches without any
            peaks = np.interp(moments, moments[filled], peaks[filled], np.nan, np.nan)
        found.append(Line(name=name, values=peaks))
    return Plot(
        title=title,
        unit=unit,
        streams=tuple(lines),
        times=moments,
        lines=tuple(found),
    )


def short(values: Array) -> list[float | None]:
    """Return numbers with few digits; None where one is not finite."""
    return [
        float(f"{value:.{DIGITS}g}") if np.isfinite(value) else None for value in values.tolist()
    ]


def _ends(values: Array) -> Array:
    """The least and the most of a stretch, in the order in which they come."""
    known = np.flatnonzero(np.isfinite(values))
    if not len(known):
        return np.full(2, np.nan)
    places = known[[int(np.argmin(values[known])), int(np.argmax(values[known]))]]
    return values[np.sort(places)]
