"""Targets on their way through the link process: late ones stop the arm, none leave in a burst."""

import contextlib
import itertools
import json
import math
import socket
import threading
from collections.abc import Iterator

import pytest

from realman_driver import orders as orders_module
from realman_driver import records, stopper
from realman_driver.connection import Connection
from realman_driver.link import Link
from realman_driver.orders import FAST_STOP, SLOW_STOP
from realman_driver.pacing import TargetPacer
from realman_driver.push import STATE_NAME
from realman_driver.records import Answer, Pulse, State
from realman_driver.sdk import LinkConfig

CONFIG = LinkConfig(
    ip="127.0.0.1",
    tcp_port=0,
    udp_port=0,
    cycle=1,
    model="rm75_6f",
    joint_names=tuple("1234567"),
    joint_speed=(3.0,) * 7,
    base_pose=(0.0,) * 6 + (1.0,),
    tool_length=0.2,
    payload=0.5,
)
SPEED = 115.0
"""Joint 1 of the targets moves at 2 rad/s [deg/s]."""


class FakeArm:
    """The library's arm: notes what it was given."""

    def __init__(self, clock, joints) -> None:
        self.clock = clock
        self.joints = joints  # where it answers that it is [deg]
        self.sent: list[tuple[float, float]] = []
        self.broken = False
        self.goals: list[list[float]] = []

    def rm_movej_canfd(self, q, follow) -> int:
        self.sent.append((self.clock(), q[0]))
        return 0

    def rm_get_joint_degree(self) -> tuple[int, list[float]]:
        return 0, list(self.joints())

    def rm_set_arm_stop(self) -> int:
        return 0

    def rm_set_arm_slow_stop(self) -> int:
        return 0

    def rm_movej(self, q, *_) -> int:
        if self.broken:
            raise OSError("the library broke")
        self.goals.append(q)
        return 0


class Bench:
    """A link without threads of its own, on a clock that the test moves."""

    def __init__(self, monkeypatch) -> None:
        self.now = 100.0
        self.epoch = 0
        for module in (orders_module, stopper):
            monkeypatch.setattr(module.time, "monotonic", lambda: self.now)
        self.node, there = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self.node.setblocking(False)
        self.link = Link(CONFIG, there, 0)
        self.listener = socket.create_server(("127.0.0.1", 0))
        tcp = socket.create_connection(self.listener.getsockname())
        self.controller, _ = self.listener.accept()
        self.arm = FakeArm(lambda: self.now, self.link.states.joints)
        self.link.link(self.arm, Connection(tcp))
        self.push()

    def push(
        self, status: str = "move_through_joint", degrees: float | None = None, speed: float = 0.0
    ) -> None:
        """The controller pushes its state: joint 1 at its target or elsewhere, in RPM."""
        here = self.arm.sent[-1][1] if self.arm.sent else 0.0
        here = round((here if degrees is None else degrees) * 1e3)
        joints = {"joint_position": [here, *[0] * 6], "joint_speed": [speed * 100, *[0] * 6]}
        self.say(status, joints)

    def say(self, status: str, joints: dict[str, object]) -> None:
        """The controller pushes a state with these joints, in the integers of the wire."""
        state = {"state": STATE_NAME, "arm_current_status": status, "joint_status": joints}
        packet = json.dumps(state, separators=(",", ":")).encode()
        self.link.states.take(packet + b" " * (self.link.states.pushes % 2), self.now)

    def target(self, age: float = 0.0, degrees: float | None = None) -> None:
        """The node makes a target that was due ``age`` ago."""
        made = self.now - age
        q = SPEED * (made - 100.0) if degrees is None else degrees
        self.node.send(records.pack_stream(self.epoch, made, (q, *(0.0,) * 6)))

    def tick(self, count: int = 1) -> None:
        """A period in which all are in time."""
        for _ in range(count):
            self.now += 0.01
            self.push()
            self.target()
            self.link.orders.turn()

    def reports(self) -> list[records.Report]:
        reports = []
        while True:
            try:
                reports.append(records.unpack_report(self.node.recv(records.LARGEST)))
            except BlockingIOError:
                return reports

    @property
    def stopped(self) -> bool:
        """Whether the link stopped the arm at the controller and told the node."""
        self.controller.setblocking(False)
        try:
            line = self.controller.recv(4096)
        except BlockingIOError:
            return False
        reports = self.reports()
        told = {r.epoch for r in reports if isinstance(r, Pulse | State)}
        why = [r.text for r in reports if isinstance(r, Answer) and r.ticket == 0]
        assert line == FAST_STOP and self.link.orders.epoch in told and why and all(why)
        return True

    def close(self) -> None:
        for part in (self.node, self.listener, self.controller):
            part.close()


