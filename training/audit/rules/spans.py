"""Stretches of time in an episode, and findings about them."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from ate_core.resample import NANOSECONDS, Series
from ate_core.streams import StreamSpec, cell_streams
from training.audit.findings import Finding, Severity
from training.data.bag_reader import BagEpisode


def seconds_of(episode: BagEpisode, stamps_ns: NDArray[np.int64]) -> NDArray[np.float64]:
    """Return stamps as time since the start of the episode [s]."""
    since: NDArray[np.float64] = (stamps_ns - int(episode.info["start_ns"])) / NANOSECONDS
    return since


def runs(mask: NDArray[np.bool_]) -> Iterator[slice]:
    """Yield the stretches in which a mask holds."""
    edges = np.flatnonzero(np.diff(np.concatenate([[False], mask, [False]]).astype(np.int8)))
    for start, end in edges.reshape(-1, 2).tolist():
        yield slice(start, end)


def finding(
    rule: str,
    severity: Severity,
    stream: str,
    message: str,
    *,
    value: float,
    bound: float,
    seconds: NDArray[np.float64],
) -> Finding:
    """Return a finding that holds from the first to the last of some moments [s]."""
    return Finding(
        rule=rule,
        severity=severity,
        stream=stream,
        message=message,
        value=float(value),
        bound=float(bound),
        start_s=float(seconds[0]) if len(seconds) else 0.0,
        end_s=float(seconds[-1]) if len(seconds) else 0.0,
    )


def streams_of(episode: BagEpisode, *kinds: str) -> Iterator[tuple[StreamSpec, Series]]:
    """Yield the recorded streams of some kinds that hold anything."""
    for spec in cell_streams(episode.cell):
        if spec.kind in kinds and spec.name in episode.series and len(episode.series[spec.name]):
            yield spec, episode.series[spec.name]
