"""`ate convert --format lerobot`: from the bag to what pyarrow and PyAV alone read back."""

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
