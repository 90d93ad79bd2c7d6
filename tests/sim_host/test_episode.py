"""What the scripted people do, played against a cell that closes the loop directly."""

from collections.abc import Mapping
from itertools import pairwise

import numpy as np
import pytest
from numpy.typing import NDArray

from ate_core.contract import load_cell
from ate_core.geometry import inverse, pose_to_matrix, rotation_exp, transform
from ate_core.hand_mapping import operator_mapping, tool_pose_for_hand_motion
from ate_sim.people.episode import Demonstrator, DemonstratorConfig, EpisodeOutcome
from ate_sim.people.person import Person
from ate_sim.people.plan_clock import PlanClock, PlanClockConfig
from ate_sim.people.tremor import Tremor, TremorConfig

SIDES = ("left", "right")
TICK = 1.0 / 90.0
HOME = transform(np.diag([-1.0, 1.0, -1.0]), [0.12, 0.25, 0.13])


class FakeController:
    def __init__(self) -> None:
        self.held: set[str] = set()
        self.lamps = 0

    def press(self, name: str) -> None:
        self.held.add(name)

    def release(self, name: str) -> None:
        self.held.remove(name)


class FakeCell:
    """Headsets, Joy-Cons, teleoperation, recorder, arms and view in one: an ideal loop."""

    def __init__(self, recorder: bool = True) -> None:
        cell = load_cell(None, "sim")
        self.bases = {side: pose_to_matrix(cell.arms[side].base_pose) for side in SIDES}
        self.mappings = {
            side: operator_mapping(cell.operators[side], cell.arms[side]) for side in SIDES
        }
        self.controllers = {side: FakeController() for side in SIDES}
        self.people = {
            side: Person(cell.operators[side], self.headset(side), self.controllers[side])
            for side in SIDES
        }
        self.hands: dict[str, NDArray[np.float64]] = {}
        self.tools = {
            side: self.bases[side] @ inverse(self.bases["left"]) @ HOME for side in SIDES
        }
        self.start: dict[str, tuple[NDArray[np.float64], NDArray[np.float64]]] = {}
        self.recorder, self.recording, self.episodes = recorder, False, []
        self.pending = self.refuses = False
        self.epoch, self.seeds, self.reached = 0, [], 0.0
        self.plus_was_held = self.minus_was_held = False
        self.clutch_works = True
        self.trouble, self.clears = False, True

    def headset(self, side: str) -> "FakeHeadset":
        return FakeHeadset(self, side)

    def run(self, script, timeout: float = 60.0) -> object:
        next(script)
        for tick in range(1, int(timeout / TICK)):
            try:
                script.send(tick * TICK)
            except StopIteration as end:
                return end.value
            for person in self.people.values():
                person.tick(TICK)
            self.teleoperate()
        raise AssertionError("the script does not end")

    def teleoperate(self) -> None:
        for side, controller in self.controllers.items():
            if controller.held & {"home", "capture"}:
                self.tools[side] = self.bases[side] @ inverse(self.bases["left"]) @ HOME
            clutch = bool(controller.held & {"l", "r"}) and self.clutch_works
            if not clutch:
                self.start.pop(side, None)
            elif side not in self.start:
                self.start[side] = (self.hands[side], self.tools[side])
            else:
                hand, tool = self.start[side]
                base = self.bases[side]
                moved = tool_pose_for_hand_motion(
                    self.mappings[side], hand, inverse(base) @ tool, self.hands[side]
                )
                self.tools[side] = base @ moved
            self.reached = max(self.reached, float(self.tools["left"][0, 3]))
            controller.lamps = (
                int(self.recording)
                | (2 if clutch else 0)
                | (4 if self.pending else 0)
                | (8 if self.trouble else 0)
            )
        self.record()

    def record(self) -> None:
        plus = "plus" in self.controllers["right"].held
        minus = "minus" in self.controllers["left"].held
        if plus and not self.plus_was_held and self.recorder:
            if self.pending:
                self.episodes.append("kept")
                self.pending = False
            else:
                self.pending = self.recording and not self.refuses
                self.recording = not self.recording
        if minus and not self.minus_was_held and (self.recording or self.pending):
            self.episodes.append("discarded")
            self.recording = self.pending = False
        self.plus_was_held, self.minus_was_held = plus, minus

    # What the people see.
    def at_home(self, side: str) -> bool:
        home = self.bases[side] @ inverse(self.bases["left"]) @ HOME
        return bool(np.abs(self.tools[side] - home).max() < 1e-6)

    def objects_rest(self) -> bool:
        return True

    def moving(self, side: str) -> bool:
        return False

    def opening(self, side: str) -> float:
        return 0.0 if self.controllers[side].held & {"zl", "zr"} else 1.0

    def blocked(self, side: str) -> bool:
        return False

    def tool(self, side: str) -> NDArray[np.float64]:
        return self.tools[side]

    def base(self, side: str) -> NDArray[np.float64]:
        return self.bases[side]

    @property
    def outcome(self) -> Mapping[str, float]:
        done = float(self.reached > 0.29)
        return {"score": done, "success": done}

    # What is done for them.
    def clear(self):
        yield
        self.trouble = not self.clears
        return 1

    def reset(self, seed: int) -> int:
        self.seeds.append(seed)
        self.epoch += 1
        self.reached = 0.0
        return self.epoch

    def plan(self, seed: int) -> "FakePlan":
        return FakePlan()


