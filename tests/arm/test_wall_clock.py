"""A wall clock that is set moves no arm: commands are aged by it, and nothing else is."""

import dataclasses
from types import SimpleNamespace

import numpy as np
import pytest

pytest.importorskip("rclpy")
pytestmark = pytest.mark.ros

from rclpy.time import Time  # noqa: E402
from sensor_msgs.msg import JointState  # noqa: E402

from arm_driver.nodes import arm_node  # noqa: E402
from ate_core.contract import load_cell  # noqa: E402
from ate_core.nodes.command_source import CommandSources  # noqa: E402

TRANSIT = 0.004
"""From stamp to receipt of a command [s]."""
SECONDS = 3.0
HOUR = 3600.0


class Cell:
    """Commands at 50 Hz through the node's own callback; the wall clock is set on the way."""

    def __init__(self, bench, monkeypatch, set_at: float, by: float) -> None:
        bench.run(2)
        self.bench, self.set_at, self.by = bench, bench.now + set_at, by
        self.refusals: list[str] = []
        self.states: list[str] = []
        self.sent: list[np.ndarray] = []
        self.number = 0
        measured = bench.backend.latest
        bench.backend.latest = lambda: dataclasses.replace(
            measured(), stamp_ns=self.wall_ns(bench.now)
        )
        clock = SimpleNamespace(now=lambda: Time(nanoseconds=self.wall_ns(bench.now)))
        self.node = SimpleNamespace(
            get_clock=lambda: clock,
            is_active=False,
            _cell=load_cell(),
            _driver=bench.driver,
            _made_ns={},
            _follower=SimpleNamespace(cancel=lambda _: None),
            _reports=SimpleNamespace(
                commands=0, refused=lambda reason, _: self.refusals.append(reason)
            ),
            _sources=CommandSources(lambda: ["a"]),
        )
        monotonic = SimpleNamespace(monotonic_ns=lambda: round(1e9 * bench.now))
        monkeypatch.setattr(arm_node, "time", monotonic)

    def wall_ns(self, at: float) -> int:
        """The wall clock at a monotonic time [ns]."""
        return round((1.7e9 + at + (self.by if at >= self.set_at else 0.0)) * 1e9)

    def run(self) -> None:
        """Swing two joints to and fro."""
        begin, home = self.bench.now, self.bench.backend.q.copy()
        for tick in range(round(SECONDS / 0.01)):
            if tick % 2 == 0:
                phase = 2.0 * np.pi * (self.bench.now - begin) / SECONDS
                target = home.copy()
                target[[0, -1]] += 0.2 * (1.0 - np.cos(phase))
                arm_node.ArmNode._take_command(self.node, *self.message(target))
            self.states.append(self.bench.run(1).state)
            self.sent.append(self.bench.backend.q.copy())

    def message(self, target: np.ndarray) -> tuple[JointState, dict[str, int]]:
        """A command, and what the middleware says of it."""
        made = self.wall_ns(self.bench.now - TRANSIT)
        message = JointState(name=list(self.bench.arm.joint_names), position=target.tolist())
        message.header.frame_id = "teleop#12345678"
        message.header.stamp = Time(nanoseconds=made).to_msg()
        self.number += 1
        return message, {"publication_sequence_number": self.number, "source_timestamp": made}


@pytest.mark.parametrize("by", [HOUR, -HOUR, 0.3, -0.3])
@pytest.mark.parametrize("set_at", [1.0 - TRANSIT / 2, 1.003], ids=["in flight", "between"])
def test_a_wall_clock_that_is_set_costs_at_most_one_command(
    make_bench, monkeypatch, by, set_at
) -> None:
    calm = Cell(make_bench(""), monkeypatch, set_at=np.inf, by=0.0)
    calm.run()
    cell = Cell(make_bench(""), monkeypatch, set_at, by)
    cell.run()
    assert not calm.refusals
    assert len(cell.refusals) == (set_at < 1.0)
    assert all("stamp is" in reason for reason in cell.refusals)
    assert set(cell.states) == {"tracking"}
    sent, undisturbed = np.array(cell.sent), np.array(calm.sent)
    fastest = 0.2 * 2.0 * np.pi / SECONDS
    assert np.abs(sent - undisturbed).max() < 2.0 * 0.02 * fastest  # two periods of a command
    speed = np.diff(sent, axis=0) / 0.01
    safety = load_cell().safety
    assert np.abs(speed).max() < safety.max_joint_speed
    assert np.abs(np.diff(speed, axis=0) / 0.01).max() < 1.001 * safety.max_joint_acceleration


@pytest.mark.parametrize("by", [HOUR, -HOUR])
def test_stamps_of_a_clock_that_is_an_hour_off_are_refused_and_the_arm_holds(
    make_bench, monkeypatch, by
) -> None:
    """A commander on another machine whose clock is not ours: the arm brakes and stays."""
    cell = Cell(make_bench(""), monkeypatch, set_at=np.inf, by=0.0)
    cell.run()
    here = cell.bench.backend.q.copy()
    own_clock = cell.wall_ns
    for _ in range(40):
        monkeypatch.setattr(cell, "wall_ns", lambda at: own_clock(at) + round(by * 1e9))
        message = cell.message(here + 0.1)
        monkeypatch.setattr(cell, "wall_ns", own_clock)
        arm_node.ArmNode._take_command(cell.node, *message)
        state = cell.bench.run(2).state
    assert state in ("holding", "connected")
    assert len(cell.refusals) == 40
    assert np.abs(cell.bench.backend.q - here).max() < 0.01