@pytest.fixture
def bench(monkeypatch) -> Iterator[Bench]:
    bench = Bench(monkeypatch)
    yield bench
    bench.close()


def test_targets_in_time_leave_one_by_one(bench) -> None:
    bench.tick(50)
    assert len(bench.arm.sent) == 50
    assert not bench.stopped


def test_of_targets_that_waited_only_the_newest_leaves(bench) -> None:
    bench.tick(5)
    bench.arm.sent.clear()
    bench.now += 0.03
    bench.push()
    for age in (0.02, 0.01, 0.0):
        bench.target(age)
    for _ in range(5):
        bench.link.orders.turn()
    assert [q for _, q in bench.arm.sent] == [pytest.approx(SPEED * 0.08)]
    assert not bench.stopped


def test_no_two_targets_leave_within_five_milliseconds(bench) -> None:
    bench.tick(3)
    for _ in range(200):  # a node that bunches its ticks
        bench.now += 0.001
        bench.push()
        bench.target()
        bench.link.orders.turn()
    times = [t for t, _ in bench.arm.sent]
    assert min(b - a for a, b in itertools.pairwise(times)) > 0.0049
    assert len(times) > 40
    assert not bench.stopped


@pytest.mark.parametrize("stall", [0.045, 0.06, 0.099, 0.3, 2.0])
@pytest.mark.parametrize("who", ["the link", "both"])
def test_stall_of_the_link_stops_the_arm_and_sends_nothing_that_waited(bench, stall, who) -> None:
    bench.tick(5)
    bench.arm.sent.clear()
    bench.now += stall
    bench.push()
    for place in range(int(stall * 100)) if who == "the link" else ():
        bench.target(stall - 0.01 * (place + 1))
    bench.link.orders.turn()
    assert bench.arm.sent == []
    assert bench.link.orders.epoch == bench.epoch + 1
    assert bench.stopped
    bench.target(degrees=SPEED * 0.06)
    bench.link.orders.turn()
    assert bench.arm.sent == []  # the node does not know of the stop yet


@pytest.mark.parametrize("stall", [0.045, 0.06, 0.095])
def test_arm_that_stands_goes_on_after_a_stall_of_the_link(bench, stall) -> None:
    here = 0.0
    for _ in range(5):
        bench.now += 0.01
        bench.push()
        bench.target(degrees=here)
        bench.link.orders.turn()
    bench.arm.sent.clear()
    bench.now += stall
    bench.push(degrees=here)
    for place in range(int(stall * 100)):
        bench.target(stall - 0.01 * (place + 1), degrees=0.03 * place)
    for _ in range(5):
        bench.link.orders.turn()
    assert [q for _, q in bench.arm.sent] == [0.03 * (int(stall * 100) - 1)]
    assert not bench.stopped


@pytest.mark.parametrize(
    ("stall", "age", "degrees"),
    [(0.06, 0.0, 0.4), (0.06, 0.035, 0.0), (0.12, 0.0, 0.0)],
    ids=["a leap", "nothing fresh", "too long"],
)
def test_standing_arm_is_stopped_where_it_may_have_missed_something(
    bench, stall, age, degrees
) -> None:
    for _ in range(5):
        bench.now += 0.01
        bench.push()
        bench.target(degrees=0.0)
        bench.link.orders.turn()
    bench.now += stall
    bench.push(degrees=0.0)
    bench.target(age, degrees=degrees)
    bench.link.orders.turn()
    assert len(bench.arm.sent) == 5
    assert bench.stopped


