"""Cutting an episode into parts and joining parts that follow each other: pure, on ticks."""

from __future__ import annotations

import dataclasses
import hashlib
from collections.abc import Sequence
from itertools import pairwise
from typing import Any

import numpy as np

from ate_core.errors import EpisodeError
from ate_core.resample import tick_period_ns
from training.data.episode_file import Episode
from training.data.provenance import source_of_joined, source_of_part

PER_TICK = (
    "state", "velocity", "wrench", "action", "timestamps_ns", "environment", "commanded_by",
)  # fmt: skip
"""Fields of an episode with one row per tick."""
PER_TICK_BY_KEY = ("images", "ages")
"""Fields that hold, by key, one entry per tick."""
SAME = (
    "cell", "task", "instruction", "operator", "outcome", "seed", "object_names", "rules", "clock",
)  # fmt: skip
"""Fields in which parts must agree."""
MADE_ANEW = ("source", "source_sha256", "recorded", "streams", "audit")
"""Fields that tell of the whole and are set for each part."""


def split_episode(episode: Episode, at: Sequence[int], name: str, sha256: str) -> list[Episode]:
    """Cut an episode before each of some ticks.

    Args:
        episode: To be cut.
        at: Ticks with which a new part begins, ascending.
        name: Of the episode's file, for the provenance of the parts.
        sha256: Of that file.

    Raises:
        EpisodeError: a tick is outside, or the ticks do not ascend.
    """
    length = len(episode)
    for tick in at:
        if not 0 < tick < length:
            raise EpisodeError(
                f"{name} has ticks 0 to {length - 1}: it cannot be split at {tick}; give a tick "
                f"from 1 to {length - 1}"
            )
    if any(second <= first for first, second in pairwise(at)):
        raise EpisodeError(f"--at {' '.join(map(str, at))} does not ascend: give each tick once")
    bounds = [0, *at, length]
    return [_part(episode, begin, end, name, sha256) for begin, end in pairwise(bounds)]


def merge_episodes(parts: Sequence[Episode], names: Sequence[str], sha256: str) -> Episode:
    """Join episodes that follow each other without a pause.

    Args:
        parts: In order of time.
        names: Of their files.
        sha256: Hash of all their files.

    Raises:
        EpisodeError: they are of another cell, task or set of streams, ended otherwise, or there
            is a pause between two of them.
    """
    for first, second in zip(range(len(parts) - 1), range(1, len(parts)), strict=True):
        _refuse_unlike(parts[first], parts[second], names[first], names[second])
        _refuse_pause(parts[first], parts[second], names[first], names[second])
    joined: dict[str, Any] = {
        field: np.concatenate([getattr(part, field) for part in parts])
        for field in PER_TICK
        if getattr(parts[0], field) is not None
    }
    for field in PER_TICK_BY_KEY:
        joined[field] = {key: _chain(parts, field, key) for key in getattr(parts[0], field)}
    return dataclasses.replace(
        parts[-1],
        **joined,
        source=source_of_joined(names, [part.source for part in parts]),
        source_sha256=sha256,
        recorded={},
        streams={},
        audit={},
    )


def joint_sha256(hashes: Sequence[str]) -> str:
    """One hash of several."""
    return hashlib.sha256(" ".join(hashes).encode()).hexdigest()


def _part(episode: Episode, begin: int, end: int, name: str, sha256: str) -> Episode:
    cut: dict[str, Any] = {}
    for field in PER_TICK:
        values = getattr(episode, field)
        cut[field] = None if values is None else values[begin:end]
    for field in PER_TICK_BY_KEY:
        entries = getattr(episode, field)
        cut[field] = {key: entries[key][begin:end] for key in entries}
    return dataclasses.replace(
        episode,
        **cut,
        source=source_of_part(name, begin, end, episode.source),
        source_sha256=sha256,
        recorded={},
        streams={},  # they count the whole recording, not this part
        audit={},
    )


def _chain(parts: Sequence[Episode], field: str, key: str) -> Any:
    values = [getattr(part, field)[key] for part in parts]
    if isinstance(values[0], np.ndarray):
        return np.concatenate(values)
    return [entry for part in values for entry in part]


def _refuse_unlike(first: Episode, second: Episode, name: str, other: str) -> None:
    if first.cell.layout.sha256 != second.cell.layout.sha256:
        words = "; ".join(first.cell.layout.differences(second.cell.layout))
        raise EpisodeError(f"{name} and {other} have unlike layouts ({words}): keep them apart")
    if first.cell.canonical_text() != second.cell.canonical_text():
        raise EpisodeError(
            f"{name} and {other} were recorded with unlike contracts of the cell: keep them apart"
        )
    for field in SAME[1:]:
        one, two = getattr(first, field), getattr(second, field)
        if one != two:
            remedy = "keep them apart"
            if field == "outcome":
                remedy = "give all of them the label of the whole first, with `ate episodes label`"
            raise EpisodeError(f"{name} has {field} {one!r}, {other} {two!r}: {remedy}")
    for field in PER_TICK_BY_KEY:
        keys = sorted(getattr(first, field)), sorted(getattr(second, field))
        if keys[0] != keys[1]:
            raise EpisodeError(f"{name} has {field} {keys[0]}, {other} {keys[1]}: keep them apart")
    for field, words in (("environment", "has object poses"), ("commanded_by", "says who moved")):
        if (getattr(first, field) is None) != (getattr(second, field) is None):
            raise EpisodeError(f"only one of {name} and {other} {words}: keep them apart")


def _refuse_pause(first: Episode, second: Episode, name: str, other: str) -> None:
    period = tick_period_ns(first.cell.tick_rate)
    step = int(second.timestamps_ns[0]) - int(first.timestamps_ns[-1])
    if abs(step - period) > period // 2:
        raise EpisodeError(
            f"{other} begins {step / 1e9:.2f} s after the last tick of {name} (one tick is "
            f"{period / 1e9:.2f} s): only parts that follow each other can be merged, a pause "
            "or a jump would be learnt. To combine sets, copy their files into one folder"
        )
