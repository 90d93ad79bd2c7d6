"""What an episode says of itself is counted and compared, and a refusal names the true cause."""

import dataclasses
import json
import shutil

import h5py
import numpy as np
import pytest

from ate_core.errors import EpisodeError
from ate_core.resample import NANOSECONDS
from ate_core.sampling import SamplingRules
from ate_recorder.bag_writer import TYPESTORE, encode_text
from benchmarks.rewritten_bag import rewrite_bag
from training.convert_bags import ConvertConfig, convert, convert_episode
from training.data.bag_reader import bag_file, decode, read_episode_bag, read_messages
from training.data.clock_steps import ClockSteps
from training.data.episode_file import read_episode

TEXT = "std_msgs/msg/String"


@pytest.fixture(scope="module")
def bag(studio, tmp_path_factory):
    return studio.record(tmp_path_factory.mktemp("truth"), studio.messages(seconds=1.3))


@pytest.fixture
def config(bag, tmp_path):
    return ConvertConfig(bags=bag, output=tmp_path / "data")


def rewritten(bag, folder, change):
    """A copy of a bag whose messages went through a function; None drops one."""
    copy = folder / bag.name
    shutil.copytree(bag, copy)
    changed = [(message, change(message)) for message in read_messages(bag_file(bag))]
    kept = [
        dataclasses.replace(message, data=data) for message, data in changed if data is not None
    ]
    rewrite_bag(copy, kept)
    return copy


def with_text(message, topic, **entries):
    """The JSON of a topic with other entries."""
    if message.topic != topic:
        return message.data
    return encode_text(json.dumps(json.loads(decode(message).data) | entries))


