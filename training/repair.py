"""``ate repair``: completes a bag that a kill, a power cut or a full disk left without its end.

Every whole chunk is copied into a new bag, which is marked as interrupted and repaired; the cut
bag is kept beside it with the suffix ``.truncated``. What was lost is counted: by what the bag's
metadata promised where it had been closed, else by what is seen of the chunk that was cut.
"""

from __future__ import annotations

import json
import shutil
import struct
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any

import yaml
from mcap.opcode import Opcode
from mcap.records import Channel, Chunk, McapRecord, Message, Schema
from mcap.stream_reader import StreamReader, breakup_chunk

from ate_core.disk_refusals import remedy
from ate_core.episode_outcome import OUTCOME_FILE, PENDING, read_outcome
from ate_core.errors import DiskError, EpisodeError
from ate_core.open_bags import hold_bag
from ate_core.resample import NANOSECONDS
from ate_core.streams import CLOCK_TOPIC, INFO_TOPIC, OUTCOME_TOPIC, TEXT_TYPE
from ate_recorder.bag_writer import BagTopic, BagWriter, encode_text
from training.data.bag_reader import (
    TYPESTORE,
    RawMessage,
    bag_file,
    decode,
    read_messages,
)
from training.data.disk_room import refusal, require_room
from training.data.mcap_chunks import DAMAGE, MAGIC, require_mcap
from training.reporting.terminal import terminal

TRUNCATED = ".truncated"
"""Suffix of the folder that holds the bag as it was found."""


@dataclass(frozen=True, kw_only=True)
class RepairConfig:
    """Complete a bag that was cut short."""

    bag: Path
    """Episode folder, for instance episodes/episode_000003."""


def repair(config: RepairConfig) -> int:
    """Repair one bag and say what was recovered."""
    folder = config.bag.resolve()
    if not folder.is_dir():
        raise EpisodeError(f"there is no folder {config.bag}: give --bag the folder of an episode")
    with hold_bag(folder):
        return _repair_held(folder)


def _repair_held(folder: Path) -> int:
    console = terminal()
    looked = look_at(folder)
    if looked.is_whole:
        told = looked.words()
        console.print(f"{folder.name} is whole: nothing to repair{told}", soft_wrap=True)
        return 1 if looked.unreadable else 0
    try:
        found = repair_bag(folder)
    except OSError as error:
        raise DiskError(f"{folder.name} stays as it was: {refusal(error)}") from None
    state = "the outcome among them" if found.has_outcome else "marked as interrupted"
    console.print(
        f"{folder.name}: {found.messages} messages over {found.seconds:.1f} s recovered, "
        f"{found.losses()}; {state}; the former bag is kept as {folder.name}{TRUNCATED}",
        soft_wrap=True,
    )
    return 0


@dataclass(frozen=True, kw_only=True)
class Looked:
    """What a look at a bag found."""

    is_whole: bool
    """Whether all is there that the recorder writes."""
    unreadable: Mapping[str, int] = field(default_factory=dict)
    """Topic and type -> messages that do not decode, though they are as they were published."""

    def words(self) -> str:
        """What no repair helps against; empty where there is nothing."""
        told = [f"{count} messages on {what}" for what, count in self.unreadable.items()]
        if not told:
            return ""
        return (
            f"; but {', '.join(told)} do not decode: correct the node that published them and "
            "record the episode anew"
        )


def look_at(folder: Path) -> Looked:
    """Read a bag through, with its index and its metadata."""
    file = bag_file(folder)
    require_mcap(file)
    odd: Counter[str] = Counter()
    topics: Counter[str] = Counter()
    try:
        for message in read_messages(file, as_written=True):
            topics[message.topic] += 1
            if not _decodes(message):
                odd[f"{message.topic} ({message.msgtype})"] += 1
    except EpisodeError:  # cut or rotten
        return Looked(is_whole=False)
    if odd and not all(message.is_summed for message in recover_messages(file)):
        return Looked(is_whole=False)  # rotten bytes that no sum gives away
    if next(iter(topics), INFO_TOPIC) != INFO_TOPIC:
        raise _not_ours(folder, next(iter(topics)))
    is_closed = bool(topics[OUTCOME_TOPIC]) and _promised(folder) == topics.total()
    is_named = _metadata(folder).get("relative_file_paths") == [file.name]  # else it was renamed
    return Looked(is_whole=is_closed and is_named, unreadable=dict(odd))


def _not_ours(folder: Path, topic: str) -> EpisodeError:
    return EpisodeError(
        f"{folder.name} begins with a message on {topic}, not on {INFO_TOPIC}: ate_recorder did "
        "not write it, or its messages were put in another order; it stays as it is"
    )


