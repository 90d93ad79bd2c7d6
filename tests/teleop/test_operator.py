import json
from dataclasses import replace
from types import SimpleNamespace
from unittest import mock

import numpy as np
import pytest

from ate_core.contract import load_cell
from ate_core.geometry import rotation_exp, transform
from ate_core.hand_mapping import hand_pose_for_tool_motion, operator_mapping
from ate_core.safety import LEASE_SILENCE
from ate_teleop.buttons import Event
from ate_teleop.clutch import ClutchState
from ate_teleop.grip import OFF_CENTRE
from ate_teleop.ik import ArmIK, arm_ik_config
from ate_teleop.operator import OperatorController
from ate_teleop.operator_settings import operator_settings
from operator_devices.hand_pose import HandSample
from operator_devices.joycon_report import BUTTONS, JoyConState

TICK_NS = 11_111_111
HAND = transform(rotation_exp([0.4, -0.3, 0.9]), [0.2, 0.4, 1.1])


class Rig:
    """An operator's controller with an ideal arm behind it."""

    def __init__(self, side="left", q=None):
        self.cell = load_cell(hardware="sim")
        self.arm = self.cell.arms[side]
        self.controller = OperatorController(operator_settings(self.cell, side))
        self.ik = ArmIK(arm_ik_config(self.arm, self.cell.safety))
        self.mapping = operator_mapping(self.cell.operators[side], self.arm)
        self.q = np.array(self.arm.home) if q is None else q
        self.now_ns = 10**9
        self.heard_ns = 0
        self.changed_ns = 0
        self.hand = HAND.copy()
        self.session = 1
        self.held = set()
        self.random = np.random.default_rng(7)
        self.noise = 5e-5

    def step(
        self, *, live=True, joy=True, stale=False, arm=True, estop="", held=False, policy=False,
        trouble="",
    ):  # fmt: skip
        self.now_ns += TICK_NS
        self.heard_ns = self.heard_ns if stale else self.now_ns
        pose = self.hand.copy()
        if live:
            self.changed_ns = self.now_ns
            pose[:3, 3] += self.random.normal(0, self.noise, 3)
        sample = HandSample(
            transform_wrist_to_headset=pose,
            transform_head_to_headset=np.eye(4),
            received_ns=self.changed_ns,
            changed_ns=self.changed_ns,
            sequence=self.now_ns,
            session=self.session,
            tracked=True,
        )
        state = JoyConState(
            buttons=tuple(int(name in self.held) for name in BUTTONS),
            received_ns=self.heard_ns,
            session=1,
            live=joy,
        )
        output = self.controller.step(
            sample, state if joy else state.released(), self.q if arm else None,
            self.now_ns, estop, held, trouble=(trouble, ""), policy_drives=policy,
        )  # fmt: skip
        if output.joint_target is not None:
            self.q = output.joint_target
        return output

    def run(self, ticks, **flaws):
        return [self.step(**flaws) for _ in range(ticks)]

    def engage(self):
        self.held.discard("l")
        self.step()
        self.held.add("l")
        outputs = self.run(10)
        assert outputs[-1].status.clutch is ClutchState.ENGAGED
        return outputs

    def tool(self):
        return self.ik.tool_pose(self.q)


def test_engagement_moves_nothing_whatever_the_offset():
    random = np.random.default_rng(11)
    for _ in range(20):
        q = np.array(load_cell().arms["left"].home) + random.uniform(-0.3, 0.3, 7)
        rig = Rig(q=q)
        rig.hand = transform(rotation_exp(random.normal(0, 1, 3)), random.normal(0, 0.5, 3))
        before = rig.tool()
        outputs = rig.engage()
        targets = [output.joint_target for output in outputs if output.joint_target is not None]
        first = rig.ik.tool_pose(targets[0])
        assert np.abs(first[:3, 3] - before[:3, 3]).max() < 1e-5
        assert np.abs(targets[0] - q).max() < 0.006  # rad: the slow pull to rest
        assert np.abs(rig.tool()[:3, 3] - before[:3, 3]).max() < 5e-4


def test_a_press_while_a_policy_drives_moves_nothing_until_the_next_one():
    rig = Rig()
    rig.step()
    rig.held.add("l")
    outputs = rig.run(80, policy=True)  # until its lease has ended
    outputs += rig.run(20)
    assert {output.status.clutch for output in outputs[60:]} == {ClutchState.BLOCKED}
    assert "press again" in outputs[-1].status.reason
    assert all(output.joint_target is None for output in outputs)
    before = rig.tool()
    rig.engage()
    assert np.abs(rig.tool()[:3, 3] - before[:3, 3]).max() < 5e-4


