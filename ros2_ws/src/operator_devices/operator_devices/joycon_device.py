"""One open Joy-Con: the unmodified `pyjoycon.JoyCon` with the parts replaced that fail on a robot.

Import it through `joycon.load_device_class`, which first chooses the `hid` module that pyjoycon
gets.
"""

import logging
import threading
import time
from collections.abc import Callable

import pyjoycon

from ate_core.devices import Side
from operator_devices import joycon_report as report_format
from operator_devices.joycon_report import StickCalibration

_logger = logging.getLogger(__name__)

_ANSWER_TIMEOUT = 0.2
"""A controller answers a subcommand within a few reports of 15 ms [s]."""
_ATTEMPTS = 3
_READ_TIMEOUT_MS = 50
"""How soon the reader notices that it shall end [ms]."""
_WRITE_SPACING = 0.025
"""Writes closer than this have dropped Bluetooth links (JoyShockMapper issue 158) [s]."""
_SPI_READ = b"\x10"
_SET_MODE = b"\x03"
_ENABLE_RUMBLE = b"\x48"
_RUMBLE_REPORT = b"\x10"


class SerialJoyCon(pyjoycon.JoyCon):  # type: ignore[misc]  # pyjoycon carries no types
    """A controller opened by serial number, whose reads end, and whose loss is told.

    Construction talks to the controller and raises OSError when it does not answer.
    """

    def __init__(
        self,
        side: Side,
        serial: str,
        on_report: Callable[[bytes, int], None],
        on_lost: Callable[[Exception], None],
    ) -> None:
        """Opens the controller and begins reading.

        Args:
            side: Which product to open.
            serial: Its Bluetooth address.
            on_report: Called from the reading thread with each full report and its time [ns].
            on_lost: Called once from the reading thread when the device fails.
        """
        self._side = side
        self._on_report = on_report
        self._on_lost = on_lost
        self._ending = threading.Event()
        self._write_lock = threading.Lock()
        self._next_write = 0.0
        self.stick_calibration = StickCalibration()
        try:
            super().__init__(report_format.VENDOR_ID, report_format.PRODUCT_IDS[side], serial)
        except BaseException:
            self._close()
            raise

    def close(self) -> None:
        """Ends the reading thread, then closes the device."""
        self._ending.set()
        self._update_input_report_thread.join(timeout=1.0)
        self._close()

    def send_rumble(self, data: bytes) -> None:
        """Sends eight bytes of rumble; every later report carries them too, until the next."""
        self._RUMBLE_DATA = data
        self._write_output_report(_RUMBLE_REPORT, b"", b"")

    def _open(self, vendor_id: int, product_id: int, serial: str | None) -> object:
        # The base class passes no serial and so opens any controller of this product.
        return super()._open(vendor_id, product_id, self.serial)

    def _read_input_report(self) -> bytes:
        report = self._read(int(_ANSWER_TIMEOUT * 1e3))
        if not report:
            raise TimeoutError(f"no report within {_ANSWER_TIMEOUT} s")
        return report

    def _read(self, timeout_ms: int) -> bytes:
        return bytes(self._joycon_device.read(self._INPUT_REPORT_SIZE, timeout_ms))

    def _write_output_report(self, command: bytes, subcommand: bytes, argument: bytes) -> None:
        with self._write_lock:
            time.sleep(max(0.0, self._next_write - time.monotonic()))
            super()._write_output_report(command, subcommand, argument)
            self._next_write = time.monotonic() + _WRITE_SPACING

    def _send_subcmd_get_response(self, subcommand: bytes, argument: bytes) -> tuple[int, bytes]:
        # Others may talk to the controller too, as the kernel's driver does: wait for our answer.
        for _ in range(_ATTEMPTS):
            self._write_output_report(b"\x01", subcommand, argument)
            deadline = time.monotonic() + _ANSWER_TIMEOUT
            while (remaining := deadline - time.monotonic()) > 0.0:
                report = self._read(max(1, int(remaining * 1e3)))
                if _answers(report, subcommand, argument):
                    return report[13] & 0x80, report[13:]
        raise TimeoutError(
            f"no answer to subcommand {subcommand.hex()} in {_ATTEMPTS} attempts; "
            "press a button of the controller, or pair it again"
        )

    def _read_joycon_data(self) -> None:
        try:
            super()._read_joycon_data()
        except ZeroDivisionError:
            _logger.warning("Joy-Con %s has no motion calibration in its flash", self.serial)
        user = self._spi_flash_read(report_format.USER_CALIBRATION[self._side], 11)
        data = user[2:]
        if not user.startswith(report_format.CALIBRATION_MAGIC):
            address = report_format.FACTORY_CALIBRATION[self._side]
            data = self._spi_flash_read(address, report_format.CALIBRATION_SIZE)
        self.stick_calibration = report_format.parse_calibration(data, self._side)

    def _setup_sensors(self) -> None:
        # The base class waits for no answer, and starts the motion sensors that nobody reads.
        self._send_subcmd_get_response(_ENABLE_RUMBLE, b"\x01")
        self._send_subcmd_get_response(_SET_MODE, bytes((report_format.FULL_REPORT,)))

    def _update_input_report(self) -> None:  # the reading thread
        try:
            while not self._ending.is_set():
                report = self._read(_READ_TIMEOUT_MS)
                received_ns = time.monotonic_ns()
                if len(report) >= 12 and report[0] == report_format.FULL_REPORT:
                    self._input_report = report
                    self._on_report(report, received_ns)
        except Exception as error:  # the hid libraries raise types of their own
            if not self._ending.is_set():
                self._on_lost(error)


def _answers(report: bytes, subcommand: bytes, argument: bytes) -> bool:
    """Whether a report is the answer to this subcommand, and for flash reads to this address."""
    if len(report) < 20 or report[0] != report_format.ANSWER_REPORT:
        return False
    if report[14:15] != subcommand:
        return False
    return subcommand != _SPI_READ or report[15:20] == argument
