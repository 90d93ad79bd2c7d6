"""The distance guard in a stepping loop of its own, with time as an argument."""

import dataclasses
import itertools
import math

import numpy as np
import pytest

from ate_core.contract import SIDES, Cell, load_cell, parse_cell_text
from ate_core.errors import ContractError
from ate_core.guard import CellGeometry, DistanceGuard
from ate_core.guard.geometry import Kind
from ate_core.guard.other_arm import SERVO_LAG, OtherArm
from ate_core.guard.surroundings import Surroundings
from ate_core.guard.view import tightest
from ate_core.guard_config import GuardConfig, Obstacle, Zone
from ate_core.motion_limits import MotionLimits, SetPoint
from ate_core.motion_profile import rest
from ate_core.strict import build_checked

CELL = load_cell(hardware="sim")
TICK = 0.01
MILLIMETRE = 1e-3


class Arm:
    """A set point within a cell's limits of acceleration and jerk, and where it comes to rest."""

    def __init__(self, q, cell: Cell = CELL) -> None:
        self._bounds = [-10.0] * len(q), [10.0] * len(q)
        self._point = SetPoint(
            MotionLimits(
                lower=self._bounds[0],
                upper=self._bounds[1],
                speed=[10.0] * len(q),
                acceleration=cell.safety.max_joint_acceleration,
                jerk=cell.safety.max_joint_jerk,
            ),
            q,
        )
        self.q, self.v, self.stopping = self._point.q, self._point.velocity, Stopping(self)
        self.history = [(self.q, self.v)]

    def braked(self, aim):
        return self._point.stopping(np.asarray(aim).tolist(), TICK, *self._bounds)

    def ways(self, aim):
        return self._point.ways(np.asarray(aim).tolist(), TICK, *self._bounds)

    def step(self, aim) -> None:
        self._point.advance(np.asarray(aim).tolist(), TICK, *self._bounds)
        self.q, self.v = self._point.q, self._point.velocity
        self.history.append((self.q, self.v))


class Stopping:
    """How an arm comes to rest after one step."""

    def __init__(self, arm: Arm) -> None:
        self._arm = arm

    def __call__(self, aim):
        return self._arm.braked(aim)

    def ways(self, aim):
        return self._arm.ways(aim)


class Stage:
    """Guarded arms of a cell; what each sees of the other is `delay` ticks old."""

    def __init__(self, cell: Cell = CELL, delay: int = 4) -> None:
        self.cell, self.delay, self.hear = cell, delay, True
        self.arms = {side: Arm(arm.home, cell) for side, arm in cell.arms.items()}
        self.guards = {side: DistanceGuard.of_cell(cell, side) for side in cell.arms}
        self.geometry = CellGeometry(cell, tuple(cell.arms))
        self.now = 50.0
        self.reasons = dict.fromkeys(cell.arms, "")
        self.near = dict.fromkeys(cell.arms, "")
        self.said: dict[str, set[str]] = {side: set() for side in cell.arms}
        self.least: dict[str, float] = {}
        self.tool_speed = 0.0
        self.listen()

    def listen(self) -> None:
        for side, other in itertools.permutations(self.cell.arms, 2):
            seen, velocity = self.arms[other].history[-self.delay - 1 :][0]
            self.guards[side].see_other(seen, self.now, velocity)

    def step(self, wanted) -> None:
        self.now += TICK
        if self.hear:
            self.listen()
        aims = {}
        for side, arm in self.arms.items():
            verdict = self.guards[side].limit(
                arm.q, arm.v, wanted.get(side, np.zeros_like(arm.q)), TICK, self.now, arm.stopping
            )
            aims[side] = verdict.velocity
            self.reasons[side], self.near[side] = verdict.reason, verdict.near
            self.said[side] |= {verdict.reason} - {""}
        before = self.tools()
        for side, arm in self.arms.items():
            arm.step(aims[side])
        self.tool_speed = max(
            [self.tool_speed]
            + [
                float(np.linalg.norm(b - a)) / TICK
                for a, b in zip(before, self.tools(), strict=True)
            ]
        )
        for name, gap in self.gaps().items():
            self.least[name] = min(self.least.get(name, np.inf), gap)

    def tools(self):
        self.geometry.update(np.concatenate([arm.q for arm in self.arms.values()]))
        return [self.geometry.tool(side) for side in self.arms]

    def gaps(self):
        self.geometry.update(np.concatenate([arm.q for arm in self.arms.values()]))
        found = self.geometry.distances()
        return {
            kind.name: distance - kind.zone.stop
            for kind, (distance, _) in zip(self.geometry.kinds, found, strict=True)
        }

    def toward(self, goals, ticks: int, speed: float = 2.0) -> None:
        for _ in range(ticks):
            self.step(
                {
                    side: np.clip(8.0 * (np.asarray(goal) - self.arms[side].q), -speed, speed)
                    for side, goal in goals.items()
                }
            )