@dataclass(frozen=True, kw_only=True)
class Recovered:
    """What was found in a cut bag."""

    messages: int
    """Messages in whole chunks."""
    lost: int
    """Messages known to be lost: promised by the metadata, or seen in what was cut."""
    is_exact: bool
    """Whether no more than these can be lost, for the bag had been closed."""
    seconds: float
    """Time they span [s]."""
    has_outcome: bool
    """Whether the last message was among them."""

    def losses(self) -> str:
        """Return in words what was lost."""
        if self.is_exact or self.has_outcome:
            return f"{self.lost} lost" if self.lost else "nothing was lost"
        return (
            f"{self.lost} lost in the chunk that was cut, besides what had not reached the file "
            "(a second at most)"
        )


def repair_bag(folder: Path) -> Recovered:
    """Rebuild a cut bag in place.

    Raises:
        EpisodeError: not even the first chunk is whole, or a former repair's leavings are there.
        DiskError: the disk lacks the room for a second bag; this one stays as it was.
    """
    kept = folder.with_name(folder.name + TRUNCATED)
    if kept.exists():
        raise EpisodeError(f"{kept} is there from a former repair: move it away first")
    workplace = folder.with_name(f".{folder.name}.repair")
    shutil.rmtree(workplace, ignore_errors=True)
    require_room(folder.parent, bag_file(folder).stat().st_size, "the messages of the new bag")
    workplace.mkdir()
    try:
        found = _copy_whole_chunks(bag_file(folder), workplace / folder.name)
        if _decision_holds(folder, found):
            shutil.copy2(folder / OUTCOME_FILE, workplace / folder.name)
        folder.rename(kept)
        try:
            (workplace / folder.name).rename(folder)
        except OSError as error:
            try:
                kept.rename(folder)
            except OSError:
                raise DiskError(
                    f"{folder.name} lies beside its place as {kept.name}, as it was "
                    f"({error.strerror}): {remedy(error)}, then rename it back"
                ) from None
            raise
    finally:
        shutil.rmtree(workplace, ignore_errors=True)
    return found


def _decision_holds(folder: Path, found: Recovered) -> bool:
    """Whether what a person said of the episode is true of what is left of it."""
    decision = read_outcome(folder).get("outcome")
    return decision == PENDING or (decision is not None and found.has_outcome)


def _copy_whole_chunks(source: Path, target: Path) -> Recovered:
    """Write the recoverable messages as a new bag."""
    writer = BagWriter(target)
    topics: dict[str, BagTopic] = {}
    steps: list[dict[str, Any]] = []
    count = first_ns = last_ns = 0
    outcome_seen = False
    for message in recover_messages(source):
        if count == 0:
            if message.topic != INFO_TOPIC:
                writer.abort()
                raise _not_ours(source.parent, message.topic)
            first_ns = message.receive_ns
        if not message.is_summed and not _decodes(message):
            break  # rotten bytes that no sum gives away
        if message.msgtype not in TYPESTORE.types:
            continue  # of a type that nobody here can describe: counted as lost
        topic = topics.get(message.topic) or topics.setdefault(message.topic, _topic(message))
        writer.write(
            topic,
            message.receive_ns,
            message.data,
            wall_ns=message.wall_ns,
            number=message.number,
        )
        if message.topic == CLOCK_TOPIC:
            steps += _steps(message, first_ns)
        last_ns = max(last_ns, message.receive_ns)
        outcome_seen = outcome_seen or message.topic == OUTCOME_TOPIC
        count += 1
    if count == 0:
        writer.abort()
        raise EpisodeError(
            f"{source.parent.name} has no whole first chunk: nothing can be recovered; delete it"
        )
    promised = _promised(source.parent)
    found = Recovered(
        messages=count,
        lost=max(0, (messages_seen(source) if promised is None else promised) - count),
        is_exact=promised is not None,
        seconds=(last_ns - first_ns) / NANOSECONDS,
        has_outcome=outcome_seen,
    )
    if not outcome_seen:
        described = BagTopic(name=OUTCOME_TOPIC, msgtype=TEXT_TYPE, latched=True)
        writer.write(described, last_ns, _interrupted(found, first_ns, last_ns, steps))
    writer.close()
    return found


def _topic(message: RawMessage) -> BagTopic:
    """The topic of a message, with what its publisher offered."""
    try:
        offered = dict((yaml.safe_load(message.qos) or [{}])[0])
    except (yaml.YAMLError, TypeError, ValueError, LookupError, RecursionError):
        offered = {}
    return BagTopic(
        name=message.topic,
        msgtype=message.msgtype,
        reliable=offered.get("reliability", "reliable") in ("reliable", 1),
        latched=offered.get("durability") in ("transient_local", 1),
    )


