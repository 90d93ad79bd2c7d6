"""``ate repair``: completes a bag that a kill, a power cut or a full disk left without its end.

Every whole chunk is copied into a new bag, which is marked as interrupted and repaired; the cut
bag is kept beside it with the suffix ``.truncated``.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from mcap.records import Channel, Message, Schema
from mcap.stream_reader import StreamReader
from rich.console import Console
from rosbags.interfaces import Connection
from rosbags.rosbag2 import StoragePlugin, Writer
from rosbags.rosbag2.metadata import parse_qos

from ate_core.episode_outcome import OUTCOME_FILE, PENDING, read_outcome
from ate_core.errors import EpisodeError
from ate_core.streams import INFO_TOPIC, OUTCOME_TOPIC, TEXT_TYPE
from training.data.bag_reader import TYPESTORE, RawMessage, bag_file, decode, read_messages
from training.data.mcap_chunks import DAMAGE

TRUNCATED = ".truncated"
"""Suffix of the folder that holds the bag as it was found."""


@dataclass(frozen=True, kw_only=True)
class RepairConfig:
    """Complete a bag that was cut short."""

    bag: Path
    """Episode folder, for instance episodes/episode_000003."""


def repair(config: RepairConfig) -> int:
    """Repair one bag and say what was recovered."""
    console = Console()
    folder = config.bag.resolve()
    if not folder.is_dir():
        raise EpisodeError(f"there is no folder {config.bag}: give --bag the folder of an episode")
    file = bag_file(folder)
    if (folder / "metadata.yaml").is_file() and is_whole(file):
        console.print(f"{folder.name} is whole: nothing to repair")
        return 0
    found = repair_bag(folder)
    state = "nothing was lost" if found.has_outcome else "marked as interrupted"
    console.print(
        f"{folder.name}: {found.messages} messages over {found.seconds:.1f} s recovered, {state}; "
        f"the cut bag is kept as {folder.name}{TRUNCATED}"
    )
    return 0


def is_whole(file: Path) -> bool:
    """Whether every message of a bag can be read and decoded."""
    count = 0
    try:
        for message in read_messages(file):
            if not _decodes(message):
                return False
            count += 1
    except EpisodeError:
        return False
    return count > 0


@dataclass(frozen=True, kw_only=True)
class Recovered:
    """What was found in a cut bag."""

    messages: int
    """Messages in whole chunks."""
    seconds: float
    """Time they span [s]."""
    has_outcome: bool
    """Whether the last message was among them."""


def repair_bag(folder: Path) -> Recovered:
    """Rebuild a cut bag in place.

    Raises:
        EpisodeError: not even the first chunk is whole, or a former repair's leavings are there.
    """
    kept = folder.with_name(folder.name + TRUNCATED)
    if kept.exists():
        raise EpisodeError(f"{kept} is there from a former repair: move it away first")
    workplace = folder.with_name(f".{folder.name}.repair")
    shutil.rmtree(workplace, ignore_errors=True)
    workplace.mkdir()
    try:
        found = _copy_whole_chunks(bag_file(folder), workplace / folder.name)
        if _decision_holds(folder, found):
            shutil.copy2(folder / OUTCOME_FILE, workplace / folder.name)
        folder.rename(kept)
        (workplace / folder.name).rename(folder)
    finally:
        shutil.rmtree(workplace, ignore_errors=True)
    return found


def _decision_holds(folder: Path, found: Recovered) -> bool:
    """Whether what a person said of the episode is true of what is left of it."""
    decision = read_outcome(folder).get("outcome")
    return decision == PENDING or (decision is not None and found.has_outcome)


def _copy_whole_chunks(source: Path, target: Path) -> Recovered:
    """Write the recoverable messages as a new bag."""
    writer = Writer(target, version=9, storage_plugin=StoragePlugin.MCAP)
    connections: dict[str, Connection] = {}
    count = first_ns = last_ns = 0
    outcome_seen = False
    writer.open()
    _name_as_recorded(writer, target)
    for message in recover_messages(source):
        if count == 0:
            if message.topic != INFO_TOPIC:
                break
            first_ns = message.receive_ns
        if not _decodes(message):
            break  # rotten bytes that no sum gives away
        if message.topic not in connections:
            connections[message.topic] = writer.add_connection(
                message.topic,
                message.msgtype,
                typestore=TYPESTORE,
                offered_qos_profiles=parse_qos(message.qos),
            )
        writer.write(connections[message.topic], message.receive_ns, message.data)
        last_ns = max(last_ns, message.receive_ns)
        outcome_seen = outcome_seen or message.topic == OUTCOME_TOPIC
        count += 1
    if count == 0:
        writer.abort()
        raise EpisodeError(
            f"{source.parent.name} has no whole first chunk: nothing can be recovered; delete it"
        )
    if not outcome_seen:
        connection = writer.add_connection(OUTCOME_TOPIC, TEXT_TYPE, typestore=TYPESTORE)
        writer.write(connection, last_ns, _interrupted(first_ns, last_ns))
    writer.close()
    return Recovered(messages=count, seconds=(last_ns - first_ns) / 1e9, has_outcome=outcome_seen)


def _decodes(message: RawMessage) -> bool:
    """Whether a message decodes; one of a type that is not read here counts as whole."""
    try:
        return message.msgtype not in TYPESTORE.types or decode(message) is not None
    except EpisodeError:
        return False


def recover_messages(file: Path) -> Iterator[RawMessage]:
    """Yield every message of the whole chunks of a damaged file, in the order written."""
    schemas: dict[int, Schema] = {}
    channels: dict[int, Channel] = {}
    with file.open("rb") as stream:
        size = max(1, file.stat().st_size)
        reader = StreamReader(stream, validate_crcs=True, record_size_limit=size)
        try:
            for record in reader.records:
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
                        data=record.data,
                        qos=channel.metadata.get("offered_qos_profiles", ""),
                    )
        except DAMAGE:
            return  # the end of what is whole


def _name_as_recorded(writer: Writer, target: Path) -> None:
    """Call the file ``<folder>_0.mcap``, as the recorder does and ``ros2 bag reindex`` wants."""
    storage = writer.storage
    if storage is None:
        raise EpisodeError(f"{target} is not open for writing: open the writer first")
    path = target / f"{target.name}_0.mcap"
    storage.path.rename(path)
    storage.path = path


def _interrupted(start_ns: int, end_ns: int) -> bytes:
    fields = {
        "outcome": "interrupted",
        "reason": "cut short, recovered to its last whole chunk",
        "repaired": True,
        "start_ns": start_ns,
        "end_ns": end_ns,
        "duration_s": round((end_ns - start_ns) / 1e9, 3),
        "dropped": 0,
        "streams": {},
    }
    message = TYPESTORE.types[TEXT_TYPE](data=json.dumps(fields, sort_keys=True))
    return bytes(TYPESTORE.serialize_cdr(message, TEXT_TYPE))
