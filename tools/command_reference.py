"""Write docs/commands.md: what `ate --help` and the help of every verb say.

python tools/command_reference.py           # writes the page
python tools/command_reference.py --check   # only compares it, exit code 1 where it differs
"""

import contextlib
import io
import os
import re
import sys
from pathlib import Path

from ate_bringup.cli import VERBS, main
from ate_bringup.launches import known_launches

PAGE = Path(__file__).parents[1] / "docs" / "commands.md"
WIDTH = 100
"""Columns of the help, so that the page is the same on every terminal."""
HEAD = """# Commands

What the commands say of themselves, written by `python tools/command_reference.py`; a test
compares it. An option that takes a word is refused with the known words when the word is wrong.

"""


def page() -> str:
    """The whole page."""
    parts = [HEAD, "## ate\n\n", _block(_help([]))]
    for verb in VERBS:
        parts += [f"\n## ate {verb}\n\n", *(_launches() if verb == "launch" else _verb(verb))]
    return "".join(parts)


def _verb(verb: str) -> list[str]:
    """Help of a verb, and of each choice such as ``policy:pi0`` the options that it adds."""
    whole = _help([verb])
    parts = [_block(whole)]
    for choice in re.findall(r"^ +• ([a-z_]+:[a-z0-9_-]+)", whole, re.MULTILINE):
        title = f"{choice.split(':')[0]} options:"
        panels = _help([verb, choice]).split("\n\n")
        added = [panel for panel in panels if panel.startswith(title)]
        text = added or [panels[1], "It has no options of its own."]
        parts += [f"\n### ate {verb} {choice}\n\n", _block("\n\n".join(text))]
    for choice in re.findall(r"^ +• ([a-z]+) ", whole, re.MULTILINE):  # ate emulate arm
        parts += [f"\n### ate {verb} {choice}\n\n", _block(_help([verb, choice]))]
    return parts


def _launches() -> list[str]:
    parts = [_block(_help(["launch"]))]
    for words, launch in known_launches().items():
        if not launch.package or words.startswith(launch.package):  # no launch twice
            text = _run(["launch", *words.split(), "--show-args"])
            parts += [f"\n### ate launch {words}\n\n", _block(text)]
    return parts


def _help(words: list[str]) -> str:
    return _run([*words, "--help"])


def _run(words: list[str]) -> str:
    """Output of one command at the page's width; a dumb terminal gets no colours and boxes."""
    kept = dict(os.environ)
    os.environ.pop("FORCE_COLOR", None)
    os.environ |= {"COLUMNS": str(WIDTH), "NO_COLOR": "1", "TERM": "dumb"}
    output = io.StringIO()
    try:
        with contextlib.redirect_stdout(output), contextlib.suppress(SystemExit):
            main(words)
    finally:
        os.environ.clear()
        os.environ |= kept
    return _plain(output.getvalue())


def _plain(text: str) -> str:
    """Panels as indented paragraphs under their titles."""
    text = "\n".join(line.rstrip() for line in text.splitlines())
    text = re.sub(r"^ (\S.*)\n -{20,}$", r"\n\1:", text, flags=re.MULTILINE)
    text = re.sub(r"^ +-{20,}\n", "", text, flags=re.MULTILINE)  # below a description
    return re.sub(r"\n{3,}", "\n\n", text).strip()


def _block(text: str) -> str:
    return f"```text\n{text}\n```\n"


if __name__ == "__main__":
    written = page()
    if "--check" not in sys.argv:
        PAGE.write_text(written)
    elif PAGE.read_text() != written:
        sys.exit(f"{PAGE} differs from the help: run python tools/command_reference.py")
