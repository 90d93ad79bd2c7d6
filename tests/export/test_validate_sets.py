"""Every rule of files and sets is broken once on purpose and found; sound ones break none."""

import json
import shutil

import h5py
import numpy as np
import pyarrow
import pyarrow.parquet
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from training.data.lerobot_index import VERSIONS
from training.export.lerobot import LerobotExport, export_lerobot
from training.tasks.in_process import InProcess
from training.validate.command import check_all, check_one
from training.validate.file_checks import check_file
from training.validate.lerobot_checks import check_lerobot
from training.validate.specification import RULES

QPOS = "/observations/qpos"


def edit(change):
    def apply(path):
        with h5py.File(path, "a") as file:
            change(file)

    return apply


def put(name, index, value):
    """Another value at one place of a dataset."""

    def change(file):
        values = file[name][()]
        values[index] = value
        replace(file, name, values)

    return edit(change)


def replace(file, name, values):
    del file[name]
    file.create_dataset(name, data=values)


def attribute(name, value):
    return edit(lambda file: file.attrs.__setitem__(name, value))


def rot(path):
    """Flip bytes of the first dataset's chunk."""
    with h5py.File(path) as file:
        place = file[QPOS].id.get_chunk_info(0).byte_offset
    content = bytearray(path.read_bytes())
    content[place + 8] ^= 0xFF
    path.write_bytes(content)


FILES = {
    "H1": lambda path: path.write_bytes(b"no such file"),
    "H2": edit(lambda file: file.__delitem__("/action")),
    "H3": edit(lambda file: file.attrs.__delitem__("task")),
    "H4": attribute("format", 99),
    "H5": attribute("layout_sha256", "0" * 64),
    "H6": edit(lambda file: replace(file, "/action", file["/action"][:-1])),
    "H7": edit(lambda file: replace(file, QPOS, file[QPOS][()].astype(np.float64))),
    "H8": rot,
    "H9": put("/action", (3, 2), np.nan),
    "H10": put("/timestamps_ns", 3, 5),
    "H11": put("/observations/images/cam_high", 2, b"no picture"),
    "H12": put(QPOS, (4, 1), 9.9),
    "H13": edit(lambda file: file.create_dataset("/ages/planted", data=[0.1, np.inf])),
    "H14": attribute("object_names", '["bun"]'),
    "H15": put("/commanded_by", (3, 1), 3),
}
"""Rule -> what breaks it."""


def info(**changes):
    def apply(folder):
        path = folder / "meta" / "info.json"
        document = {**json.loads(path.read_text()), **changes}
        path.write_text(json.dumps({k: v for k, v in document.items() if v is not None}))

    return apply


def data_file(folder):
    return next((folder / "data").rglob("*.parquet"))


def column(name, change):
    def apply(folder):
        path = data_file(folder)
        table = pyarrow.parquet.read_table(path)
        index = table.column_names.index(name)
        values = change(table[name].to_pylist())
        table = table.set_column(index, name, pyarrow.array(values))
        pyarrow.parquet.write_table(table, path)

    return apply


def drop(name):
    def apply(folder):
        table = pyarrow.parquet.read_table(data_file(folder))
        pyarrow.parquet.write_table(table.drop_columns([name]), data_file(folder))

    return apply


SETS = {
    "L1": info(fps=None),
    "L2": info(codebase_version="v1.6"),
    "L3": info(features={"action": {"dtype": "float32", "shape": "16"}}),
    "L4": lambda folder: (folder / "meta" / "tasks.parquet").write_bytes(b"PAR1"),
    "L5": lambda folder: data_file(folder).write_bytes(b"x"),
    "L6": drop("action"),
    "L7": column("action", lambda rows: [row[:-1] for row in rows]),
    "L8": info(total_frames=1),
    "L9": column("timestamp", lambda rows: [row + 0.1 for row in rows]),
    "L10": column("task_index", lambda rows: [row + 40 for row in rows]),
    "L11": lambda folder: next(folder.rglob("*.mp4")).unlink(),
    "L12": lambda folder: (folder / "meta" / "stats.json").write_text("{}"),
}
"""Rule -> what breaks it."""


@pytest.fixture(scope="module")
def sound(studio, tmp_path_factory):
    folder = tmp_path_factory.mktemp("sound")
    studio.write(folder / "data", studio.episode(6, 0), studio.episode(5, 1))
    assert export_lerobot(LerobotExport(episodes=folder / "data", output=folder / "set")) == 0
    return folder


@pytest.fixture
def copy(sound, tmp_path):
    return shutil.copytree(sound, tmp_path / "copy")


def first_file(folder):
    return sorted((folder / "data").glob("*.hdf5"))[0]


