"""What an operator's statuses tell of taking the arm, also where some of them were missed."""

import pytest

from ate_core.takeover import Takeover


def status(clutch="released", presses=0, instance="teleop#1", **more):
    return {"clutch": clutch, "presses": presses, "instance": instance, **more}


def test_what_was_pressed_before_anybody_listened_is_no_takeover():
    takeover = Takeover()
    assert takeover.take(status(presses=7)) == "" and takeover.held == ""
    assert takeover.take(status(presses=7, frozen=False)) == ""


def test_a_press_is_one_takeover_and_held_until_it_ends():
    takeover = Takeover()
    takeover.take(status())
    assert takeover.take(status("engaging", 1)) == "closed the clutch"
    assert takeover.take(status("engaged", 1)) == "" and takeover.held == "holds the clutch"
    assert takeover.take(status("released", 1)) == "" and takeover.held == ""


@pytest.mark.parametrize("instance", ["teleop#1", "teleop#2"])
def test_what_began_and_ended_between_two_statuses_is_a_takeover_also_of_a_new_process(instance):
    takeover = Takeover()
    takeover.take(status(presses=0))
    assert takeover.take(status(presses=1, instance=instance)) == "took the arm for a moment"
    assert takeover.held == ""


def test_a_process_that_was_started_anew_and_pressed_nothing_takes_nothing():
    takeover = Takeover()
    takeover.take(status("engaged", 5))
    assert takeover.take(status(presses=0, instance="teleop#2")) == ""
    assert takeover.take(status("engaging", 1, "teleop#2")) == "closed the clutch"
    takeover.take(status("engaged", 1, "teleop#2"))
    assert takeover.take(status("engaging", 1, "teleop#3")) == "closed the clutch"


@pytest.mark.parametrize("told", [{}, {"presses": 3}, {"clutch": "released", "presses": "many"}])
def test_a_status_that_tells_nothing_of_it_changes_nothing(told):
    takeover = Takeover()
    takeover.take(status())
    assert takeover.take({"instance": "teleop#1", **told}) == "" and takeover.held == ""
