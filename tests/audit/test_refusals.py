"""Rules that keep an episode from being converted, each seen to fire and to stay silent."""

import dataclasses

import numpy as np
import pytest

from ate_core.contract import load_cell
from ate_core.resample import make_series
from training.audit.findings import refusals
from training.audit.judge import all_rules
from training.data.bag_reader import BagEpisode

CELL = load_cell(None, "sim")
START_NS = 1_700_000_000_000_000_000
SECONDS = 3.0


def stamps(rate):
    return START_NS + (np.arange(int(SECONDS * rate)) * 1e9 / rate).astype(np.int64)


def way(rate, side):
    """A smooth motion of all joints around home, another one for each arm [rad]."""
    time = np.arange(int(SECONDS * rate)) / rate
    phase = np.arange(7) if side == "left" else np.arange(7)[::-1] + 2.0
    home = np.array(CELL.arms[side].home)
    return home + 0.4 * np.sin(2.0 * time[:, None] + phase)


@pytest.fixture
def sound():
    series = {}
    for side in CELL.arms:
        moved = way(100.0, side)
        series[f"{side}_arm_command"] = make_series(stamps(100.0), moved)
        state = np.concatenate([np.roll(moved, 3, axis=0), np.gradient(moved, 0.01, axis=0)], 1)
        state[:3, :7] = moved[0]
        series[f"{side}_arm_state"] = make_series(stamps(100.0), state)
        series[f"{side}_wrench"] = make_series(stamps(100.0), np.full((300, 6), 1.5))
        series[f"{side}_gripper_state"] = make_series(stamps(50.0), np.full((150, 1), 1.02))
    poses = np.tile([0.3, 0.0, 0.1, 0.0, 0.0, 0.6, 0.8], (90, 2, 1))
    series["objects"] = make_series(stamps(30.0), poses)
    return BagEpisode(cell=CELL, info={"start_ns": START_NS}, outcome={}, series=series)


def changed(episode, stream, change):
    """The episode with the values of one stream changed in place by a function."""
    series = episode.series[stream]
    values = series.values.copy()
    change(values)
    new = dataclasses.replace(series, values=values)
    return dataclasses.replace(episode, series=episode.series | {stream: new})


def put(index, value):
    return lambda values: values.__setitem__(index, value)


def test_a_sound_episode_is_not_refused(sound):
    assert refusals(sound) == []


@pytest.mark.parametrize(
    ("rule", "stream", "change"),
    [
        ("joint_limits", "left_arm_state", put((50, 2), 9.9)),
        ("joint_limits", "right_arm_command", put((50, 2), -9.9)),
        ("joint_limits", "right_arm_state", lambda v: np.degrees(v, out=v)),
        ("gripper_range", "left_gripper_state", put((7, 0), 1.7)),
        ("gripper_range", "right_gripper_state", put((7, 0), -0.3)),
        ("wrench_range", "left_wrench", put((9, 2), 900.0)),
        ("wrench_range", "right_wrench", put((9, 5), -20.0)),
        ("unit_quaternion", "objects", put((4, 1, 6), 0.1)),
        ("not_finite", "left_arm_state", put((9, 0), np.nan)),
        ("not_finite", "left_arm_command", put((9, 0), np.inf)),
        ("not_finite", "left_wrench", put((9, 0), np.nan)),
        ("not_finite", "objects", put((9, 0, 0), np.nan)),
        ("frozen_joints", "left_arm_state", lambda v: v.__setitem__(slice(100, 200), v[100])),
    ],
)
def test_a_value_that_cannot_be_true_is_refused_by_name(sound, rule, stream, change):
    found = refusals(changed(sound, stream, change))
    assert {(finding.rule, finding.stream) for finding in found} == {(rule, stream)}
    assert found[0].severity == "refuse" and str(found[0]).startswith(f"{rule}: ")
    assert 0.0 <= found[0].start_s <= found[0].end_s <= SECONDS


def test_joints_in_degrees_are_named_as_such(sound):
    found = refusals(changed(sound, "left_arm_state", lambda v: np.degrees(v, out=v)))
    assert "in degrees" in found[0].message


def test_the_moment_of_a_refusal_is_that_of_the_value(sound):
    found = refusals(changed(sound, "left_wrench", put((120, 2), 900.0)))
    assert found[0].start_s == pytest.approx(1.2) and found[0].value == 900.0


def test_an_episode_that_nobody_commands_is_refused(sound):
    rest = {name: series for name, series in sound.series.items() if "command" not in name}
    found = refusals(dataclasses.replace(sound, series=rest))
    assert [finding.rule for finding in found] == ["no_command"]


def test_one_commanded_arm_is_enough(sound):
    rest = {name: s for name, s in sound.series.items() if name != "right_arm_command"}
    assert refusals(dataclasses.replace(sound, series=rest)) == []


@pytest.mark.parametrize("part", ["state", "command"])
def test_exchanged_arms_are_refused(sound, part):
    names = (f"left_arm_{part}", f"right_arm_{part}")
    swapped = dict(zip(names, (sound.series[n] for n in reversed(names)), strict=True))
    found = refusals(dataclasses.replace(sound, series=sound.series | swapped))
    assert {finding.rule for finding in found} == {"swapped_arms"}


def test_an_arm_at_rest_without_commands_is_not_frozen(sound):
    still = changed(sound, "right_arm_state", lambda v: v.__setitem__(slice(None), v[0]))
    rest = {name: s for name, s in still.series.items() if name != "right_arm_command"}
    assert refusals(dataclasses.replace(still, series=rest)) == []


def test_every_rule_says_itself_and_its_bound():
    for name, rule in all_rules().items():
        assert "Bound:" in rule.__doc__, name
