"""`ate convert --format lerobot`: from the bag to what pyarrow and PyAV alone read back."""

import json
import shutil

import numpy as np
import pytest
import simplejpeg

from ate_bringup import cli
from ate_core.contract import load_cell
from benchmarks import conversion
from benchmarks.conversion import LOOKS, START_NS, _picture, make_bag
from training.configs.convert import ConvertConfig
from training.export import lerobot_folder
from training.export.lerobot_part import FORMAT

SECONDS = 2.0
CELL = load_cell(None, "sim")


@pytest.fixture(scope="module")
def written(tmp_path_factory):
    """Two bags, and the set that the command makes of them."""
    folder = tmp_path_factory.mktemp("lerobot")
    first = make_bag(folder / "bags" / "episode_000000", SECONDS, "sim")
    second = folder / "bags" / "episode_000001"
    second.mkdir()
    for file in first.iterdir():
        shutil.copy(file, second / file.name.replace("000000", "000001"))
    words = ["convert", "--bags", folder / "bags", "--output", folder / "set"]
    assert cli.main([*map(str, words), "--format", "lerobot", "--jobs", "2"]) == 0
    return folder / "set"


@pytest.fixture
def copy(written, tmp_path, in_this_process):
    """A folder with the bags and the set, to change."""
    shutil.copytree(written.parent, tmp_path / "copy")
    return tmp_path / "copy"


def convert(folder, bags, *options):
    words = ["convert", "--bags", folder / bags, "--output", folder / "set"]
    return cli.main([*map(str, words), "--format", "lerobot", *options])


def held(folder):
    """Numbers of the episodes in the set, and of their parts."""
    count = json.loads((folder / "set" / "meta" / "info.json").read_text())["total_episodes"]
    names = list(json.loads((folder / "set" / "meta" / "ate.json").read_text())["episodes"])
    assert len(names) == count
    return names, sorted(path.name for path in (folder / "set.parts").glob("episode_*"))


BOTH = ["episode_000000", "episode_000001"]


def test_one_bag_is_added_to_the_others_of_a_set(copy, capsys):
    assert convert(copy, "bags/episode_000001") == 0
    assert held(copy) == (BOTH, BOTH)
    shutil.rmtree(copy / "set.parts" / "episode_000000")
    capsys.readouterr()
    assert convert(copy, "bags/episode_000001") == 1
    told = capsys.readouterr().err
    assert "holds episode_000000, whose parts in" in told and "name the folder" in told
    assert held(copy)[0] == BOTH
    assert convert(copy, "bags") == 0
    assert held(copy) == (BOTH, BOTH)


def test_one_bag_that_does_not_fit_puts_no_other_out_of_the_set(copy, capsys):
    assert convert(copy, "bags/episode_000000", "--video.codec", "h264") == 1
    assert "give it a set" in " ".join(capsys.readouterr().out.replace("│", " ").split())
    assert held(copy)[0] == ["episode_000001"]


def test_a_set_of_bags_elsewhere_is_not_emptied(copy, capsys):
    (copy / "archive").mkdir()
    (copy / "bags" / "episode_000000").rename(copy / "archive" / "episode_000000")
    assert convert(copy, "bags") == 1
    told = capsys.readouterr().err
    assert "holds episode_000000, which" in told and "they would leave the set" in told
    assert f"delete {copy / 'set'}" in told
    assert held(copy) == (BOTH, BOTH)
    shutil.rmtree(copy / "set")
    assert convert(copy, "bags") == 0
    assert held(copy) == (["episode_000001"], ["episode_000001"])


def test_an_episode_whose_bag_was_discarded_leaves_the_set_by_name(copy, capsys):
    bag = copy / "bags" / "episode_000001"
    bag.rename(bag.with_name(f"{bag.name}.discarded"))
    assert convert(copy, "bags") == 0
    assert "its bag was discarded" in " ".join(capsys.readouterr().out.replace("│", " ").split())
    assert held(copy) == (["episode_000000"], ["episode_000000"])


def test_an_episode_whose_discarded_bag_was_deleted_leaves_the_set_on_demand(
    copy, capsys, monkeypatch
):
    monkeypatch.setenv("COLUMNS", "600")
    part = copy / "set.parts" / "episode_000000" / "part.json"
    before = part.stat().st_mtime_ns
    bag = copy / "bags" / "episode_000001"
    bag.rename(bag.with_name(f"{bag.name}.discarded"))
    assert cli.main(["episode", "trash", "empty", "--yes", "--bags", str(bag.parent)]) == 0
    assert convert(copy, "bags") == 1
    assert "take them out of it with --drop-missing" in capsys.readouterr().err
    assert convert(copy, "bags/episode_000000", "--drop-missing") == 0
    assert held(copy)[0] == BOTH, "one bag never takes others out"
    assert convert(copy, "bags", "--drop-missing") == 0
    told = capsys.readouterr().out
    assert "episode_000001" in told and "it has left the set" in told and "1 up to date" in told
    assert held(copy) == (["episode_000000"], ["episode_000000"])
    assert part.stat().st_mtime_ns == before, "nothing is encoded anew"
    assert convert(copy, "bags") == 0


