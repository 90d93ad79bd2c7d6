"""What an operator sees: the next thing to do in words, and the lamps of the Joy-Con."""

from dataclasses import replace
from datetime import datetime
from itertools import product

import pytest

from ate_teleop.clutch import ClutchState
from ate_teleop.lamps import lamps
from ate_teleop.operator_status import OperatorStatus
from ate_teleop.prompts import button_names, inherited_episode, prompt, recorder_trouble

BUTTONS = {side: button_names(side, {}) for side in ("left", "right")}
WELL = OperatorStatus(
    clutch=ClutchState.RELEASED,
    reason="",
    tracked=True,
    joycon=True,
    arm=True,
    out_of_reach=False,
    limits=(),
)
TOLD = {
    "hold R, and the arm follows your hand": ({}, "", ""),
    "hold R, and the arm follows your hand; + starts an episode": ({}, "idle", ""),
    "the arm follows, let go of R to pause; + ends the episode, A discards it": (
        {"clutch": ClutchState.ENGAGED}, "recording", "",
    ),
    "judge the episode: + keeps it, B keeps it as a failure, A discards it": ({}, "pending", ""),
    "raise your hand into the view of the headset": ({"tracked": False}, "", ""),
    "headset 10.0.0.1:12345 does not answer; open the TrackingStreamer app on it": (
        {
            "tracked": False,
            "headset_trouble": "headset 10.0.0.1:12345 does not answer; open the TrackingStreamer "
            "app on it",
        },
        "",
        "",
    ),
    "calibrating: push forward": (
        {"calibrating": True, "calibration": "calibrating: push forward",
         "clutch": ClutchState.BLOCKED}, "idle", "",
    ),
    "keep your hand still: the clutch engages": ({"clutch": ClutchState.ENGAGING}, "idle", ""),
    "keep your hand still: hand not tracked": (
        {"clutch": ClutchState.ENGAGING, "reason": "hand not tracked"}, "idle", "",
    ),
    "let go of R, then hold it again: hand jumped": (
        {"clutch": ClutchState.BLOCKED, "reason": "hand jumped"}, "recording", "",
    ),
    "bring your hand back: the arm cannot go further": (
        {"clutch": ClutchState.ENGAGED, "out_of_reach": True}, "recording", "",
    ),
    "press the stick to end the freeze, then hold R": ({"frozen": True}, "idle", ""),
    "press a button of the Joy-Con: it is silent": ({"joycon": False, "arm": False}, "idle", ""),
    "look at your arm: stopped: call arm/enable": (
        {"arm_trouble": "stopped: call arm/enable"}, "idle", "",
    ),
    "look at your arm: it does not report its joints": ({"arm": False}, "idle", ""),
    "emergency stop: reset it with 'ate stop --reset', then hold R anew": (
        {"joycon": False}, "idle", "slap",
    ),
    "hold R, and the arm follows your hand; charge the Joy-Con: its battery is low": (
        {"battery": 0.25}, "", "",
    ),
    "hold R, and the arm follows your hand; the other arm is fault: joint 3": (
        {"other_trouble": "fault: joint 3"}, "", "",
    ),
    "hold R, and the arm follows your hand; no force is felt: the arm tells none": (
        {"force_silent": True}, "", "",
    ),
}  # fmt: skip


@pytest.mark.parametrize("words", TOLD)
def test_the_prompt_says_what_matters_most_first(words):
    changes, episode, estop = TOLD[words]
    assert prompt(BUTTONS["right"], replace(WELL, **changes), episode, estop) == words


def test_the_prompt_names_the_buttons_of_ones_own_joycon():
    pending = prompt(BUTTONS["left"], WELL, "pending", "")
    assert pending == "judge the episode: up keeps it, down keeps it as a failure, - discards it"
    own = button_names("right", {"record": "x", "discard": ""})
    pending = prompt(own, WELL, "pending", "")
    assert pending == "judge the episode: X keeps it, B keeps it as a failure"


def test_an_episode_of_an_earlier_session_is_named_with_its_day_and_kept_by_no_button():
    since = int(datetime(2026, 11, 28, 12).timestamp()) * 10**9
    status = {"state": "pending", "episode": 3, "inherited": True, "waits_since_ns": since}
    name = inherited_episode(status)
    assert name == "episode 3 of 28 November"
    assert prompt(BUTTONS["right"], WELL, "pending", "", "", name) == (
        "episode 3 of 28 November waits: B keeps it as a failure, A discards it, "
        "`ate episode label success` keeps it as a success"
    )
    for strange in (None, "soon", -1, 10**30, 1.5):
        assert inherited_episode({**status, "waits_since_ns": strange}) == "episode 3"
    for other in ({"inherited": False}, {"state": "recording"}):
        assert inherited_episode({**status, **other}) == ""


