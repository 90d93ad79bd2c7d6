"""Bags to HDF5: same bytes each time, reasons for what is refused, the rest goes on."""

import dataclasses
import hashlib
import json
import shutil

import h5py
import numpy as np
import pytest

from ate_bringup.cli import main
from ate_core.contract import load_cell
from ate_core.episode_outcome import write_outcome
from ate_core.errors import EpisodeError, LayoutError, UsageError
from ate_recorder.bag_writer import BagTopic, BagWriter, encode_text
from training.convert_bags import ConvertConfig, convert, convert_episode
from training.data.bag_reader import bag_file, read_episode_bag, read_messages
from training.data.episode_file import list_episodes, read_episode
from training.tasks.choose import WorkConfig


@pytest.fixture
def config(tmp_path):
    return ConvertConfig(bags=tmp_path / "bags", output=tmp_path / "data")


def digest(path):
    return hashlib.sha256(path.read_bytes()).hexdigest()


def reason(studio, config, messages, **options):
    """Record messages, convert them, and return why they were rejected."""
    bag = studio.record(config.bags, messages, **options)
    report = convert_episode(bag, config)
    assert report.result == "rejected" and not config.output.exists()
    return report.reason


def test_converting_twice_gives_the_same_bytes(studio, config, tmp_path):
    for seed in (1, 2):
        studio.record(config.bags, studio.messages(seed=seed))
    assert convert(config) == 0
    first = [digest(path) for path in list_episodes(config.output)]
    assert (
        convert(dataclasses.replace(config, output=tmp_path / "again", work=WorkConfig(jobs=2)))
        == 0
    )
    assert [digest(path) for path in list_episodes(tmp_path / "again")] == first
    assert first[0] != first[1]


def test_what_is_finished_is_not_made_again_until_its_bag_or_an_option_changes(studio, config):
    bag = studio.record(config.bags, studio.messages())
    assert convert_episode(bag, config).result == "converted"
    assert convert_episode(bag, config).result == "up to date"
    again = dataclasses.replace(config, overwrite=True)
    assert convert_episode(bag, again).result == "converted"
    stricter = dataclasses.replace(config, max_image_age=0.4)
    assert convert_episode(bag, stricter).result == "converted"


def test_seven_cameras_are_recorded_and_converted_under_their_own_keys(
    studio, config, seven_cameras
):
    cell = load_cell(seven_cameras, "sim")
    bag = studio.record(config.bags, studio.messages_of(cell), cell=cell)
    assert convert(config) == 0
    episode = read_episode(config.output / "episode_000000.hdf5", cell.layout)
    assert sorted(episode.images) == sorted(camera.key for camera in cell.cameras.values())
    assert len(episode.images) == 7 and "cam_table" in episode.images
    sent = read_episode_bag(bag).images
    assert all(set(images) <= set(sent[key]) for key, images in episode.images.items())


def test_jpeg_bytes_pass_through_unchanged(studio, config):
    messages = studio.messages()
    bag = studio.record(config.bags, messages)
    convert(config)
    episode = read_episode(config.output / "episode_000000.hdf5")
    sent = read_episode_bag(bag).images
    assert set(episode.images) == set(studio.cell.layout.cameras)
    for key, images in episode.images.items():
        assert len(images) == len(episode) and set(images) <= set(sent[key])
        assert images[3] == list(images)[3] and images[2:4] == list(images)[2:4]


def test_an_episode_says_where_it_comes_from(studio, config):
    messages = studio.messages()
    studio.record(config.bags, messages, operator="ada", task="pick_place", seed=7)
    convert(config)
    episode = read_episode(config.output / "episode_000000.hdf5", studio.cell.layout)
    assert (episode.operator, episode.task, episode.seed) == ("ada", "pick_place", 7)
    assert episode.instruction == "put it down" and episode.outcome == "success"
    assert episode.object_names == ("bun", "plate")
    assert episode.cell == studio.cell
    assert episode.environment.shape == (len(episode), 2, 7)
    assert episode.streams["left_arm_state"]["count"] == 200
    assert set(np.diff(episode.timestamps_ns)) == {50_000_000}
    with h5py.File(config.output / "episode_000000.hdf5") as file:
        assert file.attrs["sim"] and file.attrs["tick_rate"] == 20.0


