"""The rules by which rosbag2 of Jazzy and Foxglove read a bag, applied to one of ours.

rosbag2: ``rosbag2_storage`` (``yaml.hpp``, ``qos.cpp``: keys and words of the metadata) and
``rosbag2_storage_mcap`` (``mcap_storage.cpp``: what the file itself must hold). A reader of its
own walks the bytes of the file by the MCAP specification, without the library that wrote them.
"""

import struct
import zlib

import pytest
import yaml
from rosbags.rosbag2 import Reader

from ate_recorder.bag_writer import TYPESTORE, BagTopic, BagWriter, encode_text

START = 1_700_000_000_000_000_000
TEXT = "std_msgs/msg/String"
TOPICS = (
    BagTopic(name="/episode/info", msgtype=TEXT, latched=True),
    BagTopic(name="/left/arm/joint_states", msgtype="sensor_msgs/msg/JointState"),
    BagTopic(name="/image", msgtype="sensor_msgs/msg/CompressedImage", reliable=False),
)
SENT = [(TOPICS[0], START, encode_text("{}"))] + [
    (TOPICS[1 + index % 2], START + index, bytes(4) + bytes([index % 256]) * 9000)
    for index in range(300)
]
"""More than two chunks."""


@pytest.fixture(scope="module")
def bag(tmp_path_factory):
    folder = tmp_path_factory.mktemp("bags") / "episode_000000"
    writer = BagWriter(folder)
    for index, (topic, stamp_ns, data) in enumerate(SENT):
        writer.write(topic, stamp_ns, data, wall_ns=stamp_ns - 7, number=index)
    writer.close()
    return folder


@pytest.fixture(scope="module")
def information(bag):
    return yaml.safe_load((bag / "metadata.yaml").read_text())["rosbag2_bagfile_information"]


def records(data):
    """Opcode and content of each record."""
    at = 0
    while at < len(data):
        opcode, length = struct.unpack_from("<BQ", data, at)
        yield opcode, data[at + 9 : at + 9 + length]
        at += 9 + length


def text_at(data, at):
    (length,) = struct.unpack_from("<I", data, at)
    return data[at + 4 : at + 4 + length].decode(), at + 4 + length


def pairs_at(data, at):
    (length,) = struct.unpack_from("<I", data, at)
    found, at, end = {}, at + 4, at + 4 + length
    while at < end:
        key, at = text_at(data, at)
        found[key], at = text_at(data, at)
    return found


@pytest.fixture(scope="module")
def content(bag):
    data = (bag / "episode_000000_0.mcap").read_bytes()
    assert data[:8] == data[-8:] == b"\x89MCAP0\r\n"
    return list(records(data[8:-8]))


def chunks(content):
    for opcode, data in content:
        if opcode == 0x06:
            size, crc = struct.unpack_from("<QI", data, 16)
            compression, at = text_at(data, 28)
            yield size, crc, compression, data[at + 8 :]


def test_metadata_has_every_key_that_rosbag2_decodes_in_the_type_it_wants(information):
    kinds = {
        "version": int, "storage_identifier": str, "duration": dict, "starting_time": dict,
        "message_count": int, "topics_with_message_count": list, "compression_format": str,
        "compression_mode": str, "relative_file_paths": list, "files": list,
        "custom_data": type(None), "ros_distro": str,
    }  # fmt: skip
    assert {key: type(value) for key, value in information.items()} == kinds
    assert list(information) == list(kinds), "in the order in which Jazzy writes them"
    assert (information["version"], information["ros_distro"]) == (9, "jazzy")
    assert information["storage_identifier"] == "mcap"
    (file,) = information["files"]
    assert file["path"] == information["relative_file_paths"][0] == "episode_000000_0.mcap"
    for told in (information, file):
        assert told["starting_time"] == {"nanoseconds_since_epoch": START}
        assert told["duration"] == {"nanoseconds": 299}
        assert told["message_count"] == len(SENT)


