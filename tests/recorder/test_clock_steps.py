"""The host's clock is set, slewed or suspended: nothing is lost, and the episode says so."""

import errno
import json
import os
import struct
from collections import Counter

import pytest
from rosbags.rosbag2 import Reader

from ate_core.contract import load_cell
from ate_core.errors import EpisodeError
from ate_core.streams import CLOCK_TOPIC, cell_streams
from ate_recorder.bag_writer import TYPESTORE, BagWriter
from ate_recorder.clocks import WallClock, read_clocks, receipt_ns
from ate_recorder.counters import StreamCounter
from ate_recorder.episode_writer import EpisodeWriter
from ate_recorder.publishers import Senders
from ate_recorder.recorder import EpisodeRecorder
from ate_recorder.recorder_config import RecorderConfig
from ate_recorder.sample import Sample
from training.repair import recover_messages, repair_bag

MS = 1_000_000
SECOND = 1_000 * MS
WALL = 1_700_000_000 * SECOND
BEGIN = 5_000 * SECOND
"""Monotonic time of the start: the host has been up for a while."""
COMMAND = "/left/arm/joint_command"
HOUR = 3600


@pytest.fixture
def cell(runtime_dir):
    return load_cell(None, "sim")


@pytest.fixture
def recorder(cell, tmp_path):
    return EpisodeRecorder(cell, RecorderConfig(output=tmp_path, min_free_gb=0.0, ring_s=2.0))