def stamped(message, shift_ns):
    """A message stamped by another clock."""
    decoded = decode(message)
    stamp = decoded.header.stamp
    total = stamp.sec * NANOSECONDS + stamp.nanosec + shift_ns
    stamp = dataclasses.replace(stamp, sec=total // NANOSECONDS, nanosec=total % NANOSECONDS)
    header = dataclasses.replace(decoded.header, stamp=stamp)
    changed = dataclasses.replace(decoded, header=header)
    return bytes(TYPESTORE.serialize_cdr(changed, message.msgtype))


@pytest.mark.parametrize("name", ["contract", "layout"])
def test_a_bag_whose_contract_was_changed_is_rejected(bag, config, tmp_path, name):
    hashes = {f"{name}_sha256": "0" * 64}
    copy = rewritten(bag, tmp_path, lambda m: with_text(m, "/episode/info", **hashes))
    told = convert_episode(copy, config).reason
    assert told.startswith(f"the {name} in episode_000000 is not the one it was made with")


@pytest.mark.parametrize(
    ("attribute", "change"),
    [
        ("contract", lambda text: text.replace("tick_rate: 20.0", "tick_rate: 25.0")),
        ("layout_sha256", lambda _: "1" * 64),
        ("contract_sha256", lambda _: "2" * 64),
    ],
)
def test_a_file_whose_contract_was_changed_is_refused_where_it_is_read(config, attribute, change):
    convert(config)
    path = config.output / "episode_000000.hdf5"
    with h5py.File(path, "r+") as file:
        file.attrs[attribute] = change(file.attrs[attribute])
    with pytest.raises(EpisodeError, match="is not the one it was made with"):
        read_episode(path)


def test_a_file_of_format_1_is_still_read(config):
    convert(config)
    path = config.output / "episode_000000.hdf5"
    now = read_episode(path)
    with h5py.File(path, "r+") as file:
        del file["ages"], file["commanded_by"]
        for name in ("audit", "clock", "contract_sha256", "rules"):
            del file.attrs[name]
        file.attrs["format"] = 1
    then = read_episode(path)
    np.testing.assert_array_equal(then.state, now.state)
    assert (
        then.ages == {}
        and then.commanded_by is None
        and then.rules == {}
        and then.cell == now.cell
    )
    with h5py.File(path, "r+") as file:
        file.attrs["format"] = 99
    with pytest.raises(EpisodeError, match=r"has format 99, this version reads \(1, 2, 3\)"):
        read_episode(path)


@pytest.mark.parametrize(("hours", "side"), [(-1, "before"), (1, "after")])
def test_a_clock_an_hour_off_is_named_with_what_helps(bag, config, tmp_path, hours, side):
    shift_ns = hours * 3600 * NANOSECONDS
    copy = rewritten(
        bag,
        tmp_path,
        lambda m: stamped(m, shift_ns) if m.topic == "/left/arm/joint_states" else m.data,
    )
    told = convert_episode(copy, config).reason
    assert told.startswith("/left/arm/joint_states is stamped 3600.0 s " + side), told
    assert "the clock of the host that stamps it differs" in told and "chrony" in told


def test_a_stream_that_lags_more_and_more_is_no_clock_that_differs(bag, config, tmp_path):
    lags = iter(np.arange(10_000) * 30_000_000)  # of a computer that cannot keep up
    copy = rewritten(
        bag,
        tmp_path,
        lambda m: stamped(m, -int(next(lags))) if m.topic == "/left/arm/joint_states" else m.data,
    )
    told = convert_episode(copy, config).reason
    assert "s before its receipt (bound 1.0 s): the recorder's computer was too busy" in told


def test_a_command_that_is_no_number_is_named_with_its_topic(bag, config, tmp_path):
    def spoil(message):
        if message.topic != "/right/arm/joint_command":
            return message.data
        decoded = decode(message)
        return bytes(
            TYPESTORE.serialize_cdr(
                dataclasses.replace(decoded, position=np.full(7, np.nan)), message.msgtype
            )
        )

    told = convert_episode(rewritten(bag, tmp_path, spoil), config).reason
    assert told.startswith("not_finite: ") and "right_arm_command" in told
    assert "convert" not in told


def test_streams_are_counted_from_the_bag_and_a_disagreement_is_named(bag, config, tmp_path):
    assert convert_episode(bag, config).streams.endswith("streams without gaps")
    seen = []

    def lose(message):
        if message.topic == "/left/arm/wrench":
            seen.append(message)
            if 40 <= len(seen) < 44:
                return None
        return message.data

    report = convert_episode(rewritten(bag, tmp_path, lose), config)
    assert report.result == "converted"
    found, recorded = len(seen) - 4, len(seen)
    wanted = f"left_wrench has {found} messages in the bag, {recorded} by the recorder"
    assert report.streams == f"recorder and bag disagree: {wanted}"
    counted = read_episode(config.output / "episode_000000.hdf5").streams["left_wrench"]
    assert counted["count"] == found and counted["gaps"] == 1


def test_the_age_of_every_sample_is_stored(bag, config):
    convert(config)
    episode = read_episode(config.output / "episode_000000.hdf5")
    series = read_episode_bag(bag).series
    for name in ("left_arm_state", "cam_high", "objects"):
        ages = episode.ages[name].astype(np.float64)
        stamps = series[name].stamps_ns
        last = stamps[np.searchsorted(stamps, episode.timestamps_ns, side="right") - 1]
        np.testing.assert_allclose(ages * 1e9, episode.timestamps_ns - last, atol=100)
    commands = episode.ages["left_arm_command"]
    assert np.isnan(commands[0]) and commands[-1] < 0.05
    assert episode.rules["joints"] == "hold"


def test_a_rule_changes_what_is_written_and_is_named_in_the_file(bag, config):
    convert(config)
    held = read_episode(config.output / "episode_000000.hdf5")
    rules = SamplingRules(joints="interpolate", images="nearest")
    assert convert(dataclasses.replace(config, rules=rules)) == 0
    other = read_episode(config.output / "episode_000000.hdf5")
    assert other.rules["joints"] == "interpolate" and other.rules["wrench"] == "hold"
    assert not np.array_equal(other.state[:, :7], held.state[:, :7])
    np.testing.assert_array_equal(other.state[:, 7], held.state[:, 7])
    np.testing.assert_array_equal(other.wrench, held.wrench)
    assert other.ages["cam_high"].min() < 0 <= held.ages["cam_high"].min()


def test_a_missing_sample_refuses_where_the_rule_says_so(bag, config, tmp_path):
    seen = []

    def lose(message):
        if message.topic == "/left/arm/wrench":
            seen.append(message)
            if 40 <= len(seen) < 50:
                return None
        return message.data

    copy = rewritten(bag, tmp_path, lose)
    assert convert_episode(copy, config).result == "converted"
    strict = dataclasses.replace(config, rules=SamplingRules(wrench="refuse"))
    told = convert_episode(copy, strict).reason
    assert told.startswith("/left/arm/wrench is") and "(bound 25 ms)" in told


def test_a_step_of_the_wall_clock_is_taken_back_from_header_stamps():
    second = NANOSECONDS
    steps = ClockSteps()
    steps.add({"bag_ns": 10 * second, "step_ns": -3600 * second})
    received = np.array([9, 10, 10, 11, 20]) * second + 5_000_000
    true = received - 3_000_000
    stamped_ns = true.copy()
    stamped_ns[[2, 3, 4]] -= 3600 * second  # the second one was stamped before the step
    np.testing.assert_array_equal(steps.undo(stamped_ns, received), true)
    np.testing.assert_array_equal(ClockSteps().undo(true, received), true)
