"""A page of a cell that is played by the test, and a browser that looks at it."""

import asyncio
import base64
import contextlib
import io
import shutil
import subprocess
import tempfile
import time
from collections.abc import AsyncIterator
from pathlib import Path

import aiohttp
import numpy as np
import pytest
from PIL import Image

from ate_cockpit.acts import acts_of
from ate_cockpit.figure import CellFigure
from ate_cockpit.server import Answer, Page, PageConfig
from ate_cockpit.view import CellView
from ate_core.contract import load_cell

CHROMIUM = shutil.which("chromium") or shutil.which("google-chrome")
PATIENCE = 60.0  # [s]; a busy machine opens a page slowly
QUIET = (
    "--headless=new", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run",
    "--disable-background-networking", "--disable-component-update", "--disable-sync",
    "--remote-debugging-port=0", "--window-size=1500,1000",
)  # fmt: skip


class PlayedCell:
    """What the page is shown, and what it asked for."""

    def __init__(self) -> None:
        self.cell = load_cell(None, "sim")
        self.view = CellView(self.cell)
        self.figure = CellFigure(self.cell)
        self.asked: list[tuple[str, str]] = []
        self.hold = asyncio.Event()
        self.hold.set()
        self.play()

    def play(self, **episode: object) -> None:
        """A cell in which all is well."""
        now = time.monotonic()
        for side in self.cell.arms:
            self.view.take_status(side, "arm", {"state": "tracking", "reason": ""}, now)
            self.view.take_status(side, "operator", {"clutch": "engaged", "tracked": True}, now)
        for number, role in enumerate(self.cell.cameras):
            self.view.take_picture(role, picture((250 - 60 * number, 40 * number, 90)), now)
        self.view.take_estop({"stopped": False, "reason": ""}, now)
        self.view.take_episode(
            {"state": "idle", "kept": 3, "discarded": 1, "episode": 4, **episode}
        )

    def words(self) -> dict[str, object]:
        now = time.monotonic()
        for side, arm in self.cell.arms.items():  # they go on, however slow the machine is
            self.view.take_joints(side, arm.home, now)
            self.view.take_command(side, np.array(arm.home) + 0.1, now)
        measured = self.view.joints(now)
        return {
            **self.view.document(now),
            "figure": {side: self.figure.arm(side, q) for side, q in measured.items()},
            "ghost": {
                side: self.figure.arm(side, q) for side, q in self.view.targets(now).items()
            },
            "near": self.figure.near(measured),
            "episodes": [{"name": "episode_000003", "outcome": "success"}],
        }

    async def act(self, name: str, text: str) -> Answer:
        self.asked.append((name, text))
        await self.hold.wait()
        return Answer(success=True, message=f"{name} was done")

    @contextlib.asynccontextmanager
    async def page(self, **config: object):
        """Serve the page; gives it and its address."""
        setup = {
            "hardware": "sim",
            "sides": list(self.cell.arms),
            "cameras": list(self.cell.cameras),
            "acts": {name: act.words for name, act in acts_of(self.cell).items()},
            **self.figure.surroundings(),
        }
        page = Page(PageConfig(port=0, **config), self.view, lambda: self.words(), setup, self.act)
        address: asyncio.Future[str] = asyncio.get_running_loop().create_future()
        serving = asyncio.create_task(page.serve(address.set_result))
        done, _ = await asyncio.wait({serving, address}, return_when=asyncio.FIRST_COMPLETED)
        try:
            if serving in done:
                serving.result()
            yield address.result()
        finally:
            serving.cancel()
            await asyncio.gather(serving, return_exceptions=True)


def picture(colour: tuple[int, int, int]) -> bytes:
    """A JPEG of one colour."""
    stream = io.BytesIO()
    Image.new("RGB", (160, 90), colour).save(stream, "JPEG")
    return stream.getvalue()


@pytest.fixture
def played():
    return PlayedCell()


# --- the browser: Chromium, driven over its own debugging protocol as a person would use it


