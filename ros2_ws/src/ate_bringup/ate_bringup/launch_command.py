"""`ate launch`: start a launch where ROS's launch tool is not installed."""

import sys
from collections.abc import Sequence
from pathlib import Path

from ate_bringup.launches import find_cell_launch, find_launch, known_launches
from ate_bringup.preflight import refuse_to_launch
from ate_bringup.specs import Launch
from ate_core.errors import UsageError

HELP = """usage: ate launch PACKAGE FILE [name:=value ...] [--show-args] [--print]
       ate launch PATH [name:=value ...] [--show-args] [--print]

Starts the same processes as `ros2 launch` with the same words.
--show-args lists the arguments; --print shows the processes and starts nothing.

launches:"""


def launch(words: list[str]) -> int:
    """Run ``ate launch`` with the words behind it; returns the exit code."""
    flags = {word for word in words if word.startswith("-")}
    plain = [word for word in words if word not in flags]
    if flags & {"-h", "--help"} or not plain:
        print(HELP)
        for words_of, known in known_launches().items():
            print(f"  {words_of:36} {known.description}")
        return 0
    unknown = flags - {"--show-args", "--print"}
    if unknown:
        raise UsageError(f"ate launch has no option {sorted(unknown)[0]}; see ate launch --help")
    chosen, rest = _find(plain)
    given = parse_arguments(rest)
    if "--show-args" in flags:
        return _show(chosen)
    specs = chosen.processes(given)
    if "--print" in flags:
        for spec in specs:
            print(f"{spec.namespace}/{spec.name}: {' '.join(spec.command()[1:])}")
        return 0
    refuse_to_launch(chosen, chosen.resolve(given))
    from ate_bringup.supervisor import supervise

    return supervise(specs)


def _find(words: list[str]) -> tuple[Launch, list[str]]:
    """The launch that the first words name, and the words behind them."""
    if words[0].endswith(".launch.py"):
        return find_cell_launch(Path(words[0])), words[1:]
    if len(words) < 2:
        raise UsageError(f"ate launch {words[0]} names no file; see ate launch --help")
    return find_launch(words[0], words[1]), words[2:]


def parse_arguments(words: Sequence[str]) -> dict[str, str]:
    """``name:=value`` of a command line, by name.

    Raises:
        UsageError: a word is no text or has another form, or a name is given twice.
    """
    values: dict[str, str] = {}
    for word in words:
        name, sign, value = word.partition(":=")
        if not sign or not name:
            raise UsageError(f"launch argument {word!r} is not of the form name:=value")
        try:
            word.encode()
        except UnicodeEncodeError:
            raise UsageError(
                f"launch argument {word!r} is no UTF-8 text, which ROS needs: rename what it names"
            ) from None
        if name in values:
            raise UsageError(f"{name} is given twice, as {values[name]!r} and {value!r}: give one")
        values[name] = value
    return values


def _show(chosen: Launch) -> int:
    for argument in chosen.arguments:
        default = "required" if argument.default is None else f"default {argument.default!r}"
        choices = f", one of {'|'.join(argument.choices)}" if argument.choices else ""
        print(f"{argument.name:12} {argument.description} ({default}{choices})", file=sys.stdout)
    return 0
