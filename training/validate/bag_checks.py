"""A recorded bag against its rules: one pass over the file, then its numbers."""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import yaml

from ate_core.contract import Cell, parse_cell_text
from ate_core.episode_folders import SUFFIX
from ate_core.errors import AteError, EpisodeError
from ate_core.observation import FARTHEST_STAMP
from ate_core.streams import (
    CLOCK_TOPIC,
    INFO_TOPIC,
    OUTCOME_TOPIC,
    TEXT_TYPE,
    cell_streams,
    read_header_stamp,
)  # fmt: skip
from training.data.bag_reader import TYPESTORE, read_episode_bag
from training.data.episode_texts import FORMATS
from training.data.mcap_chunks import DAMAGE, MAGIC, McapChunks
from training.validate.jpegs import jpeg_problem
from training.validate.specification import Violation, broken

INFO_KEYS = (
    "format", "contract", "contract_sha256", "layout_sha256", "hardware", "task", "instruction",
    "operator", "seed", "start_ns", "required", "versions",
)  # fmt: skip
"""What `/episode/info` must say."""
OUTCOME_KEYS = ("outcome", "end_ns", "duration_s")
"""What `/episode/outcome` must say; a repaired bag knows only the first."""


@dataclass(kw_only=True)
class _Seen:
    """What the pass over a bag found."""

    first: tuple[str, bytes] | None = None
    outcome: bytes | None = None
    last: str = ""
    """Topic of the last message."""
    counts: Counter[str] = field(default_factory=Counter)
    types: dict[str, str] = field(default_factory=dict)
    fall_ns: int = 0
    stamps: dict[str, int] = field(default_factory=dict)
    """By topic, the farthest header stamp from its receive time [ns]."""
    is_stepped: bool = False
    """Whether a step of the clock is marked."""
    damage: str = ""


def check_bag(folder: Path) -> Iterator[Violation]:
    """Yield every violation; what cannot be looked at after one is not."""
    file = folder / f"{folder.name.removesuffix(SUFFIX)}_0.mcap"
    found = sorted(path.name for path in folder.glob("*.mcap"))
    if found != [file.name]:
        yield broken(folder, "B1", f"it holds {', '.join(found) or 'none'}", file.name)
        return
    if not file.is_file():
        yield broken(folder, "B1", f"{file.name} is a folder, or a link to nothing", "a file")
        return
    begin, end = _ends(file)
    if not begin == end == MAGIC or file.stat().st_size < 2 * len(MAGIC):
        size = file.stat().st_size
        yield broken(
            file, "B2", f"{size} bytes, {end.hex()} last", "the magic of MCAP at both ends"
        )
        return
    seen = _pass(file)
    if seen.damage:
        yield broken(file, "B3", seen.damage, "whole chunks")
        return
    info, cell = None, None
    for one in _check_info(file, seen):
        if isinstance(one, Violation):
            yield one
        else:
            info, cell = one
    outcome: dict[str, Any] = {}
    for found_one in _check_outcome(file, seen):
        if isinstance(found_one, Violation):
            yield found_one
        else:
            outcome = found_one
    yield from _check_metadata(folder, file, seen)
    if info is not None and cell is not None:
        yield from _check_streams(file, seen, info, cell)
        yield from _check_counts(file, seen, outcome, cell)
        yield from _check_values(folder, file)


def _ends(file: Path) -> tuple[bytes, bytes]:
    with file.open("rb") as stream:
        begin = stream.read(len(MAGIC))
        stream.seek(max(0, file.stat().st_size - len(MAGIC)))
        return begin, stream.read()


def _pass(file: Path) -> _Seen:
    seen, last = _Seen(), 0
    with file.open("rb") as stream:
        chunks = McapChunks(stream)
        try:
            for block in chunks:
                for placed in block.messages:
                    topic = chunks.channels[placed.channel].topic
                    data = block.data[placed.start : placed.end]
                    seen.types[topic] = chunks.msgtype(placed.channel)
                    seen.counts[topic] += 1
                    seen.first = seen.first or (topic, data)
                    seen.outcome = data if topic == OUTCOME_TOPIC else seen.outcome
                    seen.last = topic
                    seen.fall_ns = max(seen.fall_ns, last - placed.log_ns)
                    last = max(last, placed.log_ns)
                    seen.is_stepped |= topic == CLOCK_TOPIC and _is_step(data)
                    stamp = read_header_stamp(data)
                    if stamp is not None:
                        away = abs(stamp - placed.log_ns)
                        seen.stamps[topic] = max(seen.stamps.get(topic, 0), away)
        except DAMAGE as error:
            seen.damage = str(error) or type(error).__name__
    return seen


def _is_step(data: bytes) -> bool:
    try:
        return bool(_text(data).get("step_ns"))
    except ValueError:
        return False


def _text(data: bytes) -> dict[str, Any]:
    """A JSON text.

    Raises:
        ValueError: it is none.
    """
    try:
        message: Any = TYPESTORE.deserialize_cdr(data, TEXT_TYPE)
        fields = json.loads(message.data)
    except Exception as error:  # the decoder raises anything on rotten bytes
        raise ValueError(f"no JSON text ({type(error).__name__})") from None
    if not isinstance(fields, dict):
        raise ValueError("no JSON object")
    return fields


