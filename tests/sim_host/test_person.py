"""People do what the cell has buttons for, by those buttons, however its grippers are worked."""

from dataclasses import replace

import pytest

from ate_core.contract import load_cell
from ate_core.errors import UsageError
from ate_sim.people.episode import DISCARD, KEEP, require_buttons, whoever_can
from ate_sim.people.person import STOP, Person, actions_of
from ate_teleop.grip import GripControl
from operator_devices.emulator import CircleMotion, buttons_of

TICK = 1.0 / 90.0
CROSSED = {"clutch": "zr", "gripper": "r"}


class Desk:
    """One person at an ideal gripper, behind the real reading of trigger and stick."""

    def __init__(self, **changes):
        operator = replace(load_cell(None, "sim").operators["right"], **changes)
        self.held, self.stick, self.lamps = set(), 0.0, 0
        self.person = Person(operator, self, self, sees_closed=lambda: self.opening < 0.9)
        self.grip, self.trigger = GripControl(operator.gripper_input), "r"
        self.opening, self.target, self.stopped = 1.0, None, False

    def press(self, name):
        self.held.add(name)

    def release(self, name):
        self.held.remove(name)

    def set_stick(self, horizontal, vertical):
        self.stick = vertical

    def set_wrist(self, hand, transform):
        """The headset; what it shows is not looked at here."""

    def live(self, seconds):
        for _ in range(round(seconds / TICK)):
            self.person.tick(TICK)
            wanted = self.grip.step(
                self.trigger in self.held,
                self.stick,
                stalled=False,
                is_held=self.stopped,
                measured=self.opening,
                dt=TICK,
            )
            self.target = self.target if wanted is None else wanted
            if self.target is not None and not self.stopped:
                step = min(max(self.target - self.opening, -TICK / 0.7), TICK / 0.7)
                self.opening += step


def test_people_press_the_buttons_that_the_cell_gave_to_what_they_do():
    desk = Desk(buttons=CROSSED)
    for action, button in (("clutch", "zr"), ("gripper", "r"), ("record", "plus")):
        desk.person.hold(action)
        assert desk.held == {button} and desk.person.holds(action)
        desk.person.hold(action, down=False)
        assert not desk.held


def test_an_action_without_a_button_changes_nothing_and_the_stop_always_has_two():
    desk = Desk(buttons={"record": "", "discard": "b", "fail": "a"})
    assert not desk.person.can("record") and not desk.person.hold("record") and not desk.held
    desk.person.hold(STOP)
    desk.person.hold("discard")  # a button that the stop has as well
    assert desk.held == {"a", "b"}
    desk.person.hold(STOP, down=False)
    assert desk.held == {"b"}
    desk.person.release_all()
    assert not desk.held


@pytest.mark.parametrize("mode", ["trigger", "toggle", "stick"])
def test_the_fingers_do_what_the_hand_wants_however_the_gripper_is_worked(mode):
    desk = Desk(buttons=CROSSED, gripper_input=mode)
    desk.live(0.2)
    for closed in (True, False, True, True, False):
        desk.person.hold("gripper", down=closed)
        desk.live(3.0)
        assert desk.opening == pytest.approx(0.0 if closed else 1.0, abs=0.01), closed
        assert desk.person.holds("gripper") == closed
        assert (desk.held == {"r"}) == (closed and mode == "trigger") and desk.stick == 0.0


@pytest.mark.parametrize("mode", ["toggle", "stick"])
def test_after_a_stop_a_closed_gripper_still_opens_when_it_is_to(mode):
    """A first press closes then, whatever was before: people see that, and press again."""
    desk = Desk(buttons=CROSSED, gripper_input=mode)
    desk.live(0.2)
    desk.person.hold("gripper")
    desk.live(3.0)
    desk.stopped = True
    desk.live(0.5)
    desk.stopped = False
    desk.live(0.5)
    desk.person.release_all()
    desk.live(4.0)
    assert desk.opening == pytest.approx(1.0) and not desk.held


def people_with(left, right):
    operators = load_cell(None, "sim").operators
    changes = {"left": left, "right": right}
    return {
        side: Person(replace(operators[side], **changes[side]), None, None) for side in operators
    }


def test_who_has_the_button_does_what_concerns_both():
    people = people_with({}, {"buttons": {"record": ""}})
    assert whoever_can(people, *KEEP) == ("left", "record")
    assert whoever_can(people, *DISCARD) == ("left", "discard")


@pytest.mark.parametrize(
    ("left", "right", "named"),
    [
        ({"buttons": {"gripper": ""}}, {}, "'gripper'.*operators.left.buttons"),
        ({}, {"buttons": {"home": ""}}, "'home'.*operators.right.buttons"),
        ({"buttons": {"record": ""}}, {"buttons": {"record": ""}}, "'record'"),
    ],
)
def test_a_cell_without_a_button_that_people_need_is_refused_by_name(left, right, named):
    require_buttons(people_with({}, {}))
    with pytest.raises(UsageError, match=named):
        require_buttons(people_with(left, right))


def test_a_stick_needs_no_button_for_the_gripper():
    operator = load_cell(None, "sim").operators["left"]
    without = {"buttons": {"gripper": ""}}
    assert "gripper" not in actions_of(replace(operator, **without))
    assert "gripper" in actions_of(replace(operator, **without, gripper_input="stick"))


def test_the_emulated_operator_presses_the_buttons_of_the_cell_too():
    operator = replace(load_cell(None, "sim").operators["right"], buttons=CROSSED)
    assert buttons_of(operator, CircleMotion(), 5.0) == {"zr": True, "r": True}
    assert buttons_of(operator, CircleMotion(), 0.5) == {"zr": False, "r": False}
