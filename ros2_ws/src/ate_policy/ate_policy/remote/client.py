"""A policy on another machine, with the interface of one that runs here.

Every call has a deadline below the patience of the runtime, so a silent server is told as such and
never keeps a thread. A link that failed is never used again: an answer that comes late would be
taken for the next one. A chunk never answers an observation of before the link was lost.
"""

import asyncio
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import aiohttp
import numpy as np
import torch

from ate_core.contract import Cell
from ate_core.errors import LayoutError, LinkError, UsageError
from ate_core.observation import Observation
from ate_policy.continuation import Continuation
from ate_policy.images import decode_jpeg
from ate_policy.policy import blank_observation, choose_instruction, refuse_instruction
from ate_policy.remote.messages import Request, ServedPolicy, read_chunk
from ate_policy.remote.token import read_token
from ate_policy.remote.wire import LARGEST, pack, unpack

TICKS = 2**31
"""Requests are counted modulo this."""


@dataclass(frozen=True, kw_only=True)
class LinkConfig:
    """A server, and how long it is waited for."""

    address: str
    """Where it is: ws://HOST:PORT."""
    token: str = ""
    """Word that it asks for."""
    answer: float = 0.8
    """One call waits so long at most, connecting included [s]."""
    patience: float = 30.0
    """The first answers, for which a network may be compiled, are waited for so long [s]."""
    idle: float = 10.0
    """A link that was not used for so long is made anew [s]."""
    stale: float = 0.1
    """After connecting for so long an observation is too old [s]."""
    first_pause: float = 0.2
    """After a link that could not be made, the next is tried so much later [s]; then doubled."""
    longest_pause: float = 2.0
    """Up to this [s]."""

    def __post_init__(self) -> None:
        """Refuse what is no address of a server."""
        if not self.address.startswith(("ws://", "wss://")):
            raise UsageError(f"policy server {self.address!r}: must be ws://HOST:PORT")


