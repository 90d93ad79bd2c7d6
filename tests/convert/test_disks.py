"""Folders and disks that refuse, under every command that takes bags.

What may be read is converted, what may not is named with a remedy, and nothing is lost.
"""

import contextlib
import ctypes
import errno
import io
import json
import os
import shutil
import subprocess
from contextlib import contextmanager

import pytest

from ate_bringup.cli import main
from ate_recorder.bag_writer import BagWriter
from training.data import disk_room
from training.data.bag_reader import bag_file
from training.data.episode_file import list_episodes

CAPABILITIES = 0x20080522, 0b110
"""Version of the call that sets them, and those by which root reads and writes everything."""
COMMANDS = {
    "convert": ("convert", "--bags"),
    "audit": ("audit", "--json", "--bags"),
    "validate": ("validate",),
    "list": ("episodes", "list"),
}
"""Each is given the folder of the bags last."""


def ate(*words):
    """Run a command on a terminal that takes UTF-8; its exit code and what it said."""
    said = io.TextIOWrapper(io.BytesIO(), encoding="utf-8", write_through=True)
    with contextlib.redirect_stdout(said), contextlib.redirect_stderr(said):
        code = main([str(word) for word in words])
    text = said.buffer.getvalue().decode()
    assert not any(word in text for word in ("Traceback", "unforeseen")), text
    return code, text


@contextmanager
def rights_count():
    """Let the rights of files count also for root, as far as this thread goes."""
    version, everything = CAPABILITIES
    header = (ctypes.c_uint32 * 2)(version, 0)
    had, left = (ctypes.c_uint32 * 6)(), (ctypes.c_uint32 * 6)()
    libc = ctypes.CDLL(None)
    libc.capget(header, had)
    left[:] = had
    left[0] &= ~everything
    libc.capset(header, left)
    try:
        yield
    finally:
        libc.capset(header, had)


@pytest.fixture(scope="module")
def sound(studio, tmp_path_factory):
    """Two sound bags."""
    folder = tmp_path_factory.mktemp("sound")
    for seed in (1, 2):
        studio.record(folder / "bags", studio.messages(seconds=1.3, seed=seed))
    return folder / "bags"


@pytest.fixture
def place(sound, tmp_path, in_this_process, monkeypatch):
    """A folder with the bags."""
    monkeypatch.setenv("COLUMNS", "2000")
    shutil.copytree(sound, tmp_path / "bags")
    return tmp_path


def run_all(bags, output):
    """Exit codes and words of every command."""
    return {
        name: ate(*words, bags, *(("--output", output) if name == "convert" else ()))
        for name, words in COMMANDS.items()
    }


def judged(said):
    """The report of an audit, behind what it could not store."""
    return json.loads(said[said.index("{\n") :])


def content(folder):
    return {path: path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}


@pytest.mark.parametrize("what", ["file", "folder"])
def test_an_episode_that_may_not_be_read_is_named_and_the_other_goes_on(place, what):
    bags, output = place / "bags", place / "data"
    output.mkdir()
    closed = bag_file(bags / "episode_000000") if what == "file" else bags / "episode_000000"
    rights = closed.stat().st_mode
    closed.chmod(0)
    try:
        with rights_count():
            said = run_all(bags, output)
    finally:
        closed.chmod(rights)
    assert {name: code for name, (code, _) in said.items()} == {
        "convert": 1, "audit": 1, "validate": 1, "list": 0,
    }  # fmt: skip
    assert [path.stem for path in list_episodes(output)] == ["episode_000001"]
    told = said["convert"][1]
    assert "1 converted" in told and "1 rejected" in told
    assert "Permission denied" in told and "the right to read it" in told
    assert "Permission denied" in judged(said["audit"][1])["unreadable"]["episode_000000"]
    assert "Permission denied" in said["validate"][1]


def test_a_folder_of_bags_that_may_not_be_read_is_told_as_that(place):
    bags, output = place / "bags", place / "data"
    output.mkdir()
    bags.chmod(0)
    try:
        with rights_count():
            said = run_all(bags, output)
    finally:
        bags.chmod(0o755)
    for code, text in said.values():
        assert code == 1 and "Permission denied" in text


def test_into_a_read_only_folder_nothing_is_converted_and_each_is_told(place):
    bags, output = place / "bags", place / "data"
    output.mkdir()
    before = content(place)
    bags.chmod(0o555)
    output.chmod(0o555)
    with rights_count():
        said = run_all(bags, output)
    code, told = said["convert"]
    assert code == 1 and "0 converted" in told and "2 rejected" in told
    assert "Permission denied" in told and "name another --output" in told
    assert content(place) == before
    assert len(judged(said["audit"][1])["episodes"]) == 2
    assert said["validate"][0] == said["list"][0] == 0


def test_an_output_that_is_a_file_is_refused_and_kept(place):
    file = place / "thesis"
    file.write_text("mine")
    for output in (file, file / "data"):
        code, told = ate("convert", "--bags", place / "bags", "--output", output)
        assert code == 1 and "cannot be made" in told and "choose another output" in told
    assert file.read_text() == "mine"


