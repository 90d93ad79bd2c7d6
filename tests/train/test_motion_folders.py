"""Folders of motion for stage 1: whose rows, in which order, and what is refused."""

import dataclasses
import json

import h5py
import numpy as np
import pyarrow
import pyarrow.parquet
import pytest

from ate_core.errors import TrainingError
from training.data.column_mapping import map_rows, mapping_by_names, mapping_by_width
from training.data.pretraining import load_sources, read_recordings
from training.data.set_files import label_file


def write(path, rows, key="qpos", **attributes):
    path.parent.mkdir(parents=True, exist_ok=True)
    with h5py.File(path, "w") as file:
        file[key] = rows
        file.attrs.update(attributes)
    return path


def numbered(length, width):
    """Row t, column c: t + c / 100."""
    return np.arange(length)[:, None] + np.arange(width) / 100.0


def test_a_folder_of_the_released_code_is_read_from_its_training_split(tmp_path, cell):
    write(tmp_path / "train" / "b.hdf5", numbered(25, 16))
    write(tmp_path / "train" / "a.hdf5", numbered(30, 16))
    write(tmp_path / "val" / "c.hdf5", numbered(40, 16))
    source = read_recordings(tmp_path, cell)
    assert source.episodes == ["a.hdf5", "b.hdf5"]
    np.testing.assert_allclose(source.motions[1], numbered(25, 16), rtol=1e-6)


def test_rows_of_an_unknown_rate_are_taken_for_ticks_and_that_is_told(tmp_path, cell, caplog):
    write(tmp_path / "a.hdf5", numbered(30, 16), "action", contract=cell.canonical_text())
    read_recordings(tmp_path, cell)
    assert not caplog.records
    write(tmp_path / "b.hdf5", numbered(30, 16), "action")
    read_recordings(tmp_path, cell)
    assert "does not say its rate: its rows are taken for ticks of the cell, 20" in caplog.text


@pytest.mark.parametrize("key", ["action", "qpos", "observations/qpos"])
def test_rows_are_found_under_any_of_the_known_names(tmp_path, cell, key):
    write(tmp_path / "episode_0.hdf5", numbered(20, 16), key)
    np.testing.assert_allclose(read_recordings(tmp_path, cell).motions[0], numbered(20, 16))


def test_an_aloha_file_prefers_actions_and_lacks_the_seventh_joints(tmp_path, cell):
    path = write(tmp_path / "episode_0.hdf5", numbered(20, 14), "action")
    with h5py.File(path, "a") as file:
        file["observations/qpos"] = np.zeros((20, 14))
    row = read_recordings(tmp_path, cell).motions[0][0] * 100.0
    expected = [0, 1, 2, 3, 4, 5, 0, 6, 7, 8, 9, 10, 11, 12, 0, 13]
    np.testing.assert_allclose(row, expected, atol=1e-4)


def test_measured_states_beside_the_actions_are_read_when_asked_for(tmp_path, cell):
    path = write(tmp_path / "episode_0.hdf5", numbered(20, 14), "action")
    assert read_recordings(tmp_path, cell, measured=True).states is None
    with h5py.File(path, "a") as file:
        file["observations/qpos"] = numbered(20, 14) - 0.5
    assert read_recordings(tmp_path, cell).states is None
    source = read_recordings(tmp_path, cell, measured=True)
    present = [column for column in range(16) if column not in (6, 14)]  # ALOHA has six axes
    difference = source.motions[0] - source.states[0]
    np.testing.assert_allclose(difference[:, present], 0.5, atol=1e-5)
    write(tmp_path / "episode_1.hdf5", numbered(20, 14), "action")
    assert read_recordings(tmp_path, cell, measured=True).states is None  # not in all files


def test_rows_of_the_unified_vector_are_picked_by_field(cell):
    row = np.arange(128) @ mapping_by_width(128, cell.layout.action)
    assert row.tolist() == [50, 51, 52, 53, 54, 55, 56, 60, 0, 1, 2, 3, 4, 5, 6, 10]


def test_padding_must_be_empty(tmp_path, cell):
    rows = np.zeros((20, 32))
    rows[:, :16] = numbered(20, 16)
    write(tmp_path / "a.hdf5", rows)
    np.testing.assert_allclose(read_recordings(tmp_path, cell).motions[0], numbered(20, 16))
    rows[3, 20] = 1.0
    write(tmp_path / "a.hdf5", rows)
    with pytest.raises(TrainingError, match="those from 16 on are not all 0"):
        read_recordings(tmp_path, cell)


def test_our_own_episodes_are_read_as_they_are(episodes, cell):
    source = read_recordings(episodes, cell)
    assert len(source.motions) == 3 and source.motions[0].shape == (40, 16)


