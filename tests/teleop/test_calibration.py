"""Calibration by a gesture: what is fitted, what is refused, and how long it holds."""

import dataclasses
import math
import re

import numpy as np
import pytest

from ate_core.contract import load_cell
from ate_core.geometry import rotation_exp, rotation_log, transform
from ate_core.hand_mapping import operator_mapping
from ate_sim.people.person import REST_POSE
from ate_teleop.clutch import ClutchState
from ate_teleop.ik import ArmIK, arm_ik_config
from ate_teleop.operator import OperatorController
from ate_teleop.operator_settings import operator_settings
from operator_devices.hand_pose import TRANSFORM_ARKIT_TO_HEADSET, HandTracker
from operator_devices.joycon_report import BUTTONS, JoyConState

TICK_NS = 11_111_111
TICK = TICK_NS * 1e-9
HELD = rotation_exp([0.0, 0.0, -0.5 * math.pi])
"""A right hand, fingers forward and thumb up: its x runs from the fingertips to the elbow."""


class Person:
    """One operator with an ideal arm, in a headset whose front is turned."""

    def __init__(self, yaw=0.0, tilt=(0.0, 0.0, 0.0), side="left", noise=5e-5):
        self.cell = load_cell(hardware="sim")
        self.arm = self.cell.arms[side]
        self.controller = OperatorController(operator_settings(self.cell, side))
        self.ik = ArmIK(arm_ik_config(self.arm, self.cell.safety))
        self.q = np.array(self.arm.home)
        self.turn = transform(rotation_exp([0.0, 0.0, yaw]), np.zeros(3))
        self.hand = transform(HELD @ rotation_exp(tilt), [0.15, 0.35, -0.3])
        self.tracker = HandTracker()
        self.tracker.begin_session()
        self.now_ns, self.held, self.head = 10**9, set(), np.eye(4)
        self.random, self.noise = np.random.default_rng(3), noise
        self.outputs, self.sees = [], True
        self.spoil = lambda wrist: wrist
        self.run(5 * TICK)

    def run(self, seconds=TICK, velocity=(0.0, 0.0, 0.0), turn=(0.0, 0.0, 0.0), estop=""):
        """Let the hand go on with a velocity [m/s] and a turn [rad/s], as the person sees them."""
        for _ in range(round(seconds / TICK)):
            self.now_ns += TICK_NS
            self.hand[:3, 3] += TICK * np.array(velocity)
            self.hand[:3, :3] = self.hand[:3, :3] @ rotation_exp(TICK * np.array(turn))
            if self.sees:
                wrist = self.turn @ self.hand
                wrist[:3, 3] += self.random.normal(0.0, self.noise, 3)
                head = self.turn @ self.head
                head[:3, 3] += self.random.normal(0.0, self.noise, 3)
                self.tracker.update(self.spoil(wrist), head, self.now_ns)
            joy = JoyConState(
                buttons=tuple(int(name in self.held) for name in BUTTONS),
                received_ns=self.now_ns, session=1, live=True,
            )  # fmt: skip
            output = self.controller.step(
                self.tracker.sample, joy, self.q, self.now_ns, estop=estop
            )
            self.q = self.q if output.joint_target is None else output.joint_target
            self.outputs.append(output)

    def press(self, *buttons):
        self.held = set(buttons)
        self.run(5 * TICK)

    def ask(self):
        self.press()
        self.press("left_sl", "left_sr")
        self.press()

    def stroke(self, way, seconds=1.0, **motion):
        """Hold the clutch and move the hand by a way (3,) [m]."""
        self.press("l")
        self.run(seconds, np.array(way) / seconds, **motion)
        self.press()

    def calibrate(self, forward=(0.0, 0.25, 0.0), aside=(0.25, 0.0, 0.0)):
        self.ask()
        self.stroke(forward)
        self.stroke(aside)
        return self.said

    @property
    def said(self):
        return self.outputs[-1].status.calibration

    def tool(self):
        return self.ik.tool_pose(self.q)

    def tool_way(self, way, **motion):
        """How the tool goes, in the world, while the hand goes a way [m] with the clutch held."""
        self.press("l")
        self.run(0.2)
        assert self.outputs[-1].status.clutch is ClutchState.ENGAGED
        before = self.tool()
        self.run(1.0, np.array(way), **motion)
        self.run(0.7)
        after = self.tool()
        self.press()
        return after[:3, 3] - before[:3, 3], before[:3, :3].T @ after[:3, :3]


