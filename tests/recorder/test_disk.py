"""The disk of the episodes: room, speed, a folder that goes, and a second recorder."""

import errno
import itertools
import json
import os
import shutil
import subprocess
import sys
import threading
from dataclasses import replace
from pathlib import Path

import pytest
from rosbags.rosbag2 import Reader

from ate_core.contract import load_cell
from ate_core.episode_outcome import read_outcome
from ate_core.errors import EpisodeError
from ate_recorder.bag_writer import TYPESTORE, BagWriter
from ate_recorder.device_facts import DeviceFacts
from ate_recorder.disk import RESERVE_BYTES, DiskState, WriteMeter, probe_speed
from ate_recorder.folder_claim import FolderClaim
from ate_recorder.recorder import EpisodeRecorder
from ate_recorder.recorder_config import RecorderConfig
from ate_recorder.sample import Sample
from ate_recorder.software import git_commit, software_versions
from training.repair import RepairConfig, repair

MS = 1_000_000
START = 1_700_000_000_000_000_000
MB = 10**6


@pytest.fixture
def cell(runtime_dir):
    return load_cell(None, "sim")


@pytest.fixture
def config(tmp_path):
    return RecorderConfig(output=tmp_path / "bags", min_free_gb=0.0)


def feed(recorder, start_ns, count=15, size=100_000):
    """Give every required stream messages for 1.4 s; the time of the last [ns]."""
    for index in range(count):
        now = start_ns + index * 100 * MS
        for spec in recorder.required():
            recorder.receive(Sample(spec, bytes(size), now))
    return start_ns + (count - 1) * 100 * MS


def test_a_probe_tells_bytes_per_second_and_leaves_nothing(tmp_path):
    ticks = itertools.count()
    speed = probe_speed(tmp_path, lambda: next(ticks) * 0.01)
    assert MB < speed < 1000 * MB and list(tmp_path.iterdir()) == []
    slow = itertools.count()
    assert probe_speed(tmp_path, lambda: float(next(slow))) < 2 * MB, "a slow disk ends it early"


def test_the_speed_of_writing_counts_the_time_that_writing_takes():
    meter = WriteMeter()
    assert meter.bytes_per_second == 0.0
    for index in range(100):
        meter.add(10 * MB, 0.1 if index < 50 else 0.2, float(index))
    assert meter.bytes_per_second == pytest.approx(50 * MB)


def test_the_room_of_a_disk_is_told_in_minutes():
    state = DiskState(free=13 * 10**9, reserve=10**9, takes=200e6, comes=10e6)
    assert state.minutes == pytest.approx(20.0)
    assert state.as_dict() == {"free_gb": 13.0, "minutes": 20, "takes_mb_s": 200}
    assert DiskState(free=0, reserve=0).as_dict() == {"free_gb": 0.0}
    assert not state.slowness(2.0) and "10.0 MB/s (bound 30 times" in state.slowness(30.0)


def test_a_disk_slower_than_the_streams_is_refused_with_both_numbers(cell, config):
    tries = []
    recorder = EpisodeRecorder(cell, config, probe=lambda _: tries.append(1) or 2e6)
    recorder.probe_disk()
    now = feed(recorder, START)
    with pytest.raises(EpisodeError, match=r"takes 2\.0 MB/s and the streams bring \d+\.\d MB/s"):
        recorder.start(now)
    assert len(tries) == 2, "it was tried again before it was refused"
    told = EpisodeRecorder(cell, replace(config, may_be_slow=True), probe=lambda _: 2e6)
    told.probe_disk()
    assert "the disk takes 2.0 MB/s" in told.start(feed(told, START))


def test_a_disk_that_was_slow_for_a_moment_is_not_refused(cell, config):
    speeds = [2e6, 500e6]
    recorder = EpisodeRecorder(cell, config, probe=lambda _: speeds.pop(0))
    recorder.probe_disk()
    assert recorder.start(feed(recorder, START)) == "recording episode_000000"
    assert recorder.status(START)["disk"]["takes_mb_s"] == 500


