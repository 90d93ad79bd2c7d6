"""What is known of the episodes of a set, without their images."""

from __future__ import annotations

import functools
import time
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mcap.reader import McapReader, make_reader
from mcap.summary import Summary

from ate_core.contract import parse_cell_text
from ate_core.episode_outcome import DISCARDED, read_outcome
from ate_core.errors import AteError, EpisodeError
from ate_core.json_text import UNREADABLE
from ate_core.streams import INFO_TOPIC, OUTCOME_TOPIC, TEXT_TYPE, StreamSpec, cell_streams
from training.data.bag_reader import RawMessage, bag_file, decode, read_episode_bag
from training.data.commanders import recorded_takeovers, takeovers_of
from training.data.episode_file import Episode, read_episode
from training.data.episode_texts import read_text
from training.data.mcap_chunks import DAMAGE, require_complete
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
    path = episodes.aside(number)
    if episodes.only != number or not path.exists():
        path = episodes.require(number)
    if episodes.kind == "bags":
        return {**read_bag_facts(path), "takeovers": _bag_takeovers(path)}
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
        "takeovers": str(takeovers_of(episode.commanders, episode.cell.tick_rate)) or "no policy",
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
    try:
        file = bag_file(folder)
        require_complete(file)
        with file.open("rb") as stream:
            reader = make_reader(stream)
            found = _texts(reader, folder)
            contract = str(found[INFO_TOPIC].pop("contract"))  # pages long; its hash stays
            lacks = _lacks(reader.get_summary(), contract, found[INFO_TOPIC])
        known = found[INFO_TOPIC] | found[OUTCOME_TOPIC] | read_outcome(folder)
        float(known.get("duration_s", 0.0))
    except (*DAMAGE, *UNREADABLE, OSError) as error:
        raise EpisodeError(
            f"{folder} cannot be read ({str(error) or type(error).__name__}): stop its recording, "
            f"or run `ate repair --bag {folder}`"
        ) from None
    if lacks:
        known["reason"] = "; ".join(filter(None, [known.get("reason", ""), *lacks]))
    return {"file": folder.name, **known}


def _texts(reader: McapReader, folder: Path) -> dict[str, dict[str, Any]]:
    """First and last message of a bag."""
    found: dict[str, dict[str, Any]] = {}
    for schema, channel, message in reader.iter_messages(topics=[INFO_TOPIC, OUTCOME_TOPIC]):
        msgtype = schema.name if schema is not None else ""
        if msgtype != TEXT_TYPE:
            raise EpisodeError(
                f"{channel.topic} of {folder} has type {msgtype}, need {TEXT_TYPE}: ate_recorder "
                "did not write it; record the episode anew"
            )
        raw = RawMessage(
            topic=channel.topic, msgtype=msgtype, receive_ns=message.log_time, data=message.data
        )
        text = str(decode(raw).data)
        found[channel.topic] = read_text(channel.topic, text)
    if INFO_TOPIC not in found:
        raise EpisodeError(
            f"{folder} has no {INFO_TOPIC}: ate_recorder did not write it; record the episode anew"
        )
    if OUTCOME_TOPIC not in found:
        raise ValueError("it was never closed")
    return found


def _lacks(summary: Summary | None, contract: str, info: Mapping[str, Any]) -> list[str]:
    """Which streams a bag lacks or has of another type, by its index."""
    counts: Counter[str] = Counter()
    types: dict[str, str] = {}
    if summary is not None and summary.statistics is not None:
        for channel in summary.channels.values():
            counts[channel.topic] += summary.statistics.channel_message_counts.get(channel.id, 0)
            schema = summary.schemas.get(channel.schema_id)
            types[channel.topic] = schema.name if schema is not None else ""
    required = {str(name) for name in info.get("required", [])}
    found = []
    for spec in _streams_of(contract):
        if spec.name in required and not counts[spec.topic]:
            found.append(f"no message on {spec.topic}")
        elif counts[spec.topic] and types[spec.topic] != spec.msgtype:
            found.append(f"{spec.topic} is {types[spec.topic]}, not {spec.msgtype}")
    return found


@functools.lru_cache(maxsize=8)
def _streams_of(contract: str) -> tuple[StreamSpec, ...]:
    return tuple(cell_streams(parse_cell_text(contract, "contract")))


def _bag_takeovers(folder: Path) -> str:
    """Who drove, as the commands in a bag tell."""
    try:
        bag = read_episode_bag(folder)
    except EpisodeError as error:
        return f"cannot be told: {error}"
    return str(recorded_takeovers(bag.cell, bag.series, bag.commanders)) or "no policy"


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
