"""A controller on a Unix socket: one packet is one report, every reader gets every report."""

import contextlib
import json
import selectors
import socket
import threading
import time
from collections.abc import Callable, Collection
from pathlib import Path
from typing import Any

from ate_core.devices import Side
from ate_core.errors import DeviceError
from operator_devices import joycon_report as report_format
from operator_devices.joycon_emulator.model import JoyConModel
from operator_devices.rumble import Buzz

_REPORT_PERIOD = 0.015
"""Spacing of full reports [s]."""


class JoyConEmulator:
    """One emulated controller; all methods, faults included, may be called from any thread."""

    def __init__(self, serial: str, side: Side, socket_dir: str | Path) -> None:
        """Prepares the controller; `start` switches it on.

        Args:
            serial: Bluetooth address by which programs find it.
            side: Left or right controller.
            socket_dir: Folder of the sockets (ATE_HID_DIR of the programs).
        """
        self._path = Path(socket_dir) / f"{serial}.sock"
        self._model = JoyConModel(serial, side)
        self._lock = threading.Lock()
        self._stop = threading.Event()
        self._thread: threading.Thread | None = None
        self._clients: list[socket.socket] = []
        self._unanswering = self._mute = self._foreign = False

    def __enter__(self) -> "JoyConEmulator":
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    @property
    def serial(self) -> str:
        """Bluetooth address."""
        return self._model.serial

    @property
    def lamps(self) -> int:
        """Player lamps that are on, lamp 1 = bit 0."""
        return self._model.lamps

    @property
    def flashing(self) -> int:
        """Player lamps that flash."""
        return self._model.flashing

    @property
    def last_rumble(self) -> bytes:
        """The rumble bytes of the last output report."""
        return self._model.last_rumble

    @property
    def felt(self) -> list[Buzz]:
        """Tones that a hand on it has felt, newest last, each once until it changed."""
        with self._lock:
            return list(self._model.felt)

    def start(self) -> None:
        """Switches the controller on: it can be found and opened.

        Raises:
            DeviceError: The socket cannot be made.
        """
        if self._thread is not None:
            return
        self._path.parent.mkdir(parents=True, exist_ok=True)
        listener = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        try:
            if _is_listening(self._path):
                raise OSError("another emulator is this controller")
            self._path.unlink(missing_ok=True)
            listener.bind(str(self._path))
            listener.listen()
        except OSError as error:
            listener.close()
            raise DeviceError(
                f"cannot listen on {self._path} ({error}); "
                "choose a runtime_dir that is short, writable and not in use"
            ) from error
        self._stop.clear()
        with self._lock:
            self._model.power_on()
        self._thread = threading.Thread(
            target=self._serve,
            args=(listener,),
            name=f"joycon-emulator-{self.serial}",
            daemon=True,
        )
        self._thread.start()

    def stop(self) -> None:
        """Switches it off: the link is cut and nothing finds it."""
        self._stop.set()
        if self._thread is not None:
            self._thread.join(timeout=2.0)
            self._thread = None

    def press(self, button: str) -> None:
        """Presses a button and holds it; names as in `joycon_report.BUTTONS`."""
        with self._lock:
            self._model.set_button(button, True)

    def release(self, button: str) -> None:
        """Releases a button."""
        with self._lock:
            self._model.set_button(button, False)

    def set_stick(self, horizontal: float, vertical: float) -> None:
        """Holds the stick, -1 .. 1 each; right and up are positive."""
        with self._lock:
            self._model.set_stick(horizontal, vertical)

    def hold(self, buttons: Collection[str]) -> None:
        """Holds these buttons and no others."""
        with self._lock:
            for button in report_format.BUTTONS:
                self._model.set_button(button, button in buttons)

    def set_battery(self, ratio: float, *, charging: bool = False) -> None:
        """Sets the charge, 0 empty .. 1 full; told in steps of a quarter."""
        with self._lock:
            self._model.battery, self._model.charging = ratio, charging

    def refuse_answers(self, on: bool = True) -> None:
        """Fault: it can be opened, but obeys and answers nothing."""
        self._unanswering = on

    def mute(self, on: bool = True) -> None:
        """Fault: the link is up, no report comes."""
        self._mute = on

    def freeze(self, on: bool = True) -> None:
        """Fault: it stands still, and its radio sends the last report again and again."""
        with self._lock:
            self._model.frozen = on

    def send_report(self) -> None:
        """Sends a report now, whatever its rhythm; for a controller that is muted."""
        if not self._model.pushes_reports:
            return
        with self._lock:
            report = self._model.full_report()
        self._send_to_all(report)

    def send_foreign_answers(self, on: bool = True) -> None:
        """Fault: before each answer comes one to somebody else's subcommand."""
        self._foreign = on

    def blank_calibration(self, fill: int = 0) -> None:
        """Fault: the flash holds no calibration."""
        with self._lock:
            self._model.blank_calibration(fill)

    def drop(self) -> None:
        """Fault: switched off, or out of reach."""
        self.stop()

    def restore(self) -> None:
        """Ends `drop`."""
        self.start()

    def inject(self, fault: str, value: Any = None) -> None:
        """Calls a fault by name, for a control channel; `value` is its argument or None.

        Raises:
            DeviceError: There is no such fault.
        """
        faults: dict[str, Callable[..., None]] = {
            "refuse_answers": self.refuse_answers,
            "mute": self.mute,
            "freeze": self.freeze,
            "foreign_answers": self.send_foreign_answers,
            "blank_calibration": self.blank_calibration,
            "drop": self.drop,
            "restore": self.restore,
        }
        if fault not in faults:
            raise DeviceError(f"no Joy-Con fault {fault!r}; choose one of {', '.join(faults)}")
        faults[fault](*(() if value is None else (value,)))

    def _serve(self, listener: socket.socket) -> None:
        with selectors.DefaultSelector() as selector, contextlib.closing(listener):
            selector.register(listener, selectors.EVENT_READ)
            due = time.monotonic()
            while not self._stop.is_set():
                for key, _ in selector.select(max(0.0, due - time.monotonic())):
                    if key.fileobj is listener:
                        self._accept(listener, selector)
                    else:
                        self._receive(key.fileobj, selector)  # type: ignore[arg-type]
                now = time.monotonic()
                if now >= due:
                    due = max(due + _REPORT_PERIOD, now)
                    if self._model.pushes_reports and not self._mute:
                        with self._lock:
                            report = self._model.full_report()
                        self._send_to_all(report)
            for client in self._clients:
                client.close()
            self._clients.clear()
            self._path.unlink(missing_ok=True)

    def _accept(self, listener: socket.socket, selector: selectors.BaseSelector) -> None:
        client, _ = listener.accept()
        identity = {
            "vendor_id": report_format.VENDOR_ID,
            "product_id": report_format.PRODUCT_IDS[self._model.side],
            "product_string": report_format.PRODUCT_NAMES[self._model.side],
            "serial_number": self.serial,
        }
        client.setblocking(False)
        with contextlib.suppress(OSError):
            client.send(json.dumps(identity).encode())
        self._clients.append(client)
        selector.register(client, selectors.EVENT_READ)

    def _receive(self, client: socket.socket, selector: selectors.BaseSelector) -> None:
        try:
            packet = client.recv(4096)
        except BlockingIOError:
            return
        except OSError:
            packet = b""
        if not packet:
            selector.unregister(client)
            self._clients.remove(client)
            client.close()
            return
        if self._unanswering:
            return
        with self._lock:
            answer = self._model.receive(packet)
            foreign = self._model.foreign_answer() if self._foreign and answer else None
        for report in (foreign, answer):
            if report is not None:
                self._send_to_all(report)

    def _send_to_all(self, report: bytes) -> None:
        for client in tuple(self._clients):
            # A slow reader loses reports, as with hidraw; one that has gone is removed on read.
            with contextlib.suppress(OSError):
                client.send(report)


def _is_listening(path: Path) -> bool:
    """Whether a socket file has a listener; a killed emulator leaves a file without one."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as probe:
        return path.exists() and probe.connect_ex(str(path)) == 0