class RemotePolicy:
    """Talks to one server; `infer` is all a robot needs. One thread at a time may call it."""

    def __init__(self, config: LinkConfig, cell: Cell | None = None) -> None:
        """Connect.

        Args:
            config: the server.
            cell: the cell it shall drive; a server for another layout is refused by field name.

        Raises:
            LinkError: it does not answer.
            LayoutError: it serves a policy for another cell.
        """
        self._config = config
        self._loop = asyncio.new_event_loop()
        self._session: aiohttp.ClientSession | None = None
        self._socket: aiohttp.ClientWebSocketResponse | None = None
        self._count, self._used = 0, 0.0
        self._pause, self._not_before = config.first_pause, 0.0
        self._hello: dict[str, Any] = {}
        self.timing: dict[str, float] = {}
        """Of the last call: network, queue and inference [ms]."""
        try:
            self._run(self._connect(), config.patience)
            self.served = ServedPolicy.read(self._hello, config.address)
            if cell is not None:
                _refuse_another_layout(self.served, cell, config.address)
        except BaseException:
            self.close()
            raise
        served = self.served
        self.kind, self.config, self.contract = served.kind, served.config, served.contract
        self.training, self.statistics = served.training, served.statistics
        self.continues, self.horizon = served.continues, served.config.horizon
        self.device = torch.device(served.device)

    def instruction_for(self, given: str) -> str:
        """What to tell the policy: the given text, or else the only one it was trained with."""
        return choose_instruction(given, self.config, self.training)

    def require_instruction(self, text: str) -> None:
        """Refuse an instruction given while the policy runs that it cannot follow."""
        refuse_instruction(text, self.config, self.training)

    def decode(self, data: bytes) -> np.ndarray:
        """A camera's JPEG, no larger than the policy needs."""
        return decode_jpeg(data, self.config.image_height, self.config.image_width)

    def warm_up(self, instruction: str = "", repeats: int = 3, continuing: bool = False) -> float:
        """Infer from a made-up observation; duration of the last one, link included [s]."""
        seen = blank_observation(self.config, self.statistics, instruction)
        duration, old = 0.0, None
        for _ in range(repeats):
            begin = time.perf_counter()
            chunk = self._infer(Request(observation=seen, continuation=old), self._config.patience)
            duration = time.perf_counter() - begin
            old = Continuation(actions=chunk, delay=1) if continuing else None
        return duration

    def infer(
        self,
        observation: Observation,
        generator: torch.Generator | int | None = None,
        continuation: Continuation | None = None,
    ) -> np.ndarray:
        """Ask for the actions (H, D) of the next H ticks; see `ate_policy.policy.Policy.infer`.

        Raises:
            LinkError: the server does not answer in time.
            AteError: it serves something else now, or refuses the request.
        """
        if isinstance(generator, torch.Generator):
            raise UsageError("a generator does not travel: give a seed")
        request = Request(observation=observation, seed=generator, continuation=continuation)
        return self._infer(request, self._config.answer)

    def close(self) -> None:
        """Give up the link."""
        if not self._loop.is_closed():
            self._loop.run_until_complete(self._drop())
            self._loop.close()

    def _infer(self, request: Request, deadline: float) -> np.ndarray:
        self._count = (self._count + 1) % TICKS
        message = pack({**request.message(self.config), "tick": self._count})
        begin = time.monotonic()
        answer = self._run(self._ask(message, deadline), deadline)
        try:
            chunk = read_chunk(answer, self.served, self._count)
        except LayoutError:
            self._loop.run_until_complete(self._drop())
            raise
        total, told = 1e3 * (time.monotonic() - begin), answer.get("server_timing")
        parts = told if isinstance(told, dict) else {}
        queue, inference = (_number(parts.get(key)) for key in ("queue_ms", "infer_ms"))
        network = max(total - queue - inference, 0.0)
        self.timing = {"network": network, "queue": queue, "inference": inference}
        return chunk

    def _run(self, work: Any, deadline: float) -> Any:
        """Do a piece of work within a deadline [s]; what fails costs the link."""
        try:
            return self._loop.run_until_complete(asyncio.wait_for(work, deadline))
        except TimeoutError:
            self._loop.run_until_complete(self._drop())
            raise LinkError(
                f"policy server {self._config.address} did not answer within {deadline:g} s: "
                "the arms hold, it is asked again"
            ) from None
        except (OSError, aiohttp.ClientError) as error:
            self._loop.run_until_complete(self._drop())
            words = getattr(error, "message", "") or str(error) or type(error).__name__
            raise LinkError(f"policy server {self._config.address}: {words}") from None
        except StaleError:  # the link is good
            raise
        except LinkError:
            self._loop.run_until_complete(self._drop())
            raise

    async def _ask(self, message: bytes, deadline: float) -> dict[str, Any]:
        begin = time.monotonic()
        if begin - self._used > self._config.idle:
            await self._drop()
        if self._socket is None:
            await self._connect_again(begin + deadline)
            if time.monotonic() - begin > self._config.stale:
                raise StaleError(
                    f"policy server {self._config.address} is there again: waiting for the next "
                    "observation"
                )
        socket = self._socket
        assert socket is not None  # _connect sets it or raises
        await socket.send_bytes(message)
        answer = await self._receive(socket)
        self._used = time.monotonic()
        return answer

    async def _connect_again(self, until: float) -> None:
        """Connect; servers that are not there are not asked more often than the pauses say."""
        wait = self._not_before - time.monotonic()
        if wait > 0.0:
            if time.monotonic() + wait > until:
                await asyncio.sleep(max(until - time.monotonic(), 0.0))
            await asyncio.sleep(wait)
        self._not_before = time.monotonic() + self._pause
        self._pause = min(2.0 * self._pause, self._config.longest_pause)
        before = self._hello
        await self._connect()
        if before and _identity(self._hello) != _identity(before):
            found, self._hello = self._hello, before
            await self._drop()
            raise LayoutError(
                f"policy server {self._config.address} serves another policy now "
                f"({_differences(before, found)}): start the policy again to use it"
            )
        self._pause = self._config.first_pause

    async def _connect(self) -> None:
        """Open a link and hear who the server is."""
        self._session = aiohttp.ClientSession()
        token = self._config.token
        self._socket = await self._session.ws_connect(
            self._config.address,
            max_msg_size=LARGEST,
            headers={"Authorization": f"Api-Key {token}"} if token else {},
        )
        self._hello = await self._receive(self._socket)
        self._used = time.monotonic()

    async def _receive(self, socket: aiohttp.ClientWebSocketResponse) -> dict[str, Any]:
        message = await socket.receive()
        if message.type is aiohttp.WSMsgType.BINARY:
            try:
                return unpack(message.data)
            except LayoutError as error:
                raise LinkError(f"policy server {self._config.address}: {error}") from None
        if message.type is aiohttp.WSMsgType.TEXT:
            line = " ".join(str(message.data).split())[-300:]
            raise UsageError(f"policy server {self._config.address} refuses: {line}")
        raise LinkError(f"policy server {self._config.address} closed the link")

    async def _drop(self) -> None:
        """Cut the link at once: a server that is silent would not answer a farewell either."""
        session, self._session, self._socket = self._session, None, None
        if session is not None:
            await session.close()


class StaleError(LinkError):
    """The link is there, and the observation too old for it."""


def connect(address: str, token_file: str, cell: Cell) -> RemotePolicy:
    """The policy of a server, for a cell; the token is the word in a file, empty: none."""
    token = read_token(Path(token_file) if token_file else None)
    return RemotePolicy(LinkConfig(address=address, token=token), cell)


def _identity(hello: dict[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in hello.items() if key != "device"}


def _differences(before: dict[str, Any], now: dict[str, Any]) -> str:
    keys = sorted(set(before) | set(now))
    return ", ".join(key for key in keys if before.get(key) != now.get(key))


def _refuse_another_layout(served: ServedPolicy, cell: Cell, where: str) -> None:
    layout = served.cell.layout
    if cell.layout.sha256 != layout.sha256:
        differing = "; ".join(cell.layout.differences(layout)) or "the layout hash"
        raise LayoutError(
            f"{where} serves a policy for another layout (this cell against the server): "
            f"{differing}. Use the cell it was trained for, or train again"
        )


def _number(value: object) -> float:
    return float(value) if isinstance(value, int | float) and np.isfinite(value) else 0.0
