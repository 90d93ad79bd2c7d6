"""The recorder's state machine, what lies in its bags, and what a bad disk costs."""

import errno
import json
import os
import struct
import tempfile
import threading

import pytest
import yaml
from rosbags.rosbag2 import Reader

from ate_core.contract import load_cell, parse_cell_text
from ate_core.errors import EpisodeError
from ate_core.streams import cell_streams
from ate_recorder.bag_writer import TYPESTORE, BagWriter, encode_text
from ate_recorder.counters import StreamCounter
from ate_recorder.episode_writer import EpisodeWriter
from ate_recorder.recorder import EpisodeRecorder
from ate_recorder.recorder_config import RecorderConfig
from ate_recorder.sample import Sample

MS = 1_000_000
START = 1_700_000_000_000_000_000


@pytest.fixture
def cell(runtime_dir):
    return load_cell(None, "sim")


def stamped(stamp_ns, size=64):
    """The bytes of some message that begins with a header; the recorder reads no further."""
    head = struct.pack("<BBBBiI", 0, 1, 0, 0, stamp_ns // 10**9, stamp_ns % 10**9)
    return head + bytes(size)


def make_recorder(cell, folder, **options):
    config = RecorderConfig(output=folder, min_free_gb=0.001, task="pick_place", operator="ada")
    return EpisodeRecorder(cell, config, **options)


COMMAND = "/left/arm/joint_command"


def feed(recorder, start_ns, count=20, period_ns=10 * MS):
    """Give every required stream and an arm's commands some messages; the time of the last."""
    for index in range(count):
        now = start_ns + index * period_ns
        for topic in (*(spec.topic for spec in recorder.required()), COMMAND):
            recorder.receive(Sample(recorder.streams[topic], stamped(now - MS), now))
    return start_ns + (count - 1) * period_ns


def read_bag(folder):
    with Reader(folder) as reader:
        return [(c.topic, stamp, bytes(data)) for c, stamp, data in reader.messages()]


def outcome_of(folder):
    return json.loads((folder / "outcome.json").read_text())["outcome"]


def text_of(data):
    return json.loads(TYPESTORE.deserialize_cdr(data, "std_msgs/msg/String").data)


def test_an_episode_begins_with_its_info_and_ends_with_its_outcome(cell, tmp_path):
    recorder = make_recorder(cell, tmp_path)
    feed(recorder, START - 100 * MS, 5)
    recorder.start(START)
    end = feed(recorder, START)
    line = recorder.stop(end + MS)
    assert line.startswith("episode_000000 waits to be kept or discarded: 0.2 s;")
    assert "left_arm_state 100.0 Hz" in line and "gaps: none" in line

    messages = read_bag(tmp_path / "episode_000000")
    info, outcome = text_of(messages[0][2]), text_of(messages[-1][2])
    assert messages[0][0] == "/episode/info" and messages[-1][0] == "/episode/outcome"
    assert parse_cell_text(info["contract"]) == cell
    assert (info["task"], info["operator"], info["start_ns"]) == ("pick_place", "ada", START)
    assert outcome["outcome"] == "pending" and outcome["dropped"] == 0
    assert outcome["streams"]["cam_high"]["count"] == 20
    assert outcome["streams"]["cam_high"]["skew_ms"] == pytest.approx(1.0)
    assert len(messages) == 3 + 20 * (len(recorder.required()) + 1)


def test_a_bag_keeps_the_bytes_and_receive_times_as_they_came(cell, tmp_path):
    recorder = make_recorder(cell, tmp_path)
    feed(recorder, START - MS, 1)
    recorder.start(START)
    sent = [(COMMAND, START + i * MS, stamped(START + i, 10 * i)) for i in range(5)]
    for message in sent:
        recorder.receive(Sample(recorder.streams[message[0]], message[2], message[1]))
    recorder.stop(START + 10 * MS)
    assert read_bag(tmp_path / "episode_000000")[2:-1] == sent


def test_the_file_is_named_as_ros2_bag_reindex_demands(cell, tmp_path):
    recorder = make_recorder(cell, tmp_path)
    recorder.start(feed(recorder, START))
    folder = tmp_path / "episode_000000"
    assert (folder / "episode_000000_0.mcap").is_file()
    feed(recorder, START)
    recorder.stop(START + 10**9)
    metadata = yaml.safe_load((folder / "metadata.yaml").read_text())
    bag = metadata["rosbag2_bagfile_information"]
    assert bag["version"] == 9
    assert bag["relative_file_paths"] == ["episode_000000_0.mcap"]
    assert bag["files"][0]["path"] == "episode_000000_0.mcap"


def test_no_episode_starts_while_a_required_stream_is_silent(cell, tmp_path):
    recorder = make_recorder(cell, tmp_path)
    with pytest.raises(EpisodeError, match=r"/left/arm/joint_states never came"):
        recorder.start(START)
    feed(recorder, START, 1)
    silent = cell.topics.camera_image("overhead")
    for spec in recorder.required():
        if spec.topic != silent:
            recorder.receive(Sample(spec, stamped(START), START + 3000 * MS))
    with pytest.raises(EpisodeError, match=f"{silent} is silent for 3.0 s"):
        recorder.start(START + 3000 * MS)
    assert list(tmp_path.iterdir()) == []


def test_a_stream_with_two_publishers_is_refused(cell, tmp_path):
    recorder = make_recorder(cell, tmp_path)
    feed(recorder, START, 1)
    recorder.describe("/left/arm/joint_states", reliable=True, latched=False, publishers=2)
    with pytest.raises(EpisodeError, match="2 publishers"):
        recorder.start(START)


def test_cameras_can_be_left_out(cell, tmp_path):
    config = RecorderConfig(output=tmp_path, require_images=False, min_free_gb=0.0)
    recorder = EpisodeRecorder(cell, config)
    assert not [spec for spec in recorder.required() if spec.kind == "image"]


def test_a_discarded_episode_is_set_aside_and_its_number_not_used_again(cell, tmp_path):
    recorder = make_recorder(cell, tmp_path)
    recorder.start(feed(recorder, START))
    recorder.discard(feed(recorder, START))
    recorder.start(feed(recorder, START))
    recorder.stop(feed(recorder, START), "success")
    names = sorted(path.name for path in tmp_path.iterdir())
    assert names == ["episode_000000.discarded", "episode_000001"]
    file = tmp_path / "episode_000000.discarded" / "episode_000000_0.mcap"
    assert file.is_file()


def test_an_interrupted_episode_is_closed_and_marked(cell, tmp_path):
    recorder = make_recorder(cell, tmp_path)
    assert recorder.interrupt(START, "stopped") is None
    recorder.start(feed(recorder, START))
    recorder.interrupt(feed(recorder, START), "the recorder was stopped")
    outcome = text_of(read_bag(tmp_path / "episode_000000")[-1][2])
    assert (outcome["outcome"], outcome["reason"]) == ("interrupted", "the recorder was stopped")
    assert not recorder.recording


def test_states_that_stood_before_the_episode_are_in_it(cell, tmp_path):
    recorder = make_recorder(cell, tmp_path)
    scene = encode_text('{"task": "pick_place"}')
    info = recorder.streams["/scene/info"]
    recorder.receive(Sample(info, scene, START - 10**12))
    recorder.start(feed(recorder, START))
    now = START + 10**9
    recorder.receive(Sample(info, encode_text("{}"), START - 5 * MS))  # on its way at the start
    recorder.discard(now)
    messages = read_bag(tmp_path / "episode_000000.discarded")
    assert [topic for topic, _, _ in messages] == [
        "/episode/info",
        "/episode/clock",
        "/scene/info",
        "/scene/info",
        "/episode/outcome",
    ]
    assert messages[2][2] == scene and len({stamp for _, stamp, _ in messages[:4]}) == 1


def test_what_came_before_the_start_is_left_out(cell, tmp_path):
    recorder = make_recorder(cell, tmp_path)
    now = feed(recorder, START)
    recorder.start(now)
    spec = recorder.streams["/left/arm/joint_states"]
    recorder.receive(Sample(spec, stamped(now), now - 1))
    recorder.discard(now + MS)
    messages = read_bag(tmp_path / "episode_000000.discarded")
    assert [topic for topic, _, _ in messages] == [
        "/episode/info",
        "/episode/clock",
        "/episode/outcome",
    ]
    assert text_of(messages[-1][2])["not_written"] == {"left_arm_state": {"before the start": 1}}
    assert text_of(messages[-1][2])["dropped"] == 0


class FullDisk(BagWriter):
    """A disk that runs full after some messages."""

    left = 50

    def write(self, topic, stamp_ns, data, **clocks):
        self.left -= 1
        if self.left < 0:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        super().write(topic, stamp_ns, data, **clocks)


def test_a_folder_that_takes_no_episode_is_told_at_the_start_and_until_it_does(
    cell, tmp_path, monkeypatch
):
    (tmp_path / "file").touch()
    nowhere = make_recorder(cell, tmp_path / "file" / "bags")
    assert "(Not a directory)" in nowhere.status(START)["trouble"]

    def refuse(**_):
        raise OSError(errno.EROFS, os.strerror(errno.EROFS))

    with monkeypatch.context() as disk:
        disk.setattr(tempfile, "TemporaryFile", refuse)
        recorder = make_recorder(cell, tmp_path / "bags")
        told = recorder.status(START)["message"]
        assert told == (
            f"no episode can be written to {tmp_path}/bags (Read-only file system): correct its "
            "owner, or choose another output folder"
        )
        with pytest.raises(EpisodeError, match="Read-only file system"):
            recorder.start(feed(recorder, START))
        assert not recorder.recording
        recorder.supervise(START)
        assert recorder.status(START)["trouble"] == told
    recorder.supervise(START)
    assert recorder.status(START)["message"] == "ready"
    assert recorder.start(feed(recorder, START))


def test_a_full_disk_costs_the_open_episode_only_and_is_said(cell, tmp_path):
    disks = [BagWriter, FullDisk]
    recorder = make_recorder(cell, tmp_path, open_bag=lambda path: disks.pop(0)(path))
    recorder.start(feed(recorder, START))
    recorder.stop(feed(recorder, START), "success")
    recorder.start(START)
    feed(recorder, START)
    with pytest.raises(EpisodeError, match=r"No space left on device.*ate repair"):
        recorder.stop(START + 10**9)
    assert not recorder.recording
    assert outcome_of(tmp_path / "episode_000000") == "success"
    assert outcome_of(tmp_path / "episode_000001") == "interrupted"
    assert recorder.status(START)["state"] == "idle"


def test_what_a_slow_disk_cannot_take_is_dropped_and_counted(cell, tmp_path):
    may_write = threading.Event()

    class SlowDisk(BagWriter):
        def write(self, topic, stamp_ns, data, **clocks):
            assert topic.name.startswith("/episode") or may_write.wait(20.0)
            super().write(topic, stamp_ns, data, **clocks)

    specs = cell_streams(cell)
    episode = EpisodeWriter(
        tmp_path / "episode_000000",
        {},
        specs,
        start_ns=START,
        max_queue_bytes=10_000,
        open_bag=SlowDisk,
    )
    for index in range(30):
        at_ns = START + index * MS
        episode.put(Sample(specs[0], stamped(at_ns, 988), at_ns))
    may_write.set()
    outcome = episode.finish("success", "", START + 10**9)
    assert outcome["dropped"] == 19 and outcome["streams"]["left_arm_state"]["count"] == 11
    assert outcome["not_written"] == {"left_arm_state": {"queue full": 19}}
    assert len(read_bag(tmp_path / "episode_000000")) == 11 + 3


def test_a_disk_about_to_run_full_closes_the_episode_while_it_can(cell, tmp_path):
    free = [10**9]
    recorder = make_recorder(cell, tmp_path, free_bytes=lambda path: free[0])
    recorder.start(feed(recorder, START))
    recorder.supervise(START)
    assert recorder.recording
    free[0] = 1000
    recorder.supervise(START + MS)
    assert not recorder.recording
    assert "disk full" in text_of(read_bag(tmp_path / "episode_000000")[-1][2])["reason"]
    with pytest.raises(EpisodeError, match="GB free"):
        recorder.start(START)


def test_a_pause_counts_as_a_gap_from_the_first_moment_to_the_last():
    counter = StreamCounter(100.0)
    for index in (1, 2, 3, 20, 21):
        counter.add(START + index * 10 * MS, START + index * 10 * MS + MS)
    summary = counter.summary(START, START + 1000 * MS)
    assert summary.gaps == 2 and summary.longest_gap_ms == 790.0
    assert summary.count == 5 and summary.skew_ms == 1.0 and summary.out_of_order == 0


def test_a_required_stream_that_never_came_has_one_long_gap():
    summary = StreamCounter(15.0).summary(START, START + 2000 * MS)
    assert (summary.count, summary.gaps, summary.longest_gap_ms) == (0, 1, 2000.0)


def test_stamps_that_fall_are_counted():
    counter = StreamCounter(100.0)
    for stamp in (3, 2, 4):
        counter.add(START + stamp, START)
    assert counter.summary(START, START + 5).out_of_order == 1