def _check_info(file: Path, seen: _Seen) -> Iterator[Violation | tuple[dict[str, Any], Cell]]:
    topic, data = seen.first or ("no topic at all", b"")
    if topic != INFO_TOPIC or seen.types[topic] != TEXT_TYPE:
        yield broken(file, "B4", f"the first message is on {topic}", f"{INFO_TOPIC}, {TEXT_TYPE}")
        return
    if seen.counts[INFO_TOPIC] > 1:
        yield broken(file, "B4", f"{seen.counts[INFO_TOPIC]} messages on {INFO_TOPIC}", "one")
        return
    try:
        info = _text(data)
    except ValueError as error:
        yield broken(file, "B4", f"{INFO_TOPIC} holds {error}", "a JSON object")
        return
    missing = [key for key in INFO_KEYS if key not in info]
    if missing:
        yield broken(file, "B4", f"{INFO_TOPIC} lacks {', '.join(missing)}", "all its keys")
        return
    if info["format"] not in FORMATS:
        yield broken(file, "B5", f"format {info['format']!r}", f"one of {FORMATS}")
        return
    text = str(info["contract"])
    digest = hashlib.sha256(text.encode()).hexdigest()
    if digest != info["contract_sha256"]:
        yield broken(file, "B6", f"hash {digest[:12]}", str(info["contract_sha256"])[:12])
    try:
        cell = parse_cell_text(text, "contract")
        int(info["start_ns"]), list(info["required"])
    except (AteError, ValueError, TypeError, OverflowError) as error:
        yield broken(file, "B6", error, "a valid cell, start and list of required streams")
        return
    yield info, cell


def _check_outcome(file: Path, seen: _Seen) -> Iterator[Violation | dict[str, Any]]:
    if seen.outcome is None:
        yield broken(file, "B7", f"no {OUTCOME_TOPIC}", "it as last message")
        return
    if seen.last != OUTCOME_TOPIC or seen.counts[OUTCOME_TOPIC] > 1:
        found = f"{seen.counts[OUTCOME_TOPIC]} messages on it, the last on {seen.last}"
        yield broken(file, "B7", found, "one, the last")
        return
    try:
        outcome = _text(seen.outcome)
    except ValueError as error:
        yield broken(file, "B7", f"{OUTCOME_TOPIC} holds {error}", "a JSON object")
        return
    keys = OUTCOME_KEYS[:1] if outcome.get("repaired") else OUTCOME_KEYS
    missing = [key for key in keys if key not in outcome]
    if missing:
        yield broken(file, "B7", f"{OUTCOME_TOPIC} lacks {', '.join(missing)}", "all its keys")
    if not isinstance(outcome.get("streams", {}), dict):
        yield broken(file, "B7", "streams is no object", "an object")
        return
    yield outcome


def _check_metadata(folder: Path, file: Path, seen: _Seen) -> Iterator[Violation]:
    path = folder / "metadata.yaml"
    try:
        told = yaml.safe_load(path.read_text())["rosbag2_bagfile_information"]
        names, count = list(told["relative_file_paths"]), int(told["message_count"])
    except (OSError, yaml.YAMLError, KeyError, TypeError, ValueError, RecursionError) as error:
        yield broken(path, "B15", f"it cannot be read ({type(error).__name__})", "rosbag2's file")
        return
    if names != [file.name]:
        yield broken(path, "B15", f"it names {names}", [file.name])
    if count != seen.counts.total():
        yield broken(path, "B15", f"message_count {count}", seen.counts.total())


def _check_streams(
    file: Path, seen: _Seen, info: dict[str, Any], cell: Cell
) -> Iterator[Violation]:
    specs = {spec.topic: spec for spec in cell_streams(cell)}
    by_name = {spec.name: spec for spec in specs.values()}
    for topic, spec in specs.items():
        if topic in seen.types and seen.types[topic] != spec.msgtype:
            yield broken(file, "B8", f"{topic} is {seen.types[topic]}", spec.msgtype)
    for name in info["required"]:
        topic = by_name[name].topic if name in by_name else str(name)
        if not seen.counts[topic]:
            yield broken(file, "B9", f"{topic} has no message", "1 or more")
    if seen.fall_ns > 0:
        yield broken(file, "B10", f"they fall by {seen.fall_ns * 1e-9:.3f} s", "never")
    if seen.is_stepped:
        return
    for topic, away in seen.stamps.items():
        if topic in specs and specs[topic].stamped and away * 1e-9 > FARTHEST_STAMP:
            yield broken(file, "B14", f"{topic} is stamped {away * 1e-9:.1f} s away", "2 s")


def _check_counts(
    file: Path, seen: _Seen, outcome: dict[str, Any], cell: Cell
) -> Iterator[Violation]:
    topics = {spec.name: spec.topic for spec in cell_streams(cell)}
    for name, fields in outcome.get("streams", {}).items():
        told = fields.get("count") if isinstance(fields, dict) else None
        if name in topics and told is not None and told != seen.counts[topics[name]]:
            yield broken(file, "B11", f"{name} is told to have {told} messages",
                         f"{seen.counts[topics[name]]}, as the bag has")  # fmt: skip


def _check_values(folder: Path, file: Path) -> Iterator[Violation]:
    try:
        episode = read_episode_bag(folder)
    except (EpisodeError, *DAMAGE) as error:
        yield broken(file, "B12", error, "messages of the contract")
        return
    for name, series in episode.series.items():
        rows = np.flatnonzero(~np.isfinite(series.values.reshape(len(series), -1)).all(axis=1))
        if len(rows):
            where = f"{name} is no number in {len(rows)} messages, first {rows[0]}"
            yield broken(file, "B13", where, "finite numbers")
    for key, images in episode.images.items():
        bad = ((index, jpeg_problem(image)) for index, image in enumerate(images))
        problems = [(index, problem) for index, problem in bad if problem]
        if problems:
            index, problem = problems[0]
            yield broken(file, "B16", f"{len(problems)} images of {key}, first {index}: {problem}",
                         "ffd8ff … ffd9")  # fmt: skip