class FakeHeadset:
    def __init__(self, cell: FakeCell, side: str) -> None:
        self.cell, self.side = cell, side

    def set_wrist(self, hand: str, transform_wrist_to_headset: NDArray[np.float64]) -> None:
        self.cell.hands[self.side] = transform_wrist_to_headset


class FakePlan:
    """The left arm goes forward, turns and closes; the right one has nothing to do."""

    duration = 2.0

    def __init__(self) -> None:
        self.visited: list[float] = []

    def tool_target(self, side: str, time: float) -> tuple[NDArray[np.float64], float]:
        share = min(time / self.duration, 1.0) if side == "left" else 0.0
        turn = transform(rotation_exp([0.0, 0.0, 0.5 * share]), np.zeros(3))
        tool = HOME @ turn
        tool[0, 3] += 0.18 * share
        return tool, 0.0 if share > 0.8 else 1.0


def demonstrator_in(cell: FakeCell, **changes: float) -> Demonstrator:
    return Demonstrator(DemonstratorConfig(**changes), cell.people, cell.mappings, cell, cell)


def test_a_good_episode_is_recorded_and_kept() -> None:
    cell = FakeCell()
    result = cell.run(demonstrator_in(cell).run(seed=5))
    assert isinstance(result, EpisodeOutcome)
    assert result.success, result.reason
    assert result.kept
    assert cell.episodes == ["kept"]
    assert cell.seeds == [5]
    assert not cell.controllers["left"].held
    assert not cell.controllers["right"].held
    assert cell.tools["left"][0, 3] == pytest.approx(HOME[0, 3] + 0.18, abs=0.002)
    assert sum(result.durations.values()) - result.durations["motion"] < 1.5


def test_the_tool_follows_the_plan_through_the_hand() -> None:
    cell = FakeCell()
    cell.run(demonstrator_in(cell).run(seed=0))
    wanted, _ = FakePlan().tool_target("left", 2.0)
    np.testing.assert_allclose(cell.tools["left"], wanted, atol=0.01)


def test_an_arm_that_follows_nobody_is_cleared_before_the_next_episode_and_counted() -> None:
    cell = FakeCell()
    habits = DemonstratorConfig(home_timeout=0.5)
    demonstrator = Demonstrator(habits, cell.people, cell.mappings, cell, cell, clearing=cell)
    results = []
    for is_faulty in (False, True, False):
        cell.trouble = is_faulty
        cell.teleoperate()
        results.append(cell.run(demonstrator.run(seed=0)))
    assert [(result.kept, result.resets) for result in results] == [
        (True, 0),
        (True, 1),
        (True, 0),
    ]
    cell.trouble, cell.clears = True, False
    cell.teleoperate()
    last = cell.run(demonstrator.run(seed=0))
    assert not last.success and last.reason.startswith("trouble lamp off; arm/status tells why")
    assert len(cell.episodes) == 3, "nothing is recorded with an arm that follows nobody"


def test_only_the_operator_with_work_squeezes_the_clutch() -> None:
    cell = FakeCell()
    engaged = []
    original = cell.teleoperate

    def teleoperate() -> None:
        original()
        engaged.append(tuple(cell.start))

    cell.teleoperate = teleoperate
    cell.run(demonstrator_in(cell).run(seed=0))
    assert ("left",) in engaged
    assert not any("right" in sides for sides in engaged)


