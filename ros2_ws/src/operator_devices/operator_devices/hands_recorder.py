"""Writes what the devices of one operator send to a file, beside the control loop.

The loop only hands over what it has; a thread of its own makes lines of it and writes them. A disk
that is full or read-only ends the recording and is told; the hands go on.
"""

import logging
import threading
from collections import deque
from collections.abc import Callable
from pathlib import Path
from typing import Any, TextIO

import numpy as np
from numpy.typing import NDArray

from operator_devices import headset_protocol as protocol
from operator_devices.hands_file import (
    HandsHeader,
    JoyConReport,
    header_line,
    joints_line,
    message_line,
    report_line,
)
from operator_devices.joycon_report import BUTTONS, JoyConState

_logger = logging.getLogger(__name__)

WRITE_PERIOD = 0.5
"""Time between two writes [s]; what a crash can cost."""
LONGEST_QUEUE = 20_000
"""Entries that wait for a slow disk: two minutes of headset and Joy-Con."""
OLDEST_JOINTS_NS = 100_000_000
"""Age of joints at their arrival above which their clock was set; they are polled every 20 ms."""


class HandsRecorder:
    """One file; the `take_` methods return at once and may be called from any thread."""

    def __init__(self, folder: Path, header: HandsHeader, origin_ns: int) -> None:
        """Prepare; `start` opens the file.

        Args:
            folder: of the session; made where it is not there.
            header: the first line.
            origin_ns: monotonic time of the header's `start_ns` [ns].
        """
        self._folder = folder
        self._header = header
        self._origin_ns = origin_ns
        self._queue: deque[Callable[[], str]] = deque()
        self._stop = threading.Event()
        self._thread: threading.Thread | None = None
        self._trouble = ""
        self._joints_ns = 0
        self._lead_ns = origin_ns - header.start_ns  # of the monotonic clock before that of stamps
        self.path = folder

    @property
    def trouble(self) -> str:
        """Why nothing is written any more; empty while all is well."""
        return self._trouble

    def start(self) -> None:
        """Open a new file and write in the background; a failure is told, not raised."""
        try:
            self._folder.mkdir(parents=True, exist_ok=True)
            file = self._open_new()
            file.write(header_line(self._header))
            file.flush()
        except OSError as error:
            self._fail(error)
            return
        _logger.info("hands are recorded in %s", self.path)
        self._thread = threading.Thread(target=self._run, args=(file,), name="hands-recorder")
        self._thread.start()

    def stop(self) -> None:
        """Write what waits and close the file."""
        self._stop.set()
        if self._thread is not None:
            self._thread.join()
            self._thread = None

    def take_message(self, message: Any, received_ns: int) -> None:
        """Take a headset's message with its monotonic time of receipt [ns]."""
        self._put(lambda: self._message_line(message, received_ns))

    def take_report(self, state: JoyConState) -> None:
        """Take a report of the Joy-Con."""
        self._put(lambda: self._report_line(state))

    def take_joints(self, stamp_ns: int, q: NDArray[np.float64], received_ns: int) -> None:
        """Take measured joints (n,) [rad]; those of one stamp once.

        Args:
            stamp_ns: Unix time at which they were measured [ns].
            q: (n,) [rad].
            received_ns: monotonic time at which they had arrived [ns].
        """
        if stamp_ns == self._joints_ns:
            return
        is_back = stamp_ns < self._joints_ns
        self._joints_ns = stamp_ns
        if is_back or not 0 <= received_ns - stamp_ns - self._lead_ns <= OLDEST_JOINTS_NS:
            self._lead_ns = received_ns - stamp_ns  # the clock of the stamps was set
        measured_ns = stamp_ns + self._lead_ns
        self._put(lambda: joints_line(self._seconds(measured_ns), q))

    def _put(self, line: Callable[[], str]) -> None:
        if self._thread is None or self._trouble:
            return
        if len(self._queue) >= LONGEST_QUEUE:
            self._fail(OSError(f"the disk is too slow: {LONGEST_QUEUE} messages wait"))
            return
        self._queue.append(line)

    def _message_line(self, message: Any, received_ns: int) -> str:
        found = {
            "head": message.Head if message.HasField("Head") else None,
            "left": _wrist(message.left_hand),
            "right": _wrist(message.right_hand),
        }
        matrices = {name: protocol.read_matrix(one) for name, one in found.items() if one}
        return message_line(self._seconds(received_ns), matrices) if matrices else ""

    def _report_line(self, state: JoyConState) -> str:
        t = self._seconds(state.received_ns)
        pressed = (name for name, down in zip(BUTTONS, state.buttons, strict=True) if down)
        report = JoyConReport(
            t=t,
            buttons=frozenset(pressed),
            stick=state.axes,
            battery=state.battery,
            charging=state.charging,
        )
        return report_line(t, report)

    def _seconds(self, received_ns: int) -> float:
        return (received_ns - self._origin_ns) * 1e-9

    def _open_new(self) -> TextIO:
        """A process that was started again gets a file of its own."""
        side, number = self._header.side, 1
        while True:
            self.path = self._folder / f"{side}{f'-{number}' if number > 1 else ''}.jsonl"
            try:
                return self.path.open("x")
            except FileExistsError:
                number += 1

    def _run(self, file: TextIO) -> None:
        try:
            with file:
                while not self._stop.wait(WRITE_PERIOD):
                    self._write(file)
                self._write(file)
        except OSError as error:
            self._fail(error)
        self._queue.clear()

    def _write(self, file: TextIO) -> None:
        for _ in range(len(self._queue)):
            file.write(self._queue.popleft()())
        file.flush()

    def _fail(self, error: OSError) -> None:
        self._trouble = (
            f"hands are not recorded: {self.path}: {error.strerror or error}; "
            "free the disk or name another folder, and start again"
        )
        _logger.error("%s", self._trouble)


def _wrist(hand: Any) -> Any:
    return hand.wristMatrix if hand.HasField("wristMatrix") else None
