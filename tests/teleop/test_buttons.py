"""Who may press what: each Joy-Con's own mapping, and what concerns one operator or both."""

from types import SimpleNamespace
from unittest import mock

import numpy as np
import pytest

from ate_core.contract import load_cell
from ate_core.errors import ContractError
from ate_core.operator_buttons import (
    DEFAULT_BUTTONS,
    HELD_ACTIONS,
    JOYCON_BUTTONS,
    operator_buttons,
)
from ate_teleop.buttons import OWN_EVENTS, Event, button_map
from ate_teleop.clutch import ClutchState
from ate_teleop.grip import OFF_CENTRE, GripControl
from ate_teleop.operator import OperatorController
from ate_teleop.operator_settings import operator_settings
from operator_devices.hand_pose import HandTracker
from operator_devices.joycon_report import BUTTONS, JoyConState, StickCalibration

TICK_NS = 11_111_111


class Desk:
    """One operator whose hand goes steadily to the right, with an ideal arm."""

    def __init__(self, side: str):
        cell = load_cell(hardware="sim")
        self.controller = OperatorController(operator_settings(cell, side))
        self.q, self.now_ns = np.array(cell.arms[side].home), 10**9
        self.tracker, self.wrist, self.held = HandTracker(), np.eye(4), set()
        self.tracker.begin_session()
        self.wrist[:3, 3] = (0.2, 0.4, 1.1)

    def run(self, ticks: int, *held: str):
        """The output of some ticks with these buttons held."""
        outputs = []
        for _ in range(ticks):
            self.now_ns += TICK_NS
            self.wrist[0, 3] += 5e-4
            sample = self.tracker.update(self.wrist.copy(), np.eye(4), self.now_ns)
            joy = JoyConState(
                buttons=tuple(int(name in held) for name in BUTTONS),
                received_ns=self.now_ns, session=1, live=True,
            )  # fmt: skip
            output = self.controller.step(sample, joy, self.q, self.now_ns)
            self.q = self.q if output.joint_target is None else output.joint_target
            outputs.append(output)
        return outputs


def test_the_buttons_of_both_sides_are_those_of_the_reports() -> None:
    assert {name for names in JOYCON_BUTTONS.values() for name in names} == set(BUTTONS)
    assert set(DEFAULT_BUTTONS["left"]) == set(DEFAULT_BUTTONS["right"])


@pytest.mark.parametrize("side", ["left", "right"])
def test_either_joycon_alone_records_keeps_fails_discards_and_redoes(side: str) -> None:
    desk, wishes = Desk(side), []
    desk.run(1)
    for action in ("record", "fail", "discard", "redo"):
        button = DEFAULT_BUTTONS[side][action]
        assert button in JOYCON_BUTTONS[side]
        outputs = desk.run(3, button) + desk.run(15)
        wishes += [event for output in outputs for event in output.events]
    assert wishes == [Event.START_OR_STOP, Event.FAIL, Event.DISCARD, Event.REDO]


def test_what_concerns_one_operator_never_leaves_that_operator() -> None:
    desk = Desk("right")
    desk.run(1)
    for event in OWN_EVENTS - {Event.CALIBRATE}:  # it has no button of its own
        button = DEFAULT_BUTTONS["right"][event.value]
        assert not any(output.events for output in desk.run(3, button) + desk.run(15))


def test_a_frozen_operator_moves_nothing_until_thawed_and_pressed_anew() -> None:
    desk = Desk("right")
    desk.run(1)
    assert desk.run(12, "r")[-1].status.clutch is ClutchState.ENGAGED
    frozen = desk.run(3, "r", "right_stick") + desk.run(60, "r")
    assert all(output.joint_target is None and output.gripper is None for output in frozen)
    assert frozen[-1].status.frozen
    assert "frozen" in frozen[-1].status.reason
    assert not any(output.go_home for output in desk.run(1) + desk.run(90, "home"))
    pressed = desk.run(1) + desk.run(20, "r")
    assert all(output.joint_target is None for output in pressed)
    thawed = desk.run(3, "r", "right_stick") + desk.run(30, "r")
    assert all(output.joint_target is None for output in thawed), "the button was down all along"
    desk.run(1)
    assert desk.run(12, "r")[-1].status.clutch is ClutchState.ENGAGED


def test_presses_freezes_and_calibrations_are_counted_when_they_begin() -> None:
    desk = Desk("right")
    counts = [desk.run(1)[-1].status.presses]
    for held in (["r"], [], ["right_stick"], [], ["right_stick"], [], ["r"], []):
        counts.append(desk.run(3, *held)[-1].status.presses)
    assert counts == [0, 1, 1, 2, 2, 2, 2, 3, 3]
    desk.run(3, "right_sl", "right_sr")
    assert desk.run(1)[-1].status.presses == 4
    assert desk.run(1)[-1].status.calibrating


