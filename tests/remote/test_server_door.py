"""Who is served by a policy's server, and in which order."""

import asyncio
import contextlib
import logging
import socket
import struct

import aiohttp
import pytest

from ate_core.errors import DeviceError, LinkError, UsageError
from ate_policy.remote.client import LinkConfig, RemotePolicy
from ate_policy.remote.door import Places
from ate_policy.remote.server import PolicyServer, ServerConfig
from ate_policy.remote.turns import Turns

from .conftest import CELL, SEEN, get, linked, raw, served


def test_health_and_figures_can_be_read_over_http(policy):
    with served(policy) as address, linked(address) as remote:
        remote.infer(SEEN)
        assert get(address, "/healthz") == (200, "OK\n")
        text = get(address, "/metrics")[1]
    assert "policy_clients 1" in text and "policy_requests_answered_total 1" in text
    assert 'policy_inference_ms{quantile="0.99"}' in text


def test_other_machines_need_a_token_and_a_wrong_one_is_refused(policy):
    with pytest.raises(UsageError, match="--token-file"):
        ServerConfig(host="0.0.0.0")
    with served(policy, token="a" * 16) as address:
        with linked(address, token="a" * 16) as remote:
            assert remote.infer(SEEN).shape == (20, 16)
        with pytest.raises(LinkError, match="status"):
            RemotePolicy(LinkConfig(address=address, token="b" * 16), CELL)
        assert get(address, "/metrics")[0] == 401


def test_a_page_of_a_browser_is_not_served(policy):
    with served(policy) as address:
        assert get(address, "/metrics", headers={"Origin": "http://evil"})[0] == 403


def test_two_servers_on_one_port_are_told(policy):
    with served(policy) as address:
        port = int(address.rsplit(":", 1)[1])
        second = PolicyServer(policy, ServerConfig(port=port))
        with pytest.raises(DeviceError, match="another --port"):
            asyncio.run(second.serve(print))


def test_a_message_that_is_too_long_ends_only_its_own_link(policy):
    with served(policy) as address, linked(address) as remote:
        with contextlib.suppress(ConnectionError):  # cut while it is being sent, or after
            answer = raw(address, b"\0" * (9 * 2**20))[1]
            assert answer.type in (aiohttp.WSMsgType.CLOSE, aiohttp.WSMsgType.CLOSED)
        assert remote.infer(SEEN).shape == (20, 16)


def test_a_client_that_sends_half_a_request_and_stalls_delays_nobody(policy):
    with served(policy) as address, linked(address) as remote:
        port = int(address.rsplit(":", 1)[1])

        async def stall():
            _, writer = await asyncio.open_connection("127.0.0.1", port)
            writer.write(b"GET / HTTP/1.1\r\nHost: x\r\nUpgr")
            await writer.drain()
            return writer

        loop = asyncio.new_event_loop()
        writer = loop.run_until_complete(stall())
        assert remote.infer(SEEN).shape == (20, 16)
        writer.close()
        loop.close()


def test_a_crowd_that_connects_and_says_nothing_starves_nobody(policy, monkeypatch):
    monkeypatch.setattr("ate_policy.remote.door.MOST_SILENT", 8)
    with served(policy) as address, contextlib.ExitStack() as crowd:
        port = int(address.rsplit(":", 1)[1])
        with linked(address) as remote:  # who is served stays
            for _ in range(40):
                crowd.enter_context(socket.create_connection(("127.0.0.1", port), timeout=10.0))
            assert remote.infer(SEEN).shape == (20, 16)
            with linked(address) as other:
                assert other.infer(SEEN).shape == (20, 16)


def test_a_connection_without_a_request_is_closed_by_the_server(policy, monkeypatch):
    monkeypatch.setattr("ate_policy.remote.server.HANDSHAKE", 0.1)
    with served(policy) as address:
        port = int(address.rsplit(":", 1)[1])
        for begin in (b"", b"GET / HTTP/1.1\r\nHost: x\r\nUpgr"):
            with socket.create_connection(("127.0.0.1", port), timeout=10.0) as mute:
                mute.sendall(begin)
                assert mute.recv(1) == b""


def test_clients_that_leave_in_the_middle_of_their_greeting_are_no_errors(policy, caplog):
    ask = (
        "GET / HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"
        "Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n\r\n"
    )
    at_once = struct.pack("ii", 1, 0)  # the link is reset, without a farewell
    with served(policy) as address:
        host, port = address.removeprefix("ws://").split(":")
        for _ in range(40):
            with socket.create_connection((host, int(port))) as link:
                link.sendall(ask.encode())
                link.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, at_once)
        with linked(address) as remote:
            assert remote.infer(SEEN).shape == (20, 16)
    told = [one for one in caplog.records if one.levelno >= logging.ERROR]
    assert not told, told[0].getMessage()


def test_clients_that_send_no_observation_give_their_places_to_others(policy, monkeypatch):
    monkeypatch.setattr("ate_policy.remote.server.MOST_CLIENTS", 2)
    monkeypatch.setattr("ate_policy.remote.door.FIRST_WORD", 0.0)

    with served(policy) as address, linked(address) as busy:
        busy.infer(SEEN)
        with linked(address), linked(address) as third:
            assert third.infer(SEEN).shape == (20, 16)
            assert busy.infer(SEEN).shape == (20, 16)
            with pytest.raises(LinkError, match="status"):
                RemotePolicy(LinkConfig(address=address), CELL)


def test_who_has_been_silent_for_longest_leaves_first():
    places = Places(most=3)
    for client, now in (("a", 0.0), ("b", 1.0), ("c", 2.0)):
        assert places.room(now) == (True, None)
        places.come(client, now)
    places.ask("a", 2.0)
    assert places.room(1.5) == (False, None)
    assert places.room(10.0) == (True, "b")
    places.ask("b", 11.0)
    places.ask("c", 11.0)
    assert places.room(60.0) == (False, None) and places.room(62.5) == (True, "a")
    places.leave("a")
    places.ask("a", 63.0)
    assert places.room(63.0) == (True, None)


def test_clients_are_served_in_turn_and_the_newest_observation_counts():
    async def play():
        turns = Turns()
        for client, work in (("a", 1), ("b", 1), ("a", 2)):
            turns.put(client, work)
        order = [await turns.take()]
        turns.put("a", 3)
        turns.put("c", 1)
        turns.drop("c")
        return [*order, await turns.take(), await turns.take()]

    assert asyncio.run(play()) == [("a", 2), ("b", 1), ("a", 3)]
