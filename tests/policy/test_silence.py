"""A device that falls silent makes all arms hold, and ends the policy when it stays so."""

import numpy as np
import pytest

from ate_policy.silence import END_AFTER, PAUSE_AFTER, DeviceSilence


def silences(quiet, *, seconds=3.0, period=0.05):
    """When all arms hold, and when the policy is ended, while a device is quiet by time."""
    silence, pauses, ends = DeviceSilence(), [], []
    for now in np.arange(0.0, seconds, period):
        for device in ("left arm", "right arm"):
            if not quiet(device, now):
                silence.hear(device)
        found = silence.look(now)
        pauses += [(now, found.pause)] if found.pause else []
        ends += [(now, found.end)] if found.end else []
    return pauses, ends


def test_devices_that_report_let_the_policy_go_on():
    assert silences(lambda device, now: False) == ([], [])


def test_a_device_that_falls_silent_makes_all_arms_hold_and_then_ends_the_policy():
    pauses, ends = silences(lambda device, now: device == "left arm" and now > 1.0)
    assert pauses[0][0] == pytest.approx(1.0 + PAUSE_AFTER, abs=0.11)
    assert pauses[0][1] == "left arm is silent: all arms hold"
    assert ends[0][0] == pytest.approx(1.0 + END_AFTER, abs=0.11)
    assert "left arm has been silent" in ends[0][1]


def test_a_device_that_is_silent_for_a_moment_only_makes_the_arms_hold():
    pauses, ends = silences(lambda device, now: device == "right arm" and 1.0 < now < 1.32)
    assert pauses and not ends
    assert pauses[-1][0] < 1.32


def test_messages_that_wait_while_the_own_process_stands_still_are_waited_for():
    silence = DeviceSilence()
    silence.hear("left arm")
    for now in (0.0, 5.0):
        assert not silence.look(now).pause


def test_a_device_that_was_never_heard_is_not_judged():
    silence = DeviceSilence()
    assert not any(silence.look(0.05 * tick).pause for tick in range(100))
