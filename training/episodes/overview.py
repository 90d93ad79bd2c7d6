"""What is known of the episodes of a set, without their images."""

from __future__ import annotations

import json
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mcap.reader import make_reader

from ate_core.episode_outcome import DISCARDED, read_outcome
from ate_core.errors import AteError, EpisodeError
from ate_core.json_text import UNREADABLE
from ate_core.streams import INFO_TOPIC, OUTCOME_TOPIC, TEXT_TYPE
from training.data.bag_reader import TYPESTORE
from training.data.episode_file import Episode, read_episode
from training.data.mcap_chunks import DAMAGE
from training.data.summaries import file_sha256
from training.episodes.episode_set import EpisodeSet


@dataclass(frozen=True, kw_only=True)
class Row:
    """One episode in a list."""

    number: int
    """Of the episode."""
    outcome: str
    """Its label; ``discarded`` when set aside, ``damaged`` when it cannot be read."""
    seconds: float
    """Length [s]."""
    ticks: int = 0
    """Ticks, of converted ones."""
    task: str = ""
    """Short name of the task."""
    operator: str = ""
    """Who demonstrated."""
    note: str = ""
    """Why it is as it is, where there is something to say."""


def summaries(episodes: EpisodeSet) -> list[Row]:
    """One row for each episode, those set aside included; a damaged one is told, not raised."""
    row = _converted if episodes.kind == "hdf5" else _recorded
    there = [row(number, episodes.path(number), "") for number in episodes.numbers()]
    aside = [row(one, episodes.aside(one), DISCARDED) for one in episodes.set_aside()]
    return sorted([*there, *aside], key=lambda one: (one.number, one.outcome == DISCARDED))


def table(episodes: EpisodeSet, rows: Sequence[Row]) -> str:
    """The list for people."""
    lines = []
    for row in rows:
        words = [f"{row.number:6}  {row.outcome:12} {row.seconds:6.1f} s  {row.task}"]
        words += [word for word in (row.operator, row.note) if word]
        lines.append("  ".join(words))
    there = [row for row in rows if row.outcome != DISCARDED]
    minutes = sum(row.seconds for row in there) / 60.0
    aside = f", {len(rows) - len(there)} set aside" if len(rows) > len(there) else ""
    total = f"{len(there)} episodes, {minutes:.1f} min{aside}, in {episodes.folder}"
    return "\n".join([*lines, total])


def facts(episodes: EpisodeSet, number: int) -> dict[str, Any]:
    """Everything that is known of one episode, by name.

    Raises:
        EpisodeError: it is not there, or damaged.
    """
    path = episodes.require(number)
    if episodes.kind == "bags":
        return read_bag_facts(path)
    episode = read_episode(path)
    first_s = int(episode.timestamps_ns[0]) / 1e9
    return {
        "file": path.name,
        "sha256": file_sha256(path),
        "megabytes": round(path.stat().st_size / 1e6, 3),
        "recorded": time.strftime("%Y-%m-%d %H:%M:%S UTC", time.gmtime(first_s)),
        "outcome": episode.outcome,
        "task": episode.task,
        "instruction": episode.instruction,
        "operator": episode.operator,
        "seed": episode.seed,
        "ticks": len(episode),
        "seconds": round(len(episode) / episode.cell.tick_rate, 3),
        "cameras": sorted(episode.images),
        "objects": list(episode.object_names),
        "cell": episode.cell.name,
        "hardware": episode.cell.hardware,
        "contract_sha256": episode.cell.sha256,
        "made_from": episode.source,
        "source_sha256": episode.source_sha256,
        **_spans(episode),
    }


def read_bag_facts(folder: Path) -> dict[str, Any]:
    """First and last message of a closed bag, found by its index, and what was decided after.

    Raises:
        EpisodeError: it was never closed, or is damaged.
    """
    found: dict[str, Any] = {}
    try:
        (file,) = folder.glob("*.mcap")
        with file.open("rb") as stream:
            texts = make_reader(stream).iter_messages(topics=[INFO_TOPIC, OUTCOME_TOPIC])
            for _, _, message in texts:
                text = TYPESTORE.deserialize_cdr(message.data, TEXT_TYPE)
                found |= json.loads(text.data)  # type: ignore[attr-defined]
        found |= read_outcome(folder)
        float(found.get("duration_s", 0.0))
        if "outcome" not in found:
            raise ValueError("it was never closed")
    except (*DAMAGE, *UNREADABLE, OSError) as error:
        raise EpisodeError(
            f"{folder} cannot be read ({error or type(error).__name__}): stop its recording, or "
            f"run `ate repair --bag {folder}`"
        ) from None
    found.pop("contract", None)  # pages long; its hash stays
    return {"file": folder.name, **found}


def _spans(episode: Episode) -> dict[str, str]:
    """Smallest and largest state by name."""
    low, high = episode.state.min(axis=0), episode.state.max(axis=0)
    return {
        f"state {name}": f"{one:.3f} to {two:.3f}"
        for name, one, two in zip(episode.cell.layout.state.names, low, high, strict=True)
    }


def _converted(number: int, path: Path, outcome: str) -> Row:
    try:
        episode = read_episode(path)
    except AteError as error:
        return Row(number=number, outcome=outcome or "damaged", seconds=0.0, note=str(error))
    return Row(
        number=number,
        outcome=outcome or episode.outcome,
        seconds=len(episode) / episode.cell.tick_rate,
        ticks=len(episode),
        task=episode.task,
        operator=episode.operator,
    )


def _recorded(number: int, path: Path, outcome: str) -> Row:
    try:
        known = read_bag_facts(path)
    except EpisodeError as error:
        return Row(number=number, outcome=outcome or "damaged", seconds=0.0, note=str(error))
    return Row(
        number=number,
        outcome=outcome or str(known["outcome"]),
        seconds=float(known.get("duration_s", 0.0)),
        task=str(known.get("task", "")),
        operator=str(known.get("operator", "")),
        note=str(known.get("reason", "")),
    )
