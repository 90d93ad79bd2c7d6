"""Addresses that parallel test runs do not share, and a controller running in a thread."""

import itertools
import os
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest

from realman_driver.emulator.control import EmulatorControl
from realman_driver.emulator.plant import IdealPlant
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
    """A free loopback address, UDP port and control socket."""
    pid, number = os.getpid(), next(_counter)
    return ServerConfig(
        ip=f"127.{10 + pid % 200}.{1 + pid // 200 % 250}.{1 + number % 250}",
        udp_port=20000 + (pid * 17 + number) % 12000,
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
