"""A policy whose commands nobody follows notices it, and no other one does."""

import numpy as np
import pytest

from ate_policy.unheard import LONGEST_LOST, LONGEST_UNHEARD, Unheard


def verdicts(holders, *, seconds: float, sends=lambda now: True) -> list[tuple[float, str]]:
    """Complaints of a policy that commands at 20 Hz; the holder of the arm by time."""
    unheard, found, before = Unheard("policy"), [], None
    for now in np.arange(0.0, seconds, 0.05):
        if sends(now):
            unheard.send(now)
        holder = holders(now)
        if holder != before:
            unheard.hear("left arm", holder, "policy: kept sending through a loss")
            before = holder
        text = unheard.look(now)
        if text:
            found.append((now, text))
    return found


def test_a_policy_that_is_followed_hears_no_complaint() -> None:
    assert not verdicts(lambda now: "policy" if now > 0.6 else "home", seconds=20.0)


@pytest.mark.parametrize(("holder", "patience"), [("", LONGEST_LOST), ("teleop", 0.0)])
def test_a_policy_that_is_followed_no_more_learns_it_with_the_reason(holder, patience) -> None:
    found = verdicts(lambda now: holder if now > 5.0 else "policy", seconds=8.0)
    assert found[0][0] == pytest.approx(5.0 + patience, abs=0.2)
    assert found[0][1].startswith("left arm follows ") and "through a loss" in found[0][1]


@pytest.mark.parametrize("holder", ["", "home"])
def test_a_policy_that_was_not_followed_yet_waits_for_a_lease_to_end(holder: str) -> None:
    found = verdicts(lambda now: holder, seconds=8.0)
    assert found[0][0] == pytest.approx(LONGEST_UNHEARD, abs=0.2)


def test_a_lease_that_ended_in_a_pause_of_the_policy_is_waited_for_anew() -> None:
    def holder(now: float) -> str:
        return "" if 2.5 < now < 4.5 else "policy"

    assert not verdicts(holder, seconds=8.0, sends=lambda now: not 2.0 < now < 3.0)


def test_a_policy_that_commands_nothing_is_not_unheard() -> None:
    assert not verdicts(lambda now: "", seconds=20.0, sends=lambda now: False)


def test_pauses_of_a_policy_spare_nobody_who_never_follows() -> None:
    found = verdicts(lambda now: "", seconds=20.0, sends=lambda now: now % 1.5 < 1.0)
    assert found[0][0] == pytest.approx(2.5, abs=0.7), "two seconds of commands"
    assert "left arm follows nobody" in found[0][1]


def test_an_arm_that_was_taken_in_a_pause_ends_the_policy_with_its_next_command() -> None:
    def holder(now: float) -> str:
        return "policy" if now < 2.0 else "trajectory"

    found = verdicts(holder, seconds=8.0, sends=lambda now: not 1.5 < now < 3.0)
    assert found[0][0] == pytest.approx(3.0, abs=0.1)
    assert "left arm follows trajectory" in found[0][1]


def test_a_policy_that_is_started_anew_waits_for_a_lease_anew() -> None:
    unheard = Unheard("policy")
    unheard.hear("left arm", "policy", "")
    unheard.hear("left arm", "teleop", "")
    unheard.begin()
    for now in np.arange(0.0, LONGEST_UNHEARD - 0.2, 0.05):
        unheard.send(now)
        assert not unheard.look(now)


def test_reports_that_wait_while_the_machine_stands_still_are_waited_for() -> None:
    unheard = Unheard("policy")
    unheard.hear("left arm", "", "")
    for now in (0.0, 10.0, 20.0):
        unheard.send(now)
        assert not unheard.look(now)


def test_a_device_that_tells_nothing_of_commanders_is_not_judged() -> None:
    unheard = Unheard("policy")
    for now in np.arange(0.0, 10.0, 0.05):
        unheard.send(now)
        assert not unheard.look(now)
