"""Which commands may move the gripper."""

import math

import pytest

from ate_core.lease import LEASE_SILENCE, REMEMBERED, Mark
from omnipicker_driver.gate import GateConfig, GripperCommand, GripperGate, Verdict

TIMEOUT = 0.1
START = 100.0


class Commander:
    """Sends to a gate; its own clock is the wall clock."""

    def __init__(self, gate: GripperGate, name: str = "teleop", source: str = "a") -> None:
        self.gate, self.name, self.source = gate, name, source

    def send(self, ratio: float, now: float, age: float = 0.0, **other: object) -> Verdict:
        """Send an opening at ``now`` whose stamp is ``age`` old."""
        options = {name: other.pop(name) for name in ("obstacle", "held") if name in other}
        values = {
            "names": ["left_gripper"],
            "positions": [ratio],
            "commander": self.name,
            "source": self.source,
            "mark": Mark(made_ns=round((now - age) * 1e9)),
            "age": age,
            **other,
        }
        return self.gate.submit(GripperCommand(**values), now, **options)

    def stream(self, ratio: float, begin: float, end: float, **options: object) -> list[Verdict]:
        """Send 30 times per second."""
        count = round((end - begin) * 30)
        return [self.send(ratio, begin + i / 30, **options) for i in range(count)]


@pytest.fixture
def gate() -> GripperGate:
    config = GateConfig(joint="left_gripper", stamp_max_age=0.1, command_timeout=TIMEOUT)
    return GripperGate(config)


@pytest.fixture
def teleop(gate: GripperGate) -> Commander:
    return Commander(gate)


def test_fresh_command_is_taken_and_clamped_to_the_stroke(teleop: Commander) -> None:
    verdicts = [teleop.send(ratio, START + ratio, age=0.05) for ratio in (-7.0, 0.25, 7.0)]
    assert [verdict.ratio for verdict in verdicts] == [0.0, 0.25, 1.0]
    assert all(verdict.accepted for verdict in verdicts)


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"positions": []}, "0 positions"),
        ({"positions": [0.1, 0.2]}, "2 positions"),
        ({"positions": [math.nan]}, "nan"),
        ({"positions": [math.inf]}, "inf"),
        ({"names": ["right_gripper"]}, "need ['left_gripper']"),
        ({"names": []}, "need ['left_gripper']"),
        ({"names": ["left_gripper", "right_gripper"]}, "need ['left_gripper']"),
        ({"commander": ""}, "header.frame_id"),
        ({"refusal": "two publishers"}, "two publishers"),
        ({"age": 0.2}, "0.200 s old"),
        ({"age": -0.2}, "-0.200 s old"),
    ],
)
def test_bad_command_is_refused_with_its_reason(
    teleop: Commander, change: dict[str, object], reason: str
) -> None:
    verdict = teleop.send(0.5, START, **change)
    assert not verdict.accepted
    assert reason in verdict.reason
    assert teleop.gate.refused == 1


def test_repeated_and_older_commands_are_refused(teleop: Commander) -> None:
    assert teleop.send(0.5, START).accepted
    repeated = teleop.send(0.9, START + 0.02, age=0.02)
    older = teleop.send(0.9, START + 0.03, age=0.05)
    assert "repeats" in repeated.reason
    assert "not newer" in older.reason
    assert teleop.send(0.9, START + 0.04).accepted


def test_repetition_is_told_by_its_stamp_whatever_the_clock_reads(teleop: Commander) -> None:
    assert teleop.send(0.5, START, mark=Mark(made_ns=7)).accepted
    verdict = teleop.send(0.5, START + 0.01, mark=Mark(made_ns=7))
    assert "repeats a command" in verdict.reason


def test_wall_clock_that_steps_back_stops_nobody(teleop: Commander) -> None:
    assert teleop.send(0.5, START, mark=Mark(made_ns=10**18)).accepted
    assert teleop.send(0.6, START + 0.03, mark=Mark(made_ns=10**18 - 3600 * 10**9)).accepted


