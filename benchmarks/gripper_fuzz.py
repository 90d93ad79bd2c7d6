"""Throw malformed frames at the gripper's codec, its judges, its emulator and its client.

    python benchmarks/gripper_fuzz.py --frames 100000

Each frame is random bytes, or a whole frame that was cut, flipped, shifted or mixed with that of
another device. Nothing may raise, hang or grow; after the flood a whole frame must be read.
"""

import contextlib
import os
import random
import socket
import sys
import tempfile
import time
import tty
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import tyro

from ate_core.drivers import GRIPPER_TRANSPORTS
from omnipicker_driver.client import ClientConfig, GripperClient
from omnipicker_driver.emulator import EmulatedGripper, EmulatorConfig, IdealPlant
from omnipicker_driver.emulator.control import call, control_path
from omnipicker_driver.grasp import GraspWatch
from omnipicker_driver.plausibility import ReportChecker
from omnipicker_driver.protocol import (
    Command,
    Report,
    decode_report,
    encode_command,
    encode_report,
)
from omnipicker_driver.transports import load_kind

RECOVERY = 5.0
"""Longest time for a device or client to work again after a flood [s]."""
REQUESTS = (
    b"",
    b"[" * 20_000,
    b'{"command": "object", "width": Infinity}',
    b'{"command": "object", "width": NaN}',
    b'{"command": "object", "width": 1' + b"0" * 4000 + b"}",
    b'{"command": "unplug", "seconds": -1e400}',
    b'{"command": "fault_code", "code": 1e3}',
    b'{"command": "line_fault", "kind": ["x"], "count": {}}',
    b'{"command": null}',
    b"\xff\xfe\x00",
    b'{"command": "status", "port": Infinity}',
)
"""Malformed requests for the control socket."""


@dataclass(frozen=True, kw_only=True)
class FuzzConfig:
    """Fuzz the gripper's software."""

    frames: int = 100_000
    """Malformed frames per target and transport."""
    seed: int = 0
    """Seed of the frames."""
    transports: tuple[str, ...] = GRIPPER_TRANSPORTS.names()
    """Transports to try."""


def malformed(random_: random.Random, whole: bytes, other: bytes) -> bytes:
    """One malformed piece of a stream.

    Args:
        random_: source of chance.
        whole: a whole frame of our device.
        other: a whole frame of another device.
    """
    frame = bytearray(whole)
    at = random_.randrange(len(frame))
    match random_.randrange(8):
        case 0:
            return random_.randbytes(random_.randrange(1, 40))
        case 1:
            frame[at] ^= 1 << random_.randrange(8)
        case 2:
            del frame[at]
        case 3:
            frame.insert(at, random_.randrange(256))
        case 4:
            return bytes(frame[: at + 1])
        case 5:
            return bytes(frame[at:])
        case 6:
            return bytes(frame[:at]) + other
        case _:
            frame[at] = random_.randrange(256)
    return bytes(frame)


def flood(config: FuzzConfig, name: str) -> Iterator[bytes]:
    """Malformed pieces for one transport."""
    chance = random.Random(f"{config.seed} {name}")
    kind = load_kind(name)
    host, other = kind.adapter(1), kind.adapter(2)
    for _ in range(config.frames):
        payload = chance.randbytes(8)
        yield malformed(chance, host.wrap(payload), other.wrap(payload))


def fuzz_codec(config: FuzzConfig, name: str) -> int:
    """Both sides of a transport read everything and still find a whole frame; returns payloads."""
    kind = load_kind(name)
    host, adapter = kind.host(1), kind.adapter(1)
    for frame in host.setup:
        adapter.feed(frame, 0.0)
    found = 0
    for number, piece in enumerate(flood(config, name)):
        found += len(host.feed(piece))
        found += len(adapter.feed(piece, number * 0.02))
        if host.missing > 64:
            raise AssertionError(f"{name}: waits for {host.missing} bytes")
    host.clear()
    report = encode_report(Report(position=0.5))
    if host.feed(adapter.wrap(report)) != [report]:
        raise AssertionError(f"{name}: the host no longer reads a whole frame")
    command = encode_command(Command(position=0.5))
    adapter.clear()
    for frame in host.setup:
        adapter.feed(frame, 1e6)
    if adapter.feed(host.wrap(command), 1e6 + 1) != [command]:
        raise AssertionError(f"{name}: the adapter no longer reads a whole frame")
    return found


