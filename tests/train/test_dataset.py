import dataclasses

import h5py
import numpy as np
import pytest
import torch

from ate_core.contract import parse_cell_text
from ate_core.errors import EpisodeError, LayoutError, TrainingError
from ate_core.layout import Field
from ate_policy.models.interface import PolicyConfig
from ate_policy.transforms import ChunkTransform
from training.data.dataset import chunk_windows, gather
from training.data.episode_file import read_episode, write_episode
from training.data.first_motion import first_motion
from training.data.statistics import STD_FLOOR, vector_statistics
from training.data.trajectory import read_trajectories, to_trajectory


def test_a_chunk_starts_with_its_own_row_and_repeats_the_last():
    assert chunk_windows(4, 3).tolist() == [[0, 1, 2], [1, 2, 3], [2, 3, 3], [3, 3, 3]]


def test_chunks_never_cross_episodes(episodes):
    trajectories = read_trajectories(episodes)
    data = gather(trajectories, PolicyConfig(objects=1))
    assert len(data) == sum(len(t.action) for t in trajectories) == 120
    assert data.objects == 1 and data.episodes == 3 and data.task == "reach"
    chunks = data.actions[data.windows]
    np.testing.assert_array_equal(chunks[0], trajectories[0].action[:20])
    np.testing.assert_array_equal(chunks[39], np.tile(trajectories[0].action[39], (20, 1)))
    np.testing.assert_array_equal(chunks[45], trajectories[1].action[5:25])


def test_the_wait_before_the_first_motion_is_left_out(tmp_path, write_demonstrations):
    folder = write_demonstrations(tmp_path, count=2, images=True)
    path = folder / "episode_000000.hdf5"
    moving = read_episode(path)
    still = [np.repeat(rows[:1], 15, axis=0) for rows in (moving.action, moving.state)]
    waiting = dataclasses.replace(
        moving,
        action=np.concatenate([still[0], moving.action])[:40],
        state=np.concatenate([still[1], moving.state])[:40],
        images={key: [*images[:15], *images[:25]] for key, images in moving.images.items()},
    )
    write_episode(path, waiting)
    before, after = to_trajectory(moving, "moving"), to_trajectory(waiting, "waiting")
    assert after.first_image == before.first_image + 15
    np.testing.assert_array_equal(after.action, before.action[: len(after.action)])
    data = gather(read_trajectories(folder), PolicyConfig(cameras=("cam_high",)))
    assert len(data.images) == len(data) < 80


def test_nothing_is_left_out_of_an_episode_without_motion():
    assert first_motion(np.zeros((30, 16))) == 0


def test_episodes_of_exchanged_arms_are_refused_by_name(tmp_path, write_demonstrations, cell):
    ips = [arm.ip for arm in cell.arms.values()]
    arms = {
        side: dataclasses.replace(arm, ip=ip)
        for (side, arm), ip in zip(cell.arms.items(), reversed(ips), strict=True)
    }
    turned = {"cell": dataclasses.replace(cell, arms=arms)}
    folder = write_demonstrations(tmp_path, count=2, change=turned)
    with pytest.raises(
        EpisodeError, match=r"episode_000001\.hdf5: arms .* since episode_000000\.hdf5"
    ):
        gather(read_trajectories(folder), PolicyConfig())


def test_episodes_of_another_stroke_are_told_once(tmp_path, write_demonstrations, cell, caplog):
    grippers = {
        side: dataclasses.replace(one, stroke_m=0.06) for side, one in cell.grippers.items()
    }
    other = dataclasses.replace(cell, grippers=grippers)
    first = read_trajectories(write_demonstrations(tmp_path / "a", count=1))
    others = read_trajectories(write_demonstrations(tmp_path / "b", count=2, cell=other))
    gather([*first, *others], PolicyConfig())
    told = [record.getMessage() for record in caplog.records if "opens 0.06 m" in record.message]
    assert len(told) == 2 and "left gripper" in told[0] and "right gripper" in told[1]


