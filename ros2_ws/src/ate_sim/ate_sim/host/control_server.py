"""JSON lines over a unix socket, answered between two physics steps by the world's thread."""

import json
import selectors
import socket
from collections.abc import Callable, Mapping
from pathlib import Path
from types import TracebackType

from ate_core.errors import AteError, DeviceError, UsageError

LONGEST_REQUEST = 65536
"""Bytes without a line end after which a client is dropped."""

Handler = Callable[[Mapping[str, object]], dict[str, object]]


class ControlServer:
    """Accept any number of clients; `wait` sleeps until a request comes or the time is up."""

    def __init__(self, path: Path, handle: Handler) -> None:
        """Listen at `path`, replacing a socket left over by a killed process.

        Args:
            path: Unix socket path (at most about 100 characters, a limit of the kernel).
            handle: Answers one request; an `AteError` it raises becomes the reply's `error`.
        """
        self._path = path
        self._handle = handle
        path.unlink(missing_ok=True)
        self._listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        try:
            self._listener.bind(str(path))
        except OSError as error:
            self._listener.close()
            raise DeviceError(
                f"cannot listen at {path} ({len(str(path))} characters): {error}; "
                "choose a shorter runtime folder with ATE_RUNTIME_DIR"
            ) from error
        self._listener.listen()
        self._listener.setblocking(False)
        # select() waits with microsecond resolution; epoll rounds up to whole milliseconds.
        self._selector = selectors.SelectSelector()
        self._selector.register(self._listener, selectors.EVENT_READ)
        self._pending: dict[socket.socket, bytes] = {}

    def wait(self, timeout: float) -> None:
        """Sleep for at most `timeout` [s] and answer what came."""
        for key, _ in self._selector.select(max(timeout, 0.0)):
            if key.fileobj is self._listener:
                self._accept()
            else:
                assert isinstance(key.fileobj, socket.socket)
                self._receive(key.fileobj)

    def close(self) -> None:
        """Drop all clients and remove the socket file."""
        for client in list(self._pending):
            self._drop(client)
        self._selector.close()
        self._listener.close()
        self._path.unlink(missing_ok=True)

    def __enter__(self) -> "ControlServer":
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def _accept(self) -> None:
        client, _ = self._listener.accept()
        client.setblocking(False)
        self._pending[client] = b""
        self._selector.register(client, selectors.EVENT_READ)

    def _receive(self, client: socket.socket) -> None:
        try:
            chunk = client.recv(LONGEST_REQUEST)
        except BlockingIOError:
            return
        except OSError:
            chunk = b""
        if not chunk or len(self._pending[client]) > LONGEST_REQUEST:
            self._drop(client)
            return
        *lines, rest = (self._pending[client] + chunk).split(b"\n")
        self._pending[client] = rest
        for line in lines:
            if client in self._pending and line.strip():
                self._answer(client, line)

    def _answer(self, client: socket.socket, line: bytes) -> None:
        reply: dict[str, object]
        try:
            reply = {"ok": True, **self._handle(parse_request(line))}
        except AteError as error:
            reply = {"ok": False, "error": str(error)}
        try:
            client.sendall(json.dumps(reply).encode() + b"\n")
        except OSError:
            # The client left, or does not read its answers.
            self._drop(client)

    def _drop(self, client: socket.socket) -> None:
        self._selector.unregister(client)
        del self._pending[client]
        client.close()


def parse_request(line: bytes) -> Mapping[str, object]:
    """Parse one line into a request object.

    Raises:
        UsageError: The line is not a JSON object.
    """
    try:
        request = json.loads(line)
    except ValueError as error:
        raise UsageError(f"request {line[:80]!r} is not JSON: {error}") from error
    if not isinstance(request, dict):
        raise UsageError(f"request {line[:80]!r} is no JSON object like {{'command': 'state'}}")
    return request
