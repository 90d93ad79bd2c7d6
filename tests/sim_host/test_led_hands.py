"""Hands led from outside: limits, silence, one leader; a virtual clock throughout."""

from dataclasses import replace

import numpy as np
import pytest

from ate_core.contract import load_cell
from ate_core.errors import UsageError
from ate_sim.people.led_hands import LedHands, LedHandsConfig
from ate_sim.people.person import REST_POSE, Person

TICK = 1.0 / 90.0
IDLE = {"command": "lead", "source": "keys"}


class Controller:
    """A Joy-Con that notes what is held."""

    def __init__(self):
        self.held, self.lamps = set(), 0

    def press(self, name):
        self.held.add(name)

    def release(self, name):
        self.held.remove(name)


class Bench:
    def __init__(self, **changes):
        self.buttons = {side: Controller() for side in ("left", "right")}
        self.operators = {
            side: replace(operator, **(changes if side == "left" else {}))
            for side, operator in load_cell(None, "sim").operators.items()
        }
        self.people = {
            side: Person(self.operators[side], self, self.buttons[side]) for side in self.buttons
        }
        self.hands = LedHands(self.people, LedHandsConfig())
        self.now, self.path = 0.0, []

    def set_wrist(self, hand, transform):
        """The headset; what it shows is not looked at here."""

    def lead(self, seconds, source="keys", period=0.05, **sides):
        """Send the same request again and again; the last answer."""
        answer, due = {}, self.now
        for _ in range(round(seconds / TICK)):
            if self.now >= due:
                answer = self.hands.handle({"command": "lead", "source": source, **sides})
                due += period
            self.let_pass(TICK)
        return answer

    def let_pass(self, seconds):
        for _ in range(max(1, round(seconds / TICK))):
            self.now += TICK
            self.hands.tick(self.now, TICK)
            self.path.append(self.people["left"].hand.copy())

    def offset(self, side="left"):
        return self.people[side].hand[:3, 3] - REST_POSE[:3, 3]


@pytest.fixture
def bench():
    bench = Bench()
    bench.lead(0.1)
    return bench


def test_a_led_hand_goes_where_it_is_sent_while_its_clutch_is_held(bench):
    bench.lead(1.0, left={"linear": [0.0, 0.1, 0.0], "actions": ["clutch"]})
    assert bench.buttons["left"].held == {"l"}
    assert bench.offset()[1] == pytest.approx(0.1, abs=0.01)
    assert np.abs(bench.offset()[[0, 2]]).max() < 1e-9 and not bench.offset("right").any()


def test_no_request_makes_a_hand_faster_or_jerkier_than_allowed_or_sends_it_out_of_reach(bench):
    wild = {"linear": [9.0, -9.0, 9.0], "angular": [99.0, 0.0, 0.0], "actions": ["clutch"]}
    back = {"linear": [-9.0, 9.0, -9.0], "actions": ["clutch"]}
    bench.path.clear()
    for wish in (wild, back, wild):
        bench.lead(4.0, left=wish)
    positions = np.array([pose[:3, 3] for pose in bench.path])
    speeds = np.linalg.norm(np.diff(positions, axis=0), axis=1) / TICK
    config = LedHandsConfig()
    assert speeds.max() <= config.top_speed * 1.001
    assert np.linalg.norm(positions - REST_POSE[:3, 3], axis=1).max() <= config.reach * 1.001
    turns = [
        np.trace(b[:3, :3].T @ a[:3, :3]) for a, b in zip(bench.path, bench.path[1:], strict=False)
    ]
    fastest = np.arccos(np.clip((min(turns) - 1.0) / 2.0, -1.0, 1.0)) / TICK
    assert fastest <= config.top_turn * 1.01


def test_silence_stops_the_hand_and_opens_the_clutch_but_drops_no_object(bench):
    bench.lead(1.0, left={"linear": [0.0, 0.1, 0.0], "actions": ["clutch", "gripper"]})
    bench.path.clear()
    bench.let_pass(LedHandsConfig().silence + 2 * TICK)
    assert bench.buttons["left"].held == {"zl"}
    bench.let_pass(5.0)
    assert bench.buttons["left"].held == {"zl"}
    assert np.abs(bench.offset()).max() < 1e-9, "it went back to rest"