def degrees_between(a, b):
    return math.degrees(math.acos(np.clip(a @ b / np.linalg.norm(a) / np.linalg.norm(b), -1, 1)))


def test_two_buttons_on_the_rail_begin_a_calibration_and_end_it_and_leave_the_scale() -> None:
    person = Person()
    person.run(0.2)
    scale = person.outputs[-1].status.scale
    person.ask()
    assert person.outputs[-1].status.calibrating
    assert "push the hand 0.2 m forward" in person.said
    person.ask()
    assert not person.outputs[-1].status.calibrating
    assert "ended by its operator" in person.said
    assert person.outputs[-1].status.scale == scale


@pytest.mark.parametrize("yaw", [0.0, 0.6, -1.4, 2.9, -3.0])
@pytest.mark.parametrize("side", ["left", "right"])
def test_after_a_calibration_a_push_forward_moves_the_tool_forward(yaw: float, side: str) -> None:
    person = Person(yaw, side="left")
    aside = {"left": (-0.2, 0.0, 0.0), "right": (0.2, 0.0, 0.0)}[side]
    said = person.calibrate(aside=aside)
    angle, way = re.search(r"faces ([\d.]+) deg to the (left|right)", said).groups()
    assert float(angle) * (1 if way == "left" else -1) == pytest.approx(math.degrees(yaw), abs=0.3)
    status = person.outputs[-1].status
    assert status.calibrations_fitted == 1 and status.calibrated is not None
    assert degrees_between(person.tool_way((0.0, 0.08, 0.0))[0], np.array([1.0, 0, 0])) < 1.0
    assert degrees_between(person.tool_way((0.06, 0.0, 0.0))[0], np.array([0, -1.0, 0])) < 1.0


def test_without_a_calibration_a_turned_headset_turns_the_strokes() -> None:
    way, _ = Person(0.6).tool_way((0.0, 0.08, 0.0))
    assert degrees_between(way, np.array([1.0, 0.0, 0.0])) == pytest.approx(34.4, abs=1.0)


def test_after_a_calibration_a_roll_of_a_crooked_hand_about_its_fingers_rolls_the_tool() -> None:
    errors = []
    for calibrates in (False, True):
        person = Person(0.4, tilt=(0.1, 0.2, -0.25))
        if calibrates:
            assert "hand axes corrected by 19.2 deg" in person.calibrate()
        forward = np.array([0.0, 1.0, 0.0])
        _, turn = person.tool_way((0.0, 0.0, 0.0), turn=0.3 * person.hand[:3, :3].T @ forward)
        errors.append(degrees_between(rotation_log(turn), np.array([0.0, 0.0, 1.0])))
    assert errors[0] > 10.0
    assert errors[1] < 1.0


def test_the_two_strokes_share_their_disagreement_and_it_is_told() -> None:
    person = Person()
    said = person.calibrate(aside=(0.25 * math.cos(0.1), -0.25 * math.sin(0.1), 0.0))
    assert "faces 2.9 deg to the right" in said
    assert "agree to 2.9 deg" in said


def test_an_arm_does_not_move_while_its_operator_is_calibrated() -> None:
    person = Person(0.5)
    home = person.q.copy()
    person.ask()
    for held in (("l",), ("capture",), ("capture", "l")):
        person.press(*held)
        person.run(0.1)
    assert not any(output.go_home for output in person.outputs)
    person = Person(0.5)
    person.calibrate()
    assert all(output.joint_target is None for output in person.outputs)
    assert all(output.status.clutch is not ClutchState.ENGAGED for output in person.outputs)
    assert np.array_equal(person.q, home)


BAD_STROKES = {
    "too short": ({"way": (0.0, 0.14, 0.0)}, "too short: the hand went 0.14 m; need 0.15 m"),
    "not moved": ({"way": (0.0, 0.0, 0.0)}, "was it this operator's hand, and their headset?"),
    "up": ({"way": (0.0, 0.2, 0.1)}, "not level: the hand went up by 27 deg; need at most 15"),
    "hand lowered": ({"way": (0.0, 0.1, -0.3)}, "not level: the hand went down by 72 deg"),
    "turned": ({"way": (0.0, 0.25, 0.0), "turn": (0.5, 0.0, 0.0)}, "wrist turned by 29 deg on"),
    "hand backward": ({"way": (0.0, -0.25, 0.0)}, "hand turned by 180 deg from fingers forward"),
}


