"""Recordings of other robots become episodes with their images; what is wrong is rejected."""

import dataclasses
import os
import shutil
from pathlib import Path

import av
import h5py
import numpy as np
import pyarrow.parquet
import pytest
import simplejpeg

from ate_bringup.doctor.checkpoint import look_at_checkpoint
from ate_bringup.doctor.finding import Patient
from ate_core.errors import DiskError, LayoutError, UsageError
from ate_policy.checkpoint import load_checkpoint
from ate_policy.policy import load_policy
from training.data import disk_room
from training.data.episode_file import read_episode
from training.data.pretraining import read_recordings
from training.data.set_files import label_file
from training.finetune import finetune
from training.foreign.hdf5_set import Hdf5Set
from training.foreign.importer import make_importer
from training.foreign.mapping import CameraSource, read_mapping
from training.import_recordings import ImportConfig, import_episode, import_recordings
from training.tasks.choose import WorkConfig

_WHOLE = simplejpeg.encode_jpeg(np.zeros((64, 96, 3), np.uint8), 95, "RGB")
HALF = _WHOLE[: len(_WHOLE) // 2]
RECORDINGS = Path(os.environ.get("ATE_RECORDINGS", "recordings")) / "g1_two_arm"


@pytest.fixture
def bring(tmp_path, cell):
    """Import a folder by a mapping text; returns one report per episode, and the output."""

    def bring(folder, mapping):
        file, output = tmp_path / "mapping.yaml", tmp_path / "episodes"
        file.write_text(mapping)
        output.mkdir(exist_ok=True)
        config = ImportConfig(recordings=folder, mapping=file, output=output)
        importer = make_importer(folder, read_mapping(file), cell)
        names = importer.recordings.names()
        return [import_episode(importer, index, config) for index in range(len(names))], output

    return bring


@pytest.mark.parametrize("codec", ["libx264", "libsvtav1"])
@pytest.mark.parametrize("version", ["v2.1", "v3.0"])
def test_every_tick_has_the_row_and_the_frame_of_its_time(tmp_path, bring, others, version, codec):
    write = others.write_v2 if version == "v2.1" else others.write_v3
    reports, output = bring(write(tmp_path / "set", codec=codec), others.mapping)
    assert [report.result for report in reports] == ["imported"] * len(reports)
    for number in range(len(reports)):
        episode = read_episode(output / f"episode_{number:06d}.hdf5")
        rows = others.motion(len(episode), number)
        np.testing.assert_allclose(episode.state, rows, atol=1e-6)
        np.testing.assert_allclose(episode.action, rows + 0.01, atol=1e-6)
        shown = [others.seen(jpeg) for jpeg in episode.images["cam_high"]]
        wanted = [others.grey(row, number) for row in range(len(episode))]
        np.testing.assert_allclose(shown, wanted, atol=2.5)
        assert (episode.task, episode.source) == ("put it down", f"set/episode {number}")


def test_rows_at_another_rate_are_interpolated_and_images_held(tmp_path, bring, others):
    folder = others.write_v2(tmp_path / "set", lengths=(31,), rate=30)
    (report,), output = bring(folder, others.mapping)
    assert report.result == "imported"
    episode = read_episode(output / report.file)
    seconds = np.arange(21)[: len(episode)] / 20.0
    assert len(episode) == 20  # row 30, and its action one row later, at 1.03 s
    first = others.motion(1)[0]
    np.testing.assert_allclose(episode.state, first + 0.1 * seconds[:, None], atol=1e-6)
    # the action of a row holds one row later: that of tick k at (k + 1) / 20 - 1 / 30 s
    reached = first + 0.01 + 0.1 * (seconds[:, None] + 1 / 20 - 1 / 30)
    np.testing.assert_allclose(episode.action, reached, atol=1e-6)
    shown = [others.seen(jpeg) for jpeg in episode.images["cam_high"]]
    wanted = [others.grey(int(tick * 1.5)) for tick in range(20)]
    np.testing.assert_allclose(shown, wanted, atol=2.5)
    assert episode.rules == {"joints": "interpolate", "grippers": "interpolate", "images": "hold"}
    np.testing.assert_allclose(episode.ages["cam_high"][:4], [0.0, 1 / 60, 0.0, 1 / 60], atol=1e-6)


def test_an_episode_of_another_folder_is_not_replaced(tmp_path, bring, others, cell):
    folder = others.write_v2(tmp_path / "set", lengths=(24,))
    bring(folder, others.mapping)
    folder.rename(tmp_path / "other")
    (report,), output = bring(tmp_path / "other", others.mapping + "instruction: take it\n")
    assert report.result == "rejected" and "or --overwrite" in report.reason
    assert "(set/episode 0, this one is other/episode 0)" in report.reason
    assert read_episode(output / report.file).instruction == "put it down"
    label_file(output / report.file).write_text('{"outcome": "knocked over"}')
    make_importer(tmp_path / "other", read_mapping(tmp_path / "mapping.yaml"), cell).write(
        0, output / report.file, overwrite=True
    )
    episode = read_episode(output / report.file)
    assert (episode.instruction, episode.outcome) == ("take it", "success")


def test_a_file_that_is_no_episode_of_ours_is_not_replaced(tmp_path, bring, others):
    folder = others.write_aloha(tmp_path / "set", "raw")
    place = tmp_path / "episodes" / "episode_000000.hdf5"
    place.parent.mkdir()
    (file,) = folder.glob("*.hdf5")
    shutil.copy(file, place)
    (report,), _ = bring(folder, ALOHA)
    assert report.result == "rejected" and "is no episode of this project" in report.reason
    assert place.read_bytes() == file.read_bytes()
    assert [path.name for path in place.parent.iterdir()] == [place.name]


@pytest.mark.parametrize("split", ["", "train"])
def test_recordings_are_not_imported_into_their_own_folder(tmp_path, others, split):
    folder = others.write_aloha(tmp_path / "set", "raw")
    (file,) = folder.glob("*.hdf5")
    place = folder / split
    place.mkdir(exist_ok=True)
    file = file.rename(place / "episode_000000.hdf5")
    before = file.read_bytes()
    (tmp_path / "mapping.yaml").write_text(ALOHA)
    for overwrite in (False, True):
        config = ImportConfig(
            recordings=folder,
            mapping=tmp_path / "mapping.yaml",
            output=place,
            overwrite=overwrite,
        )
        with pytest.raises(UsageError, match="holds the recordings themselves"):
            import_recordings(config)
    assert [path.name for path in place.iterdir()] == [file.name] and file.read_bytes() == before


def test_images_that_lie_in_a_table_are_read_from_there(tmp_path, bring, others):
    folder = others.write_v2(tmp_path / "set", lengths=(24,))
    others.put_into_table(folder)
    (report,), output = bring(folder, others.mapping)
    assert (report.result, report.reason) == ("imported", "")
    images = read_episode(output / report.file).images["cam_high"]
    wanted = [others.grey(row) for row in range(24)]
    np.testing.assert_allclose([others.seen(jpeg) for jpeg in images], wanted, atol=1.0)


@pytest.mark.parametrize("form", ["raw", "padded", "bytes"])
def test_files_of_aloha_are_read_in_each_form_of_their_images(tmp_path, bring, others, form):
    folder = others.write_aloha(tmp_path / "set", form)
    (report,), output = bring(folder, ALOHA)
    assert (report.result, report.reason) == ("imported", "")
    episode = read_episode(output / report.file)
    assert episode.instruction == "open it"
    assert not episode.state[:, [6, 14]].any()  # joints that the body lacks
    np.testing.assert_allclose(episode.state[0, :6], np.arange(6) / 100.0, atol=1e-6)
    shown = [others.seen(jpeg) for jpeg in episode.images["cam_high"]]
    wanted = [others.grey(int(tick * 2.5)) for tick in range(len(episode))]
    np.testing.assert_allclose(shown, wanted, atol=2.5)


ALOHA = """
body: ALOHA
rate: 50
action_is: target
instruction: open it
state:
  feature: observations/qpos
  fields: &fields
    left_arm: {columns: [0, 1, 2, 3, 4, 5, null]}
    left_gripper: {columns: [6], unit: ratio}
    right_arm: {columns: [7, 8, 9, 10, 11, 12, null]}
    right_gripper: {columns: [13], unit: ratio}
action: {feature: action, fields: *fields}
cameras:
  cam_high: {feature: observations/images/cam_high}
"""


def test_one_bad_episode_never_ends_an_import(tmp_path, bring, others):
    """Broken, short and missing videos, a lost table, rows cut out, NaN, other joint orders."""
    folder = others.write_v2(tmp_path / "set", lengths=(24,) * 9)
    videos = folder / "videos" / "chunk-000" / others.camera
    tables = folder / "data" / "chunk-000"
    data = bytearray((videos / "episode_000000.mp4").read_bytes())
    data[len(data) // 3 : len(data) // 2] = bytes(len(data) // 2 - len(data) // 3)
    (videos / "episode_000000.mp4").write_bytes(data)
    others.encode(videos / "episode_000001.mp4", [others.picture(row) for row in range(20)])
    (videos / "episode_000002.mp4").unlink()
    (tables / "episode_000003.parquet").unlink()
    cut = pyarrow.parquet.read_table(tables / "episode_000004.parquet")
    kept = cut.take([*range(10), *range(12, 24)])
    pyarrow.parquet.write_table(kept, tables / "episode_000004.parquet")
    rows = others.motion(24, 5)
    rows[7, 3] = np.nan
    others.table(tables / "episode_000005.parquet", {5: rows})
    wide = others.motion(24, 6)[:, :14]
    others.table(tables / "episode_000006.parquet", {6: wide})
    rows = others.motion(24, 7)
    rows[:, 0] += 1.0
    others.table(
        tables / "episode_000007.parquet", {7: rows}, commanded=rows[:, [1, 0, *range(2, 16)]]
    )

    reports, output = bring(folder, others.mapping)
    reasons = [report.reason for report in reports]
    for index, pattern in enumerate(
        (
            "episode_000000.mp4",
            "has 20 frames for 24 rows",
            "episode_000002.mp4 is missing",
            "episode_000003.parquet cannot be read",
            "has 22 rows of episode 4, meta says 24",
            "left_joint4 is nan in row 7",
            "rows of 14 numbers, info.json says 16",
            "the action of left_arm_1 is 0.99 rad from its state",
        )
    ):
        assert reports[index].result == "rejected"
        assert pattern in reasons[index]
    assert reports[8].result == "imported"
    assert [path.name for path in output.iterdir()] == ["episode_000008.hdf5"]


def test_a_table_whose_bytes_changed_is_told_by_its_checksums(tmp_path, bring, others):
    folder = others.write_v2(tmp_path / "set", lengths=(24,))
    path = next(folder.glob("data/*/*.parquet"))
    data = bytearray(path.read_bytes())
    data[600:604] = b"\x00\x01\x02\x03"
    path.write_bytes(data)
    (report,), _ = bring(folder, others.mapping)
    assert report.result == "rejected" and "CRC" in report.reason


def test_a_shared_video_that_ends_early_costs_the_episodes_behind_its_end(tmp_path, bring, others):
    folder = others.write_v3(tmp_path / "set", lengths=(24, 24, 24))
    video = next(folder.glob("videos/*/*/*.mp4"))
    others.encode(video, [others.picture(row % 24, row // 24) for row in range(60)])
    reports, _ = bring(folder, others.mapping)
    assert [report.result for report in reports] == ["imported", "imported", "rejected"]
    assert "has no frame at 3.000 s (it ends before" in reports[2].reason


@pytest.mark.parametrize("broken", [b"", HALF, b"\x89PNG\r\n\x1a\nhalf", bytes(range(99))])
def test_bytes_that_are_no_whole_picture_reject_their_episode(tmp_path, bring, others, broken):
    path = others.write_aloha(tmp_path / "set", "bytes") / "episode_0.hdf5"
    with h5py.File(path, "a") as file:
        file["observations/images/cam_high"][10] = broken
    (report,), output = bring(path.parent, ALOHA)
    assert report.result == "rejected" and not list(output.iterdir())
    assert "cam_high, row 10: " in report.reason and "no whole picture" in report.reason


def test_swapped_colours_are_put_right(tmp_path, bring, others):
    folder = others.write_aloha(tmp_path / "set", "bytes")
    blue = np.zeros((64, 96, 3), np.uint8)
    blue[..., 2] = 200
    swapped = simplejpeg.encode_jpeg(blue, 95, "BGR")
    with h5py.File(folder / "episode_0.hdf5", "a") as file:
        del file["observations/images/cam_high"]
        file["observations/images/cam_high"] = np.array([swapped] * 24, f"S{len(swapped)}")
    _, output = bring(folder, ALOHA.replace("cam_high}", "cam_high, colour: bgr}"))
    jpeg = read_episode(output / "episode_000000.hdf5").images["cam_high"][0]
    red, _, other = simplejpeg.decode_jpeg(jpeg, "RGB").mean(axis=(0, 1))
    assert red < 10 and other > 190


def test_a_file_that_breaks_in_an_unknown_way_is_rejected_by_name(
    tmp_path, bring, others, monkeypatch
):
    from training.foreign import importer

    def write(path, episode):
        if path.name == "episode_000000.hdf5":
            raise OSError(28, "No space left on device", str(path))
        original(path, episode)

    original = importer.write_episode
    monkeypatch.setattr(importer, "write_episode", write)
    reports, _ = bring(others.write_v2(tmp_path / "set"), others.mapping)
    assert [report.result for report in reports] == ["rejected", "imported"]
    assert "No space left" in reports[0].reason


def test_what_is_up_to_date_is_not_imported_again(tmp_path, bring, others):
    folder = others.write_v3(tmp_path / "set")
    reports, output = bring(folder, others.mapping)
    before = [path.read_bytes() for path in sorted(output.iterdir())]
    reports, _ = bring(folder, others.mapping)
    assert {report.result for report in reports} == {"up to date"}
    for path in output.iterdir():
        path.unlink()
    bring(folder, others.mapping)
    assert [path.read_bytes() for path in sorted(output.iterdir())] == before
    reports, _ = bring(folder, others.mapping.replace("Two Arms", "Other Arms"))
    assert {report.result for report in reports} == {"imported"}


def test_two_processes_import_what_one_does(tmp_path, others, capsys):
    folder = others.write_v3(tmp_path / "set")
    (tmp_path / "mapping.yaml").write_text(others.mapping)
    config = ImportConfig(
        recordings=folder, mapping=tmp_path / "mapping.yaml", output=tmp_path / "one"
    )
    assert import_recordings(config) == 0
    two = dataclasses.replace(config, output=tmp_path / "two", work=WorkConfig(jobs=2))
    assert import_recordings(two) == 0
    assert "3 imported" in capsys.readouterr().out
    for path in config.output.iterdir():
        assert (two.output / path.name).read_bytes() == path.read_bytes()


def test_the_command_says_how_many_and_why(tmp_path, others, capsys):
    folder = others.write_v2(tmp_path / "set")
    for video in folder.glob("videos/*/*/*.mp4"):
        video.unlink()
    (tmp_path / "mapping.yaml").write_text(others.mapping)
    config = ImportConfig(
        recordings=folder, mapping=tmp_path / "mapping.yaml", output=tmp_path / "out"
    )
    assert import_recordings(config) == 1
    printed = capsys.readouterr().out
    assert "0 imported, 0 up to date, 2 rejected" in printed
    assert "episode 0, episode 1" in printed


def test_a_policy_learns_from_imported_images_before_it_learns_our_cell(
    tmp_path, bring, others, cell, write_own
):
    from training.configs.finetune import FinetuneConfig, ImageOptions, OptimOptions

    folder = others.write_v3(tmp_path / "set", lengths=(40, 40))
    _, output = bring(folder, others.mapping)
    config = FinetuneConfig(
        episodes=output,
        output=tmp_path / "theirs",
        variant="vision",
        steps=1,
        optim=OptimOptions(batch=8),
        images=ImageOptions(cameras=("cam_high",)),
    )
    assert finetune(config) == 0
    contract = load_checkpoint(config.output).cell
    assert contract.name == "foreign_two_arms" and not contract.operators
    assert contract.arms["left"].joint_names[0] == "left_joint1"
    alike = dataclasses.replace(cell, cameras={"overhead": cell.cameras["overhead"]})
    with pytest.raises(LayoutError, match=r"learned from foreign_two_arms.*--init"):
        load_policy(config.output, alike)
    found = list(look_at_checkpoint(Patient(hardware="sim", checkpoint=config.output)))
    assert any("learned from foreign_two_arms" in str(finding) for finding in found)

    own = dataclasses.replace(
        config, episodes=write_own(tmp_path / "own"), output=tmp_path / "ours", init=config.output
    )
    assert finetune(own) == 0
    assert load_policy(own.output, cell).config.cameras == ("cam_high",)


def test_imported_motion_trains_the_action_vae(tmp_path, bring, others, cell):
    _, output = bring(others.write_v2(tmp_path / "set"), others.mapping)
    assert [len(motion) for motion in read_recordings(output, cell).motions] == [24, 30]


@pytest.mark.skipif(not RECORDINGS.is_dir(), reason="no recordings: set ATE_RECORDINGS")
def test_the_real_recordings_are_imported_with_the_one_video_they_have(tmp_path, cell):
    from training.foreign.importer import open_recordings
    from training.foreign.proposal import propose

    file = tmp_path / "mapping.yaml"
    file.write_text(propose(open_recordings(RECORDINGS), cell).text)
    importer = make_importer(RECORDINGS, read_mapping(file), cell)
    config = ImportConfig(recordings=RECORDINGS, mapping=file, output=tmp_path)
    reports = [import_episode(importer, index, config) for index in (1, 2)]
    assert [report.result for report in reports] == ["rejected", "imported"]
    assert "is missing" in reports[0].reason
    episode = read_episode(tmp_path / reports[1].file)
    assert len(episode) == 228  # 343 rows at 30 Hz
    with av.open(str(next(RECORDINGS.glob("videos/*/*/episode_000002.mp4")))) as container:
        frames = [frame.to_ndarray(format="rgb24") for frame in container.decode(video=0)]
    for tick in (0, 101, len(episode) - 1):
        image = simplejpeg.decode_jpeg(episode.images["cam_high"][tick], "RGB")
        wanted = frames[int(tick * 1.5)]
        assert np.abs(image.astype(int) - wanted).mean() < 1.0


def test_an_import_that_cannot_fit_is_refused_before_a_byte_is_written(
    tmp_path, others, monkeypatch
):
    file = tmp_path / "mapping.yaml"
    file.write_text(others.mapping)
    sets = {"lerobot": others.write_v3(tmp_path / "set"), "hdf5": tmp_path / "files"}
    rows = 80  # at another rate: 40 ticks
    sets["hdf5"].mkdir()
    for name in ("raw", "jpegs"):
        with h5py.File(sets["hdf5"] / f"{name}_0.hdf5", "w") as target:
            target["top"] = np.zeros((rows, 64, 96, 3), np.uint8)
            target["side"] = np.full((rows, 2000), 7, np.uint8)
    cameras = {"cam_high": CameraSource(feature="top"), "cam_low": CameraSource(feature="side")}
    mapping = dataclasses.replace(read_mapping(file), cameras=cameras, rate=40.0)
    least = Hdf5Set(sets["hdf5"]).least_jpegs(0, mapping, 20.0)
    assert least == round(40 * (0.05 * 64 * 96 + 0.3 * 2000))
    config = ImportConfig(recordings=sets["lerobot"], mapping=file, output=tmp_path / "out")
    monkeypatch.setattr(disk_room, "free_room", lambda _: 1_000)
    with pytest.raises(DiskError, match=r"pictures need about \d.*has 0.0 MB free: free space"):
        import_recordings(config)
    assert not list(config.output.iterdir())
