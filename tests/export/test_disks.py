"""Disks that are full, or fill up in mid-export: nothing half takes the place of anything."""

import errno
import functools
import os
import resource
import shutil
import subprocess

import pytest

from ate_core.errors import DiskError
from training.data import disk_room
from training.data.episode_file import list_episodes
from training.export import copies, lerobot_part
from training.export.act import ActExport, export_act
from training.export.lerobot import LerobotExport, export_lerobot
from training.export.rdt import RdtExport, export_rdt
from training.export.robotwin import RobotwinExport, export_robotwin
from training.tasks.in_process import InProcess

COPIES = {
    "act": functools.partial(ActExport),
    "rdt": functools.partial(RdtExport, drop_joint=4),
    "robotwin": functools.partial(RobotwinExport),
}
EXPORTS = {"act": export_act, "rdt": export_rdt, "robotwin": export_robotwin}


@pytest.fixture(scope="module")
def data(studio, tmp_path_factory):
    folder = tmp_path_factory.mktemp("disks") / "data"
    return studio.write(folder, *(studio.episode(6, seed) for seed in range(3)))


def full_at(number, real):
    """What writes a file, on a disk that is full from the so manieth on."""
    calls = []

    def write(path, *rest, **options):
        calls.append(path)
        if len(calls) >= number:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(path))
        return real(path, *rest, **options)

    return write


def content(folder):
    return {p.relative_to(folder): p.read_bytes() for p in folder.rglob("*") if p.is_file()}


@pytest.mark.parametrize("format", COPIES)
def test_a_disk_that_fills_up_in_mid_copy_leaves_the_older_output_and_goes_on(
    data, tmp_path, monkeypatch, in_this_process, format
):
    config = COPIES[format](episodes=data, output=tmp_path / "out", overwrite=True)
    assert EXPORTS[format](config) == 0
    before = content(config.output)
    with monkeypatch.context() as disk:
        disk.setattr(copies, "new_hdf5", full_at(2, copies.new_hdf5))
        with pytest.raises(DiskError, match="refused 2 of 3 copies, episode_000001 first"):
            EXPORTS[format](config)
    assert content(config.output) == before
    assert sorted(path.name for path in tmp_path.iterdir()) == [".out.partial", "out"]
    kept = tmp_path / ".out.partial" / ".parts"
    assert [path.name for path in kept.iterdir()] == ["episode_000000.hdf5"]
    inode = (kept / "episode_000000.hdf5").stat().st_ino
    assert EXPORTS[format](config) == 0
    assert content(config.output) == before
    assert inode in {path.stat().st_ino for path in config.output.rglob("*.hdf5")}
    assert [path.name for path in tmp_path.iterdir()] == ["out"]


@pytest.mark.parametrize("format", COPIES)
def test_copies_that_cannot_fit_are_refused_before_a_byte_is_written(
    data, tmp_path, monkeypatch, in_this_process, format
):
    monkeypatch.setattr(disk_room, "free_room", lambda _: 1_000)
    config = COPIES[format](episodes=data, output=tmp_path / "new" / "out")
    with pytest.raises(DiskError, match=r"copies need about \d.*has 0.0 MB free: free space"):
        EXPORTS[format](config)
    assert not list(tmp_path.rglob("*.hdf5"))


def test_the_estimate_for_act_is_what_its_raw_pictures_take(
    data, tmp_path, monkeypatch, in_this_process
):
    asked = []
    monkeypatch.setattr(copies, "require_room", lambda _, needed, __: asked.append(needed))
    config = ActExport(episodes=data, output=tmp_path / "out", length=9, size=(32, 48))
    assert export_act(config) == 0
    assert asked == [3 * 9 * 3 * 32 * 48 * 3]
    written = sum(path.stat().st_size for path in config.output.glob("*.hdf5"))
    assert asked[0] < written < 1.5 * asked[0]


def test_a_set_of_which_a_part_found_no_room_is_not_written(data, tmp_path, monkeypatch, capsys):
    config = LerobotExport(episodes=data, output=tmp_path / "set")
    assert export_lerobot(config) == 0
    before = content(config.output)
    changed = LerobotExport(episodes=data, output=tmp_path / "set", objects=False)
    with monkeypatch.context() as disk:
        disk.setattr("training.tasks.choose.LocalProcesses", lambda *_: InProcess())
        disk.setattr(lerobot_part, "encode_video", full_at(4, lerobot_part.encode_video))
        assert export_lerobot(changed) == 1
    said = " ".join(capsys.readouterr().out.replace("│", " ").split())
    assert "0 exported" in said and "the disk refused others" in said
    assert content(config.output) == before
    assert not list((tmp_path / "set.parts").glob(".episode*"))
    assert export_lerobot(changed) == 0
    assert content(config.output) != before


@pytest.mark.parametrize("size", [40_000, 100_000, 160_000, 300_000])
def test_on_a_disk_that_is_really_full_a_set_is_whole_or_absent(
    data, small_disk, monkeypatch, in_this_process, size, studio
):
    """Others use up the room after the estimate, at any moment of the export."""
    monkeypatch.setattr(disk_room, "free_room", lambda _: 10**12)
    disk = small_disk(size)
    output = disk / "set"
    config = LerobotExport(episodes=data, output=output)
    assert export_lerobot(config) == 1
    assert not output.exists()
    assert not list((disk / "set.parts").glob(".[es]*"))
    subprocess.run(["mount", "-o", "remount,size=9000000", str(disk)], check=True)
    assert export_lerobot(config) == 0
    reader = studio.reader(output)
    assert len(reader.episodes) == len(list_episodes(data))
    assert all(len(reader.frames(index, key)) == 6 for index in range(3) for key in reader.cameras)


def test_a_set_whose_file_would_be_too_large_is_told_that_and_not_of_free_space(
    data, tmp_path, in_this_process, capsys
):
    """A joined video outgrows what `ulimit -f` lets, each part does not."""
    config = LerobotExport(episodes=data, output=tmp_path / "set")
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    sizes = [path.stat().st_size for path in _parts_of(config)]
    shutil.rmtree(tmp_path / "set")
    resource.setrlimit(resource.RLIMIT_FSIZE, (max(sizes) + 200, hard))
    try:
        assert export_lerobot(config) == 1
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    said = " ".join(capsys.readouterr().out.replace("│", " ").split())
    assert "no set is written" in said and "ulimit -f" in said and "free space" not in said


def _parts_of(config):
    """Files of the parts, made once."""
    assert export_lerobot(config) == 0
    return [path for path in config.output.with_name("set.parts").rglob("*") if path.is_file()]
