"""Time a target from the driver's call to the controller, beside the bare SDK in one process.

    python benchmarks/command_path.py --seconds 10

An emulated controller notes when each streamed target arrives. Targets go to it through
`ArmClient.stream` (a packet to the link process, which calls the SDK), and, in a run after it,
through `rm_movej_canfd` called directly; both at 100 Hz on the same machine, as the driver's loop
calls them. Printed are the time of the call and the time to arrival, and their ratio.
"""

import dataclasses
import logging
import multiprocessing
import tempfile
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import tyro

from arm_driver.plant import IdealPlant
from ate_core.contract import load_cell
from ate_core.devices import ArmConfig
from ate_core.loop import FixedRateLoop
from ate_core.priority import CONTROL, set_niceness
from realman_driver.client import ArmClient
from realman_driver.emulator.commands import CommandTable
from realman_driver.emulator.control import EmulatorControl
from realman_driver.emulator.server import ControllerServer, ServerConfig
from realman_driver.protocol import joints_to_degrees

STEP = np.radians(1e-3)
"""Joint 1 of two targets in a row differs by one unit of the wire, which tells them apart."""
WAYS = ("link process", "bare SDK")


@dataclass(frozen=True, kw_only=True)
class BenchmarkConfig:
    """Time targets two ways."""

    seconds: float = 10.0
    """How long each way [s]."""
    ip: str = "127.78.0.1"
    """Address of the emulated controller."""
    udp_port: int = 24100
    """Port of its state push."""


@dataclass(frozen=True, kw_only=True)
class Timing:
    """One way."""

    call: np.ndarray
    """Durations of the calls [s]."""
    arrival: np.ndarray
    """From the call to the target at the controller [s]."""


def main(config: BenchmarkConfig) -> int:
    """Print both ways and their ratio."""
    logging.disable(logging.WARNING)
    timings = {way: measure(config, way) for way in WAYS}
    for way, timing in timings.items():
        print(
            f"{way:12}  call {_words(timing.call)}   to the controller {_words(timing.arrival)}"
            f"   {len(timing.arrival)} targets"
        )
    link, bare = (timings[way].arrival for way in WAYS)
    median, p99 = np.percentile(link, [50, 99]) / np.percentile(bare, [50, 99])
    print(f"to the controller, link process / bare SDK: median {median:.2f}, p99 {p99:.2f}")
    return 0


def measure(config: BenchmarkConfig, way: str) -> Timing:
    """Stream targets one way, each to a controller of its own."""
    arm = dataclasses.replace(
        load_cell(None, "sim").arms["left"], ip=config.ip, udp_port=config.udp_port
    )
    spawn = multiprocessing.get_context("spawn")
    with tempfile.TemporaryDirectory(prefix="ate-") as folder:
        path = Path(folder) / "control"
        ended, seen, sent = spawn.Event(), spawn.Queue(), spawn.Queue()
        controller = spawn.Process(target=serve, args=(arm, path, ended, seen), daemon=True)
        controller.start()
        EmulatorControl(path).wait_until_up(20.0)
        client = spawn.Process(target=stream, args=(arm, way, config.seconds, sent), daemon=True)
        client.start()
        calls: dict[int, tuple[float, float]] = sent.get(timeout=config.seconds + 60.0)
        ended.set()
        arrivals: dict[int, float] = seen.get(timeout=20.0)
        for process in (client, controller):
            process.join(10.0)
    known = [key for key in calls if key in arrivals]
    return Timing(
        call=np.array([calls[key][1] - calls[key][0] for key in known]),
        arrival=np.array([arrivals[key] - calls[key][0] for key in known]),
    )


def serve(arm: ArmConfig, path: Path, ended: Any, seen: Any) -> None:
    """An emulated controller that notes when targets arrive."""
    set_niceness(CONTROL)
    arrivals: dict[int, float] = {}

    class Table(CommandTable):  # the one place where every target passes
        def answer(self, message: dict[str, Any], now: float) -> dict[str, Any] | None:
            if message.get("command") == "movej_canfd":
                arrivals.setdefault(message["joint"][0], time.monotonic())
            return super().answer(message, now)

    config = ServerConfig(ip=arm.ip, udp_port=arm.udp_port, control_path=path)
    server = ControllerServer(config, IdealPlant(np.array(arm.home)), make_table=Table)
    threading.Thread(target=lambda: (ended.wait(), server.stop()), daemon=True).start()
    server.run()
    seen.put(arrivals)


def stream(arm: ArmConfig, way: str, seconds: float, sent: Any) -> None:
    """Stream targets at 100 Hz and tell when each call began and ended."""
    set_niceness(CONTROL)
    client = ArmClient(arm)
    send = _through_link(client) if way == WAYS[0] else _through_sdk(arm)
    calls: dict[int, tuple[float, float]] = {}
    home = np.array(arm.home)
    for number, _ in enumerate(FixedRateLoop(100.0, threading.Event()), 1):
        if number > 100.0 * seconds:
            break
        target = home + number * STEP * np.eye(len(home))[0]
        begin = time.monotonic()
        send(target)
        calls[round(np.degrees(target[0]) * 1000.0)] = begin, time.monotonic()
    sent.put(calls)
    if way == WAYS[0]:
        client.close()


def _through_link(client: ArmClient) -> Callable[[np.ndarray], object]:
    client.start()
    while client.session == 0 or client.latest() is None:
        time.sleep(0.01)

    def send(target: np.ndarray) -> object:
        # As a driver does: a target that knows of no stop by the link would be refused.
        return client.session and client.stream(target)

    return send


def _through_sdk(arm: ArmConfig) -> Callable[[np.ndarray], object]:
    from Robotic_Arm import rm_robot_interface as sdk

    robot = sdk.RoboticArm(sdk.rm_thread_mode_e.RM_TRIPLE_MODE_E)
    if robot.rm_create_robot_arm(arm.ip, arm.tcp_port, 4).id == -1:
        raise SystemExit("the SDK did not connect")
    return lambda target: robot.rm_movej_canfd(joints_to_degrees(target), True)


def _words(times: np.ndarray) -> str:
    median, p99 = np.percentile(times * 1e6, [50, 99])
    return f"median {median:6.0f} us, p99 {p99:6.0f} us"


if __name__ == "__main__":
    raise SystemExit(main(tyro.cli(BenchmarkConfig, description=__doc__)))