def test_the_seed_of_the_scene_stands_in_for_one_not_given(studio, config):
    studio.record(config.bags, studio.messages())
    convert(config)
    assert read_episode(config.output / "episode_000000.hdf5").seed == 11


def test_a_bag_without_a_needed_topic_is_rejected_by_name(studio, config):
    messages = [m for m in studio.messages() if m.spec.name != "right_arm_state"]
    assert "no message on /right/arm/joint_states" in reason(studio, config, messages)


def rewrite(bag, change):
    """Replace a bag by one whose messages went through a function (topic, type, data)."""
    messages = list(read_messages(bag_file(bag)))
    shutil.rmtree(bag)
    writer = BagWriter(bag)
    for message in messages:
        name, msgtype, data = change(message.topic, message.msgtype, message.data)
        writer.write(BagTopic(name=name, msgtype=msgtype), message.receive_ns, data)
    writer.close()


def test_a_wrong_type_is_rejected(studio, config):
    bag = studio.record(config.bags, studio.messages())
    wrong = "geometry_msgs/msg/Wrench"
    rewrite(bag, lambda topic, kind, data: (topic, wrong if "Wrench" in kind else kind, data))
    told = convert_episode(bag, config).reason
    assert told.endswith(f"/arm/wrench has type {wrong}, the contract wants {wrong}Stamped")


def test_a_message_that_does_not_decode_is_rejected(studio, config):
    bag = studio.record(config.bags, studio.messages())
    rewrite(bag, lambda topic, kind, data: (topic, kind, data[:20] if "Wrench" in kind else data))
    assert "does not decode as geometry_msgs/msg/WrenchStamped" in (
        convert_episode(bag, config).reason
    )


@pytest.mark.parametrize("topic", ["/episode/info", "/episode/outcome"])
def test_a_bag_without_its_first_or_last_message_is_rejected(studio, config, topic):
    bag = studio.record(config.bags, studio.messages())
    rewrite(bag, lambda name, kind, data: ("/other" if name == topic else name, kind, data))
    assert topic in convert_episode(bag, config).reason


def test_joints_under_other_names_are_rejected(studio, config):
    messages = list(studio.messages())
    spec = next(m.spec for m in messages if m.spec.name == "left_arm_state")
    other = dataclasses.replace(spec, joint_names=tuple(f"joint_{i}" for i in range(7)))
    data = studio.encode(other, studio.start_ns + 10**8, np.random.default_rng(0))
    messages.append(dataclasses.replace(messages[-1], spec=spec, data=data))
    assert "without 'left_joint1'" in reason(studio, config, messages)


def test_a_stream_that_stops_in_mid_episode_is_rejected(studio, config):
    half = studio.start_ns + 10**9
    messages = [m for m in studio.messages() if m.spec.name != "cam_high" or m.stamp_ns < half]
    told = reason(studio, config, messages)
    assert "/cameras/overhead/image_raw/compressed is" in told and "bound 500 ms" in told


def test_a_stream_that_begins_late_is_rejected(studio, config):
    late = studio.start_ns + 25 * 10**8
    messages = [
        m for m in studio.messages(seconds=4.0) if m.spec.name != "objects" or m.stamp_ns > late
    ]
    assert "/scene/objects begins 2.5 s after" in reason(studio, config, messages)


def test_a_scene_reset_in_mid_episode_is_rejected(studio, config):
    messages = list(studio.messages())
    scene = next(m for m in messages if m.spec.name == "scene_info")
    text = json.dumps({"task": "pick_place", "objects": ["bun", "plate"], "epoch": 5})
    messages.append(
        dataclasses.replace(scene, data=encode_text(text), receive_ns=messages[-1].receive_ns)
    )
    assert "reset in mid-episode (epoch 4 to 5)" in reason(studio, config, messages)


def test_a_seed_that_no_file_holds_is_told_in_plain_words(studio, config):
    messages = list(studio.messages())
    index = next(i for i, m in enumerate(messages) if m.spec.name == "scene_info")
    text = json.dumps({"objects": ["bun", "plate"], "seed": 10**30})
    messages[index] = dataclasses.replace(messages[index], data=encode_text(text))
    assert "/scene/info has seed '1000" in reason(studio, config, messages)


