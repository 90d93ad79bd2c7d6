"""A policy's server in a process of its own, on a port that nobody else takes meanwhile."""

import asyncio
import contextlib
import multiprocessing
import os
import socket
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import torch

from ate_policy.checkpoint import files_sha256
from ate_policy.policy import load_policy
from ate_policy.remote.server import PolicyServer, ServerConfig

PORTS = Path("/proc/sys/net/ipv4/ip_local_port_range")
"""Lowest and highest port of outgoing links."""


def serve(folder: str, port: int, ready: Connection) -> None:
    """The process of a server: as `ate serve`, with the modules there already."""
    torch.set_num_threads(1)
    files = files_sha256(Path(folder))
    server = PolicyServer(load_policy(folder), ServerConfig(port=port), files)
    asyncio.run(server.serve(ready.send))


class Server:
    """A server on one port that can be killed and started again; use it as a context."""

    def __init__(self, folder: Path) -> None:
        """Start it.

        Args:
            folder: checkpoint that it serves.
        """
        self._context = multiprocessing.get_context("forkserver")
        self._context.set_forkserver_preload([__name__])
        self._folder, self.port = folder, free_port()
        self._process: Any = None

    def __enter__(self) -> "Server":
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.kill()

    def start(self) -> None:
        """Start it, and wait until it is there."""
        here, there = self._context.Pipe(duplex=False)
        words = (str(self._folder), self.port, there)
        self._process = self._context.Process(target=serve, args=words, daemon=True)
        self._process.start()
        there.close()
        if not here.poll(60.0):
            raise RuntimeError("the server does not start")
        here.recv()  # EOFError: it ended

    def signal(self, number: int) -> None:
        """Send a signal."""
        os.kill(self._process.pid, number)

    def kill(self) -> None:
        """SIGKILL."""
        self._process.kill()
        self._process.join()


def free_port() -> int:
    """A free port that no outgoing link of this machine takes while its server is away."""
    low, high = (int(word) for word in PORTS.read_text().split())
    for port in (*range(low - 1, 1024, -1), *range(high + 1, 65536)):
        with contextlib.suppress(OSError), socket.create_server(("127.0.0.1", port)):
            return port
    raise RuntimeError("no port is free")
