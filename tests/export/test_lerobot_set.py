"""`ate export lerobot`: what is read back by a reader that shares no code with the writer."""

import json
import shutil
from dataclasses import replace

import numpy as np
import pytest

from ate_core.errors import EpisodeError, UsageError
from training.audit.gate import OPEN
from training.data.episode_file import write_episode
from training.data.lerobot_tables import read_actions
from training.data.recording import Recording
from training.data.set_files import label_file
from training.episodes.copying import export_set
from training.export import lerobot_part, lerobot_set
from training.export.camera_video import VideoConfig
from training.export.lerobot import LerobotExport, export_lerobot
from training.export.lerobot_folder import LerobotFolder
from training.export.lerobot_part import read_part
from training.export.lerobot_set import FileSizes, aside_of, write_set

pytestmark = pytest.mark.usefixtures("in_this_process")
LENGTHS = (11, 16, 7)
SQUARE = 60.0
"""How far a colour may be off after encoding, in steps of 255."""


@pytest.fixture(scope="module")
def episodes(studio):
    texts = ("put the bun on the plate", "tidy up", "put the bun on the plate")
    return [
        studio.episode(ticks, seed, instruction=text)
        for seed, (ticks, text) in enumerate(zip(LENGTHS, texts, strict=True))
    ]


@pytest.fixture(scope="module")
def exported(studio, episodes, tmp_path_factory):
    folder = tmp_path_factory.mktemp("lerobot")
    studio.write(folder / "data", *episodes)
    assert export_lerobot(LerobotExport(episodes=folder / "data", output=folder / "set")) == 0
    return folder


@pytest.fixture
def copy(exported, tmp_path):
    """The folder above, to change."""
    shutil.copytree(exported, tmp_path / "copy")
    return tmp_path / "copy"


def run(folder, **options):
    return export_lerobot(
        LerobotExport(episodes=folder / "data", output=folder / "set", **options)
    )


def made(folder):
    """When each part was written."""
    return {path.parent.name: path.stat().st_mtime_ns for path in folder.rglob("part.json")}


def require_pictures(reader, index, studio, ticks):
    """Every frame shows the square of its tick in its camera's colour."""
    for camera, colour in zip(reader.cameras, studio.colours, strict=True):
        frames = reader.frames(index, camera)
        assert len(frames) == ticks
        for tick, frame in enumerate(frames):
            wanted = studio.picture(tick, colour).astype(float)
            assert np.abs(frame - wanted).mean() < 5.0
            assert np.abs(frame[32, 2 * tick + 8] - np.array(colour)).max() < SQUARE


def test_an_independent_reader_finds_every_vector_and_stamp(studio, exported, episodes):
    reader, start = studio.reader(exported / "set"), 0
    assert reader.info["codebase_version"] == "v3.0" and reader.info["fps"] == 20
    assert reader.info["total_frames"] == sum(LENGTHS)
    for index, episode in enumerate(episodes):
        rows = reader.rows(index)
        np.testing.assert_array_equal(rows["observation.state"], episode.state)
        np.testing.assert_array_equal(rows["action"], episode.action)
        np.testing.assert_array_equal(rows["observation.wrench"], episode.wrench)
        np.testing.assert_array_equal(rows["stamp_ns"], episode.timestamps_ns)
        np.testing.assert_array_equal(rows["commanded_by"], episode.commanders)
        np.testing.assert_allclose(rows["timestamp"], np.arange(len(episode)) / 20, atol=1e-6)
        np.testing.assert_array_equal(rows["index"], start + np.arange(len(episode)))
        assert {reader.tasks[task] for task in rows["task_index"]} == {episode.instruction}
        start += len(episode)
    assert sorted(reader.tasks.values()) == ["put the bun on the plate", "tidy up"]


