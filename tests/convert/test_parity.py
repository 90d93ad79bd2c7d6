"""Recorded and live data take the same code: the same messages give the same arrays."""

import numpy as np

from ate_core.observation import LiveBuffer, Observation
from ate_core.streams import header_stamp_ns, read_value
from ate_recorder.bag_writer import TYPESTORE
from training.convert_bags import ConvertConfig, convert
from training.data.episode_file import read_episode


def decode_for_test(data: bytes) -> np.ndarray:
    """Stand in for a JPEG decoder: the bytes themselves as a one-row image."""
    return np.repeat(np.frombuffer(data, np.uint8)[None, :, None], 3, axis=2)


def test_the_same_messages_give_equal_arrays_live_and_converted(studio, tmp_path):
    messages = studio.messages(seconds=2.0, seed=3)
    studio.record(tmp_path / "bags", messages)
    config = ConvertConfig(bags=tmp_path / "bags", output=tmp_path / "data")
    assert convert(config) == 0
    episode = read_episode(tmp_path / "data" / "episode_000000.hdf5", studio.cell.layout)

    cameras = studio.cell.layout.cameras
    live = LiveBuffer(
        studio.cell, cameras=cameras, decoder=decode_for_test, use_environment=True, history=5.0
    )
    for message in messages:
        if message.spec.kind != "other":
            decoded = TYPESTORE.deserialize_cdr(message.data, message.spec.msgtype)
            value = read_value(message.spec, decoded)
            live.add(message.spec.name, header_stamp_ns(decoded), value)

    assert len(episode) > 30
    for k, tick in enumerate(episode.timestamps_ns.tolist()):
        seen = live.observe(tick, "put it down")
        assert isinstance(seen, Observation), str(seen)
        np.testing.assert_array_equal(seen.state, episode.state[k])
        np.testing.assert_array_equal(seen.environment, episode.environment[k])
        for key in cameras:
            np.testing.assert_array_equal(
                seen.images[key], decode_for_test(episode.images[key][k])
            )
