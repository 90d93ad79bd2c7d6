"""Every command of the pages is run by CI, or says above its block why not.

All of them, the inline ones too, are given to the real parsers, which refuse a wrong option, and
launches to `--print`. Blocks of bash without a mark are run, here or by `.ci/run`. The marks:

    <!-- not run: needs real arms -->          parsed, not run
    <!-- not checked: another program's -->    neither
"""

import argparse
import ast
import contextlib
import importlib.util
import io
import re
import runpy
import shlex
import subprocess
import sys
import typing
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from unittest import mock

import pytest
import tyro

from ate_bringup import cli
from ate_core.errors import AteError

ROOT = Path(__file__).parents[2]
PAGES = [
    ROOT / "README.md",
    ROOT / "CONTRIBUTING.md",
    *ROOT.glob("docs/*.md"),
    *ROOT.glob("[!.]*/README.md"),
    *ROOT.glob("ros2_ws/src/*/README.md"),
]
FENCE = re.compile(r"^( *)```(\w*)\n(.*?)^ *```$", re.MULTILINE | re.DOTALL)
MARK = re.compile(r"<!-- (not run|not checked): (.+?) -->\n\Z", re.DOTALL)
INLINE = re.compile(r"(?<!`)`((?:ate|ros2 launch|make) [^`\n]+)`(?!`)")
IN_CI = {*re.findall(r"^make (\w+)", (ROOT / ".ci/run").read_text(), re.MULTILINE), "setup"}
TARGETS = set(re.findall(r"^(\w+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
TOPICS = (ROOT / "docs/topics.md").read_text()
PARAMETERS = {"cell", "hardware", *re.findall(r"`(\w+)`", TOPICS.split("## Parameters")[1])}
OTHERS = {"git", "cd", "colcon", "hf", "pip", ".", "tensorboard"}
"""Programs whose words are not ours to check."""
PLACEHOLDERS = {"cell:=my_cell.yaml": "cell:=", "FOLDER": "folder", "VERB": "convert"}


CHEAP = {"--print", "--help", "--show-args"}
"""Options with which a command only prints."""


@dataclass(frozen=True, kw_only=True)
class Command:
    """One command of a page."""

    words: tuple[str, ...]
    mark: str | None = None
    """Why it is not run, or is not checked."""
    inline: bool = False
    """In running text, where a command names rather than asks to be typed."""


class PageError(Exception):
    """A command that does not work as the page says."""


UNFINISHED = re.compile("Required options|Missing argument|needs checkpoint:=")
"""What parsers say of a command that only lacks something, as those in running text may."""


def commands(text: str) -> Iterator[Command]:
    """All commands of a page."""
    for fence in FENCE.finditer(text):
        if fence[2] != "bash":
            continue
        mark = MARK.search(text[: fence.start()])
        if mark is not None and len(mark[2]) < 10:
            raise PageError(f"the mark {mark[0]!r} gives no reason")
        if mark is not None and mark[1] == "not checked":
            continue
        for words in lines(fence[3]):
            yield Command(words=words, mark=mark[2] if mark else None)
    for inline in INLINE.finditer(FENCE.sub("", text)):
        if "…" not in inline[1] and "..." not in inline[1]:
            for words in lines(inline[1]):
                yield Command(words=words, inline=True)


def lines(block: str) -> Iterator[tuple[str, ...]]:
    """Words of each command of a block; `&&`, `;` and `&` end one."""
    block = re.sub(r"(^|\s)#.*$", "", block.replace("\\\n", " "), flags=re.MULTILINE)
    lexer = shlex.shlex(block, posix=True, punctuation_chars=";&|\n")
    lexer.whitespace, lexer.whitespace_split, lexer.commenters = " \t", True, ""
    words: list[str] = []
    for token in [*lexer, "\n"]:
        if set(token) <= set(";&|\n"):
            while words and re.match(r"[A-Z_]+=", words[0]):  # settings of the environment
                del words[0]
            if words:
                yield tuple(words)
            words = []
        else:
            words.append(token)


def check(words: tuple[str, ...]) -> None:
    """Give a command to the parser that will read it; raises `PageError`."""
    words = tuple(PLACEHOLDERS.get(word, word) for word in words)
    program, *rest = words
    if program == "ate":
        check_ate(rest)
    elif words[:2] == ("ros2", "launch"):
        check_ate(["launch", *rest[1:]])
    elif words[:2] == ("ros2", "service"):
        need(f"`{per_side(rest[2])}`" in TOPICS, f"docs/topics.md has no service {rest[2]}")
    elif words[:2] == ("ros2", "topic"):
        name = next(word for word in rest if word.startswith("/"))
        need(f"`{per_side(name)}`" in TOPICS, f"docs/topics.md has no topic {name}")
    elif program == "make":
        targets = {word for word in rest if not re.match(r"-|\w+=|.*/", word)}
        need(targets <= TARGETS or "-C" in rest, f"the Makefile has no {targets - TARGETS}")
    elif program.startswith("python"):
        check_python(rest)
    elif program == "accelerate":
        check_ate(rest[rest.index("$(which") + 2 :])
    else:
        need(program in OTHERS, f"{program} is no program that this test knows")


def check_python(rest: list[str]) -> None:
    if rest[0] == "-c":
        ast.parse(rest[1])
    elif rest[0] == "-m":
        need(importlib.util.find_spec(rest[1]) is not None, f"there is no module {rest[1]}")
        if "--ros-args" in rest:
            given = {word.split(":=")[0] for last, word in pairwise(rest) if last == "-p"}
            need(given <= PARAMETERS, f"no node has the parameters {sorted(given - PARAMETERS)}")
        elif ".emulator" in rest[1] or rest[1].startswith("benchmarks."):
            up_to_parsing(lambda: runpy.run_module(rest[1], run_name="__main__"), rest[1:])
    else:
        need((ROOT / rest[0]).is_file(), f"there is no file {rest[0]}")
        if re.fullmatch(r"benchmarks/\w+\.py", rest[0]):
            up_to_parsing(lambda: runpy.run_path(rest[0], run_name="__main__"), rest)


class ParsedError(Exception):
    """The options were good; what follows them is not run."""


def up_to_parsing(start: Callable[[], object], argv: list[str]) -> None:
    """Run a program until its options are parsed; raises `PageError` with what its parser says."""
    real_cli, real_parse = tyro.cli, argparse.ArgumentParser.parse_args

    def parse_by_tyro(*args: typing.Any, **kwargs: typing.Any) -> None:
        real_cli(*args, **kwargs)
        raise ParsedError

    def parse_by_argparse(*args: typing.Any, **kwargs: typing.Any) -> None:
        real_parse(*args, **kwargs)
        raise ParsedError

    said = io.StringIO()
    with (
        mock.patch.object(tyro, "cli", parse_by_tyro),
        mock.patch.object(argparse.ArgumentParser, "parse_args", parse_by_argparse),
        mock.patch.object(sys, "argv", argv),
        mock.patch.object(sys, "path", [str(ROOT / "benchmarks"), *sys.path]),
        contextlib.redirect_stderr(said),
        contextlib.suppress(ParsedError),
    ):
        try:
            start()
        except SystemExit:
            raise PageError(" ".join(said.getvalue().split())) from None


def check_ate(rest: list[str]) -> None:
    """Parse a verb's options as `ate` does, without running it; launches with `--print`."""
    verb, *options = rest or ["--help"]
    output = io.StringIO()
    with contextlib.redirect_stdout(output), contextlib.redirect_stderr(output):
        if verb == "launch" or verb.startswith("-"):
            here = [
                str(ROOT / word) if word.endswith(".launch.py") and "/" in word else word
                for word in options
            ]
            code = cli.main([verb, *here, *(["--print"] if options else [])])
        else:
            code = parse(verb, options)
    need(code == 0, " ".join(output.getvalue().split()))


def parse(verb: str, options: list[str]) -> int:
    need(verb in cli.VERBS, f"there is no ate {verb}")
    if not options or "--help" in options or "--debug" in options:
        return 0
    function = cli._load(cli.VERBS[verb][0])
    hints = typing.get_type_hints(function, include_extras=True)
    kind = next(kind for name, kind in hints.items() if name != "return")
    try:
        tyro.cli(kind, args=options, config=(tyro.conf.CascadeSubcommandArgs,))
    except SystemExit as leaving:
        return int(leaving.code or 0)
    except AteError as error:
        print(error)
        return 1
    return 0


def per_side(name: str) -> str:
    return re.sub(r"^/(left|right)/", "/<side>/", name)


def need(condition: bool, otherwise: str) -> None:
    if not condition:
        raise PageError(otherwise)


def run(words: tuple[str, ...]) -> None:
    """Run a cheap command, or see that `.ci/run` does; raises `PageError`."""
    program, *rest = words
    if program == "make":
        need(set(rest) <= IN_CI, f".ci/run has no `{' '.join(words)}`: mark it with the reason")
    elif program == "python" and rest[0].startswith("examples/"):
        need("examples" in IN_CI, ".ci/run runs no examples")
    elif program == "ate" and (CHEAP & set(rest) or rest[0] in ("doctor", "rollouts")):
        with contextlib.redirect_stdout(io.StringIO()), contextlib.suppress(SystemExit):
            need(cli.main(rest) == 0, " ".join(words))
    elif program == "python" and rest[0] == "-c":
        done = subprocess.run([sys.executable, *rest], capture_output=True, text=True, cwd=ROOT)
        need(done.returncode == 0, done.stderr)
    elif words != (".", ".venv/bin/activate"):
        raise PageError(f"`{' '.join(words)}` is too dear to be run: mark it with the reason")


@pytest.mark.parametrize("page", PAGES, ids=lambda path: str(path.relative_to(ROOT)))
def test_every_command_of_a_page_works_or_says_why_it_is_not_run(page, monkeypatch, runtime_dir):
    monkeypatch.chdir(ROOT)
    wrong = []
    for command in commands(page.read_text()):
        try:
            check(command.words)
            if command.mark is None and not command.inline:
                run(command.words)
        except PageError as error:
            if command.inline and UNFINISHED.search(str(error)):
                continue
            wrong.append(f"{' '.join(command.words)}: {error}")
    assert wrong == []


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("`ate convert --bags a --outptu b`", "outptu"),
        ("`ate finetune --episodes a --output b policy:pi1`", "pi1"),
        ("`ate finetune --episodes a --output b policy:flow --policy.train lora`", "train"),
        ("`ate learn`", "no ate learn"),
        ("`ros2 launch ate_teleop dual_operator.launch.py hardwear:=sim`", "hardwear"),
        ("`ros2 launch ate_teleop dual_operator.launch.py hardware:=sin`", "sin"),
        ("`make dinner`", "dinner"),
        ("```bash\npython -m realman_driver.emulator --side middle\n```", "middle"),
        ("```bash\npython benchmarks/vae_training.py --stpes 4\n```", "stpes"),
        (
            "```bash\npython -m ate_policy.nodes.policy_node --ros-args -p checkpt:=a\n```",
            "checkpt",
        ),
        ("```bash\nros2 service call /left/arm/halt std_srvs/srv/Trigger\n```", "/left/arm/halt"),
        ("```bash\npython tools/nothing.py\n```", "tools/nothing.py"),
        ("```bash\nATE_X=1 ate convert --bags a && ate repair --bag a\n```", "output"),
    ],
)
def test_a_wrong_command_is_found(text, told, monkeypatch, runtime_dir):
    monkeypatch.chdir(ROOT)
    with pytest.raises(PageError, match=told):
        [check(command.words) for command in commands(text)]


def test_a_command_that_nobody_runs_needs_a_reason():
    block = "```bash\nate convert --bags a --output b\n```"
    with pytest.raises(PageError, match="mark it with the reason"):
        [run(command.words) for command in commands(block)]
    (marked,) = commands(f"<!-- not run: needs recorded bags -->\n{block}")
    assert marked.mark == "needs recorded bags"
    with pytest.raises(PageError, match="no reason"):
        list(commands(f"<!-- not run: no -->\n{block}"))


def test_lines_are_joined_and_comments_left_out():
    block = "A=1 ate repair \\\n  --bag 'x y'   # mends\npython -m a &\nb && c\n"
    assert list(lines(block)) == [
        ("ate", "repair", "--bag", "x y"),
        ("python", "-m", "a"),
        ("b",),
        ("c",),
    ]
