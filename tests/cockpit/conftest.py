"""A page of a cell that is played by the test, and a browser that looks at it."""

import asyncio
import contextlib
import functools
import io
import time

import aiohttp
import numpy as np
import pytest
from PIL import Image

from ate_cockpit.acts import acts_of
from ate_cockpit.figure import CellFigure
from ate_cockpit.hands import SimulatedHands
from ate_cockpit.server import Answer, Page, PageConfig
from ate_cockpit.view import CellView
from ate_core.contract import load_cell
from benchmarks.chromium import open_tab


@functools.cache
def packaged_figure() -> CellFigure:
    """The drawing of the packaged cell, which takes a moment to build."""
    return CellFigure(load_cell(None, "sim"))


class PlayedCell:
    """What the page is shown, and what it asked for."""

    def __init__(self) -> None:
        self.cell = load_cell(None, "sim")
        self.view = CellView(self.cell)
        self.figure = packaged_figure()
        self.hands = SimulatedHands(self.cell)
        self.asked: list[tuple[str, str]] = []
        self.meant: list[int | None] = []
        self.address = ""
        self.scoring: dict[str, object] = {}
        self.stop: str | None = ""
        self.whole = 0, "ready"
        self.health: dict[str, tuple[int, str]] = {}
        self.hold = asyncio.Event()
        self.hold.set()
        self.play()

    def play(self, **episode: object) -> None:
        """A cell in which all is well."""
        now = time.monotonic()
        for side in self.cell.arms:
            self.view.take_status(side, "arm", {"state": "tracking", "reason": ""}, now)
            self.view.take_status(side, "gripper", {"state": "tracking", "reason": ""}, now)
            words = f"the arm follows, let go of {side[0].upper()} to pause"
            operator = {"clutch": "engaged", "tracked": True, "prompt": words}
            self.view.take_status(side, "operator", operator, now)
        for number, role in enumerate(self.cell.cameras):
            self.view.take_picture(role, picture((250 - 60 * number, 40 * number, 90)), now)
        self.view.take_episode(
            {"state": "idle", "kept": 3, "discarded": 1, "episode": 4, **episode}
        )

    def words(self) -> dict[str, object]:
        now = time.monotonic()
        if self.stop is not None:
            self.view.take_estop({"stopped": bool(self.stop), "reason": self.stop}, now)
        self.view.take_whole(*self.whole, now)
        for name, line in self.health.items():
            self.view.take_health(name, *line, now)
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
            "unled": self.hands.refusal(),
            "scoring": self.scoring,
        }

    async def act(self, name: str, text: str, episode: int | None) -> Answer:
        self.asked.append((name, text))
        self.meant.append(episode)
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
        page = Page(
            PageConfig(port=0, **config),
            self.view,
            lambda: self.words(),
            setup,
            lambda name, text, episode: self.act(name, text, episode),
            self.hands,
        )
        await page.start()
        serving = asyncio.create_task(page.serve())
        try:
            yield page.address
        finally:
            serving.cancel()
            await asyncio.gather(serving, return_exceptions=True)


def picture(colour: tuple[int, int, int]) -> bytes:
    """A JPEG of one colour."""
    stream = io.BytesIO()
    Image.new("RGB", (160, 90), colour).save(stream, "JPEG")
    return stream.getvalue()


@pytest.fixture
def played(runtime_dir):
    return PlayedCell()


@pytest.fixture
def connect(played):
    """A function that serves the page of the played cell once, and opens its socket."""

    @contextlib.asynccontextmanager
    async def open_socket():
        async with contextlib.AsyncExitStack() as stack:
            if not played.address:
                played.address = await stack.enter_async_context(played.page())
                stack.callback(setattr, played, "address", "")
            session = await stack.enter_async_context(aiohttp.ClientSession())
            place = f"{played.address}cell"
            yield await stack.enter_async_context(session.ws_connect(place, max_msg_size=0))

    return open_socket


@pytest.fixture
def browse(played, debugging_port):
    """A function that shows the page of the played cell to a coroutine, in a real browser."""

    async def show(look) -> None:
        async with played.page() as address, open_tab(debugging_port, address) as tab:
            await look(tab)

    return lambda look: asyncio.run(show(look))