def test_files_whose_bags_are_gone_are_named(copy, capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", "600")
    words = ["convert", "--bags", str(copy / "bags"), "--output", str(copy / "files")]
    assert cli.main(words) == 0
    assert "bags lacks" not in capsys.readouterr().out
    shutil.rmtree(copy / "bags" / "episode_000001")
    assert cli.main(words) == 0
    told = capsys.readouterr().out
    assert "episode_000001, of which" in told and "ate episodes delete" in told
    assert (copy / "files" / "episode_000001.hdf5").is_file()
    assert cli.main([*words, "--drop-missing"]) == 1
    assert "--drop-missing is of --format lerobot" in capsys.readouterr().err


def look_at(stamp_ns, rate):
    """Which message of a stream is the newest at a moment."""
    return int((stamp_ns - START_NS) * rate / 1e9 + 1e-6) % LOOKS


def test_the_set_holds_every_tick_with_the_joints_that_were_measured_then(written, studio):
    reader = studio.reader(written)
    assert reader.info["codebase_version"] == "v3.0" and reader.info["total_episodes"] == 2
    names = reader.info["features"]["observation.state"]["names"]
    columns = [names.index(f"left_arm_{joint}") for joint in range(1, 8)]
    for index in range(2):
        rows = reader.rows(index)
        assert len(rows["stamp_ns"]) == pytest.approx(SECONDS * CELL.tick_rate, abs=2)
        assert set(np.diff(rows["stamp_ns"])) == {round(1e9 / CELL.tick_rate)}
        for stamp_ns, state in zip(rows["stamp_ns"], rows["observation.state"], strict=True):
            phase = look_at(stamp_ns, 100) * 2 * np.pi / LOOKS
            told = np.array(CELL.arms["left"].home) + 0.05 * np.sin(phase + np.arange(7))
            np.testing.assert_allclose(state[columns], told, atol=1e-6)


def test_every_frame_is_the_picture_that_the_camera_had_sent(written, studio):
    reader = studio.reader(written)
    cameras = {f"observation.images.{camera.key}": camera for camera in CELL.cameras.values()}
    assert sorted(reader.cameras) == sorted(cameras)
    stamps = reader.rows(1)["stamp_ns"]
    for key, camera in cameras.items():
        frames = reader.frames(1, key)
        assert len(frames) == len(stamps)
        for stamp_ns, frame in list(zip(stamps, frames, strict=True))[::7]:
            phase = look_at(stamp_ns, round(camera.fps)) * 2 * np.pi / LOOKS
            sent = simplejpeg.decode_jpeg(_picture(camera.width, camera.height, phase), "RGB")
            error = np.mean((frame.astype(float) - sent) ** 2)
            assert 10 * np.log10(255**2 / error) > 30.0


@pytest.mark.usefixtures("in_this_process")
def test_another_version_of_the_parts_makes_every_episode_anew(tmp_path, capsys, monkeypatch):
    make_bag(tmp_path / "bags" / "episode_000000", SECONDS, "sim")
    words = ["convert", "--bags", tmp_path / "bags", "--output", tmp_path / "set"]
    for version, said in ((FORMAT, "1 converted"), (FORMAT, "1 up to date"), (99, "1 converted")):
        monkeypatch.setattr(lerobot_folder, "FORMAT", version)
        assert cli.main([*map(str, words), "--format", "lerobot", "--jobs", "1"]) == 0
        assert said in capsys.readouterr().out
    hdf5 = ConvertConfig(bags=tmp_path, output=tmp_path)
    assert "lerobot" not in hdf5.options_text()


def test_bags_of_cells_that_training_would_not_mix_do_not_become_one_set(
    studio, tmp_path, capsys, monkeypatch
):
    monkeypatch.setenv("COLUMNS", "600")
    cells = (studio.cell, studio.with_an_arm_moved(), studio.with_wrists_exchanged())
    for index, cell in enumerate(cells):
        monkeypatch.setattr(conversion, "load_cell", lambda *_, cell=cell: cell)
        make_bag(tmp_path / "bags" / f"episode_{index:06d}", SECONDS, "sim")
    words = ["convert", "--bags", tmp_path / "bags", "--output", tmp_path / "set"]
    assert cli.main([*map(str, words), "--format", "lerobot", "--jobs", "1"]) == 1
    told = capsys.readouterr().out
    assert "have exchanged serials since episode_000000" in told and "left arm: stands at" in told
    assert studio.reader(tmp_path / "set").info["total_episodes"] == 2
