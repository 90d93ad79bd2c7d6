"""One MCAP bag that ``ros2 bag`` reads and that a kill leaves readable to its last whole chunk.

The file is called ``<folder>_0.mcap`` from its first byte, as ``ros2 bag reindex`` demands of a
bag that was cut short.
"""

from __future__ import annotations

import os
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml
from rosbags.typesys import Stores, get_typestore

from ate_core.errors import EpisodeError
from ate_core.files import force_to_disk
from ate_core.locks import is_in_place
from ate_recorder.disk import WriteMeter
from ate_recorder.mcap_file import McapFile

TYPESTORE = get_typestore(Stores.ROS2_JAZZY)
"""Definitions and hashes of the standard messages."""
DISTRIBUTION = "jazzy"
"""ROS distribution whose definitions and hashes the bag carries."""
VERSION = 9
"""Version of rosbag2's metadata: that of Jazzy."""

_FOREVER = {"sec": 9223372036, "nsec": 854775807}


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

    def offered_qos(self) -> list[dict[str, Any]]:
        """Return what ``ros2 bag play`` should offer; history is unknown, as in real bags."""
        profile = {
            "history": "unknown",
            "depth": 0,
            "reliability": "reliable" if self.reliable else "best_effort",
            "durability": "transient_local" if self.latched else "volatile",
            "deadline": dict(_FOREVER),
            "lifespan": dict(_FOREVER),
            "liveliness": "automatic",
            "liveliness_lease_duration": dict(_FOREVER),
            "avoid_ros_namespace_conventions": False,
        }
        return [profile]


class BagMovedError(EpisodeError):
    """A bag is gone from its place; what is there now is another's."""


class BagWriter:
    """Writes raw CDR messages into a new bag folder; used from one thread at a time.

    Args:
        folder: Folder to create; its name names the bag.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.file = folder / f"{folder.name}_0.mcap"
        folder.mkdir(parents=True)
        self._mcap = McapFile(self.file, "ate_recorder")
        self._topics: dict[str, BagTopic] = {}
        self._channels: dict[str, int] = {}
        self._forced = 0
        self.meter = WriteMeter()
        """How fast the disk takes it."""

    @property
    def is_in_place(self) -> bool:
        """Whether the open file is still the one that its path names."""
        return is_in_place(self._mcap.fileno(), self.file)

    @property
    def chunks(self) -> int:
        """Chunks that a kill can no longer take; what was written after the last one it can."""
        return self._mcap.chunks

    def write(
        self,
        topic: BagTopic,
        stamp_ns: int,
        data: bytes,
        *,
        wall_ns: int | None = None,
        number: int = 0,
    ) -> None:
        """Append one message.

        Args:
            topic: Its topic, described at the first message.
            stamp_ns: Receive time on the clock that never steps [ns]: the bag's log time.
            data: CDR bytes with their four-byte header.
            wall_ns: Receive time on the wall clock [ns]: the bag's publish time.
            number: Its publisher's own count, 0 where there is none.
        """
        channel = self._channels.get(topic.name)
        if channel is None:
            channel = self._channels[topic.name] = self._describe(topic)
        self._mcap.write(channel, stamp_ns, data, stamp_ns if wall_ns is None else wall_ns, number)

    def checkpoint(self) -> None:
        """End the present chunk and force it onto the disk: no power cut can take it now."""
        began = time.monotonic()
        self._mcap.end_chunk()
        os.fdatasync(self._mcap.fileno())
        now = time.monotonic()
        self.meter.add(self._mcap.size - self._forced, now - began, now)
        self._forced = self._mcap.size

    def close(self) -> None:
        """Write index, footer and metadata.yaml, and force all of it onto the disk.

        Raises:
            BagMovedError: the bag was removed or moved; what is at its place now stays as it is.
            OSError: the disk refuses.
        """
        self._mcap.end_chunk()
        metadata = self._metadata()
        self._mcap.finish({"serialized_metadata": _yaml(metadata)})
        is_there = self.is_in_place
        self._mcap.close()
        if not is_there:
            raise BagMovedError(
                f"{self.file} was removed or moved while it was recorded: the episode ended; if "
                f"its folder was moved, bring it back and run 'ate repair --bag {self.folder}'"
            )
        told = self.folder / "metadata.yaml"
        unfinished = told.with_suffix(".yaml.tmp")
        unfinished.write_text(_yaml({"rosbag2_bagfile_information": metadata}) + "\n")
        force_to_disk(unfinished)
        unfinished.replace(told)
        for path in (self.file, self.folder, self.folder.parent):
            force_to_disk(path)

    def abort(self) -> None:
        """Close the file as it is, for instance on a full disk; ``ate repair`` completes it."""
        self._mcap.close()

    def _describe(self, topic: BagTopic) -> int:
        self._topics[topic.name] = topic
        text, _ = TYPESTORE.generate_msgdef(topic.msgtype, ros_version=2)
        metadata = {
            "offered_qos_profiles": _yaml(topic.offered_qos()),
            "topic_type_hash": TYPESTORE.hash_rihs01(topic.msgtype),
        }
        return self._mcap.add_channel(topic.name, (topic.msgtype, text), metadata)

    def _metadata(self) -> dict[str, Any]:
        """What ``ros2 bag`` reads before the file itself, in the order of Jazzy."""
        counts, first_ns = self._mcap.counts, self._mcap.first_ns
        begin = {"nanoseconds_since_epoch": first_ns}
        length = {"nanoseconds": self._mcap.last_ns - first_ns}
        topics = [
            {
                "topic_metadata": {
                    "name": topic.name,
                    "type": topic.msgtype,
                    "serialization_format": "cdr",
                    "offered_qos_profiles": topic.offered_qos(),
                    "type_description_hash": TYPESTORE.hash_rihs01(topic.msgtype),
                },
                "message_count": counts[self._channels[topic.name]],
            }
            for topic in self._topics.values()
        ]
        file = {
            "path": self.file.name,
            "starting_time": dict(begin),
            "duration": dict(length),
            "message_count": sum(counts.values()),
        }
        return {
            "version": VERSION,
            "storage_identifier": "mcap",
            "duration": length,
            "starting_time": begin,
            "message_count": sum(counts.values()),
            "topics_with_message_count": topics,
            "compression_format": "",
            "compression_mode": "",
            "relative_file_paths": [self.file.name],
            "files": [file],
            "custom_data": None,
            "ros_distro": DISTRIBUTION,
        }


def _yaml(value: Any) -> str:
    """Text in the order given, each part spelled out."""
    text: str = yaml.dump(value, Dumper=_Spelled, sort_keys=False, width=4096)
    return text.strip()


class _Spelled(yaml.SafeDumper):
    """No short names for parts that come twice: C++ readers of rosbag2 need none."""

    def ignore_aliases(self, data: Any) -> bool:
        """Spell everything out."""
        return True


def encode_text(text: str) -> bytes:
    """Return the CDR bytes of a ``std_msgs/msg/String``."""
    message = TYPESTORE.types["std_msgs/msg/String"](data=text)
    return bytes(TYPESTORE.serialize_cdr(message, "std_msgs/msg/String"))
