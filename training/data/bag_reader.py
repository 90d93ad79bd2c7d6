"""Reads a recorded episode's bag without ROS.

Numbers are read into memory, images stay in the file: a reader of the images of an hour needs no
more memory than one of a minute.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any

import numpy as np
from mcap.reader import make_reader
from numpy.typing import NDArray
from rosbags.serde import SerdeError
from rosbags.typesys import Stores, get_typestore

from ate_core.contract import Cell, parse_cell_text
from ate_core.episode_folders import SUFFIX
from ate_core.episode_outcome import read_outcome
from ate_core.errors import AteError, EpisodeError, LayoutError
from ate_core.resample import Series, make_series, order_by_stamp
from ate_core.streams import (
    INFO_TOPIC,
    OUTCOME_TOPIC,
    TEXT_TYPE,
    StreamSpec,
    cell_streams,
    read_value,
)
from training.data.bag_images import BagImages, ImagePlaces, find_image
from training.data.clock_steps import CLOCK_TOPIC, ClockSteps
from training.data.contract_hashes import require_hashes
from training.data.episode_texts import LARGEST_NS, read_text
from training.data.mcap_chunks import DAMAGE, Block, McapChunks, Placed, require_complete
from training.data.message_columns import MessageColumns, read_commanders, read_stamps
from training.data.recording import Recording
from training.data.stamp_bounds import require_true_stamps

TYPESTORE = get_typestore(Stores.ROS2_JAZZY)
SCENE_SETTLE_NS = 500_000_000
"""Time after the start in which the announcement of the scene may still come [ns]."""
PENDING = 2048
"""Messages of one stream that are read together."""


@dataclass(frozen=True, kw_only=True)
class RawMessage:
    """One message as it lies in the bag."""

    topic: str
    """Absolute topic name."""
    msgtype: str
    """Type as ``sensor_msgs/msg/JointState``."""
    receive_ns: int
    """Receive time at the recorder [ns]."""
    data: bytes
    """CDR bytes."""
    wall_ns: int = 0
    """What the wall clock of the recorder's host said then [ns]."""
    number: int = 0
    """Its publisher's own count."""
    qos: str = ""
    """Quality of service its publisher offered, as the bag has it (YAML)."""
    is_summed: bool = False
    """Whether a checksum says that these are the bytes that were published."""


@dataclass(frozen=True, kw_only=True)
class BagEpisode:
    """One episode as recorded, on its own stamps."""

    cell: Cell
    """The cell at recording time."""
    info: dict[str, Any]
    """First message: contract, task, operator."""
    outcome: dict[str, Any]
    """Last message: how it ended, what was lost; overridden by what was decided afterwards."""
    series: dict[str, Series]
    """Streams by name, ordered by header stamp."""
    received_ns: Mapping[str, NDArray[np.int64]] = field(default_factory=dict)
    """Receive times at the recorder by stream, in the order of its series [ns]."""
    commanders: Mapping[str, Sequence[str]] = field(default_factory=dict)
    """Who signed each command for an arm, by stream and in the order of its series."""
    counts: Mapping[str, int] = field(default_factory=dict)
    """Messages in the bag, by topic."""
    images: Mapping[str, Sequence[bytes]] = field(default_factory=dict)
    """JPEG bytes by camera key, in the order of the camera's series; read when asked for."""
    texts: Mapping[str, Sequence[tuple[int, str]]] = field(default_factory=dict)
    """Statuses by stream, as they came: receive time [ns] and JSON."""
    scene: dict[str, Any] = field(default_factory=dict)
    """Scene at the start of the episode: task, object names, epoch; empty without one."""


def bag_file(folder: Path) -> Path:
    """Return the MCAP file of an episode's folder, which may have been set aside."""
    file = folder / f"{folder.name.removesuffix(SUFFIX)}_0.mcap"
    if not file.is_file():
        raise EpisodeError(f"{folder.name} holds no {file.name}; it is not a recorded episode")
    return file


