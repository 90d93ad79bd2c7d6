"""Episodes over a step of the wall clock, and episodes that were set aside, from bag to arrays."""

import dataclasses
import struct
from collections import deque

import numpy as np
import pytest

from ate_recorder.clocks import receipt_ns
from ate_recorder.recorder import EpisodeRecorder
from ate_recorder.recorder_config import RecorderConfig
from ate_recorder.sample import Sample
from training.audit.command import find_episodes
from training.convert_bags import ConvertConfig, convert
from training.data.bag_reader import read_episode_bag
from training.data.episode_file import read_episode
from training.validate.bag_checks import check_bag

MS = 1_000_000
LOOK_NS = 20 * MS
"""Time between two looks of the recorder at the clocks and at what has arrived [ns]."""
IMAGE_DELAY_NS = 70 * MS
"""How much longer than other messages a picture is on its way [ns]."""


class Host:
    """A host whose wall clock is set at moments; its drivers stamp by it.

    Args:
        start_ns: Start of the episode [ns].
        steps: (seconds since the start, size [s]).
    """

    def __init__(self, start_ns, steps):
        self.steps = [(start_ns + round(at * 1e9), round(size * 1e9)) for at, size in steps]

    def clocks(self, at_ns):
        """The clock that never steps, and the wall clock at that time [ns]."""
        return at_ns, at_ns + sum(size_ns for step_ns, size_ns in self.steps if step_ns <= at_ns)

    def stamped(self, message):
        """The bytes of a message, stamped by the wall clock."""
        data = bytearray(message.data)
        if message.spec.stamped:
            wall_ns = self.clocks(message.stamp_ns)[1]
            struct.pack_into("<iI", data, 4, *divmod(wall_ns, 10**9))
        return bytes(data)


def record_over_steps(studio, folder, steps, begin=0.0):
    """Record one episode as the node does, while the wall clock is set.

    What has arrived is taken after a look at the clocks, fifty times a second.

    Args:
        studio: Makes the messages.
        folder: Of the bags.
        steps: (seconds since the first message, size [s]).
        begin: When the recording begins, since the first message [s].
    """
    host = Host(studio.start_ns, steps)
    late = [
        dataclasses.replace(one, receive_ns=one.receive_ns + IMAGE_DELAY_NS)
        if one.spec.kind == "image"
        else one
        for one in studio.messages(seconds=1.5, seed=5)
    ]
    arriving = deque(sorted(late, key=lambda one: one.receive_ns))
    begin_ns, last_ns = studio.start_ns + round(begin * 1e9), arriving[-1].receive_ns
    recorder = EpisodeRecorder(studio.cell, RecorderConfig(output=folder, min_free_gb=0.0))
    before = host.clocks(studio.start_ns - LOOK_NS)
    recorder.see_clock(*before)
    while before[0] < last_ns:
        now = host.clocks(before[0] + LOOK_NS)
        recorder.see_clock(*now)
        while arriving and arriving[0].receive_ns <= now[0]:
            message = arriving.popleft()
            wall_ns = host.clocks(message.receive_ns)[1]
            at_ns = receipt_ns(now, wall_ns, before)
            recorder.receive(Sample(message.spec, host.stamped(message), at_ns, wall_ns=wall_ns))
        before = now
        if not recorder.recording and now[0] >= begin_ns:
            for spec in recorder.required():
                recorder.receive(Sample(spec, b"", begin_ns - 1))
            recorder.start(begin_ns)
    recorder.stop(before[0])
    recorder.keep(before[0] + MS)


def converted(studio, folder, steps, begin=0.0):
    record_over_steps(studio, folder / "bags", steps, begin)
    assert convert(ConvertConfig(bags=folder / "bags", output=folder / "data")) == 0
    return read_episode(folder / "data" / "episode_000000.hdf5")


@pytest.fixture(scope="module")
def plain(studio, tmp_path_factory):
    return converted(studio, tmp_path_factory.mktemp("plain"), [])


STEPS = {
    "an hour forward": [(0.7, 3600.0)],
    "an hour back": [(0.7, -3600.0)],
    "a second": [(0.7, 1.0)],
    "a fifth back": [(0.7, -0.2)],
    "amid two looks": [(0.7111, -1.0)],
    "just before a look": [(0.7199, -3600.0)],
    "little more than the bound": [(0.7077, 0.06), (1.1035, -0.06)],
    "less than a picture's way": [(0.6123, -0.055), (0.9, 0.055)],
    "more than a picture's way": [(0.6123, -0.08), (0.9, 0.08)],
    "there and back": [(0.7033, 3600.0), (0.7333, -3600.0)],
    "one per look": [(0.705 + 0.021 * k, (-1) ** k * 0.1 * (k + 1)) for k in range(6)],
    "on and on": [(0.405 + 0.2 * k, -0.25) for k in range(5)],
    "at both ends": [(0.0042, -0.2), (1.4942, 0.3)],
}


@pytest.mark.parametrize("steps", STEPS.values(), ids=STEPS)
def test_an_episode_over_a_step_of_the_clock_converts_to_the_same_data(
    studio, tmp_path, plain, steps
):
    stepped = converted(studio, tmp_path, steps)
    assert_same_data(stepped, plain)
    assert [step["step_s"] for step in stepped.clock["steps"]] == pytest.approx(
        [size for _, size in steps]
    )


@pytest.mark.parametrize("seconds", [-3600.0, 0.2])
def test_a_step_just_before_the_start_is_taken_back_from_what_comes_in_after_it(
    studio, tmp_path, seconds
):
    steps = [(0.255, -seconds), (0.285, seconds)]
    stepped = converted(studio, tmp_path / "stepped", steps, begin=0.3)
    assert_same_data(stepped, converted(studio, tmp_path / "plain", [], begin=0.3))
    assert stepped.clock["steps"] == []


def assert_same_data(stepped, plain):
    for name in ("state", "velocity", "wrench", "action", "timestamps_ns", "environment"):
        np.testing.assert_array_equal(getattr(stepped, name), getattr(plain, name), name)
    for key, images in plain.images.items():
        assert list(stepped.images[key]) == list(images)
    for name, ages in plain.ages.items():
        np.testing.assert_array_equal(stepped.ages[name], ages, name)


def test_an_episode_that_was_set_aside_opens_where_it_is_named(studio, tmp_path):
    bag = studio.record(tmp_path / "bags", studio.messages(seconds=1.3))
    counts = read_episode_bag(bag).counts
    aside = bag.rename(bag.with_name(f"{bag.name}.discarded"))
    assert read_episode_bag(aside).counts == counts
    (read,) = find_episodes(aside).values()
    assert read().counts == counts
    assert list(check_bag(aside)) == []
