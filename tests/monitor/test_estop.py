"""The emergency stop of the cell: its rules, and its node and command over real DDS."""

import json
import math
import signal
import sys
import time
from types import SimpleNamespace

import pytest

from ate_bringup.cli import main
from ate_core.errors import UsageError
from cell_monitor.estop_state import ArmReport, Confirmation, EstopState, parse_report
from cell_monitor.stop_command import StopConfig, describe, succeeded

NODE = "cell_monitor.nodes.estop_node"


def report(state="stopped", stopped=True, reason="a hand in the cell"):
    return ArmReport(state=state, reason=reason, stopped=stopped)


def stopped_cell():
    state = EstopState("run", ("left", "right"))
    assert state.stop("test")
    for side in ("left", "right"):
        state.take_report(side, report())
        state.take_speed(side, 0.0, 10.0)
    return state


def test_a_reset_is_refused_while_an_arm_moves():
    state = stopped_cell()
    state.take_speed("right", 0.3, 10.0)
    assert "right arm still moves at 0.30 rad/s" in state.reset(10.0)
    assert state.reason
    state.take_speed("right", 0.01, 10.1)
    assert state.reset(10.1) == "" and not state.reason
    assert json.loads(state.document(0))["resets"] == 1


@pytest.mark.parametrize("speed", [1.5, float("nan")])
def test_a_reset_is_refused_while_an_unlinked_arm_was_just_seen_moving(speed):
    state = stopped_cell()
    state.take_report("left", report(state="disconnected"))
    state.take_speed("left", speed, 10.0)
    assert "left arm still moves" in state.reset(10.1)


def test_a_stop_node_that_has_just_begun_asks_the_arms_before_a_reset():
    state = EstopState("new run", ("left",))
    state.take_report("left", report())
    state.take_speed("left", 0.8, 10.0)
    assert "left arm still moves" in state.reset(10.0)
    assert "a hand in the cell" in state.reason


def test_a_reset_is_refused_while_an_arm_does_not_say_where_it_is():
    state = stopped_cell()
    assert "left arm does not report its joints" in state.reset(11.0)
    state.take_report("left", report(state="disconnected"))
    state.forget("right")
    assert state.reset(11.0) == "", "an arm that nothing of ours can move is no obstacle"
    assert state.notes() == [
        "left arm: disconnected a hand in the cell",
        "right arm: no driver runs",
    ]


def test_a_stop_that_an_arm_reports_is_taken_over_but_not_one_just_reset():
    state = stopped_cell()
    assert state.reset(10.0) == ""
    assert not state.take_over(10.5), "the arms are still hearing of the reset"
    assert state.take_over(11.1) and "a hand in the cell" in state.reason


def test_a_reset_without_a_stop_counts_and_asks_nothing_of_the_arms():
    state = EstopState("run", ("left",))
    state.take_report("left", report(state="tracking", stopped=False))
    assert state.reset(1.0) == ""
    assert json.loads(state.document(0))["resets"] == 1


@pytest.mark.parametrize("text", ["", "[]", "{}", "3", '{"reason": "x"}', "\x00"])
def test_an_unreadable_status_of_an_arm_is_ignored(text):
    assert parse_report(text) is None


def test_only_a_reset_of_the_same_stop_node_ends_the_stop_of_a_node():
    """A stop node that was restarted, or repeats itself, frees nobody."""
    pytest.importorskip("rclpy")
    from std_msgs.msg import String

    from ate_core.nodes.estop import STATE_TOPIC, EstopListener

    callbacks, changes = {}, []
    now = SimpleNamespace(nanoseconds=5)
    node = SimpleNamespace(
        create_subscription=lambda _, topic, callback, *__: callbacks.update({topic: callback}),
        get_clock=lambda: SimpleNamespace(now=lambda: now),
        get_publishers_info_by_topic=lambda _: [SimpleNamespace(node_name="estop")],
    )
    listener = EstopListener(node, changes.append)

    def hear(instance, resets, stopped=False):
        state = {"stopped": stopped, "reason": "button", "instance": instance, "resets": resets}
        state["stamp_ns"] = now.nanoseconds
        callbacks[STATE_TOPIC](String(data=json.dumps(state)))

    hear("first", 0)
    hear("first", 0, stopped=True)
    hear("first", 0)
    hear("second", 0)
    hear("third", 5)
    assert listener.reason == "button" and changes == ["button"]
    hear("third", 6)
    assert listener.reason == "" and changes == ["button", ""]


