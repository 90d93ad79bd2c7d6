"""What the published loaders of ACT, RDT and RoboTwin need, stated and held by our copies.

`test_published_loaders.py` runs the loaders themselves where their sources are at hand.
"""

import functools
import json
import resource
from dataclasses import replace

import h5py
import numpy as np
import pytest
import simplejpeg

from ate_core.errors import DiskError, EpisodeError, UsageError
from training.data.commanders import OPERATOR, POLICY
from training.data.set_files import label_file
from training.export.act import TASK_FILE, ActExport, export_act
from training.export.copies import FolderNames
from training.export.rdt import (
    ACTION_DIVISORS,
    CAMERAS,
    INSTRUCTIONS,
    SHORTEST,
    STATE_DIVISORS,
    RdtExport,
    export_rdt,
)
from training.export.robotwin import RobotwinExport, export_robotwin

pytestmark = pytest.mark.usefixtures("in_this_process")
LENGTHS = (9, 12)


@pytest.fixture(scope="module")
def episodes(studio):
    return [studio.episode(ticks, seed) for seed, ticks in enumerate(LENGTHS)]


@pytest.fixture(scope="module")
def data(studio, episodes, tmp_path_factory):
    return studio.write(tmp_path_factory.mktemp("copies") / "data", *episodes)


def opencv_hands_out(jpeg):
    """What `cv2.imdecode` gives: channels blue, green, red."""
    return simplejpeg.decode_jpeg(bytes(jpeg), "BGR")


def act(data, folder, **options):
    config = ActExport(episodes=data, output=folder / "act", **options)
    return export_act(config), folder / "act"


def rdt(data, folder, **options):
    config = RdtExport(episodes=data, output=folder / "rdt", **options)
    return export_rdt(config), folder / "rdt"


def test_copies_for_act_have_one_length_and_hold_the_last_tick(data, episodes, tmp_path):
    code, folder = act(data, tmp_path)
    assert code == 0
    for index, episode in enumerate(episodes):
        with h5py.File(folder / f"episode_{index}.hdf5") as file:
            action, qpos = file["/action"][()], file["/observations/qpos"][()]
            assert file["/observations/qvel"].shape == (12, 14) and file.attrs["sim"]
        assert action.shape == qpos.shape == (12, 16)
        np.testing.assert_array_equal(action[: len(episode)], episode.action)
        assert (action[len(episode) :] == episode.action[-1]).all()


def test_copies_for_act_may_be_cut_instead(data, episodes, tmp_path):
    for length, ticks in (("shortest", 9), (5, 5)):
        _, folder = act(data, tmp_path, length=length, overwrite=True)
        for index, episode in enumerate(episodes):
            with h5py.File(folder / f"episode_{index}.hdf5") as file:
                np.testing.assert_array_equal(file["/action"][()], episode.action[:ticks])
                assert {len(images) for images in file["/observations/images"].values()} == {ticks}


def test_pictures_for_act_are_raw_in_the_order_of_rgb(data, studio, tmp_path):
    _, folder = act(data, tmp_path)
    keys = [camera.key for camera in studio.cell.cameras.values()]
    with h5py.File(folder / "episode_0.hdf5") as file:
        for key, colour in zip(keys, studio.colours, strict=True):
            images = file[f"/observations/images/{key}"]
            assert images.shape == (12, *studio.size, 3) and images.dtype == np.uint8
            assert np.abs(images[3, 32, 14].astype(int) - colour).max() < 40
            np.testing.assert_array_equal(images[11], images[8])  # the last of nine is held


def test_the_entry_for_acts_task_table_names_what_was_written(data, studio, tmp_path):
    _, folder = act(data, tmp_path)
    task = json.loads((folder / TASK_FILE).read_text())
    assert task["num_episodes"] == len(list(folder.glob("episode_*.hdf5"))) == 2
    assert task["episode_len"] == 12 and task["dataset_dir"] == str(folder)
    assert set(task["camera_names"]) == {c.key for c in studio.cell.cameras.values()}


