"""A CAN bus without hardware: a unix socket that carries the kernel's records of frames."""

import contextlib
import socket
from pathlib import Path

from ate_core.errors import DeviceError

_LONGEST_RECORD = 4096


class CanPort:
    """The gripper's end of the bus; one host at a time, it can be pulled out."""

    def __init__(self, path: str | Path) -> None:
        """Plug in; ``path`` is what the driver opens."""
        self._path = Path(path)
        self._listener: socket.socket | None = None
        self._host: socket.socket | None = None
        self.plug()

    @property
    def descriptor(self) -> int | None:
        """What to wait on; None while unplugged."""
        end = self._host or self._listener
        return None if end is None else end.fileno()

    def plug(self) -> None:
        """Listen at the path.

        Raises:
            DeviceError: the path cannot be used.
        """
        if self._listener is not None:
            return
        listener = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        try:
            self._path.parent.mkdir(parents=True, exist_ok=True)
            self._path.unlink(missing_ok=True)
            listener.bind(str(self._path))
        except OSError as error:
            listener.close()
            raise DeviceError(
                f"gripper socket {self._path} cannot be made ({error.strerror}): the port of a "
                "simulated gripper must lie in a folder that this user may write"
            ) from None
        listener.listen(1)
        listener.setblocking(False)
        self._listener = listener

    def unplug(self) -> None:
        """End the bus as a pulled plug does; the path disappears."""
        if self._listener is None:
            return
        self._path.unlink(missing_ok=True)
        self._listener.close()
        self._listener = None
        self._drop()

    def read(self) -> bytes:
        """One record; nothing when a host has just come or gone."""
        if self._host is None:
            assert self._listener is not None
            with contextlib.suppress(OSError):
                self._host, _ = self._listener.accept()
                self._host.setblocking(False)
            return b""
        try:
            record = self._host.recv(_LONGEST_RECORD)
        except BlockingIOError:
            return b""
        except OSError:
            record = b""
        if not record:
            self._drop()
        return record

    def write(self, data: bytes) -> None:
        """Send one record; those that nobody fetches are lost, as on a bus."""
        if self._host is not None and data:
            with contextlib.suppress(OSError):
                self._host.send(data)

    def _drop(self) -> None:
        if self._host is not None:
            self._host.close()
            self._host = None