def test_target_that_waited_in_the_node_stops_the_arm(bench) -> None:
    bench.tick(5)
    bench.now += 0.01
    bench.push()
    bench.target(age=0.031)
    bench.link.orders.turn()
    assert len(bench.arm.sent) == 5
    assert bench.stopped


def test_stall_of_an_idle_link_stops_nothing(bench) -> None:
    bench.tick(5)
    for _ in range(20):  # the node looks, but wants nothing
        bench.now += 0.01
        bench.push()
        bench.node.send(records.pack_beat())
        bench.link.orders.turn()
    bench.now += 0.08
    bench.link.orders.turn()
    assert not bench.stopped


def test_silent_node_stops_the_arm(bench) -> None:
    bench.tick(5)
    for _ in range(11):
        bench.now += 0.01
        bench.push()
        bench.link.orders.turn()
    assert bench.stopped


def test_silent_controller_gets_no_targets(bench) -> None:
    bench.tick(5)
    for _ in range(8):  # its network acknowledges, nobody reads
        bench.now += 0.01
        bench.target()
        bench.link.orders.turn()
    assert 5 + 5 <= len(bench.arm.sent) <= 5 + 6
    assert bench.stopped


def test_controller_that_answers_gets_targets_although_its_push_is_lost(bench) -> None:
    bench.tick(5)
    for _ in range(20):
        bench.now += 0.01
        bench.link.orders.answered_at = bench.now
        bench.target()
        bench.link.orders.turn()
    assert len(bench.arm.sent) == 25
    assert not bench.stopped


def test_controller_that_pushes_but_leaves_a_question_unanswered_gets_no_targets(bench) -> None:
    bench.tick(5)
    bench.link.orders.asked_at = bench.now
    bench.tick(60)
    assert 39 <= len(bench.arm.sent) - 5 <= 41
    assert bench.stopped


def test_no_target_is_added_to_many_that_have_not_arrived(bench, monkeypatch) -> None:
    bench.tick(5)
    monkeypatch.setattr(Connection, "unacknowledged", lambda _: 2049)
    bench.tick()
    assert len(bench.arm.sent) == 5
    assert bench.stopped


@pytest.mark.parametrize("first", [True, False], ids=["the first", "a later one"])
def test_target_far_from_the_last_or_from_the_arm_stops_the_arm(bench, first) -> None:
    if not first:
        bench.tick(5)
    sent = len(bench.arm.sent)
    bench.now += 0.01
    bench.push()
    bench.target(degrees=11.0)
    bench.link.orders.turn()
    assert len(bench.arm.sent) == sent
    assert bench.stopped


@pytest.mark.parametrize("status", ["stop", "slow_stop"])
def test_stop_of_somebody_else_makes_the_targets_void_and_is_told(bench, status) -> None:
    bench.tick(5)
    bench.push(status)
    bench.target()
    bench.link.orders.turn()
    assert len(bench.arm.sent) == 5
    assert bench.link.orders.epoch == bench.epoch + 1
    assert bench.link.orders.stops.foreign == 1
    bench.epoch += 1  # the node heard of it
    bench.tick()
    assert len(bench.arm.sent) == 6  # it decides


@pytest.mark.parametrize("fast", [True, False])
def test_own_stop_is_not_taken_for_one_of_somebody_else(bench, fast) -> None:
    bench.tick(5)
    bench.node.send(records.pack_stop(7, fast))
    bench.link.orders.turn()
    for _ in range(5):
        bench.now += 0.005
        bench.push("stop" if fast else "slow_stop")
        bench.link.orders.turn()
    assert bench.link.orders.stops.foreign == 0
    bench.tick(5)
    bench.push("stop")  # but the next one is
    assert bench.link.orders.stops.foreign == 1


