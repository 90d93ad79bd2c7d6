"""What is told of one recorded episode: number, label, length, task; read from its folder."""

from __future__ import annotations

import json
import struct
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rosbags.rosbag2 import Reader, ReaderError
from rosbags.serde import SerdeError

from ate_core.episode_folders import SUFFIX, number_of
from ate_core.episode_outcome import DISCARDED, read_outcome
from ate_core.errors import EpisodeError
from ate_core.json_text import UNREADABLE
from ate_core.open_bags import remedy_of
from ate_core.streams import INFO_TOPIC, OUTCOME_TOPIC, TEXT_TYPE
from ate_recorder.bag_writer import TYPESTORE

CUT_SHORT = "cut short"
"""Told of a bag that was never closed, or is damaged."""
_DAMAGE = (
    ReaderError, SerdeError, ValueError, LookupError, TypeError, AssertionError, OverflowError,
    MemoryError, struct.error, OSError,
)  # fmt: skip


@dataclass(frozen=True, kw_only=True)
class EpisodeSummary:
    """One line of the list of episodes."""

    number: int
    """Number of the episode."""
    outcome: str
    """``pending``, a label, ``discarded``, ``interrupted`` or ``cut short``."""
    seconds: float
    """Length [s]; 0 where nobody wrote it down."""
    dropped: int
    """Messages that were lost on the way to the disk."""
    task: str
    """Short name of the task."""
    operator: str
    """Who demonstrates."""
    reason: str
    """Why it ended as it did, where there is something to say."""
    folder: str
    """Absolute path."""


def read_summary(folder: Path) -> EpisodeSummary:
    """Read what the folder of an episode says of it; damage is told, never raised."""
    try:
        texts = _texts(folder)
    except _DAMAGE:
        texts = {}
    info, outcome = texts.get(INFO_TOPIC, {}), texts.get(OUTCOME_TOPIC, {})
    if not outcome:
        outcome = {"outcome": CUT_SHORT, "reason": remedy_of(folder)}
    else:
        try:
            outcome |= read_outcome(folder)
        except EpisodeError as error:
            outcome["reason"] = str(error)
    if folder.name.endswith(SUFFIX):
        outcome["outcome"] = DISCARDED
    return EpisodeSummary(
        number=number_of(folder),
        outcome=str(outcome["outcome"]),
        seconds=float(outcome.get("duration_s", 0.0)),
        dropped=int(outcome.get("dropped", 0)),
        task=str(info.get("task", "")),
        operator=str(info.get("operator", "")),
        reason=str(outcome.get("reason", "")),
        folder=str(folder.resolve()),
    )


def _texts(folder: Path) -> dict[str, dict[str, Any]]:
    """First and last message of a closed bag, found by its index."""
    found = {}
    with Reader(folder) as reader:
        wanted = [c for c in reader.connections if c.topic in (INFO_TOPIC, OUTCOME_TOPIC)]
        for connection, _, data in reader.messages(connections=wanted):
            text = TYPESTORE.deserialize_cdr(data, TEXT_TYPE)
            try:
                found[connection.topic] = dict(json.loads(text.data))  # type: ignore[attr-defined]
            except UNREADABLE:
                continue
    return found