@pytest.mark.parametrize("measured", [False, True])
def test_of_our_own_episodes_only_successes_are_read_by_the_label_given_last(
    tmp_path, cell, write_demonstrations, measured
):
    folder = write_demonstrations(tmp_path / "set", count=4, change={"outcome": "failure"})
    label_file(folder / "episode_000001.hdf5").write_text('{"outcome": "knocked over"}')
    source = read_recordings(folder, cell, measured=measured)
    assert list(source.episodes) == ["episode_000000.hdf5", "episode_000002.hdf5"]
    assert len(source.motions) == 2 and len(source.states or [0, 0]) == 2
    label_file(folder / "episode_000003.hdf5").write_text('{"outcome": "success"}')
    assert len(read_recordings(folder, cell).motions) == 3
    for index in (0, 2, 3):
        label_file(folder / f"episode_{index:06d}.hdf5").write_text('{"outcome": "failure"}')
    with pytest.raises(TrainingError, match=r"none of the 4 episodes in .* is a success"):
        read_recordings(folder, cell)


def test_files_of_others_say_no_outcome_and_hidden_files_are_none(tmp_path, cell):
    write(tmp_path / "a.hdf5", numbered(20, 16), outcome="failure")
    write(tmp_path / ".edit-1.b.hdf5", numbered(20, 16))
    assert list(read_recordings(tmp_path, cell).episodes) == ["a.hdf5"]


def test_folders_that_cannot_be_used_are_refused_in_one_line(tmp_path, cell):
    def refuse(folder, pattern):
        with pytest.raises(TrainingError, match=pattern) as refusal:
            read_recordings(folder, cell)
        assert "\n" not in str(refusal.value)

    refuse(tmp_path / "none", "is no folder")
    refuse(tmp_path, r"neither meta/info.json \(LeRobot\) nor")
    write(tmp_path / "wide" / "a.hdf5", numbered(20, 16))
    write(tmp_path / "wide" / "b.hdf5", numbered(20, 14))
    refuse(tmp_path / "wide", r"mixes widths 14 \(b.hdf5\), 16 \(a.hdf5\)")
    write(tmp_path / "narrow" / "a.hdf5", numbered(20, 7))
    refuse(tmp_path / "narrow", "rows have 7 numbers, the cell's action has 16")
    rows = numbered(20, 16)
    rows[4, 3] = np.nan
    write(tmp_path / "nan" / "a.hdf5", rows)
    refuse(tmp_path / "nan", "a.hdf5: qpos holds nan at row 4, entry 3")
    write(tmp_path / "other" / "a.hdf5", rows, "joints")
    refuse(tmp_path / "other", "has none of action, qpos")
    write(tmp_path / "flat" / "a.hdf5", np.zeros(20))
    refuse(tmp_path / "flat", r"shape \(20,\)")
    (tmp_path / "cut").mkdir()
    (tmp_path / "cut" / "a.hdf5").write_bytes(b"\x89HDF")
    refuse(tmp_path / "cut", "a.hdf5 cannot be read")
    contract = cell.canonical_text().replace("left_gripper", "left_hand")
    write(tmp_path / "cell" / "a.hdf5", numbered(20, 16), contract=contract)
    refuse(tmp_path / "cell", "another action layout or tick rate .*left_hand")
    contract = dataclasses.replace(cell, tick_rate=10.0).canonical_text()
    write(tmp_path / "slow" / "a.hdf5", numbered(20, 16), contract=contract)
    refuse(tmp_path / "slow", "another action layout or tick rate .*10")


def test_two_folders_of_one_name_are_refused(tmp_path, cell):
    folders = tuple(tmp_path / part / "robot" for part in ("a", "b"))
    for folder in folders:
        write(folder / "x.hdf5", numbered(20, 16))
    with pytest.raises(TrainingError, match="two sources are called 'recordings robot'"):
        load_sources(cell, recordings=folders, motions=0, seed=0)


NAMES = [f"left_joint{i}" for i in range(1, 8)] + ["left_gripper"]
NAMES += [name.replace("left", "right") for name in NAMES]


@pytest.fixture
def tables(tmp_path):
    """LeRobot v3.0: three episodes of 21, 31 and 41 rows in two files, 20 Hz."""
    lengths, places = (21, 31, 41), ((0, 0), (0, 0), (0, 1))
    info = {
        "codebase_version": "v3.0",
        "fps": 20,
        "total_episodes": 3,
        "chunks_size": 1000,
        "data_path": "data/chunk-{chunk_index:03d}/file-{file_index:03d}.parquet",
        "features": {"action": {"dtype": "float32", "shape": [16], "names": NAMES}},
    }
    (tmp_path / "meta" / "episodes" / "chunk-000").mkdir(parents=True)
    (tmp_path / "data" / "chunk-000").mkdir(parents=True)
    (tmp_path / "meta" / "info.json").write_text(json.dumps(info))
    write_index(tmp_path, lengths, places)
    for file, members in ((0, (0, 1)), (1, (2,))):
        rows = 0.01 * np.concatenate(
            [10.0 * index + numbered(lengths[index], 16) for index in members]
        )
        owner = np.repeat(members, [lengths[index] for index in members])
        kind = pyarrow.list_(pyarrow.float32(), 16)
        columns = {
            "action": pyarrow.array(rows.tolist(), type=kind),
            "episode_index": owner,
            "timestamp": np.concatenate([np.arange(lengths[index]) / 20 for index in members]),
        }
        table = pyarrow.table(columns)
        path = tmp_path / "data" / "chunk-000" / f"file-{file:03d}.parquet"
        pyarrow.parquet.write_table(table, path)
    return tmp_path


