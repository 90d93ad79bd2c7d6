"""One OmniPicker on a port: a thread that repeats the target and keeps the newest report.

The gripper has no read-only request, so polling means sending the present target again. Silence
of the commander therefore keeps the target, and a held object is never dropped.
"""

import logging
import math
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, replace

from ate_core.device_checks import read_limit
from ate_core.devices import GripperConfig
from ate_core.errors import SafetyError, UsageError
from ate_core.loop import FixedRateLoop
from ate_core.patience import Patience
from omnipicker_driver.grasp import LEAST_FORCE, MARGIN, GraspWatch
from omnipicker_driver.link import LINK_ERRORS, Link, reason_of
from omnipicker_driver.plausibility import ReportChecker
from omnipicker_driver.protocol import (
    FULL_SCALE,
    Command,
    FieldOrder,
    Motion,
    Report,
    decode_report,
    encode_command,
)
from omnipicker_driver.state import GripperState, holding_target, seen_at, signed_speed
from omnipicker_driver.transports import load_kind

log = logging.getLogger(__name__)

_CREEP = 1 / FULL_SCALE
"""Slowest speed that can be asked for: less than 0.1 counts in one poll, 0.7 mm in a second."""
_JOIN_LIMIT = 2.0
"""Longest wait for the polling thread [s]; a write alone may take half a second."""


@dataclass(frozen=True, kw_only=True)
class ClientConfig:
    """One gripper and how it is polled."""

    port: str
    """Path of the serial port, or name of the CAN interface."""
    transport: str = "rs485"
    """How the bytes travel, a name of `ate_core.drivers.GRIPPER_TRANSPORTS`."""
    baud: int = 115200
    """Line speed [bit/s] where the transport has none of its own."""
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
            transport=gripper.transport,
            baud=gripper.baud,
            device_id=gripper.device_id,
            force=gripper.force / FULL_SCALE,
            speed=gripper.speed / FULL_SCALE,
            rate=rate,
            read_limit=read_limit(rate),
        )