def test_a_hand_that_moves_while_engaging_does_not_make_the_tool_jump():
    rig = Rig()
    rig.step()
    rig.held.add("l")
    before = rig.tool()
    for _ in range(12):
        rig.hand[0, 3] += 0.4 * TICK_NS * 1e-9
        output = rig.step()
        if output.joint_target is not None:
            break
    assert np.abs(rig.tool()[:3, 3] - before[:3, 3]).max() < 1e-5


def test_a_hand_found_by_the_inverse_mapping_brings_the_tool_where_it_is_wanted():
    rig = Rig()
    rig.engage()
    start = rig.tool()
    wanted = start @ transform(rotation_exp([0.1, -0.2, 0.3]), np.zeros(3))
    wanted[:3, 3] += [0.08, 0.05, 0.06]
    goal = hand_pose_for_tool_motion(rig.mapping, HAND, start, wanted)
    for step in range(180):
        share = (step + 1) / 180
        rig.hand = goal.copy()
        rig.hand[:3, 3] = (1 - share) * HAND[:3, 3] + share * goal[:3, 3]
        rig.hand[:3, :3] = HAND[:3, :3] @ rotation_exp(
            share * np.asarray(_log(HAND[:3, :3].T @ goal[:3, :3]))
        )
        rig.step()
    outputs = rig.run(60)
    assert np.abs(rig.tool() - wanted).max() < 1e-3
    assert not outputs[-1].status.out_of_reach


def _log(rotation):
    from ate_core.geometry import rotation_log

    return rotation_log(rotation)


@pytest.mark.parametrize(
    ("flaw", "ticks", "reason"),
    [({"live": False}, 20, "headset silent"), ({"arm": False}, 20, "joints")],
    ids=["hand lost", "arm silent"],
)
def test_a_loss_makes_the_arm_hold_until_the_shoulder_is_pressed_anew(flaw, ticks, reason):
    rig = Rig()
    rig.engage()
    outputs = rig.run(ticks, **flaw)
    assert outputs[-1].joint_target is None
    assert reason in outputs[-1].status.reason
    assert all(output.joint_target is None for output in rig.run(50))
    rig.engage()


def test_a_hand_that_is_seen_no_more_moves_nothing_from_then_on():
    rig = Rig()
    rig.engage()
    assert all(output.joint_target is None for output in rig.run(40, live=False))


def test_a_short_silence_of_the_arm_pauses_the_stroke_and_resumes_without_a_jump():
    rig = Rig()
    rig.engage()
    rig.run(30)
    before = rig.tool()
    pause = rig.run(10, arm=False)
    assert all(output.joint_target is None for output in pause)
    assert pause[-1].status.clutch is ClutchState.ENGAGED
    rig.q = rig.q + 0.05  # the arm coasted on meanwhile
    coasted = rig.q.copy()
    first = rig.step().joint_target
    assert np.abs(first - coasted).max() <= 2.0 * TICK_NS * 1e-9 + 1e-9
    rig.run(60)
    assert np.abs(rig.tool()[:3, 3] - before[:3, 3]).max() < 5e-4  # same references as before


def test_a_new_session_of_the_headset_ends_the_stroke():
    rig = Rig()
    rig.engage()
    rig.session += 1
    rig.hand[:3, 3] += 0.04
    assert all(output.joint_target is None for output in rig.run(30))


def test_a_jump_of_the_hand_inside_one_session_ends_the_stroke():
    rig = Rig()
    rig.engage()
    before = rig.tool()
    rig.hand[:3, 3] += [0.09, 0.0, 0.0]
    outputs = rig.run(10)
    assert outputs[-1].joint_target is None
    assert "jumped" in outputs[-1].status.reason
    assert np.abs(rig.tool()[:3, 3] - before[:3, 3]).max() < 1e-3


def test_an_arm_that_does_not_follow_ends_the_stroke():
    rig = Rig()
    rig.engage()
    stuck = rig.q.copy()
    outputs = []
    for _ in range(180):
        rig.hand[0, 3] += 0.003
        outputs.append(rig.step())
        rig.q = stuck
    assert outputs[-1].joint_target is None
    assert "does not follow" in outputs[-1].status.reason


def test_an_arm_that_says_that_it_follows_nobody_opens_the_clutch_of_a_hand_at_rest():
    rig, fault = Rig(), "fault: joint 3 reports over-current: arm/clear_errors"
    rig.engage()
    ends = [output.status for output in rig.run(30, trouble=fault)]
    assert ends[5].clutch is ClutchState.ENGAGED, "a hiccup opens nothing"
    assert (ends[-1].clutch, ends[-1].reason) == (
        ClutchState.BLOCKED,
        f"arm follows nobody ({fault})",
    )
    rig.hand[0, 3] += 0.05
    assert all(output.joint_target is None for output in rig.run(30)), "well again: a new press"