def test_an_episode_too_short_is_rejected(studio, config):
    assert "too short" in reason(studio, config, studio.messages(seconds=0.5))


def test_failures_are_rejected_unless_kept(studio, config):
    messages = studio.messages()
    told = reason(studio, config, messages, outcome="failure")
    assert "outcome is failure" in told and "--keep-failures" in told
    keep = dataclasses.replace(config, keep_failures=True)
    assert convert(keep) == 0
    assert read_episode(config.output / "episode_000000.hdf5").outcome == "failure"


@pytest.mark.parametrize("way_back", [["restore", "0"], ["undo"]])
def test_a_failure_that_was_set_aside_as_success_comes_back_with_a_warning_and_not_for_long(
    studio, config, capsys, way_back
):
    bag = studio.record(config.bags, studio.messages(seconds=1.3))
    file = config.output / "episode_000000.hdf5"

    def episodes(word, *words):
        assert main(["episodes", word, str(file.parent), *words]) == 0
        return " ".join(capsys.readouterr().out.split())

    assert convert_episode(bag, config).result == "converted"
    assert "convert" not in episodes("delete", "0")
    assert convert_episode(bag, config).reason == ""
    write_outcome(bag, "failure", "", 1)
    told = convert_episode(bag, config)
    assert (told.result, told.reason) == (
        "set aside",
        "its bag is labelled failure: convert again once it is restored",
    )
    said = episodes(*way_back)
    assert "as it was converted: run `ate convert` again before you train" in said
    assert convert_episode(bag, config).result == "rejected"
    assert not file.exists()


def test_a_rejected_bag_does_not_stop_the_others(studio, config, capsys):
    studio.record(config.bags, studio.messages(seconds=0.3))
    studio.record(config.bags, studio.messages(seed=1))
    (config.bags / "episode_000001.discarded").mkdir()
    assert convert(config) == 1
    assert [path.name for path in list_episodes(config.output)] == ["episode_000001.hdf5"]
    assert "1 converted, 0 up to date, 1 rejected" in capsys.readouterr().out


@pytest.mark.parametrize("folder", ["monday", "a/b"])
def test_bags_in_subfolders_that_are_not_converted_are_named(studio, config, capsys, folder):
    messages = studio.messages(seconds=1.3)
    studio.record(config.bags / folder, messages)
    with pytest.raises(EpisodeError, match=rf"record some, or name .* \(bags lie in {folder}\)"):
        convert(config)
    studio.record(config.bags, messages)
    assert convert(config) == 0
    said = " ".join(capsys.readouterr().out.split())
    assert "1 converted, 0 up to date, 0 rejected" in said
    assert f"not converted, as they lie in subfolders: the bags of {folder}; give each" in said
    assert convert(dataclasses.replace(config, bags=config.bags / folder / "episode_000000")) == 0
    assert "subfolders" not in capsys.readouterr().out


def test_messages_out_of_order_give_the_same_episode(studio, config, tmp_path):
    messages = studio.messages()
    studio.record(config.bags, messages)
    swapped = list(messages)
    rng = np.random.default_rng(4)
    for i in range(0, len(swapped) - 1, 2):
        if rng.random() < 0.5:
            swapped[i], swapped[i + 1] = swapped[i + 1], swapped[i]
    studio.record(config.bags, swapped)
    assert convert(config) == 0
    one, other = (read_episode(path) for path in list_episodes(config.output))
    for name in ("state", "action", "wrench", "velocity", "environment", "timestamps_ns"):
        np.testing.assert_array_equal(getattr(one, name), getattr(other, name))


def test_another_layout_is_refused_by_the_differing_field(studio, config):
    studio.record(config.bags, studio.messages())
    convert(config)
    wider = dataclasses.replace(studio.cell.layout, tick_rate=30.0)
    with pytest.raises(LayoutError, match="tick_rate"):
        read_episode(config.output / "episode_000000.hdf5", wider)


def test_a_folder_without_bags_or_episodes_is_named(config, tmp_path):
    with pytest.raises(EpisodeError, match="no episode_NNNNNN folders"):
        convert(config)
    with pytest.raises(EpisodeError, match="ate convert"):
        list_episodes(tmp_path)
    with pytest.raises(UsageError, match="--jobs 0"):
        dataclasses.replace(config, work=WorkConfig(jobs=0))
