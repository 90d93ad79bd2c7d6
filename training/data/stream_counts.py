"""Rate, gaps and skew of every stream, counted from the bag and compared with the recorder's."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from ate_core.resample import NANOSECONDS
from ate_core.sampling import GAP_PERIODS
from ate_core.streams import StreamSpec, cell_streams
from training.data.bag_reader import BagEpisode

Counts = dict[str, float]


def count_streams(bag: BagEpisode) -> dict[str, Counts]:
    """Return what the bag holds of each stream, by the names of the outcome's counts."""
    required = set(bag.info.get("required", []))
    return {
        spec.name: _count(bag, spec)
        for spec in cell_streams(bag.cell)
        if bag.counts.get(spec.topic) or spec.name in required
    }


def disagreements(bag: BagEpisode) -> dict[str, tuple[int, int]]:
    """Streams of which the recorder counted other messages: in the bag, by the recorder.

    A latched message from before the start is in the bag, and was not counted by every recorder.
    """
    found = {}
    specs = {spec.name: spec for spec in cell_streams(bag.cell)}
    for name, values in sorted(bag.outcome.get("streams", {}).items()):
        recorded = values.get("count", 0) if isinstance(values, Mapping) else 0
        held = bag.counts.get(specs[name].topic, 0) if name in specs else 0
        is_latched = name in specs and specs[name].latched
        if held != recorded and not (is_latched and held == recorded + 1):
            found[name] = held, int(recorded)
    return found


def _count(bag: BagEpisode, spec: StreamSpec) -> Counts:
    count = bag.counts.get(spec.topic, 0)
    counts: Counts = {
        "count": count, "rate_hz": 0.0, "gaps": 0, "longest_gap_ms": 0.0, "skew_ms": 0.0,
        "skew_max_ms": 0.0, "out_of_order": 0,
    }  # fmt: skip
    gap_ns = GAP_PERIODS * NANOSECONDS / spec.rate_hz if spec.rate_hz > 0 else 0.0
    start_ns, end_ns = int(bag.info["start_ns"]), int(bag.outcome.get("end_ns", 0))
    series = bag.series.get(spec.name)
    if series is None or not len(series):
        if gap_ns and end_ns - start_ns > gap_ns:
            counts |= {"gaps": 1, "longest_gap_ms": round((end_ns - start_ns) / 1e6, 1)}
        return counts
    stamps = series.stamps_ns
    pauses = np.diff(stamps)
    if gap_ns:
        edges = [stamps[0] - start_ns, end_ns - stamps[-1]]
        pauses = np.concatenate([pauses, np.array(edges, dtype=np.int64)])
    span = int(stamps[-1] - stamps[0])
    received = bag.received_ns.get(spec.name, stamps)
    skew = received - stamps
    arrived = stamps[np.argsort(received, kind="stable")]
    return counts | {
        "rate_hz": round((count - 1) * NANOSECONDS / span, 2) if span else 0.0,
        "gaps": int(np.sum(pauses > gap_ns)) if gap_ns else 0,
        "longest_gap_ms": round(int(pauses.max(initial=0)) / 1e6, 1),
        "skew_ms": round(float(skew.mean()) / 1e6, 2),
        "skew_max_ms": round(int(skew.max()) / 1e6, 2),
        "out_of_order": int(np.sum(arrived[1:] < np.maximum.accumulate(arrived)[:-1])),
    }
