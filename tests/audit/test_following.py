"""Commands, states and openings that do not belong together, and streams that are copies."""

import dataclasses

import numpy as np
import pytest

from ate_core.contract import load_cell
from ate_core.resample import make_series
from training.audit.findings import Untold, refusals
from training.audit.judge import audit_episode, compare
from training.audit.rules.commands import frozen_joints
from training.audit.rules.copies import copied_command, copied_stream, repeated_states
from training.audit.rules.following import (
    gripper_follows,
    off_command,
    stale_command,
    uncommanded_motion,
)
from training.audit.rules.motion import command_lag
from training.audit.rules.outcome import nothing_done
from training.data.bag_reader import BagEpisode

CELL = load_cell(None, "sim")
SECONDS, RATE, LAG = 8.0, 100.0, 0.08
TIMES = np.arange(0.0, SECONDS, 1.0 / RATE)


def way(times, side):
    """A smooth motion of all joints, each its own."""
    phases = np.arange(7) + (0.0 if side == "left" else 0.4)
    return np.array(CELL.arms[side].home) + 0.25 * np.sin(0.7 * times[:, None] + phases)


def opening(times):
    """Open, closed from 2 to 5 s, open."""
    return np.interp(times, [2.0, 2.2, 5.0, 5.2], [1.0, 0.0, 0.0, 1.0])[:, None]


def stream(values, times=TIMES):
    return make_series(np.round(times * 1e9).astype(np.int64), values)


def recorded(**changes):
    """Two arms that follow their commands 80 ms later; some streams changed."""
    rng = np.random.default_rng(0)
    series = {}
    for side in CELL.arms:
        noise = 1e-6 * rng.normal(size=(len(TIMES), 7))
        measured, before = way(TIMES - LAG, side) + noise, way(TIMES - LAG - 1e-3, side) + noise
        speeds = (measured - before) / 1e-3
        series[f"{side}_arm_state"] = stream(np.concatenate([measured, speeds], axis=1))
        series[f"{side}_arm_command"] = stream(way(TIMES, side))
        series[f"{side}_wrench"] = stream(rng.normal(size=(len(TIMES), 6)))
        series[f"{side}_gripper_state"] = stream(opening(TIMES - LAG))
        series[f"{side}_gripper_command"] = stream(np.round(opening(TIMES)))
    series = {name: changes.get(name, one) for name, one in series.items()}
    received = {name: one.stamps_ns for name, one in series.items()}
    return BagEpisode(
        cell=CELL,
        info={"start_ns": 0},
        outcome={"outcome": "success"},
        series=series,
        received_ns=received,
    )


def changed(name, change):
    values = recorded().series[name].values.copy()
    change(values)
    return recorded(**{name: stream(values)})


RULES = (
    stale_command, off_command, uncommanded_motion, gripper_follows, copied_stream,
    copied_command, repeated_states, command_lag, frozen_joints, nothing_done,
)  # fmt: skip


@pytest.mark.parametrize("rule", RULES)
def test_nothing_is_said_of_arms_that_follow(rule):
    assert list(rule(recorded())) == []


def hold(first, last):
    def change(values):
        values[first:last] = values[first]

    return change


@pytest.mark.parametrize("length", [100, 500])
def test_a_command_that_is_repeated_while_its_arm_moves_on_keeps_an_episode_out(length):
    bad = changed("left_arm_command", hold(200, 200 + length))
    (found,) = stale_command(bad)
    assert found.severity == "refuse" and found.stream == "left_arm_command"
    assert "stale_command" in {one.rule for one in refusals(bad)}


def test_an_arm_that_still_comes_to_a_constant_command_is_late_not_lied_about():
    target = way(TIMES, "left")
    target[300:] = target[300] + 0.5  # a jump that the filter follows at 1 rad/s
    state = recorded().series["left_arm_state"].values.copy()
    ahead = np.clip(TIMES[300:, None] - 3.0, 0.0, 0.5)
    state[300:, :7] = state[300, :7] + np.minimum(ahead, target[300] - state[300, :7])
    late = recorded(left_arm_command=stream(target), left_arm_state=stream(state))
    assert list(stale_command(late)) == []


def test_an_arm_that_moves_in_a_pause_of_its_commands_is_flagged():
    kept = (TIMES < 2.0) | (TIMES > 4.0)
    silent = stream(way(TIMES[kept], "left"), TIMES[kept])
    (found,) = uncommanded_motion(recorded(left_arm_command=silent))
    assert found.stream == "left_arm_command" and found.start_s > 2.0
    assert list(stale_command(recorded(left_arm_command=silent))) == []


def turn(joint, change):
    def inner(values):
        values[:, joint] = change(values[:, joint])

    return inner


def exchange(values):
    values[:, [1, 3]] = values[:, [3, 1]]


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (turn(2, lambda q: q + 0.1), "look at its zero"),
        (turn(1, np.negative), "look at its sign"),
        (exchange, "look at the order of joints"),
    ],
)
def test_a_joint_beside_its_command_is_told_by_what_explains_it(change, words):
    (found,) = off_command(changed("left_arm_state", change))
    assert words in found.message and found.stream == "left_arm_state"


