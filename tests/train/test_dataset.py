import dataclasses

import numpy as np
import pytest
import torch

from ate_core.contract import parse_cell_text
from ate_core.errors import EpisodeError, LayoutError, TrainingError
from ate_core.layout import Field
from training.data.dataset import (
    chunk_windows,
    first_motion,
    gather,
    read_trajectories,
    to_trajectory,
)
from training.data.episode_file import read_episode, write_episode
from training.data.statistics import STD_FLOOR, vector_statistics


def test_a_chunk_starts_with_its_own_row_and_repeats_the_last():
    assert chunk_windows(4, 3).tolist() == [[0, 1, 2], [1, 2, 3], [2, 3, 3], [3, 3, 3]]


def test_chunks_never_cross_episodes(episodes):
    trajectories = read_trajectories(episodes)
    data = gather(trajectories, horizon=20, use_environment=True)
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
    data = gather(read_trajectories(folder), horizon=20, cameras=("cam_high",))
    assert len(data.images) == len(data) < 80


def test_nothing_is_left_out_of_an_episode_without_motion():
    assert first_motion(np.zeros((30, 16))) == 0


def test_failed_episodes_are_left_out(tmp_path, write_demonstrations):
    folder = write_demonstrations(tmp_path, count=3, change={"outcome": "failure"})
    assert len(read_trajectories(folder)) == 2
    for path in sorted(folder.glob("*.hdf5"))[:2]:
        path.unlink()
    with pytest.raises(TrainingError, match="none of the 1 episodes"):
        read_trajectories(folder)


def test_images_are_read_in_the_order_of_the_cameras(tmp_path, write_demonstrations):
    folder = write_demonstrations(tmp_path, count=2, images=True, ticks=20)
    keys = ("cam_right_wrist", "cam_high")
    data = gather(read_trajectories(folder), horizon=20, cameras=keys, image_size=(9, 16))
    assert data.images.shape == (40, 2, 9, 16, 3) and data.images.dtype == torch.uint8
    swapped = gather(read_trajectories(folder), horizon=20, cameras=keys[::-1], image_size=(9, 16))
    assert torch.equal(swapped.images, data.images.flip(1))


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
        gather(trajectories, horizon=50)
    with pytest.raises(EpisodeError, match=r"episode_000002\.hdf5 has no object"):
        gather(with_last(environment=None), horizon=20, use_environment=True)
    two = np.zeros((40, 2, 7), np.float32)
    with pytest.raises(EpisodeError, match=r"has 2 objects, episode_000000\.hdf5 has 1"):
        gather(with_last(environment=two), horizon=20, use_environment=True)
    bad = trajectories[2].action.copy()
    bad[3, 3] = np.inf
    with pytest.raises(EpisodeError, match="action holds NaN"):
        gather(with_last(action=bad), horizon=20)
    with pytest.raises(EpisodeError, match="no images"):
        gather(trajectories, horizon=20, cameras=("cam_high",))
    with pytest.raises(TrainingError, match="no demonstrations"):
        gather([], horizon=20)


def test_mixed_layouts_are_refused_by_field(episodes):
    trajectories = read_trajectories(episodes)
    cell = parse_cell_text(trajectories[0].contract)
    state = (*cell.vectors.state[:3], Field(name="right_gripper", unit="m", size=1))
    vectors = dataclasses.replace(cell.vectors, state=state)
    other = dataclasses.replace(cell, vectors=vectors).canonical_text()
    mixed = [*trajectories[:2], dataclasses.replace(trajectories[2], contract=other)]
    with pytest.raises(LayoutError, match=r"episode_000002.*right_gripper \[m\]"):
        gather(mixed, horizon=20)


def test_a_folder_without_episodes_is_refused(tmp_path):
    with pytest.raises(EpisodeError, match="ate convert"):
        read_trajectories(tmp_path)
