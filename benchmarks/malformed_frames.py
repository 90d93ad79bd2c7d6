"""Give malformed frames to everything of the RealMan driver that reads what others send.

    python benchmarks/malformed_frames.py --frames 100000

Sound frames are spoilt at random (bytes, numbers, types, brackets, lengths) and read as state
packets, as records between node and link process, both ways, and as lines and control requests of
a running emulated controller. A reader may refuse a frame in its own words; anything else it
raises, a joint that is not finite without a doubt, or a controller that does not serve its client
afterwards, ends the run with exit code 1. Readers run in turns; --frames is their sum.
"""

import json
import logging
import math
import random
import select
import socket
import tempfile
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import tyro

from arm_driver.plant import IdealPlant, Measurement
from realman_driver import records
from realman_driver.emulator import wire
from realman_driver.emulator.control import EmulatorControl
from realman_driver.emulator.server import ControllerServer, ServerConfig
from realman_driver.protocol import sample_from_push
from realman_driver.push import PushError, read_push
from realman_driver.records import Identity, Pulse, RecordError

JOINTS = 7
HOME = np.array([0.0, -0.35, 0.0, 2.0, 0.0, 1.4916, 0.0])
VALUES: tuple[object, ...] = (
    math.inf, -math.inf, math.nan, 1e308, -1e308, 10**400, -1, 0, 2**31, 2**63, 1.5, True, None,
    "", "0x1001", "\ud800", "\0", "x" * 3000, [], {}, [[]], [0] * 6, [0] * 8, [None] * 7,
    ["1"] * 7, [math.nan] * 7, [10**30] * 7, [[0] * 7] * 7, {"a": []},
)  # fmt: skip
"""In the place of any value."""
COMMANDS: tuple[dict[str, object], ...] = (
    {"command": "movej", "v": 20, "joint": [0] * 7, "trajectory_connect": 0, "r": 0},
    {"command": "movej_canfd", "joint": [0, -20000, 0, 114000, 0, 85000, 0], "follow": True},
    {"command": "set_realtime_push", "enable": True, "cycle": 1, "port": 9, "ip": "127.0.0.1",
     "force_coordinate": 0, "custom": {}},
    {"command": "set_manual_tool_frame", "tool_name": "a", "payload": 1, "position": [0] * 3,
     "tool_pose": [0] * 6},
    {"command": "update_tool_frame", "tool_name": "a", "payload": 1, "position": [0] * 3,
     "tool_pose": [0] * 6},
    {"command": "set_change_tool_frame", "tool_name": "a"},
    {"command": "set_joint_en_state", "joint_en_state": [1, 1]},
    {"command": "set_joint_clear_err", "joint_clear_err": 1},
    {"command": "set_collision_stage", "collision_stage": 1},
    {"command": "set_arm_power", "arm_power": 1},
    {"command": "get_arm_all_state"}, {"command": "get_force_data"},
    {"command": "get_current_tool_frame"}, {"command": "clear_system_err"},
    {"command": "set_arm_stop"}, {"command": "get_realtime_push"},
)  # fmt: skip
REQUESTS: tuple[dict[str, object], ...] = (
    {"command": "status"}, {"command": "trace"},
    {"command": "fault", "name": "field", "field": "err", "value": 1, "count": 3, "seconds": 0.01},
    {"command": "fault", "name": "slow", "seconds": 0.001, "delay": 0.001},
    {"command": "fault", "name": "joint_error", "joint": 1, "code": 64},
    {"command": "fault", "name": "identity", "field": "firmware", "value": "V1.7.0"},
    {"command": "fault", "name": "tool", "payload": 1, "length": 1},
)  # fmt: skip


@dataclass(frozen=True, kw_only=True)
class BenchmarkConfig:
    """How many frames."""

    frames: int = 100_000
    """Of all readers together."""
    seed: int = 0
    """Of what is spoilt."""
    ip: str = "127.79.0.1"
    """Address of the emulated controller."""


def main(config: BenchmarkConfig) -> int:
    """Run, and print what was read; 1 when something broke."""
    logging.disable(logging.CRITICAL)
    begin = time.monotonic()
    counts, broken = run(config)
    for name, count in counts.items():
        print(f"{name:24} {count:7d} frames")
    for what in broken:
        print(f"BROKEN: {what}")
    print(f"{sum(counts.values())} malformed frames in {time.monotonic() - begin:.0f} s")
    return int(bool(broken))