def inward(side: str) -> np.ndarray:
    """A posture whose gripper would be in the middle of the cell, low."""
    turn = -0.9 if side == "left" else 0.9
    return np.array([turn, 0.6, 0.0, 1.5, 0.0, 1.0, 0.0])


def from_home(side: str, change, cell: Cell = CELL) -> np.ndarray:
    return np.add(cell.arms[side].home, change)


def down(side: str) -> np.ndarray:
    return from_home(side, [0.0, 0.9, 0.0, 0.0, 0.0, -0.9, 0.0])


def test_two_arms_driven_at_each_other_stop_at_the_guard_distance_and_say_why():
    stage = Stage()
    stage.toward({side: inward(side) for side in SIDES}, 250)
    assert min(stage.least.values()) > -MILLIMETRE
    assert min(stage.gaps()["arm_arm"], stage.gaps()["gripper_gripper"]) < 0.02
    for side in SIDES:
        assert "left" in stage.reasons[side] and "right" in stage.reasons[side]
        assert "stopped at" in stage.reasons[side]


def with_jerk(jerk: float) -> Cell:
    safety = dataclasses.replace(CELL.safety, max_joint_jerk=jerk)
    return dataclasses.replace(CELL, safety=safety)


@pytest.mark.parametrize("jerk", [50.0, 100.0, 800.0])
@pytest.mark.parametrize("seed", range(3))
def test_arms_that_brake_gently_keep_their_distances_from_each_other(jerk, seed):
    stage, rng = Stage(with_jerk(jerk)), np.random.default_rng(seed)
    for stroke in range(4):  # home and at each other: they meet at speed
        goals = {
            side: (inward(side) if stroke % 2 else np.array(CELL.arms[side].home))
            + rng.uniform(-0.4, 0.4, 7)
            for side in SIDES
        }
        stage.toward(goals, 100)
    assert min(stage.least[kind] for kind in ("arm_arm", "gripper_gripper")) > -MILLIMETRE


@pytest.mark.parametrize("jerk", [50.0, 100.0])
@pytest.mark.parametrize("seed", range(3))
def test_an_arm_that_brakes_gently_keeps_off_the_table_on_its_way_to_rest(jerk, seed):
    stage, rng = Stage(with_jerk(jerk)), np.random.default_rng(seed)
    for _ in range(6):
        goals = {side: down(side) + rng.uniform(-0.6, 0.6, 7) for side in SIDES}
        stage.toward(goals, 60)
    assert stage.least["gripper_table"] > 0.0