ODD = ("with space and ümlaut", "*?[a-z]", "[/red]:x:", "two\nlines", os.fsdecode(b"no utf \xff"))


@pytest.mark.parametrize("name", ODD, ids=ascii)
def test_folders_of_odd_names_are_as_good_as_others(place, name):
    bags, output = place / name, place / "data" / name
    bags.parent.mkdir(exist_ok=True)
    (place / "bags").rename(bags)
    said = run_all(bags, output)
    assert "2 converted" in said["convert"][1]
    assert len(list_episodes(output)) == 2
    assert len(judged(said["audit"][1])["episodes"]) == 2
    assert said["validate"][0] == said["list"][0] == 0
    assert "2 episodes" in said["list"][1]


@pytest.mark.parametrize("knows_its_size", [True, False])
def test_a_disk_that_fills_up_costs_what_does_not_fit_and_is_told(
    place, small_disk, monkeypatch, knows_its_size
):
    """With the estimate, and where other programs use up the room after it."""
    if not knows_its_size:
        monkeypatch.setattr("training.data.episode_file._least_size", lambda _: 0)
    disk = small_disk(2_300_000)
    before = content(place / "bags")
    code, told = ate("convert", "--bags", place / "bags", "--output", disk / "data")
    assert code == 1 and "1 converted" in told and "1 rejected" in told
    assert "No space left on device" in told and "free space there" in told
    assert "episode_000001.hdf5 (" in told and ".tmp" not in told
    assert [path.name for path in (disk / "data").iterdir()] == ["episode_000000.hdf5"]
    assert content(place / "bags") == before
    subprocess.run(["mount", "-o", "remount,size=9000000", str(disk)], check=True)
    code, told = ate("convert", "--bags", place / "bags", "--output", disk / "data")
    assert code == 0 and "1 converted, 1 up to date" in told


@pytest.fixture
def cut_bag(place):
    """A bag that a power cut left without its end."""
    bag = place / "bags" / "episode_000000"
    os.truncate(bag_file(bag), int(0.7 * bag_file(bag).stat().st_size))
    return bag


def test_a_repair_on_a_full_disk_leaves_the_bag_as_it_was(cut_bag, monkeypatch):
    before = content(cut_bag)
    with monkeypatch.context() as disk:
        disk.setattr(disk_room, "free_room", lambda _: 1_000)
        code, told = ate("repair", "--bag", cut_bag)
    assert code == 1 and "the messages of the new bag need about" in told and "free space" in told
    assert content(cut_bag.parent / cut_bag.name) == before

    def full(*_, **__):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), "episode_000000_0.mcap")

    for step in ("write", "close"):
        with monkeypatch.context() as disk:
            disk.setattr(BagWriter, step, full)
            code, told = ate("repair", "--bag", cut_bag)
        assert code == 1 and "stays as it was" in told and "free space there" in told
        assert content(cut_bag) == before
    assert sorted(path.name for path in cut_bag.parent.iterdir()) == [
        "episode_000000", "episode_000001",
    ]  # fmt: skip
    assert ate("repair", "--bag", cut_bag)[0] == 0


def test_a_lerobot_set_that_cannot_fit_is_refused_before_a_byte_is_written(place, monkeypatch):
    monkeypatch.setattr(disk_room, "free_room", lambda _: 1_000)
    words = ("convert", "--bags", place / "bags", "--output", place / "set", "--format", "lerobot")
    code, told = ate(*words)
    assert code == 1 and "the videos need about" in told and "free space there" in told
    for folder in (place / "set.parts", place / "set"):
        assert not list(folder.glob("[!.]*"))


def test_on_a_file_system_that_is_mounted_read_only_each_is_told(place):
    output, before = place / "data", content(place)
    output.mkdir()
    (output / "kept").write_text("mine")
    bind = ["mount", "--bind", str(output), str(output)]
    if subprocess.run(bind, capture_output=True).returncode:
        pytest.skip("no right to mount a disk")
    try:
        subprocess.run(["mount", "-o", "remount,bind,ro", str(output)], check=True)
        code, told = ate("convert", "--bags", place / "bags", "--output", output)
        report = ate("audit", "--bags", place / "bags", "--output", output / "audit.html")
    finally:
        subprocess.run(["umount", str(output)], capture_output=True)
    for said in (told, report[1]):
        assert "Read-only file system" in said and "name another" in said
    assert code == 1 and report[0] == 1
    (output / "kept").unlink()
    output.rmdir()
    assert content(place) == before


def test_a_disk_that_fails_in_reading_costs_the_episode_that_lies_there(place):
    """The first page of a process cannot be read: the system says what a broken disk says."""
    file = bag_file(place / "bags" / "episode_000000")
    file.unlink()
    file.symlink_to("/proc/self/mem")
    code, told = ate("convert", "--bags", place / "bags", "--output", place / "data")
    assert code == 1 and "1 converted" in told and "1 rejected" in told
    assert os.strerror(errno.EIO) in told and "check the disk" in told
    said = judged(ate("audit", "--json", "--bags", place / "bags")[1])
    assert [episode["name"] for episode in said["episodes"]] == ["episode_000001"]
    assert "episode_000000" in said["unreadable"]