def test_another_scale_acts_from_the_next_press_of_the_clutch_on_and_never_in_a_stroke() -> None:
    ways = []
    for presses in (0, 3):
        desk = Desk("right")
        desk.run(1)
        desk.run(10, "r")
        for _ in range(presses):
            desk.run(2, "r", "right_sl")
            before = desk.run(2, "r")
        ik = desk.controller._ik
        if presses:
            steps = [output.joint_target for output in before]
            assert np.abs(np.diff(steps, axis=0)).max() < 0.01, "no jump"
        desk.run(5)
        start = ik.tool_pose(desk.q)[:3, 3]
        assert desk.run(60, "r")[-1].status.scale == pytest.approx(1.25**-presses, abs=1e-3)
        ways.append(np.linalg.norm(ik.tool_pose(desk.q)[:3, 3] - start))
    assert ways[1] / ways[0] == pytest.approx(1.25**-3, rel=0.05)


@pytest.mark.parametrize(
    ("changes", "word"),
    [
        ({"discard": "plus"}, "both"),
        ({"hand_back": "plus"}, "both"),
        ({"hand_back": "x", "redo": "x"}, "both"),
        ({"record": "minus"}, "has not"),
        ({"sing": "x"}, "no action"),
        ({"clutch": "x"}, "thumb"),
        ({"clutch": ""}, "clutch has no button"),
    ],
)
def test_a_mapping_with_doubles_or_strangers_is_refused(changes: dict, word: str) -> None:
    with pytest.raises(ContractError, match=word):
        operator_buttons("right", changes)


def test_a_mapping_may_swap_buttons_and_take_some_away() -> None:
    mapping = button_map("right", {"record": "x", "discard": "plus", "redo": ""})
    assert mapping.events["x"] is Event.START_OR_STOP
    assert mapping.events["plus"] is Event.DISCARD
    assert "y" not in mapping.events
    assert mapping.clutch >= {"r"}
    assert Event.SAVE_LAST not in mapping.events.values(), (
        "it has no button until a cell gives one"
    )
    assert button_map("left", {"save_last": "down", "fail": ""}).events["down"] is Event.SAVE_LAST
    assert set(HELD_ACTIONS) == {"clutch", "gripper", "home"}


def test_an_action_of_later_versions_leaves_its_button_to_what_a_cell_gave_it_to() -> None:
    for side, button in (("left", "left"), ("right", "x")):
        assert button_map(side).events[button] is Event.HAND_BACK
        older = button_map(side, {"save_last": button}).events
        assert older[button] is Event.SAVE_LAST and Event.HAND_BACK not in (
            event for name, event in older.items() if name in JOYCON_BUTTONS[side]
        )
    assert "x" not in button_map("right", {"hand_back": ""}).events


@pytest.mark.parametrize("side", ["left", "right"])
def test_a_press_hands_back_once_and_a_slap_never(side: str) -> None:
    desk, button = Desk(side), DEFAULT_BUTTONS[side]["hand_back"]
    desk.run(1)
    wishes = [one for output in desk.run(20, button) + desk.run(20) for one in output.events]
    assert wishes == [Event.HAND_BACK]
    slap = desk.run(20, button, DEFAULT_BUTTONS[side]["fail"]) + desk.run(20)
    assert not any(output.events for output in slap) and any(output.stop for output in slap)


def test_only_a_policy_that_was_taken_over_is_handed_back_to_and_at_once() -> None:
    pytest.importorskip("rclpy")
    from ate_teleop.nodes.wishes import HAND_BACK, WishServices

    calls, told, ready = [], [], True
    wishes = WishServices.__new__(WishServices)  # without its clients
    wishes._logger = SimpleNamespace(warning=told.append)
    wishes._clients = {HAND_BACK: SimpleNamespace(service_is_ready=lambda: ready)}
    wishes._waiting, wishes._call, wishes.refused = {}, calls.append, 0
    for policy in ("", "ready", "running", "stuck"):
        wishes.policy = policy
        wishes.ask(Event.HAND_BACK)
    assert not calls and wishes.refused == len(told) == 4
    wishes.policy = "taken_over"
    wishes.ask(Event.HAND_BACK)
    assert calls == [HAND_BACK]
    ready = False
    wishes.ask(Event.HAND_BACK)
    assert calls == [HAND_BACK] and not wishes._waiting, "it must not start an arm later"
    assert "not offered" in told[-1]


