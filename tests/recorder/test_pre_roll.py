"""The last seconds in memory: what they hold, what bounds them, episodes that begin in them."""

import json
from dataclasses import replace

import pytest
from rosbags.rosbag2 import Reader

from ate_core.contract import load_cell
from ate_core.episode_outcome import read_outcome
from ate_core.errors import EpisodeError
from ate_core.streams import cell_streams
from ate_recorder.bag_writer import TYPESTORE, BagWriter, encode_text
from ate_recorder.pre_roll import OVERHEAD, PreRollRing
from ate_recorder.recorder import EpisodeRecorder
from ate_recorder.recorder_config import RecorderConfig
from ate_recorder.sample import Sample

MS = 1_000_000
START = 1_700_000_000_000_000_000
STREAMS = {spec.name: spec for spec in cell_streams(load_cell(None, "sim"))}
JOINTS, SCENE = STREAMS["left_arm_state"], STREAMS["scene_info"]


@pytest.fixture
def config(tmp_path):
    return RecorderConfig(output=tmp_path / "bags", min_free_gb=0.0, ring_s=2.0)


@pytest.fixture
def cell(runtime_dir):
    return load_cell(None, "sim")


def feed(recorder, start_ns, count, period_ns=100 * MS):
    """Give every required stream messages; the time of the last [ns]."""
    for index in range(count):
        now = start_ns + index * period_ns
        for spec in recorder.required():
            recorder.receive(Sample(spec, encode_text(f"{spec.name} {now}"), now))
    return start_ns + (count - 1) * period_ns


def stamps(folder, topic):
    with Reader(folder) as reader:
        return [stamp for c, stamp, _ in reader.messages() if c.topic == topic]


def test_the_ring_keeps_the_last_seconds_and_no_more():
    ring = PreRollRing(1.0, 10**6)
    for index in range(100):
        ring.add(Sample(JOINTS, b"x" * 10, START + index * 100 * MS))
    kept = ring.since(0)
    assert [sample.receive_ns for sample in kept] == [
        START + index * 100 * MS for index in range(90, 100)
    ]
    assert (ring.taken, ring.bytes) == (100, 10 * (10 + OVERHEAD))
    assert ring.seconds == pytest.approx(0.9)
    assert len(ring.after(97)) == 3 and len(ring.after(0)) == 10


def test_the_ring_takes_no_more_memory_than_it_may():
    ring = PreRollRing(3600.0, 100_000)
    for index in range(1000):
        ring.add(Sample(JOINTS, b"x" * 1000, START + index * MS))
        assert ring.bytes <= 100_000
    assert ring.since(0)[-1].receive_ns == START + 999 * MS
    ring.add(Sample(JOINTS, b"x" * 200_000, START + 1000 * MS))
    assert ring.since(0) == [] and ring.bytes == 0


def test_a_state_that_stood_before_the_ring_began_is_remembered():
    ring = PreRollRing(1.0, 10**6)
    ring.add(Sample(SCENE, b"first", START))
    ring.add(Sample(SCENE, b"second", START + 10 * MS))
    ring.add(Sample(JOINTS, b"x", START + 5000 * MS))
    assert ring.standing(START + 5000 * MS) == [(SCENE, b"second")]
    ring.add(Sample(SCENE, b"third", START + 5500 * MS))
    assert ring.standing(START + 5000 * MS) == [(SCENE, b"second")]
    ring.forget()
    assert ring.standing(START) == [(SCENE, b"third")] and ring.since(0) == []


def test_an_episode_with_a_pre_roll_holds_the_earlier_samples_with_their_own_stamps(cell, config):
    recorder = EpisodeRecorder(cell, replace(config, pre_roll_s=1.0))
    recorder.receive(Sample(SCENE, encode_text("{}"), START - 10**10))
    now = feed(recorder, START, 30)
    recorder.start(now)
    recorder.discard(feed(recorder, now + 100 * MS, 5))
    folder = config.output / "episode_000000.discarded"
    expected = [START + index * 100 * MS for index in range(20, 35)]
    for spec in recorder.required():
        assert stamps(folder, spec.topic) == expected, spec.name
    with Reader(folder) as reader:
        messages = list(reader.messages())
    info = json.loads(TYPESTORE.deserialize_cdr(messages[0][2], "std_msgs/msg/String").data)
    assert info["start_ns"] == expected[0] == messages[0][1]
    assert stamps(folder, "/scene/info") == [expected[0]]


def test_the_last_seconds_become_an_episode_that_waits_to_be_judged(cell, config):
    recorder = EpisodeRecorder(cell, config)
    now = feed(recorder, START, 30)
    line = recorder.save_last(now)
    assert (
        line.startswith("episode_000000 waits to be kept or discarded: ") and "; 1.9 s; " in line
    )
    folder = config.output / "episode_000000"
    assert stamps(folder, JOINTS.topic) == [START + index * 100 * MS for index in range(10, 30)]
    with pytest.raises(EpisodeError, match="waits to be judged"):
        recorder.save_last(now)
    recorder.keep(now, "dropped the cup")
    assert read_outcome(folder)["outcome"] == "dropped the cup"


def test_the_last_seconds_are_saved_also_when_a_stream_has_just_died(cell, config):
    recorder = EpisodeRecorder(cell, config)
    now = feed(recorder, START, 10)
    for _ in range(12):
        now += 100 * MS
        recorder.receive(Sample(JOINTS, b"", now))
    with pytest.raises(EpisodeError, match="is silent"):
        recorder.start(now)
    assert recorder.save_last(now).startswith("episode_000000 waits")


def test_no_message_is_in_two_episodes(cell, config):
    recorder = EpisodeRecorder(cell, replace(config, pre_roll_s=2.0))
    now = feed(recorder, START, 5)
    recorder.start(now)
    now = feed(recorder, now + 100 * MS, 5)
    recorder.discard(now)
    with pytest.raises(EpisodeError, match="nothing to save"):
        recorder.save_last(now)
    now = feed(recorder, now + 100 * MS, 5)
    recorder.save_last(now)
    one = stamps(config.output / "episode_000000.discarded", JOINTS.topic)
    other = stamps(config.output / "episode_000001", JOINTS.topic)
    assert one + other == [START + index * 100 * MS for index in range(15)]


def test_what_comes_while_the_bag_is_made_is_in_the_episode(cell, config):
    recorder = None

    class SlowToOpen(BagWriter):
        def __init__(self, folder):
            super().__init__(folder)
            feed(recorder, START + 100 * MS, 3)

    recorder = EpisodeRecorder(cell, config, open_bag=SlowToOpen)
    recorder.start(feed(recorder, START, 1))
    recorder.discard(START + 400 * MS)
    expected = [START + index * 100 * MS for index in (1, 2, 3)]
    assert stamps(config.output / "episode_000000.discarded", JOINTS.topic) == expected


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"ring_s": 0.0}, "need 1 to 3600 s"),
        ({"ring_s": float("nan")}, "need 1 to 3600 s"),
        ({"ring_mb": 1000.0}, "the queue to the disk"),
        ({"ring_s": 5.0, "pre_roll_s": 6.0}, "need 0 to ring_s 5 s"),
    ],
)
def test_a_ring_that_cannot_be_is_refused_with_its_bounds(config, changes, told):
    with pytest.raises(EpisodeError, match=told):
        replace(config, **changes)
