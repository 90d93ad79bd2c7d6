"""A back end without an arm, and a driver that ticks when told."""

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
        self.clock = clock
        self.session, self.link_error = 1, ""
        self.known = ArmIdentity(name="fake", joints=len(arm.joint_names))
        self.fault = ""
        self.sent: list[np.ndarray] = []
        self.stops = 0
        self.refuses_clearing = False

    def start(self) -> None: ...

    def close(self) -> None: ...

    def identity(self) -> ArmIdentity:
        return self.known

    def latest(self) -> ArmSample:
        now = self.clock()
        return ArmSample(
            sequence=round(now / TICK),
            received=now,
            stamp_ns=round(now * 1e9),
            position=self.q.copy(),
            velocity=np.zeros_like(self.q),
            effort=np.zeros_like(self.q),
            wrench=np.zeros(6),
            fault=self.fault,
        )

    def stream(self, q) -> bool:
        self.sent.append(q)
        self.q = q.copy()
        return True

    def stop(self, *, fast: bool = False) -> bool:
        self.stops += 1
        return True

    def settle(self, q) -> bool:
        return True

    def health(self) -> dict[str, str]:
        return {}

    def clear_errors(self) -> None:
        if self.refuses_clearing:
            raise DeviceError("the device refused")
        self.fault = ""


class Bench:
    """One arm of a packaged cell, its driver and a clock."""

    def __init__(self, cell: str) -> None:
        described = load_cell(cell or None)
        self.arm = described.arms["left"]
        self.now = 10.0
        self.backend = FakeBackend(self.arm, lambda: self.now)
        self.driver = ArmDriver(self.arm, described.safety, self.backend)

    def run(self, ticks: int = 1, target=None):
        """Tick, with a command before each where a target is given; the last status."""
        for _ in range(ticks):
            self.now += TICK
            if target is not None:
                self.command(target)
            tick = self.driver.tick(self.now)
        return tick.status

    def command(self, target):
        return self.driver.command(
            self.arm.joint_names, list(target), "teleop", self.now, self.now
        )


@pytest.fixture
def make_bench():
    return Bench


@pytest.fixture(params=["", "six_axis"], ids=["seven joints", "six joints"])
def bench(request):
    return Bench(request.param)
