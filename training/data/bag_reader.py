"""Reads a recorded episode's bag without ROS."""

from __future__ import annotations

import json
import struct
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from mcap.exceptions import McapError
from mcap.reader import make_reader
from rosbags.serde import SerdeError
from rosbags.typesys import Stores, get_typestore

from ate_core.contract import Cell, parse_cell_text
from ate_core.episode_outcome import read_outcome
from ate_core.errors import EpisodeError, LayoutError
from ate_core.resample import Series, make_series, order_by_stamp
from ate_core.streams import (
    INFO_TOPIC,
    OUTCOME_TOPIC,
    TEXT_TYPE,
    StreamSpec,
    cell_streams,
    header_stamp_ns,
    read_value,
)

TYPESTORE = get_typestore(Stores.ROS2_JAZZY)
MAGIC = b"\x89MCAP0\r\n"
DAMAGE = (
    McapError, ValueError, KeyError, IndexError, MemoryError, OverflowError, struct.error,
)  # fmt: skip
"""What the MCAP reader raises on rotten bytes: lengths and numbers are then anything."""
SCENE_SETTLE_NS = 500_000_000
"""Time after the start in which the announcement of the scene may still come [ns]."""
FORMAT = 1
"""Version of /episode/info that this reader understands."""


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
    qos: str = ""
    """Quality of service its publisher offered, as the bag has it (YAML)."""


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
    images: dict[str, list[bytes]] = field(default_factory=dict)
    """JPEG bytes by camera key, in the order of the camera's series."""
    scene: dict[str, Any] = field(default_factory=dict)
    """Scene at the start of the episode: task, object names, epoch; empty without one."""


def bag_file(folder: Path) -> Path:
    """Return the MCAP file of an episode's folder."""
    file = folder / f"{folder.name}_0.mcap"
    if not file.is_file():
        raise EpisodeError(f"{folder.name} holds no {file.name}; it is not a recorded episode")
    return file


def is_complete(file: Path) -> bool:
    """Whether the file ends as an MCAP file must; a recording that was cut off does not."""
    with file.open("rb") as stream:
        size = stream.seek(0, 2)
        stream.seek(max(0, size - len(MAGIC)))
        return size > 2 * len(MAGIC) and stream.read() == MAGIC


def read_messages(file: Path) -> Iterator[RawMessage]:
    """Yield a bag's messages by receive time.

    Raises:
        EpisodeError: the bag is truncated or damaged.
    """
    folder = file.parent
    if not is_complete(file):
        raise EpisodeError(
            f"truncated: no footer after {file.stat().st_size} bytes; "
            f"run 'ate repair --bag {folder}'"
        )
    with file.open("rb") as stream:
        try:
            for schema, channel, message in make_reader(
                stream, validate_crcs=True
            ).iter_messages():
                yield RawMessage(
                    topic=channel.topic,
                    msgtype=schema.name if schema is not None else "",
                    receive_ns=message.log_time,
                    data=message.data,
                )
        except DAMAGE as error:
            raise EpisodeError(
                f"damaged: {error or type(error).__name__}; run 'ate repair --bag {folder}'"
            ) from None


def read_episode_bag(folder: Path) -> BagEpisode:
    """Read one episode.

    Raises:
        EpisodeError: truncated, damaged, without info or outcome, a wrong type, a scene that
            changed.
    """
    messages = read_messages(bag_file(folder))
    first = next(messages, None)
    if first is None or first.topic != INFO_TOPIC:
        raise EpisodeError(f"the first message is not {INFO_TOPIC}; record it with ate_recorder")
    info = _read_text(first)
    if info.get("format") != FORMAT:
        raise EpisodeError(
            f"bag format {info.get('format')!r}, this version reads {FORMAT}; "
            "convert it with the version that recorded it"
        )
    cell = parse_cell_text(info["contract"], f"contract of {folder.name}")
    collector = _Collector(cell, int(info["start_ns"]))
    for message in messages:
        collector.add(message)
    if collector.outcome is None:
        raise EpisodeError(
            f"no {OUTCOME_TOPIC}: it was never closed; run 'ate repair --bag {folder}'"
        )
    return BagEpisode(
        cell=cell,
        info=info,
        outcome=collector.outcome | read_outcome(folder),
        series=collector.series(),
        images=collector.images(),
        scene=collector.scene,
    )


class _Collector:
    """Sorts a bag's messages into streams."""

    def __init__(self, cell: Cell, start_ns: int) -> None:
        self.outcome: dict[str, Any] | None = None
        self.scene: dict[str, Any] = {}
        self._start_ns = start_ns
        self._specs = {spec.topic: spec for spec in cell_streams(cell)}
        self._scene_topic = cell.topics.scene_info
        self._stamps: dict[str, list[int]] = defaultdict(list)
        self._values: dict[str, list[Any]] = defaultdict(list)

    def add(self, message: RawMessage) -> None:
        if message.topic == OUTCOME_TOPIC:
            self.outcome = _read_text(message)
            return
        if message.topic == self._scene_topic:
            self._add_scene(message)
            return
        spec = self._specs.get(message.topic)
        if spec is None:
            return
        if message.msgtype != spec.msgtype:
            raise EpisodeError(
                f"{spec.topic} has type {message.msgtype}, the contract wants {spec.msgtype}"
            )
        if spec.kind != "other":
            decoded = decode(message)
            self._stamps[spec.name].append(header_stamp_ns(decoded))
            self._values[spec.name].append(_value(spec, decoded))

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
        collected = {}
        for name, stamps in self._stamps.items():
            values = self._values[name]
            if isinstance(values[0], bytes):
                collected[name] = make_series(stamps)
                continue
            shapes = {np.shape(value) for value in values}
            if len(shapes) > 1:
                raise EpisodeError(f"{name} changes its shape in mid-episode: {sorted(shapes)}")
            collected[name] = make_series(stamps, values)
        return collected

    def images(self) -> dict[str, list[bytes]]:
        return {
            name: [values[i] for i in order_by_stamp(self._stamps[name])]
            for name, values in self._values.items()
            if isinstance(values[0], bytes)
        }


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
            f"({type(error).__name__}): the bag is damaged; run 'ate repair --bag' with its folder"
        ) from None


def _value(spec: StreamSpec, decoded: Any) -> Any:
    try:
        return read_value(spec, decoded)
    except LayoutError as error:
        raise EpisodeError(str(error)) from None


def _read_text(message: RawMessage) -> dict[str, Any]:
    if message.msgtype != TEXT_TYPE:
        raise EpisodeError(f"{message.topic} has type {message.msgtype}, need {TEXT_TYPE}")
    text = decode(message).data
    try:
        fields = json.loads(text)
    except json.JSONDecodeError as error:
        raise EpisodeError(f"{message.topic} is not JSON ({error}); the bag is damaged") from None
    return dict(fields)