def run(config: BenchmarkConfig) -> tuple[dict[str, int], list[str]]:
    """Frames by reader, and what broke."""
    chance = random.Random(config.seed)
    readers: dict[str, tuple[float, Callable[[random.Random], None]]] = {
        "state packets": (0.35, read_state_packet),
        "orders to the link": (0.15, read_order),
        "reports of the link": (0.15, read_report),
    }
    counts, broken = {}, []
    for name, (share, read) in readers.items():
        counts[name] = round(share * config.frames)
        for _ in range(counts[name]):
            try:
                read(chance)
            except Exception as error:  # what this program looks for
                broken.append(f"{name}: {error!r}"[:300])
                break
    for name, share, send in (
        ("lines to the controller", 0.3, send_lines),
        ("control requests", 0.05, send_requests),
    ):
        counts[name] = round(share * config.frames)
        problem = with_controller(config, lambda *a, n=counts[name], f=send: f(chance, n, *a))
        broken += [f"{name}: {problem}"] if problem else []
    return counts, broken


# --- frames ------------------------------------------------------------------------------


def spoil(chance: random.Random, message: Any) -> Any:
    """A message with one value, somewhere in it, replaced by one that makes no sense there."""
    if isinstance(message, dict) and message and chance.random() < 0.9:
        name = chance.choice(list(message))
        if chance.random() < 0.15:
            return {key: value for key, value in message.items() if key != name}
        return message | {name: spoil(chance, message[name])}
    if isinstance(message, list) and message and chance.random() < 0.5:
        place = chance.randrange(len(message))
        return [*message[:place], spoil(chance, message[place]), *message[place + 1 :]]
    return chance.choice(VALUES)


def spoil_bytes(chance: random.Random, data: bytes) -> bytes:
    """Bytes with some replaced, left out, doubled, or brackets without end."""
    kind = chance.randrange(5)
    at = chance.randrange(len(data) + 1)
    if kind == 0:
        return data[:at]
    if kind == 1:
        return data[:at] + chance.randbytes(chance.randrange(1, 20)) + data[at:]
    if kind == 2:
        return data[:at] + chance.choice([b"[", b'{"a":', b"9"]) * chance.randrange(2000)
    if kind == 3:
        return chance.randbytes(chance.randrange(300))
    spoilt = bytearray(data)
    for _ in range(chance.randrange(1, 8)):
        spoilt[chance.randrange(len(spoilt))] = chance.randrange(256)
    return bytes(spoilt)


def frame(chance: random.Random, message: dict[str, object]) -> bytes:
    """A malformed line or packet."""
    if chance.random() < 0.7:
        message = spoil(chance, message)
    data = json.dumps(message).encode()
    return spoil_bytes(chance, data) if chance.random() < 0.4 else data


def _state_packet() -> dict[str, object]:
    still = Measurement(HOME, np.zeros(JOINTS), np.zeros(JOINTS), np.zeros(6))
    fields = wire.push_fields(
        still, np.zeros(6), errors=[], joint_errors=[0] * JOINTS, joint_enabled=[True] * JOINTS
    )
    message: dict[str, object] = json.loads(
        wire.encode_push(fields, HOME, status="idle", coordinate=2)
    )
    return message


STATE_PACKET = _state_packet()
IDENTITY = Identity(
    "RM75-6F", "RM_75", "6F", "V1.7.0", "World", "gripper", 3, 7,
    *((1.0,) * 7 for _ in range(4)), (0.0,) * 28, (0.0,) * 6, (0.0,) * 6, (0.0,) * 4, (0.0,) * 3,
)  # fmt: skip
ORDERS = (
    records.pack_stream(1, 2.0, (0.0,) * 7), records.pack_beat(), records.pack_end(),
    records.pack_stop(3, True), records.pack_settle(4, (0.0,) * 7), records.pack_clear(5, (1, 7)),
)  # fmt: skip
REPORTS = (
    records.pack_state(records.State(1, 0, 2.0, 3, json.dumps(STATE_PACKET).encode())),
    records.pack_pulse(Pulse(2, 0, 1, 0, 5, 0)), records.pack_answer(3, 0, "no"),
    records.pack_problem("no link"), records.pack_identity(IDENTITY),
)  # fmt: skip


