"""One process per device on one host: a name that the kernel takes back when its holder ends.

The graph cannot tell this: a killed node stays in it for twenty seconds, and a new one is seen
late. An abstract unix socket is taken at once, by one process of a network namespace, and is free
in the moment in which that process is gone, however it ended.
"""

import contextlib
import errno
import hashlib
import socket
import struct

NAME_TAIL = 60
"""Characters of the device's name that stay readable in the socket's name (at most 107)."""


class DeviceClaim:
    """The right to drive one device, until `release` or the end of the process."""

    def __init__(self, device: str, domain: int) -> None:
        """Prepare.

        Args:
            device: name of the device, the same for all who may drive it.
            domain: ROS domain; another one is another cell.
        """
        text = f"ate {domain} {device}"
        digest = hashlib.sha256(text.encode()).hexdigest()[:12]
        self._address = f"\0ate {domain} {device[-NAME_TAIL:]} {digest}"
        self._device = device
        self._socket: socket.socket | None = None
        self._holder = ""

    def take(self) -> str:
        """Take the name; returns who has it, or an empty text when it is ours."""
        if self._socket is not None:
            return ""
        listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        try:
            listener.bind(self._address)
        except OSError as error:
            listener.close()
            if error.errno != errno.EADDRINUSE:
                raise
            return self._refusal()
        listener.listen()  # without it the kernel does not tell who holds the name
        self._socket = listener
        return ""

    def release(self) -> None:
        """Give the name back."""
        if self._socket is not None:
            self._socket.close()
            self._socket = None

    def _refusal(self) -> str:
        self._holder = self._holder or self._holder_pid()
        who = f"process {self._holder}" if self._holder else "another process"
        return f"{who} already drives {self._device}: was the launch started twice? End one"

    def _holder_pid(self) -> str:
        with contextlib.suppress(OSError), socket.socket(socket.AF_UNIX) as asking:
            asking.setblocking(False)
            asking.connect(self._address)
            credentials = asking.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, 12)
            return str(struct.unpack("3i", credentials)[0])
        return ""
