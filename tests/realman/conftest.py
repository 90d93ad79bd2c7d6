"""Addresses that parallel test runs do not share, and a controller running in a thread."""

import dataclasses
import itertools
import os
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest

from arm_driver.driver import ArmDriver, DriverStatus
from arm_driver.plant import IdealPlant
from ate_core.contract import load_cell
from ate_core.devices import ArmConfig
from ate_core.lease import LEASE_SILENCE
from ate_core.loop import FixedRateLoop
from realman_driver.client import ArmClient
from realman_driver.emulator.control import EmulatorControl
from realman_driver.emulator.server import ControllerServer, ServerConfig

START = np.array([0.0, -0.35, 0.0, 2.0, 0.0, 1.4916, 0.0])
"""Joints at which the emulated arms of the tests stand [rad]."""
_counter = itertools.count(1)


@dataclass(frozen=True)
class RunningController:
    """An emulated controller in a thread of the test."""

    config: ServerConfig
    control: EmulatorControl


@pytest.fixture
def address(tmp_path: Path) -> ServerConfig:
    """A free loopback address and control socket.

    All tests of one process share a UDP port: the SDK binds at most five and keeps them.
    """
    pid, number = os.getpid(), next(_counter)
    return ServerConfig(
        ip=f"127.{10 + pid % 200}.{1 + pid // 200 % 250}.{1 + number % 250}",
        udp_port=20000 + pid % 12000,
        control_path=tmp_path / "arm.control",
    )


@pytest.fixture
def controller(address: ServerConfig) -> Iterator[RunningController]:
    """An emulated controller with an ideal arm, running."""
    server = ControllerServer(address, IdealPlant(START))
    thread = threading.Thread(target=server.run)
    thread.start()
    assert address.control_path is not None
    with EmulatorControl(address.control_path) as control:
        control.wait_until_up(deadline_s=5.0)
        yield RunningController(address, control)
    server.stop()
    thread.join(5.0)
    assert not thread.is_alive()


class Rig:
    """The driver of one arm, ticking at 100 Hz in a thread, with a trace of what it did."""

    def __init__(self, config: ArmConfig) -> None:
        self.config = config
        self.client = ArmClient(config)
        self.driver = ArmDriver(config, load_cell(None, "sim").safety, self.client)
        self.sent: list[tuple[float, np.ndarray]] = []
        self.states: list[tuple[float, str]] = []
        self.ticks: list[float] = []
        self.received: list[float] = []
        self.status: DriverStatus | None = None
        self.last_accepted = 0.0
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run)
        self.client.start()
        self._thread.start()

    def command(self, q: np.ndarray, commander: str = "teleop", age: float = 0.0) -> str:
        """Submit a command now; why it was refused, or an empty text."""
        now = time.monotonic()
        verdict = self.driver.command(
            self.config.joint_names, q.tolist(), commander, now - age, now
        )
        if verdict.accepted:
            self.last_accepted = now
        return verdict.reason

    def drive(self, path: Callable[[float], np.ndarray], seconds: float) -> list[str]:
        """Command a path at 50 Hz for a while; the refusals."""
        refusals, begin = [], time.monotonic()
        for _ in FixedRateLoop(50.0, threading.Event()):
            elapsed = time.monotonic() - begin
            if elapsed > seconds:
                return refusals
            refusals.append(self.command(path(elapsed)))
        return refusals

    def be_silent(self) -> None:
        """Send nothing for as long as a commander must that went on through a stop."""
        begin = time.monotonic()
        assert self.wait_for(lambda: time.monotonic() > begin + LEASE_SILENCE + 0.1)

    def wait_for(self, condition: Callable[[], bool], seconds: float = 5.0) -> bool:
        """Poll until true or until the deadline; the result says which."""
        deadline = time.monotonic() + seconds
        while not condition():
            if time.monotonic() > deadline:
                return False
            time.sleep(0.005)
        return True

    def wait_for_state(self, state: str, seconds: float = 5.0) -> bool:
        """Wait until the driver reports a state."""
        return self.wait_for(
            lambda: self.status is not None and self.status.state == state, seconds
        )

    def close(self) -> None:
        """Stop as the node does."""
        self._stop.set()
        self._thread.join()
        self.client.close()

    def _run(self) -> None:
        for _ in FixedRateLoop(100.0, self._stop):
            now = time.monotonic()
            tick = self.driver.tick(now)
            self.ticks.append(now)
            if tick.sample is not None:
                self.received.append(tick.sample.received)
            if tick.target is not None:
                self.sent.append((now, tick.target))
            if self.status is None or tick.status.state != self.status.state:
                self.states.append((now, tick.status.state))
            self.status = tick.status


def arm_config(address: ServerConfig) -> ArmConfig:
    """The packaged left arm at the address of a test."""
    arm = load_cell(None, "sim").arms["left"]
    return dataclasses.replace(arm, ip=address.ip, udp_port=address.udp_port)


@pytest.fixture
def make_rig() -> Iterator[Callable[[ArmConfig], Rig]]:
    """Builds drivers and closes them at the end."""
    pytest.importorskip("Robotic_Arm")
    rigs: list[Rig] = []

    def make(config: ArmConfig) -> Rig:
        rigs.append(Rig(config))
        return rigs[-1]

    yield make
    for rig in rigs:
        rig.close()


@pytest.fixture
def rig(controller: RunningController, make_rig: Callable[[ArmConfig], Rig]) -> Rig:
    """Driver and emulated controller, connected."""
    rig = make_rig(arm_config(controller.config))
    assert rig.wait_for_state("connected")
    return rig
