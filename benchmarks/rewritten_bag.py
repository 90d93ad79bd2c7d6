"""Bags as another tool would write them: the same messages, changed, by the `mcap` package."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import yaml
from mcap.writer import CompressionType, Writer

from training.data.bag_reader import RawMessage, bag_file


def rewrite_bag(bag: Path, messages: Sequence[RawMessage], **layout: Any) -> None:
    """Replace the messages of a bag, in the order given, and count them in its metadata.

    Args:
        bag: Folder.
        messages: All of them.
        layout: Of the file, as the writer of the `mcap` package takes it; not compressed where
            it says nothing.
    """
    with bag_file(bag).open("wb") as stream:
        writer = Writer(stream, **({"compression": CompressionType.NONE} | layout))
        writer.start("ros2")
        channels: dict[tuple[str, str], int] = {}
        for message in messages:
            key = message.topic, message.msgtype
            if key not in channels:
                schema = writer.register_schema(message.msgtype, "ros2msg", b"")
                channels[key] = writer.register_channel(message.topic, "cdr", schema)
            writer.add_message(channels[key], message.receive_ns, message.data, message.receive_ns)
        writer.finish()
    told = yaml.safe_load((bag / "metadata.yaml").read_text())
    told["rosbag2_bagfile_information"]["message_count"] = len(messages)
    (bag / "metadata.yaml").write_text(yaml.safe_dump(told))
