"""What this process sees and does of the library's TCP connection, beside the library."""

import contextlib
import fcntl
import os
import select
import socket
import struct
import termios

from ate_core.errors import DeviceError

ACKNOWLEDGE_TIMEOUT = 0.5
"""The kernel gives a connection up whose bytes stay unacknowledged for this long [s], and throws
them away: after a cut cable no old target is sent."""
MOST_LEFT_BEHIND = 64
"""A connection that ends with more unacknowledged bytes is reset, so that they are not delivered
after the end of this process [bytes]: one stop fits, no target does."""
_RESET = struct.pack("ii", 1, 0)  # SO_LINGER of no time: closing discards what was not sent


class Connection:
    """A second descriptor of the library's socket."""

    def __init__(self, tcp: socket.socket) -> None:
        """Take a connected TCP socket, and limit how long its bytes may be on their way."""
        self._tcp = tcp
        limit = round(ACKNOWLEDGE_TIMEOUT * 1e3)
        tcp.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, limit)
        self._poller = select.poll()
        self._poller.register(tcp, select.POLLRDHUP)

    @property
    def ended(self) -> bool:
        """Whether the controller closed the connection, or it broke."""
        return bool(self._poller.poll(0))

    def send(self, line: bytes) -> None:
        """Send a line of our own at once, or not at all."""
        with contextlib.suppress(OSError):
            self._tcp.send(line, socket.MSG_DONTWAIT)

    def unacknowledged(self) -> int:
        """Bytes that the controller's network has not acknowledged; very many of a broken one.

        SIOCOUTQ counts what was written less what was acknowledged. The network of a controller
        acknowledges what arrives although its program reads nothing, until its buffer is full:
        targets that wait there cannot be seen from here. The answers and states of the controller
        tell that it reads.
        """
        try:
            answer = fcntl.ioctl(self._tcp, termios.TIOCOUTQ, b"\0\0\0\0")
        except OSError:
            return 2**31 - 1
        count: int = struct.unpack("i", answer)[0]
        return count

    def prepare_end(self) -> None:
        """Let the end of this process discard targets that are still on their way."""
        if self.unacknowledged() > MOST_LEFT_BEHIND:
            with contextlib.suppress(OSError):
                self._tcp.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET)


def find_connection(ip: str, port: int) -> Connection:
    """The library's connection to a controller.

    Raises:
        DeviceError: the library has none.
    """
    for name in os.listdir("/proc/self/fd"):
        with contextlib.suppress(OSError):
            if not os.readlink(f"/proc/self/fd/{name}").startswith("socket:"):
                continue
            found = socket.socket(fileno=os.dup(int(name)))
            with contextlib.suppress(OSError):
                if found.type == socket.SOCK_STREAM and found.getpeername() == (ip, port):
                    return Connection(found)
            found.close()
    raise DeviceError(f"the connection to {ip}:{port} broke while it was set up")
