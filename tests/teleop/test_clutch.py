import dataclasses

import numpy as np
import pytest

from ate_core.geometry import rotation_exp, transform
from ate_teleop.clutch import Clutch, ClutchConfig, ClutchState, HandView

DT = 1 / 90
POSE = transform(rotation_exp([0.1, 0.2, 0.3]), [0.2, 0.4, 1.1])


class Bench:
    """Steps a clutch with a live hand and a held button, unless told otherwise."""

    def __init__(self):
        self.clutch = Clutch()
        self.tick = 0

    def step(self, pressed=True, obstacle="", hand=True, **changes):
        self.tick += 1
        view = HandView(
            pose=POSE, frame=self.tick, session=1, tracked=True, age=0.0, unchanged=0.0
        )
        view = dataclasses.replace(view, **changes) if hand else None
        return self.clutch.step(self.tick * DT, pressed, view, obstacle)

    def engage(self):
        self.step(pressed=False)
        for _ in range(ClutchConfig().frames):
            self.step()
        assert self.clutch.state is ClutchState.ENGAGED


def test_engagement_takes_several_fresh_frames():
    bench = Bench()
    bench.step(pressed=False)
    states = [bench.step() for _ in range(ClutchConfig().frames)]
    assert states[-2] is ClutchState.ENGAGING
    assert states[-1] is ClutchState.ENGAGED


def test_repeated_messages_do_not_count_as_frames():
    bench = Bench()
    states = {bench.step(frame=7) for _ in range(20)}
    assert states == {ClutchState.ENGAGING}


@pytest.mark.parametrize(
    "flaw",
    [
        {"tracked": False},
        {"age": 0.1},
        {"hand": False},
        {"obstacle": "arm does not report its joints"},
    ],
    ids=["untracked", "old", "absent", "obstacle"],
)
def test_the_clutch_never_engages_on(flaw):
    bench = Bench()
    states = {bench.step(**flaw) for _ in range(90)}
    assert states == {ClutchState.ENGAGING, ClutchState.BLOCKED}
    assert bench.clutch.reason
    assert bench.step() is ClutchState.BLOCKED  # too late: the operator must press again


@pytest.mark.parametrize(
    ("flaw", "reason"),
    [
        ({"age": 0.21}, "silent"),
        ({"unchanged": 0.16}, "not tracked"),
        ({"tracked": False}, "not tracked"),
        ({"session": 2}, "frame changed"),
        ({"hand": False}, "sent nothing yet"),
        ({"obstacle": "arm gone"}, "arm gone"),
    ],
    ids=["silence", "identical", "untracked", "session", "absent", "obstacle"],
)
def test_a_loss_lets_go_until_the_button_is_pressed_anew(flaw, reason):
    bench = Bench()
    bench.engage()
    assert bench.step(**flaw) is ClutchState.BLOCKED
    assert reason in bench.clutch.reason
    assert {bench.step() for _ in range(50)} == {ClutchState.BLOCKED}
    bench.engage()


def test_short_silence_is_ridden_out():
    bench = Bench()
    bench.engage()
    assert bench.step(age=0.19, unchanged=0.14) is ClutchState.ENGAGED


def test_the_reference_of_a_hand_at_rest_is_the_mean_and_of_a_moving_one_the_newest():
    rng = np.random.default_rng(3)
    for speed in (0.0, 0.5):
        bench = Bench()
        bench.step(pressed=False)
        for k in range(ClutchConfig().frames):
            pose = POSE.copy()
            pose[:3, 3] += rng.normal(0, 0.0007, 3) + speed * DT * k
            bench.step(pose=pose)
        error = np.abs(bench.clutch.reference[:3, 3] - pose[:3, 3]).max()
        assert (error == 0.0) == (speed > 0.0)


def test_a_link_that_has_become_late_opens_the_clutch_and_says_how_late():
    bench = Bench()
    bench.engage()
    assert bench.step(delay=0.2) is ClutchState.ENGAGED
    assert bench.step(delay=0.31) is ClutchState.BLOCKED
    assert "310 ms late" in bench.clutch.reason