def test_cameras_of_two_sizes_need_a_size_for_act(studio, tmp_path, capsys):
    def uneven(seed):
        episode = studio.episode(4, seed)
        small = [simplejpeg.encode_jpeg(np.zeros((32, 48, 3), np.uint8), 90, "RGB")] * 4
        return replace(episode, images={**episode.images, "cam_left_wrist": small})

    data = studio.write(tmp_path / "data", uneven(0), uneven(1))
    with pytest.raises(EpisodeError, match="0 episodes are left"):
        act(data, tmp_path)
    assert "--size HEIGHT WIDTH" in " ".join(capsys.readouterr().out.split())
    assert act(data, tmp_path, size=(30, 40))[0] == 0
    with h5py.File(tmp_path / "act" / "episode_1.hdf5") as file:
        assert {i.shape for i in file["/observations/images"].values()} == {(4, 30, 40, 3)}


def test_copies_for_rdt_are_14_wide_and_its_divisions_give_back_our_values(
    data, episodes, studio, tmp_path
):
    code, folder = rdt(data, tmp_path, drop_joint=3)
    assert code == 0
    kept = [0, 1, 3, 4, 5, 6, 7, 8, 9, 11, 12, 13, 14, 15]
    files = sorted(folder.rglob("*.hdf5"))
    assert [file.name for file in files] == ["episode_000000.hdf5", "episode_000001.hdf5"]
    for path, episode in zip(files, episodes, strict=True):
        with h5py.File(path) as file:
            qpos, action = file["/observations/qpos"][()], file["/action"][()]
        assert qpos.shape == action.shape == (SHORTEST, 14)
        for values, own, divisors in (
            (qpos, episode.state, STATE_DIVISORS),
            (action, episode.action, ACTION_DIVISORS),
        ):
            scale = np.ones(14)
            scale[[6, 13]] = divisors["left"], divisors["right"]
            read = (values / scale)[: len(episode)]
            np.testing.assert_allclose(read, own[:, kept], atol=1e-6)


def test_opencv_hands_out_rgb_for_rdt_and_the_bytes_as_recorded_on_demand(
    data, episodes, studio, tmp_path
):
    _, folder = rdt(data, tmp_path, drop_joint=7)
    path = sorted(folder.rglob("*.hdf5"))[0]
    with h5py.File(path) as file:
        seen = opencv_hands_out(file["/observations/images/cam_high"][3])
        assert {len(file[f"/observations/images/{key}"]) for key in CAMERAS} == {SHORTEST}
    index = [camera.key for camera in studio.cell.cameras.values()].index("cam_high")
    assert np.abs(seen[32, 14].astype(int) - studio.colours[index]).max() < 40
    _, folder = rdt(data, tmp_path, drop_joint=7, channels="bgr", overwrite=True)
    with h5py.File(path) as file:
        assert bytes(file["/observations/images/cam_high"][3]) == episodes[0].images["cam_high"][3]


def test_instructions_for_rdt_lie_in_the_folder_of_their_episodes(studio, tmp_path):
    texts = ("put the bun on the plate", "tidy up")
    made = [studio.episode(6, seed, instruction=text) for seed, text in enumerate(texts)]
    _, folder = rdt(studio.write(tmp_path / "data", *made), tmp_path, drop_joint=1)
    read = {}
    for path in folder.rglob("*.hdf5"):
        words = json.loads((path.parent / INSTRUCTIONS).read_text())
        assert set(words) == {"instruction", "simplified_instruction", "expanded_instruction"}
        read[path.name] = words["instruction"]
    assert list(dict(sorted(read.items())).values()) == list(texts)


ALIKE = (
    f"put the {'very ' * 20}hot bun into the steamer",
    f"put the {'very ' * 20}hot bun onto the plate",
    "Tidy up!",
    "tidy up",
    "tidy_up",
)
"""Texts that make pairs of one name of a folder."""


def test_instructions_that_read_alike_have_folders_of_their_own_for_rdt(studio, tmp_path):
    made = [studio.episode(6, seed, instruction=text) for seed, text in enumerate(ALIKE)]
    made.append(studio.episode(6, 9, instruction=ALIKE[1]))
    _, folder = rdt(studio.write(tmp_path / "data", *made), tmp_path, drop_joint=1)
    told = {
        path.stem: json.loads((path.parent / INSTRUCTIONS).read_text())["instruction"]
        for path in folder.rglob("*.hdf5")
    }
    assert told == {f"episode_{index:06d}": one.instruction for index, one in enumerate(made)}
    assert (folder / "tidy_up").is_dir() and len(list(folder.iterdir())) == len(ALIKE)