# --- readers -----------------------------------------------------------------------------


def read_state_packet(chance: random.Random) -> None:
    """A state packet of the arm: refused, doubted, or sound."""
    try:
        push = read_push(frame(chance, STATE_PACKET), JOINTS)
    except PushError:
        return
    sample = sample_from_push(push, joints=JOINTS, sequence=1, received=0.0, stamp_ns=0)
    for values in (sample.position, sample.velocity, sample.effort):
        if values.shape != (JOINTS,):
            raise AssertionError(f"{values.shape} joints of {push}")
    # That angles and speeds are finite and within their bounds is the driver's last look; what a
    # back end must tell itself is a list that is not there.
    if np.all(np.isnan(sample.position)) and not sample.doubt and push.position == ():
        raise AssertionError(f"no joints and no doubt: {push}")
    if sample.wrench is not None and not np.all(np.isfinite(sample.wrench)):
        raise AssertionError(f"wrench of {push}")


def read_order(chance: random.Random) -> None:
    """A record for the link process."""
    try:
        records.unpack_order(spoil_bytes(chance, chance.choice(ORDERS)))
    except RecordError:
        return


def read_report(chance: random.Random) -> None:
    """A record of the link process, and the packet in it."""
    try:
        report = records.unpack_report(spoil_bytes(chance, chance.choice(REPORTS)))
        if isinstance(report, records.State):
            read_push(report.packet, JOINTS)
    except (RecordError, PushError):
        return


def with_controller(config: BenchmarkConfig, send: Callable[[ServerConfig, Path], None]) -> str:
    """Send to a running controller; why it does not serve a client afterwards."""
    with tempfile.TemporaryDirectory(prefix="ate-") as folder:
        path = Path(folder) / "control"
        server_config = ServerConfig(ip=config.ip, udp_port=9, control_path=path)
        server = ControllerServer(server_config, IdealPlant(HOME))
        thread = threading.Thread(target=server.run, daemon=True)
        thread.start()
        control = EmulatorControl(path, timeout=10.0)
        try:
            control.wait_until_up(10.0)
            send(server_config, path)
            control.fault("clear")
            control.wait_until_up(10.0)
            answer = _ask(server_config, b'{"command":"get_joint_degree"}\r\n')
            return "" if b"joint_degree" in answer else f"answers {answer!r}"
        except Exception as error:  # what this program looks for
            return repr(error) if thread.is_alive() else f"its thread ended: {error!r}"
        finally:
            server.stop()
            thread.join(5.0)


def send_lines(chance: random.Random, count: int, config: ServerConfig, path: Path) -> None:
    """Malformed commands over several connections, one line of 3 MB among them."""
    link = _connect(config)
    for number in range(count):
        data = frame(chance, chance.choice(COMMANDS)) + b"\r\n"
        if number == count // 2:
            data = b"[" * 3_000_000 + b"\r\n"
        try:
            link.sendall(data)
            _drain(link)
        except OSError:
            link.close()
            link = _connect(config)
        if chance.random() < 0.002:
            link.close()
            link = _connect(config)
    link.close()


def send_requests(chance: random.Random, count: int, config: ServerConfig, path: Path) -> None:
    """Malformed requests on the control socket."""
    for _ in range(count):
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as link:
            link.settimeout(10.0)
            while True:
                try:
                    link.connect(str(path))
                    break
                except BlockingIOError:  # more wait than the socket keeps
                    time.sleep(0.001)
            request = chance.choice(REQUESTS)
            if request.get("name") == "slow" and chance.random() < 0.5:
                request = REQUESTS[0]
            link.sendall(frame(chance, request) + b"\n")


def _connect(config: ServerConfig) -> socket.socket:
    link = socket.create_connection((config.ip, config.tcp_port), 10.0)
    link.settimeout(10.0)
    return link


def _drain(link: socket.socket) -> None:
    """Take what was answered, as a client does; a full socket would stop this program."""
    while select.select([link], [], [], 0.0)[0]:
        if not link.recv(65536):
            raise ConnectionResetError("the controller closed the connection")


def _ask(config: ServerConfig, line: bytes) -> bytes:
    with _connect(config) as link:
        link.sendall(line)
        return link.recv(65536)


if __name__ == "__main__":
    raise SystemExit(main(tyro.cli(BenchmarkConfig, description=__doc__)))
