"""The controller's inside: flash, buttons, lamps, and what it answers. No sockets, no clock."""

import zlib
from collections import deque

import numpy as np

from ate_core.devices import Side
from operator_devices import joycon_report as report_format
from operator_devices.joycon_report import StickCalibration
from operator_devices.rumble import SILENT, Buzz, decode

FLASH_SIZE = 0x80000
"""Size of the controller's serial flash [bytes]."""
_SIMPLE_MODE = 0x3F
"""Mode after power-on: reports on events only; their content is not modelled."""
_TIMER_STEP = 3
"""The timer byte counts samples of 5 ms, three to a report."""
_IMU_AT_REST = b"\x00\x00\x00\x00\x00\x10\x00\x00\x00\x00\x00\x00"
"""One sample: 1 g (4096) along z, no rotation."""


class JoyConModel:
    """State of one controller; bytes in, bytes out."""

    def __init__(self, serial: str, side: Side) -> None:
        self.serial = serial
        self.side = side
        seed = zlib.crc32(serial.encode())
        self._random = np.random.default_rng(seed)
        centre = tuple(int(c) for c in 2048 + self._random.integers(-120, 121, 2))
        self.stick_calibration = StickCalibration(
            centre=(centre[0], centre[1]), above=(1250, 1300), below=(1350, 1280)
        )
        self._flash = self._write_flash()
        self._buttons = bytearray(3)  # bytes 3 to 5 of a report
        self._stick = (0.0, 0.0)
        self.frozen = False
        self.battery = 1.0
        self.charging = False
        self.power_on()

    def power_on(self) -> None:
        """Forgets what a controller forgets when its link is lost."""
        self._mode = _SIMPLE_MODE
        self._timer = int(self._random.integers(256))
        self.lamps = 0
        self.flashing = 0
        self.vibration = False
        self.last_rumble = b""
        self.felt: deque[Buzz] = deque([SILENT], maxlen=200)

    @property
    def pushes_reports(self) -> bool:
        """Whether a full report is due every 15 ms."""
        return self._mode == report_format.FULL_REPORT

    def set_button(self, button: str, pressed: bool) -> None:
        """Presses or releases a button, named as in `joycon_report.BUTTONS`."""
        if button not in report_format.BUTTON_BITS:
            raise ValueError(
                f"no button {button!r}; choose one of {', '.join(report_format.BUTTONS)}"
            )
        byte, mask = report_format.BUTTON_BITS[button]
        self._buttons[byte - 3] = self._buttons[byte - 3] & ~mask | (mask if pressed else 0)

    def set_stick(self, horizontal: float, vertical: float) -> None:
        """Moves the stick, -1 .. 1 each."""
        self._stick = (horizontal, vertical)

    def blank_calibration(self, fill: int = 0) -> None:
        """Fault: motion and stick calibration are gone from the flash."""
        self._flash[0x6020:0x604F] = bytes((fill,)) * (0x604F - 0x6020)

    def full_report(self) -> bytes:
        """Report 0x30."""
        report = self._head(report_format.FULL_REPORT) + _IMU_AT_REST * 3
        return report.ljust(report_format.REPORT_SIZE, b"\0")

    def foreign_answer(self) -> bytes:
        """Answer 0x21 to a subcommand of another party: 'vibration enabled'."""
        return self._answer(0x80, 0x48, b"")

    def receive(self, packet: bytes) -> bytes | None:
        """Takes an output report; the answer, if it is a subcommand."""
        if len(packet) < 10 or packet[0] not in (0x01, 0x10):
            return None
        self.last_rumble = packet[2:10]
        buzz = decode(self.last_rumble) if self.vibration else SILENT
        if buzz != self.felt[-1]:
            self.felt.append(buzz)
        if packet[0] == 0x10 or len(packet) < 11:
            return None
        return self._obey(packet[10], packet[11:])

    def _obey(self, subcommand: int, argument: bytes) -> bytes:
        first = argument[0] if argument else 0
        if subcommand == 0x02:  # firmware 4.33, type, address
            kind = 1 if self.side == "left" else 2
            own_address = bytes.fromhex(self.serial.replace(":", "")).rjust(6, b"\0")[:6]
            data = bytes((4, 0x21, kind, 2)) + own_address + b"\x01\x01"
            return self._answer(0x82, subcommand, data)
        if subcommand == 0x10 and len(argument) >= 5:
            address, size = int.from_bytes(argument[:4], "little"), argument[4]
            if size > 29:
                return self._answer(0x00, subcommand, b"")
            data = bytes(self._flash[address : address + size])
            return self._answer(0x90, subcommand, argument[:5] + data)
        if subcommand == 0x03:
            self._mode = first
        elif subcommand == 0x30:
            self.lamps, self.flashing = first & 0xF, first >> 4 & ~first & 0xF
        elif subcommand == 0x48:
            self.vibration = bool(first)
        return self._answer(0x80, subcommand, b"")

    def _answer(self, acknowledge: int, subcommand: int, data: bytes) -> bytes:
        head = self._head(report_format.ANSWER_REPORT)
        answer = head + bytes((acknowledge, subcommand)) + data
        return answer.ljust(report_format.REPORT_SIZE, b"\0")

    def _head(self, report_id: int) -> bytes:
        """The 13 bytes that all reports begin with."""
        if not self.frozen:
            self._timer = (self._timer + _TIMER_STEP) & 0xFF
        level = 2 * round(4 * self.battery) | int(self.charging)
        connection = level << 4 | 0x0E  # 3 << 1: a Joy-Con, not powered
        raw = self._raw_stick()
        rest = report_format.pack_pair(0, 0)  # the side that is not there
        sticks = raw + rest if self.side == "left" else rest + raw
        return bytes((report_id, self._timer, connection)) + self._buttons + sticks + b"\x00"

    def _raw_stick(self) -> bytes:
        return report_format.pack_pair(*self.stick_calibration.raw(self._stick))

    def _write_flash(self) -> bytearray:
        flash = bytearray(b"\xff") * FLASH_SIZE
        offset, accel, gyro = (
            bytes(6),
            (0x4000).to_bytes(2, "little"),
            (0x343B).to_bytes(2, "little"),
        )
        flash[0x6020:0x6038] = offset + accel * 3 + offset + gyro * 3
        c = self.stick_calibration
        above, centre, below = (report_format.pack_pair(*v) for v in (c.above, c.centre, c.below))
        flash[0x603D:0x6046] = above + centre + below
        flash[0x6046:0x604F] = centre + below + above
        flash[0x6050:0x6056] = bytes.fromhex("0ab9e6001e1e")  # body and button colours
        return flash