def test_a_folder_of_a_text_is_the_same_in_every_export_and_of_no_other():
    first, second = FolderNames(), FolderNames()
    names = [first.of(text) for text in ALIKE]
    assert len(set(names)) == len(ALIKE) and names == [second.of(text) for text in ALIKE]
    assert [first.of(text) for text in ALIKE] == names
    third = FolderNames()  # the name of the last text is what the other would be given
    taken = [third.of(text) for text in ("Tidy up!", names[3], "tidy up")]
    assert len(set(taken)) == 3


def test_tasks_that_read_alike_have_folders_of_their_own_for_robotwin(studio, tmp_path):
    tasks = ("stack_bowls", "stack bowls")
    made = [studio.episode(6, seed, task=task) for seed, task in enumerate(tasks)]
    config = RobotwinExport(
        episodes=studio.write(tmp_path / "data", *made), output=tmp_path / "robotwin"
    )
    assert export_robotwin(config) == 0
    files = sorted(config.output.rglob("*.hdf5"))
    assert [path.name for path in files] == ["episode0.hdf5"] * 2
    assert files[0].parents[2] == config.output / "stack_bowls"


def test_what_rdts_loader_would_drop_or_fail_on_is_rejected_by_name(studio, tmp_path, capsys):
    still = studio.episode(6, 1)
    still = replace(still, state=np.zeros_like(still.state))
    data = studio.write(tmp_path / "data", studio.episode(SHORTEST, 0), still)
    assert rdt(data, tmp_path, drop_joint=1)[0] == 1
    assert "nothing moves by 0.01" in " ".join(capsys.readouterr().out.split())
    data = studio.write(tmp_path / "more", studio.episode(SHORTEST, 0), studio.episode(6, 2))
    assert rdt(data, tmp_path, drop_joint=1, hold_short=False, overwrite=True)[0] == 1
    assert "6 ticks" in capsys.readouterr().out
    with pytest.raises(EpisodeError, match="no episode is left"):
        rdt(data, tmp_path, overwrite=True)
    assert "--drop-joint" in capsys.readouterr().out
    assert len(list((tmp_path / "rdt").rglob("*.hdf5"))) == 1  # the older copies stay


def test_copies_for_robotwin_are_its_raw_layout(data, episodes, studio, tmp_path):
    config = RobotwinExport(episodes=data, output=tmp_path / "data")
    assert export_robotwin(config) == 0
    folder = tmp_path / "data" / "pick_place" / "demo_clean"
    keys = [camera.key for camera in studio.cell.cameras.values()]
    colour = studio.colours[keys.index("cam_left_wrist")]
    for index, episode in enumerate(episodes):
        with h5py.File(folder / "data" / f"episode{index}.hdf5") as file:
            joints = {key: values[()] for key, values in file["/joint_action"].items()}
            seen = opencv_hands_out(file["/observation/left_camera/rgb"][2])
            assert set(file["/observation"]) == {"head_camera", "left_camera", "right_camera"}
        np.testing.assert_array_equal(joints["vector"], episode.state)
        np.testing.assert_array_equal(joints["right_arm"], episode.state[:, 8:15])
        np.testing.assert_array_equal(joints["left_gripper"], episode.state[:, 7])
        assert np.abs(seen[32, 12].astype(int) - colour).max() < 40
        words = json.loads((folder / "instructions" / f"episode{index}.json").read_text())
        assert words["seen"] == ["put the bun on the plate"]


def test_copies_for_the_main_branch_of_robotwin_keep_our_commands(
    data, episodes, studio, tmp_path
):
    config = RobotwinExport(
        episodes=data, output=tmp_path / "data", layout="main", config="two_rm75"
    )
    assert export_robotwin(config) == 0
    folder = tmp_path / "data" / "pick_place" / "two_rm75"
    assert [path.name for path in folder.iterdir()] == ["data"]
    keys = [camera.key for camera in studio.cell.cameras.values()]
    colour = studio.colours[keys.index("cam_left_wrist")]
    for index, episode in enumerate(episodes):
        with h5py.File(folder / "data" / f"episode_{index:07d}.hdf5") as file:
            for group, wanted in (("state", episode.state), ("action", episode.action)):
                packed = [
                    file[f"{group}/{side}_{part}_joint_states"][()]
                    for side in ("left", "right")
                    for part in ("arm", "ee")
                ]
                np.testing.assert_array_equal(np.concatenate(packed, axis=-1), wanted)
            assert set(file["vision"]) == {"cam_head", "cam_left_wrist", "cam_right_wrist"}
            seen = opencv_hands_out(file["vision/cam_left_wrist/colors"][2])
            assert file["vision/cam_left_wrist/shape"][()].tolist() == list(seen.shape)
            assert len(file["vision/cam_head/colors"]) == len(episode)
            assert json.loads(file["instructions"][()]) == ["put the bun on the plate"]
            assert file["data_format_version"][()] == b"v1.0"
            assert file["additional_info/frequency"][()] == 20
        assert np.abs(seen[32, 12].astype(int) - colour).max() < 40


