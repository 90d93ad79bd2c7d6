"""Whether two sets drifted: planted shifts are found, chance and few episodes raise no alarm."""

import dataclasses
import json

import numpy as np
import pytest

from ate_core.errors import EpisodeError
from training.data.episode_file import write_episode
from training.data.summaries import LEVELS, Column, Summary, moments_of
from training.episodes.drift import BOUNDS, compare_sets, least_chance, table

TICKS = 100


def episodes(count, seed, *, shift=0.0, wander=0.3, names=("a", "b", "c", "d")):
    """Episodes each of which is somewhere else: ticks of one are alike, episodes are not."""
    rng = np.random.default_rng(seed)
    made = []
    for _ in range(count):
        columns = {}
        for name in names:
            place = rng.normal(0.0, wander) + (shift if name == names[0] else 0.0)
            values = (place + rng.normal(0.0, 0.1, TICKS)).astype(np.float32)
            columns[f"state {name}"] = column(values)
        made.append(summary(columns))
    return made


def column(values, unit="rad"):
    (moments,) = moments_of(values[:, None])
    return Column(unit=unit, moments=moments, quantiles=tuple(np.quantile(values, LEVELS)))


def summary(columns):
    return Summary(size=0, mtime_ns=0, sha256="", file_sha256="", facts={}, columns=columns)


def drifted(found):
    return [one.name for one in found.columns if one.drifted]


def test_two_sets_of_the_same_kind_raise_no_alarm_however_their_episodes_wander():
    verdicts = [
        compare_sets(episodes(8, 2 * seed), episodes(8, 2 * seed + 1), seed=seed).verdict
        for seed in range(10)
    ]
    assert verdicts.count("drift") <= 1  # one in a hundred is allowed


def test_a_planted_shift_is_found_in_its_column_with_its_size():
    found = compare_sets(episodes(20, 0), episodes(20, 1, shift=0.6))
    assert found.verdict == "drift"
    assert drifted(found) == ["state a"]
    assert found.columns[0].distance == pytest.approx(0.6, abs=0.2)
    assert found.columns[0].shift == pytest.approx(0.6, abs=0.2)


def test_a_wider_spread_without_a_shift_of_the_mean_is_drift_too():
    steady = [summary({"state a": column(np.full(TICKS, 0.5, np.float32))}) for _ in range(10)]
    rng = np.random.default_rng(0)
    shaking = [
        summary({"state a": column(rng.normal(0.5, 0.3, TICKS).astype(np.float32))})
        for _ in range(10)
    ]
    found = compare_sets(steady, shaking)
    assert found.verdict == "drift" and abs(found.columns[0].shift) < 0.05


def test_what_is_certain_and_small_is_no_drift():
    found = compare_sets(
        episodes(40, 0, wander=0.001), episodes(40, 1, wander=0.001, shift=0.6 * BOUNDS["rad"])
    )
    assert found.columns[0].chance < 0.01 or found.columns[0].distance < BOUNDS["rad"]
    assert found.verdict == "alike"


def test_few_episodes_cannot_tell_whatever_they_show():
    found = compare_sets(episodes(3, 0), episodes(3, 1, shift=50.0))
    assert found.verdict == "cannot tell"
    assert least_chance(3, 3) == pytest.approx(0.1)
    assert least_chance(5, 5) < 0.01 < least_chance(4, 4)
    assert compare_sets(episodes(5, 0), episodes(5, 1, shift=50.0)).verdict == "drift"


def test_long_episodes_count_as_one_each():
    """A thousand ticks of one place are one observation: no alarm from their number."""
    verdicts = [
        compare_sets(episodes(5, seed), episodes(5, 99 - seed), seed=seed).verdict
        for seed in range(5)
    ]
    assert verdicts.count("drift") <= 1


def test_columns_of_one_set_alone_are_named_and_sets_without_common_ones_refused():
    found = compare_sets(episodes(5, 0), episodes(5, 1, names=("a", "z")))
    assert set(found.only_one) == {"state b", "state c", "state d", "state z"}
    with pytest.raises(EpisodeError, match="no column in common"):
        compare_sets(episodes(5, 0), episodes(5, 1, names=("z",)))
    with pytest.raises(EpisodeError, match="without successful episodes"):
        compare_sets([], episodes(5, 1))


def test_unlike_layouts_are_told():
    first, second = episodes(5, 0), episodes(5, 1)
    assert not compare_sets(first, second).unlike_layouts
    moved = [dataclasses.replace(one, facts={"layout_sha256": "6"}) for one in second]
    found = compare_sets(first, moved)
    assert found.unlike_layouts
    assert "the layouts differ" in table(found, {"first": "a", "second": "b"})


@pytest.fixture
def other(tmp_path, make):
    """Five episodes whose forces are high."""
    target = tmp_path / "other"
    for index in range(5):
        wrench = np.full((30, 12), 20.0, np.float32)
        write_episode(target / f"episode_{index:06d}.hdf5", make(20 + index, wrench=wrench))
    return target


def test_the_command_names_what_drifted_and_fails(folder, other, make, ate):
    write_episode(folder / "episode_000004.hdf5", make(4))
    assert ate("drift", folder, folder)[0] == 0
    code, said = ate("drift", folder, other)
    assert code == 1
    assert "force left" in said and "DRIFT" in said and "drift in" in said
    found = json.loads(ate("drift", folder, other, "--json")[1])
    assert found["verdict"] == "drift" and found["first"] == found["second"] == 5
    assert {"force left", "force right"} <= {
        one["name"] for one in found["columns"] if one["drifted"]
    }


def test_the_command_says_when_it_cannot_tell(folder, other, ate):
    for number in range(4):
        ate("delete", other, number)
    code, said = ate("drift", folder, other)
    assert code == 0 and "cannot tell: 4 and 1 episodes are too few" in said
