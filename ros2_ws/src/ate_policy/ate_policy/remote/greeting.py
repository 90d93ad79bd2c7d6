"""How a server is met: the link, and who it says it is. Needs no torch."""

import asyncio
import contextlib
from pathlib import Path
from typing import Any

import aiohttp

from ate_core.errors import LayoutError, LinkError, UsageError
from ate_policy.remote.token import read_token
from ate_policy.remote.wire import LARGEST, unpack

FAREWELL = 0.01
"""The answer to a farewell is waited for so long: a server that is silent gives none [s]."""
GREETING = 5.0
"""A server says who it is within so long [s]; openpi's is mute while it infers."""


async def greet(
    session: aiohttp.ClientSession, address: str, token: str
) -> tuple[aiohttp.ClientWebSocketResponse, dict[str, Any]]:
    """Open a link and hear who the server is.

    Raises:
        LinkError: it is no such server.
        UsageError: it refuses.
    """
    headers = {"Authorization": f"Api-Key {token}"} if token else {}
    try:
        socket = await session.ws_connect(address, max_msg_size=LARGEST, headers=headers)
    except UnicodeError as error:  # of the name of the host
        raise LinkError(f"policy server {address}: {error}") from None
    try:
        return socket, await receive(socket, address)
    except BaseException:
        await leave(socket)
        raise


async def leave(socket: aiohttp.ClientWebSocketResponse) -> None:
    """Close a link without waiting for the other end."""
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(FAREWELL):
            await socket.close()


async def receive(socket: aiohttp.ClientWebSocketResponse, address: str) -> dict[str, Any]:
    """The next message of a server.

    Raises:
        LinkError: it closed the link, or speaks nonsense.
        UsageError: it refuses, in words.
    """
    message = await socket.receive()
    if message.type is aiohttp.WSMsgType.BINARY:
        try:
            return unpack(message.data)
        except LayoutError as error:
            raise LinkError(f"policy server {address}: {error}") from None
    if message.type is aiohttp.WSMsgType.TEXT:
        line = " ".join(str(message.data).split())[-300:]
        raise UsageError(f"policy server {address} refuses: {line}")
    raise LinkError(f"policy server {address} closed the link")


def words_of(error: OSError | aiohttp.ClientError | TimeoutError) -> str:
    """What went wrong with a link, in words."""
    return getattr(error, "message", "") or str(error) or type(error).__name__


def hear(address: str, token_file: str = "", deadline: float = GREETING) -> dict[str, Any]:
    """Who a server says it is, without staying: its metadata.

    Args:
        address: ws://HOST:PORT.
        token_file: with the word it asks for; empty: none.
        deadline: for all of it [s].

    Raises:
        LinkError: nobody answers there in time.
        UsageError: the token is none.
    """
    token = read_token(Path(token_file) if token_file else None)

    async def ask() -> dict[str, Any]:
        async with aiohttp.ClientSession() as session, asyncio.timeout(deadline):
            socket, told = await greet(session, address, token)
            await leave(socket)
            return told

    try:
        return asyncio.run(ask())
    except TimeoutError:
        raise LinkError(
            f"policy server {address} says nothing for {deadline:g} s: restart it"
        ) from None
    except (OSError, aiohttp.ClientError) as error:
        raise LinkError(f"policy server {address}: {words_of(error)}") from None
