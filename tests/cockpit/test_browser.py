"""The page in a real browser: every button reaches the cell, every state is seen."""

import asyncio
import io
import time

import numpy as np
import pytest
from PIL import Image

PATIENCE = 60.0
HEADLINE = "document.querySelector('#headline').className"
pytestmark = pytest.mark.timeout(240)


async def asked(tab, played, name, text=""):
    """Wait until the page has asked for something, and only for that."""
    while not played.asked:
        await tab.value("1")
    assert played.asked == [(name, text)]
    played.asked.clear()


def test_the_page_shows_pictures_arms_distances_and_people(browse, played, tmp_path):
    async def look(tab):
        await tab.until_text("#headline", "ready")
        await tab.until_text("#side-left", "engaged")
        assert "tracking" in await tab.text("#side-right")
        await tab.until_text("#side-left .prompt", "let go of L to pause")
        assert "mm" in await tab.text("#near")
        assert "simulated cell" in await tab.text("#hardware")
        await tab.until("document.querySelector('#picture-overhead').width === 160")
        colours = set()
        for role in played.cell.cameras:
            pixel = f"document.querySelector('#picture-{role}').getContext('2d')"
            await tab.until(f"{pixel}.getImageData(80, 45, 1, 1).data[0] > 60")
            colours.add(tuple(await tab.value(f"[...{pixel}.getImageData(80, 45, 1, 1).data]")))
        assert len(colours) == 3  # no picture stands in another one's place
        drawn = await tab.screenshot("#drawing")
        pixels = np.asarray(Image.open(io.BytesIO(drawn)).convert("RGB")).reshape(-1, 3)
        for colour in ((77, 163, 255), (255, 180, 84)):  # of the two arms
            assert np.sum(np.abs(pixels - np.array(colour)).max(axis=1) < 12) > 500

    browse(look)


def test_the_strip_has_a_bar_for_each_stage_in_the_colour_of_its_bounds(browse, played):
    async def look(tab):
        await tab.until_text("#headline", "ready")
        stages = {"wake": [0.25, 1.0], "total": [1.0, 15.0]}
        operator = {"clutch": "engaged", "latency_ms": stages}
        played.view.take_status("left", "operator", operator, time.monotonic())
        arm = {"state": "tracking", "latency_ms": {"wire": [5.0, 40.0]}}
        played.view.take_status("left", "arm", arm, time.monotonic())
        await tab.until_text("#side-left .latency", "1.0 / 15.0 ms")
        rows = "[...document.querySelectorAll('#side-left .latency dd')]"
        assert await tab.value(f"{rows}.map((row) => row.className)") == ["", "warn", "bad"]
        widths = f"{rows}.map((row) => [...row.querySelectorAll('.bar span')]"
        widths += ".map((bar) => bar.style.width))"
        assert await tab.value(widths) == [["5%", "1.25%"], ["75%", "5%"], ["100%", "25%"]]
        assert await tab.text("#side-right .latency") == ""

    browse(look)


def test_space_stops_the_cell_and_its_reset_is_a_button_of_its_own(browse, played):
    async def look(tab):
        await tab.until_text("#headline", "ready")
        await tab.press(" ")
        await asked(tab, played, "estop")
        played.stop = "the cockpit asked for it"
        await tab.until_text("#headline", "STOPPED: the cockpit asked for it")
        await tab.press(" ")
        await asked(tab, played, "estop")
        await tab.click("#reset")
        await asked(tab, played, "reset")
        await tab.click("#stop")
        await asked(tab, played, "estop")
        await tab.press(" ")  # of the button that has just been clicked: a stop, not a click
        await asked(tab, played, "estop")

    browse(look)


def test_an_episode_is_recorded_finished_and_judged_by_keys_and_by_buttons(browse, played):
    async def look(tab):
        await tab.until_text("#headline", "ready")
        await tab.press("r")
        await asked(tab, played, "record")
        streams = {"left_joints": {"rate_hz": 99.8, "gaps": 2}}
        recording = {"state": "recording", "seconds": 4.0, "dropped": 0, "streams": streams}
        played.play(**recording)
        await tab.until_text("#headline", "recording episode 4")
        assert "left_joints" in await tab.text("#streams")
        await tab.press("s")
        await asked(tab, played, "finish")
        played.play(state="pending")
        await tab.until_text("#headline", "keep or discard it")
        assert "4 s" in await tab.text("#card") and "left_joints 2" in await tab.text("#card")
        for key, name in {"s": "keep", "f": "fail", "d": "discard", "e": "redo"}.items():
            await tab.press(key)
            await asked(tab, played, name)
        for name in ("keep", "fail", "discard", "redo"):
            await tab.click(f"[data-act={name}]")
            await asked(tab, played, name)
        await tab.click("#label")
        for letter in "s d":  # in a field, keys are letters
            await tab.press(letter)
        await tab.click("#label-form button")
        await asked(tab, played, "label", "s d")
        await tab.until_text("#answer", "label was done")

    browse(look)