@pytest.mark.parametrize("fast", [True, False])
def test_own_stop_that_a_controller_obeys_after_it_stood_still_is_no_foreign_one(bench, fast):
    bench.tick(5)
    bench.node.send(records.pack_stop(7, fast))
    bench.link.orders.turn()
    bench.now += 1.5
    bench.push("stop" if fast else "slow_stop")
    assert bench.link.orders.stops.foreign == 0


def answers(bench) -> list[int]:
    """Tickets that were answered since the last look, with success."""
    return [r.ticket for r in bench.reports() if isinstance(r, Answer) and r.code == 0]


@pytest.fixture
def states_alone(monkeypatch) -> None:
    """Stops are confirmed by states, and never by the library's call."""
    monkeypatch.setattr(stopper, "CONFIRM_TIMEOUT", 600.0)


def ask_to_stop(bench, ticket: int, fast: bool) -> None:
    bench.node.send(records.pack_stop(ticket, fast))
    bench.link.orders.turn()
    bench.now += 0.002


@pytest.mark.parametrize("fast", [True, False])
def test_a_stop_is_confirmed_by_its_own_status_only(states_alone, bench, fast) -> None:
    bench.tick(5)
    ask_to_stop(bench, 7, fast)
    bench.push("slow_stop" if fast else "stop")
    assert answers(bench) == []
    bench.push("stop" if fast else "slow_stop")
    assert answers(bench) == [7]


def test_a_stop_is_not_confirmed_by_one_from_before_the_targets(states_alone, bench) -> None:
    ask_to_stop(bench, 7, True)
    bench.push("stop")
    assert answers(bench) == [7]
    bench.now += 0.01
    bench.target()
    bench.link.orders.turn()  # moves again, though the state that comes next was made before
    assert len(bench.arm.sent) == 1
    ask_to_stop(bench, 8, True)
    bench.push("stop")
    assert answers(bench) == []
    bench.push("move_through_joint")
    bench.now += 0.005
    bench.push("stop")
    assert answers(bench) == [8]


def test_a_stop_of_an_arm_that_stands_stopped_is_confirmed_by_its_next_state(
    states_alone, bench
) -> None:
    ask_to_stop(bench, 7, True)
    bench.push("stop")
    bench.now += 1.0
    ask_to_stop(bench, 8, True)
    bench.push("stop")
    assert answers(bench) == [7, 8]


def test_stop_in_force_when_the_link_begins_is_nobodys_news(monkeypatch) -> None:
    bench = Bench(monkeypatch)
    bench.link.orders.stops = stopper.StopWatch(bench.link.orders._stoppers)
    bench.push("slow_stop")
    assert bench.link.orders.stops.foreign == 0
    bench.close()


def test_glide_that_fails_is_answered(bench, monkeypatch) -> None:
    bench.arm.broken = True
    died = []
    monkeypatch.setattr(threading, "excepthook", lambda args: died.append(args.exc_value))
    bench.node.send(records.pack_settle(9, (0.0,) * 7))
    bench.link.orders.turn()
    bench.push()
    bench.push()
    for thread in threading.enumerate():
        if thread.name == "settle":
            thread.join(5.0)
    assert isinstance(died[0], OSError)
    answers = {r.ticket: r.code for r in bench.reports() if isinstance(r, Answer)}
    assert answers == {9: -1}
    assert bench.link.orders.slow_requests.settling is None