def test_of_an_arm_that_rests_nobody_can_tell_whether_it_follows():
    still = stream(np.tile(way(np.zeros(1), "left"), (len(TIMES), 1)))
    (said,) = off_command(recorded(left_arm_command=still, left_arm_state=still))
    assert isinstance(said, Untold)


def pressed(first, last, offset=0.0):
    """An arm that is held 0.1 rad beside its command by 60 N for a while."""
    state, wrench = (
        recorded().series[f"left_{part}"].values.copy() for part in ("arm_state", "wrench")
    )
    state[first:last, 3] += 0.1
    state[:, 2] += offset
    wrench[first:last, 2] += 60.0
    return recorded(left_arm_state=stream(state), left_wrench=stream(wrench))


def test_an_arm_that_something_holds_back_is_not_beside_its_command():
    assert list(off_command(pressed(200, 700))) == []
    (found,) = off_command(pressed(200, 700, offset=0.1))
    assert "left_joint3" in found.message and "look at its zero" in found.message


def test_commands_that_come_after_their_motion_are_flagged():
    late = stream(way(TIMES - LAG - 0.1, "left"))
    (found,) = command_lag(recorded(left_arm_command=late))
    assert found.value < -0.05


def test_states_that_are_repeated_or_copied_are_told():
    half = changed("left_arm_state", lambda v: v.__setitem__(slice(1, None, 2), v[:-1:2]))
    (found,) = repeated_states(half)
    assert found.value == pytest.approx(0.5, abs=0.05)
    same = recorded(right_wrench=recorded().series["left_wrench"])
    (found,) = copied_stream(same)
    assert "under two names" in found.message
    states = recorded().series["left_arm_state"].values[:, :7]
    (found,) = copied_command(recorded(left_arm_command=stream(states)))
    assert found.stream == "left_arm_command"


def test_an_arm_that_reaches_each_command_to_the_bit_is_no_copy_of_it():
    states = recorded().series["left_arm_state"].values.copy()
    states[5:, :7] = way(TIMES, "left")[:-5]
    assert list(copied_command(recorded(left_arm_state=stream(states)))) == []


@pytest.mark.parametrize("part", ["state", "command"])
def test_an_opening_that_goes_the_other_way_is_flagged(part):
    (found,) = gripper_follows(changed(f"left_gripper_{part}", lambda v: np.subtract(1, v, v)))
    assert found.stream == "left_gripper_command"


def test_a_gripper_that_an_object_stops_is_not():
    stopped = np.maximum(opening(TIMES - LAG), 0.4)
    assert list(gripper_follows(recorded(left_gripper_state=stream(stopped)))) == []


@pytest.mark.parametrize("ends_in_freeze", [False, True])
def test_joints_that_freeze_in_a_slow_motion_are_told_by_a_step_or_by_their_speed(ends_in_freeze):
    slow = np.array(CELL.arms["left"].home) + 0.012 * TIMES[:, None]
    state = np.concatenate([slow, np.full((len(TIMES), 7), 0.012)], axis=1)
    first, last = (700, 800) if ends_in_freeze else (300, 400)
    state[first:last] = state[first]
    bad = recorded(left_arm_state=stream(state), left_arm_command=stream(slow))
    (found,) = frozen_joints(bad)
    assert ("tells 0.012 rad/s" if ends_in_freeze else "rad away") in found.message


def test_a_success_in_which_nothing_moved_is_flagged():
    closed = {f"{side}_gripper_state": stream(np.zeros((len(TIMES), 1))) for side in CELL.arms}
    pose = np.tile([0.3, 0.0, 0.05, 0.0, 0.0, 0.0, 1.0], (len(TIMES), 1, 1))
    bad = recorded(**closed)
    assert list(nothing_done(bad)) == []  # nobody knows of any object
    bad = dataclasses.replace(bad, series={**bad.series, "objects": stream(pose)})
    (found,) = nothing_done(bad)
    assert "no object by 5 mm" in found.message
    failed = dataclasses.replace(bad, outcome={"outcome": "failure"})
    assert list(nothing_done(failed)) == []


def test_an_episode_under_another_name_is_flagged_in_its_set():
    other = changed("left_arm_state", lambda v: v.__iadd__(1e-6))
    names = {"a": recorded(), "b": other, "c": recorded()}
    said = compare([audit_episode(name, episode) for name, episode in names.items()])
    assert [one.verdicts["duplicate"] for one in said] == ["pass", "pass", "flag"]
    assert "those of a to the last bit" in said[2].findings[-1].message


def test_an_arm_that_starts_while_states_are_missing_is_not_frozen():
    late = np.clip(TIMES - 3.0, 0.0, 0.5)
    moved = 1.5 * late[:, None] ** 2  # 3 rad/s^2
    moved[(TIMES >= 3.0) & (TIMES < 3.08)] = 0.0  # a step of 0.01 rad
    state = np.array(CELL.arms["left"].home) + moved
    bad = recorded(
        left_arm_state=stream(np.concatenate([state, np.zeros((len(TIMES), 7))], axis=1)),
        left_arm_command=stream(np.array(CELL.arms["left"].home) + 1.5 * late[:, None] ** 2),
    )
    assert list(frozen_joints(bad)) == []
