"""The page answers those it should, gives everybody the newest, and waits for nobody."""

import asyncio
import contextlib
import json

import aiohttp
import pytest

from ate_cockpit import server
from ate_cockpit.server import PageConfig
from ate_core.errors import DeviceError

ADDRESS = "http://127.0.0.1"


@contextlib.asynccontextmanager
async def served(played):
    """A function that opens the page of a played cell once more."""
    async with played.page() as address, aiohttp.ClientSession() as session:
        yield lambda: session.ws_connect(f"{address}cell", max_msg_size=0)


@contextlib.asynccontextmanager
async def browser(played):
    """A browser that looks at the page of a played cell."""
    async with served(played) as connect, connect() as socket:
        yield socket


async def words(socket, kind):
    """The next message of a kind."""
    async with asyncio.timeout(20):
        while True:
            message = await socket.receive()
            if message.type is aiohttp.WSMsgType.TEXT and kind in (
                told := json.loads(message.data)
            ):
                return told[kind]
            assert message.type is not aiohttp.WSMsgType.CLOSED


def run(work):
    asyncio.run(work)


def test_a_browser_is_told_the_cell_again_and_again(played):
    async def look():
        async with browser(played) as socket:
            assert (await words(socket, "setup"))["sides"] == ["left", "right"]
            first = await words(socket, "cell")
            assert len(first["figure"]["left"]) > 8 and len(first["near"]) == 3
            played.play(kept=17)
            async with asyncio.timeout(20):
                while (await words(socket, "cell"))["episode"]["kept"] != 17:
                    pass

    run(look())


def test_a_picture_comes_when_it_is_asked_for_and_only_a_newer_one(played):
    async def look():
        async with browser(played) as socket:
            for _ in range(2):  # the second one is asked for before there is any
                await socket.send_json({"wish": "picture", "name": "overhead"})
            async with asyncio.timeout(20):
                while (message := await socket.receive()).type is aiohttp.WSMsgType.TEXT:
                    pass
            assert message.data[0] == played.view.roles.index("overhead")
            assert message.data[1:3] == b"\xff\xd8"
            await socket.send_json({"wish": "picture", "name": "overhead"})
            for _ in range(5):
                await words(socket, "cell")  # no picture in between: there is no newer one

    run(look())


def test_an_act_is_done_and_answered_while_another_one_hangs(played):
    async def look():
        async with browser(played) as socket:
            played.hold.clear()
            await socket.send_json({"wish": "act", "name": "label", "text": "spoon first"})
            await socket.send_json({"wish": "act", "name": "estop"})
            async with asyncio.timeout(20):
                while len(played.asked) < 2:
                    await asyncio.sleep(0.01)
            played.hold.set()
            answers = {(await words(socket, "answer"))["act"] for _ in range(2)}
            assert answers == {"label", "estop"}
            assert played.asked == [("label", "spoon first"), ("estop", "")]

    run(look())


def test_an_act_that_fails_is_answered_with_the_reason(played):
    async def refuse(name, text, episode):
        raise DeviceError(f"{name} is not there: its node does not run")

    async def look():
        played.act = refuse
        async with browser(played) as socket:
            await socket.send_json({"wish": "act", "name": "keep"})
            answer = await words(socket, "answer")
            assert not answer["success"] and "does not run" in answer["message"]

    run(look())


@pytest.mark.parametrize(
    "wish", ["", "{", "[]", '{"wish": 1}', '{"wish": "picture", "name": "nosuch"}', "[" * 1500]
)
def test_a_wish_that_makes_no_sense_ends_nothing(played, wish):
    async def look():
        async with browser(played) as socket:
            await socket.send_str(wish)
            await socket.send_json({"wish": "act", "name": "keep"})
            while (await words(socket, "answer"))["act"] != "keep":
                pass

    run(look())


async def status(session, address, **options):
    async with session.get(address, **options) as answer:
        return answer.status


def test_only_this_machine_is_answered_and_no_page_of_another_place(played):
    async def look():
        async with played.page() as address, aiohttp.ClientSession() as session:
            assert await status(session, address) == 200
            for name in ("evil.example", "evil.example:80", "127.evil.example", "10.0.0.5"):
                assert await status(session, address, headers={"Host": name}) == 403, name
            for origin in ("http://evil.example", "null", f"{ADDRESS}:1"):
                assert await status(session, f"{address}cell", headers={"Origin": origin}) == 403
            assert await status(session, f"{address}../secrets") == 404

    run(look())


def test_with_a_token_nobody_is_answered_without_it_and_a_browser_needs_it_once(played):
    async def look():
        async with played.page(token="correct horse") as address:
            bare = address.split("?")[0]
            async with aiohttp.ClientSession(cookie_jar=aiohttp.CookieJar(unsafe=True)) as session:
                assert await status(session, bare) == 403
                assert await status(session, f"{bare}?token=wrong") == 403
                assert await status(session, f"{bare}cell") == 403
                assert await status(session, address) == 200
                assert await status(session, f"{bare}cockpit.js") == 200  # by its cookie
                async with session.ws_connect(f"{bare}cell") as socket:
                    assert await words(socket, "cell")

    run(look())


def test_two_pages_of_one_machine_with_tokens_of_their_own_do_not_lock_each_other_out(played):
    """Browsers keep one cookie of a name for a host, whatever the port."""

    async def look():
        jar = aiohttp.CookieJar(unsafe=True)
        async with (
            played.page(token="correct horse") as first,
            played.page(token="battery staple") as second,
            aiohttp.ClientSession(cookie_jar=jar) as session,
        ):
            for address in (first, second):
                assert await status(session, address) == 200
            for address in (first, second):
                assert await status(session, address.split("?")[0]) == 200

    run(look())


def test_a_browser_that_takes_nothing_is_dropped_and_delays_nobody(played, monkeypatch):
    monkeypatch.setattr(server, "STALLED", 0.5)
    big = {"filler": "x" * 300_000}

    async def look():
        plain = played.words
        played.words = lambda: {**plain(), **big}
        async with served(played) as connect, connect() as stalled, connect() as socket:
            stalled._response.connection.transport.pause_reading()
            for _ in range(20):  # 2 s of words
                await words(socket, "cell")
            stalled._response.connection.transport.resume_reading()
            with contextlib.suppress(aiohttp.ClientError, ConnectionError):
                async with asyncio.timeout(20):
                    while not stalled.closed:
                        await stalled.receive()

    run(look())


def test_too_many_browsers_are_refused_in_words(played, monkeypatch):
    monkeypatch.setattr(server, "MOST_BROWSERS", 1)

    async def look():
        async with served(played) as connect, connect():
            with pytest.raises(aiohttp.WSServerHandshakeError) as error:
                await connect()
            assert error.value.status == 503

    run(look())


def test_a_port_that_is_taken_is_named_with_the_remedy(played):
    async def look():
        async with played.page() as address:
            port = int(address.rsplit(":", 1)[1].strip("/"))
            config = PageConfig(port=port)
            page = server.Page(config, played.view, dict, {}, played.act, played.hands)
            with pytest.raises(DeviceError, match=f"127.0.0.1:{port}.*another port"):
                await page.start()

    run(look())


@pytest.mark.parametrize(
    ("host", "local"),
    [("127.0.0.1", True), ("::1", True), ("localhost", True), ("0.0.0.0", False), ("lab", False)],
)
def test_a_page_that_others_can_reach_is_not_local(host, local):
    assert PageConfig(host=host).is_local is local
