"""Stand-in for the hidapi library whose devices are emulated controllers on Unix sockets.

Each controller listens on `<serial>.sock` (sequenced packets) in the folder named by ATE_HID_DIR,
by default `hid` in ATE_RUNTIME_DIR. Its first packet is its identity in JSON, as the kernel would
tell it; then one packet is one report. The surface is that part of cython-hidapi which programs
for controllers use. It imports nothing but the standard library, because it is found by its place
on the path alone.
"""

import json
import os
import select
import socket
from pathlib import Path
from typing import Any

_CONNECT_TIMEOUT = 1.0
"""An emulator in a busy process tells its identity within this [s]."""


def enumerate(vendor_id: int = 0, product_id: int = 0) -> list[dict[str, Any]]:
    """Identities of the controllers that listen; 0 is any vendor or product."""
    found = []
    for path in sorted(_folder().glob("*.sock")):
        try:
            connection, identity = _connect(path)
        except OSError:
            continue  # a socket file whose emulator has gone
        connection.close()
        if vendor_id in (0, identity["vendor_id"]) and product_id in (0, identity["product_id"]):
            found.append(identity)
    return found


class device:
    """One open controller."""

    def __init__(self) -> None:
        self._socket: socket.socket | None = None

    def open(self, vendor_id: int, product_id: int, serial_number: str | None = None) -> None:
        """Opens the controller of this serial number, or the first of this product.

        Raises:
            OSError: There is none.
        """
        for identity in enumerate(vendor_id, product_id):
            if serial_number in (None, identity["serial_number"]):
                self._socket, _ = _connect(Path(identity["path"].decode()))
                return
        raise OSError("open failed")

    def read(self, max_length: int, timeout_ms: int = 0) -> list[int]:
        """The next report; empty after `timeout_ms`, and 0 waits for ever.

        Raises:
            OSError: The controller has gone.
        """
        connection = self._opened()
        ready, _, _ = select.select(
            [connection], [], [], timeout_ms * 1e-3 if timeout_ms else None
        )
        if not ready:
            return []
        try:
            report = connection.recv(4096)
        except OSError:
            report = b""
        if not report:
            raise OSError("read error")
        return list(report[:max_length])

    def write(self, buff: bytes) -> int:
        """Sends a report; the number of bytes, or -1 when the controller has gone."""
        try:
            return self._opened().send(bytes(buff))
        except OSError:
            return -1

    def close(self) -> None:
        """Closes the controller."""
        if self._socket is not None:
            self._socket.close()
            self._socket = None

    def _opened(self) -> socket.socket:
        if self._socket is None:
            raise ValueError("not open")
        return self._socket


def _folder() -> Path:
    folder = os.environ.get("ATE_HID_DIR")
    if folder:
        return Path(folder)
    runtime = os.environ.get("ATE_RUNTIME_DIR")
    if not runtime:
        raise OSError("neither ATE_HID_DIR nor ATE_RUNTIME_DIR names the emulators' folder")
    return Path(runtime) / "hid"


def _connect(path: Path) -> tuple[socket.socket, dict[str, Any]]:
    connection = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    try:
        connection.settimeout(_CONNECT_TIMEOUT)
        connection.connect(str(path))
        identity = json.loads(connection.recv(4096) or b"null")
        if identity is None:
            raise OSError(f"{path} closed without telling its identity")
        connection.settimeout(None)
    except OSError:
        connection.close()
        raise
    return connection, {**identity, "path": str(path).encode()}
