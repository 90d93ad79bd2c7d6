"""A back end without an arm, and a driver that ticks when told."""

import dataclasses
import threading
import time

import numpy as np
import pytest

from arm_driver.driver import ArmDriver
from arm_driver.interface import ArmIdentity, ArmSample
from ate_core.contract import load_cell
from ate_core.errors import DeviceError

TICK = 0.01


class FakeBackend:
    """An arm that follows at once; every fault is an attribute to set."""

    def __init__(self, arm, clock) -> None:
        self.q = np.array(arm.home)
        self.velocity = np.zeros_like(self.q)
        self.clock = clock
        self.epoch_ns = time.time_ns() - time.monotonic_ns()
        """Added to the clock in stamps: wall time of its zero."""
        self.session, self.link_error = 1, ""
        self.known = ArmIdentity(name="fake", joints=len(arm.joint_names))
        self.fault = ""
        self.changes: dict = {}
        """Fields of the states that are not as they should be."""
        self.sent: list[np.ndarray] = []
        self.sent_at: list[float] = []
        self.stops: list[bool] = []
        """Whether each stop of the device was fast."""
        self.unconfirmed = 0
        """How many stops the device does not confirm."""
        self.settled = 0
        self.settles_after = 1
        self.refuses_clearing = self.fault_persists = self.silent = False
        self.may: dict[str, threading.Event] = {}
        """Calls that hang until their event is set, by name."""
        self.hanging = ""
        self.last: ArmSample | None = None

    def start(self) -> None: ...

    def close(self) -> None: ...

    def identity(self) -> ArmIdentity:
        return self.known

    def latest(self) -> ArmSample | None:
        if self.silent:
            return self.last
        now = self.clock()
        sample = ArmSample(
            sequence=1 + round(now / TICK),
            received=now,
            stamp_ns=self.epoch_ns + round(now * 1e9),
            position=self.q.copy(),
            velocity=self.velocity,
            effort=np.zeros_like(self.q),
            wrench=np.zeros(6),
            fault=self.fault,
        )
        self.velocity = np.zeros_like(self.q)
        self.last = dataclasses.replace(sample, **self.changes)
        return self.last

    def stream(self, q) -> bool:
        self.hang("stream")
        self.sent.append(q)
        self.sent_at.append(self.clock())
        self.velocity = (q - self.q) / TICK
        self.q = q.copy()
        return True

    def stop(self, *, fast: bool = False) -> bool:
        self.stops.append(fast)
        self.hang("stop")
        return len(self.stops) > self.unconfirmed

    def settle(self, q) -> bool:
        self.hang("settle")
        self.settled += 1
        return self.settled >= self.settles_after

    def health(self) -> dict[str, str]:
        return {}

    def clear_errors(self) -> None:
        self.hang("clear_errors")
        if self.refuses_clearing:
            raise DeviceError("the device refused")
        if not self.fault_persists:
            self.fault = ""

    def hang(self, call: str) -> None:
        if call in self.may:
            self.hanging = call
            assert self.may[call].wait(20.0)
            self.hanging = ""


class Bench:
    """One arm of a packaged cell, its driver and a clock; what is done aside is done at once."""

    def __init__(self, cell: str, **options) -> None:
        described = load_cell(cell or None)
        self.arm = described.arms["left"]
        self.now = 10.0
        self.backend = FakeBackend(self.arm, lambda: self.now)
        options = {"aside": lambda work: work(), **options}
        self.driver = ArmDriver(self.arm, described.safety, self.backend, **options)

    def run(self, ticks: int = 1, target=None):
        """Tick, with a command before each where a target is given; the last status."""
        for _ in range(ticks):
            self.now += TICK
            if target is not None:
                self.command(target)
            tick = self.driver.tick(self.now)
            self.tick = tick
        return tick.status

    def command(self, target, commander: str = "teleop"):
        return self.driver.command(
            self.arm.joint_names, list(target), commander, self.now, self.now
        )

    def wave(self, ticks: int, offset: float = 0.3):
        """Tick while a commander moves all joints smoothly away from where they are."""
        start = self.backend.q.copy()
        for step in range(ticks):
            share = 0.5 * (1 - np.cos(np.pi * (step + 1) / ticks))
            status = self.run(1, target=start + offset * share)
        return status

    def beside(self, call):
        """Result of a call that waits for the driver, which ticks meanwhile."""
        results: list = []
        thread = threading.Thread(target=lambda: results.append(call()))
        thread.start()
        while thread.is_alive():
            self.run()
            thread.join(0.002)
        return results[0]

    def clear(self) -> str:
        return self.beside(self.driver.clear_errors)

    def stopped(self, times: int) -> bool:
        """Whether the device was told to stop so many times, and not more, a moment later."""
        deadline = time.monotonic() + 5.0
        while len(self.backend.stops) < times and time.monotonic() < deadline:
            threading.Event().wait(0.002)
        return len(self.backend.stops) == times


@pytest.fixture
def fake_backend():
    return FakeBackend


@pytest.fixture
def make_bench():
    return Bench


@pytest.fixture(params=["", "six_axis"], ids=["seven joints", "six joints"])
def bench(request):
    return Bench(request.param)


class Rig:
    """Driver nodes of this process with fake arms, each run as its process would."""

    def __init__(self, fake) -> None:
        self._fake = fake
        self._ends = []

    def start(self, **parameters):
        """Start a driver of the left arm; its back end is `ArmNode._backend`."""
        from rclpy.executors import SingleThreadedExecutor
        from rclpy.parameter import Parameter

        from arm_driver.nodes.arm_node import ArmNode

        given = {"other_arm": "absent", "estop_node": "absent", **parameters}
        overrides = [Parameter(key, value=value) for key, value in given.items()]

        node = ArmNode(
            lambda arm, _: self._fake(arm, time.monotonic), parameter_overrides=overrides
        )
        executors = [SingleThreadedExecutor() for _ in (node, *node.companions)]
        threads = []
        for each, executor in zip((node, *node.companions), executors, strict=True):
            executor.add_node(each)
            threads.append(threading.Thread(target=executor.spin))
            threads[-1].start()
        self._ends.append((node, executors, threads))
        return node

    def close(self) -> None:
        for node, executors, threads in self._ends:
            node.halt()
            for executor, thread in zip(executors, threads, strict=True):
                executor.shutdown()
                thread.join()
            for each in (*node.companions, node):
                each.destroy_node()


@pytest.fixture
def rig(peer, fake_backend, monkeypatch):
    """A function that starts driver nodes, beside the peer that commands them."""
    hook = threading.excepthook
    made = Rig(fake_backend)
    yield made
    made.close()
    threading.excepthook = hook


@pytest.fixture
def node(rig, peer):
    started = rig.start()
    assert peer.reaches("connected")
    return started
