"""One emulated gripper: bytes in, bytes out 1.5 ms later, and a control socket beside the port."""

import math
import select
import socket
import threading
import time
from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass

from ate_core.control_socket import ControlServer
from ate_core.devices import GripperConfig
from ate_core.errors import UsageError
from omnipicker_driver.emulator.can_port import CanPort
from omnipicker_driver.emulator.control import control_path
from omnipicker_driver.emulator.faults import LineFaults
from omnipicker_driver.emulator.plant import GripperPlant
from omnipicker_driver.emulator.pty_port import PtyPort
from omnipicker_driver.protocol import FieldOrder, decode_command, encode_report
from omnipicker_driver.transports import load_kind

_IDLE_STEP = 0.02
"""Longest time between two steps of the plant [s]; also bounds the time to stop."""
LONGEST_UNPLUG = 3600.0
"""Longest time for which a control call may unplug the gripper [s]."""


@dataclass(frozen=True, kw_only=True)
class EmulatorConfig:
    """One emulated gripper."""

    port: str
    """Path that the driver opens; a link to the pseudo-terminal."""
    transport: str = "rs485"
    """How the bytes travel, a name of `ate_core.drivers.GRIPPER_TRANSPORTS`."""
    device_id: int = 1
    """Address on the line; other frames are not answered."""
    order: FieldOrder = "force_velocity"
    """Order of force and velocity in a command."""
    reply_delay: float = 0.0015
    """Time from command to report [s]; the line alone needs 1 ms per frame."""
    refuse_zero_ramps: bool = True
    """Do not answer acceleration or deceleration 0, as some firmware does."""
    echoes: bool = False
    """Give back what was sent, as an RS485 adapter that listens while it sends."""

    @classmethod
    def from_cell(cls, gripper: GripperConfig) -> "EmulatorConfig":
        """The emulated counterpart of one gripper of the cell."""
        return cls(port=gripper.port, transport=gripper.transport, device_id=gripper.device_id)


class EmulatedGripper:
    """Answers like a gripper; `run` blocks, `start` and `stop` use a thread."""

    def __init__(self, config: EmulatorConfig, plant: GripperPlant) -> None:
        """Plug the gripper in.

        Raises:
            DeviceError: the port or its control socket cannot be made.
        """
        self.config = config
        self._plant = plant
        is_can = config.transport == "socketcan"
        self._port: PtyPort | CanPort = CanPort(config.port) if is_can else PtyPort(config.port)
        self._control = ControlServer(control_path(config.port), self._handle)
        make_adapter = load_kind(config.transport).adapter
        self._adapter = make_adapter(config.device_id)
        self._stranger = make_adapter(config.device_id + 1)
        self._faults = LineFaults()
        self._replies_due: deque[float] = deque()
        self._plug_at: float | None = None
        self._commands = 0
        self._stop = threading.Event()
        self._thread: threading.Thread | None = None

    def start(self) -> None:
        """Run in a thread."""
        self._thread = threading.Thread(target=self.run, args=(self._stop,), name="gripper")
        self._thread.start()

    def stop(self) -> None:
        """End the thread and remove the port."""
        self._stop.set()
        if self._thread is not None:
            self._thread.join()
            self._thread = None

    def run(self, stop: threading.Event) -> None:
        """Answer until ``stop`` is set, then remove port and socket."""
        try:
            while not stop.is_set():
                self._step()
        finally:
            self._port.unplug()
            self._control.close()

    def _step(self) -> None:
        sources: list[socket.socket | int] = list(self._control.descriptors)
        if self._port.descriptor is not None:
            sources.append(self._port.descriptor)
        wait = _IDLE_STEP
        if self._replies_due:
            wait = min(max(self._replies_due[0] - time.monotonic(), 0.0), wait)
        ready, _, _ = select.select(sources, [], [], wait)
        now = time.monotonic()
        if self._port.descriptor in ready:
            self._receive(now)
        self._plant.advance(now)
        while self._replies_due and self._replies_due[0] <= now:
            self._replies_due.popleft()
            self._reply()
        self._port.write(self._adapter.idle(now))
        self._control.serve(ready)
        if self._plug_at is not None and now >= self._plug_at:
            self._plug()

    def _receive(self, now: float) -> None:
        for payload in self._adapter.feed(self._port.read(), now):
            command = decode_command(payload, self.config.order)
            if self.config.echoes:
                self._port.write(self._adapter.wrap(payload))
            if self.config.refuse_zero_ramps and 0.0 in (
                command.acceleration,
                command.deceleration,
            ):
                continue
            self._commands += 1
            self._plant.command(command, now)
            self._replies_due.append(now + self.config.reply_delay + self._faults.delay)

    def _reply(self) -> None:
        report = self._plant.report()
        if report is None:
            return
        payload = encode_report(self._faults.spoil_report(report))
        sender = self._stranger if self._faults.is_other_id else self._adapter
        self._port.write(self._faults.spoil(sender.wrap(payload)))

    def _plug(self) -> None:
        self._plug_at = None
        self._port.plug()

    def _unplug(self, seconds: float | None) -> None:
        self._port.unplug()
        self._adapter.clear()
        self._replies_due.clear()
        self._plug_at = None if seconds is None else time.monotonic() + seconds

    def _handle(self, request: Mapping[str, object]) -> dict[str, object]:
        match request:
            case {"command": "fault_code", "code": int(code)} if 0 <= code <= 255:
                self._plant.set_fault(code)
            case {"command": "line_fault", "kind": str(kind), "count": int() | None as count}:
                self._faults.set(kind, count)
            case {"command": "line_fault", "kind": str(kind)}:
                self._faults.set(kind)
            case {"command": "clear"}:
                self._faults.clear()
                self._plant.set_fault(0)
            case {"command": "unplug", "seconds": int() | float() as seconds}:
                self._unplug(_number("seconds", seconds, LONGEST_UNPLUG))
            case {"command": "unplug"}:
                self._unplug(None)
            case {"command": "plug"}:
                self._plug()
            case {"command": "object", "width": None}:
                self._plant.set_object(None)
            case {"command": "object", "width": int() | float() as width}:
                self._plant.set_object(_number("width", width, 1.0))
            case {"command": "status"}:
                pass
            case _:
                raise UsageError(f"unknown control call {request}; README.md lists the calls")
        plugged = self._port.descriptor is not None
        return {"plugged": plugged, "commands": self._commands}


def _number(name: str, value: float, highest: float) -> float:
    """A number of a control call.

    Raises:
        UsageError: it is not from 0 to ``highest``; neither is one that is no number.
    """
    if not 0.0 <= value <= highest or not math.isfinite(value):
        raise UsageError(f"{name} is {value}; need 0 to {highest:g}")
    return float(value)
