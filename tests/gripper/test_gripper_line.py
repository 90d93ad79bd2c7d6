"""The client against the emulated gripper on a pseudo-terminal."""

import dataclasses
import os
import select
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from ate_core.errors import DeviceError, SafetyError
from omnipicker_driver.client import ClientConfig, GripperClient
from omnipicker_driver.emulator import EmulatedGripper, EmulatorConfig, IdealPlant, call
from omnipicker_driver.protocol import Fault, Motion, Report
from omnipicker_driver.state import GripperState

STALE = 0.1


@pytest.fixture
def port(tmp_path: Path) -> str:
    return str(tmp_path / "gripper_left")


@pytest.fixture
def plant() -> IdealPlant:
    return IdealPlant(position=0.5)


@pytest.fixture
def gripper(port: str, plant: IdealPlant) -> Iterator[EmulatedGripper]:
    emulated = EmulatedGripper(EmulatorConfig(port=port), plant)
    emulated.start()
    yield emulated
    emulated.stop()


@pytest.fixture
def client(port: str) -> Iterator[GripperClient]:
    client = GripperClient(ClientConfig(port=port, reopen_wait=0.02))
    client.start()
    yield client
    client.stop()


def wait_for(
    client: GripperClient, condition: Callable[[GripperState], bool], seconds: float = 5.0
) -> GripperState:
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        state = client.state
        if condition(state):
            return state
        time.sleep(0.005)
    raise AssertionError(f"not reached within {seconds} s: {client.state}")


def position(state: GripperState) -> float:
    return -1.0 if state.report is None else state.report.position


def ready(state: GripperState) -> bool:
    return state.target is not None


def test_opening_the_port_does_not_move_the_fingers(
    gripper: EmulatedGripper, client: GripperClient
) -> None:
    state = wait_for(client, lambda s: s.answers >= 10)
    assert state.target == pytest.approx(0.5, abs=1 / 255)
    assert position(state) == pytest.approx(0.5, abs=1 / 255)


def test_gripper_travels_its_stroke_in_about_0_7_s(
    gripper: EmulatedGripper, client: GripperClient
) -> None:
    wait_for(client, ready)
    assert client.set_target(0.0)
    wait_for(client, lambda s: position(s) == 0.0)
    begin = time.monotonic()
    assert client.set_target(1.0)
    state = wait_for(client, lambda s: position(s) > 0.99)
    assert 0.65 < time.monotonic() - begin < 2.0
    assert state.report is not None


def test_reported_speed_has_the_sign_of_the_motion(
    gripper: EmulatedGripper, client: GripperClient
) -> None:
    wait_for(client, ready)
    client.set_target(0.0)
    state = wait_for(client, lambda s: s.velocity < -1.0)
    assert state.report is not None
    assert state.report.motion == Motion.MOVING
    client.set_target(1.0)
    wait_for(client, lambda s: s.velocity > 1.0)


def test_object_stops_the_fingers_until_it_is_gone(
    gripper: EmulatedGripper, client: GripperClient, port: str
) -> None:
    call(port, "object", width=0.3)
    wait_for(client, ready)
    client.set_target(0.0)
    state = wait_for(client, lambda s: s.report is not None and s.report.motion == Motion.BLOCKED)
    assert position(state) == pytest.approx(0.3, abs=1 / 255)
    assert state.report is not None
    assert state.report.force == 1.0
    call(port, "object", width=None)
    wait_for(client, lambda s: position(s) == 0.0)


def test_restarted_driver_keeps_pressing_on_a_held_object(
    gripper: EmulatedGripper, client: GripperClient, port: str
) -> None:
    call(port, "object", width=0.3)
    wait_for(client, ready)
    client.set_target(0.1)
    wait_for(client, lambda s: s.report is not None and s.report.motion == Motion.BLOCKED)
    client.stop()
    told: list[GripperState] = []
    second = GripperClient(client.config, told.append)
    second.start()
    try:
        state = wait_for(second, lambda s: s.answers > 5)
    finally:
        second.stop()
    assert state.target == 0.0
    assert {s.report.motion for s in told if s.report} == {Motion.BLOCKED}
    assert {s.report.force for s in told if s.report} == {1.0}