def test_a_failed_episode_is_discarded_with_its_reason() -> None:
    cell = FakeCell()
    demonstrator = Demonstrator(DemonstratorConfig(), cell.people, cell.mappings, cell, cell)
    cell.plan = lambda seed: _Short()
    result = cell.run(demonstrator.run(seed=0))
    assert not result.success
    assert not result.kept
    assert result.reason == "task not done"
    assert cell.episodes == ["discarded"]


class _Short(FakePlan):
    def tool_target(self, side: str, time: float) -> tuple[NDArray[np.float64], float]:
        return super().tool_target(side, 0.5 * time)


def test_an_episode_that_somebody_left_to_be_judged_is_not_kept_by_the_next_person() -> None:
    cell = FakeCell()
    cell.pending = True
    assert cell.run(demonstrator_in(cell).run(seed=0)).kept
    assert cell.episodes == ["discarded", "kept"]


def test_an_episode_that_the_recorder_refuses_is_not_reported_as_kept() -> None:
    cell = FakeCell()
    cell.refuses = True
    result = cell.run(demonstrator_in(cell, lamp_timeout=0.5).run(seed=0))
    assert not result.kept and not result.success
    assert "the recorder may have refused the episode" in result.reason


def test_a_missing_recorder_ends_the_episode_with_a_reason() -> None:
    cell = FakeCell(recorder=False)
    result = cell.run(demonstrator_in(cell, lamp_timeout=0.5).run(seed=0))
    assert result.reason == "recording lamp on: not within 0.5 s"
    assert cell.episodes == []


def test_a_clutch_that_lets_go_is_squeezed_again() -> None:
    cell = FakeCell()
    losses = 0
    original = cell.teleoperate

    def teleoperate() -> None:
        nonlocal losses
        slipped = losses == 0 and cell.tools["left"][0, 3] > 0.2
        losses += slipped
        # Like the real one: open until the button was up.
        cell.clutch_works = (cell.clutch_works and not slipped) or not (
            cell.controllers["left"].held & {"l"}
        )
        original()

    cell.teleoperate = teleoperate
    result = cell.run(demonstrator_in(cell).run(seed=0))
    assert result.kept, result.reason
    assert result.regrips == 1
    wanted, _ = FakePlan().tool_target("left", 2.0)
    np.testing.assert_allclose(cell.tools["left"], wanted, atol=0.01)


def test_an_arm_that_wants_silence_first_is_followed_again() -> None:
    cell = FakeCell()
    original, losses, silent = cell.teleoperate, 0, 0

    def teleoperate() -> None:
        nonlocal losses, silent
        silent = 0 if cell.controllers["left"].held & {"l"} else silent + 1
        if losses == 0 and cell.tools["left"][0, 3] > 0.2:
            losses, cell.clutch_works = 1, False
        cell.clutch_works = cell.clutch_works or silent >= 45  # half a second
        original()

    cell.teleoperate = teleoperate
    result = cell.run(demonstrator_in(cell).run(seed=0))
    assert result.kept and (losses, result.regrips) == (1, 1), result.reason


def test_a_clutch_that_keeps_letting_go_ends_the_episode_and_discards_it() -> None:
    cell = FakeCell()
    original = cell.teleoperate

    def teleoperate() -> None:
        cell.clutch_works = cell.tools["left"][0, 3] < 0.2
        original()

    cell.teleoperate = teleoperate
    result = cell.run(demonstrator_in(cell).run(seed=0))
    assert result.reason == "clutch lamp of the left operator: not within 3 s"
    assert cell.episodes == ["discarded"]
    assert not cell.controllers["left"].held


def test_a_refused_homing_is_asked_for_again() -> None:
    cell = FakeCell()
    cell.tools["left"] = cell.tools["left"] @ transform(np.eye(3), [0.0, 0.0, 0.1])
    original, presses = cell.teleoperate, []

    def teleoperate() -> None:
        held = bool(cell.controllers["left"].held & {"capture"})
        if held and not (presses and presses[-1]):
            presses.append(True)
        elif not held and presses:
            presses.append(False)
        away = cell.tools["left"].copy()
        original()
        if presses.count(True) < 2:
            cell.tools["left"] = away

    cell.teleoperate = teleoperate
    result = cell.run(demonstrator_in(cell).run(seed=0))
    assert result.kept, result.reason
    assert presses.count(True) >= 2


