import dataclasses
from typing import get_args

import numpy as np
import pytest
import torch

from ate_core.errors import TrainingError, UsageError
from ate_sim.embodiments import bodies_of
from training.clap.chunks import BodyMotion, held_out, load_bodies, make_token_data
from training.configs.train_tokens import Split, TrainTokensConfig
from training.data.pretraining import MotionSource
from training.episodes.editor import editing
from training.episodes.episode_set import open_set
from training.episodes.operations import split


@pytest.fixture
def body(cell):
    """Ten episodes of 30 ticks; every fifth, and the last two, move ten times as far."""
    rng = np.random.default_rng(0)
    motions = []
    for index in range(10):
        size = 0.5 if index % 5 == 0 or index >= 8 else 0.05
        motions.append((0.5 + rng.normal(0.0, size, (30, 16))).astype(np.float32))
    source = MotionSource("robot", motions, states=[one - 0.25 for one in motions])
    return BodyMotion(source=source, cell=cell)


def test_whole_episodes_are_held_out(body):
    data = make_token_data([body], "relative", 20, "every-fifth")
    assert sorted(set(data.episode[data.held_out].tolist())) == [0, 5]
    assert not set(data.episode[data.held_out].tolist()) & set(
        data.episode[~data.held_out].tolist()
    )
    last = make_token_data([body], "relative", 20, "last-fifth")
    assert sorted(set(last.episode[last.held_out].tolist())) == [8, 9]
    assert data.chunks.shape == (300, 2, 20, 8)


def test_statistics_come_from_training_episodes_alone(body):
    data = make_token_data([body], "absolute", 20, "every-fifth")
    motions = [m * (100.0 if i % 5 == 0 else 1.0) for i, m in enumerate(body.source.motions)]
    spoilt = dataclasses.replace(body.source, motions=motions)
    other = make_token_data(
        [dataclasses.replace(body, source=spoilt)], "absolute", 20, "every-fifth"
    )
    assert data.statistics == other.statistics
    scaled = data.normalised()[~data.held_out].transpose(1, 2).flatten(2).flatten(0, 1)
    for share, bound in ((0.01, -1.0), (0.99, 1.0)):
        found = torch.quantile(scaled[:100_000], share, dim=0)
        torch.testing.assert_close(found, torch.full((16,), bound), atol=0.02, rtol=0.0)


def test_normalising_loses_nothing(body):
    data = make_token_data([body], "relative", 20, "every-fifth")
    action = data.statistics.action
    mean, half = (torch.tensor(one).view(2, 1, 8) for one in (action.mean, action.std))
    torch.testing.assert_close(data.normalised() * half + mean, data.chunks, atol=1e-5, rtol=1e-5)


def test_relative_joints_start_at_the_measured_ones_and_grippers_stay(body):
    data = make_token_data([body], "relative", 20, "every-fifth")
    motion = body.source.motions[0]
    np.testing.assert_allclose(
        data.chunks[4, 1, 3, :7], motion[7, 8:15] - (motion[4, 8:15] - 0.25), atol=1e-6
    )
    np.testing.assert_allclose(data.chunks[4, 1, 3, 7], motion[7, 15], atol=1e-6)
    np.testing.assert_allclose(data.starts[4, 1, :7], motion[4, 8:15] - 0.25, atol=1e-6)


def test_an_arm_that_rests_is_known(body):
    for motion in body.source.motions:
        motion[:, :8] = 0.3
    data = make_token_data([body], "absolute", 20, "every-fifth")
    assert data.still[:, 0].all() and not data.still[:, 1].all()
    assert data.normalised()[:, 0].abs().max() < 1e-4  # its range is floored, not blown up


def test_one_episode_cannot_be_split():
    with pytest.raises(TrainingError, match="robot has 1 episode: at least 2"):
        held_out(1, "every-fifth", "robot")
    assert held_out(2, "last-fifth", "robot") == [False, True]