def test_a_press_on_an_arm_that_follows_nobody_never_engages():
    rig = Rig()
    rig.step()
    rig.held.add("l")
    statuses = [output.status for output in rig.run(60, trouble="stopped: call arm/enable")]
    assert all(status.clutch is not ClutchState.ENGAGED for status in statuses)
    assert statuses[-1].reason == "arm follows nobody (stopped: call arm/enable)"


def test_why_a_clutch_let_go_is_kept_for_the_log_once():
    from ate_teleop.nodes.telling import Telling

    rig = Rig()
    rig.engage()
    well = mock.Mock(trouble="")
    news = mock.Mock(own=well, other=well, kept=0, discarded=0, recorder="")
    joycon, wishes = mock.Mock(), mock.Mock(episode="idle", refused=0, policy="")
    telling = Telling(
        mock.Mock(trouble=""), joycon, news, wishes, mock.Mock(reason=""), number=1,
        buttons={"clutch": "L"},
    )  # fmt: skip
    for output in rig.run(60, live=False):
        telling.tell(output.status, rig.now_ns)
    assert "silent" in telling.openings.get_nowait()
    assert telling.openings.empty()
    told = telling.tell(replace(output.status, joycon_trouble=OFF_CENTRE), rig.now_ns)
    assert told.prompt.endswith(f"; {OFF_CENTRE}")


def test_a_stick_that_rests_off_its_centre_is_told_where_it_leads_the_gripper():
    for mode, told in (("stick", OFF_CENTRE), ("trigger", "")):
        rig = Rig()
        settings = replace(operator_settings(rig.cell, "left"), gripper_input=mode)
        controller = OperatorController(settings)
        for tick in range(200):
            joy = JoyConState(axes=(0.0, 0.4), received_ns=tick * TICK_NS, session=1, live=True)
            output = controller.step(None, joy, rig.q, tick * TICK_NS)
        assert output.status.joycon_trouble == told


def test_commands_wait_for_an_arm_that_something_slows_and_the_stroke_goes_on():
    rig = Rig()
    rig.engage()
    slow, lag = rig.q.copy(), 0.0
    for _ in range(150):
        rig.hand[0, 3] += 0.004
        target = rig.step().joint_target
        assert target is not None
        assert np.abs(target - slow).max() < rig.cell.safety.max_step
        lag = max(lag, np.abs(target - slow).max())
        slow = slow + np.clip(target - slow, -0.3 / 90, 0.3 / 90)
        rig.q = slow
    assert lag > 0.3  # it would have been refused as a jump


def test_the_shoulder_must_be_pressed_anew_after_the_controller_was_silent():
    rig = Rig()
    rig.engage()
    assert rig.step(joy=False).joint_target is None
    assert all(output.joint_target is None for output in rig.run(30))
    rig.engage()


def test_re_engaging_starts_from_the_measured_posture():
    rig = Rig()
    rig.engage()
    rig.run(20)
    rig.held.clear()
    rig.step()
    rig.q = rig.q + 0.2  # somebody moved the arm meanwhile
    moved = rig.q.copy()
    rig.held.add("l")
    targets = [output.joint_target for output in rig.run(10)]
    first = next(target for target in targets if target is not None)
    assert np.abs(first - moved).max() < 0.005


def test_the_trigger_closes_the_gripper_only_while_the_controller_reports():
    rig = Rig()
    rig.step()
    rig.held.add("zl")
    assert rig.step().gripper == 0.0
    assert rig.step(joy=False).gripper is None


@pytest.mark.parametrize("held_before", [True, False])
@pytest.mark.parametrize("held_after", [True, False])
@pytest.mark.parametrize("gap", ["silence", "stall"])
def test_what_the_trigger_did_unseen_moves_no_gripper(gap, held_before, held_after):
    rig = Rig()
    rig.step()
    rig.held = {"zl"}
    rig.step()
    rig.held = {"zl"} if held_before else set()
    assert rig.step().gripper == (0.0 if held_before else 1.0)
    if gap == "silence":
        rig.run(20, joy=False)
    else:
        rig.now_ns += 1_200_000_000
    rig.held = {"zl"} if held_after else set()
    assert all(output.gripper is None for output in rig.run(30))
    rig.held ^= {"zl"}
    assert rig.step().gripper == (1.0 if held_after else 0.0)