async def held(hands, *buttons):
    """Wait until just these buttons of the left hand are held."""
    async with asyncio.timeout(PATIENCE):
        while hands.buttons["left"].held != set(buttons):
            await asyncio.sleep(0.01)


def test_blinded_rollouts_are_scored_by_a_key_each_for_what_is_shown(browse, played):
    async def look(tab):
        await tab.until_text("#headline", "ready")
        assert await tab.value("document.querySelector('#scoring').hidden")
        turn = "3: start 2, policy B"
        played.scoring = {"turn": turn, "left": 5, "last": "start 1, policy A: 1", "reason": ""}
        await tab.until_text("#scoring-turn", f"{turn} · 5 left")
        assert "policy A: 1" in await tab.text("#scoring-last")
        for key, word in (("+", "s"), ("-", "f"), ("a", "a"), ("u", "u")):
            await tab.press(key)
            await asked(tab, played, "score", f"{word} {turn}")
        await tab.value("document.querySelector('[data-score=\"4\"]').click()")
        await asked(tab, played, "score", f"4 {turn}")
        played.scoring = {"turn": "", "left": 0, "last": "", "reason": "all are scored: ate score"}
        await tab.until_text("#scoring-turn", "all are scored")

    browse(look)


def test_a_hand_is_led_while_its_pad_is_pressed_and_let_go_however_that_ends(
    hands, browse, played
):
    left = hands.people["left"]

    async def press(tab):
        x, y = await tab.middle("#pad-left")
        await tab.mouse("mousePressed", x, y)
        await held(hands, "l", *grips)
        return x, y

    grips: list[str] = []

    async def look(tab):
        await tab.until_text("#pad-left", "left hand")
        x, y = await press(tab)
        await tab.mouse("mouseMoved", x, y - 60)
        ahead = left.hand[1, 3] + 0.02
        async with asyncio.timeout(PATIENCE):
            while left.hand[1, 3] < ahead:
                await asyncio.sleep(0.01)
        await tab.press("g")
        grips.append("zl")
        await held(hands, "l", "zl")
        await tab.mouse("mouseReleased", x, y - 60)
        await held(hands, "zl")
        await press(tab)
        await tab.value("Object.defineProperty(document, 'hidden', {get: () => true})")
        await tab.value("document.dispatchEvent(new Event('visibilitychange'))")
        await held(hands, "zl")
        await tab.mouse("mouseReleased", x, y)
        await tab.click("#grip-left")
        grips.clear()
        await held(hands)
        await tab.press("1")
        await tab.key("keyDown", "c")
        await tab.key("keyDown", "PageUp")
        await held(hands, "l")
        await tab.key("keyUp", "c")
        await held(hands)
        assert played.asked == []  # none of these keys asks for an episode
        await tab.key("keyDown", "c")
        await held(hands, "l")
        await tab.press("q")  # the page is left
        await held(hands)

    browse(look)


def test_what_is_wrong_is_said_where_it_is_looked_for(browse, played):
    async def look(tab):
        await tab.until_text("#headline", "ready")
        played.play(state="recording", episode=4)
        played.whole = 2, "recorder (silent for 2.0 s)"
        await tab.until_text("#headline", "recording episode 4; recorder (silent for 2.0 s)")
        assert await tab.value(f"{HEADLINE} == 'bad'")
        played.whole = 1, "camera_top (silent for 2.0 s): no pictures of top"
        await tab.until(f"{HEADLINE} == 'recording'")
        played.play()
        await tab.until(f"{HEADLINE} == 'warn'")
        played.whole = 0, "ready"
        await tab.until(f"{HEADLINE} == 'good'")
        fault = {"state": "fault", "reason": "joint 3 too hot (0x1008): let it cool down"}
        played.view.take_status("left", "arm", fault, time.monotonic())
        played.health = {"/left/arm_driver": (2, "joint 3 too hot")}
        await tab.until_text("#headline", "left arm fault")
        await tab.until_text("#side-left", "let it cool down")
        await tab.until_text("#lines", "/left/arm_driver: joint 3 too hot")
        await tab.click("[data-act='left/clear_errors']")
        await asked(tab, played, "left/clear_errors")
        await tab.until_text("#caption-overhead", "silent for")  # no picture has come since
        played.stop = None  # nobody tells of the emergency stop any more
        await tab.until_text("#headline", "emergency stop unknown")

    browse(look)


def test_a_page_without_its_cockpit_says_so_and_shows_nothing_old_as_present(browse, played):
    async def look(tab):
        await tab.until_text("#headline", "ready")
        played.words = lambda: 1 / 0  # its server is gone
        await tab.until_text("#headline", "not connected")
        assert await tab.value("document.body.classList.contains('silent')")

    browse(look)
