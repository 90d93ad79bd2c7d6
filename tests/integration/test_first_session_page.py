"""A newcomer's first session with the page of the simulated cell, as docs/cockpit.md tells it."""

import asyncio
import math
import time

import numpy as np
import pytest

from ate_recorder.episode_summary import read_summary
from benchmarks.chromium import open_tab
from benchmarks.live_cell import TELEOP

pytestmark = [pytest.mark.ros, pytest.mark.slow, pytest.mark.timeout(240)]

PATIENCE = 3.0
"""Before something that seems to have done nothing is done again [s]."""
DEADLINE = 60.0


async def record(tab, number):
    """Press `r`, and again where a stream has not come yet."""
    told, end = f"recording episode {number}", time.monotonic() + DEADLINE
    while time.monotonic() < end:
        await tab.press("r")
        again = time.monotonic() + PATIENCE
        while time.monotonic() < again:
            if told in await tab.text("#headline"):
                return
            await asyncio.sleep(0.05)
    raise AssertionError(await tab.text("#answer"))


async def drag(tab, moved):
    """Lead the left hand until the arm has moved; what a busy machine let go is pressed again."""
    end, pressed_at = time.monotonic() + DEADLINE, -math.inf
    x, y = await tab.middle("#pad-left")
    while not moved():
        assert time.monotonic() < end, await tab.text("body")
        seen = await tab.value("document.querySelector('#pad-left').className")
        idle = time.monotonic() - pressed_at
        is_led = "engaged" in seen if idle > PATIENCE else "held" in seen or idle < 1.0
        if not is_led:
            await tab.mouse("mouseReleased", x, y)
            await asyncio.sleep(0.5)  # as a person would; the operator must see it
            await tab.mouse("mousePressed", x, y)
            await tab.mouse("mouseMoved", x, y - 40)  # forward
            pressed_at = time.monotonic()
        await asyncio.sleep(0.2)
    await tab.mouse("mouseReleased", x, y)


def test_a_newcomer_leads_records_labels_discards_and_finds_with_the_page_alone(
    launch_cell, debugging_port, tmp_path
):
    bags = tmp_path / "bags"
    cell = launch_cell(*TELEOP, "cockpit:=true", "cockpit_port:=0", f"output:={bags}")
    cell.wait_for(lambda: "READY: the page" in cell.log(), "READY", 90)
    address = cell.log().split("cockpit: open ")[1].split()[0]
    world = cell.world()
    start = world.read()["left_q"].copy()

    async def session():
        async with open_tab(debugging_port, address) as tab:
            await tab.until_text("#headline", "ready")
            await tab.until_text("#pad-left", "left hand")
            await record(tab, 0)
            await drag(tab, lambda: np.abs(world.read()["left_q"] - start).max() > 0.1)
            await tab.until_text("#pad-left", "released")
            await tab.press("s")
            await tab.until_text("#headline", "keep or discard it")
            await tab.until_text("#card", "clutch lost")
            await tab.click("#label")
            await tab.call("Input.insertText", text="first try")
            await tab.click("#label-form button")
            await tab.until_text("#episode-state", "1 kept, 0 discarded")
            await record(tab, 1)
            await tab.press("d")
            await tab.until_text("#episode-state", "1 kept, 1 discarded")
            await tab.click("#folder")
            await tab.until_text("#folder", str(bags))
            await tab.until_text("#episodes", "episode_000000 first try")
            await tab.until_text("#episodes", "episode_000001 discarded")

    asyncio.run(session())
    kept = read_summary(bags / "episode_000000")
    assert (kept.outcome, kept.task) == ("first try", "pick_place") and kept.seconds > 0.1
    assert cell.interrupt() < 20.0 and cell.process.returncode == 0
