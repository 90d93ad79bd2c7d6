"""One MCAP bag that ``ros2 bag`` reads and that a kill leaves readable to its last whole chunk.

The file is called ``<folder>_0.mcap`` from its first byte, as ``ros2 bag reindex`` demands of a
bag that was cut short.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import cast

from rosbags.interfaces import (
    Connection,
    Qos,
    QosDurability,
    QosHistory,
    QosLiveliness,
    QosReliability,
    QosTime,
)
from rosbags.rosbag2 import StoragePlugin, Writer
from rosbags.rosbag2.storage_mcap import McapWriter
from rosbags.typesys import Stores, get_typestore

TYPESTORE = get_typestore(Stores.ROS2_JAZZY)
"""Definitions and hashes of the standard messages."""

_FOREVER = QosTime(sec=2147483647, nsec=4294967295)


@dataclass(frozen=True, kw_only=True)
class BagTopic:
    """A topic as the bag describes it."""

    name: str
    """Absolute name."""
    msgtype: str
    """Type as ``sensor_msgs/msg/JointState``."""
    reliable: bool = True
    """Whether its publisher is reliable."""
    latched: bool = False
    """Whether its publisher is transient local."""

    def offered_qos(self) -> Qos:
        """Return what ``ros2 bag play`` should offer; history is unknown, as in real bags."""
        return Qos(
            history=QosHistory.UNKNOWN,
            depth=0,
            reliability=QosReliability.RELIABLE if self.reliable else QosReliability.BEST_EFFORT,
            durability=QosDurability.TRANSIENT_LOCAL if self.latched else QosDurability.VOLATILE,
            deadline=_FOREVER,
            lifespan=_FOREVER,
            liveliness=QosLiveliness.AUTOMATIC,
            liveliness_lease_duration=_FOREVER,
            avoid_ros_namespace_conventions=False,
        )


class BagWriter:
    """Writes raw CDR messages into a new bag folder; used from one thread at a time.

    Args:
        folder: Folder to create; its name names the bag.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.file = folder / f"{folder.name}_0.mcap"
        self._writer = Writer(folder, version=9, storage_plugin=StoragePlugin.MCAP)
        self._writer.open()
        storage = cast(McapWriter, self._writer.storage)
        # The stream stays open across the rename; metadata.yaml takes the name from ``path``.
        self._storage = storage
        storage.path.rename(self.file)
        storage.path = self.file
        self._connections: dict[str, Connection] = {}

    def write(self, topic: BagTopic, stamp_ns: int, data: bytes) -> None:
        """Append one message.

        Args:
            topic: Its topic, described at the first message.
            stamp_ns: Receive time [ns].
            data: CDR bytes with their four-byte header.
        """
        connection = self._connections.get(topic.name)
        if connection is None:
            connection = self._writer.add_connection(
                topic.name,
                topic.msgtype,
                typestore=TYPESTORE,
                offered_qos_profiles=[topic.offered_qos()],
            )
            self._connections[topic.name] = connection
        self._writer.write(connection, stamp_ns, data)

    def checkpoint(self) -> None:
        """End the present chunk, so that a kill from here on cannot cost what came before."""
        if self._storage.chunk.msgs:
            self._storage.close_chunk()
        self._storage.bio.flush()

    def close(self) -> None:
        """Write index, footer and metadata.yaml, and force all of it onto the disk."""
        self._writer.close()
        for path in (self.file, self.folder / "metadata.yaml", self.folder, self.folder.parent):
            sync_path(path)

    def abort(self) -> None:
        """Close the file as it is, for instance on a full disk; ``ate repair`` completes it."""
        self._writer.abort()


def sync_path(path: Path) -> None:
    """Force a file or a folder onto the disk."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def encode_text(text: str) -> bytes:
    """Return the CDR bytes of a ``std_msgs/msg/String``."""
    message = TYPESTORE.types["std_msgs/msg/String"](data=text)
    return bytes(TYPESTORE.serialize_cdr(message, "std_msgs/msg/String"))