def test_what_keeps_episodes_from_being_recorded_is_told_whatever_is_to_be_done():
    status = {"trouble": "no episode can be written to bags (Read-only file system): correct it"}
    for changes, episode in (({}, "idle"), ({"frozen": True}, "recording")):
        words = prompt(
            BUTTONS["right"], replace(WELL, **changes), episode, "",
            trouble=recorder_trouble(status),
        )  # fmt: skip
        assert words.endswith(f"; recorder: {status['trouble']}")
    assert recorder_trouble({"trouble": "", "dropped": 0}) == recorder_trouble({}) == ""
    assert recorder_trouble({"dropped": 12}).startswith("the episode lacks 12 messages")
    assert recorder_trouble({"trouble": None, "dropped": "many"}) == ""


def test_who_took_over_is_told_how_to_hand_back():
    words = prompt(BUTTONS["right"], WELL, "recording", "", "taken_over")
    assert words == (
        "hold R, and the arm follows your hand; X hands back to the policy, + ends the episode, "
        "A discards it"
    )
    for policy in ("", "ready", "running"):
        assert "hands back" not in prompt(BUTTONS["right"], WELL, "recording", "", policy)


@pytest.mark.parametrize("side", BUTTONS)
def test_every_state_has_a_prompt_without_a_gap(side):
    flags = ("tracked", "joycon", "arm", "out_of_reach", "frozen", "charging")
    for clutch, episode, estop in product(
        ClutchState, ("", "idle", "recording", "pending", "?"), ("", "slap")
    ):
        for values in product((False, True), repeat=len(flags)):
            changes = dict(zip(flags, values, strict=True))
            words = prompt(
                BUTTONS[side],
                replace(WELL, clutch=clutch, reason="why", battery=0.0, **changes),
                episode,
                estop,
            )
            assert words and "  " not in words and not words.endswith((":", ";", " ")), words


def test_lamps_tell_each_thing_on_its_own():
    states = ("recording", "engaged", "pending", "trouble")
    for bit, state in enumerate(states):
        assert lamps(1, **{state: True}).on == 1 << bit


@pytest.mark.parametrize("number", [1, 2])
def test_a_joycon_at_rest_flashes_its_operators_number(number):
    assert lamps(number) == (0, number)
    assert lamps(number, pending=True) == (0b0100, number)
    assert lamps(number, recording=True) == (0b0001, 0)
    assert lamps(number, engaged=True) == (0b0010, 0)


def test_a_low_battery_flashes_unless_there_is_worse_to_tell():
    assert lamps(1, engaged=True, battery_low=True) == (0b0010, 0b1000)
    assert lamps(1, engaged=True, battery_low=True, trouble=True) == (0b1010, 0)


@pytest.mark.parametrize(
    ("battery", "charging", "low"),
    [(None, False, False), (0.5, False, False), (0.25, False, True), (0.0, True, False)],
)
def test_a_battery_is_low_from_its_last_quarter_on_unless_it_is_charged(battery, charging, low):
    assert replace(WELL, battery=battery, charging=charging).battery_low == low


def test_what_is_wrong_with_the_joycon_is_told_beside_the_next_thing_to_do():
    words = prompt(BUTTONS["right"], replace(WELL, joycon_trouble="its stick rests off"), "", "")
    assert words == "hold R, and the arm follows your hand; its stick rests off"


@pytest.mark.parametrize(
    ("changes", "warns"),
    [
        # What a person does or not is told, and is no fault of the cell.
        ({"tracked": False}, ""),
        ({"reason": "hand not tracked", "clutch": ClutchState.BLOCKED}, ""),
        ({"out_of_reach": True, "clutch": ClutchState.ENGAGED}, ""),
        # What fails in devices and links, and what only this node may see.
        ({"tracked": False, "headset_trouble": "headset went silent; wake it"}, "hand"),
        ({"link_delay": 0.3, "reason": "headset link is 300 ms late"}, "hand"),
        ({"joycon": False}, "joycon"),
        ({"battery": 0.0}, "joycon"),
        ({"joycon_trouble": "its stick rests off its centre"}, "joycon"),
        ({"arm": False, "reason": "arm does not report"}, "clutch"),
        ({"arm_trouble": "stopped", "reason": "arm stopped"}, "clutch"),
        ({"other_trouble": "fault"}, "other arm"),
    ],
    ids=lambda value: value if isinstance(value, str) else "+".join(value),
)
def test_only_what_a_device_lacks_is_a_warning_of_an_operator(changes, warns):
    pytest.importorskip("rclpy")
    from diagnostic_msgs.msg import DiagnosticStatus

    from ate_teleop.nodes.messages import operator_lines

    status = replace(WELL, **changes)
    lines = operator_lines("left", status, "headset streaming", "Joy-Con well", "")
    bad = [line.name for line in lines if line.level != DiagnosticStatus.OK]
    assert bad == ([f"left operator: {warns}"] if warns else [])
    told = " ".join(line.message for line in lines)
    assert all(words in told for words in changes.values() if isinstance(words, str))
    unrecorded = operator_lines("left", WELL, "headset", "Joy-Con", "disk full")[-1]
    assert unrecorded.level == DiagnosticStatus.WARN and unrecorded.message == "disk full"
