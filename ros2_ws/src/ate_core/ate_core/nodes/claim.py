"""One process per device on one host: names that the kernel takes back when their holder ends.

The graph cannot tell this: a killed node stays in it for twenty seconds, a new one is seen late,
and another ROS domain is not seen at all. An abstract unix socket is taken at once, by one process
of whichever user, and is free in the moment in which that process is gone, however it ended.

Such names belong to a network namespace: a container with a network of its own does not see them.
Run containers that drive devices with the host's network, as DDS needs anyway.
"""

import contextlib
import errno
import hashlib
import socket
import struct
import threading
from collections.abc import Callable, Iterable

NAME_TAIL = 60
"""Bytes of a name that stay readable in the name of its socket (at most 107)."""


def in_domain(name: str, domain: int) -> str:
    """A name for `DeviceClaim` that is taken within one ROS domain only: a topic or a node."""
    return f"{name} of ROS domain {domain}"


class DeviceClaim:
    """The right to use devices, until `release` or the end of the process. Any thread may ask."""

    def __init__(self, names: Callable[[], Iterable[str]]) -> None:
        """Prepare.

        Args:
            names: gives what is claimed, the same for all who may use it (see
                `ate_core.device_names`); asked at each `take`, since a path leads to its device
                only while that is plugged in, and to another one after the kernel has numbered
                its devices anew.
        """
        self._names = names
        self._lock = threading.Lock()
        self._held: dict[str, socket.socket] = {}
        self._holders: dict[str, str] = {}

    def take(self) -> str:
        """Take all names, or none more; returns who has one, or nothing when all are ours.

        What is held and no longer among the names is given back first, also where another one is
        refused: two drivers whose devices have exchanged their numbers wait for each other else.
        """
        with self._lock:
            wanted = list(dict.fromkeys(name for name in self._names() if name))
            self._give_back(self._held.keys() - wanted)
            taken: dict[str, socket.socket] = {}
            for name in wanted:
                if name in self._held:
                    continue
                listener = _listen(name)
                if listener is None:
                    for other in taken.values():
                        other.close()
                    return self._refusal(name)
                taken[name] = listener
            self._held |= taken
            return ""

    def release(self) -> None:
        """Give the names back."""
        with self._lock:
            self._give_back(list(self._held))

    def _give_back(self, names: Iterable[str]) -> None:
        for name in names:
            self._held.pop(name).close()

    def _refusal(self, name: str) -> str:
        holder = self._holders.get(name) or _holder_pid(name)
        self._holders[name] = holder
        who = f"process {holder}" if holder else "another process"
        return f"{who} already uses {name}: was the launch started twice? End one"


def _address(name: str) -> bytes:
    text = name.encode()
    return b"\0ate %s %s" % (text[-NAME_TAIL:], hashlib.sha256(text).hexdigest()[:12].encode())


def _listen(name: str) -> socket.socket | None:
    """The socket that holds a name, or None while another process has it."""
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        listener.bind(_address(name))
    except OSError as error:
        listener.close()
        if error.errno != errno.EADDRINUSE:
            raise
        return None
    listener.listen()  # without it the kernel does not tell who holds the name
    return listener


def _holder_pid(name: str) -> str:
    with contextlib.suppress(OSError), socket.socket(socket.AF_UNIX) as asking:
        asking.setblocking(False)
        asking.connect(_address(name))
        credentials = asking.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, 12)
        return str(struct.unpack("3i", credentials)[0])
    return ""