def test_what_was_held_before_a_silence_must_be_let_go_before_it_is_held_again(bench):
    held = {"linear": [0.0, 0.1, 0.0], "actions": ["clutch", "gripper"]}
    bench.lead(0.5, left=held)
    bench.let_pass(1.0)
    assert bench.lead(0.5, left=held)["released"]
    assert bench.buttons["left"].held == {"zl"} and not bench.offset().any()
    answer = bench.lead(0.1, left={"actions": ["gripper"]})
    assert not answer["released"] and answer["left"]["actions"] == ["gripper"]
    bench.lead(0.5, left=held)
    assert bench.buttons["left"].held == {"l", "zl"} and bench.offset()[1] > 0.01


def test_one_leader_at_a_time_and_the_next_one_takes_over_nothing_that_is_held(bench):
    bench.lead(0.5, left={"actions": ["clutch"]})
    with pytest.raises(UsageError, match="the hands are led by keys: end it first"):
        bench.lead(0.1, source="page")
    bench.let_pass(1.0)
    assert bench.lead(0.2, source="page", left={"actions": ["clutch"]})["released"]
    assert bench.buttons["left"].held == set()


@pytest.mark.parametrize(
    "request_",
    [
        {"command": "dance", "source": "keys"},
        {"command": "lead"},
        {"command": "lead", "source": ""},
        {"command": "lead", "source": 3},
        {**IDLE, "left": 3},
        {**IDLE, "left": {"linear": [1.0, 2.0]}},
        {**IDLE, "left": {"linear": [1.0, 2.0, float("nan")]}},
        {**IDLE, "left": {"linear": "fast"}},
        {**IDLE, "left": {"linear": [10**400, 0, 0]}},
        {**IDLE, "right": {"angular": [[1.0], [2.0], [3.0]]}},
        {**IDLE, "left": {"actions": "clutch"}},
        {**IDLE, "left": {"actions": ["l"]}},
        {**IDLE, "left": {"actions": [["clutch"]]}},
    ],
)
def test_a_bad_request_is_refused_and_changes_nothing(bench, request_):
    bench.lead(0.1, left={"actions": ["clutch"]})
    with pytest.raises(UsageError):
        bench.hands.handle(request_)
    bench.let_pass(TICK)
    assert bench.buttons["left"].held == {"l"}


def test_the_answer_shows_what_the_people_see(bench):
    bench.buttons["right"].lamps = 0b0101
    answer = bench.lead(0.1)
    assert answer["right"]["lamps"] == [1, 3] and answer["left"]["lamps"] == []


def test_a_hand_that_is_not_named_rests_and_keeps_what_it_grips(bench):
    bench.lead(0.2, left={"actions": ["clutch", "gripper"], "linear": [0.1, 0.0, 0.0]})
    bench.lead(0.2, right={"actions": ["clutch"]})
    assert bench.buttons["left"].held == {"zl"} and bench.buttons["right"].held == {"r"}
    bench.lead(0.2)
    assert bench.buttons["left"].held == {"zl"} and bench.buttons["right"].held == set()


def test_hands_hold_the_buttons_of_their_own_cell_and_a_silence_opens_their_clutch():
    bench = Bench(buttons={"clutch": "left_sl", "gripper": "l", "scale_down": "zl"})
    bench.lead(0.1)
    bench.lead(0.5, left={"actions": ["clutch", "gripper"], "linear": [0.0, 0.1, 0.0]})
    assert bench.buttons["left"].held == {"left_sl", "l"} and bench.offset().any()
    bench.let_pass(LedHandsConfig().silence + 2 * TICK)
    assert bench.buttons["left"].held == {"l"}, "the gripper's, whatever it is"


def test_what_the_cell_has_no_button_for_is_refused_by_name():
    bench = Bench(buttons={"gripper": ""})
    with pytest.raises(UsageError, match="the cell gives 'gripper' of the left arm no button"):
        bench.lead(0.1, left={"actions": ["gripper"]})
