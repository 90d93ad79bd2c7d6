"""Episodes over a step of the wall clock, and episodes that were set aside, from bag to arrays."""

import struct

import numpy as np
import pytest

from ate_recorder.recorder import EpisodeRecorder
from ate_recorder.recorder_config import RecorderConfig
from ate_recorder.sample import Sample
from training.audit.command import find_episodes
from training.convert_bags import ConvertConfig, convert
from training.data.bag_reader import read_episode_bag
from training.data.episode_file import read_episode
from training.validate.bag_checks import check_bag

STEP_AT_NS = 700_000_000
"""When the wall clock is set, from the start [ns]."""


def record_over_a_step(studio, folder, step_ns):
    """Record one episode whose wall clock is set in its middle; stamps are those of that clock."""
    messages, at_ns = studio.messages(seconds=1.5, seed=5), studio.start_ns + STEP_AT_NS
    recorder = EpisodeRecorder(studio.cell, RecorderConfig(output=folder, min_free_gb=0.0))
    before = studio.start_ns - 10**6
    recorder.see_clock(before, before)
    for spec in recorder.required():
        recorder.receive(Sample(spec, b"", before))
    recorder.start(studio.start_ns)
    for message in messages:
        data, now = bytearray(message.data), message.receive_ns
        wall = now + (step_ns if now >= at_ns else 0)
        if message.spec.stamped and message.stamp_ns >= at_ns:
            struct.pack_into("<iI", data, 4, *divmod(message.stamp_ns + step_ns, 10**9))
        recorder.see_clock(now, wall)
        recorder.receive(Sample(message.spec, bytes(data), now, wall_ns=wall))
    recorder.stop(messages[-1].receive_ns + 10**7)
    recorder.keep(messages[-1].receive_ns + 2 * 10**7)


def converted(studio, folder, step_ns):
    record_over_a_step(studio, folder / "bags", step_ns)
    assert convert(ConvertConfig(bags=folder / "bags", output=folder / "data")) == 0
    return read_episode(folder / "data" / "episode_000000.hdf5")


@pytest.fixture(scope="module")
def plain(studio, tmp_path_factory):
    return converted(studio, tmp_path_factory.mktemp("plain"), 0)


@pytest.mark.parametrize("seconds", [3600.0, -3600.0, 1.0, -0.2])
def test_an_episode_over_a_step_of_the_clock_converts_to_the_same_data(
    studio, tmp_path, plain, seconds
):
    step_ns = round(seconds * 1e9)
    stepped = converted(studio, tmp_path, step_ns)
    for name in ("state", "velocity", "wrench", "action", "timestamps_ns", "environment"):
        np.testing.assert_array_equal(getattr(stepped, name), getattr(plain, name), name)
    for key, images in plain.images.items():
        assert list(stepped.images[key]) == list(images)
    for name, ages in plain.ages.items():
        np.testing.assert_array_equal(stepped.ages[name], ages, name)
    assert [step["step_s"] for step in stepped.clock["steps"]] == [seconds]


def test_an_episode_that_was_set_aside_opens_where_it_is_named(studio, tmp_path):
    bag = studio.record(tmp_path / "bags", studio.messages(seconds=1.3))
    counts = read_episode_bag(bag).counts
    aside = bag.rename(bag.with_name(f"{bag.name}.discarded"))
    assert read_episode_bag(aside).counts == counts
    (read,) = find_episodes(aside).values()
    assert read().counts == counts
    assert list(check_bag(aside)) == []