@pytest.mark.parametrize("held", [set(), {"zl"}])
def test_an_operator_who_just_came_moves_no_gripper_before_the_trigger_moves(held):
    rig = Rig()
    rig.run(10, joy=False)
    rig.held = set(held)
    assert all(output.gripper is None for output in rig.run(30))
    rig.held ^= {"zl"}
    assert rig.step().gripper == (1.0 if held else 0.0)


@pytest.mark.parametrize("gap", ["silence", "stall"])
def test_a_gap_after_a_stop_does_not_make_a_release_enough(gap):
    rig = Rig()
    rig.step()
    rig.held = {"zl"}
    rig.run(5)
    rig.step(estop="smoke")
    if gap == "silence":
        rig.step(joy=False)
    else:
        rig.now_ns += 1_200_000_000
    rig.run(2)
    rig.held = set()
    assert all(output.gripper is None for output in rig.run(30))
    rig.held = {"zl"}
    assert rig.step().gripper == 0.0


def test_buttons_act_once_per_press():
    rig = Rig()
    rig.step()
    for button, event in (
        ("plus", Event.START_OR_STOP),
        ("minus", Event.DISCARD),
        ("a", Event.DISCARD),
        ("y", Event.REDO),
        ("b", Event.FAIL),
        ("up", Event.START_OR_STOP),
        ("right", Event.REDO),
        ("down", Event.FAIL),
    ):
        rig.held = {button}
        outputs = rig.run(5)
        rig.held = set()
        outputs += rig.run(20)
        assert [event for output in outputs for event in output.events] == [event]


@pytest.mark.parametrize("later", [0, 1, 5, 8])
@pytest.mark.parametrize(("first", "second"), [("a", "y"), ("y", "a"), ("a", "b"), ("x", "y")])
def test_a_slap_of_the_thumb_stops_and_wishes_nothing(first, second, later):
    rig = Rig()
    rig.step()
    rig.held = {first}
    outputs = rig.run(later)
    rig.held = {first, second}
    outputs += rig.run(5)
    assert outputs[-1].stop
    rig.held = {second}
    outputs += rig.run(20, estop="slap")
    rig.held = set()
    outputs += rig.run(30)
    assert not any(output.events for output in outputs)


@pytest.mark.parametrize("button", ["plus", "minus", "a", "y"])
def test_no_button_touches_the_episode_during_an_emergency_stop_nor_by_its_reset(button):
    rig = Rig()
    rig.step(estop="smoke")
    rig.held = {button}
    outputs = rig.run(3, estop="smoke")
    outputs += rig.run(30)
    assert not any(output.events for output in outputs)


def test_a_thumb_button_pressed_just_before_an_emergency_stop_wishes_nothing():
    rig = Rig()
    rig.step()
    rig.held = {"a"}
    outputs = rig.run(3)
    outputs += rig.run(3, estop="smoke")
    outputs += rig.run(30)
    assert not any(output.events for output in outputs)


def test_a_wish_whose_service_was_not_found_yet_is_forgotten_at_a_stop():
    pytest.importorskip("rclpy")
    from ate_teleop.nodes.wishes import WishServices

    calls, ready, told = [], [False], []
    wishes = WishServices.__new__(WishServices)  # without its clients
    wishes._logger, wishes.refused = SimpleNamespace(warning=told.append), 0
    wishes._clients = {"discard": SimpleNamespace(service_is_ready=lambda: ready[0])}
    wishes._waiting, wishes._called, wishes._call = {}, {}, calls.append
    wishes.changed = float("-inf")
    wishes.ask(Event.DISCARD)
    wishes.forget()
    ready[0] = True
    wishes._call_found()
    assert calls == []
    assert wishes.refused == 1 and "discard: an emergency stop" in told[0], "the hand feels it"


@pytest.mark.parametrize("button", ["home", "capture"])
def test_the_arm_goes_home_while_the_button_is_held_and_no_longer(button):
    rig = Rig()
    rig.step()
    rig.held = {button}
    assert all(output.go_home for output in rig.run(60))
    rig.held = set()
    assert not any(output.go_home for output in rig.run(60))


def test_the_way_home_begins_only_after_the_commands_have_run_out():
    rig = Rig()
    rig.engage()
    rig.held = {"capture"}
    goes = [output.go_home for output in rig.run(90)]
    first = goes.index(True)
    assert LEASE_SILENCE < first * TICK_NS * 1e-9 < LEASE_SILENCE + 0.1
    assert all(goes[first:])


def test_a_home_button_let_go_before_the_commands_have_run_out_moves_nothing():
    rig = Rig()
    rig.engage()
    rig.held = {"capture"}
    rig.run(20)
    rig.held = set()
    assert not any(output.go_home for output in rig.run(90))


