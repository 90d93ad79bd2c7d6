"""A serial port without hardware: a pseudo-terminal behind a symbolic link that stays the same."""

import os
import tty
from pathlib import Path

from ate_core.errors import DeviceError


class PtyPort:
    """The device's end of a serial line that can be pulled out and plugged in again."""

    def __init__(self, link: str | Path) -> None:
        """Plug in; ``link`` is the path that the driver opens."""
        self._link = Path(link)
        self._master: int | None = None
        self._slave: int | None = None
        self.plug()

    @property
    def descriptor(self) -> int | None:
        """What to wait on for bytes; None while unplugged."""
        return self._master

    def plug(self) -> None:
        """Make a new line and point the link at it.

        Raises:
            DeviceError: the link cannot be made.
        """
        if self._master is not None:
            return
        # The slave stays open here, so the line lives on when the driver closes its end.
        self._master, self._slave = os.openpty()
        tty.setraw(self._slave)
        os.set_blocking(self._master, False)
        try:
            self._point_link_at(os.ttyname(self._slave))
        except OSError as error:
            self.unplug()
            raise DeviceError(
                f"gripper link {self._link} cannot be made ({error.strerror}): the port of a "
                "simulated gripper must lie in a folder that this user may write"
            ) from None

    def unplug(self) -> None:
        """End the line as a pulled plug does; the path disappears."""
        if self._master is None or self._slave is None:
            return
        if self._link.is_symlink() and os.readlink(self._link) == os.ttyname(self._slave):
            self._link.unlink()
        os.close(self._slave)
        os.close(self._master)
        self._master = self._slave = None

    def read(self) -> bytes:
        """The bytes that have arrived."""
        assert self._master is not None
        try:
            return os.read(self._master, 4096)
        except BlockingIOError:
            return b""

    def write(self, data: bytes) -> None:
        """Send; bytes that nobody fetches are lost, as on a wire."""
        if self._master is None or not data:
            return
        try:
            os.write(self._master, data)
        except BlockingIOError:
            return

    def _point_link_at(self, device: str) -> None:
        if self._link.exists() and not self._link.is_symlink():
            raise OSError(17, "it exists and is no link")
        temporary = self._link.with_name(f"{self._link.name}.{os.getpid()}")
        self._link.parent.mkdir(parents=True, exist_ok=True)
        temporary.unlink(missing_ok=True)
        os.symlink(device, temporary)
        os.replace(temporary, self._link)