def test_an_adapter_that_echoes_moves_nothing_and_is_counted(port: str, plant: IdealPlant) -> None:
    echoing = EmulatedGripper(EmulatorConfig(port=port, echoes=True), plant)
    echoing.start()
    told: list[GripperState] = []
    client = GripperClient(ClientConfig(port=port, reopen_wait=0.02), told.append)
    client.start()
    try:
        state = wait_for(client, lambda s: s.answers > 20)
        assert state.echoes > 20 and not state.doubted
        assert state.target == pytest.approx(0.5, abs=0.02)
        assert {round(position(s), 1) for s in told} == {0.5}
        call(port, "object", width=0.3)
        client.set_target(0.0)
        wait_for(client, lambda s: position(s) == pytest.approx(0.3, abs=0.02))
    finally:
        client.stop()
        echoing.stop()


@pytest.mark.parametrize("kind", ["no_answer", "wrong_checksum", "unknown_state", "frozen"])
def test_a_stop_opens_nothing_where_the_reports_are_lost_on_the_way(
    gripper: EmulatedGripper, client: GripperClient, port: str, plant: IdealPlant, kind: str
) -> None:
    call(port, "object", width=0.2)
    wait_for(client, ready)
    client.set_target(1.0)
    wait_for(client, lambda s: position(s) > 0.98)
    client.set_target(0.0)
    wait_for(client, lambda s: position(s) < 0.9)
    call(port, "line_fault", kind=kind)
    polls = client.polls
    wait_for(client, lambda _: client.polls > polls + 40)
    client.hold()
    polls = client.polls
    wait_for(client, lambda _: client.polls > polls + 30)
    client.stop()
    gripper.stop()  # the plant may now be asked from this thread
    report = plant.report()
    assert (report.motion, report.force) == (Motion.BLOCKED, 1.0)
    assert report.position == pytest.approx(0.2, abs=0.01)


def test_a_stop_ends_the_motion_of_closing_fingers(
    gripper: EmulatedGripper, client: GripperClient
) -> None:
    wait_for(client, ready)
    client.set_target(1.0)
    wait_for(client, lambda s: position(s) > 0.98)
    client.set_target(0.0)
    before = position(wait_for(client, lambda s: position(s) < 0.8))
    client.hold()
    polls = client.polls
    state = wait_for(client, lambda _: client.polls > polls + 30)
    assert state.report.motion == Motion.REACHED
    assert before - 0.15 < position(state) < before


@pytest.mark.parametrize("lost", ["no_answer", "unknown_state"])
def test_a_cut_line_that_comes_back_unheard_moves_nothing(
    gripper: EmulatedGripper, client: GripperClient, port: str, plant: IdealPlant, lost: str
) -> None:
    wait_for(client, ready)
    client.set_target(0.6)
    wait_for(client, lambda s: position(s) == pytest.approx(0.6, abs=0.01))
    call(port, "line_fault", kind=lost)
    call(port, "unplug", seconds=0.1)
    state = wait_for(client, lambda s: s.openings > 1)
    polls = client.polls
    wait_for(client, lambda _: client.polls > polls + 60)
    assert state.target is None and not client.set_target(0.0)
    client.stop()
    gripper.stop()
    assert plant.report().position == pytest.approx(0.6, abs=0.01)


def test_a_gripper_whose_reports_are_not_believed_stays_where_it_says(port: str) -> None:
    plant = IdealPlant(position=0.5)
    odd = EmulatedGripper(EmulatorConfig(port=port), plant)
    odd.start()
    call(port, "line_fault", kind="unknown_state")
    client = GripperClient(ClientConfig(port=port, reopen_wait=0.02))
    client.start()
    try:
        state = wait_for(client, lambda s: s.doubted > 5)
    finally:
        client.stop()
        odd.stop()
    assert state.target is None
    assert client._command(None).position == pytest.approx(0.5 - 4 / 255, abs=2 / 255)


class EndStop(IdealPlant):
    """Fingers that report to be blocked although they press on nothing."""

    def report(self) -> Report:
        return dataclasses.replace(super().report(), motion=Motion.BLOCKED, force=0.0)


def test_fingers_that_stand_at_an_end_stop_stay_there_when_the_port_is_opened(port: str) -> None:
    blocked = EmulatedGripper(EmulatorConfig(port=port), EndStop(position=0.98))
    blocked.start()
    client = GripperClient(ClientConfig(port=port, reopen_wait=0.02))
    client.start()
    try:
        state = wait_for(client, lambda s: s.answers > 30)
    finally:
        client.stop()
        blocked.stop()
    assert state.target == pytest.approx(0.98, abs=0.02)
    assert position(state) == pytest.approx(0.98, abs=0.02)


