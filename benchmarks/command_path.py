"""Time a command on its way to the controller, beside the bare SDK in one process.

    python -m benchmarks.command_path --seconds 10

An emulated controller notes when each streamed target arrives. Three ways lead there, one after
the other on the same machine:

- a message on ``arm/joint_command``, through the driver's node: safety filter, next tick of its
  100 Hz, link process, SDK. Timed is from its publication to the first target, after a silence in
  which none is sent, and to the first that moves, when the commander of a resting arm tells of
  another place: there the filter adds the delay with which it takes out the jitter of messages;
- `ArmClient.stream` at 100 Hz: a packet to the link process, which calls the SDK;
- `rm_movej_canfd` at 100 Hz, called directly.

Printed are the time of the call and the time to arrival, and their ratios to the last.
"""

import contextlib
import dataclasses
import json
import logging
import multiprocessing
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import tyro
import yaml

from arm_driver.plant import IdealPlant
from ate_core.contract import load_cell, packaged_cell
from ate_core.devices import ArmConfig
from ate_core.loop import FixedRateLoop
from ate_core.priority import CONTROL, set_niceness
from realman_driver.client import ArmClient
from realman_driver.emulator.commands import CommandTable
from realman_driver.emulator.control import EmulatorControl
from realman_driver.emulator.server import ControllerServer, ServerConfig
from realman_driver.protocol import joints_to_degrees

from .live_cell import own_surroundings

STEP = np.radians(1e-3)
"""Joint 1 of two targets in a row differs by one unit of the wire, which tells them apart."""
WAYS = ("link process", "bare SDK")
MOVE = 0.002
"""How far a message tells joint 1 to go [rad]: far enough for the first target to show it."""
MESSAGE_RATE = 90.0
"""Messages per second [Hz]: their phase in the ticks of the node must not stay the same."""
CYCLE, SPOKEN, MOVED = 91, 30, 15
"""Messages in a cycle, of these sent, and sent before the place changes: two thirds of a second of
silence, after which the filter sends nothing, and the arm rests before it moves."""
START_TIMEOUT = 60.0
"""Longest wait for a node, a link or a controller on a busy machine [s]."""


@dataclass(frozen=True, kw_only=True)
class BenchmarkConfig:
    """Time targets three ways."""

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
    """Print all ways and their ratios."""
    logging.disable(logging.WARNING)
    timings = {way: measure(config, way) for way in WAYS}
    first, moving = measure_node(config)
    print(f"{'node':12}  from the message to the first target {_words(first)}, to the first that "
          f"moves {_words(moving)}   {len(first)} and {len(moving)} messages")  # fmt: skip
    for way, timing in timings.items():
        print(
            f"{way:12}  call {_words(timing.call)}   to the controller {_words(timing.arrival)}"
            f"   {len(timing.arrival)} targets"
        )
    bare = timings["bare SDK"].arrival
    for way, arrival in (
        ("node", first),
        ("link process", timings["link process"].arrival),
    ):
        median, p99 = np.percentile(arrival, [50, 99]) / np.percentile(bare, [50, 99])
        print(f"to the controller, {way} / bare SDK: median {median:.2f}, p99 {p99:.2f}")
    return 0


def measure(config: BenchmarkConfig, way: str) -> Timing:
    """Stream targets one way, to a controller of its own."""
    arm = _arm(config)
    with _controller(arm) as frames:
        calls = _in_process(stream, arm, way, config.seconds, timeout=config.seconds)
    arrivals: dict[int, float] = {}
    for arrived, joint in frames:
        arrivals.setdefault(joint, arrived)
    known = [key for key in calls if key in arrivals]
    return Timing(
        call=np.array([calls[key][1] - calls[key][0] for key in known]),
        arrival=np.array([arrivals[key] - calls[key][0] for key in known]),
    )


def measure_node(config: BenchmarkConfig) -> tuple[np.ndarray, np.ndarray]:
    """Times from a message to the first target, and to the first that moves (n,) [s]."""
    arm = _arm(config)
    with own_surroundings() as folder:
        values = yaml.safe_load(packaged_cell().read_text())
        values["simulation"]["arms"]["left"] = {"ip": arm.ip, "udp_port": arm.udp_port}
        cell = folder / "cell.yaml"
        cell.write_text(yaml.safe_dump(values))
        words = [
            f"cell:={cell}",
            "hardware:=sim",
            "arm:=left",
            "other_arm:=absent",
            "estop_node:=absent",
        ]
        with _controller(arm) as frames:
            node = subprocess.Popen(
                [sys.executable, "-m", "realman_driver.nodes.driver_node", "--ros-args"]
                + [word for parameter in words for word in ("-p", parameter)],
                stderr=subprocess.DEVNULL,
            )
            try:
                spoke, moved = _in_process(publish, arm, config.seconds, timeout=config.seconds)
            finally:
                node.terminate()
                node.wait(10.0)
    times, places = np.array(frames).T
    moves = times[1:][np.diff(places) != 0.0]
    return _waits(spoke, times), _waits(moved, moves)