def test_the_status_says_how_many_minutes_fit(cell, config):
    free = [10**12]
    recorder = EpisodeRecorder(cell, config, free_bytes=lambda _: free[0])
    assert "minutes" not in recorder.status(START)["disk"]
    now = feed(recorder, START)
    assert recorder.status(now)["disk"]["minutes"] > 100
    recorder.start(now)
    free[0] = 200 * MB
    recorder.supervise(now)
    assert recorder.recording and "the disk is full in" in recorder.status(now)["trouble"]


def test_an_episode_whose_folder_is_removed_ends_at_once_and_says_so(cell, config):
    recorder = EpisodeRecorder(cell, config)
    recorder.start(feed(recorder, START))
    shutil.rmtree(config.output)
    recorder.supervise(START + 2000 * MS)
    status = recorder.status(START)
    assert status["state"] == "idle" and "was removed or moved while" in status["message"]
    assert recorder.start(feed(recorder, START + 2000 * MS)) == "recording episode_000000"


def _exchange_folder(folder):
    folder.rename(folder.with_name("moved"))
    folder.mkdir()


def _exchange_file(folder):
    file = folder / f"{folder.name}_0.mcap"
    file.unlink()
    file.write_bytes(b"another")


@pytest.mark.parametrize("exchange", [_exchange_folder, _exchange_file])
@pytest.mark.parametrize("verb", ["supervise", "stop", "discard", "redo"])
def test_an_episode_whose_bag_is_exchanged_ends_and_touches_no_other(cell, config, exchange, verb):
    recorder = EpisodeRecorder(cell, config)
    recorder.start(feed(recorder, START))
    exchange(folder := config.output / "episode_000000")
    before = sorted(path.name for path in folder.iterdir())
    now = feed(recorder, START + 1500 * MS)
    if verb == "supervise":
        recorder.supervise(now)
    else:
        with pytest.raises(EpisodeError, match="was removed or moved while it was recorded"):
            getattr(recorder, verb)(now)
    status = recorder.status(now)
    assert status["state"] == "idle" and "was removed or moved while" in status["message"]
    assert sorted(path.name for path in folder.iterdir()) == before
    with pytest.raises(EpisodeError):
        recorder.keep(now)


def test_a_bag_that_was_moved_while_it_was_recorded_keeps_all_of_it(cell, config):
    recorder = EpisodeRecorder(cell, config)
    recorder.start(feed(recorder, START))
    _exchange_folder(folder := config.output / "episode_000000")
    end = feed(recorder, START + 1500 * MS)
    recorder.supervise(end)
    folder.rmdir()
    (config.output / "moved").rename(folder)
    assert repair(RepairConfig(bag=folder)) == 0
    with Reader(folder) as reader:
        *_, (_, last_ns, data) = reader.messages()
    text = json.loads(TYPESTORE.deserialize_cdr(data, "std_msgs/msg/String").data)
    assert last_ns >= end and text["outcome"] == "interrupted" and "moved" in text["reason"]


def test_a_bag_that_a_disk_took_too_slowly_is_let_go_of_in_the_end(cell, config, monkeypatch):
    may_write = threading.Event()

    class Slow(BagWriter):
        def write(self, topic, stamp_ns, data, **clocks):
            assert topic.name.startswith("/episode") or may_write.wait(20.0)
            super().write(topic, stamp_ns, data, **clocks)

    monkeypatch.setattr("ate_recorder.episode_writer.CLOSE_TIMEOUT", 0.0)
    recorder = EpisodeRecorder(cell, config, open_bag=Slow)
    recorder.start(feed(recorder, START))
    end = feed(recorder, START + 1500 * MS)
    writing = recorder._episode._thread
    with pytest.raises(EpisodeError, match="the disk is too slow"):
        recorder.stop(end)
    folder = config.output / "episode_000000"
    with pytest.raises(EpisodeError, match="is being recorded"):
        repair(RepairConfig(bag=folder))
    may_write.set()
    writing.join(20.0)
    assert repair(RepairConfig(bag=folder)) == 0


