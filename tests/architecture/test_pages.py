"""The pages agree with the code: parameters, qualities of service, commands and file names."""

import ast
import re
from pathlib import Path

import pytest

from ate_bringup.cli import VERBS
from ate_core.topics import Topics

ROOT = Path(__file__).parents[2]
NODES = sorted((ROOT / "ros2_ws" / "src").glob("*/*/nodes/*.py"))
PAGES = [*ROOT.glob("*.md"), *ROOT.glob("docs/*.md"), *ROOT.glob("ros2_ws/src/*/README.md")]
TOPICS_PAGE = (ROOT / "docs" / "topics.md").read_text()
QUALITIES = {"SENSOR_QOS", "DEFAULT_QOS", "COMMAND_QOS", "LATCHED_QOS"}


def calls():
    """Every call below ``nodes/``, with the name of what is called."""
    for path in NODES:
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Call):
                yield getattr(node.func, "attr", getattr(node.func, "id", "")), node


def page_rows(heading):
    section = TOPICS_PAGE.split(f"## {heading}")[1].split("\n## ")[0]
    rows = [[cell.strip() for cell in line.strip("|").split("|")] for line in section.splitlines()]
    return [row for row in rows if len(row) > 2 and "---" not in row[0]][1:]


def test_the_page_lists_the_parameters_that_are_declared():
    declared = {
        argument.value
        for name, call in calls()
        if name in ("declare_text", "declare_number", "declare_parameter", "_declare")
        for argument in call.args[:2]
        if isinstance(argument, ast.Constant) and isinstance(argument.value, str)
    }
    listed = {word for row in page_rows("Parameters") for word in re.findall(r"`(\w+)`", row[1])}
    assert declared == listed | {"cell", "hardware"}


def published_qualities():
    """Topic -> quality, where a node publishes the topic by its name in `Topics`."""
    names, found = vars(Topics()), {}
    for _, call in calls():
        if len(call.args) < 3 or getattr(call.args[2], "id", "") not in QUALITIES:
            continue
        for node in ast.walk(call.args[1]):
            if getattr(node, "attr", "") in names and len(call.args) == 3:
                topic = names[node.attr]
                topic = topic if topic.startswith("/") else f"/<side>/{topic}"
                found[topic] = call.args[2].id.removesuffix("_QOS").lower()
    return found


def test_the_page_gives_the_quality_that_publishers_offer():
    listed = {row[0].strip("`"): row[2] for row in page_rows("Topics")}
    found = published_qualities()
    assert len(found) == 15
    assert {topic: listed[topic] for topic in found} == found


@pytest.mark.parametrize("page", PAGES, ids=lambda path: str(path.relative_to(ROOT)))
def test_commands_and_files_that_a_page_names_exist(page):
    text = page.read_text()
    verbs = set(re.findall(r"(?:^|`)ate ([a-z][a-z0-9-]+)", text, re.MULTILINE))
    assert verbs <= set(VERBS), page
    for name in re.findall(r"`([\w/]+\.(?:py|yaml))`", text):
        assert (
            any(path.is_file() for path in ROOT.glob(f"[!.]*/**/{name}"))
            or (ROOT / name).is_file()
        ), f"{page} names {name}"


@pytest.mark.parametrize("page", PAGES, ids=lambda path: str(path.relative_to(ROOT)))
def test_options_named_in_running_text_exist(page):
    reference = (ROOT / "docs" / "commands.md").read_text()
    known = set(re.findall(r"--[a-z][\w.-]*", reference))
    known |= {"--side", "--plant", "--policy.width", "--optim."}  # of emulators; of examples
    text = re.sub(r"^ *```.*?^ *```$", "", page.read_text(), flags=re.M | re.S)
    named = set(re.findall(r"`(--[a-z][\w.-]*)", text)) if page.name != "CHANGELOG.md" else set()
    assert named <= known, f"{page} names {sorted(named - known)}"
