"""Kills, truncations and rotten bytes: what is lost, what is recovered, and who says so."""

import multiprocessing
import os
import signal
import time

import numpy as np
import pytest
from rosbags.rosbag2 import Reader

from ate_bringup.cli import main
from ate_core.errors import EpisodeError
from ate_recorder.folder_claim import FolderClaim
from ate_recorder.recorder import EpisodeRecorder
from ate_recorder.recorder_config import RecorderConfig
from ate_recorder.sample import Sample
from training.convert_bags import ConvertConfig, convert, convert_episode
from training.data.bag_reader import bag_file, read_episode_bag
from training.data.episode_file import list_episodes, read_episode
from training.repair import RepairConfig, recover_messages, repair


def cut(bag, fraction):
    """Leave the first part of a bag, as a power cut would."""
    file = bag_file(bag)
    os.truncate(file, int(file.stat().st_size * fraction))
    (bag / "metadata.yaml").unlink()


@pytest.fixture
def config(tmp_path):
    return ConvertConfig(bags=tmp_path / "bags", output=tmp_path / "data")


def test_a_truncated_bag_is_rejected_with_its_remedy_and_the_others_are_kept(
    studio, config, capsys
):
    bags = [studio.record(config.bags, studio.messages(seed=seed)) for seed in range(3)]
    cut(bags[1], 0.7)
    assert convert(config) == 1
    assert len(list_episodes(config.output)) == 2
    assert "truncated" in capsys.readouterr().out
    assert f"ate repair --bag {bags[1]}" in convert_episode(bags[1], config).reason


@pytest.mark.parametrize("fraction", [0.75, 0.9])
def test_a_cut_bag_is_repaired_to_its_last_whole_chunk(studio, config, fraction):
    messages = studio.messages(seconds=4.0)
    bag = studio.record(config.bags, messages)
    whole = read_episode_bag(bag)
    cut(bag, fraction)
    assert repair(RepairConfig(bag=bag)) == 0
    assert bag.with_name(bag.name + ".truncated").is_dir()
    with Reader(bag) as reader:  # as ros2 bag would read it
        assert reader.message_count > 100
    repaired = read_episode_bag(bag)
    assert repaired.outcome["outcome"] == "interrupted" and repaired.outcome["repaired"]
    for name, series in repaired.series.items():
        stamps = whole.series[name].stamps_ns[: len(series)]
        assert len(series) and (series.stamps_ns == stamps).all()


def test_a_repair_tells_how_many_messages_were_lost(studio, config, capsys):
    bags = [studio.record(config.bags, studio.messages(seconds=2.0)) for _ in range(2)]
    with Reader(bags[0]) as reader:
        promised = reader.message_count
    for bag in bags:
        file = bag_file(bag)
        os.truncate(file, int(file.stat().st_size * 0.8))
    (bags[1] / "metadata.yaml").unlink()
    told = []
    for bag in bags:
        repair(RepairConfig(bag=bag))
        outcome = read_episode_bag(bag).outcome
        told.append((outcome["recovered"], outcome["lost"]))
        assert f"{told[-1][0]} messages over" in (printed := capsys.readouterr().out)
        assert f"recovered, {told[-1][1]} lost" in printed
    (kept, lost), (kept_too, seen) = told
    assert kept == kept_too and kept + lost == promised, "its metadata had promised them"
    assert 0 < seen < lost, "without it: those of the chunk that was cut"


def test_a_repaired_bag_keeps_every_clock_and_number(studio, config):
    bag = studio.record(config.bags, studio.messages(seconds=2.0))
    whole = list(recover_messages(bag_file(bag)))
    cut(bag, 0.8)
    repair(RepairConfig(bag=bag))
    repaired = list(recover_messages(bag_file(bag)))[:-1]
    assert len(repaired) > 100 and repaired == whole[: len(repaired)]
    assert "ros_distro: jazzy" in (bag / "metadata.yaml").read_text()


def test_a_bag_that_lost_only_its_footer_keeps_its_outcome(studio, config, capsys):
    bag = studio.record(config.bags, studio.messages())
    file = bag_file(bag)
    os.truncate(file, file.stat().st_size - 100)
    assert repair(RepairConfig(bag=bag)) == 0
    assert "nothing was lost" in capsys.readouterr().out
    assert read_episode_bag(bag).outcome["outcome"] == "success"
    assert convert(config) == 0


def test_a_bag_that_is_being_recorded_is_not_repaired_nor_judged(studio, config, capsys):
    claim = FolderClaim(config.bags)
    recorder = EpisodeRecorder(
        studio.cell, RecorderConfig(output=config.bags, min_free_gb=0.0), claim=claim
    )
    messages = studio.messages(seconds=2.0)
    for spec in recorder.required():
        recorder.receive(Sample(spec, b"", messages[0].receive_ns - 10**6))
    recorder.start(messages[0].receive_ns)
    for message in messages:
        recorder.receive(Sample(message.spec, message.data, message.receive_ns))
    bag = config.bags / "episode_000000"
    (bag / "metadata.yaml").touch()  # as `ros2 bag reindex` makes it
    for words in (
        ["repair", "--bag", str(bag)],
        ["episodes", "label", str(config.bags), "0", "--text", "success"],
        ["episodes", "delete", str(config.bags), "0"],
        ["episode", "label", "success", "--episode", "0", "--bags", str(config.bags)],
        ["episode", "discard", "--episode", "0", "--bags", str(config.bags)],
    ):
        assert main(words) == 1
        told = capsys.readouterr().err
        assert f"process {os.getpid()} on " in told and "stop its recording" in told
        assert "ate repair" not in told
    assert main(["episode", "list", "--bags", str(config.bags)]) == 0
    listed = capsys.readouterr().out
    assert "is being recorded" in listed and "ate repair" not in listed
    assert "stop its recording" in convert_episode(bag, config).reason
    recorder.stop(messages[-1].receive_ns + 10**7, "success")
    claim.release()
    assert repair(RepairConfig(bag=bag)) == 0
    assert "is whole" in capsys.readouterr().out