@pytest.mark.parametrize(
    ("jerk", "speed", "acceleration", "counted"),
    [
        (50.0, 0.8, 0.0, 0.0),
        (50.0, 0.8, 6.0, 6.0),
        (800.0, 0.8, 6.0, 6.0),
        (50.0, 0.8, -6.0, -6.0 + 50.0 * SERVO_LAG),  # what is surely left of braking
        (50.0, 0.2, -6.0, -6.0 + 50.0 * SERVO_LAG),  # a joint that turns back
        (50.0, 0.8, -1.0, 0.0),
        (800.0, 0.8, -6.0, 0.0),
    ],
)
def test_the_other_arm_is_expected_where_its_jerk_lets_it_rest(jerk, speed, acceleration, counted):
    other, q = OtherArm(with_jerk(jerk), "right"), np.array(CELL.arms["right"].home)
    turn = np.eye(7)[1]
    for tick in range(12):
        ago = (tick - 11) * TICK
        posture = q + (speed * ago + acceleration * ago**2 / 2) * turn
        other.see(posture, 1.0 + ago, (speed + acceleration * ago) * turn)
    now = (SERVO_LAG * (speed + SERVO_LAG * counted / 2), speed + SERVO_LAG * counted)
    end, low, high = rest((*now, counted), CELL.safety.max_joint_acceleration, jerk)
    state = other.at(1.0)
    np.testing.assert_allclose(np.subtract(state.rest, q), end * turn, atol=1e-9)
    np.testing.assert_allclose(state.turns, max(high, -low) * turn, atol=1e-9)


@pytest.mark.parametrize("turn", [0.0, 0.5])
def test_an_arm_that_nothing_slows_is_told_of_the_other_that_comes_near(turn):
    stage = Stage()
    stage.toward({"right": inward("right")}, 150)
    assert stage.near["right"] == ""
    turned = np.add(inward("right"), [0.0, 0.0, 0.0, 0.0, 0.0, 0.0, turn])
    stage.toward({"left": inward("left"), "right": turned}, 250)
    gaps = stage.gaps()
    assert min(gaps["arm_arm"], gaps["gripper_gripper"]) < 0.05
    assert "right" in stage.reasons["left"] and stage.reasons["right"] == ""
    assert "left" in stage.near["right"] and " mm from right" in stage.near["right"]
    np.testing.assert_allclose(stage.arms["right"].q, turned, atol=0.01)


def test_an_arm_driven_into_the_table_stops_above_it_and_may_rise_again():
    stage = Stage()
    stage.toward({"left": down("left")}, 200)
    assert -1e-5 < stage.least["gripper_table"] < 0.002
    assert "left gripper" in stage.reasons["left"] and "table" in stage.reasons["left"]
    stage.toward({"left": CELL.arms["left"].home}, 150)
    assert stage.reasons["left"] == "" and stage.gaps()["gripper_table"] > 0.1


def test_an_arm_slows_down_before_it_stops():
    stage = Stage()
    speeds = []
    for _ in range(200):
        stage.toward({"left": down("left")}, 1)
        speeds.append((stage.gaps()["gripper_table"], np.abs(stage.arms["left"].v).max()))
    near = [speed for gap, speed in speeds if gap < 0.005]
    far = [speed for gap, speed in speeds if gap > 0.05]
    assert max(near) < 0.3 * max(far)


def test_a_pair_that_is_too_near_may_only_part():
    close = dataclasses.replace(
        CELL, guard=dataclasses.replace(CELL.guard, gripper_table=Zone(stop=0.15, slow=0.2))
    )
    stage = Stage(close)
    before = stage.gaps()["gripper_table"]
    assert before < 0.0
    stage.toward({"left": down("left")}, 50)
    assert stage.gaps()["gripper_table"] > before - 1e-5
    up = from_home("left", [0.0, -0.3, 0.0, 0.0, 0.0, 0.0, 0.0])
    stage.toward({"left": up}, 100)
    np.testing.assert_allclose(stage.arms["left"].q, up, atol=0.01)


def test_an_arm_never_heard_of_may_be_anywhere_it_can_reach():
    guard = DistanceGuard.of_cell(CELL, "left")
    arm = Arm(CELL.arms["left"].home)
    inner = np.array([-1.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0])
    verdict = guard.limit(arm.q, arm.v, inner, TICK, 1.0, arm.stopping)
    assert np.abs(verdict.velocity).max() == 0.0
    assert "never seen" in verdict.reason and "right" in verdict.reason


