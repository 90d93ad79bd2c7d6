"""Reading a bag: numbers at once, images when asked for, and both as the live path reads them."""

import pickle

import numpy as np
import pytest
from mcap.reader import make_reader
from mcap.writer import CompressionType, Writer

from ate_core.errors import EpisodeError
from ate_core.resample import make_series
from ate_core.streams import cell_streams, header_stamp_ns, read_value
from training.data.bag_reader import bag_file, decode, read_episode_bag, read_messages


@pytest.fixture(scope="module")
def bag(studio, tmp_path_factory):
    return studio.record(tmp_path_factory.mktemp("reader"), studio.messages(seconds=1.0))


def read_singly(bag, cell):
    """Stamps and values of every stream, decoded message by message."""
    specs = {spec.topic: spec for spec in cell_streams(cell) if spec.kind != "other"}
    stamps, values = {}, {}
    for message in read_messages(bag_file(bag)):
        spec = specs.get(message.topic)
        if spec is not None:
            decoded = decode(message)
            stamps.setdefault(spec.name, []).append(header_stamp_ns(decoded))
            values.setdefault(spec.name, []).append(read_value(spec, decoded))
    return stamps, values


def test_numbers_read_at_once_are_those_decoded_one_by_one(studio, bag):
    episode = read_episode_bag(bag)
    stamps, values = read_singly(bag, studio.cell)
    assert {name for name, one in episode.series.items() if one.values.size} == {
        name for name, rows in values.items() if not isinstance(rows[0], bytes)
    }
    for name, rows in values.items():
        wanted = make_series(stamps[name], None if isinstance(rows[0], bytes) else rows)
        np.testing.assert_array_equal(episode.series[name].stamps_ns, wanted.stamps_ns)
        np.testing.assert_array_equal(episode.series[name].values, wanted.values)
        assert (episode.received_ns[name] > episode.series[name].stamps_ns).all()


def test_an_image_is_read_from_the_bag_when_it_is_asked_for(studio, bag, tmp_path):
    copy = tmp_path / bag.name
    copy.mkdir()
    file = bag_file(bag)
    (copy / file.name).write_bytes(file.read_bytes())
    images = read_episode_bag(copy).images["cam_high"]
    stamps, values = read_singly(bag, studio.cell)
    order = np.argsort(stamps["cam_high"], kind="stable")
    assert list(images) == [values["cam_high"][i] for i in order]
    assert images[-1] == images[len(images) - 1] and images[1:3] == [images[1], images[2]]
    elsewhere = pickle.loads(pickle.dumps(images))
    assert elsewhere[2] == images[2]
    (copy / file.name).unlink()
    again = pickle.loads(pickle.dumps(images))
    with pytest.raises(EpisodeError, match=r"image 0 of .* cannot be read"):
        again[0]


@pytest.mark.parametrize("compression", [CompressionType.ZSTD, CompressionType.LZ4])
def test_a_compressed_bag_reads_as_the_plain_one(bag, tmp_path, compression):
    copy = tmp_path / bag.name
    copy.mkdir()
    with bag_file(bag).open("rb") as source, (copy / bag_file(bag).name).open("wb") as target:
        writer = Writer(target, compression=compression, chunk_size=2**17)
        writer.start("ros2")
        channels = {}
        for schema, channel, message in make_reader(source).iter_messages():
            if channel.id not in channels:
                schema_id = writer.register_schema(schema.name, schema.encoding, schema.data)
                channels[channel.id] = writer.register_channel(channel.topic, "cdr", schema_id)
            writer.add_message(
                channels[channel.id], message.log_time, message.data, message.publish_time
            )
        writer.finish()
    plain, packed = read_episode_bag(bag), read_episode_bag(copy)
    assert plain.counts == packed.counts
    for key, images in plain.images.items():
        assert list(images) == list(packed.images[key])