def test_a_whole_bag_needs_no_repair(studio, config, capsys):
    bag = studio.record(config.bags, studio.messages())
    before = bag_file(bag).read_bytes()
    assert repair(RepairConfig(bag=bag)) == 0
    assert "nothing to repair" in capsys.readouterr().out
    assert bag_file(bag).read_bytes() == before


def test_a_bag_without_a_whole_chunk_cannot_be_repaired_and_stays(studio, config):
    bag = studio.record(config.bags, studio.messages())
    os.truncate(bag_file(bag), 100)
    with pytest.raises(EpisodeError, match="nothing can be recovered"):
        repair(RepairConfig(bag=bag))
    assert bag_file(bag).stat().st_size == 100


def test_rotten_bytes_in_a_bag_are_rejected_not_raised(studio, config):
    bag = studio.record(config.bags, studio.messages())
    file = bag_file(bag)
    data = bytearray(file.read_bytes())
    data[2000:6000] = np.random.default_rng(0).bytes(4000)
    file.write_bytes(data)
    assert convert_episode(bag, config).result == "rejected"


def test_rotten_bytes_cost_what_comes_after_them(studio, config):
    bag = studio.record(config.bags, studio.messages(seconds=4.0))
    file = bag_file(bag)
    data = bytearray(file.read_bytes())
    middle = int(0.8 * len(data))
    data[middle : middle + 4000] = np.random.default_rng(0).bytes(4000)
    file.write_bytes(data)
    assert "ate repair --bag" in convert_episode(bag, config).reason
    assert repair(RepairConfig(bag=bag)) == 0
    assert read_episode_bag(bag).outcome["outcome"] == "interrupted"


def record_until_killed(studio, folder):
    """Child process: one closed episode, then an open one that waits to be killed."""
    studio.record(folder, studio.messages())
    config = RecorderConfig(output=folder, min_free_gb=0.0)
    recorder = EpisodeRecorder(studio.cell, config)
    messages = studio.messages(seconds=4.0)
    for spec in recorder.required():
        recorder.receive(Sample(spec, b"", studio.start_ns))
    recorder.start(studio.start_ns)
    for message in messages:
        recorder.receive(Sample(message.spec, message.data, message.receive_ns))
    signal.pause()


def wait_for_size(file, size, deadline=30.0):
    """Wait until a file has grown to a size [bytes]."""
    end = time.monotonic() + deadline
    while not file.exists() or file.stat().st_size < size:
        assert time.monotonic() < end, f"{file} did not grow to {size} bytes"
        time.sleep(0.01)


def test_a_kill_in_mid_episode_costs_the_open_episode_only(studio, config):
    context = multiprocessing.get_context("fork")
    child = context.Process(target=record_until_killed, args=(studio, config.bags))
    child.start()
    try:
        wait_for_size(config.bags / "episode_000001" / "episode_000001_0.mcap", 2 * 2**20)
    finally:
        os.kill(child.pid, signal.SIGKILL)
        child.join(10.0)
    assert convert(config) == 1
    assert [path.name for path in list_episodes(config.output)] == ["episode_000000.hdf5"]
    repair(RepairConfig(bag=config.bags / "episode_000001"))
    kept = ConvertConfig(bags=config.bags, output=config.output, keep_failures=True)
    assert convert(kept) == 0
    assert len(read_episode(config.output / "episode_000001.hdf5")) > 20


def test_a_damaged_hdf5_fails_when_it_is_read(studio, config):
    studio.record(config.bags, studio.messages())
    convert(config)
    path = config.output / "episode_000000.hdf5"
    whole = path.read_bytes()
    state = read_episode(path).state.tobytes()
    place = whole.index(state[:64])
    rotten = bytearray(whole)
    rotten[place + 10] ^= 0xFF
    path.write_bytes(rotten)
    with pytest.raises(EpisodeError, match="convert its bag again"):
        read_episode(path)
    path.write_bytes(whole[: len(whole) // 2])
    with pytest.raises(EpisodeError, match="cannot be read"):
        read_episode(path)
    assert convert(config) == 0
    assert path.read_bytes() == whole


def test_an_interrupted_conversion_leaves_no_half_file(studio, config, monkeypatch):
    bag = studio.record(config.bags, studio.messages())

    def fail(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr("training.data.episode_file._write_images", fail)
    with pytest.raises(KeyboardInterrupt):
        convert_episode(bag, config)
    with pytest.raises(EpisodeError):
        list_episodes(config.output)