def test_each_topic_tells_type_hash_and_quality_of_service_in_jazzys_words(information):
    told = {
        topic["topic_metadata"]["name"]: topic
        for topic in information["topics_with_message_count"]
    }
    forever = {"sec": 9223372036, "nsec": 854775807}  # RMW_DURATION_INFINITE
    for topic in TOPICS:
        metadata = told[topic.name]["topic_metadata"]
        assert metadata["type"] == topic.msgtype
        assert metadata["serialization_format"] == "cdr"
        assert metadata["type_description_hash"] == TYPESTORE.hash_rihs01(topic.msgtype)
        (qos,) = metadata["offered_qos_profiles"]
        assert qos == {
            "history": "unknown",
            "depth": 0,
            "reliability": "reliable" if topic.reliable else "best_effort",
            "durability": "transient_local" if topic.latched else "volatile",
            "deadline": forever,
            "lifespan": forever,
            "liveliness": "automatic",
            "liveliness_lease_duration": forever,
            "avoid_ros_namespace_conventions": False,
        }
    assert [topic["message_count"] for topic in told.values()] == [1, 150, 150]


def test_the_file_alone_tells_what_metadata_tells(content, information):
    assert text_at(content[0][1], 0)[0] == "ros2", "profile of the header"
    channels = {}
    for _, _, _, data in chunks(content):
        for opcode, record in records(data):
            if opcode == 0x04:
                topic, at = text_at(record, 4)
                encoding, at = text_at(record, at)
                assert encoding == "cdr"
                channels[topic] = pairs_at(record, at)
    for topic in TOPICS:
        assert channels[topic.name]["topic_type_hash"] == TYPESTORE.hash_rihs01(topic.msgtype)
        offered = yaml.safe_load(channels[topic.name]["offered_qos_profiles"])
        assert offered == topic.offered_qos()
    (metadata,) = (data for opcode, data in content if opcode == 0x0C)
    name, at = text_at(metadata, 0)
    serialized = pairs_at(metadata, at)["serialized_metadata"]
    assert name == "rosbag2" and yaml.safe_load(serialized) == information


def test_every_type_is_defined_before_its_first_message(content):
    described = set()
    for _, _, _, data in chunks(content):
        for opcode, record in records(data):
            if opcode == 0x03:
                name, at = text_at(record, 2)
                encoding, at = text_at(record, at)
                definition, _ = TYPESTORE.generate_msgdef(name, ros_version=2)
                assert (encoding, text_at(record, at)[0]) == ("ros2msg", definition)
            if opcode == 0x04:
                described.add(struct.unpack_from("<H", record)[0])
            if opcode == 0x05:
                assert struct.unpack_from("<H", record)[0] in described


def test_a_message_carries_its_bytes_its_number_and_two_clocks(content):
    found = []
    for size, crc, compression, data in chunks(content):
        assert (size, crc, compression) == (len(data), zlib.crc32(data), "")
        for opcode, record in records(data):
            if opcode == 0x05:
                found.append((*struct.unpack_from("<IQQ", record, 2), record[22:]))
    assert len(list(chunks(content))) > 2
    assert found == [
        (index, stamp_ns, stamp_ns - 7, data) for index, (_, stamp_ns, data) in enumerate(SENT)
    ]


def test_the_index_leads_to_every_message(bag):
    with Reader(bag) as reader:
        connections = {c.topic: c for c in reader.connections}
        found = [(c.topic, stamp, bytes(data)) for c, stamp, data in reader.messages()]
    assert found == [(topic.name, stamp_ns, data) for topic, stamp_ns, data in SENT]
    assert connections["/image"].digest == TYPESTORE.hash_rihs01(TOPICS[2].msgtype)


def test_an_existing_folder_is_never_written_into(bag):
    with pytest.raises(FileExistsError):
        BagWriter(bag)