def test_a_press_that_nobody_serves_or_answers_is_felt(monkeypatch) -> None:
    pytest.importorskip("rclpy")
    from ate_teleop.nodes import wishes as module

    told, removed, now, ready = [], [], [0.0], [False]
    answers = []
    future = mock.Mock(done=lambda: bool(answers), result=lambda: answers[0])
    client = SimpleNamespace(
        service_is_ready=lambda: ready[0], srv_name="/episode/redo",
        call_async=lambda _: future, remove_pending_request=removed.append,
    )  # fmt: skip
    monkeypatch.setattr(module, "time", SimpleNamespace(monotonic=lambda: now[0]))
    wishes = module.WishServices.__new__(module.WishServices)  # without its clients
    wishes._logger = SimpleNamespace(warning=told.append)
    wishes._clients, wishes._waiting, wishes._called = {"redo": client}, {}, {}
    wishes.refused, wishes.changed = 0, float("-inf")
    wishes.ask(Event.REDO)
    now[0] = module.FINDING + 0.1
    wishes._call_found()
    assert wishes.refused == 1 and "nobody offers /episode/redo" in told[-1]
    ready[0] = True
    wishes.ask(Event.REDO)
    wishes._call_found()
    assert wishes.refused == 1
    now[0] += module.CLOSING + 0.1
    wishes._call_found()
    assert wishes.refused == 2 and removed == [future] and "its node hangs" in told[-1]
    wishes.ask(Event.REDO)
    answers.append(SimpleNamespace(success=True, message=""))
    now[0] += module.CLOSING + 0.1
    wishes._call_found()
    assert wishes.refused == 2 and not wishes._called


def test_two_people_who_press_record_at_once_change_the_episode_once() -> None:
    pytest.importorskip("rclpy")
    import time

    from ate_teleop.nodes.wishes import SETTLING, WishServices

    calls, told = [], []
    wishes = WishServices.__new__(WishServices)  # without its clients
    wishes._logger, wishes.refused = SimpleNamespace(warning=told.append), 0
    wishes._clients = {
        verb: SimpleNamespace(service_is_ready=lambda: True)
        for verb in ("start", "stop", "keep", "fail", "discard", "redo")
    }
    wishes._waiting, wishes._call, wishes.episode = {}, calls.append, "recording"
    wishes.changed = time.monotonic() + 60.0 - SETTLING  # the other one's press, heard just now
    for count, event in enumerate((Event.START_OR_STOP, Event.DISCARD, Event.REDO), start=1):
        wishes.ask(event)
        assert (calls, len(told), wishes.refused) == ([], count, count), "the hand feels it"
    wishes.changed = float("-inf")
    wishes.ask(Event.DISCARD)
    wishes.changed = float("-inf")
    wishes.ask(Event.START_OR_STOP)
    assert calls == ["discard", "stop"]
    wishes._number = "3"
    for number in "45":  # what waits next must not be kept unseen by the second press
        wishes.take_episode("pending", number, time.monotonic() + 60.0)
        wishes.ask(Event.START_OR_STOP)
    assert calls == ["discard", "stop"]


def test_a_failure_that_is_told_right_behind_the_end_of_its_episode_is_none_of_a_success() -> None:
    pytest.importorskip("rclpy")
    import time

    from ate_teleop.nodes.wishes import WishServices

    calls = []
    wishes = WishServices.__new__(WishServices)  # without its clients
    wishes._clients = {
        verb: SimpleNamespace(service_is_ready=lambda: True) for verb in ("stop", "fail")
    }
    wishes._waiting, wishes._call, wishes.refused = {}, calls.append, 0
    wishes.episode, wishes._number, wishes.changed = "recording", "5", float("-inf")
    wishes.ask(Event.START_OR_STOP)
    wishes.take_episode("pending", "5", time.monotonic() + 60.0)
    wishes.ask(Event.FAIL)
    assert (calls, wishes.refused) == (["stop", "fail"], 0)


def test_an_episode_of_an_earlier_session_is_judged_by_no_press_that_may_mean_a_start() -> None:
    pytest.importorskip("rclpy")
    from ate_teleop.nodes.wishes import WishServices

    calls, told = [], []
    wishes = WishServices.__new__(WishServices)  # without its clients
    wishes._logger, wishes.refused = SimpleNamespace(warning=told.append), 0
    wishes._clients = {
        verb: SimpleNamespace(service_is_ready=lambda: True)
        for verb in ("keep", "fail", "discard", "redo")
    }
    wishes._waiting, wishes._call = {}, calls.append
    wishes.episode, wishes._number = "idle", "8"
    wishes.take_episode("pending", "3", 0.0, "episode 3 of 28 November")
    for event in (Event.START_OR_STOP, Event.REDO):
        wishes.ask(event)
    assert calls == [] and wishes.refused == len(told) == 2
    assert told[0].startswith("keep: episode 3 of 28 November waits since before this recorder")
    for event in (Event.FAIL, Event.DISCARD):
        wishes.ask(event)
    assert calls == ["fail", "discard"]
    wishes.take_episode("pending", "7", float("inf"), "episode 7")  # shown just now
    wishes.ask(Event.FAIL)
    assert calls == ["fail", "discard"] and wishes.refused == 3
    wishes.take_episode("pending", "9", 0.0)
    wishes.ask(Event.START_OR_STOP)
    assert calls == ["fail", "discard", "keep"]