def test_an_arm_that_falls_silent_is_kept_away_from_more_and_more():
    stage = Stage()
    stage.toward({}, 5)
    stage.hear = False
    inner = {"left": np.array([-0.7, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0])}
    stage.step(inner)
    assert stage.reasons["left"] == ""
    for _ in range(100):
        stage.step(inner)
    assert "right arm was last seen" in stage.reasons["left"]
    assert np.abs(stage.arms["left"].v).max() == 0.0
    stage.hear = True
    stage.toward({"left": CELL.arms["left"].home}, 100)
    assert stage.reasons["left"] == ""


def test_an_absent_arm_is_left_out_when_that_is_said():
    guard = DistanceGuard.of_cell(CELL, "left", other_absent=True)
    arm = Arm(CELL.arms["left"].home)
    wanted = np.array([-1.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0])
    verdict = guard.limit(arm.q, arm.v, wanted, TICK, 1.0, arm.stopping)
    assert verdict.reason == "" and np.array_equal(verdict.velocity, wanted)


def test_the_tool_keeps_its_speed_limit():
    slow = dataclasses.replace(CELL, guard=dataclasses.replace(CELL.guard, tool_speed=0.2))
    stage = Stage(slow)
    out = from_home("left", [1.2, 0.0, 0.0, -0.4, 0.0, 0.0, 0.0])
    stage.toward({"left": out}, 100)
    assert 0.15 < stage.tool_speed < 0.21
    assert any("tool is slowed" in text for text in stage.said["left"])


def test_the_tool_stays_in_the_workspace():
    wall = (0.95, 0.45, 1.2)
    boxed = dataclasses.replace(CELL, guard=dataclasses.replace(CELL.guard, workspace_upper=wall))
    stage = Stage(boxed)
    out = from_home("left", [1.4, 0.5, 0.0, -0.8, 0.0, 0.0, 0.0])
    stage.toward({"left": out}, 250)
    assert 0.44 < stage.tools()[0][1] <= 0.45 + 1e-5
    assert "upper wall of the workspace at y = 0.45" in stage.reasons["left"]


def test_a_declared_obstacle_is_kept_away_from():
    post = Obstacle(shape="cylinder", size=(0.03, 0.6), pose=(0.25, 0.45, 0.3, 0, 0, 0, 1))
    cell = dataclasses.replace(CELL, obstacles={**CELL.obstacles, "post": post})
    stage = Stage(cell)
    across = from_home("left", [1.2, 0.4, 0.0, -0.5, 0.0, 0.0, 0.0])
    stage.toward({"left": across}, 250)
    assert -1e-5 < stage.least["obstacle"] < 0.005
    assert "post" in stage.reasons["left"]


UNKNOWN_VELOCITIES = {
    "none": None,
    "not a number": [0.0, math.nan, *[0.0] * 5],
    "infinite": [math.inf, *[0.0] * 6],
    "of another arm": [0.0] * 6,
}


@pytest.mark.parametrize("name", UNKNOWN_VELOCITIES)
def test_an_other_arm_whose_velocity_is_unknown_is_not_taken_for_one_at_rest(name):
    other, q = OtherArm(CELL, "right"), np.array(CELL.arms["right"].home)
    for received in (1.0, 1.01, 1.02, 2.0):  # the last one after a silence
        other.see(q, received, UNKNOWN_VELOCITIES[name])
        assert other.at(received).is_stale == (received in (1.0, 2.0))
        q = q + 0.005  # 0.5 rad/s
        assert other.at(received).is_moving == (received in (1.01, 1.02))
    other.see(q, 2.01, np.zeros(7))
    assert not other.at(2.01).is_stale and not other.at(2.01).is_moving


