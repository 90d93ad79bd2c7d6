"""One OmniPicker on a serial port: a thread that repeats the target and keeps the newest report.

The gripper has no read-only request, so polling means sending the present target again. Silence
of the commander therefore keeps the target, and a held object is never dropped.
"""

import logging
import math
import os
import termios
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, replace

import serial

from ate_core.devices import GripperConfig
from ate_core.errors import SafetyError, UsageError
from ate_core.loop import FixedRateLoop
from omnipicker_driver.protocol import (
    FULL_SCALE,
    Command,
    FieldOrder,
    FrameReader,
    Motion,
    Report,
    decode_report,
    encode_command,
    wrap,
)
from omnipicker_driver.state import GripperState, signed_speed

log = logging.getLogger(__name__)

LINK_ERRORS = (OSError, serial.SerialException, termios.error)
"""What a serial port raises when its device is pulled out; flushing raises termios.error."""

_WRITE_LIMIT = 0.5
"""Longest time for writing 12 bytes [s]; pyserial also counts time in which the process waits."""
_CREEP = 1 / FULL_SCALE
"""Slowest speed that can be asked for: less than 0.1 counts in one poll."""


@dataclass(frozen=True, kw_only=True)
class ClientConfig:
    """One gripper and how it is polled."""

    port: str
    """Path of the serial port."""
    baud: int = 115200
    """Line speed [bit/s]; 8 data bits, no parity, 1 stop bit."""
    device_id: int = 1
    """Address of the gripper."""
    force: float = 1.0
    """Share of the largest force that every command carries."""
    speed: float = 1.0
    """Share of the largest speed that every command carries."""
    order: FieldOrder = "force_velocity"
    """Order of force and velocity in a command."""
    rate: float = 50.0
    """Polls per second [Hz]; 10 % of the line's time."""
    read_limit: float = 0.015
    """Longest wait for one report [s]."""
    stale_after: float = 0.1
    """Age from which a report no longer describes the gripper [s]."""
    reopen_wait: float = 0.2
    """Time between two attempts to open the port [s]."""

    def __post_init__(self) -> None:
        if not 0 < self.read_limit < 1 / self.rate:
            raise UsageError(
                f"gripper read_limit is {self.read_limit} s; need more than 0 and less than "
                f"one period of rate {self.rate} Hz"
            )

    @classmethod
    def from_cell(cls, gripper: GripperConfig, rate: float = 50.0) -> "ClientConfig":
        """The configuration of one gripper of the cell."""
        return cls(
            port=gripper.port,
            baud=gripper.baud,
            device_id=gripper.device_id,
            force=gripper.force / FULL_SCALE,
            speed=gripper.speed / FULL_SCALE,
            rate=rate,
        )