@pytest.mark.parametrize("count", range(2, 41))
def test_of_whole_episodes_every_fifth_or_the_last_fifth_are_held_out(count):
    every, last = (held_out(count, split, "robot") for split in get_args(Split))
    assert every == [number % 5 == 0 for number in range(count)]
    assert last == [number >= count - max(1, count // 5) for number in range(count)]


@pytest.mark.parametrize("split", get_args(Split))
@pytest.mark.parametrize(
    ("sizes", "share"),
    [
        ((20, 1), 1 / 21),
        ((1, 20), 1 / 21),
        ((20, 20), 1 / 2),
        ((8, 1, 1), 1 / 5),
        ((1, 1, 8), 1 / 5),
        ((2, 1), 1 / 3),
        ((12, *[1] * 13), 1 / 5),
        ((*[1] * 13, 12), 1 / 5),
        ((3,) * 9, 2 / 9),
    ],
)
def test_about_a_fifth_of_the_episodes_is_held_out_and_never_more_than_half(split, sizes, share):
    numbers = [number for number, size in enumerate(sizes) for _ in range(size)]
    out = held_out(len(numbers), split, "robot", numbers)
    held = {number for number, is_out in zip(numbers, out, strict=True) if is_out}
    assert held and not held & {n for n, is_out in zip(numbers, out, strict=True) if not is_out}
    assert sum(out) / len(out) == pytest.approx(share, abs=0.04)


@pytest.mark.parametrize("split", get_args(Split))
def test_of_one_recording_the_last_parts_are_held_out_and_it_is_told(body, split, caplog):
    source = dataclasses.replace(body.source, recordings=[0] * 10)
    data = make_token_data([dataclasses.replace(body, source=source)], "relative", 20, split)
    assert set(data.episode[data.held_out].tolist()) == {8, 9}
    assert data.about["same_take"] == ["robot"]
    assert "robot is one recording in 10 parts: its last 2 are held out" in caplog.text
    assert "same take" in caplog.text
    apart = make_token_data([body], "relative", 20, split)
    assert apart.about["same_take"] == []
    assert held_out(2, split, "robot", [0, 0]) == [False, True]


def test_parts_of_one_recording_are_held_out_together(tmp_path, write_demonstrations):
    write_demonstrations(tmp_path, count=7)
    with editing(open_set(tmp_path)) as editor:
        split(editor, 0, [25])
        split(editor, 3, [10, 20])
    config = TrainTokensConfig(output=tmp_path / "run", episodes=(tmp_path,), horizon=5)
    [body] = load_bodies(config)
    parts = {name: body.source.recordings[i] for i, name in enumerate(body.source.episodes)}
    assert list(parts.values()) == [0, 1, 2, 3, 4, 5, 5, 6, 6, 6]
    for share, wanted in (("every-fifth", {0, 5}), ("last-fifth", {6})):
        data = make_token_data([body], "relative", 5, share)
        numbers = [body.source.recordings[index] for index in data.episode.tolist()]
        assert {
            number for number, out in zip(numbers, data.held_out, strict=True) if out
        } == wanted
        assert not wanted & {n for n, out in zip(numbers, data.held_out, strict=True) if not out}


def test_motion_that_cannot_be_cut_is_refused_by_name(body):
    source = dataclasses.replace(body.source, episodes=[f"e{i}" for i in range(10)])
    source.motions[3][2, 1] = np.nan
    with pytest.raises(TrainingError, match="robot, e3 holds NaN"):
        make_token_data([dataclasses.replace(body, source=source)], "relative", 20, "every-fifth")
    with pytest.raises(TrainingError, match="e0 has 30 ticks, a chunk has 40"):
        make_token_data([dataclasses.replace(body, source=source)], "relative", 40, "every-fifth")


def test_recordings_of_an_undescribed_body_have_no_tool(tmp_path):
    with pytest.raises(UsageError, match="nothing describes the body"):
        TrainTokensConfig(output=tmp_path / "run", recordings=(tmp_path,))
    with pytest.raises(UsageError, match="there is no data"):
        TrainTokensConfig(output=tmp_path / "run")


def test_bodies_of_different_arms_share_one_space(cell):
    rng = np.random.default_rng(0)
    motions = [
        (0.4 + 0.02 * rng.normal(size=(25, 16)).cumsum(axis=0)).astype(np.float32)
        for _ in range(2)
    ]
    bodies = [
        BodyMotion(source=MotionSource(name, motions, generated=True), cell=cell, body=body)
        for name, body in (("cell", None), ("other", bodies_of(cell)["six_axes_long"]))
    ]
    data = make_token_data(bodies, "tool", 20, "every-fifth")
    assert data.chunks.shape == (100, 2, 20, 7)
    ours, theirs = data.chunks[:50], data.chunks[50:]
    assert data.chunks[:, :, 0, :6].abs().max() < 1e-6  # from their own first command
    assert torch.equal(ours[..., 6], theirs[..., 6])
    assert (ours[..., :3] - theirs[..., :3]).abs().max() > 1e-3
    assert data.sources == {"cell": 50, "other": 50} and not data.described
    assert sorted(set(data.episode[data.held_out].tolist())) == [0, 2]  # of each body