def test_an_independent_reader_finds_the_picture_of_every_tick(exported, studio):
    reader = studio.reader(exported / "set")
    assert [camera.split(".")[-1] for camera in reader.cameras] == sorted(
        camera.key for camera in studio.cell.cameras.values()
    )
    for index, ticks in enumerate(LENGTHS):
        require_pictures(reader, index, studio, ticks)


def test_columns_carry_the_names_of_the_joints(exported, studio):
    features = studio.reader(exported / "set").info["features"]
    assert features["action"]["names"] == list(studio.cell.layout.action.names)
    assert features["environment"]["names"][:2] == ["bun_x", "bun_y"]
    assert features["observation.wrench"]["names"][0] == "left_force_x"


def test_velocities_carry_the_names_of_their_arms_whatever_the_order_of_the_state(
    studio, tmp_path
):
    fields = studio.cell.vectors.state
    turned = replace(studio.cell.vectors, state=fields[2:] + fields[:2])
    cell = replace(studio.cell, vectors=turned)
    studio.write(tmp_path / "data", studio.episode(7, cell=cell))
    assert run(tmp_path) == 0
    names = studio.reader(tmp_path / "set").info["features"]["observation.velocity"]["names"]
    assert (names[0], names[-1]) == ("left_arm_1", "right_arm_7")


def test_statistics_are_those_of_all_values(studio, exported, episodes):
    reader = studio.reader(exported / "set")
    values = np.concatenate([episode.action for episode in episodes]).astype(float)
    stats = reader.stats["action"]
    np.testing.assert_allclose(stats["mean"], values.mean(axis=0), atol=1e-6)
    np.testing.assert_allclose(stats["std"], values.std(axis=0), atol=1e-6)
    np.testing.assert_allclose(stats["max"], values.max(axis=0), atol=1e-6)
    assert stats["count"] == [sum(LENGTHS)]
    for name, share in (("q01", 0.01), ("q50", 0.5), ("q99", 0.99)):
        np.testing.assert_array_equal(
            stats[name], np.quantile(values.astype(np.float32).astype(float), share, axis=0)
        )
    first = reader.episodes[0]
    np.testing.assert_allclose(
        first["stats/action/q90"], np.quantile(episodes[0].action.astype(float), 0.9, axis=0)
    )
    assert np.shape(reader.stats[reader.cameras[0]]["mean"]) == (3, 1, 1)
    grey = 90 / 255
    assert abs(reader.stats[reader.cameras[0]]["q10"][1][0][0] - 40 / 255) < 0.03
    assert abs(reader.stats[reader.cameras[0]]["q50"][0][0][0] - grey) < 0.03


def test_a_full_file_is_followed_by_the_next_one_and_a_full_folder_by_the_next(
    exported, studio, episodes, tmp_path
):
    parts = [read_part(exported / "set.parts" / f"episode_{i:06d}") for i in range(3)]
    sizes = FileSizes(data_mb=0, video_mb=0, files_per_chunk=2)
    write_set(tmp_path / "set", parts, tmp_path / "working", sizes)
    assert (tmp_path / "set" / "data" / "chunk-001" / "file-000.parquet").is_file()
    reader = studio.reader(tmp_path / "set")
    for index, episode in enumerate(episodes):
        np.testing.assert_array_equal(reader.rows(index)["action"], episode.action)
        require_pictures(reader, index, studio, len(episode))


def test_the_same_episodes_give_the_same_bytes(exported, copy):
    shutil.rmtree(copy / "set")
    shutil.rmtree(copy / "set.parts")
    assert run(copy) == 0
    for path in (exported / "set").rglob("*"):
        if path.is_file():
            twin = copy / "set" / path.relative_to(exported / "set")
            assert path.read_bytes() == twin.read_bytes(), path.name


def test_one_more_episode_costs_only_itself(studio, copy):
    before = made(copy)
    studio.write(copy / "data" / "more", studio.episode(9, seed=3))
    (copy / "data" / "more" / "episode_000000.hdf5").rename(copy / "data" / "episode_000003.hdf5")
    assert run(copy) == 0
    after = made(copy)
    assert {name: after[name] for name in before} == before and len(after) == 4
    assert studio.reader(copy / "set").info["total_episodes"] == 4