def test_failed_episodes_are_left_out(tmp_path, write_demonstrations):
    folder = write_demonstrations(tmp_path, count=3, change={"outcome": "failure"})
    assert len(read_trajectories(folder)) == len(read_trajectories(folder, 2)) == 2
    with pytest.raises(TrainingError, match=r"demonstrations is 3, .* has 2 successful ones"):
        read_trajectories(folder, 3)
    for path in sorted(folder.glob("*.hdf5"))[:2]:
        path.unlink()
    with pytest.raises(TrainingError, match="none of the 1 episodes"):
        read_trajectories(folder)


def test_images_are_read_in_the_order_of_the_cameras(tmp_path, write_demonstrations):
    folder = write_demonstrations(tmp_path, count=2, images=True, ticks=20)
    keys = ("cam_right_wrist", "cam_high")
    needs = PolicyConfig(cameras=keys, image_height=9, image_width=16)
    every = torch.arange(40)
    images = gather(read_trajectories(folder), needs).images
    assert images.rows(every).shape == images.shape == (40, 2, 9, 16, 3)
    swapped = dataclasses.replace(needs, cameras=keys[::-1])
    others = gather(read_trajectories(folder), swapped).images
    assert torch.equal(others.rows(every), images.rows(every).flip(1))


def test_images_are_the_same_decoded_at_once_or_when_drawn(tmp_path, write_demonstrations):
    folder = write_demonstrations(tmp_path, count=2, images=True, ticks=20)
    needs = PolicyConfig(cameras=("cam_high",), image_height=9, image_width=16, image_fit="pad")
    trajectories = read_trajectories(folder)
    memory = gather(trajectories, needs).images
    drawn = gather(trajectories, needs, image_memory_gb=0.0).images
    assert memory._decoded is not None and drawn._decoded is None
    rows = torch.tensor([3, 39, 20, 3])
    assert torch.equal(memory.rows(rows), drawn.rows(rows))


def test_relative_chunks_are_differences_from_the_state_and_come_back(episodes):
    data = gather(read_trajectories(episodes), PolicyConfig())
    statistics = data.statistics("relative")
    assert statistics.relative == tuple(i for i in range(16) if i not in (7, 15))
    transform = ChunkTransform(statistics)
    plain = data.actions[data.windows]
    relative = transform.to_relative(plain, data.states)
    torch.testing.assert_close(relative[5, 3, 0], plain[5, 3, 0] - data.states[5, 0])
    assert torch.equal(relative[..., 7], plain[..., 7])
    chunks = data.chunks(transform)
    assert chunks.flatten(0, 1).mean(0).abs().max() < 1e-4
    torch.testing.assert_close(transform.decode_chunk(chunks, data.states), plain)


def test_statistics_may_leave_robot_units(episodes):
    data = gather(read_trajectories(episodes), PolicyConfig(objects=1))
    measured, units = data.statistics(), data.statistics(normalise=False)
    transform = ChunkTransform(units)
    chunks = data.actions[data.windows]
    assert torch.equal(transform.encode_chunk(chunks, data.states), chunks)
    assert torch.equal(transform.state.apply(data.states), data.states)
    assert units.action.q99 == measured.action.q99 and units.environment == measured.environment
    relative = data.statistics("relative", normalise=False)
    joint = ChunkTransform(relative).encode_chunk(chunks, data.states)[5, 3, 0]
    assert joint == chunks[5, 3, 0] - data.states[5, 0]


def test_every_tick_knows_its_instruction(episodes):
    first, *rest = read_trajectories(episodes)
    data = gather([dataclasses.replace(first, instruction="stack"), *rest], PolicyConfig())
    assert data.instructions_of(torch.tensor([0, 39, 40, 119])) == (
        "stack",
        "stack",
        "reach",
        "reach",
    )


def test_constant_dimensions_are_safe_to_divide_by():
    values = np.random.default_rng(0).normal(size=(1000, 2))
    values[:, 1] = 0.3
    table = vector_statistics(values, "state")
    assert table.std[0] == pytest.approx(values[:, 0].std())
    assert table.std[1] == STD_FLOOR
    assert table.mean[1] == pytest.approx(0.3)
    assert table.q01[0] == pytest.approx(np.quantile(values[:, 0], 0.01))