def _waits(begins: list[float], events: np.ndarray) -> np.ndarray:
    """From each of some times to the next event after it (n,) [s]."""
    nexts = np.searchsorted(events, begins)
    return np.array(
        [events[at] - t for t, at in zip(begins, nexts, strict=True) if at < len(events)]
    )


def _arm(config: BenchmarkConfig) -> ArmConfig:
    arm = load_cell(None, "sim").arms["left"]
    return dataclasses.replace(arm, ip=config.ip, udp_port=config.udp_port)


@contextlib.contextmanager
def _controller(arm: ArmConfig) -> Iterator[list[tuple[float, int]]]:
    """An emulated controller in a process; what came is in the list when it has ended."""
    spawn = multiprocessing.get_context("spawn")
    frames: list[tuple[float, int]] = []
    with own_surroundings() as folder:
        path = folder / "control"
        ended, seen = spawn.Event(), spawn.Queue()
        process = spawn.Process(target=serve, args=(arm, path, ended, seen), daemon=True)
        process.start()
        EmulatorControl(path).wait_until_up(START_TIMEOUT)
        yield frames
        ended.set()
        frames += seen.get(timeout=START_TIMEOUT)
        process.join(10.0)


def _in_process(work: Callable[..., None], *arguments: Any, timeout: float) -> Any:
    """What a function puts into a queue, in a process of its own."""
    spawn = multiprocessing.get_context("spawn")
    sent = spawn.Queue()
    process = spawn.Process(target=work, args=(*arguments, sent), daemon=True)
    process.start()
    result = sent.get(timeout=timeout + START_TIMEOUT)
    process.join(10.0)
    return result


def serve(arm: ArmConfig, path: Path, ended: Any, seen: Any) -> None:
    """An emulated controller that notes when targets arrive, and joint 1 in units of the wire."""
    set_niceness(CONTROL)
    arrivals: list[tuple[float, int]] = []

    class Table(CommandTable):  # the one place where every target passes
        def answer(self, message: dict[str, Any], now: float) -> dict[str, Any] | None:
            if message.get("command") == "movej_canfd":
                arrivals.append((time.monotonic(), message["joint"][0]))
            return super().answer(message, now)

    config = ServerConfig(ip=arm.ip, udp_port=arm.udp_port, control_path=path)
    server = ControllerServer(config, IdealPlant(np.array(arm.home)), make_table=Table)
    threading.Thread(target=lambda: (ended.wait(), server.stop()), daemon=True).start()
    server.run()
    seen.put(arrivals)


def publish(arm: ArmConfig, seconds: float, sent: Any) -> None:
    """Command the node's arm in cycles; puts when speech began, and when the place changed."""
    import rclpy
    from sensor_msgs.msg import JointState
    from std_msgs.msg import String

    from ate_core.nodes.qos import COMMAND_QOS, LATCHED_QOS
    from ate_core.nodes.transport import use_sockets

    set_niceness(CONTROL)
    use_sockets()
    rclpy.init()
    node = rclpy.create_node("command_path")
    states: list[str] = []
    node.create_subscription(
        String,
        "/left/arm/status",
        lambda m: states.append(json.loads(m.data)["state"]),
        LATCHED_QOS,
    )
    publisher = node.create_publisher(JointState, "/left/arm/joint_command", COMMAND_QOS)
    while "connected" not in states:
        rclpy.spin_once(node)
    home, place = np.array(arm.home), False
    spoke: list[float] = []
    moved: list[float] = []
    message = JointState(name=list(arm.joint_names))
    message.header.frame_id = "teleop#c0ffee01"
    for number, _ in enumerate(FixedRateLoop(MESSAGE_RATE, threading.Event())):
        if number > MESSAGE_RATE * seconds:
            break
        part = number % CYCLE - (CYCLE - SPOKEN)
        if part < 0:
            continue
        place ^= part == MOVED
        message.position = (home + place * MOVE * np.eye(len(home))[0]).tolist()
        begin = time.monotonic()
        message.header.stamp = node.get_clock().now().to_msg()
        publisher.publish(message)
        if part in (0, MOVED):
            (moved if part else spoke).append(begin)
    sent.put((spoke, moved))
    node.destroy_node()
    rclpy.shutdown()


def stream(arm: ArmConfig, way: str, seconds: float, sent: Any) -> None:
    """Stream targets at 100 Hz; puts when each call began and ended."""
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
