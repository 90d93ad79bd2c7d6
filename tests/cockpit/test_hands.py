"""Hands of the simulated cell follow the page as long as somebody holds them, and no longer."""

import asyncio
import json
import time

import pytest

from ate_cockpit.hands import SimulatedHands
from ate_core.contract import load_cell
from ate_core.errors import DeviceError

FORWARD = {"linear": [0.0, 0.1, 0.0], "clutch": True, "grip": True}
PATIENCE = 30.0


async def until(condition):
    end = time.monotonic() + PATIENCE
    while not condition():
        assert time.monotonic() < end
        await asyncio.sleep(0.01)


async def answer(socket):
    """The next answer to a wish for the hands."""
    async with asyncio.timeout(PATIENCE):
        while True:
            message = await socket.receive()
            told = json.loads(message.data) if isinstance(message.data, str) else {}
            if "hands" in told:
                return told["hands"]


async def lead(socket, **sides):
    await socket.send_json({"wish": "lead", "sides": sides, "number": 7})
    return await answer(socket)


def test_a_browser_leads_a_hand_and_lets_go_of_it_when_it_ends(hands, played, connect):
    async def look():
        async with connect() as socket:
            assert not (await lead(socket))["released"]
            told = await lead(socket, left=FORWARD)
            assert told["number"] == 7
            assert told["left"] == {"lamps": [], "clutch": True, "grip": True}
            left = hands.people["left"]
            ahead = left.hand[1, 3] + 0.01
            await until(lambda: left.hand[1, 3] > ahead)
        await until(lambda: hands.buttons["left"].held == {"zl"})
        assert set(hands.requests[-1]) == {"command", "source"}

    asyncio.run(look())


def test_a_wish_that_was_not_passed_on_yet_is_forgotten_for_a_newer_one(played, connect):
    """So a lead that hangs is not made up for."""
    asked, go_on = [], asyncio.Event()

    class SlowHands:
        def refusal(self):
            return ""

        async def lead(self, source, wish):
            asked.append(wish)
            await go_on.wait()
            return {}

    async def look():
        played.hands = SlowHands()
        async with connect() as socket:
            for number in range(50):
                await socket.send_json({"wish": "lead", "sides": {"left": {"number": number}}})
            await socket.send_json({"wish": "act", "name": "keep"})
            await until(lambda: played.asked and asked)  # the server has read all of it
            go_on.set()
            await until(lambda: asked[-1] == {"left": {"number": 49}})
            assert len(asked) <= 2
        await until(lambda: asked[-1] == {})

    asyncio.run(look())


@pytest.mark.parametrize(
    "sides",
    [
        3,
        {"left": 3},
        {"left": {"linear": [1.0, 2.0]}},
        {"left": {"linear": "fast", "clutch": True}},
        {"left": {"linear": [float("nan")] * 3, "clutch": True}},
        {"left": {"clutch": "yes"}, "third": FORWARD},
    ],
)
def test_a_wish_that_makes_no_sense_closes_no_clutch(hands, played, connect, sides):
    async def look():
        async with connect() as socket:
            await lead(socket)
            await socket.send_json({"wish": "lead", "sides": sides})
            assert await answer(socket)
            assert not hands.buttons["left"].held and not hands.buttons["right"].held

    asyncio.run(look())


def test_who_leads_already_is_named_to_the_next_browser(hands, connect):
    async def look():
        async with connect() as first, connect() as second:
            await lead(first)
            assert "led by page#" in (await lead(second))["error"]

    asyncio.run(look())


def test_a_cell_without_hands_to_lead_says_so(runtime_dir):
    with pytest.raises(DeviceError, match="with episodes:=0"):
        asyncio.run(SimulatedHands(load_cell(None, "sim")).lead("page#1", {"left": FORWARD}))


def test_no_real_arm_is_led_from_the_page_even_where_a_simulated_cell_runs(hands):
    real = SimulatedHands(load_cell(None, "real"))
    assert "the page leads no real arm" in real.refusal()
    with pytest.raises(DeviceError, match="headset and Joy-Con"):
        asyncio.run(real.lead("page#1", {"left": FORWARD}))
    assert not hands.requests