@pytest.mark.parametrize(
    "velocity", [[], [0.0], [0.0] * 6, [0.0] * 6 + [math.nan], [math.nan] + [0.0] * 6]
)
def test_an_arm_whose_speeds_are_not_all_told_is_not_at_rest(velocity):
    pytest.importorskip("rclpy")
    from sensor_msgs.msg import JointState

    from cell_monitor.nodes.estop_node import EstopNode

    state = EstopState("first", ("left",))
    state.stop("button")
    now = SimpleNamespace(nanoseconds=0)
    clock = SimpleNamespace(now=lambda: now)
    node = SimpleNamespace(_state=state, _joint_counts={"left": 7}, get_clock=lambda: clock)
    EstopNode._take_joints(node, "left", JointState(velocity=velocity))
    assert "still moves" in state.reset(time.monotonic())
    now.nanoseconds = 2_000_000_000
    with pytest.raises(ValueError, match=r"stamped 2\.0 s ago, bound 1 s: is a recording played"):
        EstopNode._take_joints(node, "left", JointState(velocity=[0.0] * 7))
    assert "still moves" in state.reset(time.monotonic())
    now.nanoseconds = 0
    EstopNode._take_joints(node, "left", JointState(velocity=[0.0] * 7))
    assert state.reset(time.monotonic()) == ""


def test_the_command_succeeds_only_when_every_arm_with_a_driver_has_confirmed():
    done = Confirmation(driver=True, seconds=0.03, state="stopped")
    silent = Confirmation(driver=True, seconds=None, state="tracking")
    absent = Confirmation(driver=False, seconds=None, state="")
    assert succeeded({"left": done, "right": done}) and succeeded({"left": done, "right": absent})
    assert not succeeded({"left": done, "right": silent})
    assert not succeeded({"left": absent, "right": absent})
    assert "confirmed after 30 ms" in describe(done, 3.0)
    assert "NOT CONFIRMED within 3.0 s" in describe(silent, 3.0) and "tracking" in describe(
        silent, 3
    )
    with pytest.raises(UsageError, match="timeout is 0"):
        StopConfig(timeout=0.0)


@pytest.mark.ros
def test_the_node_stops_resets_and_takes_a_stop_over_after_its_restart(arms, start_module):
    node = start_module(NODE)
    arms.wait_for(lambda: arms.cell, 20)
    assert not arms.cell["stopped"]
    arms.speed = 0.4
    assert arms.call("/estop/set")[0]
    arms.wait_for(lambda: arms.estop.reason and arms.cell["stopped"])
    assert "reset" in arms.cell["next"]
    arms.wait_for(lambda: "still moves" in arms.call("/estop/reset")[1])
    assert arms.estop.reason and arms.cell["stopped"]

    first = arms.cell["instance"]
    node.kill()
    node.wait(10)
    start_module(NODE)
    arms.wait_for(lambda: arms.cell["instance"] != first and arms.cell["stopped"], 20)
    assert arms.estop.reason, "a restarted node ends no stop"
    assert "taken over" in arms.cell["reason"]
    arms.speed = 0.0
    arms.wait_for(lambda: arms.call("/estop/reset")[0])
    arms.wait_for(lambda: not arms.estop.reason and not arms.cell["stopped"])


@pytest.mark.ros
def test_a_node_that_has_just_begun_never_says_that_no_stop_is_on_while_an_arm_is_stopped(
    arms, start_module
):
    """A driver that started meanwhile, too, would believe it."""
    assert main(["stop", "--reason", "a hand in the cell"]) == 0
    start_module(NODE)
    arms.wait_for(lambda: len(arms.told) > 2, 30)
    assert all(state["stopped"] for state in arms.told), arms.told


@pytest.mark.ros
def test_a_node_that_has_just_begun_resets_nothing_before_it_has_looked_for_the_arms(
    node_environment,
):
    rclpy = pytest.importorskip("rclpy")
    from std_srvs.srv import Trigger

    from cell_monitor.nodes.estop_node import LOOKS, EstopNode

    rclpy.init()
    node = EstopNode()
    try:
        blind = node._reset(Trigger.Request(), Trigger.Response())
        assert not blind.success
        assert (
            "has just begun and asks the arms how they stand: reset again in 5 s" in blind.message
        )
        for _ in range(LOOKS):
            node._repeat()
        assert node._reset(Trigger.Request(), Trigger.Response()).success
    finally:
        node._claim.release()
        node.destroy_node()
        rclpy.shutdown()


