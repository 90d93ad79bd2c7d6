"""One operator's Joy-Con: found by serial number, reconnected, released when silent."""

import importlib
import importlib.util
import logging
import sys
import threading
import time
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from ate_core.devices import Side
from ate_core.errors import DeviceError
from ate_core.patience import Patience
from operator_devices.joycon_report import (
    AXES,
    BUTTONS,
    PRODUCT_IDS,
    PRODUCT_NAMES,
    SHOULDER,
    TIMER_BYTE,
    TRIGGER,
    VENDOR_ID,
    JoyConState,
    parse_report,
)
from operator_devices.rumble import SILENT, Pattern, RumblePlayer, encode

if TYPE_CHECKING:
    from operator_devices.joycon_device import SerialJoyCon

__all__ = [
    "AXES",
    "BUTTONS",
    "SHOULDER",
    "TRIGGER",
    "JoyConConfig",
    "JoyConReader",
    "JoyConState",
    "load_device_class",
]

_logger = logging.getLogger(__name__)

_UDEV_REMEDY = "pair and wake it; hidraw needs a udev rule for vendor 057e, products 2006 and 2007"


@dataclass(frozen=True, kw_only=True)
class JoyConConfig:
    """Which controller, and when its silence counts."""

    serial: str
    """Bluetooth address; the only thing that tells two controllers of one side apart."""
    side: Side
    """Left or right controller."""
    stale_limit: float = 0.1
    """Age of a report above which everything counts as released; reports come every 15 ms [s]."""
    silence_limit: float = 1.0
    """Silence after which the connection is given up and opened again [s]."""
    reconnect_pause: float = 0.3
    """Fixed pause between two attempts to open the controller [s]."""
    lamp_period: float = 1.0
    """The lamps are written again this often, since the kernel's driver sets them too [s]."""

    def __post_init__(self) -> None:
        if self.side not in PRODUCT_IDS:
            raise ValueError(f"side is {self.side!r}; it must be 'left' or 'right'")
        if not self.serial:
            raise ValueError("serial is empty; write the controller's Bluetooth address")
        for name in ("stale_limit", "silence_limit", "reconnect_pause", "lamp_period"):
            if not getattr(self, name) > 0.0:
                raise ValueError(f"{name} is {getattr(self, name)} s; it must be above 0")