def test_stopped_driver_leaves_the_grip_as_it_is(
    gripper: EmulatedGripper, client: GripperClient, port: str, plant: IdealPlant
) -> None:
    call(port, "object", width=0.3)
    wait_for(client, ready)
    client.set_target(0.1)
    wait_for(client, lambda s: s.report is not None and s.report.motion == Motion.BLOCKED)
    client.stop()
    gripper.stop()  # the plant may now be asked from this thread
    report = plant.report()
    assert (report.motion, report.force) == (Motion.BLOCKED, 1.0)
    assert not client.state.connected


def test_silence_makes_the_state_stale_and_the_target_stays(
    gripper: EmulatedGripper, client: GripperClient, port: str
) -> None:
    wait_for(client, ready)
    client.set_target(0.25)
    wait_for(client, lambda s: position(s) == pytest.approx(0.25, abs=3 / 255))
    call(port, "line_fault", kind="no_answer")
    state = wait_for(client, lambda s: not s.fresh(time.monotonic(), STALE))
    stamp = state.stamp_ns
    assert wait_for(client, lambda s: s.unanswered > 8).stamp_ns == stamp
    call(port, "clear")
    state = wait_for(client, lambda s: s.fresh(time.monotonic(), STALE))
    assert state.target == 0.25


@pytest.mark.parametrize("kind", ["wrong_checksum", "lost_byte", "doubled_reply"])
def test_spoilt_replies_cost_only_themselves(
    gripper: EmulatedGripper, client: GripperClient, port: str, kind: str
) -> None:
    wait_for(client, ready)
    before = client.state
    call(port, "line_fault", kind=kind, count=5)
    state = wait_for(client, lambda s: s.answers >= before.answers + 10)
    if kind != "doubled_reply":
        assert state.unanswered >= before.unanswered + 5
    assert position(state) == pytest.approx(0.5, abs=1 / 255)


def told_while(client: GripperClient, told: list[GripperState], seconds: float = 0.5) -> int:
    """Reports that are published while time passes."""
    before, deadline = len(told), time.monotonic() + seconds
    wait_for(client, lambda _: time.monotonic() > deadline)
    return len(told) - before


@pytest.fixture
def told(client: GripperClient) -> list[GripperState]:
    reports: list[GripperState] = []
    client._on_report = reports.append
    return reports


@pytest.mark.parametrize(
    ("kind", "word"), [("jump", "position jumped"), ("unknown_state", "state code 77 is unknown")]
)
def test_reports_that_cannot_be_true_are_named_and_not_passed_on(
    gripper: EmulatedGripper,
    client: GripperClient,
    told: list[GripperState],
    port: str,
    kind: str,
    word: str,
) -> None:
    wait_for(client, lambda s: s.answers > 5)
    call(port, "line_fault", kind=kind)
    wait_for(client, lambda s: word in s.doubt)
    told_while(client, told, 0.2)
    assert {round(s.report.position, 2) for s in told if s.report} == {0.5}
    call(port, "clear")
    state = wait_for(client, lambda s: not s.doubt and s.fresh(time.monotonic(), STALE))
    assert position(state) == pytest.approx(0.5, abs=1 / 255)


def test_frozen_reports_are_named_and_go_stale(
    gripper: EmulatedGripper, client: GripperClient, told: list[GripperState], port: str
) -> None:
    wait_for(client, lambda s: s.answers > 5)
    call(port, "line_fault", kind="frozen")
    client.set_target(1.0)
    state = wait_for(client, lambda s: s.doubt != "")
    assert state.doubt.startswith("position stays at 0.50")
    assert state.is_frozen
    wait_for(client, lambda s: not s.fresh(time.monotonic(), STALE))
    assert told_while(client, told, 0.1) == 0
    call(port, "clear")  # the fingers have moved meanwhile
    wait_for(client, lambda s: position(s) > 0.99)


def test_answers_of_another_device_are_named(
    gripper: EmulatedGripper, client: GripperClient, port: str
) -> None:
    wait_for(client, ready)
    call(port, "line_fault", kind="other_id")
    state = wait_for(client, lambda s: not s.fresh(time.monotonic(), STALE))
    assert state.strangers == (2,)


