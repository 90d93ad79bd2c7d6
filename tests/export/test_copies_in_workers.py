"""Copies made side by side, and exports that were stopped."""

from dataclasses import replace

import numpy as np
import pytest
import simplejpeg

from ate_core.errors import EpisodeError, UsageError
from training.configs.output_folder import only_writer
from training.export import act
from training.export.act import ActExport, export_act
from training.export.rdt import RdtExport, export_rdt
from training.export.robotwin import RobotwinExport, export_robotwin
from training.tasks.choose import WorkConfig


@pytest.fixture(scope="module")
def data(studio, tmp_path_factory):
    """Three sound episodes of different length, and a damaged file among them."""
    episodes = [studio.episode(ticks, seed) for seed, ticks in enumerate((6, 9, 4))]
    folder = studio.write(tmp_path_factory.mktemp("copies") / "data", *episodes)
    (folder / "episode_000001.hdf5").rename(folder / "episode_000007.hdf5")
    (folder / "episode_000001.hdf5").write_bytes(b"no HDF5")
    return folder


def contents(folder):
    return {str(p.relative_to(folder)): p.read_bytes() for p in folder.rglob("*") if p.is_file()}


@pytest.mark.parametrize(
    ("kind", "write", "options"),
    [
        (ActExport, export_act, {}),
        (RdtExport, export_rdt, {"drop_joint": 3}),
        (RobotwinExport, export_robotwin, {}),
    ],
)
def test_two_workers_make_the_copies_that_one_makes(data, tmp_path, kind, write, options):
    made = {}
    for jobs in (1, 2):
        config = kind(
            episodes=data,
            output=tmp_path / "copies",
            work=WorkConfig(jobs=jobs),
            overwrite=jobs == 2,
            **options,
        )
        assert write(config) == 1  # the damaged one
        made[jobs] = contents(config.output)
    assert made[1] == made[2]
    assert sum(name.endswith(".hdf5") for name in made[1]) == 3
    assert [path.name for path in tmp_path.iterdir()] == ["copies"]


@pytest.fixture
def stopped(data, tmp_path, monkeypatch, in_this_process):
    """An export that Ctrl-C stopped at its second copy; how to go on with it."""
    config = ActExport(episodes=data, output=tmp_path / "copies")
    original = act._write

    def stop(file, **rest):
        if len(rest["episode"]) == 4:
            raise KeyboardInterrupt
        return original(file, **rest)

    monkeypatch.setattr(act, "_write", stop)
    with pytest.raises(KeyboardInterrupt):
        export_act(config)
    monkeypatch.setattr(act, "_write", original)
    return config


def test_a_stopped_export_goes_on_where_it_was(stopped, data, tmp_path):
    assert not stopped.output.exists()
    parts = tmp_path / ".copies.partial" / ".parts"
    first = (parts / "episode_000000.hdf5").stat().st_ino
    assert [path.name for path in parts.iterdir()] == ["episode_000000.hdf5"]
    assert export_act(stopped) == 1
    assert (stopped.output / "episode_0.hdf5").stat().st_ino == first
    whole = replace(stopped, output=tmp_path / "whole")
    export_act(whole)
    again, once = contents(stopped.output), contents(whole.output)
    assert {name: again[name] for name in again if name.endswith("hdf5")} == {
        name: once[name] for name in once if name.endswith("hdf5")
    }


def test_what_a_stopped_export_left_is_not_taken_for_other_options(stopped, tmp_path):
    first = (tmp_path / ".copies.partial" / ".parts" / "episode_000000.hdf5").stat().st_ino
    assert export_act(replace(stopped, length=5)) == 1
    assert (stopped.output / "episode_0.hdf5").stat().st_ino != first


def test_a_second_export_into_one_folder_is_refused(data, tmp_path):
    working = tmp_path / ".copies.partial"
    working.mkdir()
    with only_writer(working, "held"), pytest.raises(UsageError, match="another export writes"):
        export_act(ActExport(episodes=data, output=tmp_path / "copies"))


def test_pictures_of_another_size_than_those_of_the_first_are_rejected_for_act(
    studio, tmp_path, capsys, in_this_process
):
    def sized(seed, height):
        jpeg = simplejpeg.encode_jpeg(np.zeros((height, 64, 3), np.uint8), 90, "RGB")
        episode = studio.episode(4, seed)
        return replace(episode, images={key: [jpeg] * 4 for key in episode.images})

    data = studio.write(tmp_path / "data", sized(0, 48), sized(1, 48), sized(2, 32))
    config = ActExport(episodes=data, output=tmp_path / "copies")
    assert export_act(config) == 1
    said = " ".join(capsys.readouterr().out.replace("│", " ").split())
    assert "its pictures are 64x32, others 64x48" in said and "--size HEIGHT WIDTH" in said
    assert export_act(replace(config, size=(24, 24), overwrite=True)) == 0
    (data / "episode_000001.hdf5").unlink()
    with pytest.raises(EpisodeError, match="1 episodes are left"):
        export_act(replace(config, overwrite=True))