BARS = {
    "clutch": {"held": {"l"}},
    "stop": {"held": {"up", "left"}},
    "emergency stop": {"flaws": {"estop": "smoke"}},
    "operator stalled": {"gap": 0.12},
    "Joy-Con silent, off or without battery": {"flaws": {"joy": False}},
    "arm silent, its driver restarted": {"flaws": {"arm": False}},
}


@pytest.mark.parametrize("lasts", [1, 60])
@pytest.mark.parametrize("bar", BARS)
def test_a_home_button_that_was_barred_must_be_pressed_anew(bar, lasts):
    case = BARS[bar]
    rig = Rig()
    rig.step()
    rig.held = {"home"}
    assert rig.step().go_home
    rig.now_ns += int(case.get("gap", 0.0) * 1e9)
    rig.held |= case.get("held", set())
    assert not any(output.go_home for output in rig.run(lasts, **case.get("flaws", {})))
    rig.held = {"home"}
    assert not any(output.go_home for output in rig.run(90))
    rig.held = set()
    rig.step()
    rig.held = {"home"}
    assert any(output.go_home for output in rig.run(90))


def test_a_shoulder_that_is_down_by_mistake_bars_the_way_home_too():
    rig = Rig()
    rig.held = {"l"}  # down since before the Joy-Con came: no clutch
    rig.step()
    rig.held = {"l", "home"}
    assert not any(output.go_home for output in rig.run(60))
    rig.held = {"home"}
    assert not any(output.go_home for output in rig.run(60))


def test_a_hiccup_of_the_joycon_pauses_the_way_home_and_a_silence_ends_it():
    rig = Rig()
    rig.step()
    rig.held = {"home"}
    rig.step()
    hiccup = rig.run(8, stale=True)
    assert [output.go_home for output in hiccup] == [True] * 3 + [False] * 5
    assert rig.step().go_home
    rig.run(8, stale=True)
    rig.step(joy=False)  # as its reader says after 100 ms
    assert not any(output.go_home for output in rig.run(60))


def test_both_operators_send_their_arms_home_and_each_stops_its_own():
    rigs = [Rig("left"), Rig("right")]
    for rig in rigs:
        rig.step()
        rig.held = {"home", "capture"}
        assert rig.step().go_home
    rigs[0].held = set()
    assert [rig.step().go_home for rig in rigs] == [False, True]


def test_buttons_already_down_when_the_controller_appears_do_nothing():
    rig = Rig()
    rig.held = {"plus", "l"}
    outputs = rig.run(30)
    assert not any(output.events for output in outputs)
    assert all(output.joint_target is None for output in outputs)
    rig = Rig()
    rig.held = {"home"}
    assert not any(output.go_home for output in rig.run(90))


def test_a_target_out_of_reach_is_told_and_the_arm_stays_within_limits():
    rig = Rig()
    rig.engage()
    for _ in range(200):
        rig.hand[1, 3] += 0.004  # forward, far beyond the arm
        output = rig.step()
    assert output.status.out_of_reach
    assert output.status.limits
    json.dumps(output.status.limits)


@pytest.mark.parametrize(
    ("held", "stops"),
    [
        ({"a", "b"}, True),
        ({"up", "right"}, True),
        ({"l", "zl", "down", "left"}, True),
        ({"a", "b", "x", "y"}, True),
        ({"a"}, False),
        ({"down", "l", "zl"}, False),
        ({"plus", "home", "r", "zr"}, False),
        ({"a", "up"}, False),
    ],
)
def test_two_thumb_buttons_of_one_side_at_once_are_a_stop_and_nothing_else_is(held, stops):
    rig = Rig()
    rig.held = held
    assert rig.step().stop is stops, "also when they were down as the controller came"
    rig.held = set()
    assert not rig.step().stop


def test_an_emergency_stop_opens_the_clutch_until_a_new_press_after_its_reset():
    rig = Rig()
    rig.engage()
    assert rig.step(estop="smoke").joint_target is None
    assert "emergency stop: smoke" in rig.step(estop="smoke").status.reason
    assert all(output.joint_target is None for output in rig.run(50))
    rig.held.clear()
    rig.step()
    rig.held.add("l")
    rig.run(20, estop="smoke")
    assert all(output.joint_target is None for output in rig.run(20)), "pressed before the reset"
    rig.engage()


