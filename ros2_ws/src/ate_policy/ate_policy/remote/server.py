"""The server of a policy: websocket and msgpack, as openpi's client speaks them.

A client is told who the policy is, then sends observations and is sent a chunk for each. The
network is asked by one client at a time, in turn. An error is one line of text; the link stays.
"""

import asyncio
import contextlib
import hmac
import logging
import time
from collections import deque
from collections.abc import Awaitable, Callable, Coroutine, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from ipaddress import ip_address
from typing import Any

import numpy as np
from aiohttp import WSMsgType, web
from aiohttp.web_protocol import RequestHandler

from ate_core.errors import AteError, DeviceError, UsageError
from ate_policy.remote.door import HANDSHAKE, Door, Places
from ate_policy.remote.messages import Request, ServedPolicy, acknowledged
from ate_policy.remote.turns import Turns
from ate_policy.remote.wire import LARGEST, pack, unpack
from ate_policy.robot_policy import RobotPolicy

MOST_CLIENTS = 16
"""Clients at once."""
HEARTBEAT = 20.0
"""Clients are asked this often whether they are there [s]."""
STALLED = 5.0
"""A client that takes no answer for so long is dropped [s]."""
_REMEMBERED = 1000

logger = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True)
class ServerConfig:
    """Where a policy is served, and to whom."""

    host: str = "127.0.0.1"
    """Address to listen on; any but a loopback one needs a token."""
    port: int = 8000
    """TCP port; 0: any that is free."""
    token: str = ""
    """Word that a client must know; empty: only this machine is answered."""

    def __post_init__(self) -> None:
        """Refuse to serve everybody."""
        if not 0 <= self.port <= 65535:
            raise UsageError(f"port is {self.port}, must be 0 to 65535")
        is_local = self.host == "localhost"
        with contextlib.suppress(ValueError):
            is_local = ip_address(self.host).is_loopback
        if not is_local and not self.token:
            raise UsageError(
                f"host {self.host} is reached from other machines: give --token-file FILE"
            )


@dataclass(frozen=True, kw_only=True)
class _Job:
    data: bytes
    arrived: float