def test_sound_files_and_sets_break_no_rule(sound):
    staged = sound / "data" / ".edit-1.episode_500000.hdf5"  # of an edit that was killed
    staged.write_bytes(b"no such file")
    checked = check_all((sound / "data", sound / "set"), InProcess())
    staged.unlink()
    assert [one.kind for one in checked] == ["hdf5", "hdf5", "lerobot"]
    assert not [violation for one in checked for violation in one.violations]


@pytest.mark.parametrize("number", [n for n, rule in RULES.items() if rule.kind == "hdf5"])
def test_every_rule_of_a_file_is_found_broken(copy, number):
    FILES[number](first_file(copy))
    found = list(check_file(first_file(copy)))
    assert number in {one.rule for one in found}, found
    assert all(one.file and one.value and one.bound and one.remedy for one in found)


@pytest.mark.parametrize("number", [n for n, rule in RULES.items() if rule.kind == "lerobot"])
def test_every_rule_of_a_set_is_found_broken(copy, number):
    SETS[number](copy / "set")
    found = list(check_lerobot(copy / "set"))
    assert number in {one.rule for one in found}, found
    assert all(one.file and one.value and one.bound and one.remedy for one in found)


MUTATIONS = settings(
    max_examples=25, deadline=None, derandomize=True,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)  # fmt: skip
BYTES = {
    "place": st.floats(0.0, 1.0),
    "data": st.binary(min_size=1, max_size=64),
    "cut": st.booleans(),
}


def mutate(source, target, place, data, cut):
    content = bytearray(source.read_bytes())
    start = int(place * len(content))
    content[start : start + len(data)] = data
    target.write_bytes(content[:start] if cut else content)


@MUTATIONS
@given(name=st.sampled_from(("info.json", "stats.json", "tasks.parquet")), **BYTES)
def test_no_bytes_of_a_set_end_in_a_traceback(sound, tmp_path, name, place, data, cut):
    folder = tmp_path / "set"
    if not folder.exists():
        shutil.copytree(sound / "set", folder)
    mutate(sound / "set" / "meta" / name, folder / "meta" / name, place, data, cut)
    checked = check_one((folder, "lerobot"))
    assert "X2" not in {one.rule for one in checked.violations}, checked.violations
    shutil.copy(sound / "set" / "meta" / name, folder / "meta" / name)


@MUTATIONS
@given(**BYTES)
def test_no_bytes_of_a_file_end_in_a_traceback(sound, tmp_path, place, data, cut):
    source, target = first_file(sound), tmp_path / "episode_000000.hdf5"
    mutate(source, target, place, data, cut)
    checked = check_one((target, "hdf5"))
    assert checked.violations or not cut


def old_set(folder, target, version="v2.1"):
    """The set in the layout of v2.0 and v2.1: one file per episode, tables as lines."""
    whole = pyarrow.parquet.read_table(data_file(folder))
    episodes = sorted(set(whole["episode_index"].to_pylist()))
    (target / "meta").mkdir(parents=True)
    (target / "data" / "chunk-000").mkdir(parents=True)
    document = json.loads((folder / "meta" / "info.json").read_text())
    features = {k: v for k, v in document["features"].items() if v["dtype"] != "video"}
    path = "data/chunk-{episode_chunk:03d}/episode_{episode_index:06d}.parquet"
    document |= {"codebase_version": version, "features": features, "data_path": path}
    (target / "meta" / "info.json").write_text(json.dumps(document))
    rows = []
    for episode in episodes:
        own = whole.filter([one == episode for one in whole["episode_index"].to_pylist()])
        pyarrow.parquet.write_table(
            own, target / path.format(episode_chunk=0, episode_index=episode)
        )
        rows.append({"episode_index": episode, "length": own.num_rows, "tasks": []})
    tasks = sorted(set(whole["task_index"].to_pylist()))
    for name, lines in (
        ("episodes", rows),
        ("tasks", [{"task_index": one, "task": "x"} for one in tasks]),
    ):
        text = "\n".join(map(json.dumps, lines))
        (target / "meta" / f"{name}.jsonl").write_text(text)
    return target


@pytest.mark.parametrize("version", [one for one in VERSIONS if one < "v3"])
def test_a_set_of_an_older_version_is_checked_by_the_same_rules(sound, tmp_path, version):
    folder = old_set(sound / "set", tmp_path / "old", version)
    assert list(check_lerobot(folder)) == []
    sorted((folder / "data").rglob("*.parquet"))[1].unlink()
    assert {one.rule for one in check_lerobot(folder)} >= {"L5"}
    (folder / "meta" / "tasks.jsonl").write_text("{")
    assert {one.rule for one in check_lerobot(folder)} == {"L4"}