def write_index(folder, lengths, places, **more):
    columns = {
        **more,
        "episode_index": list(range(len(lengths))),
        "length": list(lengths),
        "data/chunk_index": [chunk for chunk, _ in places],
        "data/file_index": [file for _, file in places],
    }
    path = folder / "meta" / "episodes" / "chunk-000" / "file-000.parquet"
    pyarrow.parquet.write_table(pyarrow.table(columns), path)


def test_tables_of_version_three_hold_many_episodes_per_file(tables, cell):
    source = read_recordings(tables, cell)
    assert [len(motion) for motion in source.motions] == [21, 31, 41]
    assert source.episodes == ["episode 0", "episode 1", "episode 2"]
    np.testing.assert_allclose(source.motions[1], 0.1 + 0.01 * numbered(31, 16), rtol=1e-5)
    np.testing.assert_allclose(source.motions[2][0], 0.2 + np.arange(16) / 10_000.0, rtol=1e-5)


def test_tables_of_version_three_that_do_not_agree_are_refused(tables, cell):
    write_index(tables, (21, 30, 41), ((0, 0), (0, 0), (0, 1)))
    with pytest.raises(TrainingError, match="has 31 rows of episode 1, meta says 30"):
        read_recordings(tables, cell)
    write_index(tables, (21, 31), ((0, 0), (0, 0)))
    with pytest.raises(TrainingError, match=r"lists 2 episodes from 0 to 1, info.json says 3"):
        read_recordings(tables, cell)
    write_index(tables, (21, 31, 41), ((0, 0), (0, 0), (0, 7)))
    with pytest.raises(TrainingError, match=r"file-007.parquet cannot be read"):
        read_recordings(tables, cell)


def test_of_a_set_that_tells_how_its_episodes_ended_the_successes_are_read(tables, cell):
    about = (21, 31, 41), ((0, 0), (0, 0), (0, 1))
    write_index(tables, *about, outcome=["success", "failure", None])
    source = read_recordings(tables, cell)
    assert [len(motion) for motion in source.motions] == [21, 41]
    assert list(source.episodes) == ["episode 0", "episode 2"]
    write_index(tables, *about, outcome=["failure"] * 3)
    with pytest.raises(TrainingError, match=r"none of the 3 episodes in .* is a success"):
        read_recordings(tables, cell)


def test_measured_states_of_a_table_are_its_own_column(tables, cell):
    file = tables / "meta" / "info.json"
    info = json.loads(file.read_text())
    info["features"]["observation.state"] = info["features"]["action"]
    file.write_text(json.dumps(info))
    for path in tables.glob("data/chunk-000/*.parquet"):
        table = pyarrow.parquet.read_table(path)
        values = np.stack(table["action"].to_numpy()) - 0.5
        states = pyarrow.array(values.tolist(), type=table["action"].type)
        pyarrow.parquet.write_table(table.append_column("observation.state", states), path)
    source = read_recordings(tables, cell, measured=True)
    for actions, states in zip(source.motions, source.states, strict=True):
        np.testing.assert_allclose(actions - states, 0.5, atol=1e-5)


def test_columns_without_names_are_told_by_their_width(tables, cell):
    file = tables / "meta" / "info.json"
    info = json.loads(file.read_text())
    info["features"]["action"]["names"] = None
    file.write_text(json.dumps(info))
    assert read_recordings(tables, cell).motions[0].shape == (21, 16)


def test_grippers_and_joints_are_told_by_their_names(cell):
    row = np.arange(16) @ mapping_by_names(NAMES, cell.layout.action)
    assert row.tolist() == list(range(16))
    six = [name for name in NAMES if "joint7" not in name]
    row = np.arange(1, 15) @ mapping_by_names(six, cell.layout.action)
    assert row.tolist() == [1, 2, 3, 4, 5, 6, 0, 7, 8, 9, 10, 11, 12, 13, 0, 14]


def test_padding_must_be_empty_in_a_layout_narrower_than_alohas(cell):
    columns = cell.layout.action
    narrow = dataclasses.replace(columns, fields=columns.fields[:2])
    assert narrow.size < 14
    rows = np.zeros((3, 14), np.float32)
    rows[:, : narrow.size] = 0.5
    np.testing.assert_array_equal(map_rows(rows, narrow, "rows"), rows[:, : narrow.size])
    rows[1, 13] = 1.0
    with pytest.raises(TrainingError, match=f"those from {narrow.size} on are not all 0"):
        map_rows(rows, narrow, "rows")