def test_the_way_home_is_refused_where_something_is_in_it():
    guard = DistanceGuard.of_cell(CELL, "left")
    home = np.array(CELL.arms["left"].home)
    guard.see_other(CELL.arms["right"].home, 1.0, np.zeros(7))
    assert (
        guard.path_problem(from_home("left", [0.5, 0.2, 0.0, -0.3, 0.0, 0.0, 0.0]), home, 1.0)
        == ""
    )
    below = guard.path_problem(home, down("left"), 1.0)
    assert "left gripper" in below and "table" in below
    out = [0.0, 0.7, 0.0, -0.5, 0.0, -0.2, 0.0]
    guard.see_other(from_home("right", np.add(out, [1.5, 0, 0, 0, 0, 0, 0])), 1.0, np.zeros(7))
    swing = from_home("left", np.add(out, [-1.5, 0, 0, 0, 0, 0, 0]))
    across = guard.path_problem(home, swing, 1.0)
    assert "left" in across and "right" in across
    assert "last seen" in guard.path_problem(home, swing, 3.0)


def test_an_arm_of_six_joints_is_guarded_alike():
    cell = load_cell("six_axis", "sim")
    stage = Stage(cell)
    goals = {
        side: from_home(side, [turn, 0.5, -0.5, 0.0, 0.0, 0.0], cell)
        for side, turn in (("left", -0.9), ("right", 0.9))
    }
    stage.toward(goals, 200)
    assert min(stage.least.values()) > -MILLIMETRE
    assert stage.reasons["left"] and stage.reasons["right"]


@pytest.mark.parametrize(
    ("values", "words"),
    [
        ({"tool_speed": 5.0}, "tool_speed is 5.0 m/s"),
        ({"arm_arm": {"stop": -0.01, "slow": 0.1}}, "arm_arm.stop is -0.01"),
        ({"arm_arm": {"stop": 10.0, "slow": 130.0}}, "arm_arm.stop is 10.0.* in mm"),
        ({"gripper_table": {"stop": 0.01, "slow": 0.01}}, "slow at least 0.005 m above stop"),
        ({"workspace_lower": [0.5, 0, 0], "workspace_upper": [0.4, 1, 1]}, "in x"),
        ({"workspace_lower": [-500.0, 0.0, 0.0]}, "is -500.0 m"),
        ({"workspace_lower": [0.0, 0.0]}, "three numbers"),
        ({"gripper_arm": {"stop": 0.1, "slow": 0.2}}, "unknown key 'gripper_arm'"),
    ],
)
def test_a_guard_out_of_range_is_refused_with_its_value(values, words):
    with pytest.raises(ContractError, match=words):
        build_checked(GuardConfig, values, "guard")


TABLE = {"shape": "box", "size": [0.9, 1.6, 0.06], "pose": [0.25, 0.0, -0.03, 0, 0, 0, 1]}


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"size": [900.0, 1.6, 0.06]}, r"size\[0\] is 900.0 m"),
        ({"size": [0.9, 1.6]}, "size has 2 numbers"),
        ({"shape": "cone"}, "shape is 'cone'"),
        ({"pose": [0.25, 0.0, -0.03]}, "need x y z"),
        ({"pose": [250.0, 0.0, -30.0, 0.0, 0.0, 0.0, 1.0]}, "is 250.0 m"),
        ({"pose": [0.25, 0.0, -0.03, 0.0, 0.0, 0.0, 0.0]}, "of length 0"),
    ],
)
def test_an_obstacle_out_of_range_is_refused_with_its_value(change, words):
    with pytest.raises(ContractError, match=words):
        build_checked(Obstacle, {**TABLE, **change}, "obstacles.table")


def test_a_cell_with_obstacles_and_distances_survives_its_own_text():
    assert parse_cell_text(CELL.canonical_text()) == CELL


def test_an_arm_pressed_onto_the_table_slides_along_it():
    stage = Stage()
    stage.toward({"left": down("left")}, 150)
    before = stage.tools()[0]
    aside = np.add(down("left"), [0.8, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0])
    stage.toward({"left": aside}, 300)
    moved = stage.tools()[0] - before
    assert np.hypot(moved[0], moved[1]) > 0.1
    assert stage.least["gripper_table"] > -1e-5
    assert "table" in stage.reasons["left"]