@pytest.mark.parametrize("stop", [{"estop": "smoke"}, {"held": True}])
def test_after_a_stop_the_gripper_waits_for_its_trigger(stop):
    rig = Rig()
    rig.held.add("zl")
    rig.step()
    rig.held.clear()
    assert rig.step().gripper == 1.0
    assert rig.step(**stop).gripper is None
    rig.held = {"zl"}
    rig.step(**stop)
    assert rig.step().gripper is None, "it was pressed before the release"
    rig.held = {"l"}
    assert rig.step().gripper is None
    rig.held = {"l", "zl"}
    assert rig.step().gripper == 0.0


def test_no_arm_goes_home_during_an_emergency_stop_nor_by_its_reset():
    rig = Rig()
    rig.step()
    rig.held = {"capture"}
    assert not any(output.go_home for output in rig.run(90, estop="smoke"))
    assert not any(output.go_home for output in rig.run(90))


@pytest.mark.parametrize("stall_ms", [110, 120, 200, 600, 1200])
def test_a_process_that_stood_still_does_not_go_on_before_a_new_press(stall_ms):
    rig = Rig()
    rig.engage()
    rig.now_ns += stall_ms * 1_000_000
    rig.hand[0, 3] += 0.02
    assert rig.step().joint_target is None
    assert f"stood still for {stall_ms + 11} ms" in rig.step().status.reason
    assert all(output.joint_target is None for output in rig.run(50))
    rig.engage()


class Ticked:
    """A controller that is stepped by the node's own tick, with a wall clock that is set."""

    def __init__(self, controller, set_at_ns, by_ns):
        from rclpy.time import Time

        from ate_teleop.nodes.operator_node import OperatorNode

        self.tick, self.stamps, self.output = OperatorNode._tick, [], None
        self.now_ns = 0

        def wall():
            late = by_ns if self.now_ns >= set_at_ns else 0
            return Time(nanoseconds=1_700_000_000 * 10**9 + self.now_ns + late)

        def nothing(*_):
            pass

        def send_command(output, stamp_ns):
            self.output = output
            self.stamps.append(stamp_ns)

        well = SimpleNamespace(trouble="", guard="", commander="")
        self.node = SimpleNamespace(
            _controller=controller,
            _publish=SimpleNamespace(
                send_stop=nothing, send_home=nothing, send_command=send_command,
                send_opening=nothing, send_hand=nothing, send_joy=nothing, send_status=nothing,
            ),
            _calibrations=SimpleNamespace(take=nothing), _recorder=None,
            _wishes=SimpleNamespace(ask=nothing, forget=nothing),
            _opening=None, _grip_yields=False,
            _telling=SimpleNamespace(tell=lambda status, *_: status),
            _other=SimpleNamespace(poll=nothing),
            _news=SimpleNamespace(own=well, other=well),
            _devices=lambda: ("", ""), _latency={}, _keep_times=nothing,
            _longest_tick_ns=2**63,  # its time is made up, so nothing stalls
            get_clock=lambda: SimpleNamespace(now=wall),
        )  # fmt: skip

    def step(self, hand, joy, measured, now_ns, estop, held, **_):
        self.now_ns, node = now_ns, self.node
        node._hand = SimpleNamespace(latest=lambda: hand)
        node._joycon = SimpleNamespace(latest=lambda: joy)
        node._feedback = SimpleNamespace(poll=lambda _: measured)
        node._grip_held = held
        node._estop = SimpleNamespace(reason=estop)
        self.tick(node, now_ns)
        return self.output


def swing(by_ns):
    rig = Rig()
    rig.controller = ticked = Ticked(rig.controller, rig.now_ns + 60 * TICK_NS, by_ns)
    rig.engage()
    outputs = []
    for tick in range(100):
        rig.hand[2, 3] += 0.0005
        outputs += rig.run(1)
        assert outputs[-1].status.clutch is ClutchState.ENGAGED, tick
    return np.array([output.joint_target for output in outputs]), ticked.stamps


@pytest.mark.parametrize("by", [3600, -3600])
def test_a_wall_clock_that_is_set_changes_stamps_and_no_motion(by):
    pytest.importorskip("rclpy")
    targets, _ = swing(0)
    moved, stamps = swing(by * 10**9)
    np.testing.assert_array_equal(moved, targets)
    assert np.abs(np.diff(stamps)).max() > 3.5e12


WALL = 1_700_000_000
"""What the wall clock of the operator's host says [s]."""