@pytest.mark.parametrize(("stroke", "reason"), BAD_STROKES.values(), ids=BAD_STROKES)
def test_a_bad_stroke_is_refused_by_name_and_changes_nothing(stroke: dict, reason: str) -> None:
    person = Person(0.3)
    held = person.calibrate()
    mapping = person.controller.calibrator.mapping
    person.ask()
    person.stroke(**stroke)
    if person.outputs[-1].status.calibrating:
        person.stroke((0.25, 0.0, 0.0))
    assert person.said == f"refused: {person.said.split('refused: ')[1]}"
    assert reason in person.said
    assert person.said.endswith(f"still in force: {held}")
    after = person.controller.calibrator.mapping
    assert np.array_equal(after.rotation_headset_to_base, mapping.rotation_headset_to_base)
    assert np.array_equal(after.rotation_tool_to_wrist, mapping.rotation_tool_to_wrist)


def test_a_curved_stroke_is_refused() -> None:
    person = Person()
    person.ask()
    person.press("l")
    for angle in np.linspace(0.0, 1.2, 30):
        person.run(3 * TICK, (0.4 * math.sin(angle), 0.4 * math.cos(angle), 0.0))
    person.press()
    assert "curved: the hand left the straight line by" in person.said


def test_strokes_that_are_not_square_are_refused() -> None:
    assert "are 60 deg apart; need 75 to 105" in Person().calibrate(aside=(0.2165, 0.125, 0.0))


@pytest.mark.parametrize(
    ("flaw", "reason"),
    {
        "tracking lost": ("hidden", "hand not tracked"),
        "headset silent": ("silent", "headset silent for"),
        "centred anew": ("recentred", "centred anew"),
        "another hand": ("swapped", "the hand jumped"),
        "stop": ("stopped", "emergency stop: somebody fell"),
    }.values(),
)
def test_what_happens_on_the_way_ends_the_calibration_with_its_reason(flaw, reason) -> None:
    person = Person()
    person.ask()
    person.press("l")
    person.run(0.3, (0.0, 0.3, 0.0))
    kept = person.tracker.sample.transform_wrist_to_headset
    if flaw == "hidden":
        person.spoil = lambda wrist: kept
    elif flaw == "silent":
        person.sees = False
    elif flaw == "recentred":
        person.turn = person.turn @ transform(rotation_exp([0, 0, 0.1]), [0.02, 0.0, 0.0])
    elif flaw == "swapped":
        person.spoil = lambda wrist: wrist @ transform(rotation_exp([0, 0, math.pi]), np.zeros(3))
    person.run(0.4, (0.0, 0.3, 0.0), estop="somebody fell" if flaw == "stopped" else "")
    assert not person.outputs[-1].status.calibrating
    assert reason in person.said
    assert person.outputs[-1].joint_target is None, "the button is still held: the arm must wait"
    assert person.outputs[-1].status.clutch is ClutchState.BLOCKED


def test_a_stall_ends_a_calibration_only_while_a_stroke_is_under_way() -> None:
    person = Person()
    person.ask()
    person.now_ns += 300_000_000
    person.run(0.1)
    assert person.outputs[-1].status.calibrating
    person.press("l")
    person.now_ns += 300_000_000
    person.run(0.1)
    assert "this operator's process stood still for 311 ms" in person.said
    assert person.outputs[-1].joint_target is None


def test_the_other_hand_is_refused() -> None:
    person = Person()
    person.hand[:3, :3] = person.hand[:3, :3] @ rotation_exp([0.0, 0.0, math.pi])
    assert "is it the right hand?" in person.calibrate()


def test_a_hand_of_the_simulated_cell_rests_as_a_calibration_wants_it() -> None:
    person = Person()
    person.hand = REST_POSE.copy()
    assert "hand axes corrected by 0.0 deg" in person.calibrate()