def read_messages(file: Path, *, as_written: bool = False) -> Iterator[RawMessage]:
    """Yield a bag's messages by receive time.

    Args:
        file: MCAP file.
        as_written: In the order in which they lie in the file instead.

    Raises:
        EpisodeError: the bag is truncated or damaged.
    """
    require_complete(file)
    with file.open("rb") as stream:
        try:
            reader = make_reader(stream, validate_crcs=True)
            found = reader.iter_messages(log_time_order=not as_written)
            for schema, channel, message in found:
                yield RawMessage(
                    topic=channel.topic,
                    msgtype=schema.name if schema is not None else "",
                    receive_ns=message.log_time,
                    data=message.data,
                )
        except DAMAGE as error:
            raise EpisodeError(
                f"damaged: {str(error) or type(error).__name__}; "
                f"run 'ate repair --bag {file.parent}'"
            ) from None


def read_episode_bag(folder: Path) -> BagEpisode:
    """Read one episode.

    Raises:
        EpisodeError: truncated, damaged, without info or outcome, a wrong type, a scene that
            changed.
    """
    try:
        return _read_episode(folder)
    except OverflowError:
        raise EpisodeError(
            f"a time in {folder.name} lies beyond {LARGEST_NS} ns: the bag was written by another "
            "tool, or is damaged; record the episode anew"
        ) from None


def read_recording(folder: Path) -> Recording | None:
    """Which recording a bag is, by its first message; None where that cannot be read."""
    try:
        with bag_file(folder).open("rb") as stream:
            chunks = McapChunks(stream)
            block = next(block for block in chunks if block.messages)
            info = _read_info(chunks, block, block.messages[0])
    except (AteError, OSError, StopIteration, *DAMAGE):
        return None
    return Recording(contract=str(info["contract"]), start_ns=int(info["start_ns"]))


def _read_episode(folder: Path) -> BagEpisode:
    file = bag_file(folder)
    require_complete(file)
    with file.open("rb") as stream:
        try:
            collector = _collect(stream, folder)
        except DAMAGE as error:
            raise EpisodeError(
                f"damaged: {str(error) or type(error).__name__}; run 'ate repair --bag {folder}'"
            ) from None
    if collector.outcome is None:
        raise EpisodeError(
            f"no {OUTCOME_TOPIC}: it was never closed; run 'ate repair --bag {folder}'"
        )
    series, received_ns = collector.series(), collector.received_ns()
    start_ns, end_ns = int(collector.info["start_ns"]), collector.outcome.get("end_ns")
    require_true_stamps(cell_streams(collector.cell), series, received_ns, start_ns, end_ns)
    return BagEpisode(
        cell=collector.cell,
        info=collector.info,
        outcome=collector.outcome | read_outcome(folder),
        series=series,
        received_ns=received_ns,
        commanders=collector.commanders(),
        counts=dict(collector.counts),
        images=collector.images(file),
        texts=dict(collector.texts),
        scene=collector.scene,
    )


def _collect(stream: IO[bytes], folder: Path) -> _Collector:
    """Read a bag's messages, once and in the order written."""
    chunks = McapChunks(stream)
    collector: _Collector | None = None
    for block in chunks:
        for placed in block.messages:
            if collector is None:
                collector = _Collector(_read_info(chunks, block, placed), chunks, folder)
            collector.add(block, placed)
    if collector is None:
        raise EpisodeError(f"no message at all, not even {INFO_TOPIC}; delete it")
    return collector


def _read_info(chunks: McapChunks, block: Block, placed: Placed) -> dict[str, Any]:
    message = _raw(chunks, block, placed)
    if message.topic != INFO_TOPIC:
        raise EpisodeError(
            f"the first message is on {message.topic}, not on {INFO_TOPIC}: ate_recorder did not "
            "write this bag; record it with ate_recorder"
        )
    return _read_text(message)


def _raw(chunks: McapChunks, block: Block, placed: Placed) -> RawMessage:
    return RawMessage(
        topic=chunks.channels[placed.channel].topic,
        msgtype=chunks.msgtype(placed.channel),
        receive_ns=placed.log_ns,
        data=block.data[placed.start : placed.end],
    )