def test_nan_in_statistics_is_refused_with_its_place():
    values = np.zeros((10, 3))
    values[4, 2] = np.nan
    with pytest.raises(TrainingError, match="state holds nan at row 4, entry 2"):
        vector_statistics(values, "state")
    with pytest.raises(TrainingError, match="at least 2 rows"):
        vector_statistics(values[:1], "state")


def test_episodes_that_do_not_fit_are_refused_by_name(episodes):
    trajectories = read_trajectories(episodes)

    def with_last(**change):
        return [*trajectories[:2], dataclasses.replace(trajectories[2], **change)]

    with pytest.raises(EpisodeError, match=r"episode_000000.hdf5 has 40 ticks, a chunk has 50"):
        gather(trajectories, PolicyConfig(horizon=50))
    with pytest.raises(EpisodeError, match=r"episode_000002\.hdf5 has no object"):
        gather(with_last(environment=None), PolicyConfig(objects=1))
    two = np.zeros((40, 2, 7), np.float32)
    with pytest.raises(EpisodeError, match=r"has 2 objects, episode_000000\.hdf5 has 1"):
        gather(with_last(environment=two), PolicyConfig(objects=1))
    bad = trajectories[2].action.copy()
    bad[3, 3] = np.inf
    with pytest.raises(EpisodeError, match="action holds NaN"):
        gather(with_last(action=bad), PolicyConfig())
    with pytest.raises(EpisodeError, match="no images"):
        gather(trajectories, PolicyConfig(cameras=("cam_high",)))
    with pytest.raises(TrainingError, match="no demonstrations"):
        gather([], PolicyConfig())


def test_poses_of_other_objects_or_in_another_order_are_refused(tmp_path, write_demonstrations):
    named = write_demonstrations(
        tmp_path, objects=2, count=3, change={"object_names": ("plate", "bun")}
    )
    trajectories = read_trajectories(named)  # names of the first two are not known
    config = PolicyConfig(objects=2)
    assert gather(trajectories, config).object_names == ("plate", "bun")
    for other in (("bun", "plate"), ("bar", "plate")):
        trajectories[1] = dataclasses.replace(trajectories[1], object_names=other)
        message = (
            rf"episode_000002\.hdf5 has poses of plate, bun, episode_000001\.hdf5 of {other[0]}, "
            "plate in this order: train on one task at a time"
        )
        with pytest.raises(EpisodeError, match=message):
            gather(trajectories, config)
    assert gather(trajectories, PolicyConfig()).object_names == ()  # it reads no poses


def test_mixed_layouts_are_refused_by_field(episodes):
    trajectories = read_trajectories(episodes)
    cell = parse_cell_text(trajectories[0].contract)
    state = (*cell.vectors.state[:3], Field(name="right_gripper", unit="m", size=1))
    vectors = dataclasses.replace(cell.vectors, state=state)
    other = dataclasses.replace(cell, vectors=vectors).canonical_text()
    mixed = [*trajectories[:2], dataclasses.replace(trajectories[2], contract=other)]
    with pytest.raises(LayoutError, match=r"episode_000002.*right_gripper \[m\]"):
        gather(mixed, PolicyConfig())


def test_a_folder_without_episodes_is_refused(tmp_path):
    with pytest.raises(EpisodeError, match="ate convert"):
        read_trajectories(tmp_path)


@pytest.mark.parametrize("key", ["action", "observations/qpos"])
def test_a_file_with_nan_is_named_with_its_tick(tmp_path, write_demonstrations, key):
    folder = write_demonstrations(tmp_path, count=2)
    with h5py.File(folder / "episode_000001.hdf5", "r+") as file:
        file[key][5, 2] = np.nan
    with pytest.raises(EpisodeError, match=r"episode_000001\.hdf5: .* is nan at tick 5, entry 2"):
        read_trajectories(folder)
