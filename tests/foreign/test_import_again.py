"""What an import finds in its output: nothing is learned twice, nor by the label of another."""

import errno
import json
import os
import shutil

import h5py
import pytest

from ate_core.contract import load_cell, parse_cell_text
from ate_core.errors import EpisodeError, UsageError
from training.configs.output_folder import only_writer
from training.data.episode_file import list_episodes, read_episode
from training.data.set_files import label_file
from training.data.trajectory import read_trajectories
from training.episodes import operations
from training.episodes.editor import editing
from training.episodes.episode_set import open_set
from training.foreign.importer import Importer, make_importer
from training.foreign.mapping import read_mapping
from training.import_recordings import ImportConfig, import_episode, import_recordings

HDF5 = """
body: Two Arms
action_is: target
rate: 20
state:
  feature: observations/qpos
  fields: &fields
    left_arm: {columns: [0, 1, 2, 3, 4, 5, null]}
    left_gripper: {columns: [6], unit: ratio}
    right_arm: {columns: [7, 8, 9, 10, 11, 12, null]}
    right_gripper: {columns: [13], unit: ratio}
action: {feature: action, fields: *fields}
"""


class Lerobot:
    """A set whose episodes are numbered from 0, whatever it lost."""

    def __init__(self, folder, others):
        self.folder, self.others = folder, others
        self.mapping = others.mapping[: others.mapping.index("cameras:")]

    def write(self, kept):
        shutil.rmtree(self.folder, ignore_errors=True)
        meta = self.others.write_v2(self.folder, lengths=()) / "meta"
        info = json.loads((meta / "info.json").read_text())
        (meta / "info.json").write_text(json.dumps({**info, "total_episodes": len(kept)}))
        lines = [{"episode_index": index, "length": 24} for index in range(len(kept))]
        (meta / "episodes.jsonl").write_text("\n".join(map(json.dumps, lines)))
        for index, one in enumerate(kept):
            file = self.folder / "data" / "chunk-000" / f"episode_{index:06d}.parquet"
            self.others.table(file, {index: self.others.motion(24, one)})

    def damage(self, index):
        (self.folder / "data" / "chunk-000" / f"episode_{index:06d}.parquet").unlink()


class Hdf5:
    """A folder of files that keep their names."""

    mapping = HDF5

    def __init__(self, folder, others):
        self.folder, self.others = folder, others

    def write(self, kept):
        shutil.rmtree(self.folder, ignore_errors=True)
        self.folder.mkdir()
        for one in kept:
            rows = self.others.motion(24, one)[:, [*range(7), *range(8, 15)]]
            with h5py.File(self.folder / f"episode_{one}.hdf5", "w") as file:
                file["observations/qpos"], file["action"] = rows, rows + 0.01

    def damage(self, index):
        sorted(self.folder.iterdir())[index].write_bytes(b"cut")


@pytest.fixture(params=[Lerobot, Hdf5])
def theirs(request, tmp_path, others):
    """Four recordings; recording n starts n mrad from the first."""
    made = request.param(tmp_path / "set", others)
    made.write(range(4))
    return made


@pytest.fixture
def bring(tmp_path, capsys, monkeypatch):
    """Import a folder by a mapping text; returns the exit code and what was printed."""
    monkeypatch.setenv("COLUMNS", "400")

    def bring(folder, mapping, **options):
        file = tmp_path / "mapping.yaml"
        file.write_text(mapping)
        config = ImportConfig(
            recordings=folder, mapping=file, output=tmp_path / "episodes", **options
        )
        capsys.readouterr()
        code = import_recordings(config)
        return code, capsys.readouterr().out

    return bring


@pytest.fixture
def edit(tmp_path):
    def edit(what, *words):
        with editing(open_set(tmp_path / "episodes")) as editor:
            getattr(operations, what)(editor, *words)

    return edit


def learned(folder):
    """Which recordings training reads, and how many ticks of each."""
    ticks = {}
    for one in read_trajectories(folder):
        episode = read_episode(folder / one.name)
        ticks.setdefault(round(float(episode.state[0, 0]) * 1000), []).append(len(episode))
    return ticks


def test_what_was_set_aside_is_not_made_again(tmp_path, theirs, bring, edit):
    output = tmp_path / "episodes"
    bring(theirs.folder, theirs.mapping)
    edit("delete", [3])
    edit("split", 2, [10])
    before = sorted(path.name for path in output.iterdir())
    for options in ({}, {"overwrite": True}):
        code, printed = bring(theirs.folder, theirs.mapping, **options)
        assert code == 0 and "2 set aside" in printed and "not made again" in printed
        assert sorted(path.name for path in output.iterdir()) == before
    code, printed = bring(theirs.folder, theirs.mapping + "instruction: take it\n")
    assert "2 imported" in printed and "2 set aside" in printed
    edit("restore", [3])
    ticks = [len(read_episode(path)) for path in list_episodes(output)]
    assert ticks == [24, 24, 24, 10, 14]