def test_a_label_that_was_given_since_reaches_the_set(studio, copy):
    before = made(copy)
    label = json.dumps({"outcome": "failure", "decided_ns": 0})
    label_file(copy / "data" / "episode_000001.hdf5").write_text(label)
    assert run(copy) == 0
    after = made(copy)
    assert {name for name in before if after[name] != before[name]} == {"episode_000001"}
    outcomes = [row["outcome"] for row in studio.reader(copy / "set").episodes]
    assert outcomes == ["success", "failure", "success"]


def test_an_export_that_was_stopped_goes_on_where_it_was(copy, monkeypatch, capsys):
    shutil.rmtree(copy / "set")
    shutil.rmtree(copy / "set.parts")
    encode = lerobot_part.encode_video

    def stopped(path, *arguments):
        if "episode_000002" in str(path):
            raise KeyboardInterrupt
        return encode(path, *arguments)

    monkeypatch.setattr(lerobot_part, "encode_video", stopped)
    with pytest.raises(KeyboardInterrupt):
        run(copy)
    assert not (copy / "set").exists()
    monkeypatch.setattr(lerobot_part, "encode_video", encode)
    before = made(copy)
    assert sorted(before) == ["episode_000000", "episode_000001"]
    assert run(copy) == 0
    assert before.items() <= made(copy).items()
    assert "1 exported, 2 up to date" in capsys.readouterr().out


def test_a_part_of_another_recording_is_known_by_its_cell_and_its_start(exported, episodes):
    folder, name = LerobotFolder(output=exported / "set"), "episode_000000"
    start_ns = int(episodes[0].timestamps_ns[0])
    own = Recording(contract=episodes[0].cell.canonical_text(), start_ns=start_ns)
    assert folder.of_others(name, own, 10.0) == {}
    later = replace(own, start_ns=start_ns + 11 * 10**9)
    assert folder.of_others(name, later, 10.0) == {
        folder.parts / name: "started 2001-09-09 01:46:40 UTC"
    }
    moved = replace(episodes[0].cell, name="another").canonical_text()
    assert folder.of_others(name, replace(own, contract=moved), 10.0)


def test_a_set_of_another_folder_is_not_replaced(studio, copy, capsys):
    before = (copy / "set" / "meta" / "ate.json").read_bytes()
    (copy / "data" / "episode_000002.hdf5").rename(copy / "episode_000002.hdf5")
    with pytest.raises(UsageError, match=r"holds episode_000002, which .* they would leave"):
        run(copy)
    (copy / "episode_000002.hdf5").rename(copy / "data" / "episode_000002.hdf5")
    later = studio.episode(8, seed=5)
    later = replace(later, timestamps_ns=later.timestamps_ns + 86_400 * 10**9)
    write_episode(copy / "data" / "episode_000001.hdf5", later)
    with pytest.raises(UsageError, match=r"episode_000001 is of another recording \(started"):
        run(copy)
    assert (copy / "set" / "meta" / "ate.json").read_bytes() == before and len(made(copy)) == 3


def shifted(episode, days):
    return replace(episode, timestamps_ns=episode.timestamps_ns + days * 86_400 * 10**9)


def a_day_later(episode):
    return shifted(episode, 1)