def bad_episode(studio, kind):
    episode = studio.episode(6, 7)
    if kind == "a camera less":
        rest = {k: v for k, v in episode.images.items() if k != "cam_right_wrist"}
        return replace(episode, images=rest)
    jpegs = list(episode.images["cam_high"])
    jpegs[4] = jpegs[4][:200]
    return replace(episode, images={**episode.images, "cam_high": jpegs})


@pytest.mark.parametrize("kind", ["a camera less", "half a picture"])
@pytest.mark.parametrize("format", ["act", "rdt", "robotwin"])
def test_one_bad_episode_ends_no_export_and_leaves_no_file(studio, tmp_path, format, kind):
    data = studio.write(
        tmp_path / "data", studio.episode(6, 0), bad_episode(studio, kind), studio.episode(6, 2)
    )
    output = tmp_path / "out"
    if format == "act":
        code = export_act(ActExport(episodes=data, output=output))
    elif format == "rdt":
        code = export_rdt(RdtExport(episodes=data, output=output, drop_joint=4))
    else:
        code = export_robotwin(RobotwinExport(episodes=data, output=output))
    assert code == 1
    assert len(list(output.rglob("*.hdf5"))) == 2
    if format != "rdt":  # RDT's loader takes any name, the others count
        assert sorted(p.stem[-1] for p in output.rglob("*.hdf5")) == ["0", "1"]


def test_copies_replace_nothing_unless_they_are_told_to(data, tmp_path):
    act(data, tmp_path)
    with pytest.raises(UsageError, match="--overwrite"):
        act(data, tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["act"]


def a_bag(place, studio):
    (place / "episode_000000").mkdir(parents=True)
    (place / "episode_000000" / "episode_000000_0.mcap").write_text("precious")


def an_episode(place, studio):
    studio.write(place, studio.episode(3))


def a_thesis(place, studio):
    place.write_text("precious")


def a_report(place, studio):
    place.mkdir()
    (place / "results.json").write_text("precious")


def a_note_beside_copies(place, studio):
    made = studio.write(place.parent / "made", studio.episode(3, 0), studio.episode(3, 1))
    act(made, place.parent)
    (place.parent / "act").rename(place)
    (place / "notes.txt").write_text("precious")


@pytest.mark.parametrize("fill", [a_bag, an_episode, a_thesis, a_report, a_note_beside_copies])
@pytest.mark.parametrize(
    ("export", "config"),
    [
        (export_act, ActExport),
        (export_rdt, functools.partial(RdtExport, drop_joint=3)),
        (export_robotwin, RobotwinExport),
    ],
)
def test_what_is_no_copy_is_never_replaced(data, studio, tmp_path, export, config, fill):
    place = tmp_path / "place"
    fill(place, studio)
    before = {p: p.is_file() and p.read_bytes() for p in [place, *place.rglob("*")]}
    with pytest.raises(UsageError, match="is no copy of an export, and would be deleted"):
        export(config(episodes=data, output=place, overwrite=True))
    assert {p: p.is_file() and p.read_bytes() for p in [place, *place.rglob("*")]} == before


@pytest.mark.parametrize(
    ("export", "config"),
    [
        (export_act, ActExport),
        (export_rdt, functools.partial(RdtExport, drop_joint=3)),
        (export_robotwin, RobotwinExport),
    ],
)
def test_copies_and_empty_folders_are_replaced_on_purpose(data, tmp_path, export, config):
    (tmp_path / "place").mkdir()
    for _ in range(2):
        assert export(config(episodes=data, output=tmp_path / "place", overwrite=True)) == 0
    assert len(list((tmp_path / "place").rglob("*.hdf5"))) == 2


def test_copies_that_the_system_cuts_leave_nothing_and_the_cause_is_named(data, tmp_path):
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, hard))
    try:
        with pytest.raises(DiskError, match=r"refused 2 of 2 copies.*File too large.*ulimit -f"):
            act(data, tmp_path)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert list(tmp_path.iterdir()) == []