class MeasuredJoints:
    """What an operator knows of its arm's joints, fed with the bytes of messages."""

    def __init__(self):
        from ate_teleop.nodes.feedback import ArmFeedback

        self.waiting, self.told, self.now_ns = [], [], 10**12
        self.wall = WALL
        handle = mock.MagicMock()
        handle.take_message = lambda *_: self.waiting.pop(0) if self.waiting else None
        self.node = node = SimpleNamespace(
            create_subscription=lambda *_, **__: SimpleNamespace(handle=handle),
            get_clock=lambda: SimpleNamespace(now=self.wall_now),
            get_logger=lambda: SimpleNamespace(error=self.told.append),
        )
        self.feedback = ArmFeedback(node, "/left/arm/joint_states", ("one",), 0.1)

    def wall_now(self):
        return SimpleNamespace(nanoseconds=self.wall * 10**9)

    def hear(self, *messages, after_ns=20_000_000):
        self.now_ns += after_ns
        came = {"received_timestamp": self.wall * 10**9}
        self.waiting = [(data, came) for data in messages]
        return self.feedback.poll(self.now_ns)


def joint_bytes(position, sec=WALL, nanosec=0):
    from rclpy.serialization import serialize_message
    from sensor_msgs.msg import JointState

    message = JointState(name=["one"], position=[position])
    message.header.stamp.sec, message.header.stamp.nanosec = sec, nanosec
    return bytes(serialize_message(message))