def test_a_set_follows_a_folder_that_was_made_anew_where_it_is_told_to(
    studio, copy, episodes, capsys, monkeypatch
):
    monkeypatch.setenv("COLUMNS", "600")
    shutil.rmtree(copy / "data")
    studio.write(copy / "data", episodes[0], a_day_later(studio.episode(9, seed=4)))
    before = made(copy)
    with pytest.raises(UsageError, match=r"episode_000001 is of another .* or --overwrite"):
        run(copy)
    write_episode(copy / "data" / "episode_000001.hdf5", episodes[1])
    with pytest.raises(UsageError, match=r"holds episode_000002, .* with --overwrite"):
        run(copy)
    assert made(copy) == before
    write_episode(copy / "data" / "episode_000001.hdf5", a_day_later(studio.episode(9, seed=4)))
    assert run(copy, overwrite=True) == 0
    told = capsys.readouterr().out
    assert "episode_000001" in told and "in place of another recording (started 2001-09-09" in told
    assert "episode_000002" in told and "it has left the set" in told and "1 left out" in told
    reader = studio.reader(copy / "set")
    assert [len(reader.rows(index)["index"]) for index in range(2)] == [LENGTHS[0], 9]
    assert reader.info["total_episodes"] == 2
    after = made(copy)
    assert after["episode_000000"] == before["episode_000000"], "what is up to date stays"
    assert run(copy) == 0, "and it is the set of this folder from then on"


def test_a_renewed_curated_copy_is_exported_again(studio, tmp_path):
    """Other recordings under the old names, and fewer of them."""
    studio.write(
        tmp_path / "all", *(shifted(studio.episode(7, seed=day), day) for day in range(4))
    )
    give(tmp_path)
    assert run(tmp_path) == 0
    label = json.dumps({"outcome": "failure", "decided_ns": 0})
    label_file(tmp_path / "all" / "episode_000000.hdf5").write_text(label)
    give(tmp_path, overwrite=True)
    with pytest.raises(UsageError, match="--overwrite"):
        run(tmp_path)
    assert run(tmp_path, overwrite=True) == 0
    rows = studio.reader(tmp_path / "set").episodes
    assert [row["bag"] for row in rows] == ["episode_000001", "episode_000002", "episode_000003"]


def give(folder, overwrite=False):
    export_set(
        *(folder / "all", folder / "data"),
        gate=OPEN,
        outcome="success",
        license_="",
        overwrite=overwrite,
    )


def test_no_overwrite_replaces_the_set_of_another_folder(studio, copy):
    studio.write(copy / "other", a_day_later(studio.episode(9, seed=4)))
    before = (copy / "set" / "meta" / "ate.json").read_bytes()
    config = LerobotExport(episodes=copy / "other", output=copy / "set", overwrite=True)
    with pytest.raises(UsageError, match=f"is the set of .*data, not of {copy / 'other'}"):
        export_lerobot(config)
    assert (copy / "set" / "meta" / "ate.json").read_bytes() == before and len(made(copy)) == 3


def test_a_set_without_its_parts_is_known_by_its_recordings(studio, copy):
    shutil.rmtree(copy / "set.parts")
    write_episode(copy / "data" / "episode_000001.hdf5", a_day_later(studio.episode(9, seed=4)))
    with pytest.raises(UsageError, match=r"set is of another recording \(started"):
        run(copy)
    assert studio.reader(copy / "set").info["total_episodes"] == 3


def test_what_a_full_disk_keeps_in_the_set_is_not_told_to_have_left_it(copy, monkeypatch, capsys):
    (copy / "data" / "episode_000002.hdf5").unlink()

    def full(*_):
        raise OSError(28, "No space left on device", "file-000.mp4")

    monkeypatch.setattr(lerobot_set, "join_videos", full)
    assert run(copy, overwrite=True) == 1
    assert "left the set" not in capsys.readouterr().out


@pytest.mark.parametrize("suffix", [".discarded", ".excluded"])
def test_an_episode_that_was_put_away_leaves_the_set(studio, copy, suffix):
    path = copy / "data" / "episode_000001.hdf5"
    path.rename(path.with_name(path.name + suffix))
    assert run(copy) == 0
    rows = studio.reader(copy / "set").episodes
    assert [row["source"] for row in rows] == ["episode_000000", "episode_000002"]


def test_another_quality_encodes_everything_anew(copy):
    before = made(copy)
    assert run(copy, video=VideoConfig(quality=40)) == 0
    assert all(after > before[name] for name, after in made(copy).items())


