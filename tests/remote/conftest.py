"""Policies, their servers in threads of their own, and what a test says to them."""

import asyncio
import threading
from contextlib import contextmanager

import aiohttp
import numpy as np
import pytest
import torch
from aiohttp import web

from ate_core.contract import load_cell
from ate_core.observation import Observation
from ate_policy.checkpoint import save_checkpoint
from ate_policy.models.flow_policy import FlowPolicy, FlowPolicyConfig
from ate_policy.policy import Policy, checkpoint_of
from ate_policy.remote.client import LinkConfig, RemotePolicy
from ate_policy.remote.messages import ServedPolicy
from ate_policy.remote.server import PolicyServer, ServerConfig
from ate_policy.remote.wire import pack
from ate_policy.transforms import ChunkTransform, Statistics, VectorStatistics

CELL = load_cell(hardware="sim")
HOME = (*CELL.arms["left"].home, 0.5, *CELL.arms["right"].home, 0.5)
SEEN = Observation(
    state=np.array(HOME, np.float32),
    images={"head": np.full((72, 128, 3), 90, np.uint8)},
    stamp_ns=0,
)
QUICK = {"answer": 10.0, "first_pause": 0.01, "longest_pause": 0.02, "stale": 30.0}


@contextmanager
def running(serve):
    """Run an async function in a thread of its own; it calls its argument with its address."""
    loop, found, ready = asyncio.new_event_loop(), [], threading.Event()

    def tell(address):
        found.append(address)
        ready.set()

    task = loop.create_task(serve(tell))
    task.add_done_callback(lambda _: loop.stop())
    thread = threading.Thread(target=loop.run_forever)
    thread.start()
    assert ready.wait(10.0)
    try:
        yield found[0]
    finally:
        loop.call_soon_threadsafe(task.cancel)
        thread.join(10.0)
        loop.close()


def served(policy, files=None, **settings):
    """Serve a policy, as a context that gives the address."""
    return running(PolicyServer(policy, ServerConfig(**{"port": 0, **settings}), files).serve)


@pytest.fixture
def serving():
    """Serves a policy, as a context that gives the address."""
    return served


@pytest.fixture(scope="module")
def policy():
    one = VectorStatistics(mean=HOME, std=(0.01,) * 16, q01=HOME, q99=HOME)
    torch.manual_seed(0)
    model = FlowPolicy(FlowPolicyConfig(objects=0, cameras=("head",)))
    transform = ChunkTransform(Statistics(state=one, action=one))
    return Policy("flow", model, transform, CELL.canonical_text(), {"instructions": ["lift"]})


def saved(policy, folder):
    """The checkpoint of a policy, written as a folder."""
    checkpoint = checkpoint_of(
        "flow",
        policy.config,
        weights=policy._model.state_dict(),
        statistics=policy.statistics,
        contract=policy.contract,
        training=policy.training,
    )
    save_checkpoint(folder, checkpoint)
    return folder


class Asked:
    """A policy that does with each request what the test says."""

    def __init__(self, policy, infer=None):
        self.policy = policy
        self.infer = infer or policy.infer

    def __getattr__(self, name):
        return getattr(self.policy, name)


@contextmanager
def scripted(policy, answer, greets=lambda: True):
    """A server that says who it is, or nothing, then does to requests what the test says."""

    async def converse(request):
        socket = web.WebSocketResponse()
        await socket.prepare(request)
        if greets():
            await socket.send_bytes(pack(ServedPolicy.of(policy).metadata()))
        async for message in socket:
            await answer(socket, message)
        return socket

    async def serve(tell):
        app = web.Application()
        app.router.add_get("/", converse)
        runner = web.AppRunner(app, shutdown_timeout=0.1)
        await runner.setup()
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        tell(f"ws://127.0.0.1:{runner.addresses[0][1]}")
        try:
            await asyncio.Event().wait()
        finally:
            await runner.cleanup()

    with running(serve) as address:
        yield address


@contextmanager
def linked(address, **settings):
    remote = RemotePolicy(LinkConfig(address=address, **{**QUICK, **settings}), CELL)
    try:
        yield remote
    finally:
        remote.close()


def raw(address, *messages, headers=None):
    """Answers to raw messages, the metadata first."""

    async def talk():
        async with (
            aiohttp.ClientSession() as session,
            session.ws_connect(address, headers=headers or {}) as socket,
        ):
            answers = [await socket.receive(5.0)]
            for message in messages:
                await socket.send_bytes(message)
                answers.append(await socket.receive(5.0))
            return answers

    return asyncio.run(talk())


def get(address, path, **settings):
    async def ask():
        url = address.replace("ws:", "http:") + path
        async with aiohttp.ClientSession() as session, session.get(url, **settings) as answer:
            return answer.status, await answer.text()

    return asyncio.run(ask())