def test_gripper_belongs_to_one_publisher_until_it_was_silent(gate: GripperGate) -> None:
    first, twin = Commander(gate, source="a"), Commander(gate, source="b")
    policy = Commander(gate, "policy", "c")
    assert first.send(0.5, START).accepted
    refused = [twin.send(0.9, START + 0.1), policy.send(0.9, START + 0.1)]
    assert refused[0].reason == "teleop (a) holds the gripper, teleop (b) is refused"
    assert refused[1].reason == "teleop (a) holds the gripper, policy (c) is refused"
    assert gate.commander(START + 0.1) == "teleop"
    late = START + LEASE_SILENCE + 0.01
    assert gate.commander(late) == ""
    assert policy.send(0.9, late).accepted


def test_lease_ends_when_its_publisher_leaves(gate: GripperGate) -> None:
    first, other = Commander(gate, source="a"), Commander(gate, "policy", "b")
    assert first.send(0.5, START).accepted
    gate.depart("a")
    assert other.send(0.5, START + 0.02).accepted


def test_stream_that_went_on_through_a_stop_must_fall_silent_first(
    gate: GripperGate, teleop: Commander
) -> None:
    assert teleop.send(0.8, START).accepted
    gate.stop("estop", "somebody asked for it")
    during = teleop.stream(0.2, START + 0.03, START + 1.0)
    assert {verdict.reason for verdict in during} == {"stopped: somebody asked for it"}
    gate.release("estop")
    after = teleop.stream(0.2, START + 1.0, START + 2.0, held=0.2)
    assert not any(verdict.accepted for verdict in after)
    assert "must be silent for 500 ms first" in after[0].reason
    assert teleop.send(0.2, START + 2.0 + LEASE_SILENCE).accepted


def test_commander_that_was_silent_in_a_stop_may_go_on(
    gate: GripperGate, teleop: Commander
) -> None:
    gate.stop("estop", "x")
    assert not teleop.send(0.2, START).accepted
    gate.release("estop")
    assert teleop.send(0.2, START + 0.55).accepted


def test_every_cause_of_a_stop_needs_its_own_release(gate: GripperGate, teleop: Commander) -> None:
    gate.stop("arm", "arm stopped")
    gate.stop("estop", "pressed")
    gate.release("arm")
    assert teleop.send(0.2, START + 1.0).reason == "stopped: pressed"
    gate.release("estop")
    assert teleop.send(0.2, START + 2.0).accepted


def test_activation_lets_a_stream_go_on_only_where_nothing_moves(gate: GripperGate) -> None:
    same, other = Commander(gate, "teleop"), Commander(gate, "policy", "b")
    for commander in (same, other):
        commander.send(0.5, START, obstacle="inactive")
    gate.expect_silence("an activation")
    assert not other.send(0.2, START + 0.03, held=1.0).accepted
    assert same.send(0.99, START + 0.03, held=1.0).accepted


def test_obstacle_refuses_with_its_own_words(teleop: Commander) -> None:
    assert teleop.send(0.5, START, obstacle="pulled out").reason == "pulled out"


@pytest.mark.parametrize(
    "change", [{"positions": [math.nan]}, {"age": 0.2}, {"refusal": "two", "source": ""}]
)
def test_who_sends_what_is_refused_is_not_silent(
    gate: GripperGate, teleop: Commander, change: dict[str, object]
) -> None:
    assert teleop.send(0.8, START).accepted
    gate.stop("estop", "x")
    gate.release("estop")
    teleop.stream(0.2, START + 0.03, START + 2.0, **change)
    assert "kept sending" in teleop.send(0.2, START + 2.0).reason


def test_a_thousand_names_are_forgotten_again(gate: GripperGate) -> None:
    for number in range(1000):
        Commander(gate, source=str(number)).send(0.5, START + number)
    assert len(gate._lease._known) <= REMEMBERED
