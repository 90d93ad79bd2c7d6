"""Reads the streams of an episode's bag that somebody wants, without ROS."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

from rosbags.highlevel import AnyReader
from rosbags.typesys import Stores, get_typestore

from ate_core.contract import Cell
from ate_core.errors import EpisodeError
from ate_core.streams import INFO_TOPIC, StreamSpec, cell_streams


def read_bag_messages(
    folder: Path,
    cell_of: Callable[[dict[str, Any]], Cell],
    is_wanted: Callable[[StreamSpec], bool],
) -> tuple[Cell, dict[str, list[Any]]]:
    """The cell of an episode and, by stream, the messages that are wanted of it.

    Args:
        folder: of the bag.
        cell_of: the cell from what /episode/info says.
        is_wanted: whether a stream is read.

    Raises:
        EpisodeError: it says nothing of its cell.
    """
    with AnyReader([folder], default_typestore=get_typestore(Stores.ROS2_JAZZY)) as reader:
        infos = [one for one in reader.connections if one.topic == INFO_TOPIC]
        first = next(iter(reader.messages(infos)), None) if infos else None
        if first is None:
            raise EpisodeError(f"{folder} has no {INFO_TOPIC}; record it with ate_recorder")
        connection, _, data = first
        text: Any = reader.deserialize(data, connection.msgtype)
        cell = cell_of(json.loads(text.data))
        wanted = {spec.topic: spec for spec in cell_streams(cell) if is_wanted(spec)}
        messages: dict[str, list[Any]] = {spec.name: [] for spec in wanted.values()}
        connections = [one for one in reader.connections if one.topic in wanted]
        for connection, _, data in reader.messages(connections) if connections else ():
            message = reader.deserialize(data, connection.msgtype)
            messages[wanted[connection.topic].name].append(message)
    return cell, messages