class PolicyServer:
    """Serves one policy until `serve` is cancelled."""

    def __init__(
        self, policy: RobotPolicy, config: ServerConfig, files: Mapping[str, str] | None = None
    ) -> None:
        """Prepare.

        Args:
            policy: asked in a thread of its own, one request at a time.
            config: where and to whom.
            files: SHA-256 of its checkpoint's files, by which a client that comes back knows it;
                None: not told.
        """
        self._policy, self._config = policy, config
        self._hello = pack(ServedPolicy.of(policy, files).metadata())
        self._turns: Turns[web.WebSocketResponse, _Job] = Turns()
        self._places: Places[web.WebSocketResponse] = Places(MOST_CLIENTS)
        self._asking: set[RequestHandler] = set()
        self._sending: set[asyncio.Task[Any]] = set()
        self._counts = {"answered": 0, "refused": 0, "superseded": 0}
        self._spans: deque[tuple[float, float]] = deque(maxlen=_REMEMBERED)

    async def serve(self, ready: Callable[[str], None]) -> None:
        """Serve for ever.

        Args:
            ready: called with the address once clients are answered.

        Raises:
            DeviceError: the address cannot be listened on.
        """
        app = web.Application(middlewares=[self._guard])
        app.router.add_get("/", self._converse)
        app.router.add_get("/healthz", _healthy)
        app.router.add_get("/metrics", self._metrics)
        runner = web.AppRunner(
            app, access_log=None, shutdown_timeout=0.2, keepalive_timeout=HANDSHAKE
        )
        await runner.setup()
        try:
            server = await self._listen(runner)
            async with server:
                port = server.sockets[0].getsockname()[1]
                ready(f"ws://{self._config.host}:{port}")
                await self._work()
        finally:
            await runner.cleanup()

    async def _listen(self, runner: web.AppRunner) -> asyncio.Server:
        host, port, server = self._config.host, self._config.port, runner.server
        assert server is not None  # it is set up
        door = Door(server, self._asking)
        try:
            return await asyncio.get_running_loop().create_server(door, host, port)
        except OSError as error:
            raise DeviceError(
                f"the policy server cannot listen on {host}:{port}: {error.strerror}; is "
                "another one running? Give another --port"
            ) from error

    @web.middleware
    async def _guard(
        self, request: web.Request, handler: Callable[[web.Request], Awaitable[web.StreamResponse]]
    ) -> web.StreamResponse:
        """Refuse who does not know the token, and pages of a browser."""
        given = request.headers.get("Authorization", "").removeprefix("Api-Key ")
        known = hmac.compare_digest(given.encode(), self._config.token.encode())
        if request.path != "/healthz" and self._config.token and not known:
            raise web.HTTPUnauthorized(text="wrong or missing token\n")
        if "Origin" in request.headers:
            raise web.HTTPForbidden(text="browsers are not served\n")
        self._asking.add(request.protocol)
        try:
            return await handler(request)
        finally:
            self._asking.discard(request.protocol)

    async def _converse(self, request: web.Request) -> web.StreamResponse:
        has_room, leaves = self._places.room(time.monotonic())
        if not has_room:
            raise web.HTTPServiceUnavailable(text=f"{MOST_CLIENTS} clients are served already\n")
        socket = web.WebSocketResponse(
            max_msg_size=LARGEST, compress=False, heartbeat=HEARTBEAT, timeout=0.2
        )
        self._places.come(socket, time.monotonic())
        try:
            if leaves is not None:
                self._places.leave(leaves)
                self._send_away(leaves)
            try:
                await socket.prepare(request)
            except ConnectionError:  # it left in the middle of its greeting
                return web.Response()  # an unprepared socket would be closed, which is an error
            await self._send(socket, self._hello)
            async for message in socket:
                if message.type != WSMsgType.BINARY:
                    await socket.close(code=1003, message=b"binary messages only")
                    break
                job = _Job(data=message.data, arrived=time.monotonic())
                self._places.ask(socket, job.arrived)
                if self._turns.put(socket, job) is not None:
                    self._counts["superseded"] += 1
                    await self._send(socket, "UsageError: superseded by a newer observation")
        finally:
            self._places.leave(socket)
            self._turns.drop(socket)
        return socket

    def _send_away(self, socket: web.WebSocketResponse) -> None:
        """Close the link of one who says nothing, without waiting for it."""
        logger.warning("a silent client had to make room for another one")
        self._beside(socket.close(code=1013, message=b"you were silent"))

    def _beside(self, work: Coroutine[Any, Any, Any]) -> None:
        task = asyncio.get_running_loop().create_task(work)
        self._sending.add(task)
        task.add_done_callback(self._sending.discard)

    async def _work(self) -> None:
        loop = asyncio.get_running_loop()
        with ThreadPoolExecutor(1, "inference") as thread:
            while True:
                socket, job = await self._turns.take()
                answer = await loop.run_in_executor(thread, self._answer, job)
                self._beside(self._send(socket, answer))

    async def _send(self, socket: web.WebSocketResponse, answer: bytes | str) -> None:
        """Send, unless the client has gone; one that takes nothing is dropped."""
        try:
            async with asyncio.timeout(STALLED):
                if isinstance(answer, str):
                    await socket.send_str(answer)
                else:
                    await socket.send_bytes(answer)
        except TimeoutError:
            logger.warning("a client took no answer for %g s: dropped", STALLED)
            await socket.close(code=1008)
        except (ConnectionError, RuntimeError):  # it has gone; its own task cleans up
            logger.info("a client left before its answer")

    def _answer(self, job: _Job) -> bytes | str:
        """The chunk for a request, or in one line why there is none."""
        begin = time.monotonic()
        try:
            message = unpack(job.data)
            if (word := acknowledged(message)) is not None:
                return pack(word)
            request = Request.read(message, self._policy.config)
            chunk = self._policy.infer(request.observation, request.seed, request.continuation)
            end = time.monotonic()
            queued, taken = 1e3 * (begin - job.arrived), 1e3 * (end - begin)
            answer = pack(
                {
                    "actions": chunk,
                    **({} if request.tick is None else {"tick": request.tick}),
                    "policy_timing": {"infer_ms": taken},
                    "server_timing": {"infer_ms": taken, "queue_ms": queued},
                }
            )
        except AteError as error:
            self._counts["refused"] += 1
            return f"{type(error).__name__}: {' '.join(str(error).split())}"
        except Exception as error:  # one request must not end the service of all
            self._counts["refused"] += 1
            logger.exception("inference failed")
            return f"inference failed on the server ({type(error).__name__}): see its log"
        self._counts["answered"] += 1
        self._spans.append((queued, taken))
        return answer

    async def _metrics(self, _: web.Request) -> web.Response:
        lines = [f"policy_clients {len(self._places.since)}"]
        lines += [f"policy_requests_{name}_total {n}" for name, n in self._counts.items()]
        spans = np.array(self._spans).reshape(-1, 2)
        for column, name in enumerate(("queue", "inference")):
            for quantile in (0.5, 0.99) if len(spans) else ():
                value = np.quantile(spans[:, column], quantile)
                lines.append(f'policy_{name}_ms{{quantile="{quantile}"}} {value:.3f}')
        return web.Response(text="\n".join(lines) + "\n")


async def _healthy(_: web.Request) -> web.Response:
    return web.Response(text="OK\n")