@pytest.mark.parametrize(
    ("number", "remedy"),
    [
        (errno.EROFS, "mount it for writing"),
        (errno.EIO, "check the disk"),
        (errno.EDQUOT, "quota raised"),
    ],
)
def test_a_disk_that_refuses_ends_the_episode_with_its_words(cell, config, number, remedy):
    words = os.strerror(number)

    class Refusing(BagWriter):
        def write(self, topic, stamp_ns, data, **stamps):
            if not topic.name.startswith("/episode"):
                raise OSError(number, words)
            super().write(topic, stamp_ns, data, **stamps)

    recorder = EpisodeRecorder(cell, config, open_bag=Refusing)
    recorder.start(feed(recorder, START))
    feed(recorder, START + 1500 * MS)
    recorder._episode._drain()
    recorder.supervise(START + 3000 * MS)
    message = recorder.status(START)["message"]
    assert f"the disk refused it ({words}" in message and remedy in message
    assert "ate repair" in message
    outcome = read_outcome(config.output / "episode_000000")
    assert outcome["outcome"] == "interrupted" and words in outcome["reason"]


def test_a_second_recorder_is_kept_out_of_the_folder_by_name(cell, config):
    config.output.mkdir()
    held = "import sys; from pathlib import Path\n"
    held += "from ate_recorder.folder_claim import FolderClaim\n"
    held += "claim = FolderClaim(Path(sys.argv[1])); print(repr(claim.trouble())); input()"
    words = [sys.executable, "-c", held, str(config.output)]
    with subprocess.Popen(
        words, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as other:
        assert other.stdout.readline() == "''\n"
        recorder = EpisodeRecorder(cell, config, claim=FolderClaim(config.output))
        with pytest.raises(EpisodeError, match=f"another recorder .process {other.pid} on "):
            recorder.start(feed(recorder, START))
        other.kill()
    recorder.supervise(START)
    assert recorder.status(START)["trouble"] == ""
    assert recorder.start(feed(recorder, START)) == "recording episode_000000"


def test_a_folder_that_was_removed_is_claimed_anew(tmp_path):
    folder = tmp_path / "bags"
    folder.mkdir()
    first, second = FolderClaim(folder), FolderClaim(folder)
    assert first.trouble() == "" and "another recorder" in second.trouble()
    shutil.rmtree(folder)
    assert first.trouble() == "", "what a folder lacks is told by others"
    folder.mkdir()
    assert first.trouble() == "" and "another recorder" in second.trouble()
    first.release()
    assert second.trouble() == ""


def test_a_bag_says_what_recorded_it_and_which_devices(cell, config):
    facts = DeviceFacts()
    facts.hear("arm_node: left arm", "10.0.0.1", {"firmware": "1.7.2", "rate": "100 Hz"})
    facts.hear("recorder: state", "", {"firmware": "none"})
    recorder = EpisodeRecorder(cell, replace(config, versions=software_versions()))
    recorder.devices = facts.as_dict
    now = feed(recorder, START)
    recorder.start(now)
    recorder.discard(now)
    with Reader(config.output / "episode_000000.discarded") as reader:
        data = next(iter(reader.messages()))[2]
    info = json.loads(TYPESTORE.deserialize_cdr(data, "std_msgs/msg/String").data)
    assert info["devices"] == {
        "arm_node: left arm": {"hardware_id": "10.0.0.1", "firmware": "1.7.2"}
    }
    assert {"python", "rosbags"} <= set(info["versions"])


def test_the_commit_of_a_checkout_is_told_and_that_of_none_is_not(tmp_path):
    assert git_commit(tmp_path) == ""
    words = ["git", "-c", "user.name=a", "-c", "user.email=a@b", "-C", str(tmp_path)]
    subprocess.run([*words, "init", "-q"], check=True)
    (tmp_path / "file").write_text("one")
    subprocess.run([*words, "add", "file"], check=True)
    subprocess.run([*words, "commit", "-qm", "one"], check=True)
    commit = git_commit(tmp_path)
    assert len(commit) == 40 and set(commit) <= set("0123456789abcdef")
    (tmp_path / "file").write_text("two")
    assert git_commit(tmp_path) == f"{commit}-dirty"
    assert git_commit(tmp_path / "nowhere") == ""


class FullDisk(BagWriter):
    """Takes the first message of the recorder's own and no byte more."""

    def write(self, topic, stamp_ns, data, **stamps):
        if stamp_ns > 0:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


def test_an_episode_that_finds_no_room_leaves_nothing_and_is_refused_with_the_number(cell, config):
    recorder = EpisodeRecorder(cell, config, open_bag=FullDisk, free_bytes=lambda _: 3 * MB)
    with pytest.raises(EpisodeError, match=r"cannot be created \(No space left.*; 0\.00 GB free"):
        recorder.start(feed(recorder, START))
    assert list(config.output.iterdir()) == []


def test_room_is_kept_to_write_down_how_an_episode_ended(cell, config):
    recorder = EpisodeRecorder(cell, config)
    now = feed(recorder, START)
    recorder.start(now)
    assert (config.output / ".recorder.reserve").stat().st_size == RESERVE_BYTES
    recorder.discard(now)
    assert [path.name for path in config.output.iterdir()] == ["episode_000000.discarded"]


ERRS = [errno.EIO, errno.ESTALE, errno.EACCES]
"""What a disk, or a share, says for a moment."""


def erring(function, number, name):
    """The function of a disk that errs for paths with a name."""

    def called(path, *words, **options):
        if str(path).endswith(name):
            raise OSError(number, os.strerror(number), str(path))
        return function(path, *words, **options)

    return called


@pytest.mark.parametrize("number", ERRS)
def test_a_disk_that_errs_for_a_moment_ends_no_episode(cell, config, monkeypatch, number):
    def free(_):
        if not errs:
            return 10**12
        raise OSError(number, os.strerror(number))

    errs = []
    config = replace(config, may_be_slow=True, min_free_gb=1.0)
    recorder = EpisodeRecorder(cell, config, free_bytes=free)
    recorder.start(feed(recorder, START))
    with monkeypatch.context() as moment:
        errs.append(True)
        moment.setattr(os, "stat", erring(os.stat, number, "_0.mcap"))
        recorder.supervise(START + 2000 * MS)
        assert recorder.recording, recorder.status(START)["message"]
        assert recorder.status(START)["disk"]["free_gb"] == 1000.0
    recorder.supervise(START + 3000 * MS)
    assert recorder.recording
    shutil.rmtree(config.output)
    recorder.supervise(START + 4000 * MS)
    assert not recorder.recording, "what is gone is gone"


@pytest.mark.parametrize("number", ERRS)
def test_an_episode_waits_on_while_its_decision_cannot_be_read(cell, config, monkeypatch, number):
    recorder = EpisodeRecorder(cell, replace(config, may_be_slow=True))
    recorder.save_last(feed(recorder, START))
    with monkeypatch.context() as moment:
        moment.setattr(Path, "read_text", erring(Path.read_text, number, "outcome.json"))
        assert recorder.status(START)["state"] == "pending"
        with pytest.raises(EpisodeError, match="episode_000000 waits to be judged"):
            recorder.start(feed(recorder, START + 2000 * MS))
    assert recorder.keep(START + 4000 * MS) == "episode_000000 kept (success)"


@pytest.mark.parametrize("number", ERRS)
def test_no_number_is_given_again_because_a_disk_errs(cell, config, monkeypatch, number):
    config.output.mkdir()
    (config.output / ".next_episode").write_text("7\n")
    recorder = EpisodeRecorder(cell, replace(config, may_be_slow=True))
    assert recorder.status(START)["episode"] == 7
    with monkeypatch.context() as moment:
        moment.setattr(Path, "read_text", erring(Path.read_text, number, ".next_episode"))
        with pytest.raises(EpisodeError, match="cannot be created"):
            recorder.start(feed(recorder, START))
        moment.setattr(os, "scandir", erring(os.scandir, number, "bags"))
        assert recorder.status(START)["episode"] == 7, "nothing ends for it"
    assert recorder.start(feed(recorder, START)) == "recording episode_000007"


@pytest.mark.parametrize("number", ERRS)
def test_a_claim_is_not_let_go_of_because_a_disk_errs(tmp_path, monkeypatch, number):
    claim = FolderClaim(tmp_path)
    assert claim.trouble() == ""
    with monkeypatch.context() as moment:
        moment.setattr(os, "stat", erring(os.stat, number, ".recorder.lock"))
        assert claim.trouble() == ""
        assert "another recorder (process" in FolderClaim(tmp_path).trouble()
    claim.release()