def fuzz_judges(config: FuzzConfig) -> int:
    """Random reports are judged without an error; returns how many were believed."""
    chance = random.Random(config.seed)
    checker, grasp, believed = ReportChecker(speed=1.0), GraspWatch(), 0
    for number in range(config.frames):
        report = decode_report(chance.randbytes(8))
        target = chance.choice((None, chance.random()))
        now = number * chance.choice((0.0, 0.02))
        if not checker.doubt(report, target, now):
            believed += 1
            grasp.take(report, target, now)
    return believed


def fuzz_emulator(config: FuzzConfig, name: str, folder: Path) -> int:
    """An emulated gripper lives through a flood and malformed requests; returns bytes sent."""
    port = str(folder / name)
    emulated = EmulatedGripper(EmulatorConfig(port=port, transport=name), IdealPlant(0.5))
    emulated.start()
    sent = 0
    try:
        link = load_kind(name).open_link(port, 115200)
        for number, piece in enumerate(flood(config, name)):
            link.write(piece)
            sent += len(piece)
            if number % 64 == 0:
                link.discard()
        link.close()
        for request in REQUESTS:
            ask(control_path(port), request)
        call(port, "clear")
        wait_for_answers(port, name)
    finally:
        emulated.stop()
    return sent


def fuzz_client(config: FuzzConfig, name: str, folder: Path) -> int:
    """A client lives through a device that answers nonsense; returns the reports it doubted."""
    port = folder / f"{name}_nonsense"
    master, slave = os.openpty()
    tty.setraw(slave)
    os.set_blocking(master, False)
    port.symlink_to(os.ttyname(slave))
    client = GripperClient(
        ClientConfig(port=str(port), transport=name, rate=200.0, read_limit=0.002)
    )
    client.start()
    try:
        for piece in flood(config, name):
            with contextlib.suppress(BlockingIOError):
                os.write(master, piece)
            with contextlib.suppress(BlockingIOError):
                os.read(master, 4096)
        polls = client.polls
        until(lambda: client.polls > polls + 2, f"{name}: the client's thread stands still")
        return client.state.doubted
    finally:
        client.stop()
        os.close(slave)
        os.close(master)


def ask(path: Path, request: bytes) -> None:
    """Send one line to a control socket and take whatever comes."""
    with socket.socket(socket.AF_UNIX) as link, contextlib.suppress(OSError):
        link.settimeout(1.0)
        link.connect(str(path))
        link.sendall(request + b"\n")
        link.recv(65536)


def wait_for_answers(port: str, name: str) -> None:
    """A client that opens the port now gets its answers."""
    client = GripperClient(ClientConfig(port=port, transport=name))
    client.start()
    try:
        until(lambda: client.state.answers > 3, f"{name}: the emulated gripper is dead")
    finally:
        client.stop()


def until(condition: Callable[[], bool], complaint: str) -> None:
    """Wait until a condition holds.

    Raises:
        AssertionError: it does not within `RECOVERY`.
    """
    deadline = time.monotonic() + RECOVERY
    while not condition():
        if time.monotonic() > deadline:
            raise AssertionError(complaint)
        time.sleep(0.005)


def main(config: FuzzConfig) -> int:
    """Fuzz everything and print what was thrown and what was believed."""
    print(f"judges: {fuzz_judges(config)} of {config.frames} random reports believed")
    with tempfile.TemporaryDirectory(prefix="ate-") as folder:
        for name in config.transports:
            found = fuzz_codec(config, name)
            sent = fuzz_emulator(config, name, Path(folder))
            text = f"{name}: codec took {found} payloads, the emulator outlived {sent} bytes"
            if name != "socketcan":  # its records need a socket, not a pseudo-terminal
                text += f", the client doubted {fuzz_client(config, name, Path(folder))} reports"
            print(text)
    return 0


if __name__ == "__main__":
    sys.exit(main(tyro.cli(FuzzConfig)))