def test_how_far_beyond_its_slow_zone_a_pair_was_changes_no_verdict():
    around = Surroundings(CELL, "left", "right")
    view = around.look(CELL.arms["left"].home)
    far = [1.0] * len(view.gaps)
    width = view.widths[0]
    there = view._replace(gaps=[width - 0.02, *far[1:]])
    reached = []
    for gap in (width + 0.001, width + 0.05):
        share, entry = tightest(
            view._replace(gaps=[gap, *far[1:]]), there, CELL.guard.tool_speed * TICK
        )
        assert entry == 0 and share < 1.0
        reached.append(gap - share * (gap - there.gaps[0]))
    assert reached[0] == pytest.approx(reached[1], abs=1e-9)


class Twins:
    """A guard and one that looks at other postures between two steps; both must say the same."""

    def __init__(self, cell: Cell, side: str) -> None:
        self.guard, self.twin = (DistanceGuard.of_cell(cell, side) for _ in range(2))
        self.slowed = 0

    def see_other(self, *seen) -> None:
        self.guard.see_other(*seen)
        self.twin.see_other(*seen)

    def limit(self, q, velocity, wanted, dt, now, stopping):
        self.twin.route_problem([CELL.arms["left"].home, inward("left")], now)
        verdict, other = (
            guard.limit(q, velocity, wanted, dt, now, stopping)
            for guard in (self.guard, self.twin)
        )
        # Two flat faces have no one nearest pair of points: that much may differ [rad/s].
        np.testing.assert_allclose(verdict.velocity, other.velocity, atol=5e-4)
        assert verdict.reason == other.reason
        self.slowed += bool(verdict.reason)
        return verdict


def test_a_verdict_does_not_depend_on_what_was_looked_at_before():
    stage, rng = Stage(), np.random.default_rng(3)
    stage.guards["left"] = twins = Twins(CELL, "left")
    for tick in range(150):
        if tick % 25 == 0:
            goals = {side: inward(side) + rng.uniform(-0.8, 0.8, 7) for side in SIDES}
        stage.toward(goals, 1)
    assert twins.slowed > 50


def test_what_passes_without_a_look_passes_when_everything_is_looked_at(monkeypatch):
    told = []
    is_allowed = DistanceGuard._is_allowed

    def noted(self, *args):
        told.append(is_allowed(self, *args))
        return False

    monkeypatch.setattr(DistanceGuard, "_is_allowed", noted)
    stage, rng, seen = Stage(), np.random.default_rng(5), 0
    for tick in range(400):
        if tick % 40 == 0:
            goals = {side: inward(side) + rng.uniform(-0.9, 0.9, 7) for side in SIDES}
        told.clear()
        stage.toward(goals, 1, speed=0.6)
        slowed = sum("comes to" in reason for reason in stage.reasons.values())
        assert told.count(True) <= len(SIDES) - slowed
        seen += told.count(True)
    assert seen > 100


def test_a_motion_in_the_open_measures_less_than_one_distance_in_three_steps(monkeypatch):
    stage, measured = Stage(), []
    nearest = Kind.nearest

    def counted(self, *args):
        measured.append(self.name)
        return nearest(self, *args)

    monkeypatch.setattr(Kind, "nearest", counted)
    guard, arm = stage.guards["left"], stage.arms["left"]
    for tick in range(300):
        wanted = np.array([0.8 * np.cos(0.02 * tick), 0, 0, 0, 0, 0, 0])
        stage.listen()
        verdict = guard.limit(arm.q, arm.v, wanted, TICK, stage.now, arm.stopping)
        assert np.array_equal(verdict.velocity, wanted) and verdict.reason == ""
        arm.step(wanted)
    assert 0 < len(measured) < 100