def test_a_calibration_is_refused_while_the_arm_is_led_and_given_up_without_a_stroke() -> None:
    person = Person()
    person.press("l")
    person.run(0.2)
    person.controller.ask_calibration()
    person.run(0.1)
    assert "the clutch is held: release it first" in person.said
    assert person.outputs[-1].status.clutch is ClutchState.ENGAGED
    person.ask()
    for _ in range(310):
        person.now_ns += 10 * TICK_NS - TICK_NS
        person.run()
    assert "no stroke came within 30 s" in person.said


def test_a_press_right_after_a_refused_calibration_leads_no_arm() -> None:
    person = Person()
    person.ask()
    person.stroke([0.0, 0.01, 0.0], seconds=0.3)
    assert "refused" in person.said
    person.press("l")
    person.run(0.3)
    assert person.outputs[-1].status.reason == "calibrating: the arm holds"
    person.press()
    person.run(2.0)
    person.press("l")
    person.run(0.3)
    assert person.outputs[-1].status.clutch is ClutchState.ENGAGED


def test_a_headset_centred_anew_makes_the_heading_void_and_keeps_the_axes_of_the_hand() -> None:
    person = Person(0.5, tilt=(0.0, 0.2, 0.0))
    person.calibrate()
    before = person.controller.calibrator.mapping
    person.turn = person.turn @ transform(rotation_exp([0, 0, 0.2]), [0.05, 0.0, 0.0])
    person.run(0.1)
    news = [output.calibration for output in person.outputs if output.calibration]
    assert not news[-1].good
    assert person.said == "void, the headset was centred anew: calibrate again"
    after = person.controller.calibrator.mapping
    nominal = operator_mapping(person.cell.operators["left"], person.arm)
    assert np.array_equal(after.rotation_headset_to_base, nominal.rotation_headset_to_base)
    assert np.array_equal(after.rotation_tool_to_wrist, before.rotation_tool_to_wrist)


@pytest.mark.parametrize(
    ("pause", "moved", "holds"),
    [(0.4, 0.0, True), (0.4, 0.2, True), (0.4, 0.5, False), (6.0, 0.0, False)],
)
def test_a_stream_that_returns_keeps_the_calibration_where_the_head_still_is(
    pause: float, moved: float, holds: bool
) -> None:
    person = Person(0.5)
    said = person.calibrate()
    person.sees = False
    person.run(pause)
    person.head[0, 3] += moved
    person.tracker.begin_session()
    person.sees = True
    person.run(0.1)
    assert (person.said == said) == holds
    assert person.said.startswith("void") != holds


def test_a_hand_that_jumps_is_no_reason_to_calibrate_anew() -> None:
    person = Person(0.5)
    said = person.calibrate()
    session = person.tracker.sample.session
    person.hand[:3, 3] += 0.3
    person.run(0.1)
    assert person.tracker.sample.session > session
    assert person.said == said


def test_a_hand_never_raised_and_poses_that_are_no_numbers_are_told_as_what_they_are() -> None:
    for pose, words in (
        (TRANSFORM_ARKIT_TO_HEADSET, "has not been seen yet: raise it"),
        (np.full((4, 4), np.nan), "no numbers or no rotations"),
    ):
        person = Person()
        person.spoil = lambda _, pose=pose: pose
        person.press("l")
        person.run(0.7)
        status = person.outputs[-1].status
        assert words in status.reason
        assert status.clutch is ClutchState.BLOCKED
        person.press()
        person.ask()
        person.stroke((0.0, 0.25, 0.0))
        assert words in person.said
        assert all(output.joint_target is None for output in person.outputs)


def test_the_scale_goes_to_the_next_engagement_and_never_beyond_its_bounds() -> None:
    person = Person()
    person.press("l")
    person.run(0.2)
    before = person.tool()
    person.controller.scale = 2.0
    person.run(0.2)
    assert person.outputs[-1].status.scale == 2.0
    assert np.abs(person.tool()[:3, 3] - before[:3, 3]).max() < 5e-4
    person.press()
    way, _ = person.tool_way((0.0, 0.04, 0.0))
    assert np.linalg.norm(way) == pytest.approx(0.08, abs=1e-3)
    person.controller.scale = 99.0
    assert person.controller.scale == 3.0
    assert dataclasses.is_dataclass(person.outputs[-1])