class Host:
    """A host whose wall clock is set at moments; its drivers stamp with it.

    Args:
        recorder: What records.
        steps: (monotonic seconds since `BEGIN`, size [s]).
        slew: Seconds per second that the wall clock runs too fast.
        look_s: Time between two looks of the recorder at the clocks [s].
    """

    def __init__(self, recorder, steps=(), slew=0.0, look_s=0.01):
        self.recorder, self.steps, self.slew = recorder, steps, slew
        self.ticks_a_look = round(look_s * 100)
        self.topics = [COMMAND, *(spec.topic for spec in recorder.required())]
        self.sent = 0

    def wall(self, at_ns):
        seconds = (at_ns - BEGIN) / SECOND
        jumps = sum(round(size * SECOND) for at, size in self.steps if at <= seconds)
        return WALL + at_ns + jumps + round(self.slew * (at_ns - BEGIN))

    def run(self, begin_s, end_s, latency_ns=3 * MS):
        """Feed a hundred messages a second of each stream, stamped just before their receipt."""
        for tick in range(round(begin_s * 100), round(end_s * 100)):
            now = BEGIN + tick * 10 * MS
            if (tick - 3) % self.ticks_a_look == 0 or self.ticks_a_look == 1:
                self.recorder.see_clock(now, self.wall(now))
            for topic in self.topics:
                stamp = self.wall(now - latency_ns)
                head = struct.pack("<BBBBiI", 0, 1, 0, 0, stamp // SECOND, stamp % SECOND)
                spec = self.recorder.streams[topic]
                sample = Sample(spec, head + bytes(64), now, wall_ns=self.wall(now))
                self.recorder.receive(sample)
            self.sent += 1
        return BEGIN + round(end_s * SECOND)

    def episode(self, seconds=2.0):
        """Record one; return its outcome and its closing line."""
        self.recorder.start(self.run(-0.5, 0.0))
        self.sent = 0
        line = self.recorder.stop(self.run(0.0, seconds))
        return outcome_of(self.recorder.config.output / "episode_000000"), line


def messages_of(folder):
    with Reader(folder) as reader:
        return [(c.topic, stamp, bytes(data)) for c, stamp, data in reader.messages()]


def texts(folder, topic):
    return [
        json.loads(TYPESTORE.deserialize_cdr(data, "std_msgs/msg/String").data)
        for name, _, data in messages_of(folder)
        if name == topic
    ]


def outcome_of(folder):
    return texts(folder, "/episode/outcome")[0]


STEPS = {
    "an hour back": [(1.0, -HOUR)],
    "an hour forward": [(1.0, HOUR)],
    "there and back again": [(1.0, HOUR), (1.5, -HOUR)],
    "many": [(0.1 * k, (-1) ** k * 0.3 * k) for k in range(1, 15)],
    "just more than the bound": [(1.0, 0.06), (1.6, -0.06)],
    "in the first moment": [(0.0, -HOUR)],
}


@pytest.mark.parametrize("steps", STEPS.values(), ids=STEPS)
def test_a_clock_that_is_set_costs_no_message_and_is_marked(recorder, steps, tmp_path):
    host = Host(recorder, steps)
    outcome, line = host.episode()
    folder = tmp_path / "episode_000000"
    stamps = [log_ns for _, log_ns in log_times(folder)]
    assert stamps == sorted(stamps), "in the order of the file, not only of its index"
    assert stamps[-1] - stamps[0] == 2 * SECOND
    assert texts(folder, "/episode/info")[0]["start_ns"] == stamps[0]
    assert outcome["dropped"] == 0 and outcome["not_written"] == {}
    assert outcome["duration_s"] == pytest.approx(2.0)
    for name, stream in outcome["streams"].items():
        assert stream["count"] == host.sent == 200, name
        assert (stream["gaps"], stream["out_of_order"], stream["stamp_steps"]) == (0, 0, 0), name
        assert stream["skew_ms"] == pytest.approx(3.0), name
    marks = [(s["at_s"], s["step_s"]) for s in outcome["clock"]["steps"]]
    assert marks == [pytest.approx(step, abs=0.011) for step in steps]
    told = [mark for mark in texts(folder, CLOCK_TOPIC) if mark["step_ns"]]
    assert [mark["step_ns"] / 1e9 for mark in told] == pytest.approx([size for _, size in steps])
    assert "the host's clock was set by" in line and f"{steps[0][1]:+.3f} s" in line


@pytest.mark.parametrize("size", [-HOUR, -0.2, 0.2, HOUR])
def test_what_came_between_a_step_and_the_look_that_found_it_is_counted_once(recorder, size):
    host = Host(recorder, [(1.0, size)], look_s=0.05)
    outcome, _ = host.episode()
    for name, stream in outcome["streams"].items():
        assert (stream["gaps"], stream["out_of_order"], stream["stamp_steps"]) == (0, 0, 0), name
        assert stream["skew_ms"] == pytest.approx(3.0), name
    (mark,) = (
        m for m in texts(recorder.config.output / "episode_000000", CLOCK_TOPIC) if m["step_ns"]
    )
    assert mark["since_ns"] < WALL + BEGIN + SECOND <= mark["bag_ns"]
    assert mark["bag_ns"] - mark["since_ns"] == 50 * MS


def log_times(folder):
    """(publish, log time) of each message, in the order of the file."""
    data = (folder / f"{folder.name}_0.mcap").read_bytes()
    at, end = 8, len(data) - 8
    while at < end:
        opcode, length = struct.unpack_from("<BQ", data, at)
        if opcode == 0x05:
            log_ns, publish_ns = struct.unpack_from("<QQ", data, at + 15)
            yield publish_ns, log_ns
        is_chunk = opcode == 0x06  # step into it: its head, its compression's name, its length
        at += 9 + (8 + 8 + 8 + 4 + 4 + 8 if is_chunk else length)


def test_a_message_keeps_what_the_wall_clock_said_when_it_came(recorder, tmp_path):
    host = Host(recorder, [(1.0, -HOUR)])
    host.episode()
    times = list(log_times(tmp_path / "episode_000000"))
    offsets = {wall_ns - log_ns for wall_ns, log_ns in times}
    assert offsets == {0, -HOUR * SECOND}


def test_a_step_before_the_start_is_none_of_the_episode(recorder):
    host = Host(recorder, [(-0.25, -HOUR)])
    outcome, line = host.episode()
    assert outcome["clock"]["steps"] == [] and "clock" not in line
    assert outcome["streams"]["cam_high"]["count"] == 200


def test_a_repaired_bag_tells_the_steps_of_its_episode_and_none_before_it(recorder, tmp_path):
    Host(recorder, [(-0.25, -HOUR), (1.0, HOUR)]).episode()
    folder = tmp_path / "episode_000000"
    assert [mark["step_ns"] // SECOND for mark in texts(folder, CLOCK_TOPIC)] == [0, -HOUR, HOUR]
    file = folder / f"{folder.name}_0.mcap"
    file.write_bytes(file.read_bytes()[: file.stat().st_size * 9 // 10])
    repair_bag(folder)
    (told,) = outcome_of(folder)["clock"]["steps"]
    assert (told["at_s"], told["step_s"]) == (pytest.approx(1.0, abs=0.011), HOUR)


def test_a_step_in_the_pre_roll_is_marked_where_it_was(cell, tmp_path):
    config = RecorderConfig(output=tmp_path, min_free_gb=0.0, ring_s=2.0, pre_roll_s=1.0)
    host = Host(EpisodeRecorder(cell, config), [(-0.5, -HOUR)])
    host.recorder.start(host.run(-2.0, 0.0))
    host.recorder.stop(host.run(0.0, 1.0))
    outcome = outcome_of(tmp_path / "episode_000000")
    assert outcome["clock"]["steps"] == [{"at_s": pytest.approx(0.49, abs=0.02), "step_s": -HOUR}]
    assert outcome["streams"]["cam_high"]["count"] == pytest.approx(200, abs=1)
    assert outcome["streams"]["cam_high"]["gaps"] == 0


def test_a_clock_that_is_slewed_steps_nowhere_and_its_drift_is_told(recorder):
    outcome, line = Host(recorder, slew=0.04).episode()
    assert outcome["clock"]["steps"] == []
    assert outcome["clock"]["slewed_ms"] == pytest.approx(80.0)
    assert "it was slewed by +" in line and outcome["dropped"] == 0


def test_both_clocks_are_written_down_once_a_second(recorder, tmp_path):
    Host(recorder, slew=0.001).episode()
    pairs = texts(tmp_path / "episode_000000", CLOCK_TOPIC)
    assert len(pairs) == 2
    for pair in pairs:
        since = (pair["monotonic_ns"] - BEGIN) / SECOND
        assert pair["wall_ns"] - pair["bag_ns"] == pytest.approx(since * MS, abs=20_000)


def test_a_suspended_host_leaves_a_gap_in_every_stream(recorder):
    host = Host(recorder)
    recorder.start(host.run(-0.5, 0.0))
    host.run(0.0, 1.0)
    recorder.stop(host.run(11.0, 12.0))
    outcome = outcome_of(recorder.config.output / "episode_000000")
    assert outcome["clock"]["steps"] == [] and outcome["duration_s"] == pytest.approx(12.0)
    assert {stream["gaps"] for stream in outcome["streams"].values() if stream["gaps"]} == {1}
    assert outcome["streams"]["cam_high"]["longest_gap_ms"] == pytest.approx(10_010.0)


def test_the_live_status_tells_counts_beside_the_contract_and_each_step(recorder):
    host = Host(recorder, [(1.0, -HOUR)])
    recorder.start(host.run(-0.5, 0.0))
    status = recorder.status(host.run(0.0, 2.0))
    assert status["clock"]["steps"] == [{"at_s": 1.0, "step_s": -HOUR}]
    assert (status["dropped"], status["not_written"]) == (0, {})
    joints = status["streams"]["left_arm_state"]
    assert joints["nominal_hz"] == 100.0
    recorder.discard(BEGIN + 2 * SECOND)


def test_clocks_that_are_read_apart_are_read_again():
    wall = iter([10, 20, 30])
    monotonic = iter([0, 90 * MS, 100 * MS, 100 * MS + 2])
    assert read_clocks(lambda: next(monotonic), lambda: next(wall)) == (100 * MS + 1, 20)


def test_a_message_arrived_between_two_looks_whatever_the_wall_clock_says():
    earlier, now = (1000 * MS, WALL - 20 * MS), 1020 * MS
    for size_ns in (0, 60 * MS, -60 * MS, 3600 * SECOND, -3600 * SECOND):
        clocks = now, WALL + size_ns
        since = receipt_ns(clocks, WALL + size_ns - 5 * MS, earlier)
        assert since == now - 5 * MS, "set since the look before, then received"
        assert receipt_ns(clocks, WALL - 15 * MS, earlier) == now - 15 * MS, "received, then set"
    assert receipt_ns((now, WALL), WALL + SECOND, earlier) == now, "set to and fro"
    assert receipt_ns((now, WALL), WALL - SECOND, earlier) == earlier[0], "set to and fro"


def test_the_wall_clock_before_a_step_is_known_after_it():
    clock = WallClock()
    assert clock.wall_at(7) == 7
    clock.see(BEGIN, WALL)
    assert clock.see(BEGIN + SECOND, WALL - HOUR * SECOND).size_ns == -(3600 + 1) * SECOND
    assert clock.wall_at(BEGIN + MS) == WALL + MS
    assert clock.wall_at(BEGIN + SECOND) == WALL - 3600 * SECOND


@pytest.mark.parametrize("size", [-HOUR, -1.0, 1.0, HOUR])
def test_stamps_that_step_while_the_host_does_not_are_counted_once(size):
    counter = StreamCounter(100.0)
    for index in range(200):
        received = WALL + index * 10 * MS
        stamp = received - 4 * MS + (round(size * SECOND) if index >= 100 else 0)
        counter.add(stamp, received)
    summary = counter.summary(WALL, WALL + 1990 * MS)
    assert summary.stamp_steps == 1
    assert (summary.count, summary.gaps, summary.out_of_order) == (200, 0, 0)
    assert summary.rate_hz == pytest.approx(100.0) and summary.skew_ms == pytest.approx(4.0)


def test_messages_that_are_late_in_a_burst_are_no_step():
    counter = StreamCounter(100.0)
    for index in range(300):
        stamp = WALL + index * 10 * MS
        counter.add(stamp, max(stamp, WALL + 2000 * MS if index < 200 else 0))
    assert counter.summary(WALL, WALL + 3000 * MS).stamp_steps == 0


def test_a_hole_in_a_publishers_count_is_what_was_lost_on_the_way(recorder, tmp_path):
    senders = Senders()
    heard = [senders.hear(number, 0) for number in (41, 42, 45, 46, 1, 2, 4)]
    assert heard == [0, 0, 2, 0, 0, 0, 1]
    assert senders.hear(None, 0) == 0
    host = Host(recorder)
    recorder.start(host.run(-0.5, 0.0))
    host.run(0.0, 1.0)
    spec = recorder.streams[COMMAND]
    recorder.receive(Sample(spec, bytes(12), BEGIN + SECOND, number=9, missed=3))
    line = recorder.stop(host.run(1.0, 2.0))
    outcome = outcome_of(tmp_path / "episode_000000")
    assert outcome["not_written"] == {"left_arm_command": {"lost on the way": 3}}
    assert outcome["dropped"] == 3
    assert "3 messages not written (left_arm_command 3 lost on the way)" in line


class FullDisk(BagWriter):
    """A disk that takes two chunks."""

    def write(self, topic, stamp_ns, data, **more):
        if self.chunks > 2:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        super().write(topic, stamp_ns, data, **more)


def test_what_a_full_disk_takes_no_more_is_counted_message_by_message(cell, tmp_path):
    specs = [spec for spec in cell_streams(cell) if spec.required]
    episode = EpisodeWriter(
        tmp_path / "episode_000000", {}, specs, start_ns=BEGIN, open_bag=FullDisk
    )
    for index in range(500):
        for spec in specs:
            episode.put(Sample(spec, bytes(700), BEGIN + index * 10 * MS))
    with pytest.raises(EpisodeError, match=r"No space left on device; \d+ messages not written"):
        episode.finish("success", "", BEGIN + 6 * SECOND)
    kept = Counter(m.topic for m in recover_messages(episode.folder / "episode_000000_0.mcap"))
    lost = episode.losses.as_dict()
    assert 0 < kept[specs[0].topic] < 500
    for spec in specs:
        assert kept[spec.topic] + lost[spec.name]["disk refused"] == 500


def test_a_publisher_of_another_type_is_told_until_it_is_corrected(recorder, tmp_path):
    host = Host(recorder)
    recorder.refuse("/left/operator/joy", "published as std_msgs/msg/String; correct it")
    recorder.start(host.run(-0.5, 0.0))
    line = recorder.stop(host.run(0.0, 1.0))
    assert "/left/operator/joy was not recorded: published as std_msgs/msg/String" in line
    assert "/left/operator/joy" in outcome_of(tmp_path / "episode_000000")["not_recorded"]
    recorder.refuse("/left/operator/joy", "")
    assert recorder.status(BEGIN)["not_recorded"] == {}
