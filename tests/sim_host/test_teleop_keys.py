"""The keys of a terminal: what they mean, and the whole command behind a pseudo-terminal."""

import subprocess
import sys
import termios
import time

import pytest

from ate_sim.people.keys import HELP, SEQUENCES, KeyOperator, KeysConfig, is_cut, split_keys
from benchmarks.terminal import Terminal

DEADLINE = 30.0


def seen(left=(), right=(), released=False, actions=()):
    return {
        "released": released,
        "left": {"lamps": list(left), "actions": list(actions)},
        "right": {"lamps": list(right), "actions": []},
    }


def actions(operator, now, side="left"):
    return operator.wish(now)[side]["actions"]


def test_keys_are_told_apart_whatever_a_terminal_sends():
    assert list(split_keys(b"\x1b[A\x1bOD\x1b[5~W s")) == [
        *("forward", "left", "up", "forward", " ", "s"),
    ]
    assert list(split_keys(b"\x1b[1;5Cr\x1b[15~\x1b[200~")) == ["r"], "other keys mean nothing"
    assert list(split_keys(bytes(range(128, 256))))  # no encoding ends it
    for whole in SEQUENCES:
        assert not is_cut(whole)
        assert len(whole) == 1 or all(is_cut(whole[:n]) for n in range(1, len(whole)))


def test_a_stroke_lasts_a_moment_and_goes_on_while_its_key_repeats():
    operator = KeyOperator("left")
    operator.press(" ", 0.0)
    for now in (0.0, 0.1, 0.2):
        operator.press("forward", now)
        assert operator.wish(now + 0.05)["left"]["linear"] == [0.0, KeysConfig().speed, 0.0]
    assert operator.wish(0.2 + KeysConfig().linger)["left"]["linear"] == [0.0, 0.0, 0.0]
    assert actions(operator, 10.0) == ["clutch"], "the clutch stays"
    operator.press("z", 10.0)
    assert operator.wish(10.0)["left"]["angular"] == [0.0, 0.0, KeysConfig().turn]


def test_clutch_gripper_and_home_are_switched_and_exclude_each_other_where_they_must():
    operator = KeyOperator("left")
    for key, held in (
        (" ", ["clutch"]),
        ("g", ["clutch", "gripper"]),
        ("h", ["gripper", "home"]),
        ("g", ["home"]),
        (" ", ["clutch"]),
    ):
        operator.press(key, 0.0)
        assert actions(operator, 0.0) == held


def test_the_other_arm_is_taken_with_the_first_clutch_open():
    operator = KeyOperator("left")
    operator.press(" ", 0.0)
    operator.press("\t", 0.0)
    operator.press(" ", 0.0)
    assert actions(operator, 0.0) == [] and actions(operator, 0.0, "right") == ["clutch"]


@pytest.mark.parametrize(
    ("lamps", "key", "tapped"),
    [
        ((), "r", ("right", "record")),
        ((1,), "r", None),
        ((3,), "r", None),
        ((1,), "s", ("right", "record")),
        ((), "s", None),
        ((3,), "s", None),
        ((3,), "k", ("right", "record")),
        ((1,), "k", None),
        ((1,), "d", ("left", "discard")),
        ((3,), "d", ("left", "discard")),
        ((), "d", None),
        ((), "R", ("right", "redo")),
        ((), "p", ("right", "hand_back")),
        ((), "5", None),
    ],
)
def test_a_key_of_the_recording_is_pressed_only_where_it_means_that(lamps, key, tapped):
    operator = KeyOperator("left")
    operator.hear(seen(right=lamps))
    operator.press(key, 0.0)
    held = {
        (side, action) for side in ("left", "right") for action in actions(operator, 0.01, side)
    }
    assert held == ({tapped} if tapped else set())
    assert bool(operator.told) == (tapped is None), "why not is told"
    assert not actions(operator, 1.0) and not actions(operator, 1.0, "right")


def test_a_key_does_nothing_that_the_cell_has_no_button_for_and_says_so():
    both = {"clutch", "gripper", "home", "stop", "discard"}
    operator = KeyOperator(
        "left", actions={"left": both - {"gripper"} | {"record"}, "right": both}
    )
    operator.hear(seen())
    operator.press("g", 0.0)
    assert not actions(operator, 0.0) and "no button for this on the left arm" in operator.told
    operator.press("r", 0.0)
    assert actions(operator, 0.0) == ["record"] and not operator.told, "the other one has it"
    operator.press("R", 0.0)
    assert "no button for redo" in operator.told


def test_the_emergency_stop_is_held_for_a_moment():
    operator = KeyOperator("left")
    operator.press("!", 0.0)
    assert actions(operator, 0.1, "right") == ["stop"] and not actions(operator, 1.0, "right")


def test_a_release_lets_go_of_everything_but_an_object():
    operator = KeyOperator("left")
    for key in (" ", "h", " ", "forward", "!"):
        operator.press(key, 0.0)
    operator.hear(seen(released=True, actions=["gripper"]))
    assert operator.wish(0.0)["left"] == {
        "linear": [0.0] * 3,
        "angular": [0.0] * 3,
        "actions": ["gripper"],
    }


def test_the_line_tells_what_goes_on():
    operator = KeyOperator("left")
    operator.press("forward", 0.0)
    assert "press space first" in operator.line()
    operator.hear(seen(left=[2], right=[1]))
    operator.press(" ", 0.0)
    assert operator.line() == "left arm | clutch engaged | gripper open | RECORDING"


@pytest.fixture
def terminal(hands):
    terminal = Terminal("teleop-keys")
    terminal.type_until(b"", lambda: "left arm | clutch open" in terminal.line())
    yield terminal
    terminal.close()


def test_keys_in_a_terminal_lead_a_hand_and_the_terminal_is_as_before_afterwards(hands, terminal):
    assert HELP.splitlines()[0] in terminal.text
    left, held = hands.people["left"], hands.buttons["left"].held
    terminal.type(b" ")
    terminal.type_until(b"", lambda: "l" in held)
    ahead = left.hand[1, 3] + 0.03
    terminal.type_until(b"\x1b[A", lambda: left.hand[1, 3] > ahead)
    terminal.type(b"g")
    terminal.type_until(b"", lambda: "zl" in held)
    terminal.type(b"q")
    assert terminal.process.wait(DEADLINE) == 0
    terminal.read()
    assert terminal.text.rstrip().endswith("the arms hold")
    end = time.monotonic() + DEADLINE
    while held != {"zl"}:
        assert time.monotonic() < end, held
        time.sleep(0.01)
    assert termios.tcgetattr(terminal.slave) == terminal.before


def test_a_terminal_that_is_closed_ends_it_and_opens_the_clutch(hands, terminal):
    held = hands.buttons["left"].held
    terminal.type(b" ")
    terminal.type_until(b"", lambda: "l" in held)
    terminal.type(b"\x04")
    assert terminal.process.wait(DEADLINE) == 0
    end = time.monotonic() + DEADLINE
    while held:
        assert time.monotonic() < end, held
        time.sleep(0.01)


def test_without_hands_or_without_a_terminal_it_says_so_in_words(runtime_dir):
    command = [sys.executable, "-m", "ate_bringup.cli", "teleop-keys"]
    piped = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, text=True)
    assert piped.returncode == 1 and "run it in a terminal" in piped.stderr
    terminal = Terminal("teleop-keys")
    assert terminal.process.wait(DEADLINE) == 3
    terminal.read()
    terminal.close()
    assert "start a cell with `ate launch" in " ".join(terminal.text.split())
