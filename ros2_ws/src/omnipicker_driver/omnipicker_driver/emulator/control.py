"""The control call of an emulated gripper: one JSON object per line on a unix socket."""

import json
import socket
from collections.abc import Callable, Sequence
from pathlib import Path

from ate_core.errors import AteError, DeviceError, UsageError

Handler = Callable[[dict[str, object]], dict[str, object]]


def control_path(port: str | Path) -> Path:
    """The control socket of the emulated gripper at a port."""
    return Path(f"{port}.sock")


def call(
    port: str | Path, name: str, timeout: float = 2.0, **arguments: object
) -> dict[str, object]:
    """Make one control call and return its answer.

    Args:
        port: path of the gripper's serial port.
        name: the call; see README.md.
        timeout: longest wait [s].
        arguments: arguments of the call.

    Raises:
        DeviceError: no emulator at this port, no answer in time, or the call was refused.
    """
    path = control_path(port)
    line = json.dumps({"call": name, **arguments}).encode() + b"\n"
    try:
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as connection:
            connection.settimeout(timeout)
            connection.connect(str(path))
            connection.sendall(line)
            with connection.makefile("rb") as answers:
                answer = json.loads(answers.readline())
    except (OSError, ValueError) as error:
        raise DeviceError(
            f"no answer to '{name}' at {path} ({error}): start the emulated gripper first"
        ) from None
    if not answer.pop("ok"):
        raise DeviceError(f"emulated gripper refused '{name}': {answer['error']}")
    return dict(answer)


class ControlSocket:
    """Answer control calls; the owner waits on `descriptors` and calls `serve`."""

    def __init__(self, path: Path, handle: Handler) -> None:
        """Listen at ``path``, replacing what a killed process left there.

        Raises:
            DeviceError: the path cannot be used.
        """
        self._path = path
        self._handle = handle
        self._clients: dict[socket.socket, bytes] = {}
        self._listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        try:
            path.unlink(missing_ok=True)
            self._listener.bind(str(path))
        except OSError as error:
            self._listener.close()
            raise DeviceError(
                f"control socket {path} cannot be made ({error}): use a shorter runtime folder"
            ) from None
        self._listener.listen()
        self._listener.setblocking(False)

    @property
    def descriptors(self) -> list[socket.socket]:
        """What to wait on."""
        return [self._listener, *self._clients]

    def serve(self, ready: Sequence[object]) -> None:
        """Accept and answer those of `descriptors` that are ready to read."""
        for source in ready:
            if source is self._listener:
                client, _ = self._listener.accept()
                client.settimeout(0.1)
                self._clients[client] = b""
            elif isinstance(source, socket.socket) and source in self._clients:
                self._receive(source)

    def close(self) -> None:
        """Drop all clients and remove the socket."""
        for connection in [*self._clients, self._listener]:
            connection.close()
        self._clients.clear()
        self._path.unlink(missing_ok=True)

    def _receive(self, client: socket.socket) -> None:
        try:
            chunk = client.recv(4096)
            *lines, self._clients[client] = (self._clients[client] + chunk).split(b"\n")
            for line in lines:
                client.sendall(json.dumps(self._answer(line)).encode() + b"\n")
        except OSError:
            chunk = b""
        if not chunk or len(self._clients[client]) > 4096:
            client.close()
            del self._clients[client]

    def _answer(self, line: bytes) -> dict[str, object]:
        try:
            request = json.loads(line)
            if not isinstance(request, dict):
                raise UsageError(f"control call {line[:80]!r} is no JSON object")
            return {"ok": True, **self._handle(request)}
        except (AteError, ValueError, TypeError) as error:
            return {"ok": False, "error": str(error)}
