"""What the pages show and tell operators is what the code does."""

import ast
import importlib.util
import re
from pathlib import Path

import numpy as np
import pytest

from ate_teleop.clutch import Clutch, HandView
from ate_teleop.hand_words import Word

ROOT = Path(__file__).parents[2]
PACKAGE = ROOT / "ros2_ws/src/ate_teleop/ate_teleop"


@pytest.fixture(scope="module")
def drawn():
    spec = importlib.util.spec_from_file_location(
        "draw_operators", ROOT / "tools/draw_operators.py"
    )
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.mark.parametrize("name", ["joycons.svg", "clutch.svg", "frames.svg"])
def test_a_picture_is_as_the_code_draws_it_now(drawn, name):
    remedy = "python tools/draw_operators.py"
    assert (ROOT / "docs/pictures" / name).read_text() == drawn.PICTURES[name](), remedy


def test_the_picture_of_the_clutch_has_every_way_that_the_clutch_goes_and_no_other(drawn):
    rng, clutch, now, seen = np.random.default_rng(5), Clutch(), 0.0, set()
    pressed, tracked = False, True
    for frame in range(20_000):
        now, before = now + 0.02, clutch.state
        pressed ^= rng.random() < 0.06
        tracked ^= rng.random() < 0.05
        hand = HandView(
            pose=np.eye(4), frame=frame, session=1, tracked=tracked, age=0.0, unchanged=0.0
        )
        seen.add((before, clutch.step(now, bool(pressed), hand)))
    assert {way for way in seen if way[0] is not way[1]} == set(drawn.TRANSITIONS)


def words_of(node):
    """The texts of an expression, what is put in shown as an ellipsis."""
    if isinstance(node, ast.JoinedStr):
        yield "".join(
            str(part.value) if isinstance(part, ast.Constant) else "…" for part in node.values
        )
    elif isinstance(node, ast.Constant) and isinstance(node.value, str):
        yield node.value
    else:
        for child in ast.iter_child_nodes(node):
            yield from words_of(child)


def reasons():
    """Every reason for which a clutch is not engaged."""
    for path in (PACKAGE / "clutch.py", PACKAGE / "operator.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            told = []
            if isinstance(node, ast.Call) and getattr(node.func, "attr", "") == "block":
                told = node.args
            elif isinstance(node, ast.Return | ast.Assign) and node.value is not None:
                told = [node.value] if not isinstance(node.value, ast.Call) else []
            yield from (text for part in told for text in words_of(part) if " " in text)


def test_troubleshooting_tells_every_reason_for_which_a_clutch_opens():
    found = set(reasons())
    assert len(found) > 10
    page = (ROOT / "docs/troubleshooting.md").read_text()
    missing = [reason for reason in sorted(found) if f"`{reason}`" not in page]
    assert not missing, f"docs/troubleshooting.md lacks {missing}"


def test_the_page_tells_every_word_that_the_hand_feels():
    page = (ROOT / "docs/teleoperation.md").read_text()
    section = page.split("## What the hand feels")[1].split("\n## ")[0]
    rows = re.findall(r"^\| (?!Rumble|---)[^|]+\|[^|]+\|$", section, re.MULTILINE)
    assert len(rows) == len(Word)
