"""A joint trajectory is followed as it was asked for, or refused as a whole."""

import numpy as np
import pytest

from arm_driver.trajectory import MOST_POINTS, NEAR_START, TrajectoryPoint, plan
from ate_core.contract import load_cell
from ate_core.errors import SafetyError

CELL = load_cell()
ARM = CELL.arms["left"]
HOME = np.array(ARM.home)
NAMES = ARM.joint_names
TIMES = np.linspace(0.0, np.pi / 2.0, 401)
FULL_TIMES = np.linspace(0.0, 2.0, 401)


def point(time, move=0.0, **more) -> TrajectoryPoint:
    return TrajectoryPoint(time=time, position=tuple(HOME + move), **more)


def planned(*points, names=NAMES, present=HOME):
    return plan(names, points, ARM, CELL.safety, present)


def refusal(*points, **more) -> str:
    with pytest.raises(SafetyError) as refused:
        planned(*points, **more)
    return str(refused.value)


def test_positions_alone_are_met_at_rest_without_overshoot() -> None:
    path = planned(point(1.0, 0.3), point(2.0, 0.1))
    np.testing.assert_allclose(
        path.sample([0.0, 1.0, 2.0]) - HOME, [[0.0] * 7, [0.3] * 7, [0.1] * 7], atol=1e-12
    )
    np.testing.assert_allclose(path.sample([0.0, 2.0], 1), 0.0, atol=1e-12)
    moved = path.sample(FULL_TIMES) - HOME
    assert moved.min() > -1e-12
    assert moved.max() < 0.3 + 1e-12
    np.testing.assert_allclose(path.goal, HOME + 0.1)


def test_points_on_the_way_are_passed_and_not_stopped_at() -> None:
    path = planned(point(0.5, 0.1), point(1.0, 0.2), point(1.5, 0.3))
    assert path.sample([0.5, 1.0], 1).min() > 0.1


@pytest.mark.parametrize("quintic", [False, True], ids=["cubic", "quintic"])
def test_velocities_and_accelerations_are_met_where_they_are_given(quintic) -> None:
    def wave(t):
        more = {"velocity": np.full(7, 0.2 * np.cos(t))}
        if quintic:
            more["acceleration"] = np.full(7, -0.2 * np.sin(t))
        return point(t, 0.2 * np.sin(t), **more)

    given = np.linspace(0.0, np.pi / 2.0, 6)
    start = [point(0.0, 0.0, velocity=np.full(7, 0.2), **(
        {"acceleration": np.zeros(7)} if quintic else {}
    ))]  # fmt: skip
    path = planned(*start, *(wave(t) for t in given[1:]))
    np.testing.assert_allclose(path.sample(given, 1)[:, 0], 0.2 * np.cos(given), atol=1e-12)
    if quintic:
        np.testing.assert_allclose(path.sample(given, 2)[:, 0], -0.2 * np.sin(given), atol=1e-9)
    wanted = HOME + 0.2 * np.sin(TIMES)[:, None]
    np.testing.assert_allclose(path.sample(TIMES), wanted, atol=1e-6 if quintic else 1e-4)


def test_joints_may_come_in_any_order() -> None:
    order = np.random.default_rng(2).permutation(7)
    goal = HOME + np.linspace(0.0, 0.2, 7)
    shuffled = TrajectoryPoint(time=2.0, position=tuple(goal[order]))
    path = planned(shuffled, names=[NAMES[index] for index in order])
    np.testing.assert_allclose(path.goal, goal)


@pytest.mark.parametrize(
    ("points", "words"),
    [
        ([], "has 0 points"),
        ([point(1.0)] * (MOST_POINTS + 1), f"{MOST_POINTS}"),
        ([point(1.0), point(1.0)], "need growing times"),
        ([point(-1.0)], "need growing times"),
        ([point(1e4)], "to 600 s"),
        ([point(float("nan"))], "need growing times"),
        ([point(1.0, float("nan"))], "no number"),
        ([TrajectoryPoint(time=1.0, position=(0.0,) * 6)], "6 numbers as position, need 7"),
        ([point(1.0, velocity=(0.0,) * 3)], "3 numbers as velocity"),
        ([point(1.0, velocity=(0.0,) * 7), point(2.0)], "for all points or for none"),
        ([point(1.0, velocity=(float("inf"),) * 7)], "velocity that is no number"),
        ([point(0.0, NEAR_START + 0.01), point(1.0)], "plan it from the present posture"),
        ([point(2.0, 9.0)], "angle"),
        ([point(0.1, 0.2)], "speed"),
        ([point(2.0, 0.3), point(2.1, 0.1)], "speed"),
        ([point(1.0, 0.0, velocity=(0.5,) * 7)], "ends at"),
        ([point(0.1, 0.05)], "acceleration"),
    ],
)
def test_what_the_arm_cannot_follow_is_refused_with_value_and_bound(points, words) -> None:
    assert words in refusal(*points)


@pytest.mark.parametrize("key", ["position", "velocity", "acceleration"])
@pytest.mark.parametrize("huge", [1e308, -1e308, 1e200, np.finfo(np.float64).tiny])
def test_numbers_that_overflow_on_the_way_are_refused(key, huge) -> None:
    values = {"position": HOME, "velocity": np.zeros(7), "acceleration": np.zeros(7)}
    first = TrajectoryPoint(time=0.0, **values)
    last = TrajectoryPoint(time=1.0, **values)
    wild = TrajectoryPoint(time=1e-9 if abs(huge) < 1.0 else 0.5, **values | {key: (huge,) * 7})
    try:
        path = planned(first, wild, last)
    except SafetyError:
        return
    assert np.all(np.isfinite(path.sample(FULL_TIMES)))  # the tiny one is nothing
    assert abs(huge) < 1.0


def test_a_spike_between_two_looks_is_seen() -> None:
    points = [point(0.0), point(1.001), point(1.002, 0.4), point(1.003), point(2.0)]
    assert "bounds" in refusal(*points)


def test_other_joints_are_refused_by_name() -> None:
    assert "right_joint1" in refusal(point(1.0), names=["right_joint1", *NAMES[1:]])
    assert "need" in refusal(point(1.0), names=NAMES[:6])
    assert "need" in refusal(point(1.0), names=[NAMES[0]] * 7)


def test_an_overshoot_between_good_points_is_refused() -> None:
    _, upper = ARM.bounds(CELL.safety.position_margin)
    near = HOME.copy()
    near[3] = upper[3] - 0.01
    speed = np.zeros(7)
    speed[3] = 0.5
    first = TrajectoryPoint(time=0.0, position=tuple(near), velocity=tuple(speed))
    again = TrajectoryPoint(time=0.5, position=tuple(near), velocity=tuple(-speed))
    last = TrajectoryPoint(time=1.5, position=tuple(near - 0.1 * (speed > 0)), velocity=(0.0,) * 7)
    assert f"{NAMES[3]} at the angle" in refusal(first, again, last, present=near)


def test_the_postures_of_a_path_leave_no_gap() -> None:
    path = planned(point(1.0, 0.3), point(3.0, -0.3))
    postures = path.postures(0.02)
    np.testing.assert_allclose(postures[0], HOME)
    np.testing.assert_allclose(postures[-1], path.goal, atol=1e-3)
    assert np.abs(np.diff(postures, axis=0)).max() < 0.03
