"""Whether the clock that stamps a stream is the recorder's: stamps lie little before receipts.

Everything is put on ticks by header stamps, so one stamp that is years off would make an episode
of years. Such an episode is refused where it is read; what is off by less, the audit flags.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import numpy as np
from numpy.typing import NDArray

from ate_core.errors import EpisodeError
from ate_core.observation import FARTHEST_STAMP, StreamLimits
from ate_core.resample import NANOSECONDS, Series
from ate_core.streams import StreamSpec

MAX_CLOCK_ERROR = 1.0
"""Median difference of header stamp and receive time above which two clocks disagree [s]; a
message is on its way for a few milliseconds."""
MAX_LEAD = StreamLimits().lead
"""How far a stamp may lie after its receipt, for a policy and for the converter alike [s]."""
_BUSY = (
    "the recorder's computer was too busy (end other programs on it), the network held messages "
    "up, or the clock of the host that stamps them was set in mid-episode"
)
_REMEDY = "set both by NTP or chrony (`chronyc tracking` tells) and record again"


def require_true_stamps(
    specs: Iterable[StreamSpec],
    series: Mapping[str, Series],
    received_ns: Mapping[str, NDArray[np.int64]],
    start_ns: int,
    end_ns: int | None,
) -> None:
    """Refuse streams stamped by a clock that is far from the recorder's, or that was set.

    Args:
        specs: Of the cell; those of which only the receipt matters are passed over.
        series: Streams by name.
        received_ns: Receive times by stream, in the order of its series [ns].
        start_ns: Start of the episode [ns].
        end_ns: Its end [ns]; None where nobody wrote it down.

    Raises:
        EpisodeError: naming the stream, how far off it is and what helps.
    """
    for spec in specs:
        if spec.kind == "other" or spec.name not in series:
            continue
        received = received_ns[spec.name]
        _require_within(spec, received, start_ns, end_ns)
        behind = (received - series[spec.name].stamps_ns) / NANOSECONDS
        median = float(np.median(behind))
        if abs(median) > MAX_CLOCK_ERROR:
            side = "before" if median > 0 else "after"
            # A clock that differs does so from the first message to the last.
            is_apart = np.abs(behind).min() > 0.5 * abs(median)
            cause = "the clock of the host that stamps it differs from the recorder's"
            raise EpisodeError(
                f"{spec.topic} is stamped {abs(median):.1f} s {side} its receipt (bound "
                f"{MAX_CLOCK_ERROR:.1f} s): {cause if is_apart else _BUSY}; {_REMEDY}"
            )
        ahead = -behind > MAX_LEAD
        if np.any(ahead):
            raise EpisodeError(
                f"{int(ahead.sum())} of {len(ahead)} messages of {spec.topic} are stamped up to "
                f"{-behind.min() * 1e3:.0f} ms after their receipt (bound {MAX_LEAD * 1e3:.0f} "
                "ms; a policy refuses them, too): the clock of the host that stamps them is ahead "
                f"of the recorder's, or was set; {_REMEDY}"
            )
        far = behind > FARTHEST_STAMP
        if np.any(far):
            raise EpisodeError(
                f"{int(far.sum())} of {len(far)} messages of {spec.topic} are stamped up to "
                f"{behind.max():.1f} s before their receipt (bound {FARTHEST_STAMP:.1f} s): "
                f"{_BUSY}; {_REMEDY}"
            )


def _require_within(
    spec: StreamSpec, received: NDArray[np.int64], start_ns: int, end_ns: int | None
) -> None:
    early = (start_ns - int(received.min())) / NANOSECONDS
    late = 0.0 if end_ns is None else (int(received.max()) - end_ns) / NANOSECONDS
    if max(early, late) > FARTHEST_STAMP:
        side = "before the start" if early > late else "after the end"
        raise EpisodeError(
            f"{spec.topic} was received {max(early, late):.1f} s {side} of the episode (bound "
            f"{FARTHEST_STAMP:.1f} s): the clock of the recorder was set, or the bag is damaged; "
            "record it again with ate_recorder"
        )
