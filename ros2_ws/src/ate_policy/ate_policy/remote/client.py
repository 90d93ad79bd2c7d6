"""A policy on another machine, with the interface of one that runs here.

Every call has a deadline below the patience of the runtime, so a silent server is told as such and
never keeps a thread. A link that failed is never used again: an answer that comes late would be
taken for the next one. A chunk never answers an observation of before the link was lost.
"""

import asyncio
import atexit
import contextlib
import dataclasses
import threading
import time
from pathlib import Path
from typing import Any

import aiohttp
import numpy as np
import torch

from ate_core.contract import Cell
from ate_core.errors import LayoutError, LinkError, UsageError
from ate_core.observation import Observation
from ate_policy.continuation import Continuation
from ate_policy.remote.dialect import Dialect, OwnDialect
from ate_policy.remote.foreign import ForeignDialect, ForeignKeys
from ate_policy.remote.greeting import GREETING, greet, leave, receive, words_of
from ate_policy.remote.latency import LONGEST_ANSWER, Latency
from ate_policy.remote.messages import FILES, Request
from ate_policy.remote.token import read_token
from ate_policy.remote.wire import pack
from ate_policy.robot_policy import RobotPolicy

TICKS = 2**31
"""Requests are counted modulo this."""
ASKED_AGAIN = "the arms hold, it is asked again; one that is slow needs more policy_deadline_ms:="
"""What follows where no chunk comes within its deadline."""
RESTART = "restart it"
"""What to do where it says nothing before anything moves."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class LinkConfig:
    """A server, and how long it is waited for."""

    address: str
    """Where it is: ws://HOST:PORT."""
    token: str = ""
    """Word that it asks for."""
    answer: float = 0.8
    """One call waits so long at most, connecting included [s]."""
    greeting: float = GREETING
    """At the start a server says who it is within so long [s]."""
    patience: float = 120.0
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


class RemotePolicy(RobotPolicy):
    """Talks to one server; `close` may come from any thread and ends a call under way."""

    def __init__(
        self, config: LinkConfig, cell: Cell | None = None, keys: ForeignKeys | None = None
    ) -> None:
        """Connect.

        Args:
            config: the server.
            cell: the cell it shall drive; a policy of another robot is refused.
            keys: what a server of openpi reads and gives; None: it is one of ours.

        Raises:
            LinkError: it does not answer.
            LayoutError: it serves a policy of another robot.
        """
        self._config = config
        self._loop = asyncio.new_event_loop()
        self._calls = threading.Lock()
        self._closed = False
        self._call: asyncio.Task[Any] | None = None
        self._search: asyncio.Task[None] | None = None
        self._lost, self._reach = "", config.answer
        self._session: aiohttp.ClientSession | None = None
        self._socket: aiohttp.ClientWebSocketResponse | None = None
        self._count, self._used = 0, 0.0
        self._pause, self._not_before = config.first_pause, 0.0
        self._hello: dict[str, Any] = {}
        self.latency = Latency()
        """Where the time of the calls goes."""
        try:
            self._run(self._greet(), config.greeting, RESTART)
            self._dialect = self._find_dialect(cell, keys)
        except BaseException:
            self.close()
            raise
        served = self._dialect.served
        self.kind, self.config, self.contract = served.kind, served.config, served.contract
        self.training, self.statistics = served.training, served.statistics
        self.continues, self.device = served.continues, torch.device(served.device)

    def _find_dialect(self, cell: Cell | None, keys: ForeignKeys | None) -> Dialect:
        if keys is None:
            return OwnDialect(self._hello, self._config.address, cell)
        if cell is None:
            raise UsageError("a foreign server drives a given cell only: name it")
        return ForeignDialect(keys, self._hello, self._config.address, cell)

    def infer(
        self,
        observation: Observation,
        generator: torch.Generator | int | None = None,
        continuation: Continuation | None = None,
    ) -> np.ndarray:
        """Ask for the actions (H, D) of the next H ticks.

        Raises:
            LinkError: the server does not answer in time.
            AteError: it serves something else now, or refuses the request.
        """
        if isinstance(generator, torch.Generator):
            raise UsageError("a generator does not travel: give a seed")
        request = Request(observation=observation, seed=generator, continuation=continuation)
        return self._infer(request, self._config.answer, ASKED_AGAIN)

    def try_out(
        self, observation: Observation, continuation: Continuation | None = None
    ) -> np.ndarray:
        """The same, with much patience."""
        request = Request(observation=observation, continuation=continuation)
        return self._infer(request, self._config.patience, RESTART)

    def close(self) -> None:
        """Give up the link, and the call that waits for an answer."""
        self._closed = True
        with contextlib.suppress(RuntimeError):  # the loop is closed already
            self._loop.call_soon_threadsafe(self._cancel)
        with self._calls:
            if not self._loop.is_closed():
                self._loop.run_until_complete(self._give_up())
                self._loop.close()

    def _cancel(self) -> None:
        if self._call is not None:
            self._call.cancel()

    def _infer(self, request: Request, deadline: float, then: str) -> np.ndarray:
        with self._calls:
            if self._closed:
                raise LinkError(f"the link to {self._config.address} was closed")
            self._count = (self._count + 1) % TICKS
            request = dataclasses.replace(request, tick=self._count)
            message = pack(self._dialect.message(request))
            begin = time.monotonic()
            answer = self._run(self._ask(message, deadline), deadline, then)
            try:
                chunk = self._dialect.chunk(answer, self._count)
            except LayoutError:
                self._loop.run_until_complete(self._drop())
                raise
            self.latency.note(answer, 1e3 * (time.monotonic() - begin))
            return chunk

    def _run(self, work: Any, deadline: float, then: str) -> Any:
        """Do a piece of work; what fails costs the link.

        Args:
            work: a coroutine.
            deadline: for it [s].
            then: what follows where it takes longer, for people.
        """
        self._call = self._loop.create_task(work)
        try:
            return self._loop.run_until_complete(asyncio.wait_for(self._call, deadline))
        except TimeoutError:
            failure = LinkError(
                self._lost
                or f"policy server {self._config.address} did not answer within "
                f"{deadline:g} s: {then}"
            )
        except asyncio.CancelledError:
            failure = LinkError(f"the link to {self._config.address} was closed")
        except (OSError, aiohttp.ClientError) as error:
            failure = LinkError(f"policy server {self._config.address}: {words_of(error)}")
        except StaleError:  # the link is good
            raise
        except LinkError as error:
            failure = error
        finally:
            self._call = None
        if self._search is None:
            self._loop.run_until_complete(self._drop())
        raise failure

    async def _ask(self, message: bytes, deadline: float) -> dict[str, Any]:
        begin = time.monotonic()
        if begin - self._used > self._config.idle:
            await self._drop()
        if self._socket is None:
            await self._find()
            if time.monotonic() - begin > self._config.stale:
                raise StaleError(
                    f"policy server {self._config.address} is there again: waiting for the next "
                    "observation"
                )
        socket = self._socket
        assert socket is not None  # _connect sets it or raises
        await socket.send_bytes(message)
        answer = await receive(socket, self._config.address)
        self._used = time.monotonic()
        return answer

    async def _find(self) -> None:
        """Have a link again; a search that takes longer than this call goes on in the next one."""
        if self._search is None:
            self._search = self._loop.create_task(self._connect_again())
        await asyncio.wait({self._search})
        search, self._search = self._search, None
        try:
            search.result()
        except TimeoutError:
            words = f"says nothing for {self._reach:g} s"
            self._reach = min(2.0 * self._reach, self._config.greeting)
        except (OSError, aiohttp.ClientError) as error:
            words = words_of(error)
        else:
            self._lost, self._reach = "", self._config.answer
            return
        self._lost = f"policy server {self._config.address}: {words}"
        raise LinkError(self._lost)

    async def _connect_again(self) -> None:
        """Connect; servers that are not there are not asked more often than the pauses say."""
        await asyncio.sleep(max(self._not_before - time.monotonic(), 0.0))
        self._not_before = time.monotonic() + self._pause
        self._pause = min(2.0 * self._pause, self._config.longest_pause)
        before = self._hello
        async with asyncio.timeout(self._reach):
            await self._greet()
        found, self._hello = self._hello, before
        if differing := _differences(before, found):
            await self._drop()
            raise LayoutError(
                f"policy server {self._config.address} serves another policy now "
                f"({differing}): start the policy again to use it"
            )
        self._pause = self._config.first_pause

    async def _greet(self) -> None:
        """Open a link and hear who the server is."""
        session, config = aiohttp.ClientSession(), self._config
        try:
            socket, self._hello = await greet(session, config.address, config.token)
        except BaseException:
            await _close(session)
            raise
        self._session, self._socket, self._used = session, socket, time.monotonic()

    async def _give_up(self) -> None:
        search, self._search = self._search, None
        if search is not None:
            search.cancel()
            await asyncio.gather(search, return_exceptions=True)
        await self._drop()

    async def _drop(self) -> None:
        """Cut the link at once: a server that is silent would not answer a farewell either."""
        session, socket = self._session, self._socket
        self._session = self._socket = None
        if socket is not None:
            await leave(socket)
        if session is not None:
            await _close(session)


