"""Whose turn it is: many clients, one network."""

import asyncio
from collections.abc import Hashable
from typing import Generic, TypeVar

Client = TypeVar("Client", bound=Hashable)
Work = TypeVar("Work")


class Turns(Generic[Client, Work]):
    """One place per client, in order of arrival; the newest work of a client takes its place.

    Who has been served and asks again stands at the end, so nobody is served twice while another
    waits, and no more wait than there are clients.
    """

    def __init__(self) -> None:
        self._waiting: dict[Client, Work] = {}
        self._some = asyncio.Event()

    def put(self, client: Client, work: Work) -> Work | None:
        """Ask for a turn; returns the client's older work, which will not be done."""
        older = self._waiting.get(client)
        self._waiting[client] = work
        self._some.set()
        return older

    def drop(self, client: Client) -> None:
        """Forget a client that has gone."""
        self._waiting.pop(client, None)

    async def take(self) -> tuple[Client, Work]:
        """The next client and its work."""
        while not self._waiting:
            self._some.clear()
            await self._some.wait()
        client = next(iter(self._waiting))
        return client, self._waiting.pop(client)