def test_h264_is_read_back_as_well(studio, copy):
    assert run(copy, video=VideoConfig(codec="h264")) == 0
    reader = studio.reader(copy / "set")
    assert reader.info["features"][reader.cameras[0]]["info"]["video.codec"] == "h264"
    for index, ticks in enumerate(LENGTHS):
        require_pictures(reader, index, studio, ticks)


def broken(studio, kind):
    """A second episode that no set can hold, and what its reason says."""
    episode = studio.episode(8, seed=5)
    key = sorted(episode.images)[0]
    jpegs = list(episode.images[key])
    if kind == "half a picture":
        jpegs[3] = jpegs[3][: len(jpegs[3]) // 2]
        return replace(episode, images={**episode.images, key: jpegs}), f"{key} at tick 3"
    if kind == "no picture":
        jpegs[2] = b"\xff\xd8 nothing"
        return replace(episode, images={**episode.images, key: jpegs}), f"{key} at tick 2"
    if kind == "a camera less":
        rest = {name: images for name, images in episode.images.items() if name != key}
        return replace(episode, images=rest), f"lacks observation.images.{key}"
    if kind == "other objects":
        return replace(episode, object_names=("cup", "plate")), "environment is not described"
    return replace(episode, instruction="", task=""), "neither instruction nor task"


@pytest.mark.parametrize(
    "kind", ["half a picture", "no picture", "a camera less", "other objects", "no words"]
)
def test_one_bad_episode_is_rejected_by_name_and_the_others_go_on(studio, tmp_path, capsys, kind):
    bad, _ = broken(studio, kind)
    studio.write(tmp_path / "data", studio.episode(8, 1), bad, studio.episode(8, 2))
    assert run(tmp_path) == 1
    told = " ".join(capsys.readouterr().out.split())
    assert "2 exported, 0 up to date, 1 rejected" in told
    reader = studio.reader(tmp_path / "set")
    assert [row["source"] for row in reader.episodes] == ["episode_000000", "episode_000002"]
    assert set(made(tmp_path)) == {"episode_000000", "episode_000002"}


def test_what_training_would_not_mix_does_not_stand_in_one_set(
    studio, tmp_path, capsys, monkeypatch
):
    monkeypatch.setenv("COLUMNS", "600")
    cells = (studio.cell, studio.with_an_arm_moved(), studio.with_wrists_exchanged())
    episodes = [studio.episode(8, seed, cell=cell) for seed, cell in enumerate(cells)]
    studio.write(tmp_path / "data", *episodes)
    for _ in range(2):  # from the parts that are there, too
        assert run(tmp_path) == 1
        told = capsys.readouterr().out
        assert "have exchanged serials since episode_000000" in told
        assert "left arm: stands at" in told and "give it a set of its own" in told
        reader = studio.reader(tmp_path / "set")
        assert [row["source"] for row in reader.episodes] == ["episode_000000", "episode_000001"]


def test_the_reason_names_camera_and_tick(studio, tmp_path):
    for kind in ("half a picture", "no picture", "no words"):
        episode, reason = broken(studio, kind)
        with pytest.raises(EpisodeError, match=reason):
            lerobot_part.write_part(tmp_path, "episode", episode, "", VideoConfig(), True)
    assert list(tmp_path.iterdir()) == []


def test_a_damaged_file_is_rejected_and_its_older_part_leaves_the_set(studio, copy, capsys):
    path = copy / "data" / "episode_000001.hdf5"
    path.write_bytes(path.read_bytes()[:5000])
    assert run(copy) == 1
    reader = studio.reader(copy / "set")
    assert [row["source"] for row in reader.episodes] == ["episode_000000", "episode_000002"]


def test_a_full_disk_rejects_each_episode_and_leaves_the_older_set(copy, monkeypatch):
    older = (copy / "set" / "meta" / "info.json").read_bytes()

    def full(*_):
        raise OSError(28, "No space left on device", "part")

    monkeypatch.setattr(lerobot_part, "encode_video", full)
    assert run(copy, objects=False) == 1
    assert (copy / "set" / "meta" / "info.json").read_bytes() == older
    assert not list((copy / "set.parts").glob(".episode*"))


def test_a_disk_with_room_for_the_parts_but_not_for_the_set_rejects_them_by_name(
    copy, monkeypatch, capsys
):
    older = (copy / "set" / "meta" / "info.json").read_bytes()
    with monkeypatch.context() as disk:

        def full(*_):
            raise OSError(28, "No space left on device", "file-000.mp4")

        disk.setattr(lerobot_set, "join_videos", full)
        assert run(copy, objects=False) == 1
    printed = " ".join(capsys.readouterr().out.replace("│", " ").split())
    assert (
        "0 exported" in printed and "no set is written" in printed and "No space left" in printed
    )
    assert (copy / "set" / "meta" / "info.json").read_bytes() == older
    assert not (copy / "set.parts" / ".set").exists()
    monkeypatch.setattr(lerobot_part, "encode_video", None)
    assert run(copy, objects=False) == 0, "what was encoded is kept"


def test_a_folder_of_something_else_is_not_replaced(copy):
    shutil.rmtree(copy / "set")
    (copy / "set").mkdir()
    (copy / "set" / "thesis.txt").write_text("mine")
    with pytest.raises(UsageError, match="no data set of this command"):
        run(copy)
    assert (copy / "set" / "thesis.txt").read_text() == "mine"


def test_a_file_of_something_else_is_not_replaced(copy):
    shutil.rmtree(copy / "set")
    (copy / "set").write_text("mine")
    with pytest.raises(UsageError, match="no data set of this command"):
        run(copy)
    assert (copy / "set").read_text() == "mine"


def test_a_name_in_the_marks_of_a_terminal_is_printed_as_it_is(copy, capsys):
    config = LerobotExport(episodes=copy / "data", output=copy / "[" / "x]:x:")
    assert export_lerobot(config) == 0
    assert str(config.output) in capsys.readouterr().out.replace("\n", "")


def test_a_second_export_of_one_set_is_refused(copy):
    with (
        LerobotFolder(output=copy / "set").held(),
        pytest.raises(UsageError, match="another export writes"),
    ):
        run(copy)


def test_a_move_that_was_cut_short_is_finished(studio, copy):
    folder = LerobotFolder(output=copy / "set")
    (copy / "set").rename(aside_of(folder.working))
    before = made(copy)
    assert run(copy) == 0
    assert made(copy) == before
    assert studio.reader(copy / "set").info["total_episodes"] == 3


def test_a_part_that_lost_frames_is_refused_by_name(exported, tmp_path):
    folder = tmp_path / "part"
    shutil.copytree(exported / "set.parts" / "episode_000000", folder)
    facts = json.loads((folder / "part.json").read_text())
    shutil.copy(
        exported / "set.parts" / "episode_000001" / "cam_high.mp4", folder / "cam_high.mp4"
    )
    (folder / "part.json").write_text(json.dumps(facts))
    with pytest.raises(EpisodeError, match="16 frames for 11 ticks"):
        write_set(tmp_path / "set", [read_part(folder)], tmp_path / "working")


def test_a_tick_rate_that_is_no_whole_number_is_refused(studio, tmp_path):
    episode = studio.episode(5, cell=replace(studio.cell, tick_rate=12.5))
    with pytest.raises(EpisodeError, match=r"12\.5 Hz"):
        lerobot_part.write_part(tmp_path, "episode", episode, "", VideoConfig(), True)


def test_our_own_reader_trains_on_what_was_exported(exported, studio, episodes):
    actions, _ = read_actions(exported / "set", studio.cell)
    for read, episode in zip(actions, episodes, strict=True):
        np.testing.assert_allclose(read, episode.action, atol=1e-6)