def robotwin(data, folder, **options):
    config = RobotwinExport(episodes=data, output=folder / "robotwin", **options)
    return export_robotwin(config), folder / "robotwin"


def export(loader, data, folder, **options):
    kinds = {
        "act": lambda: act(data, folder, **options),
        "rdt": lambda: rdt(data, folder, drop_joint=4, **options),
        "robotwin": lambda: robotwin(data, folder, **options),
    }
    return kinds[loader]()


@pytest.mark.parametrize("loader", ["act", "rdt", "robotwin"])
def test_what_ended_otherwise_than_as_success_is_not_copied(studio, tmp_path, capsys, loader):
    good = [studio.episode(9, seed) for seed in range(3)]
    data = studio.write(tmp_path / "data", *good, studio.episode(9, 3, outcome="failure"))
    label_file(data / "episode_000001.hdf5").write_text('{"outcome": "knocked over"}')
    code, output = export(loader, data, tmp_path)
    assert code == 0 and len(list(output.rglob("*.hdf5"))) == 2
    said = " ".join(capsys.readouterr().out.split())
    assert "knocked over" in said and "2 exported" in said and "2 left out" in said
    code, output = export(loader, data, tmp_path, outcome="", overwrite=True)
    assert code == 0 and len(list(output.rglob("*.hdf5"))) == 4


@pytest.mark.parametrize("loader", ["act", "rdt", "robotwin"])
def test_two_tick_rates_are_not_mixed(studio, tmp_path, capsys, loader):
    faster = replace(studio.cell, tick_rate=25.0)
    data = studio.write(
        tmp_path / "data",
        *(studio.episode(9, seed) for seed in range(2)),
        studio.episode(9, 2, cell=faster),
    )
    code, output = export(loader, data, tmp_path)
    assert code == 1 and len(list(output.rglob("*.hdf5"))) == 2
    assert "tick_rate: 20.0 Hz" in " ".join(capsys.readouterr().out.split())


@pytest.mark.parametrize("loader", ["act", "rdt", "robotwin"])
def test_what_training_would_not_mix_is_not_copied_together(
    studio, tmp_path, capsys, monkeypatch, loader
):
    monkeypatch.setenv("COLUMNS", "600")
    cells = (
        studio.cell,
        studio.with_an_arm_moved(),
        studio.with_wrists_exchanged(),
    )
    data = studio.write(
        tmp_path / "data", *(studio.episode(9, seed, cell=cell) for seed, cell in enumerate(cells))
    )
    code, output = export(loader, data, tmp_path)
    assert code == 1 and len(list(output.rglob("*.hdf5"))) == 2
    moved, exchanged = sorted(
        line
        for line in capsys.readouterr().out.splitlines()
        if "in episode_000000" in line or "since episode_000000" in line
    )
    assert "episode_000001" in moved and "exported" in moved and "left arm: stands at" in moved
    assert "episode_000002" in exchanged and "rejected" in exchanged
    assert "have exchanged serials since episode_000000" in exchanged


def test_cameras_that_a_loader_does_not_read_keep_nothing_out(studio, tmp_path):
    cells = (studio.cell, studio.with_wrists_exchanged())
    episodes = [studio.episode(9, seed, cell=cell) for seed, cell in enumerate(cells)]
    high = [replace(one, images={"cam_high": one.images["cam_high"]}) for one in episodes]
    assert act(studio.write(tmp_path / "data", *high), tmp_path)[0] == 0


@pytest.mark.parametrize("loader", ["act", "rdt", "robotwin"])
def test_a_copy_that_loses_who_commanded_says_so(
    studio, episodes, tmp_path, capsys, monkeypatch, loader
):
    monkeypatch.setenv("COLUMNS", "300")
    first, second = episodes
    who = np.full((len(first), 2), OPERATOR, np.uint8)
    who[2:5] = POLICY
    theirs = np.full((len(second), 2), OPERATOR, np.uint8)
    both = replace(first, commanded_by=who), replace(second, commanded_by=theirs)
    data = studio.write(tmp_path / "data", *both)
    export(loader, data, tmp_path)
    told = " ".join(capsys.readouterr().out.split())
    assert told.count("ticks of a policy") == 1
