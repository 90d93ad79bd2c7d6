"""What a transport offers to the driver, and its adapter to the emulator."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

from ate_core.drivers import GRIPPER_TRANSPORTS
from omnipicker_driver.link import Link, open_serial

OpenLink = Callable[[str, int], Link]
"""Opens a port (path or name) at a line speed [bit/s]."""


class Transport(Protocol):
    """The host's side of a line."""

    setup: tuple[bytes, ...]
    """Frames that prepare an adapter, sent once after opening."""
    strangers: set[int]
    """Ids of other devices whose frames were seen."""

    @property
    def dropped_bytes(self) -> int:
        """Received bytes that belonged to no frame."""

    @property
    def missing(self) -> int:
        """Bytes to read before the next report can be complete."""

    def wrap(self, payload: bytes) -> bytes:
        """Bytes on the line of a command's payload (8 bytes)."""

    def feed(self, chunk: bytes) -> list[bytes]:
        """Take received bytes; returns the payloads (8 bytes each) that became complete."""

    def clear(self) -> None:
        """Forget an unfinished frame."""


class Adapter(Protocol):
    """The gripper's side of a line, its adapter included; survives any bytes."""

    def feed(self, chunk: bytes, now: float) -> list[bytes]:
        """Take received bytes; returns the payloads (8 bytes each) that reach the gripper."""

    def wrap(self, payload: bytes) -> bytes:
        """Bytes on the line of a report's payload (8 bytes)."""

    def idle(self, now: float) -> bytes:
        """What the adapter sends by itself."""

    def clear(self) -> None:
        """Start again, as after power-on."""


@dataclass(frozen=True, kw_only=True)
class TransportKind:
    """One transport."""

    host: Callable[[int], Transport]
    """Makes the host's side for the gripper with an id."""
    adapter: Callable[[int], Adapter]
    """Makes the gripper's side."""
    baud: int | None = None
    """Line speed of the adapter [bit/s]; None: the cell says it."""
    highest_id: int = 254
    """Largest id of a gripper."""
    open_link: OpenLink = open_serial
    """Opens its port."""


def load_kind(name: str) -> TransportKind:
    """The transport of a name.

    Raises:
        ContractError: there is none of this name.
    """
    kind: TransportKind = GRIPPER_TRANSPORTS.load(name)
    return kind
