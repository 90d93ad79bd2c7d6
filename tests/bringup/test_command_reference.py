"""The page of commands is what the commands say."""

import importlib.util
from pathlib import Path

ROOT = Path(__file__).parents[2]


def reference():
    spec = importlib.util.spec_from_file_location("reference", ROOT / "tools/command_reference.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_the_page_of_commands_is_what_the_help_says():
    """`python tools/command_reference.py` writes it anew."""
    assert reference().page() == (ROOT / "docs" / "commands.md").read_text()


def test_the_page_does_not_depend_on_the_terminal(monkeypatch):
    monkeypatch.setenv("COLUMNS", "40")
    monkeypatch.setenv("FORCE_COLOR", "1")
    tool = reference()
    text = tool._help(["convert"])
    assert "\x1b" not in text and "options:" in text
    assert max(map(len, text.splitlines())) > 80
    assert f"```text\n{text}\n```" in (ROOT / "docs" / "commands.md").read_text()
