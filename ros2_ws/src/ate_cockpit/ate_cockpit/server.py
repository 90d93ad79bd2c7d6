"""The web server of the page: one page, one socket per browser.

A browser is given the newest and never a backlog: the words of the cell at `WORDS_RATE`, a picture
when it has drawn the one before. One that stalls is dropped; each has a task of its own, so it
delays nobody. Only this machine is answered, or whoever knows the token.
"""

import asyncio
import contextlib
import hmac
import json
import logging
import time
from collections.abc import Awaitable, Callable, Coroutine
from dataclasses import dataclass
from importlib.resources import files
from ipaddress import ip_address
from urllib.parse import urlencode, urlsplit

from aiohttp import WSMsgType, web

from ate_cockpit.hands import Hands, Leader
from ate_cockpit.view import CellView
from ate_core.errors import AteError, DeviceError
from ate_core.json_text import UNREADABLE, Document, as_document, finite, plain_text

WORDS_RATE = 10.0
"""Times per second that a browser is told the state of the cell [Hz]."""
PICTURE_RATE = 10.0
"""Most pictures per second, camera and browser [Hz]."""
STALLED = 5.0
"""A browser that takes nothing for so long is dropped [s]; it connects again by itself."""
LONGEST_WISH = 2000
"""Characters of what a browser may send at once."""
MOST_BROWSERS = 16
"""Browsers at once."""
FILES = {
    "/": ("index.html", "text/html"),
    "/cockpit.js": ("cockpit.js", "text/javascript"),
    "/figure.js": ("figure.js", "text/javascript"),
    "/hands.js": ("hands.js", "text/javascript"),
    "/cockpit.css": ("cockpit.css", "text/css"),
}
"""Path -> file of this package and its type."""
HEADERS = {
    "Content-Security-Policy": "default-src 'self'; frame-ancestors 'none'",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cache-Control": "no-store",
}

logger = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True)
class Answer:
    """What became of an act."""

    success: bool
    """Whether it was done."""
    message: str
    """In words."""


@dataclass(frozen=True, kw_only=True)
class PageConfig:
    """Where the page is served, and to whom."""

    host: str = "127.0.0.1"
    """Address to listen on; any but a loopback one needs a token."""
    port: int = 8400
    """TCP port; 0: any that is free."""
    token: str = ""
    """Word that a browser must know; empty: only this machine is answered."""

    @property
    def is_local(self) -> bool:
        """Whether only this machine can reach it."""
        with contextlib.suppress(ValueError):
            return ip_address(self.host).is_loopback
        return self.host == "localhost"


Act = Callable[[str, str, int | None], Awaitable[Answer]]


class Page:
    """The page: `start` listens, `serve` tells browsers the cell until it is cancelled."""

    def __init__(
        self,
        config: PageConfig,
        view: CellView,
        words: Callable[[], Document],
        setup: Document,
        act: Act,
        hands: Hands,
    ) -> None:
        """Prepare.

        Args:
            config: where and to whom.
            view: pictures.
            words: gives the state of the cell; called at `WORDS_RATE` while somebody looks.
            setup: what never changes, sent once to each browser.
            act: does an act by its name, with a text where it takes one, and the number of the
                episode that was shown; may raise an `AteError`.
            hands: what a browser may lead in a simulated cell.
        """
        self._config = config
        self._view = view
        self._words = words
        self._setup = setup
        self._act = act
        self._hands = hands
        self._newest = ""
        self._runner: web.AppRunner | None = None
        self._cookie = ""
        self._told = asyncio.Condition()
        self.browsers = 0
        """How many look now."""
        self.address = ""
        """Where the page is, for a browser; empty until it is served."""

    async def start(self) -> None:
        """Listen.

        Raises:
            DeviceError: the address cannot be listened on.
        """
        app = web.Application(middlewares=[self._guard])
        for path in FILES:
            app.router.add_get(path, _send_file)
        app.router.add_get("/cell", self._converse)
        runner = web.AppRunner(app, access_log=None, shutdown_timeout=1.0)
        await runner.setup()
        try:
            await web.TCPSite(runner, self._config.host, self._config.port).start()
        except OSError as error:
            await runner.cleanup()
            raise DeviceError(
                f"the cockpit cannot listen on {self._config.host}:{self._config.port}: "
                f"{error.strerror}; is another one running? Give another port (--port of "
                "`ate cockpit`, cockpit_port:=... of a launch)"
            ) from None
        self._runner = runner
        port = runner.addresses[0][1]
        self._cookie = f"token-{port}"
        host = f"[{self._config.host}]" if ":" in self._config.host else self._config.host
        query = f"?{urlencode({'token': self._config.token})}" if self._config.token else ""
        self.address = f"http://{host}:{port}/{query}"

    async def serve(self) -> None:
        """Serve for ever, after `start`."""
        assert self._runner is not None
        try:
            await self._tell()
        finally:
            await self._runner.cleanup()

    async def _tell(self) -> None:
        """Make the words once for all browsers, as long as there is one."""
        while True:
            if self.browsers:
                self._newest = _as_json({"cell": self._words()})
                async with self._told:
                    self._told.notify_all()
            await asyncio.sleep(1.0 / WORDS_RATE)

    @web.middleware
    async def _guard(
        self, request: web.Request, handler: Callable[[web.Request], Awaitable[web.StreamResponse]]
    ) -> web.StreamResponse:
        """Refuse strangers, and pages of others that would speak for a browser here."""
        host = urlsplit(f"//{request.host}").hostname or ""
        if self._config.token:
            given = request.query.get("token", "") or request.cookies.get(self._cookie, "")
            if not hmac.compare_digest(given.encode(), self._config.token.encode()):
                raise web.HTTPForbidden(
                    text="The cockpit needs its token: open the address that its start printed."
                )
        elif host != "localhost" and not _is_loopback(host):
            raise web.HTTPForbidden(text="The cockpit answers only on this machine.")
        origin = request.headers.get("Origin")
        if origin is not None and urlsplit(origin).netloc != request.host:
            raise web.HTTPForbidden(text="Pages of other places may not speak to the cockpit.")
        response = await handler(request)
        if not response.prepared:
            response.headers.update(HEADERS)
            if self._config.token:
                response.set_cookie(  # browsers keep cookies by host, whatever the port
                    self._cookie, self._config.token, httponly=True, samesite="Strict", path="/"
                )
        return response

    async def _converse(self, request: web.Request) -> web.StreamResponse:
        if self.browsers >= MOST_BROWSERS:
            raise web.HTTPServiceUnavailable(text=f"{MOST_BROWSERS} browsers look already.")
        socket = web.WebSocketResponse(
            compress=False, heartbeat=STALLED, max_msg_size=LONGEST_WISH
        )
        await socket.prepare(request)
        self.browsers += 1
        browser = _Browser(socket, request.transport, self._view, self._hands)
        tasks = [
            asyncio.create_task(self._send_words(browser)),
            asyncio.create_task(browser.send_pictures()),
        ]
        try:
            await browser.send(json.dumps({"setup": self._setup}))
            async for message in socket:
                if message.type is WSMsgType.TEXT:
                    await self._take(browser, message.data)
        except (TimeoutError, ConnectionError):
            logger.debug("a browser went away")
        finally:
            self.browsers -= 1
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
            await browser.end()
        return socket

    async def _send_words(self, browser: "_Browser") -> None:
        while True:
            async with self._told:
                await self._told.wait()
            if not await browser.send(self._newest):
                return

    async def _take(self, browser: "_Browser", text: str) -> None:
        """Take a wish of a browser: a picture, a motion of the hands, or an act."""
        try:
            wish = json.loads(text)
            kind, name = str(wish["wish"]), str(wish.get("name", ""))
            text, episode = plain_text(wish.get("text", "")), wish.get("episode")
        except UNREADABLE:
            await browser.send(_answer("", Answer(success=False, message="not understood")))
            return
        if kind == "picture" and name in self._view.roles:
            browser.want(name)
        elif kind == "lead":
            browser.leader.want(as_document(wish.get("sides")), wish.get("number"))
        elif kind == "act":
            shown = episode if isinstance(episode, int) else None
            browser.begin(self._do(browser, name, text, shown))

    async def _do(self, browser: "_Browser", name: str, text: str, shown: int | None) -> None:
        logger.info("the page asks for %s", name)
        try:
            answer = await self._act(name, text, shown)
        except AteError as error:
            answer = Answer(success=False, message=str(error))
        await browser.send(_answer(name, answer))