def test_late_replies_are_counted_and_thrown_away(
    gripper: EmulatedGripper, client: GripperClient, port: str
) -> None:
    wait_for(client, ready)
    call(port, "line_fault", kind="late_reply")
    wait_for(client, lambda s: s.late_bytes > 30)
    call(port, "clear")
    answers = client.state.answers
    wait_for(client, lambda s: s.answers > answers + 5)


def test_port_that_another_driver_holds_is_refused_and_taken_when_free(
    gripper: EmulatedGripper, client: GripperClient
) -> None:
    wait_for(client, ready)
    second = GripperClient(client.config)
    second.start()
    try:
        state = wait_for(second, lambda s: s.error != "")
        assert "close other users of the port" in state.error
        client.stop()
        wait_for(second, ready)
    finally:
        second.stop()


def test_stolen_replies_are_counted_and_the_rest_is_read(
    gripper: EmulatedGripper, client: GripperClient, port: str
) -> None:
    wait_for(client, ready)
    thief = os.open(port, os.O_RDONLY | os.O_NOCTTY)
    stop = threading.Event()

    def steal() -> None:
        while not stop.is_set():
            if select.select([thief], [], [], 0.01)[0]:
                os.read(thief, 64)

    thread = threading.Thread(target=steal)
    thread.start()
    try:
        wait_for(client, lambda s: s.unanswered > 0)
    finally:
        stop.set()
        thread.join()
        os.close(thief)
    answers = client.state.answers
    wait_for(client, lambda s: s.answers > answers + 5)


@pytest.mark.parametrize("fault", [f for f in Fault if f])
def test_fault_codes_arrive(
    gripper: EmulatedGripper, client: GripperClient, port: str, fault: Fault
) -> None:
    call(port, "fault_code", code=int(fault))
    wait_for(client, lambda s: s.report is not None and s.report.fault == fault)


def test_unplugged_gripper_is_reopened_where_it_is(
    gripper: EmulatedGripper, client: GripperClient, port: str
) -> None:
    wait_for(client, ready)
    client.set_target(0.8)
    wait_for(client, lambda s: position(s) == pytest.approx(0.8, abs=3 / 255))
    call(port, "unplug")
    state = wait_for(client, lambda s: not s.connected)
    assert "plug it in" in state.error or "cannot be opened" in state.error
    assert not os.path.lexists(port)
    assert not client.set_target(0.0), "a target for an absent gripper must not be kept"
    call(port, "plug")
    state = wait_for(client, ready)
    assert state.openings == 2
    assert state.target == pytest.approx(0.8, abs=3 / 255)
    client.set_target(0.6)
    wait_for(client, lambda s: position(s) == pytest.approx(0.6, abs=3 / 255))


def test_missing_port_is_awaited(client: GripperClient, port: str) -> None:
    state = wait_for(client, lambda s: s.error != "")
    assert state.error.startswith(f"gripper port {port} cannot be opened (No such file")
    emulated = EmulatedGripper(EmulatorConfig(port=port), IdealPlant())
    emulated.start()
    try:
        wait_for(client, ready)
    finally:
        emulated.stop()


def test_target_that_is_no_number_is_refused(client: GripperClient) -> None:
    with pytest.raises(SafetyError, match="nan"):
        client.set_target(float("nan"))


def test_control_calls_that_make_no_sense_are_refused(gripper: EmulatedGripper, port: str) -> None:
    for name, arguments in [("dance", {}), ("line_fault", {"kind": "x"}), ("fault_code", {})]:
        with pytest.raises(DeviceError, match="refused"):
            call(port, name, **arguments)


def test_a_port_is_not_opened_before_it_is_claimed_and_is_claimed_at_each_opening(
    gripper: EmulatedGripper, port: str
) -> None:
    refusal, asked = ["process 7 already uses it"], []

    def claim() -> str:
        asked.append(client.state.openings)
        return refusal[0]

    client = GripperClient(ClientConfig(port=port, reopen_wait=0.02), claim=claim)
    client.start()
    try:
        wait_for(client, lambda state: state.error == refusal[0])
        assert client.state.openings == 0
        refusal[0] = ""
        wait_for(client, ready)
        gripper.stop()
        wait_for(client, lambda state: not state.connected)
        refusal[0] = "process 8 already uses it"
        gripper.start()
        wait_for(client, lambda state: state.error == refusal[0])
        assert client.state.openings == asked[-1] == 1
    finally:
        client.stop()