class Tab:
    """One page."""

    def __init__(self, socket: aiohttp.ClientWebSocketResponse) -> None:
        self._socket, self._number = socket, 0

    async def call(self, method: str, **parameters: object) -> dict:
        self._number += 1
        message = {"id": self._number, "method": method, "params": parameters}
        await self._socket.send_json(message)
        while True:
            answer = await self._socket.receive_json()
            if answer.get("id") == self._number:
                return answer["result"]

    async def value(self, expression: str) -> object:
        result = await self.call(
            "Runtime.evaluate", expression=expression, awaitPromise=True, returnByValue=True
        )
        assert "exceptionDetails" not in result, result
        return result["result"].get("value")

    async def text(self, selector: str) -> str:
        return str(await self.value(f"document.querySelector({selector!r})?.innerText"))

    async def until(self, expression: str) -> None:
        async with asyncio.timeout(PATIENCE):
            while not await self.value(f"Boolean({expression})"):
                await asyncio.sleep(0.05)

    async def until_text(self, selector: str, words: str) -> None:
        try:
            await self.until(
                f"document.querySelector({selector!r})?.innerText.includes({words!r})"
            )
        except TimeoutError:
            raise AssertionError(
                f"{selector}: {await self.text(selector)!r}, not {words!r}"
            ) from None

    async def click(self, selector: str) -> None:
        """Click where the element is seen; one that is hidden or covered is not hit."""
        find = f"document.querySelector({selector!r})"
        await self.until(f"{find} && {find}.getBoundingClientRect().width > 0")
        await self.value(f"{find}.scrollIntoView({{block: 'center'}})")
        x, y = await self.value(
            f"(r => [r.x + r.width / 2, r.y + r.height / 2])({find}.getBoundingClientRect())"
        )
        for kind in ("mousePressed", "mouseReleased"):
            await self.call(
                "Input.dispatchMouseEvent", type=kind, x=x, y=y, button="left", clickCount=1
            )

    async def press(self, key: str) -> None:
        code = "Space" if key == " " else f"Key{key.upper()}"
        for kind in ("keyDown", "keyUp"):
            await self.call("Input.dispatchKeyEvent", type=kind, key=key, code=code, text=key)

    async def screenshot(self, selector: str) -> bytes:
        """PNG of an element."""
        box = await self.value(
            f"(r => ({{x: r.x + scrollX, y: r.y + scrollY, width: r.width, height: r.height}}))"
            f"(document.querySelector({selector!r}).getBoundingClientRect())"
        )
        result = await self.call("Page.captureScreenshot", format="png", clip={**box, "scale": 1})
        return base64.b64decode(result["data"])


class Browser:
    """A running Chromium."""

    def __init__(self, session: aiohttp.ClientSession, port: str) -> None:
        self._session, self._port = session, port

    async def open(self, address: str) -> Tab:
        place = f"http://127.0.0.1:{self._port}/json/new?{address}"
        async with self._session.put(place) as answer:
            url = (await answer.json())["webSocketDebuggerUrl"]
        return Tab(await self._session.ws_connect(url, max_msg_size=0))


@contextlib.asynccontextmanager
async def chromium() -> AsyncIterator[Browser]:
    """Start Chromium with an empty profile, and end it."""
    with tempfile.TemporaryDirectory(prefix="ate-", ignore_cleanup_errors=True) as folder:
        process = subprocess.Popen(
            [CHROMIUM, *QUIET, f"--user-data-dir={folder}", "about:blank"],
            stderr=subprocess.DEVNULL,
        )
        try:
            told = Path(folder) / "DevToolsActivePort"
            async with asyncio.timeout(PATIENCE):
                while not (told.is_file() and told.read_text().strip()):
                    await asyncio.sleep(0.05)
            async with aiohttp.ClientSession() as session:
                yield Browser(session, told.read_text().split()[0])
        finally:
            process.kill()
            process.wait()


@pytest.fixture
def browse(played):
    """A function that shows the page of the played cell to a coroutine, in a real browser."""
    if CHROMIUM is None:
        pytest.skip("no Chromium here: apt-get install chromium")

    async def show(look) -> None:
        async with played.page() as address, chromium() as browser:
            await look(await browser.open(address))

    return lambda look: asyncio.run(show(look))