class StaleError(LinkError):
    """The link is there, and the observation too old for it."""


def connect(
    address: str, cell: Cell, *, token_file: str = "", keys_file: str = "", answer: float
) -> RemotePolicy:
    """The policy of a server, for a cell.

    Args:
        address: ws://HOST:PORT.
        cell: that it shall drive.
        token_file: with the word it asks for; empty: none.
        keys_file: what a server of openpi reads and gives; empty: it is one of ours.
        answer: a chunk is waited for so long [s].

    Raises:
        UsageError: a file or the deadline is not allowed.
        AteError: as `RemotePolicy` does.
    """
    if not 0.0 < answer <= LONGEST_ANSWER:
        raise UsageError(f"a deadline of {answer:g} s: must be up to {LONGEST_ANSWER:g} s, not 0")
    token = read_token(Path(token_file) if token_file else None)
    keys = ForeignKeys.read(Path(keys_file)) if keys_file else None
    policy = RemotePolicy(LinkConfig(address=address, token=token, answer=answer), cell, keys)
    atexit.register(policy.close)  # also where whoever asked for it fails after this
    return policy


async def _close(session: aiohttp.ClientSession) -> None:
    await session.close()
    await asyncio.sleep(0)  # its transports are closed in the next turn of the loop


def _differences(before: dict[str, Any], now: dict[str, Any]) -> str:
    """Names of what differs between two greetings, the device apart; empty where nothing does.

    Hashes of files are compared where both tell them: older servers did not.
    """
    if all(isinstance(one.get(FILES), dict) for one in (before, now)):
        before, now = _with_files(before), _with_files(now)
    keys = sorted((set(before) | set(now)) - {"device", FILES})
    # as bytes: a foreign server may tell of arrays
    return ", ".join(k for k in keys if pack({k: before.get(k)}) != pack({k: now.get(k)}))


def _with_files(hello: dict[str, Any]) -> dict[str, Any]:
    """A greeting with the hash of each file as an entry of its own."""
    return hello | {f"sha256 of {name}": value for name, value in hello[FILES].items()}