@pytest.mark.ros
def test_what_another_program_publishes_ends_no_stop_and_starts_no_reset(arms, start_module):
    from std_msgs.msg import String

    from ate_core.nodes.estop import STATE_TOPIC
    from ate_core.nodes.qos import LATCHED_QOS

    node = start_module(NODE)
    arms.wait_for(lambda: arms.cell, 20)
    told = arms.cell
    assert arms.call("/estop/set")[0]
    arms.wait_for(lambda: arms.estop.reason)
    node.kill()
    node.wait(10)
    player = arms.node.create_publisher(String, STATE_TOPIC, LATCHED_QOS)
    for resets in (1, 2, 3):
        heard = [*arms.told]
        stamp_ns = arms.node.get_clock().now().nanoseconds
        state = {**told, "stopped": False, "resets": resets, "stamp_ns": stamp_ns}
        player.publish(String(data=json.dumps(state)))
        arms.wait_for(lambda heard=heard: len(arms.told) > len(heard))
    assert arms.estop.reason, "a played reset ends no stop"
    start_module(NODE)
    arms.wait_for(lambda: arms.cell["stopped"] and arms.cell["instance"] != told["instance"], 30)
    done, why = arms.call("/estop/reset")
    assert not done and "listening_arms publishes /estop" in why
    arms.node.destroy_publisher(player)
    arms.wait_for(lambda: arms.call("/estop/reset")[0])
    arms.wait_for(lambda: not arms.estop.reason)


@pytest.mark.ros
def test_who_begins_while_the_stop_node_hangs_hears_the_stop_when_it_goes_on(arms, start_module):
    from ate_core.nodes.estop import EstopListener

    node = start_module(NODE)
    arms.wait_for(lambda: arms.cell, 20)
    assert arms.call("/estop/set")[0]
    arms.wait_for(lambda: arms.estop.reason)
    node.send_signal(signal.SIGSTOP)
    late = EstopListener(arms.node, lambda _: None)
    looked = time.monotonic() + 1.0
    arms.wait_for(lambda: time.monotonic() > looked)
    assert late.unheard, "nothing that the hanging node said before is of now"
    node.send_signal(signal.SIGCONT)
    arms.wait_for(lambda: not late.unheard)
    assert late.reason and arms.estop.reason


@pytest.mark.ros
def test_a_second_stop_node_ends_with_the_name_of_the_first(arms, start_module):
    first = start_module(NODE)
    arms.wait_for(lambda: arms.cell, 20)
    second = start_module(NODE)
    assert second.wait(20) == 1
    assert f"process {first.pid} already uses /estop" in second.stderr.read()
    assert first.poll() is None


@pytest.mark.ros
def test_ate_stop_needs_no_other_process_and_its_reset_needs_the_node(arms, start_module, capsys):
    assert main(["stop", "--reason", "smoke"]) == 0
    assert arms.estop.reason == "smoke"
    printed = capsys.readouterr().out
    assert printed.count("stopped, confirmed after") == 2 and "ate stop --reset" in printed
    assert main(["stop", "--reset", "--timeout", "0.5"]) == 1
    assert "nobody offers /estop/reset" in capsys.readouterr().err
    node = start_module(NODE)
    arms.wait_for(lambda: arms.cell.get("stopped"), 20)
    node.send_signal(signal.SIGSTOP)
    assert main(["stop"]) == 0, "a hanging e-stop node keeps nobody from stopping"
    node.send_signal(signal.SIGCONT)
    assert main(["stop", "--reset"]) == 0
    arms.wait_for(lambda: not arms.estop.reason)


@pytest.mark.ros
@pytest.mark.parametrize(
    ("words", "code", "told"),
    [
        (["--reason", "H\udce4nde weg"], 0, ""),
        (["--reason", "", "--cell", "/no/such\udce4.yaml"], 1, "cannot be read"),
        (["--cell", "/no/such.yaml"], 1, "cannot be read"),
    ],
)
def test_a_stop_is_sent_whatever_its_words_and_its_cell_are(
    words, code, told, arms, monkeypatch, capsys
):
    words = ["stop", *words, "--timeout", "5"]
    monkeypatch.setattr(sys, "argv", ["ate", *words])
    assert main(words) == code
    assert arms.estop.reason
    error = capsys.readouterr().err
    assert told in error and (code == 0 or "use the hardware stop" in error)


@pytest.mark.ros
def test_ate_stop_fails_when_no_arm_confirms(node_environment, capsys):
    assert main(["stop", "--timeout", "0.5"]) == 1
    printed = capsys.readouterr()
    assert printed.out.count("no driver found") == 2 and "hardware stop" in printed.err