def test_glide_begins_when_the_arm_rests_and_where_it_does(bench) -> None:
    bench.tick(20)
    bench.now += 0.05
    bench.target()
    bench.link.orders.turn()  # late by itself: it stops the arm
    assert bench.stopped
    bench.node.send(records.pack_settle(9, (26.2, *(0.0,) * 6)))
    bench.link.orders.turn()
    for degrees, speed in ((24.0, 19.0), (25.0, 15.0), (26.0, 5.0)):
        bench.now += 0.005
        bench.push("stop", degrees, speed)
        assert bench.arm.goals == []
    ended = threading.Event()
    for _ in range(500):
        bench.now += 0.005
        bench.push("move_J" if bench.arm.goals and not ended.is_set() else "stop", 26.5)
        if ended.wait(0.002) or bench.link.orders.slow_requests.settling is None:
            break
        if bench.arm.goals:
            ended.set()
            bench.push("idle", 26.5)
    assert bench.arm.goals == [[26.5, *[0.0] * 6]]


HERE = (20.0, *(0.0,) * 6)
SEEN = {"joint_position": [20_000, *[0] * 6], "joint_speed": [0] * 7}


def glide(bench, joints) -> dict[int, int]:
    """Ask for a glide to `HERE`, push until it has ended, and return the answers.

    Args:
        bench: of the link.
        joints: gives what is pushed, and the status: called with whether the move has left.
    """
    bench.node.send(records.pack_settle(9, HERE))
    bench.link.orders.turn()
    thread = next(one for one in threading.enumerate() if one.name == "settle")
    answers = {}
    for _ in range(2000):
        bench.say(*joints(bool(bench.arm.goals)))
        thread.join(0.003)
        answers |= {r.ticket: r.code for r in bench.reports() if isinstance(r, Answer)}
        if not thread.is_alive():
            break
    answers |= {r.ticket: r.code for r in bench.reports() if isinstance(r, Answer)}
    return answers


@pytest.mark.parametrize(
    "wrong",
    [
        {"joint_position": [0] * 7},
        {"joint_position": []},
        {"joint_position": None},
        {"joint_position": [20_000, *[0] * 5]},
        {"joint_position": "1234567"},
        {"joint_position": [20_000, 35_000, *[0] * 5]},
        {"joint_position": [20_000, math.nan, *[0] * 5]},
        {"joint_position": [20_000, 99_999_999, *[0] * 5]},
        {"joint_speed": [math.nan] * 7},
        {"joint_speed": []},
    ],
)
def test_no_glide_leaves_for_joints_that_the_node_does_not_see(bench, wrong) -> None:
    assert glide(bench, lambda _: ("stop", {**SEEN, **wrong})) == {9: 1}
    assert bench.arm.goals == []


@pytest.mark.parametrize("degrees", [(50.0, *HERE[1:]), (*HERE[:6], math.nan)])
def test_no_glide_leaves_where_the_controller_answers_another_place(bench, degrees) -> None:
    bench.arm.joints = lambda: degrees
    assert glide(bench, lambda _: ("stop", SEEN)) == {9: 1}
    assert bench.arm.goals == []


@pytest.mark.parametrize("away", [0, 3000])
def test_a_glide_that_leaves_its_goal_is_stopped(bench, away) -> None:
    def joints(has_left):
        if not has_left:
            return "stop", SEEN
        position = [20_000, away, *[0] * 5]
        return "move_J" if away else "idle", {**SEEN, "joint_position": position}

    answers = glide(bench, joints)
    assert bench.arm.goals == [list(HERE)]
    assert answers[9] == bool(away)
    bench.controller.setblocking(False)
    sent = b""
    with contextlib.suppress(BlockingIOError):
        sent = bench.controller.recv(4096)
    assert sent == (SLOW_STOP if away else b"")


def test_a_first_target_is_no_step_from_joints_that_are_no_numbers(bench) -> None:
    bench.link.orders._pacer.forget()
    bench.say("idle", {**SEEN, "joint_position": [math.nan, *[0] * 6]})
    bench.target(degrees=120.0)
    bench.link.orders.turn()
    assert bench.arm.sent == []


def test_first_look_is_in_time() -> None:
    pacer = TargetPacer()
    assert pacer.lateness(1e6) == 0.0
    assert pacer.age(1e6) == 0.0
    assert math.isinf(pacer.step((1.0,), lambda: ()))
