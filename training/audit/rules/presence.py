"""Whether an episode has the streams that its recording required, and all that was recorded."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from ate_core.streams import cell_streams
from training.audit.findings import Finding
from training.audit.rules.spans import finding
from training.data.bag_reader import BagEpisode
from training.data.stream_counts import disagreements


def missing_stream(episode: BagEpisode) -> Iterator[Finding]:
    """Every stream that the recording required has messages.

    Bound: one message of each name in ``required`` of ``/episode/info``.
    """
    topics = {spec.name: spec.topic for spec in cell_streams(episode.cell)}
    for name in map(str, episode.info.get("required", [])):
        if name in episode.series and len(episode.series[name]):
            continue
        what = f"no message on {topics[name]}" if name in topics else f"no stream {name}"
        text = f"{what}, which the episode needs: start its node, then record it again"
        yield finding(
            "missing_stream", "refuse", name, text, value=0.0, bound=1.0, seconds=np.zeros(0)
        )


def recorder_counts(episode: BagEpisode) -> Iterator[Finding]:
    """The bag holds as many messages of a stream as the recorder has counted.

    Bound: ``count`` of the stream in ``/episode/outcome``.
    """
    for name, (held, recorded) in disagreements(episode).items():
        text = (
            f"{name} has {held} messages in the bag, {recorded} by the recorder: messages were "
            "taken out or put in since; take the bag from a copy, or record the episode anew"
        )
        yield finding(
            "recorder_counts", "flag", name, text, value=held, bound=recorded, seconds=np.zeros(0)
        )