def test_measured_joints_stamped_by_a_clock_that_was_set_are_news():
    pytest.importorskip("rclpy")
    joints = MeasuredJoints()
    for tick in range(100):
        joints.wall = WALL + {0: 0, 1: 3600, 2: -3600}[tick // 34]
        data = joint_bytes(float(tick), joints.wall, tick * 10**7)
        assert joints.hear(data) == [float(tick)]
    assert joints.hear(after_ns=2 * 10**8) is None


@pytest.mark.parametrize("behind", [86400, 2, -2])
def test_joints_of_another_time_are_told_and_nothing_is_taken_from_them(behind):
    pytest.importorskip("rclpy")
    joints = MeasuredJoints()
    for tick in range(20):  # a recording is played beside the live arm
        joints.hear(joint_bytes(0.5, nanosec=2 * tick))
        assert joints.hear(joint_bytes(9.0, WALL - behind, 2 * tick)) == [0.5]
    for tick in range(20):  # and beside a silent one
        joints.hear(joint_bytes(9.0, WALL - behind, tick))
    assert joints.feedback.poll(joints.now_ns) is None
    assert f"stamped {behind:.1f} s ago, bound 1 s: is a recording played" in joints.told[0]
    assert joints.hear(joint_bytes(0.7, nanosec=99)) == [0.7]


def test_joints_that_cannot_be_decoded_are_told_and_count_as_silence():
    pytest.importorskip("rclpy")
    joints, good = MeasuredJoints(), joint_bytes(0.5)
    assert joints.hear(good) == [0.5]
    endless = good[:24] + b"\xff\xff\xff\x7f" + good[28:]
    for data in (b"", b"\0", good[:4], good[:-3], b"\xff" * 60, endless):
        joints.hear(data)
    assert joints.feedback.poll(joints.now_ns) is None
    (told,) = joints.told
    assert "/left/arm/joint_states" in told and "0 bytes that are no JointState" in told
    assert joints.hear(joint_bytes(0.7, nanosec=5)) == [0.7]


def force_bytes(newtons, nanosec):
    from geometry_msgs.msg import WrenchStamped
    from rclpy.serialization import serialize_message

    message = WrenchStamped()
    message.header.stamp.sec, message.header.stamp.nanosec = WALL, nanosec
    message.wrench.force.x, message.wrench.force.z = 0.6 * newtons, -0.8 * newtons
    return bytes(serialize_message(message))


def test_a_force_that_repeats_itself_or_is_no_number_is_soon_unknown():
    pytest.importorskip("rclpy")
    joints = MeasuredJoints()
    from ate_teleop.nodes.feedback import ForceFeedback

    joints.feedback = ForceFeedback(joints.node, "/left/arm/wrench", 0.1, 40.0)
    assert joints.hear() is None
    assert joints.hear(force_bytes(10.0, 1)) == pytest.approx(0.25)
    assert joints.hear(force_bytes(30.0, 2), force_bytes(20.0, 3)) == pytest.approx(0.5)
    for _ in range(4):
        joints.hear(force_bytes(20.0, 3), force_bytes(float("nan"), 4))
    assert joints.hear(after_ns=40_000_000) is None


class Between:
    """Reports of a Joy-Con, of which some come between two ticks."""

    def __init__(self, rig, *, pause=False):
        self.rig, self.joy, self.pause = rig, None, pause

    def tick(self, *reports):
        """One tick after these reports, each a set of the buttons held; none: the last again."""
        rig = self.rig
        begin_ns, rig.now_ns = rig.now_ns, rig.now_ns + max(len(reports), 1) * TICK_NS
        for number, held in enumerate(reports or [self.held], 1):
            state = JoyConState(
                buttons=tuple(int(name in held) for name in BUTTONS),
                received_ns=begin_ns + number * TICK_NS, session=1, live=True,
            )  # fmt: skip
            self.joy, self.held = state.after(self.joy), held
        pose = rig.hand.copy()
        pose[:3, 3] += rig.random.normal(0, rig.noise, 3)
        sample = HandSample(
            transform_wrist_to_headset=pose, transform_head_to_headset=np.eye(4),
            received_ns=rig.now_ns, changed_ns=rig.now_ns, sequence=rig.now_ns, session=1,
            tracked=True,
        )  # fmt: skip
        joy = self.joy.released() if self.pause else self.joy
        output = rig.controller.step(sample, joy, rig.q, rig.now_ns)
        rig.q = rig.q if output.joint_target is None else output.joint_target
        return output


@pytest.mark.parametrize("late", [4, 9, 14])  # ticks; from 11 on the process stood still
@pytest.mark.parametrize("silent", [False, True])
def test_a_slap_that_begins_and_ends_between_two_ticks_is_a_stop_once(late, silent):
    joycon = Between(Rig())
    joycon.tick(set())
    joycon.pause = silent
    slap = [set(), {"x"}, {"x", "b"}, *[set()] * late]
    assert joycon.tick(*slap).stop
    joycon.pause = False
    later = [joycon.tick(set()) for _ in range(20)]
    assert not any(output.stop or output.events for output in later)


def test_thumb_buttons_one_after_the_other_between_two_ticks_are_no_stop():
    joycon = Between(Rig())
    joycon.tick(set())
    assert not joycon.tick({"x"}, set(), {"b"}, set()).stop


@pytest.mark.parametrize(("button", "event"), [("down", Event.FAIL), ("up", Event.START_OR_STOP)])
def test_a_press_between_two_ticks_is_wished_once(button, event):
    joycon = Between(Rig())
    joycon.tick(set())
    outputs = [joycon.tick({button}, set())] + [joycon.tick(set()) for _ in range(20)]
    wishes = [wish for output in outputs for wish in output.events]
    assert wishes == [event]


def test_a_freeze_between_two_ticks_holds_the_arm():
    joycon = Between(Rig())
    joycon.tick(set())
    assert joycon.tick({"left_stick"}, set()).status.frozen
    assert joycon.tick(set()).status.frozen
    assert not joycon.tick({"left_stick"}, set(), set()).status.frozen


def test_a_clutch_let_go_and_held_again_between_two_ticks_opens_until_a_new_press():
    joycon = Between(Rig())
    joycon.tick(set())
    outputs = [joycon.tick({"l"}) for _ in range(10)]
    assert outputs[-1].status.clutch is ClutchState.ENGAGED
    opened = joycon.tick(set(), {"l"})
    assert opened.status.clutch is ClutchState.BLOCKED
    assert opened.hold
    assert opened.joint_target is None
    outputs = [joycon.tick({"l"}) for _ in range(30)]
    assert {output.status.clutch for output in outputs} == {ClutchState.BLOCKED}
    joycon.tick(set())
    outputs = [joycon.tick({"l"}) for _ in range(10)]
    assert outputs[-1].status.clutch is ClutchState.ENGAGED


def test_a_home_button_let_go_and_held_again_between_two_ticks_moves_nothing_more():
    joycon = Between(Rig())
    joycon.tick(set())
    assert any(joycon.tick({"capture"}).go_home for _ in range(80))
    outputs = [joycon.tick(set(), {"capture"})] + [joycon.tick({"capture"}) for _ in range(80)]
    assert not any(output.go_home for output in outputs)


def test_a_trigger_pressed_and_let_go_between_two_ticks_switches_a_toggled_gripper():
    rig = Rig()
    settings = replace(operator_settings(rig.cell, "left"), gripper_input="toggle")
    rig.controller = OperatorController(settings)
    joycon = Between(rig)
    joycon.tick(set())
    assert joycon.tick({"zl"}, set()).gripper == 0.0
    assert joycon.tick({"zl"}, set()).gripper == 1.0
    assert joycon.tick(set()).gripper == 1.0


def test_buttons_down_at_the_first_report_after_a_silence_are_no_press():
    joycon = Between(Rig())
    joycon.tick(set())
    joycon.tick({"down"})
    joycon.pause, joycon.joy = True, joycon.joy.released()
    joycon.tick()
    joycon.pause = False
    assert not joycon.tick({"down"}).events
