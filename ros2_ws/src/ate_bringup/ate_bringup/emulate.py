"""`ate emulate`: one emulated device alone, for trying a driver or a program of one's own."""

import dataclasses
import importlib
import importlib.util
import os
import signal
import subprocess
import threading
from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from typing import Any, Protocol, TypeVar

from ate_bringup.processes import driver_package
from ate_core.child import child_command, child_environment
from ate_core.contract import Cell, Hardware, load_cell
from ate_core.devices import Side
from ate_core.errors import UsageError

SIMULATED: Hardware = "sim"
CELL_PARAMETER = "{cell}"
"""Stands in an example where a node takes the cell."""
Entry = TypeVar("Entry")


class Emulated(Protocol):
    """What `ate emulate` starts."""

    @property
    def cell(self) -> str | None:
        """Cell file or packaged name."""

    def changed(self, cell: Cell) -> Cell:
        """The cell with the addresses that were given."""

    def start(self, cell: Cell) -> AbstractContextManager[tuple[str, str]]:
        """Emulate while the context lasts; gives where it listens and how to connect."""


@dataclass(frozen=True, kw_only=True)
class Arm:
    """The controller of one arm: the vendor's own library connects to it."""

    side: Side = "left"
    """Arm of the cell."""
    cell: str | None = None
    """cell.yaml, or the name of a packaged cell; None: the packaged one."""
    ip: str | None = None
    """Own address, any of 127.0.0.0/8; None: that of the cell's section simulation."""
    port: int | None = None
    """TCP port of commands; None: the cell's."""
    udp_port: int | None = None
    """UDP port that the state goes to before a client sets another; None: the cell's."""

    def changed(self, cell: Cell) -> Cell:
        """The cell with the addresses that were given."""
        given = {"ip": self.ip, "tcp_port": self.port, "udp_port": self.udp_port}
        return dataclasses.replace(cell, arms=_with(cell.arms, self.side, given))

    def start(self, cell: Cell) -> AbstractContextManager[tuple[str, str]]:
        """Run the emulator of the arm's driver."""
        package = driver_package(cell.arms[self.side])
        if importlib.util.find_spec(f"{package}.emulator.alone") is None:
            return _own_process(f"{package}.emulator", self.side, self.cell)
        return _emulator(f"{package}.emulator.alone:emulate", cell, self.side)


@dataclass(frozen=True, kw_only=True)
class Gripper:
    """One OmniPicker on a pseudo-terminal: any serial program opens it."""

    side: Side = "left"
    """Gripper of the cell."""
    cell: str | None = None
    """cell.yaml, or the name of a packaged cell; None: the packaged one."""
    port: str | None = None
    """Path of the serial port; None: that of the cell's section simulation."""

    def changed(self, cell: Cell) -> Cell:
        """The cell with the port that was given."""
        given = {"port": self.port}
        return dataclasses.replace(cell, grippers=_with(cell.grippers, self.side, given))

    def start(self, cell: Cell) -> AbstractContextManager[tuple[str, str]]:
        """Run the emulator."""
        return _emulator("omnipicker_driver.emulator.alone:emulate", cell, self.side)


@dataclass(frozen=True, kw_only=True)
class Camera:
    """One camera that shows a test pattern with the number of each picture."""

    role: str = "overhead"
    """Camera of the cell."""
    cell: str | None = None
    """cell.yaml, or the name of a packaged cell; None: the packaged one."""
    fps: int | None = None
    """Pictures per second [Hz]; None: the cell's."""

    def changed(self, cell: Cell) -> Cell:
        """The cell with the rate that was given."""
        given = {"fps": self.fps}
        return dataclasses.replace(cell, cameras=_with(cell.cameras, self.role, given))

    def start(self, cell: Cell) -> AbstractContextManager[tuple[str, str]]:
        """Run the emulator."""
        return _emulator("realsense_camera.emulator.alone:emulate", cell, self.role)


@dataclass(frozen=True, kw_only=True)
class Headset:
    """The tracking service of one Vision Pro, its hand on a slow circle."""

    side: Side = "left"
    """Operator of the cell."""
    cell: str | None = None
    """cell.yaml, or the name of a packaged cell; None: the packaged one."""
    ip: str | None = None
    """Own address, any of 127.0.0.0/8; None: that of the cell's section simulation."""
    port: int | None = None
    """TCP port; None: the cell's, which the real app cannot change."""

    def changed(self, cell: Cell) -> Cell:
        """The cell with the addresses that were given."""
        given = {"headset_ip": self.ip, "headset_port": self.port}
        return dataclasses.replace(cell, operators=_with(cell.operators, self.side, given))

    def start(self, cell: Cell) -> AbstractContextManager[tuple[str, str]]:
        """Run the emulator."""
        return _emulator("operator_devices.alone:emulate_headset", cell, self.side)


@dataclass(frozen=True, kw_only=True)
class Joycon:
    """One Joy-Con whose shoulder button and trigger are pressed in turn."""

    side: Side = "left"
    """Operator of the cell."""
    cell: str | None = None
    """cell.yaml, or the name of a packaged cell; None: the packaged one."""
    serial: str | None = None
    """Bluetooth address by which programs find it; None: the cell's."""

    def changed(self, cell: Cell) -> Cell:
        """The cell with the address that was given."""
        given = {"joycon_serial": self.serial}
        return dataclasses.replace(cell, operators=_with(cell.operators, self.side, given))

    def start(self, cell: Cell) -> AbstractContextManager[tuple[str, str]]:
        """Run the emulator."""
        return _emulator("operator_devices.alone:emulate_joycon", cell, self.side)


def emulate(config: Arm | Gripper | Camera | Headset | Joycon) -> int:
    """Run one emulated device until Ctrl-C; it is described in the section simulation."""
    return run(config)


def run(device: Emulated) -> int:
    """Emulate, say where and how to connect, and wait for SIGINT or SIGTERM."""
    stop = threading.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: stop.set())
    cell = device.changed(load_cell(device.cell, SIMULATED))
    with device.start(cell) as (where, example):
        example = example.replace(
            CELL_PARAMETER, f" -p cell:={device.cell}" if device.cell else ""
        )
        print(f"{where}; Ctrl-C ends it. Try, in another terminal:\n  {example}", flush=True)
        stop.wait()
    return 0


def _with(entries: Mapping[str, Entry], name: str, given: Mapping[str, Any]) -> dict[str, Entry]:
    """The entries of a section, with what was given of one of them."""
    if name not in entries:
        raise UsageError(f"the cell has no {name!r}; it has {', '.join(entries)}")
    values = {key: value for key, value in given.items() if value is not None}
    changed = dataclasses.replace(entries[name], **values)  # type: ignore[type-var]
    return {**entries, name: changed}


def _emulator(target: str, cell: Cell, name: str) -> AbstractContextManager[tuple[str, str]]:
    module, _, function = target.partition(":")
    start: AbstractContextManager[tuple[str, str]] = getattr(
        importlib.import_module(module), function
    )(cell, name)
    return start


@contextmanager
def _own_process(module: str, side: str, cell: str | None) -> Iterator[tuple[str, str]]:
    """An emulator that is a ROS node, in a process of its own."""
    words = ["--side", side, "--plant", "ideal", *(["--cell", cell] if cell else [])]
    surroundings = {**os.environ, **child_environment()}
    process = subprocess.Popen(child_command(module, words), env=surroundings)
    try:
        yield (
            f"{module} of the {side} arm, a ROS node",
            f"ros2 topic echo --once /{side}/joint_states",
        )
    finally:
        process.send_signal(signal.SIGINT)
        process.wait(10.0)
