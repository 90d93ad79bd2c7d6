"""Two sessions number their episodes alike: neither replaces nor judges those of the other."""

import dataclasses
import json
import os

import h5py
import pytest

from ate_core.episode_outcome import OUTCOME_FILE, write_outcome
from ate_core.errors import UsageError
from training.convert_bags import ConvertConfig, convert, convert_episode
from training.data.bag_reader import bag_file, read_recording
from training.data.episode_file import list_episodes, read_episode, read_recording_of
from training.data.set_files import label_file

DAY_NS = 86_400 * 10**9
NAME = "episode_000000"


@pytest.fixture
def config(studio, tmp_path):
    """The options by which a recorded session is converted."""
    studio.record(tmp_path / "bags", studio.messages(seconds=1.3, seed=1))
    return ConvertConfig(bags=tmp_path / "bags", output=tmp_path / "data")


@pytest.fixture
def file(config):
    return config.output / f"{NAME}.hdf5"


def shift(file, by_ns=-DAY_NS):
    """Make a converted episode one that was recorded at another time."""
    with h5py.File(file, "r+") as episode:
        episode["/timestamps_ns"][...] += by_ns


def refused(config):
    with pytest.raises(UsageError, match="is of another recording") as caught:
        convert(config)
    return str(caught.value)


def test_an_episode_of_another_session_is_not_replaced(config, file):
    convert(config)
    shift(file)
    before = file.read_bytes()
    told = refused(config)
    assert f"{NAME}.hdf5" in told and "started 2023-11-13 22:13:20 UTC" in told
    assert f"this {NAME} started 2023-11-14 22:13:20 UTC" in told
    assert told.endswith("choose another --output, or --overwrite")
    assert file.read_bytes() == before


def test_a_file_that_is_no_episode_of_ours_is_not_replaced(config, file):
    file.parent.mkdir()
    with h5py.File(file, "w") as theirs:
        theirs["/observations/qpos"] = [[0.0]]
    before = file.read_bytes()
    assert "no episode of this project" in refused(config)
    assert file.read_bytes() == before
    assert convert(dataclasses.replace(config, overwrite=True)) == 0
    assert len(read_episode(file)) > 1


def test_an_episode_of_another_cell_at_the_same_time_is_not_replaced(config, file):
    convert(config)
    with h5py.File(file, "r+") as episode:
        contract = episode.attrs["contract"]
        episode.attrs["contract"] = contract.replace("- 0.25\n", "- 0.26\n", 1)
    refused(config)


def test_the_same_session_is_converted_again_with_other_options(config, file):
    convert(config)
    label_file(file).write_text(json.dumps({"outcome": "knocked over", "decided_ns": 0}))
    assert convert(dataclasses.replace(config, max_image_age=0.4)) == 0
    assert read_episode(file).outcome == "knocked over"


def test_overwriting_another_session_takes_its_labels_along(config, file):
    convert(config)
    shift(file)
    label_file(file).write_text(json.dumps({"outcome": "knocked over", "decided_ns": 0}))
    refused(config)
    assert convert(dataclasses.replace(config, overwrite=True)) == 0
    assert read_episode(file).outcome == "success" and not label_file(file).exists()


def test_a_label_that_was_given_before_the_recording_began_is_of_another_one(studio, config, file):
    config.output.mkdir()
    label = {"outcome": "knocked over", "decided_ns": studio.start_ns - DAY_NS}
    label_file(file).write_text(json.dumps(label))
    assert "labelled 2023-11-13" in refused(config)
    label_file(file).write_text(json.dumps(label | {"decided_ns": studio.start_ns + DAY_NS}))
    assert convert(config) == 0 and read_episode(file).outcome == "knocked over"


def test_one_of_another_session_that_was_set_aside_does_not_hide_an_episode(config, file):
    convert(config)
    aside = file.rename(file.with_name(f"{file.name}.discarded"))
    assert convert(config) == 0 and not file.exists()
    shift(aside)
    assert refused(dataclasses.replace(config, overwrite=True)).endswith("choose another --output")
    assert aside.exists()


def test_one_of_another_session_that_was_kept_out_is_not_deleted(config, file):
    convert(config)
    away = file.rename(file.with_name(f"{file.name}.excluded"))
    shift(away)
    refused(config)
    assert away.exists()


@pytest.mark.parametrize("gate", [{}, {"exclude": (NAME,)}])
def test_a_rejected_bag_moves_no_file_of_another_session(config, file, gate):
    convert(config)
    shift(file)
    write_outcome(config.bags / NAME, "failure", "", 0)
    gated = dataclasses.replace(config, overwrite=True, **gate)
    assert convert_episode(config.bags / NAME, gated).result in ("rejected", "excluded")
    assert [path.name for path in list_episodes(config.output)] == [file.name]


def test_a_bag_that_says_nothing_moves_no_file(config, file):
    convert(config)
    os.truncate(bag_file(config.bags / NAME), 100)
    report = convert_episode(config.bags / NAME, config)
    assert report.result == "rejected" and file.exists()


def test_an_episode_is_known_by_cell_and_start_whatever_its_decision(config, file):
    convert(config)
    own = read_recording(config.bags / NAME)
    (config.bags / NAME / OUTCOME_FILE).unlink(missing_ok=True)
    assert read_recording_of(file).is_same(own) and read_recording(config.bags / NAME) == own