class _Collector:
    """Sorts a bag's messages into streams."""

    def __init__(self, info: dict[str, Any], chunks: McapChunks, folder: Path) -> None:
        self.info = info
        self.cell = parse_cell_text(info["contract"], f"contract of {folder.name}")
        stored = {name: str(info.get(f"{name}_sha256", "")) for name in ("contract", "layout")}
        require_hashes(self.cell, str(info["contract"]), stored, folder.name)
        self.outcome: dict[str, Any] | None = None
        self.scene: dict[str, Any] = {}
        self.counts: Counter[str] = Counter()
        self.texts: dict[str, list[tuple[int, str]]] = defaultdict(list)
        self._start_ns = int(info["start_ns"])
        self._chunks = chunks
        self._specs = {spec.topic: spec for spec in cell_streams(self.cell)}
        self._by_channel: dict[int, _Stream | None] = {}
        self._streams: dict[str, _Stream] = {}
        self._steps = ClockSteps(self._start_ns)

    def add(self, block: Block, placed: Placed) -> None:
        if placed.channel not in self._by_channel:
            self._by_channel[placed.channel] = self._open(placed.channel)
        stream = self._by_channel[placed.channel]
        topic = self._chunks.channels[placed.channel].topic
        self.counts[topic] += 1
        if topic in (INFO_TOPIC, OUTCOME_TOPIC) and self.counts[topic] > 1:
            raise EpisodeError(
                f"a second message is on {topic}: two episodes were put into one bag, "
                "whose start and end are not told apart; convert each bag by itself"
            )
        if self.outcome is not None:
            raise EpisodeError(
                f"a message on {topic} lies behind {OUTCOME_TOPIC}, which ends an episode: "
                "something was put into the bag since; convert it as the recorder wrote it"
            )
        if stream is not None:
            stream.add(block, placed)
            return
        message = _raw(self._chunks, block, placed)
        if topic == OUTCOME_TOPIC:
            self.outcome = _read_text(message)
        elif topic == CLOCK_TOPIC:
            self._steps.add(_read_text(message))
        elif topic == self.cell.topics.scene_info:
            self._add_scene(message)
        elif topic in self._specs:
            text = str(decode(message).data)
            self.texts[self._specs[topic].name].append((message.receive_ns, text))

    def _open(self, channel: int) -> _Stream | None:
        """Return the stream of a channel; None where its messages are texts, or unknown."""
        spec = self._specs.get(self._chunks.channels[channel].topic)
        if spec is None:
            return None
        msgtype = self._chunks.msgtype(channel)
        if msgtype != spec.msgtype:
            raise EpisodeError(
                f"{spec.topic} has type {msgtype}, the contract wants {spec.msgtype}"
            )
        if not spec.stamped:
            return None
        return self._streams.setdefault(spec.name, _Stream(spec))

    def _add_scene(self, message: RawMessage) -> None:
        scene = _read_text(message)
        changed = self.scene.get("epoch") != scene.get("epoch")
        if self.scene and changed and message.receive_ns > self._start_ns + SCENE_SETTLE_NS:
            raise EpisodeError(
                f"the scene was reset in mid-episode (epoch {self.scene.get('epoch')} to "
                f"{scene.get('epoch')}); reset it before the episode starts"
            )
        self.scene = scene

    def series(self) -> dict[str, Series]:
        """Every stream's series; called once all was read, so that all steps are known."""
        for stream in self._streams.values():
            stream.finish(self._steps)
        return {name: stream.series() for name, stream in self._streams.items()}

    def received_ns(self) -> dict[str, NDArray[np.int64]]:
        return {name: stream.received_ns() for name, stream in self._streams.items()}

    def commanders(self) -> dict[str, list[str]]:
        return {
            name: stream.commanders()
            for name, stream in self._streams.items()
            if stream.is_command
        }

    def images(self, file: Path) -> dict[str, BagImages]:
        return {
            name: BagImages(file, stream.places())
            for name, stream in self._streams.items()
            if stream.spec.kind == "image"
        }


