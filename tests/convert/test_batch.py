"""One bad episode never ends a batch, and two converters never mix what they write."""

import dataclasses
import errno
import fcntl
import os
import resource
import shutil
import signal
from contextlib import contextmanager

import numpy as np
import pytest

from ate_bringup.demo import DemoConfig, DemoError, _run, plan
from ate_core.errors import UsageError
from ate_recorder.bag_writer import TYPESTORE
from training import convert_bags
from training.convert_bags import ConvertConfig, convert, convert_episode
from training.data import episode_file, hdf5_file
from training.data.bag_reader import bag_file
from training.data.episode_file import list_episodes, read_episode, write_episode
from training.export import output_formats
from training.tasks.choose import WorkConfig


@pytest.fixture(scope="module")
def bags(studio, tmp_path_factory):
    """Two sound bags."""
    folder = tmp_path_factory.mktemp("bags")
    for seed in (1, 2):
        studio.record(folder, studio.messages(seconds=1.3, seed=seed))
    return folder


@pytest.fixture
def config(bags, tmp_path):
    return ConvertConfig(bags=bags, output=tmp_path / "data")


def fails(error):
    """A writer that fails at the first episode."""

    def write(path, episode):
        if path.name == "episode_000000.hdf5":
            raise error
        write_episode(path, episode)

    return write


@pytest.mark.parametrize(
    ("error", "told"),
    [
        (OSError(errno.ENOSPC, os.strerror(errno.ENOSPC)), "free space there"),
        (PermissionError(errno.EACCES, os.strerror(errno.EACCES), "/d"), "refused /d (Permission"),
        (OSError(errno.EROFS, os.strerror(errno.EROFS)), "name another --output"),
        (MemoryError(), "not enough memory"),
        (ZeroDivisionError("by chance"), "ZeroDivisionError: by chance: unforeseen"),
    ],
)
def test_any_failure_rejects_its_episode_by_name_and_the_table_is_printed(
    config, monkeypatch, in_this_process, capsys, error, told
):
    monkeypatch.setattr(output_formats, "write_episode", fails(error))
    assert convert(config) == 1
    printed = " ".join(capsys.readouterr().out.replace("│", " ").split())
    assert "1 converted, 0 up to date, 1 rejected" in printed and "episode_000000" in printed
    assert [path.name for path in list_episodes(config.output)] == ["episode_000001.hdf5"]
    assert told in convert_episode(config.bags / "episode_000000", config).reason


def kill_at_the_first(folder, config):
    if folder.name == "episode_000000":
        os.kill(os.getpid(), signal.SIGKILL)
    return convert_episode(folder, config)


def test_a_killed_worker_rejects_the_episode_it_held(config, monkeypatch, capsys):
    monkeypatch.setattr(convert_bags, "convert_episode", kill_at_the_first)
    assert convert(dataclasses.replace(config, work=WorkConfig(jobs=2))) == 1
    printed = " ".join(capsys.readouterr().out.replace("│", " ").split())
    assert "1 converted, 0 up to date, 1 rejected" in printed and "SIGKILL" in printed


def test_a_camera_whose_images_are_all_empty_rejects_its_episode(studio, config, tmp_path, capsys):
    bags = tmp_path / "bags"
    messages = list(studio.messages(seconds=1.3))
    spec = next(m.spec for m in messages if m.spec.name == "cam_high")
    for place, message in enumerate(messages):
        if message.spec is spec:
            image = TYPESTORE.deserialize_cdr(message.data, spec.msgtype)
            empty = dataclasses.replace(image, data=np.zeros(0, np.uint8))
            data = bytes(TYPESTORE.serialize_cdr(empty, spec.msgtype))
            messages[place] = dataclasses.replace(message, data=data)
    studio.record(bags, messages)
    shutil.copytree(config.bags / "episode_000001", bags / "episode_000001")
    assert convert(dataclasses.replace(config, bags=bags)) == 1
    printed = " ".join(capsys.readouterr().out.replace("│", " ").split())
    assert "1 converted, 0 up to date, 1 rejected" in printed and "cam_high" in printed