def grip(control: GripControl, trigger, stick=0.0, measured=0.4, **flaws):
    flaws = {"stalled": False, "is_held": False, "dt": 0.01} | flaws
    return control.step(trigger, stick, measured=measured, **flaws)


def test_a_toggled_gripper_switches_with_each_press_and_closes_first() -> None:
    control = GripControl("toggle")
    seen = [grip(control, down) for down in (False, True, False, True, False, True)]
    assert seen == [None, 0.0, 0.0, 1.0, 1.0, 0.0]
    assert grip(control, False, is_held=True) is None
    assert grip(control, False) is None
    assert grip(control, True) == 0.0, "whoever presses after a stop keeps what the gripper holds"


def test_a_gripper_led_by_the_stick_goes_on_from_where_it_is_and_stays_there() -> None:
    control = GripControl("stick")
    assert grip(control, False) is None
    first = grip(control, False, stick=-0.5)
    assert first == pytest.approx(0.4 - 0.5 * 1.2 * 0.01)
    for _ in range(100):
        last = grip(control, False, stick=-0.5)
    assert last == 0.0
    assert grip(control, False) == 0.0
    assert 0.0 < grip(control, False, stick=0.2) < 0.01
    assert grip(control, None) is None
    assert grip(control, False, measured=0.7) is None
    assert grip(control, False, stick=1.0, measured=0.7) > 0.7


def test_a_stick_leads_no_gripper_whose_opening_is_unknown() -> None:
    control = GripControl("stick")
    grip(control, False, measured=None)
    assert grip(control, False, stick=1.0, measured=None) is None


def led_by_a_worn_stick(rest: float, pushes=((0.0, 90),)):
    """Openings of 10 s after these pushes of a stick (-1 .. 1, ticks) that rests off its centre.

    Returns:
        What was sent, per tick, and what was told in the end.
    """
    control, calibration, opening, sent = GripControl("stick"), StickCalibration(), 0.4, []
    for push, ticks in (*pushes, (0.0, 900)):
        for _ in range(ticks):
            raw = calibration.centre[1] + round(1400 * (push or rest))
            _, stick = calibration.normalise((2048, raw))
            wanted = grip(control, False, stick, opening, dt=1.0 / 90.0)
            opening = opening if wanted is None else wanted
            sent.append(wanted)
    return sent, control.trouble


@pytest.mark.parametrize("rest", [0.0, 0.09, -0.12, 0.19, 0.25, -0.3, 0.4, -0.6])
@pytest.mark.parametrize("side", [1.0, -1.0])
def test_a_worn_stick_moves_no_gripper_by_itself_and_leads_it_all_the_same(rest, side) -> None:
    sent, trouble = led_by_a_worn_stick(rest, [(0.0, 300), (side, 90), (0.0, 270)])
    assert set(sent[:300]) == {None}, "nothing is sent before the first push"
    assert sent[389] == 0.5 + 0.5 * side, "it leads"
    assert set(sent[390:]) == {0.5 + 0.5 * side}, "let go, the gripper stays"
    assert trouble == (OFF_CENTRE if abs(rest) > 0.2 else "")


def test_a_stick_that_begins_to_rest_off_its_centre_is_told_and_soon_leads_nothing() -> None:
    sent, trouble = led_by_a_worn_stick(0.4, [(0.1, 5), (-1.0, 90)])
    assert trouble == OFF_CENTRE
    assert len(set(sent[95 + 181 :])) == 1, "two seconds later"


def test_a_stick_that_comes_back_to_its_centre_is_told_no_more() -> None:
    control = GripControl("stick")
    for _ in range(300):
        grip(control, False, 0.3)
    assert control.trouble == OFF_CENTRE
    grip(control, False, 0.0)
    assert not control.trouble


def test_a_stick_pushed_all_the_way_is_no_worn_one_however_long() -> None:
    control = GripControl("stick")
    grip(control, False, 0.0)
    for _ in range(1000):
        assert grip(control, False, 1.0) is not None
    assert not control.trouble