def _steps(message: RawMessage, start_ns: int) -> list[dict[str, Any]]:
    """The step of the clock that a message tells of, as in an outcome."""
    try:
        told = json.loads(decode(message).data)
        since_start_ns = told["bag_ns"] - start_ns
        if not told["step_ns"] or since_start_ns < 0:
            return []
        at_s = round(since_start_ns / NANOSECONDS, 3)
        return [{"at_s": at_s, "step_s": round(told["step_ns"] / NANOSECONDS, 6)}]
    except (EpisodeError, ValueError, LookupError, TypeError):
        return []


def _promised(folder: Path) -> int | None:
    """How many messages the metadata promises; None where it was never written."""
    try:
        return int(_metadata(folder)["message_count"])
    except (ValueError, KeyError, TypeError):
        return None


def _metadata(folder: Path) -> dict[str, Any]:
    """What rosbag2's file says of a bag; nothing where it cannot be read."""
    try:
        text = (folder / "metadata.yaml").read_text(encoding="utf-8")
        return dict(yaml.safe_load(text)["rosbag2_bagfile_information"])
    except (OSError, yaml.YAMLError, ValueError, LookupError, TypeError, RecursionError):
        return {}


def messages_seen(file: Path) -> int:
    """Count the messages whose beginning is in a file, those of the chunk that was cut included.

    Only the lengths of the records are read; rotten ones end the count.
    """
    count = 0
    with file.open("rb") as stream:
        size = stream.seek(0, 2)
        for opcode, start, end in _records(stream, len(MAGIC), size):
            if opcode == Opcode.MESSAGE:
                count += 1
            elif opcode == Opcode.CHUNK:
                stream.seek(start + _CHUNK_HEAD)
                name = stream.read(4)
                if name == bytes(4):  # not compressed
                    inside = start + _CHUNK_HEAD + 4 + 8
                    kinds = [kind for kind, *_ in _records(stream, inside, min(end, size))]
                    count += kinds.count(Opcode.MESSAGE)
    return count


_RECORD = struct.Struct("<BQ")
_CHUNK_HEAD = 28
"""Bytes of a chunk before the name of its compression."""


def _records(stream: IO[bytes], at: int, end: int) -> Iterator[tuple[int, int, int]]:
    """Yield opcode, begin and end of each record that begins before an end."""
    while at + _RECORD.size <= end:
        stream.seek(at)
        opcode, length = _RECORD.unpack(stream.read(_RECORD.size))
        if not 0 < opcode <= Opcode.DATA_END:
            return
        yield opcode, at + _RECORD.size, at + _RECORD.size + length
        at += _RECORD.size + length


def _decodes(message: RawMessage) -> bool:
    """Whether a message is of a known type and decodes."""
    try:
        return message.msgtype in TYPESTORE.types and decode(message) is not None
    except EpisodeError:
        return False


def recover_messages(file: Path) -> Iterator[RawMessage]:
    """Yield every message of the whole chunks of a damaged file, in the order written."""
    schemas: dict[int, Schema] = {}
    channels: dict[int, Channel] = {}
    with file.open("rb") as stream:
        try:
            for record, is_summed in _whole_records(stream):
                if isinstance(record, Schema):
                    schemas[record.id] = record
                elif isinstance(record, Channel):
                    channels[record.id] = record
                elif isinstance(record, Message):
                    channel = channels[record.channel_id]
                    yield RawMessage(
                        topic=channel.topic,
                        msgtype=schemas[channel.schema_id].name,
                        receive_ns=record.log_time,
                        wall_ns=record.publish_time,
                        number=record.sequence,
                        data=record.data,
                        qos=channel.metadata.get("offered_qos_profiles", ""),
                        is_summed=is_summed,
                    )
        except DAMAGE:
            return  # the end of what is whole


def _whole_records(stream: IO[bytes]) -> Iterator[tuple[McapRecord, bool]]:
    """Yield each record, chunks taken apart, and whether a checksum covers it."""
    size = max(1, stream.seek(0, 2))
    stream.seek(0)
    reader = StreamReader(stream, emit_chunks=True, validate_crcs=True, record_size_limit=size)
    for record in reader.records:
        if isinstance(record, Chunk):
            for inner in breakup_chunk(record, validate_crc=True):
                yield inner, record.uncompressed_crc != 0
        else:
            yield record, False


def _interrupted(
    found: Recovered, start_ns: int, end_ns: int, steps: list[dict[str, Any]]
) -> bytes:
    fields = {
        "outcome": "interrupted",
        "reason": "cut short, recovered to its last whole chunk",
        "repaired": True,
        "recovered": found.messages,
        "lost": found.lost,
        "start_ns": start_ns,
        "end_ns": end_ns,
        "duration_s": round(found.seconds, 3),
        "dropped": found.lost,
        "not_written": {},
        "not_recorded": {},
        "clock": {"steps": steps, "slewed_ms": 0.0},
        "streams": {},
    }
    return encode_text(json.dumps(fields, sort_keys=True))
