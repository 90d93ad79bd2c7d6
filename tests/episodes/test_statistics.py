"""Statistics of a set: joined from those of its episodes, to the bit those of the whole."""

import dataclasses
import json
import os
import random

import numpy as np
import pytest

from ate_core.errors import TrainingError
from ate_policy.models.interface import PolicyConfig
from training.data import summaries
from training.data.dataset import gather
from training.data.episode_file import list_episodes, read_episode, write_episode
from training.data.moments import exact_sum, join_moments, moments_of
from training.data.summaries import read_summary, summaries_of, summary_file
from training.data.trajectory import read_trajectories


@pytest.fixture
def counted(monkeypatch):
    """Names of the episodes that are summarised, as they are."""
    made, real = [], summaries.summarise

    def summarise(path):
        made.append(path.stem)
        return real(path)

    monkeypatch.setattr(summaries, "summarise", summarise)
    return made


def numbers(statistics):
    return dataclasses.astuple(statistics)


def test_moments_joined_in_any_grouping_and_order_are_those_of_the_whole_to_the_bit():
    rng = np.random.default_rng(0)
    rows = (rng.normal(size=(500, 4)) * [1e-6, 1.0, 1e3, 1e-3] + [0, 1e4, 0, 7]).astype(np.float32)
    whole = [(one.mean, one.std, one.count) for one in moments_of(rows)]
    for seed in range(5):
        cuts = sorted(random.Random(seed).sample(range(1, 500), 7))
        parts = [moments_of(part) for part in np.split(rows[rng.permutation(500)], cuts)]
        random.Random(seed).shuffle(parts)
        joined = [join_moments(columns) for columns in zip(*parts, strict=True)]
        nested = [
            join_moments([join_moments(columns[:3]), join_moments(columns[3:])])
            for columns in zip(*parts, strict=True)
        ]
        for found in (joined, nested):
            assert [(one.mean, one.std, one.count) for one in found] == whole
    exact = rows.astype(np.float64)
    np.testing.assert_allclose([m.mean for m in moments_of(rows)], exact.mean(0), rtol=1e-12)
    np.testing.assert_allclose([m.std for m in moments_of(rows)], exact.std(0), rtol=1e-10)


def test_a_sum_is_kept_exactly():
    assert exact_sum([1e16, 1.0, -1e16]) == (1.0,)
    assert exact_sum([1e16, 1.0]) == (1e16, 1.0)
    assert exact_sum([]) == ()


@pytest.mark.parametrize(
    "rows", [np.zeros((0, 3)), np.full((2, 3), np.nan), np.full((2, 2), 1e200)]
)
def test_rows_without_moments_are_refused(rows):
    with pytest.raises(TrainingError, match="have no moments"):
        moments_of(rows)


@pytest.mark.parametrize("space", ["absolute", "relative"])
def test_training_has_the_same_statistics_to_the_bit_with_and_without_kept_summaries(
    folder, space
):
    needs = PolicyConfig(horizon=5, objects=1)
    before = gather(read_trajectories(folder), needs).statistics(space)
    summaries_of(folder)
    kept = read_trajectories(folder)
    assert all(len(one.moments) == 3 for one in kept)
    after = gather(kept, needs).statistics(space)
    assert numbers(after) == numbers(before)


def test_training_statistics_are_those_of_all_rows_up_to_rounding(folder):
    data = gather(read_trajectories(folder), PolicyConfig(horizon=5))
    state = data.states.numpy().astype(np.float64)
    found = data.statistics().state
    np.testing.assert_allclose(found.mean, state.mean(axis=0), rtol=1e-12)
    np.testing.assert_allclose(found.std, np.maximum(state.std(axis=0), 0.01), rtol=1e-10)


def test_an_episode_that_comes_goes_or_changes_costs_only_itself(folder, make, counted, ate):
    summaries_of(folder)
    assert len(counted) == 4
    write_episode(folder / "episode_000004.hdf5", make(4))
    summaries_of(folder)
    assert counted[4:] == ["episode_000004"]
    ate("delete", folder, 2)
    assert len(summaries_of(folder)) == 4
    ate("restore", folder, 2)
    write_episode(folder / "episode_000000.hdf5", make(9))
    summaries_of(folder)
    assert counted[5:] == ["episode_000000"]


def test_a_summary_of_other_numbers_is_not_trained_with(folder, make):
    """A copied set may have equal sizes and times: the hash of the numbers decides."""
    path = list_episodes(folder)[0]
    summaries_of(folder)
    times = path.stat().st_mtime_ns
    other = make(9)
    write_episode(path, other)
    os.utime(path, ns=(times, times))
    file = summary_file(path)
    kept = json.loads(file.read_text())
    file.write_text(json.dumps({**kept, "size": path.stat().st_size}))
    assert read_summary(path) is not None
    first = read_trajectories(folder)[0]
    assert first.moments == {}
    np.testing.assert_array_equal(first.state, other.state[first.first_image :])


@pytest.mark.parametrize("text", ["", "{}", "[]", '{"version": 1', "null", "NaN"])
def test_a_damaged_summary_is_made_anew(folder, counted, text):
    summaries_of(folder)
    path = list_episodes(folder)[1]
    summary_file(path).write_text(text)
    assert len(read_trajectories(folder)) == 4
    summaries_of(folder)
    assert counted[4:] == ["episode_000001"]


def test_a_summary_with_endless_numbers_or_missing_columns_is_not_used(folder):
    summaries_of(folder)
    one, two = (summary_file(path) for path in list_episodes(folder)[:2])
    one.write_text(one.read_text().replace('"total": [', '"total": [Infinity, ', 1))
    values = json.loads(two.read_text())
    del values["columns"]["state left_arm_1"]
    two.write_text(json.dumps(values))
    first, second, *_ = read_trajectories(folder)
    assert first.moments == {} and "state" not in second.moments and "action" in second.moments
    assert len(gather([first, second], PolicyConfig(horizon=5)).statistics().state.mean) == 16


def test_a_folder_that_takes_no_file_is_summarised_each_time(folder, counted, monkeypatch):
    def refuse(*_):
        raise OSError(30, "Read-only file system")

    monkeypatch.setattr(summaries, "replace_text", refuse)
    summaries_of(folder)
    assert len(summaries_of(folder)) == 4
    assert len(counted) == 8


def test_a_summary_tells_what_training_sees(folder):
    path = list_episodes(folder)[0]
    kept, episode = summaries_of(folder)[path], read_episode(path)
    assert kept == read_summary(path)
    assert kept.facts["task"] == "reach" and kept.facts["ticks"] == 30
    first = kept.facts["waiting_ticks"]
    column = kept.columns["state left_arm_1"]
    assert column.unit == "rad"
    assert column.quantiles[0] == pytest.approx(episode.state[first:, 0].min())
    assert kept.columns["force right"].unit == "N"
    assert "brightness cam_high" not in kept.columns  # its pictures are none