def test_a_second_converter_on_the_same_output_is_refused(config):
    config.output.mkdir()
    descriptor = os.open(config.output, os.O_RDONLY)
    fcntl.flock(descriptor, fcntl.LOCK_EX)
    try:
        with pytest.raises(UsageError, match="another `ate convert` writes to"):
            convert(config)
    finally:
        os.close(descriptor)
    assert convert(config) == 0


def test_a_file_that_cannot_be_finished_leaves_nothing_behind(
    config, monkeypatch, in_this_process
):
    def refuse(*_):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(episode_file, "_write_images", refuse)
    assert convert(config) == 1
    assert list(config.output.iterdir()) == []


def test_images_are_written_without_being_held(config):
    """An episode in memory and one whose images lie in the bag give the same bytes."""
    assert convert(config) == 0
    path = config.output / "episode_000000.hdf5"
    episode = read_episode(path)
    held = {key: list(images) for key, images in episode.images.items()}
    again = config.output / "held.hdf5"
    write_episode(again, dataclasses.replace(episode, images=held))
    assert again.read_bytes() == path.read_bytes()


@contextmanager
def largest_file(size):
    """A limit on the size of files: at that byte the system refuses every write."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


def test_a_file_that_the_system_cuts_at_any_byte_is_refused_by_name(config):
    """The HDF5 library itself ends the process at some of these bytes."""
    assert convert(config) == 0
    path = config.output / "episode_000000.hdf5"
    episode = dataclasses.replace(read_episode(path), images={})
    target = config.output / "again.hdf5"
    write_episode(target, episode)
    size = target.stat().st_size
    target.unlink()
    before = sorted(config.output.iterdir())
    for limit in range(0, size, max(1, size // 40)):
        with largest_file(limit), pytest.raises(OSError, match="File too large") as refused:
            write_episode(target, episode)
        assert refused.value.errno == errno.EFBIG and "again.hdf5" in refused.value.filename
    assert sorted(config.output.iterdir()) == before


def test_the_others_are_converted_where_one_file_would_be_too_large(studio, config, tmp_path):
    bags = tmp_path / "bags"
    for seconds in (1.3, 4.0):
        studio.record(bags, studio.messages(seconds=seconds, seed=1))
    config = dataclasses.replace(config, bags=bags)
    assert convert(config) == 0
    sizes = [path.stat().st_size for path in list_episodes(config.output)]
    with largest_file(sum(sizes) // 2):
        again = dataclasses.replace(config, overwrite=True)
        assert convert(again) == 1
        told = convert_episode(bags / "episode_000001", again).reason
    assert "File too large" in told and "name another --output" in told
    assert [path.stat().st_size for path in list_episodes(config.output)] == sizes


def test_a_disk_without_room_is_told_before_a_byte_is_written(config, monkeypatch):
    usage = shutil.disk_usage(config.bags)._replace(free=1000)
    monkeypatch.setattr(hdf5_file.shutil, "disk_usage", lambda _: usage)
    config.output.mkdir()
    told = convert_episode(config.bags / "episode_000000", config).reason
    assert "0.0 MB free, it needs" in told and "free space there" in told
    assert list(config.output.iterdir()) == []


@pytest.mark.parametrize(
    ("sound", "bad", "goes_on"), [(3, 1, True), (2, 2, True), (1, 3, False), (0, 2, False)]
)
def test_the_demo_goes_on_while_half_of_its_demonstrations_are_episodes(
    sound, bad, goes_on, studio, tmp_path, capsys
):
    """One rejected demonstration of forty does not lose the other ones."""
    for number in range(sound + bad):
        bag = studio.record(tmp_path / "bags", studio.messages())
        if number >= sound:
            bag_file(bag).write_bytes(b"no bag")
    stages = plan(DemoConfig(demonstrations=sound + bad), tmp_path)[1]
    if goes_on:
        assert _run(stages, tmp_path)
        assert f"goes on with {sound} episodes" in capsys.readouterr().out
    else:
        with pytest.raises(DemoError, match="stage 'convert' ended with code 1"):
            _run(stages, tmp_path)