def test_an_arm_that_passes_above_the_table_is_not_looked_at_in_full(monkeypatch):
    stage, looks = Stage(), []
    stage.toward({"left": from_home("left", [0.0, 0.55, 0.0, 0.0, 0.0, -0.55, 0.0])}, 150)
    assert stage.gaps()["gripper_table"] < 0.03
    stage.said["left"].clear()
    look = Surroundings.look

    def counted(self, *args):
        looks.append(args)
        return look(self, *args)

    monkeypatch.setattr(Surroundings, "look", counted)
    for tick in range(200):
        turn = 0.7 if tick % 80 < 40 else -0.7
        stage.step({"left": np.array([turn, 0, 0, 0, 0, 0, 0])})
    assert stage.said["left"] == set()
    assert len(looks) < 5


def pressed(stage: Stage, ticks: int, speed: float = 2.0) -> None:
    """Press the left gripper onto the table and draw it to and fro."""
    for tick in range(ticks):
        turn = 0.6 * np.sin(0.02 * tick)
        stage.toward({"left": np.add(down("left"), [turn, 0, 0, 0, 0, 0, 0])}, 1, speed)


def test_an_arm_that_slides_on_is_looked_at_once_a_step_and_once_on_its_way_to_rest(monkeypatch):
    stage, measured = Stage(), []
    pressed(stage, 100)
    nearest = Kind.nearest

    def counted(self, *args):
        measured.append(self.name)
        return nearest(self, *args)

    limit = stage.guards["left"].limit

    def guarded(*args):
        with monkeypatch.context() as patch:
            patch.setattr(Kind, "nearest", counted)
            return limit(*args)

    monkeypatch.setattr(stage.guards["left"], "limit", guarded)
    pressed(stage, 300)
    assert "table" in stage.reasons["left"]
    assert measured.count("gripper_table") < 2.2 * 300


def test_an_arm_that_slides_on_stays_a_little_above_the_table():
    stage = Stage()
    pressed(stage, 150)
    stage.least.clear()
    pressed(stage, 400)
    assert 0.0003 < stage.least["gripper_table"] < 0.002


class Judge:
    """A guard whose verdicts are judged by one that looks at everything anew."""

    def __init__(self, side: str) -> None:
        self.guard = DistanceGuard.of_cell(CELL, side)
        self.other = OtherArm(CELL, "right" if side == "left" else "left")
        self.around = Surroundings(CELL, side, "right" if side == "left" else "left")
        self.slowed = 0

    def see_other(self, *seen) -> None:
        self.guard.see_other(*seen)
        self.other.see(*seen)

    def limit(self, q, velocity, wanted, dt, now, stopping):
        verdict = self.guard.limit(q, velocity, wanted, dt, now, stopping)
        self.around.place_other(self.other.at(now))
        here = self.around.look(stopping(np.zeros_like(q)).tolist())
        there = self.around.look(stopping(verdict.velocity).tolist(), here)
        gaps = [gap + 5e-6 for gap in there.gaps]  # how exact distances are
        share, entry = tightest(here, there._replace(gaps=gaps), CELL.guard.tool_speed * dt)
        assert share == 1.0, f"{verdict.reason}: {self.around.words(there, entry)}"
        self.slowed += bool(verdict.reason)
        return verdict


@pytest.mark.parametrize("seed", range(3))
def test_no_verdict_lets_a_gap_shrink_faster_than_the_rule(seed):
    stage, rng = Stage(), np.random.default_rng(seed)
    stage.guards.update({side: Judge(side) for side in SIDES})
    for tick in range(240):
        if tick % 40 == 0:
            low = rng.uniform(size=2) < 0.5
            goals = {
                side: (down(side) if flat else inward(side)) + rng.uniform(-0.5, 0.5, 7)
                for side, flat in zip(SIDES, low, strict=True)
            }
        stage.toward(goals, 1)
    assert sum(stage.guards[side].slowed for side in SIDES) > 100