def test_people_hold_home_until_the_arm_is_there() -> None:
    cell = FakeCell()
    home = cell.tools["left"]
    cell.tools["left"] = home @ transform(np.eye(3), [0.0, 0.0, 0.1])
    original, held_for = cell.teleoperate, 0

    def teleoperate() -> None:
        nonlocal held_for
        away = cell.tools["left"].copy()
        held = "capture" in cell.controllers["left"].held
        original()
        if not cell.epoch and held_for < 45:
            held_for = held_for + 1 if held else 0  # a tap is not enough
            cell.tools["left"] = home if held_for == 45 else away

    cell.teleoperate = teleoperate
    result = cell.run(demonstrator_in(cell).run(seed=0))
    assert result.kept, result.reason
    assert result.durations["home"] < 0.7
    assert not any(controller.held for controller in cell.controllers.values())


def test_people_wait_until_the_teleoperation_answers() -> None:
    cell = FakeCell()
    cell.clutch_works = False
    ticks = 0
    original = cell.teleoperate

    def teleoperate() -> None:
        nonlocal ticks
        ticks += 1
        cell.clutch_works = ticks > 300
        original()

    cell.teleoperate = teleoperate
    cell.run(demonstrator_in(cell).wait_until_ready())
    assert ticks > 300
    assert not any(controller.held for controller in cell.controllers.values())


def test_the_plan_waits_for_a_lagging_arm() -> None:
    clock = PlanClock(PlanClockConfig())
    clock.advance(0.01, lag=0.0, switching=False, fingers_moving=False)
    assert clock.time == pytest.approx(0.01)
    clock.advance(0.01, lag=1.0, switching=False, fingers_moving=False)
    assert clock.time == pytest.approx(0.01)


def test_nobody_grasps_before_the_tool_has_settled_or_the_patience_is_over() -> None:
    config = PlanClockConfig(settle_timeout=0.5)
    clock = PlanClock(config)
    for _ in range(60):
        clock.advance(0.01, lag=0.02, switching=True, fingers_moving=False)
    assert 0.0 < clock.time < 0.15


class PassingPlan:
    """The left hand takes at once what the right one, which then opens, has held; nobody moves."""

    duration = 3.0

    def tool_target(self, side: str, time: float) -> tuple[NDArray[np.float64], float]:
        closed = time > 0.5 if side == "left" else time < 0.6
        home = HOME.copy()
        home[1, 3] *= 1.0 if side == "left" else -1.0
        return home, 0.0 if closed else 1.0


class SlowLeftFingers(FakeCell):
    """The fingers of the left gripper take a second to close."""

    def __init__(self) -> None:
        super().__init__()
        self.closing = 0
        self.let_go_at: list[float] = []

    def plan(self, seed: int) -> PassingPlan:
        return PassingPlan()

    def teleoperate(self) -> None:
        super().teleoperate()
        self.closing += "zl" in self.controllers["left"].held
        if self.closing and "zr" not in self.controllers["right"].held:
            self.let_go_at.append(self.opening("left"))

    def opening(self, side: str) -> float:
        return max(0.0, 1.0 - self.closing * TICK) if side == "left" else super().opening(side)


def test_nobody_lets_go_of_what_the_other_does_not_hold_yet() -> None:
    cell = SlowLeftFingers()
    cell.run(demonstrator_in(cell).run(seed=0))
    assert cell.let_go_at[0] < 0.05


def test_hands_do_not_jump_even_where_the_plan_does() -> None:
    cell = FakeCell()
    person = cell.people["left"]
    far = person.hand @ transform(rotation_exp([0.0, 0.0, 1.0]), [0.3, 0.0, 0.0])
    poses = [person.hand]
    for _ in range(60):
        person.reach(far, TICK)
        poses.append(person.hand)
    steps = [np.linalg.norm(b[:3, 3] - a[:3, 3]) for a, b in pairwise(poses)]
    assert max(steps) <= 1.0 * TICK + 1e-9
    np.testing.assert_allclose(person.hand, far, atol=1e-9)


def test_tremor_is_seeded_and_as_large_as_configured() -> None:
    config = TremorConfig(position=0.001)
    first, second = Tremor(config, seed=1), Tremor(config, seed=1)
    trace = np.stack([first.step(TICK)[:3, 3] for _ in range(5000)])
    np.testing.assert_array_equal(trace[0], second.step(TICK)[:3, 3])
    assert np.std(trace) == pytest.approx(0.001, rel=0.2)