def test_a_copy_of_what_was_set_aside_is_put_away(tmp_path, theirs, bring, edit):
    output = tmp_path / "episodes"
    bring(theirs.folder, theirs.mapping)
    kept = (output / "episode_000003.hdf5").read_bytes()
    edit("delete", [3])
    (output / "episode_000003.hdf5").write_bytes(kept)
    _, printed = bring(theirs.folder, theirs.mapping)
    assert "its earlier file is now episode_000003.hdf5.excluded" in printed
    assert sorted(learned(output)) == [0, 1, 2]


def test_a_set_that_lost_an_episode_is_learned_once(tmp_path, theirs, bring):
    output = tmp_path / "episodes"
    bring(theirs.folder, theirs.mapping)
    theirs.write([0, 2, 3])
    code, printed = bring(theirs.folder, theirs.mapping)
    assert code == 0 and "1 put away" in printed
    assert "its earlier file is now episode_000003.hdf5.excluded" in printed
    assert [len(ticks) for ticks in learned(output).values()] == [1, 1, 1]
    assert sorted(learned(output)) == [0, 2, 3]
    theirs.write(range(4))
    code, printed = bring(theirs.folder, theirs.mapping)
    assert code == 0 and sorted(learned(output)) == [0, 1, 2, 3]


def test_a_label_never_passes_to_another_recording(tmp_path, theirs, bring, edit):
    output = tmp_path / "episodes"
    bring(theirs.folder, theirs.mapping)
    edit("label", [2, 3], "failure")
    theirs.write([0, 2, 3])
    _, printed = bring(theirs.folder, theirs.mapping)
    assert "it is now episode_000002.outcome.json.excluded" in printed
    assert [read_episode(path).outcome for path in list_episodes(output)] == ["success"] * 3
    theirs.write([0, 2, 3, 5])
    _, printed = bring(theirs.folder, theirs.mapping)
    assert "it is now episode_000003.outcome.json.excluded" in printed
    assert sorted(learned(output)) == [0, 2, 3, 5]


def test_a_corrected_mapping_keeps_the_label(tmp_path, theirs, bring, edit):
    output = tmp_path / "episodes"
    bring(theirs.folder, theirs.mapping)
    edit("label", [1], "failure")
    code, printed = bring(theirs.folder, theirs.mapping.replace("target", "change"))
    assert code == 0 and "4 imported" in printed and "label" not in printed
    assert read_episode(output / "episode_000001.hdf5").outcome == "failure"
    code, _ = bring(theirs.folder, theirs.mapping.replace("Two Arms", "Other Arms"))
    assert code == 0 and label_file(output / "episode_000001.hdf5").exists()


def test_a_label_outlives_an_episode_that_could_not_be_read_for_a_while(
    tmp_path, theirs, bring, edit
):
    output = tmp_path / "episodes"
    bring(theirs.folder, theirs.mapping)
    edit("label", [1], "failure")
    theirs.damage(1)
    code, printed = bring(theirs.folder, theirs.mapping)
    assert code == 1 and "its earlier file is now episode_000001.hdf5.excluded" in printed
    assert sorted(learned(output)) == [0, 2, 3]
    theirs.write(range(4))
    bring(theirs.folder, theirs.mapping)
    assert read_episode(output / "episode_000001.hdf5").outcome == "failure"
    assert not list(output.glob("*.excluded"))


def test_what_a_corrected_mapping_rejects_is_put_away(tmp_path, others, bring):
    """Two mappings in one set would be two bodies."""
    theirs = Lerobot(tmp_path / "set", others)
    theirs.write(range(3))
    bring(theirs.folder, theirs.mapping)
    file = theirs.folder / "data" / "chunk-000" / "episode_000002.parquet"
    rows = others.motion(24, 2)
    rows[:, 15] += 0.95
    others.table(file, {2: rows})
    wide = "unit: ratio, closed: 0.0, open: 1.3}"
    right = "right_gripper: {columns: [right_gripper], "
    bring(theirs.folder, theirs.mapping.replace(f"{right}unit: ratio}}", right + wide))
    assert len(read_trajectories(tmp_path / "episodes")) == 3
    code, printed = bring(theirs.folder, theirs.mapping)
    assert code == 1 and "its earlier file is now episode_000002.hdf5.excluded" in printed
    assert sorted(learned(tmp_path / "episodes")) == [0, 1]


def test_what_was_set_aside_is_known_under_its_new_number(tmp_path, theirs, bring, edit):
    output = tmp_path / "episodes"
    bring(theirs.folder, theirs.mapping)
    edit("delete", [3])
    theirs.write([0, 2, 3])
    code, printed = bring(theirs.folder, theirs.mapping)
    assert code == 0 and "not made again: it is episode_000003.hdf5.discarded" in printed
    assert sorted(learned(output)) == [0, 2]