class GripperClient:
    """Talk to one gripper from a thread of its own; all methods return at once."""

    def __init__(
        self,
        config: ClientConfig,
        on_report: Callable[[GripperState], None] | None = None,
        claim: Callable[[], str] = str,
    ) -> None:
        """Prepare a client; `start` opens the port.

        Args:
            config: the gripper.
            on_report: called from the polling thread with every new report that can be true.
            claim: asked in it before each opening of the port: why that must not be; empty where
                it may.
        """
        self.config = config
        self.polls = 0
        """Rounds of the polling thread; one that stands still hangs."""
        self._on_report = on_report
        self._claim = claim
        self._lock = threading.Lock()
        self._state = GripperState()
        self._stop = threading.Event()
        self._thread: threading.Thread | None = None
        self._kind = load_kind(config.transport)
        if not 0 < config.device_id <= self._kind.highest_id:
            raise UsageError(
                f"gripper device_id is {config.device_id}; need 1 to {self._kind.highest_id} "
                f"for transport {config.transport}"
            )
        self._transport = self._kind.host(config.device_id)
        self._link: Link | None = None
        self._checker = ReportChecker(speed=config.speed)
        self._grasp = GraspWatch()
        self._rest: float | None = None
        """Opening to stay at while there is no target; None: nothing is known at all."""
        self._retry_at = -math.inf
        self._patience = Patience(log, f"gripper port {config.port}")

    def start(self) -> None:
        """Start polling; a missing port is tried again until it appears."""
        self._stop.clear()
        self._thread = threading.Thread(
            target=self._run, name=f"gripper {self.config.port}", daemon=True
        )
        self._thread.start()

    def stop(self) -> None:
        """Stop polling and close the port; the gripper keeps its last target and its grip."""
        self._stop.set()
        if self._thread is not None:
            self._thread.join(_JOIN_LIMIT)
            if self._thread.is_alive():
                log.error("the polling thread of %s hangs: left behind", self.config.port)
            self._thread = None
        self._close("stopped")

    @property
    def is_running(self) -> bool:
        """Whether there is, or should be, a polling thread."""
        return self._thread is not None

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

    def hold(self) -> None:
        """Come to rest where the fingers are; what they press on is pressed on."""
        with self._lock:
            target = holding_target(self._state, time.monotonic(), self.config.speed)
            self._state = replace(self._state, target=target)

    def _run(self) -> None:
        for _ in FixedRateLoop(self.config.rate, self._stop):
            self.polls += 1
            try:
                if self._link is None and not self._reopen():
                    continue
                self._poll()
            except LINK_ERRORS as error:
                self._close(f"gripper link {self.config.port} was cut ({error}): plug it in again")

    def _reopen(self) -> bool:
        now = time.monotonic()
        if now < self._retry_at:
            return False
        self._retry_at = now + self.config.reopen_wait
        if taken := self._claim():
            self._close(taken)
            return False
        config = self.config
        try:
            self._link = self._kind.open_link(config.port, self._kind.baud or config.baud)
            for frame in self._transport.setup:
                self._link.write(frame)
        except LINK_ERRORS as error:
            self._close(
                f"gripper port {config.port} cannot be opened ({reason_of(error)}): connect "
                "the adapter, close other users of the port, or correct the port in cell.yaml"
            )
            return False
        self._transport.clear()
        self._checker.clear()
        self._grasp.clear()
        with self._lock:
            openings = self._state.openings + 1
            self._state = replace(
                self._state, connected=True, error="", target=None, openings=openings
            )
        self._patience.well(f"gripper port {config.port} is open")
        self._patience.end()
        return True

    def _close(self, reason: str) -> None:
        link, self._link = self._link, None
        if link is not None:
            link.close()
        with self._lock:
            state = self._state
            if state.target is not None and state.report is not None:
                self._rest = min(state.target, state.report.position)
            self._state = replace(
                state, connected=False, error=reason, target=None, is_frozen=False
            )
        if not self._stop.is_set():
            self._patience.trouble(reason)

    def _poll(self) -> None:
        target = self.state.target
        report = self._exchange(self._command(target))
        if report is None:
            with self._lock:
                self._state = replace(
                    self._state,
                    is_frozen=False,
                    unanswered=self._state.unanswered + 1,
                    strangers=tuple(sorted(self._transport.strangers)),
                )
            return
        state = self._take(report, target, time.monotonic())
        if not state.doubt and self._on_report is not None:
            self._on_report(state)

    def _take(self, report: Report, target: float | None, now: float) -> GripperState:
        """Judge a report; the state keeps the last one that can be true."""
        doubt = self._checker.doubt(report, target, now)
        grasp = self._grasp.take(report, target, now) if not doubt else None
        with self._lock:
            state = self._state
            if grasp is None:
                if self._rest is None:
                    self._rest = max(_first_target(report) - MARGIN, 0.0)
                self._state = replace(
                    state,
                    doubt=doubt,
                    doubted=state.doubted + 1,
                    is_frozen=self._checker.is_frozen,
                )
            else:
                self._state = replace(
                    state,
                    report=report,
                    grasp=grasp,
                    doubt="",
                    is_frozen=False,
                    velocity=signed_speed(report, state),
                    stamp_ns=time.time_ns(),
                    received=now,
                    seen=seen_at(report, state, now),
                    target=_first_target(report) if state.target is None else state.target,
                    answers=state.answers + 1,
                    dropped_bytes=self._transport.dropped_bytes,
                )
            return self._state

    def _command(self, target: float | None) -> Command:
        if target is None:
            # The first frame moves the fingers, and the position is not known yet. Closing at
            # the slowest speed neither moves them visibly nor drops what they hold; where
            # something was known before, or is reported though not believed, they stay there.
            rest = 0.0 if self._rest is None else self._rest
            return Command(position=rest, force=self.config.force, speed=_CREEP)
        return Command(position=target, force=self.config.force, speed=self.config.speed)

    def _exchange(self, command: Command) -> Report | None:
        """Send one command and wait for its report; None when none comes in time."""
        assert self._link is not None
        late = self._link.discard()  # a late or doubled reply is not the answer to this poll
        if late:
            with self._lock:
                self._state = replace(self._state, late_bytes=self._state.late_bytes + late)
        self._transport.clear()
        asked = encode_command(command, self.config.order)
        self._link.write(self._transport.wrap(asked))
        deadline = time.monotonic() + self.config.read_limit
        remaining = self.config.read_limit
        while remaining > 0:
            chunk = self._link.read(self._transport.missing, remaining)
            payloads = [
                one for one in self._transport.feed(chunk) if not self._is_echo(one, asked)
            ]
            if payloads:
                return decode_report(payloads[-1])
            remaining = deadline - time.monotonic()
        return None

    def _is_echo(self, payload: bytes, asked: bytes) -> bool:
        """Whether an adapter gives back what it sent: a command reads like a report."""
        if payload != asked:
            return False
        with self._lock:
            self._state = replace(self._state, echoes=self._state.echoes + 1)
        return True


def _first_target(report: Report) -> float:
    """The target after opening the port: stay, and keep pressing on a held object.

    Fingers that are blocked without a force hold nothing: they may stand at an end stop.
    """
    presses = report.motion == Motion.BLOCKED and report.force >= LEAST_FORCE
    return 0.0 if presses else report.position
