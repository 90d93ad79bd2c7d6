"""Reset the TCP links of emulated arm controllers, again and again, under running drivers.

    python benchmarks/link_resets.py --drivers 4 --resets 500

Every driver streams its arm at 100 Hz while its controller resets the connection at a random
moment. Printed are the resets survived and how long it took from a reset to a fresh state over a
new link. A driver that is not back within the limit ends the run with exit code 1.
"""

import dataclasses
import logging
import multiprocessing
import random
import tempfile
import threading
import time
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import tyro

from arm_driver.plant import IdealPlant
from ate_core.contract import load_cell
from ate_core.devices import ArmConfig
from ate_core.loop import FixedRateLoop
from realman_driver.client import ArmClient
from realman_driver.emulator.control import EmulatorControl
from realman_driver.emulator.server import ControllerServer, ServerConfig


@dataclass(frozen=True, kw_only=True)
class BenchmarkConfig:
    """Resets under load."""

    drivers: int = 4
    """Drivers at once, each with a controller of its own."""
    resets: int = 500
    """Resets of all drivers together."""
    limit: float = 5.0
    """A driver must be back within this time [s]."""
    first_port: int = 24000
    """UDP port of the first driver."""
    network: str = "127.77.0"
    """Loopback addresses of the controllers begin with it."""
    seed: int = 0
    """Of the moments of the resets."""


@dataclass(kw_only=True)
class Driver:
    """One driver and what happened to it."""

    arm: ArmConfig
    """Where its controller is."""
    control: EmulatorControl
    """Switches the resets on."""
    times: list[float] = field(default_factory=list)
    """From each reset to a fresh state [s]."""
    lost: str = ""
    """Why it did not come back."""
    health: dict[str, str] = field(default_factory=dict)
    """Of its client, at the end."""


def main(config: BenchmarkConfig) -> int:
    """Run and print; 1 when a driver did not come back."""
    logging.disable(logging.WARNING)
    drivers = measure(config)
    for driver in drivers:
        processes = driver.health.get("link processes started", "?")
        print(f"{driver.arm.ip}: {len(driver.times)} resets, {processes} link processes", end="")
        print(f", LOST: {driver.lost}" if driver.lost else "")
    times = np.array([t for driver in drivers for t in driver.times])
    quantiles = np.percentile(times, [50, 90, 99, 100])
    print(
        "from reset to a fresh state: median {:.2f} s, p90 {:.2f} s, p99 {:.2f} s, "
        "longest {:.2f} s".format(*quantiles)
    )
    print(f"{len(times)} of {config.resets} resets survived")
    return int(any(driver.lost for driver in drivers))


def measure(config: BenchmarkConfig) -> list[Driver]:
    """Start controllers and drivers, and reset them."""
    cell = load_cell(None, "sim").arms["left"]
    with tempfile.TemporaryDirectory(prefix="ate-") as folder:
        drivers, processes = [], []
        for number in range(config.drivers):
            arm = dataclasses.replace(
                cell, ip=f"{config.network}.{number + 1}", udp_port=config.first_port + number
            )
            path = Path(folder) / f"{number}"
            server = ServerConfig(ip=arm.ip, udp_port=arm.udp_port, control_path=path)
            process = multiprocessing.get_context("spawn").Process(
                target=serve, args=(server, cell.home), daemon=True
            )
            process.start()
            processes.append(process)
            drivers.append(Driver(arm=arm, control=EmulatorControl(path)))
        threads = [
            threading.Thread(target=run_driver, args=(driver, number, config))
            for number, driver in enumerate(drivers)
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        for process in processes:
            process.terminate()
            process.join()
    return drivers


def serve(config: ServerConfig, home: tuple[float, ...]) -> None:
    """One emulated controller."""
    ControllerServer(config, IdealPlant(np.array(home))).run()


def run_driver(driver: Driver, number: int, config: BenchmarkConfig) -> None:
    """Drive one arm through its share of the resets."""
    chance = random.Random(config.seed * 1000 + number)
    share = config.resets // config.drivers + (number < config.resets % config.drivers)
    driver.control.wait_until_up(20.0)
    client = ArmClient(driver.arm)
    client.start()
    try:
        if not _drive_until(client, lambda: True, 20.0, need_state=True):
            driver.lost = f"never linked: {client.link_error}"
        while len(driver.times) < share and not driver.lost:
            calm = time.monotonic() + chance.uniform(0.05, 0.4)
            _drive_until(client, lambda calm=calm: time.monotonic() > calm, 1.0)
            session, begin = client.session, time.monotonic()
            driver.control.fault("reset")
            back = _drive_until(
                client,
                lambda session=session: client.session > session,
                config.limit,
                need_state=True,
            )
            if back:
                driver.times.append(time.monotonic() - begin)
            else:
                driver.lost = f"not back within {config.limit:g} s: {client.link_error}"
    finally:
        driver.health = client.health()
        client.close()


def _drive_until(client: ArmClient, condition, seconds: float, need_state: bool = False) -> bool:
    """Stream the measured posture at 100 Hz until a condition holds; False when it does not."""
    deadline = time.monotonic() + seconds
    for _ in FixedRateLoop(100.0, threading.Event()):
        now, session, sample = time.monotonic(), client.session, client.latest()
        linked = session > 0 and not client.link_error
        fresh = linked and sample is not None and now - sample.received < 0.1
        if fresh:
            client.stream(sample.position)
        if condition() and (fresh or not need_state):
            return True
        if now > deadline:
            return False
    return False


if __name__ == "__main__":
    raise SystemExit(main(tyro.cli(BenchmarkConfig, description=__doc__)))