class JoyConReader:
    """Buttons, stick and lamps of one controller; only `stop` waits for it."""

    def __init__(
        self, config: JoyConConfig, on_state: Callable[[JoyConState], None] | None = None
    ) -> None:
        """Prepares the reader.

        Args:
            config: Which controller.
            on_state: Called from the reading thread with each report.
        """
        self._config = config
        self._on_state = on_state
        self._lock = threading.Lock()
        self._wake = threading.Event()  # something for the supervisor to do
        self._stop = threading.Event()
        self._thread: threading.Thread | None = None
        self._state: JoyConState | None = None
        self._device: SerialJoyCon | None = None
        self._lost: Exception | None = None
        self._timer: int | None = None  # of the newest report
        self._counts = False  # whether its reports were seen to be numbered
        self._session = 0
        self._lamps = 0
        self._wanted: Pattern = ()
        self._status = "not started"
        self._patience = Patience(_logger, f"{PRODUCT_NAMES[config.side]} {config.serial}")

    def start(self) -> None:
        """Begins looking for the controller in the background.

        Raises:
            DeviceError: The libraries for Joy-Cons are not installed.
        """
        if self._thread is not None:
            return
        device_class = load_device_class()
        self._stop.clear()
        self._thread = threading.Thread(
            target=self._run,
            args=(device_class,),
            name=f"joycon-{self._config.serial}",
            daemon=True,
        )
        self._thread.start()

    def stop(self) -> None:
        """Switches the lamps off, closes the controller and waits for the background work."""
        self._stop.set()
        self._wake.set()
        if self._thread is not None:
            self._thread.join(timeout=3.0)
            self._thread = None

    def latest(self) -> JoyConState | None:
        """The newest state, all released when it is stale; None before the first full report."""
        with self._lock:
            state = self._state
        if state is None or not state.live:
            return state
        age = (time.monotonic_ns() - state.received_ns) * 1e-9
        return state.released() if age > self._config.stale_limit else state

    @property
    def connected(self) -> bool:
        """Whether reports are arriving now."""
        state = self.latest()
        return state is not None and state.live

    @property
    def status(self) -> str:
        """One line for the operator."""
        if self._device is not None and not self.connected:
            return f"{self._name} is open but silent"
        return f"{self._name} {self._status}"

    @property
    def _name(self) -> str:
        return f"{PRODUCT_NAMES[self._config.side]} {self._config.serial}"

    def set_lamps(self, on: int, flashing: int = 0) -> None:
        """Asks for these player lamps, lamp 1 = bit 0; written soon by the one writing thread.

        Args:
            on: lamps that are lit.
            flashing: lamps that flash; one that is also lit, is lit.
        """
        for name, mask in (("on", on), ("flashing", flashing)):
            if not 0 <= mask <= 0xF:
                raise ValueError(f"mask of lamps {name} is {mask}; it must be 0 .. 15")
        lamps = on | flashing << 4
        if lamps != self._lamps:
            self._lamps = lamps
            self._wake.set()

    def rumble(self, pattern: Pattern) -> None:
        """Asks for a rumble, in place of the one that plays; the one writing thread sends it."""
        with self._lock:
            self._wanted = pattern
        self._wake.set()

    def _run(self, device_class: "type[SerialJoyCon]") -> None:
        while not self._stop.is_set():
            try:
                self._lost = self._timer = None
                self._check_presence()
                self._session += 1
                self._device = device_class(
                    self._config.side, self._config.serial, self._take, self._lose
                )
                self._status = "connected"
                self._patience.well(f"{self._name} connected")
                self._serve(self._device)
            except Exception as error:  # hid libraries and pyjoycon raise types of their own
                self._status = f"cannot be used: {error}"
                self._patience.trouble(f"{self._name} {self._status}")
            finally:
                if self._device is not None:
                    self._device.close()
                    self._device = None
                self._release()
            self._stop.wait(self._config.reconnect_pause)
        self._status = "stopped"

    def _check_presence(self) -> None:
        """Looks the serial up first: a failed opening says only "open failed"."""
        hid = sys.modules["hid"]
        for entry in hid.enumerate(VENDOR_ID, 0):
            if str(entry["serial_number"]).casefold() != self._config.serial.casefold():
                continue
            if entry["product_id"] != PRODUCT_IDS[self._config.side]:
                raise DeviceError(
                    f"it is a {entry['product_string']}; correct joycon_side in cell.yaml"
                )
            return
        raise DeviceError(f"not found; {_UDEV_REMEDY}")

    def _serve(self, device: "SerialJoyCon") -> None:
        """Writes the lamps while the controller is there; the only writer after construction."""
        opened_ns = time.monotonic_ns()
        written, due, player = -1, 0.0, RumblePlayer()
        while not self._stop.is_set():
            if self._lost is not None:
                raise self._lost
            if written != self._lamps or time.monotonic() >= due:
                written, due = self._lamps, time.monotonic() + self._config.lamp_period
                device.set_player_lamp(written)
            with self._lock:
                wanted, self._wanted = self._wanted, ()
            if wanted:
                player.play(wanted, time.monotonic())
            if (packet := player.packet(time.monotonic())) is not None:
                device.send_rumble(packet)
            with self._lock:
                heard_ns = max(opened_ns, self._state.received_ns if self._state else 0)
            if time.monotonic_ns() - heard_ns > self._config.silence_limit * 1e9:
                raise TimeoutError(f"no new report for {self._config.silence_limit} s")
            self._wake.wait(timeout=0.025 if player.is_playing else 0.1)
            self._wake.clear()
        device.send_rumble(encode(SILENT))
        device.set_player_lamp(0)

    def _take(self, report: bytes, received_ns: int) -> None:
        device = self._device
        if device is None:  # still under construction: its calibration is not ours yet
            return
        timer, self._timer = self._timer, report[TIMER_BYTE]
        if timer == self._timer and self._counts:
            return  # the same report again, of a controller that has frozen
        self._counts = self._counts or timer not in (None, self._timer)
        state = parse_report(
            report, self._config.side, device.stick_calibration, received_ns, self._session
        )
        if self._on_state is not None:
            self._on_state(state)
        with self._lock:
            self._state = state.after(self._state)

    def _lose(self, error: Exception) -> None:
        self._lost = error
        self._release()
        self._wake.set()

    def _release(self) -> None:
        with self._lock:
            if self._state is not None:
                self._state = self._state.released()


def load_device_class() -> "type[SerialJoyCon]":
    """Imports pyjoycon on a `hid` module that sees Bluetooth controllers.

    pyjoycon imports a module called `hid`. That of the hidapi package uses libusb and sees no
    Bluetooth device; its sister module `hidraw` does (cython-hidapi issue 203), so it is put in
    that place.

    Raises:
        DeviceError: A library is missing.
    """
    has_hidraw = importlib.util.find_spec("hidraw") is not None
    if "hid" not in sys.modules and has_hidraw and not _stand_in_is_first():
        sys.modules["hid"] = importlib.import_module("hidraw")
    # pyjoycon calls Thread.setDaemon and imports PyGLM by its old name; both only warn.
    for category in (DeprecationWarning, PendingDeprecationWarning):
        warnings.filterwarnings("ignore", category=category, module=r"pyjoycon\b")
    try:
        from operator_devices.joycon_device import SerialJoyCon
    except ImportError as error:
        raise DeviceError(
            f"cannot load the Joy-Con libraries ({error}); pip install joycon-python hidapi PyGLM"
        ) from error
    return SerialJoyCon


def _stand_in_is_first() -> bool:
    """Whether `import hid` would find the emulator's stand-in, first on the path."""
    from operator_devices.joycon_emulator import standin_path

    spec = importlib.util.find_spec("hid")
    return bool(spec and spec.origin and Path(spec.origin).parent == standin_path())
