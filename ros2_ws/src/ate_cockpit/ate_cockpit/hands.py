"""Leading the hands of the simulated cell from the page: the newest wish, and no backlog.

A hand follows as long as wishes come: the simulated cell takes silence for a release. A browser
that ends lets go at once; one that hangs, and a page's process that hangs, do it by their silence.
"""

import asyncio
import contextlib
import secrets
from collections.abc import Awaitable, Callable, Mapping
from typing import Protocol

from ate_core.contract import Cell
from ate_core.control_socket import ControlClient
from ate_core.errors import DeviceError
from ate_core.hands_socket import HANDS_SOCKET, LEAD
from ate_core.json_text import UNREADABLE, Document

TIMEOUT = 0.5
"""Longest wait for the hands [s]; they have let go of everything by then."""
ACTIONS = {"clutch": "clutch", "grip": "gripper"}
"""Word of the page -> action of the cell's buttons that goes on while it is true."""


class Hands(Protocol):
    """Hands that a page may lead, or not."""

    def refusal(self) -> str:
        """Why they cannot be led now; empty: they can."""

    async def lead(self, source: str, wish: Mapping[str, object]) -> Document:
        """Ask for a motion; see `SimulatedHands.lead`."""


class SimulatedHands:
    """The hands of both people of the simulated cell. Those of a real one are refused."""

    def __init__(self, cell: Cell) -> None:
        """Prepare; nothing is opened before the first wish.

        Args:
            cell: real or simulated, and its runtime folder.
        """
        self._sides = tuple(cell.arms)
        self._path = cell.runtime_path(HANDS_SOCKET) if cell.hardware == "sim" else None

    def refusal(self) -> str:
        """Why they cannot be led now; empty: they can."""
        if self._path is None:
            return "the page leads no real arm: that is done with headset and Joy-Con"
        if not self._path.exists():
            return "no hands to lead: launch dual_operator.launch.py with episodes:=0"
        return ""

    async def lead(self, source: str, wish: Mapping[str, object]) -> Document:
        """Ask for a motion.

        Args:
            source: tells who leads from others who would.
            wish: ``left`` and ``right`` with ``linear`` (right, forward, up) [m/s], ``angular``
                about the same axes [rad/s], ``clutch`` and ``grip`` (held or not). A hand that is
                not named rests and keeps what it grips.

        Returns:
            ``released`` (what was held must be let go first), and of each side the ``lamps`` lit,
            ``clutch`` and ``grip``.

        Raises:
            DeviceError: they cannot be led, do not answer, or somebody else leads.
        """
        refusal = self.refusal()
        if self._path is None or refusal:
            raise DeviceError(refusal)
        remedy = "does the cell still run?"
        client = ControlClient(self._path, peer="the hands", remedy=remedy, timeout=TIMEOUT)
        sides = {side: _request(wish[side]) for side in self._sides if side in wish}
        answer = await asyncio.to_thread(client.call, LEAD, source=source, **sides)
        return {
            "released": answer["released"],
            **{side: _answer(answer[side]) for side in self._sides},
        }


def _request(wish: object) -> object:
    if not isinstance(wish, Mapping):
        return wish  # refused by the hands
    return {
        **{name: wish[name] for name in ("linear", "angular") if name in wish},
        "actions": [action for name, action in ACTIONS.items() if wish.get(name) is True],
    }


def _answer(answer: Mapping[str, object]) -> Document:
    held = answer["actions"]
    assert isinstance(held, list)
    words = {name: action in held for name, action in ACTIONS.items()}
    return {"lamps": answer["lamps"], **words}


class Leader:
    """One browser that would lead the hands; its wishes go on one after the other."""

    def __init__(self, hands: Hands, tell: Callable[[Document], Awaitable[object]]) -> None:
        """Begin, on the running loop.

        Args:
            hands: what is led.
            tell: takes the answer to a wish, or its ``error``.
        """
        self._hands = hands
        self._tell = tell
        self._source = f"page#{secrets.token_hex(4)}"
        self._newest: Mapping[str, object] = {}
        self._number: object = None
        self._wanted = asyncio.Event()
        self._leads = self._has_ended = False
        self._task = asyncio.create_task(self._run())

    def want(self, wish: Mapping[str, object], number: object) -> None:
        """Take a wish; one that was not passed on yet is forgotten.

        Args:
            wish: see `SimulatedHands.lead`.
            number: told with the answer.
        """
        self._newest, self._number = wish, number
        self._wanted.set()

    async def end(self) -> None:
        """Let go of everything, after the wish that is on its way."""
        self._has_ended = True
        self._wanted.set()
        await self._task

    async def _run(self) -> None:
        while True:
            await self._wanted.wait()
            self._wanted.clear()
            if self._has_ended:
                break
            number, answer = self._number, await self._ask(self._newest)
            await self._tell({**answer, "number": number})
        if self._leads:
            with contextlib.suppress(DeviceError):  # silence lets go as well
                await self._hands.lead(self._source, {})

    async def _ask(self, wish: Mapping[str, object]) -> Document:
        try:
            answer = await self._hands.lead(self._source, wish)
        except DeviceError as error:
            return {"error": str(error)}
        except UNREADABLE:
            return {"error": "not understood"}
        self._leads = True
        return answer