def test_a_place_whose_former_episode_was_set_aside_is_not_taken(tmp_path, theirs, bring, edit):
    output = tmp_path / "episodes"
    bring(theirs.folder, theirs.mapping)
    edit("delete", [2])
    theirs.write([0, 2, 3])
    code, printed = bring(theirs.folder, theirs.mapping)
    assert code == 1 and "episode_000002.hdf5.discarded, which was set aside, is of" in printed
    assert sorted(learned(output)) == [0]


def test_files_of_older_versions_are_known_by_their_names(tmp_path, theirs, bring, edit):
    """They keep no hash of the rows: what was set aside stays so, and a label counts on."""
    output = tmp_path / "episodes"
    bring(theirs.folder, theirs.mapping)
    edit("delete", [3])
    edit("label", [1], "failure")
    for path in output.glob("*.hdf5*"):
        with h5py.File(path, "a") as file:
            del file.attrs["recorded"]
    _, printed = bring(theirs.folder, theirs.mapping)
    assert "3 up to date" in printed and "1 set aside" in printed
    _, printed = bring(theirs.folder, theirs.mapping.replace("Two Arms", "Other Arms"))
    assert "3 imported" in printed and "1 set aside" in printed
    assert "outcome.json.excluded" not in printed
    assert read_episode(output / "episode_000001.hdf5").outcome == "failure"


def test_other_recordings_in_a_folder_of_the_same_name_replace_nothing(tmp_path, theirs, bring):
    if isinstance(theirs, Lerobot):
        pytest.skip("episodes of a LeRobot set are numbered only")
    output = tmp_path / "episodes"
    bring(theirs.folder, theirs.mapping)
    theirs.write([5, 6])
    for path in sorted(theirs.folder.iterdir()):
        path.rename(path.with_stem(f"day_2_{path.stem}"))
    before = {path.name: path.read_bytes() for path in output.iterdir()}
    code, printed = bring(theirs.folder, theirs.mapping)
    assert code == 1 and "is of another recording (set/" in printed and "put away" not in printed
    assert {path.name: path.read_bytes() for path in output.iterdir()} == before


def _unread(errno):
    try:
        raise OSError(errno, "an error of the disk")
    except OSError as error:
        raise EpisodeError("it cannot be read") from error


@pytest.mark.parametrize(
    ("fails", "stays"),
    [
        (lambda: _unread(errno.EIO), True),
        (lambda: os.stat("/nowhere"), True),
        (lambda: json.loads("{"), True),
        (lambda: parse_cell_text("", "it"), False),
    ],
)
def test_only_what_an_unsound_recording_left_is_put_away(
    tmp_path, theirs, bring, monkeypatch, fails, stays
):
    bring(theirs.folder, theirs.mapping)
    config = ImportConfig(
        recordings=theirs.folder, mapping=tmp_path / "mapping.yaml", output=tmp_path / "episodes"
    )
    importer = make_importer(theirs.folder, read_mapping(config.mapping), load_cell())
    monkeypatch.setattr(Importer, "write", lambda *_, **__: fails())
    assert import_episode(importer, 1, config).result == "rejected"
    assert (config.output / "episode_000001.hdf5").exists() == stays


def test_episodes_of_others_stay_where_they_are(tmp_path, theirs, bring, others):
    output = tmp_path / "episodes"
    bring(theirs.folder, theirs.mapping)
    theirs.folder.rename(tmp_path / "former")
    theirs.write([5])
    theirs.folder.rename(tmp_path / "other")
    before = {path.name: path.read_bytes() for path in output.iterdir()}
    code, printed = bring(tmp_path / "other", theirs.mapping)
    assert code == 1 and "is of another recording (set/" in printed
    assert {path.name: path.read_bytes() for path in output.iterdir()} == before


def test_a_label_of_our_own_files_is_imported_too(tmp_path, write_own, bring, edit):
    own = write_own(tmp_path / "own")
    mapping = HDF5.replace("null", "6").replace("[6], unit", "[7], unit")
    mapping = mapping.replace("[7, 8, 9, 10, 11, 12, 6]", "[8, 9, 10, 11, 12, 13, 14]")
    mapping = mapping.replace("[13], unit", "[15], unit")
    label_file(own / "episode_000000.hdf5").write_text('{"outcome": "failure"}')
    (own / ".edit-1.episode_500000.hdf5").write_bytes((own / "episode_000000.hdf5").read_bytes())
    code, printed = bring(own, mapping)
    assert code == 0 and "1 imported" in printed
    (path,) = list_episodes(tmp_path / "episodes")
    assert read_episode(path).outcome == "failure"
    label_file(own / "episode_000000.hdf5").unlink()
    bring(own, mapping)
    assert read_episode(path).outcome == "success"


def test_one_command_writes_a_folder_at_a_time(tmp_path, others, bring):
    theirs = Lerobot(tmp_path / "set", others)
    theirs.write([0])
    bring(theirs.folder, theirs.mapping)
    with (
        only_writer(tmp_path / "episodes", "held"),
        pytest.raises(UsageError, match="another `ate import`, `ate convert` or edit writes to"),
    ):
        bring(theirs.folder, theirs.mapping)