class GripperClient:
    """Talk to one gripper from a thread of its own; all methods return at once."""

    def __init__(
        self, config: ClientConfig, on_report: Callable[[GripperState], None] | None = None
    ) -> None:
        """Prepare a client; `start` opens the port.

        Args:
            config: the gripper.
            on_report: called from the polling thread with every new report.
        """
        self.config = config
        self._on_report = on_report
        self._lock = threading.Lock()
        self._state = GripperState()
        self._stop = threading.Event()
        self._thread: threading.Thread | None = None
        self._port: serial.Serial | None = None
        self._reader = FrameReader(config.device_id)
        self._retry_at = -math.inf

    def start(self) -> None:
        """Start polling; a missing port is tried again until it appears."""
        self._stop.clear()
        self._thread = threading.Thread(target=self._run, name=f"gripper {self.config.port}")
        self._thread.start()

    def stop(self) -> None:
        """Stop polling and close the port; the gripper keeps its last target and its grip."""
        self._stop.set()
        if self._thread is not None:
            self._thread.join()
            self._thread = None
        self._close("stopped")

    @property
    def state(self) -> GripperState:
        """The newest knowledge."""
        with self._lock:
            return self._state

    def set_target(self, ratio: float) -> bool:
        """Set the opening (0 closed, 1 open; clamped) that the next polls carry.

        Returns:
            False when the gripper has not told its position since the port was opened; the
            target is then not kept for later.

        Raises:
            SafetyError: the ratio is not a finite number.
        """
        if not math.isfinite(ratio):
            raise SafetyError(f"gripper target is {ratio}; need a finite ratio 0..1")
        with self._lock:
            if self._state.target is None:
                return False
            self._state = replace(self._state, target=min(max(ratio, 0.0), 1.0))
            return True

    def _run(self) -> None:
        for _ in FixedRateLoop(self.config.rate, self._stop):
            try:
                if self._port is None and not self._reopen():
                    continue
                self._poll()
            except LINK_ERRORS as error:
                self._close(f"gripper link {self.config.port} was cut ({error}): plug it in again")

    def _reopen(self) -> bool:
        now = time.monotonic()
        if now < self._retry_at:
            return False
        self._retry_at = now + self.config.reopen_wait
        try:
            self._port = serial.Serial(
                self.config.port,
                self.config.baud,
                timeout=self.config.read_limit,
                write_timeout=_WRITE_LIMIT,
                exclusive=True,
            )
        except LINK_ERRORS as error:
            self._close(
                f"gripper port {self.config.port} cannot be opened ({_reason(error)}): connect "
                "the adapter, close other users of the port, or correct the port in cell.yaml"
            )
            return False
        self._reader.clear()
        with self._lock:
            openings = self._state.openings + 1
            self._state = replace(
                self._state, connected=True, error="", target=None, openings=openings
            )
        log.info("gripper port %s is open", self.config.port)
        return True

    def _close(self, reason: str) -> None:
        if self._port is not None:
            self._port.close()
            self._port = None
        with self._lock:
            known = self._state.error == reason
            self._state = replace(self._state, connected=False, error=reason, target=None)
        if not known and not self._stop.is_set():
            log.warning("%s", reason)

    def _poll(self) -> None:
        target = self.state.target
        report = self._exchange(self._command(target))
        with self._lock:
            state = self._state
            if report is None:
                self._state = replace(state, unanswered=state.unanswered + 1)
                return
            self._state = replace(
                state,
                report=report,
                velocity=signed_speed(report, state),
                stamp_ns=time.time_ns(),
                received=time.monotonic(),
                target=_first_target(report) if state.target is None else state.target,
                answers=state.answers + 1,
                dropped_bytes=self._reader.dropped_bytes,
            )
            state = self._state
        if self._on_report is not None:
            self._on_report(state)

    def _command(self, target: float | None) -> Command:
        if target is None:
            # The first frame moves the fingers, and the position is not known yet. Closing at
            # the slowest speed neither moves them visibly nor drops what they hold.
            return Command(position=0.0, force=self.config.force, speed=_CREEP)
        return Command(position=target, force=self.config.force, speed=self.config.speed)

    def _exchange(self, command: Command) -> Report | None:
        """Send one command and wait for its report; None when none comes in time."""
        assert self._port is not None
        self._port.reset_input_buffer()  # a late or doubled reply is not the answer to this poll
        self._reader.clear()
        payload = encode_command(command, self.config.order)
        self._port.write(wrap(payload, self.config.device_id))
        deadline = time.monotonic() + self.config.read_limit
        remaining = self.config.read_limit
        while remaining > 0:
            self._port.timeout = remaining
            payloads = self._reader.feed(self._port.read(self._reader.missing))
            if payloads:
                return decode_report(payloads[-1])
            remaining = deadline - time.monotonic()
        return None


def _first_target(report: Report) -> float:
    """The target after opening the port: stay, and keep pressing on a held object."""
    return 0.0 if report.motion == Motion.BLOCKED else report.position


def _reason(error: BaseException) -> str:
    number = getattr(error, "errno", None)
    return os.strerror(number) if number else str(error)