class _Browser:
    """One that looks."""

    def __init__(
        self,
        socket: web.WebSocketResponse,
        transport: asyncio.Transport | None,
        view: CellView,
        hands: Hands,
    ) -> None:
        self._socket = socket
        self._transport = transport
        self._view = view
        self._roles = view.roles
        self._wanted: set[str] = set()
        self._sent = dict.fromkeys(view.roles, 0)
        self._acts: set[asyncio.Task[None]] = set()
        self.leader = Leader(hands, lambda told: self.send(json.dumps({"hands": told})))
        """Leads the hands as this browser wants."""

    def want(self, role: str) -> None:
        """The picture before was drawn; the next one is wanted."""
        self._wanted.add(role)

    def begin(self, act: Coroutine[None, None, None]) -> None:
        """Let an act take its time."""
        task = asyncio.create_task(act)
        self._acts.add(task)
        task.add_done_callback(self._acts.discard)

    async def send(self, data: str | bytes) -> bool:
        """Send, or drop a browser that takes nothing; whether it is still there."""
        try:
            async with asyncio.timeout(STALLED):
                await (
                    self._socket.send_str(data)
                    if isinstance(data, str)
                    else self._socket.send_bytes(data)
                )
        except (ConnectionError, RuntimeError):
            return False
        except TimeoutError:
            logger.warning("a browser took nothing for %g s: dropped", STALLED)
            if self._transport is not None:
                self._transport.abort()
            return False
        return True

    async def send_pictures(self) -> None:
        """Send each picture that is wanted once there is a newer one."""
        while True:
            begin = time.monotonic()
            for index, role in enumerate(self._roles):
                if role not in self._wanted:
                    continue
                data, number = self._view.picture(role)
                if number == self._sent[role]:
                    continue
                self._wanted.discard(role)
                self._sent[role] = number
                if not await self.send(bytes([index]) + data):
                    return
            await asyncio.sleep(max(0.0, 1.0 / PICTURE_RATE - (time.monotonic() - begin)))

    async def end(self) -> None:
        """Let go of the hands, and let acts that are under way finish: what was asked is asked."""
        await self.leader.end()
        if self._acts:
            await asyncio.wait(self._acts, timeout=1.0)


def _is_loopback(host: str) -> bool:
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return False


def _as_json(words: Document) -> str:
    """The words as JSON, also where a node tells of a number that is none."""
    try:
        return json.dumps(words, allow_nan=False, default=str)
    except ValueError:
        return json.dumps(finite(words), default=str)


def _answer(name: str, answer: Answer) -> str:
    return json.dumps(
        {"answer": {"act": name, "success": answer.success, "message": answer.message}}
    )


async def _send_file(request: web.Request) -> web.Response:
    name, kind = FILES[request.path]
    text = files("ate_cockpit").joinpath("page", name).read_text(encoding="utf-8")
    return web.Response(text=text, content_type=kind)
