"""JSON lines on a unix socket: how a process of the simulated cell is asked for things.

A request is ``{"command": name, ...arguments}``, its answer ``{"ok": true, ...}`` or
``{"ok": false, "error": "..."}``. A connection may carry several, one after the other.
"""

import json
import logging
import select
import socket
import time
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from types import TracebackType
from typing import Any

from ate_core.errors import AteError, DeviceError, UsageError
from ate_core.json_text import UNREADABLE

LOG = logging.getLogger(__name__)

LONGEST_REQUEST = 65536
"""Bytes without a line end after which a client is dropped."""

Handler = Callable[[Mapping[str, Any]], Mapping[str, Any]]


class ControlServer:
    """Answers any number of clients on the thread that calls `wait` or `serve`.

    A loop with descriptors of its own selects on `descriptors` too and passes what is ready to
    `serve`; a loop that only has a clock sleeps in `wait`.
    """

    def __init__(self, path: Path, handle: Handler, patience: float = 0.0) -> None:
        """Listen at ``path``, replacing a socket left over by a killed process.

        Args:
            path: unix socket (at most about 100 characters, a limit of the kernel).
            handle: answers one request; an `AteError` it raises becomes the reply's ``error``,
                as does what it stumbles over in strange values.
            patience: longest wait [s] for a client to read an answer that exceeds the buffer of
                its socket (about 200 kB).

        Raises:
            DeviceError: the path cannot be used.
        """
        self._path = path
        self._handle = handle
        self._patience = patience
        self._clients: dict[socket.socket, bytes] = {}
        self._listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.unlink(missing_ok=True)
            self._listener.bind(str(path))
        except OSError as error:
            self._listener.close()
            raise DeviceError(
                f"control socket {path} ({len(str(path))} characters) cannot be made: {error}; "
                "choose a shorter runtime folder with ATE_RUNTIME_DIR"
            ) from None
        self._listener.listen()
        self._listener.setblocking(False)

    @property
    def descriptors(self) -> list[socket.socket]:
        """What to wait on for reading."""
        return [self._listener, *self._clients]

    def wait(self, timeout: float) -> None:
        """Sleep for at most ``timeout`` [s] and serve what came."""
        # select() keeps microseconds; epoll would round the wait up to whole milliseconds.
        self.serve(select.select(self.descriptors, [], [], max(timeout, 0.0))[0])

    def serve(self, ready: Iterable[object]) -> None:
        """Accept and answer those of `descriptors` that are ready; others are ignored."""
        for source in ready:
            if source is self._listener:
                client, _ = self._listener.accept()
                client.settimeout(self._patience)
                self._clients[client] = b""
            elif isinstance(source, socket.socket) and source in self._clients:
                self._receive(source)

    def close(self) -> None:
        """Drop all clients and remove the socket."""
        for connection in self.descriptors:
            connection.close()
        self._clients.clear()
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

    def _receive(self, client: socket.socket) -> None:
        try:
            chunk = client.recv(LONGEST_REQUEST)
            *lines, rest = (self._clients[client] + chunk).split(b"\n")
            self._clients[client] = rest
            for line in filter(bytes.strip, lines):
                client.sendall(json.dumps(self._answer(line)).encode() + b"\n")
        except OSError:
            # The client left, or does not read its answers.
            chunk = b""
        if not chunk or len(self._clients[client]) > LONGEST_REQUEST:
            del self._clients[client]
            client.close()

    def _answer(self, line: bytes) -> dict[str, Any]:
        try:
            return {"ok": True, **self._handle(parse_request(line))}
        except AteError as error:
            return {"ok": False, "error": str(error)}
        except UNREADABLE as error:  # one bad value must not end the loop that serves all others
            LOG.warning("a request made no sense", exc_info=True)
            return {"ok": False, "error": f"not understood: {type(error).__name__}: {error}"}


class ControlClient:
    """Asks a `ControlServer`; every call makes its own connection and has a deadline."""

    def __init__(self, path: Path, *, peer: str, remedy: str, timeout: float) -> None:
        """Prepare; nothing is opened before the first call or stays open after it.

        Args:
            path: unix socket of the server.
            peer: what serves there, for error messages: "the world".
            remedy: what to do when nobody answers, for error messages.
            timeout: longest wait for one answer [s].
        """
        self._path = path
        self._peer = peer
        self._remedy = remedy
        self._timeout = timeout

    def call(self, command: str, **arguments: object) -> dict[str, Any]:
        """Send one request and return the answer.

        Raises:
            DeviceError: nobody there, no answer in time, or the request was refused.
        """
        line = json.dumps({"command": command, **arguments}).encode() + b"\n"
        try:
            answer = self._exchange(line)
            reply = json.loads(answer)
            if not isinstance(reply, dict):
                raise ValueError(f"answer {answer[:80]!r} is no JSON object")
        except (OSError, *UNREADABLE) as error:
            raise DeviceError(
                f"no answer to '{command}' from {self._peer} at {self._path}: {error}; "
                f"{self._remedy}"
            ) from error
        if not reply.pop("ok", False):
            reason = reply.get("error", "no reason")
            raise DeviceError(f"{self._peer} refused '{command}': {reason}")
        return reply

    def _exchange(self, line: bytes) -> bytes:
        give_up = time.monotonic() + self._timeout
        answer = b""
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as link:
            link.settimeout(self._timeout)
            link.connect(str(self._path))
            link.sendall(line)
            while not answer.endswith(b"\n"):
                remaining = give_up - time.monotonic()
                if remaining <= 0.0:
                    raise TimeoutError("timed out")
                link.settimeout(remaining)
                chunk = link.recv(65536)
                if not chunk:
                    raise ConnectionError("the connection was closed")
                answer += chunk
        return answer


def parse_request(line: bytes) -> Mapping[str, Any]:
    """Parse one line into a request.

    Raises:
        UsageError: the line is no JSON object with a command.
    """
    try:
        request = json.loads(line)
    except UNREADABLE as error:
        raise UsageError(f"request {line[:80]!r} is not JSON: {error}") from None
    if not isinstance(request, dict) or not isinstance(request.get("command"), str):
        raise UsageError(f'request {line[:80]!r} is no JSON object like {{"command": "status"}}')
    return request