class _Stream:
    """One stamped stream while it is read: its stamps, its numbers, where its images lie."""

    def __init__(self, spec: StreamSpec) -> None:
        self.spec = spec
        self.is_command = spec.name.endswith("_command")
        self._columns = MessageColumns(TYPESTORE, spec.msgtype, self._read)
        self._pending: list[bytes] = []
        self._received: list[int] = []
        self._stamps: list[NDArray[np.int64]] = []
        self._values: list[NDArray[np.float64]] = []
        self._commanders: list[str] = []
        self._places: list[tuple[int, int, int, bool]] = []

    def add(self, block: Block, placed: Placed) -> None:
        start, end = placed.start, placed.end
        self._received.append(placed.log_ns)
        if self.spec.kind == "image":
            try:
                image = find_image(block.data, start, end)
            except ValueError as error:
                raise self._broken(str(error)) from None
            self._places.append((block.origin, *image, block.is_compressed))
        is_read = self.spec.kind not in ("image", "other")
        self._pending.append(block.data[start : end if is_read else min(end, start + 12)])
        if len(self._pending) >= PENDING:
            self._flush()

    def _flush(self) -> None:
        if not self._pending:
            return
        if min(map(len, self._pending)) < 12:
            raise self._broken("it is shorter than a header")
        self._stamps.append(read_stamps(self._pending))
        if self.is_command:
            self._commanders += read_commanders(self._pending)
        if self.spec.kind not in ("image", "other"):
            self._values += self._columns.read(self._pending)
            shapes = {values.shape[1:] for values in self._values}
            if len(shapes) > 1:
                raise EpisodeError(
                    f"{self.spec.name} changes its shape in mid-episode: {sorted(shapes)}"
                )
        self._pending = []

    def finish(self, steps: ClockSteps) -> None:
        """Order by stamp and, within one, by receive time."""
        self._flush()
        received = np.array(self._received, dtype=np.int64)
        stamps = steps.undo(np.concatenate(self._stamps), received)
        arrival = order_by_stamp(received)
        self._order = arrival[order_by_stamp(stamps[arrival])]
        self._ordered_stamps = stamps[self._order]

    def series(self) -> Series:
        values = np.concatenate(self._values)[self._order] if self._values else None
        return make_series(self._ordered_stamps, values)

    def received_ns(self) -> NDArray[np.int64]:
        return np.array(self._received, dtype=np.int64)[self._order]

    def commanders(self) -> list[str]:
        return [self._commanders[index] for index in self._order.tolist()]

    def places(self) -> ImagePlaces:
        places = np.array(self._places, dtype=np.int64)[self._order]
        return ImagePlaces(
            origin=places[:, 0],
            start=places[:, 1],
            end=places[:, 2],
            is_compressed=places[:, 3].astype(bool),
        )

    def _read(self, data: bytes) -> NDArray[np.float64]:
        message = RawMessage(
            topic=self.spec.topic, msgtype=self.spec.msgtype, receive_ns=0, data=data
        )
        try:
            return np.asarray(read_value(self.spec, decode(message)), dtype=np.float64)
        except LayoutError as error:
            raise EpisodeError(str(error)) from None

    def _broken(self, reason: str) -> EpisodeError:
        return EpisodeError(
            f"a message on {self.spec.topic} does not decode as {self.spec.msgtype} ({reason}): "
            "'ate repair --bag' with its folder tells whether the bag or its publisher is at fault"
        )


def decode(message: RawMessage) -> Any:
    """What a message says.

    Raises:
        EpisodeError: its bytes are not of its type.
    """
    try:
        return TYPESTORE.deserialize_cdr(message.data, message.msgtype)
    except (SerdeError, ValueError, IndexError, KeyError, AssertionError) as error:
        raise EpisodeError(
            f"a message on {message.topic} does not decode as {message.msgtype} "
            f"({type(error).__name__}): 'ate repair --bag' with its folder tells whether the bag "
            "or its publisher is at fault"
        ) from None


def _read_text(message: RawMessage) -> dict[str, Any]:
    if message.msgtype != TEXT_TYPE:
        raise EpisodeError(f"{message.topic} has type {message.msgtype}, need {TEXT_TYPE}")
    return read_text(message.topic, str(decode(message).data))
