"""Run a command whose clocks go slower, its children's too: as if the machine were faster.

    python -m benchmarks.slowly 0.5 python -m benchmarks.teleop_tasks --small
    python -m benchmarks.slowly auto ate launch ate_teleop dual_operator.launch.py hardware:=sim

A launched cell is processes that must be in time, so a machine that is too slow for it measures
itself. At 0.5 a second takes two: all clocks lag equally and all timed waits last longer, in every
process (`slow_clock.c`), and half the processors suffice. Durations that the command tells are
those of its slow clocks, and what it computes takes less of them: cite no latency measured so.
`auto` counts what the processors do in a second and goes as slowly as a launched cell without
pictures needs here; on a fast machine that is not slower at all.
"""

import argparse
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

from benchmarks.preload import preloaded

SOURCE = Path(__file__).with_name("slow_clock.c")

NEED = 29e6
"""Turns of an empty loop that take as long as what a small launched cell does in a second: it kept
2.6 cores busy where one turned 11 million times in a second, 1.35 where it turned 28 million."""

SHARE = 0.7
"""Of the processors, how much a launched cell may take so that nothing in it waits for one."""

SLOWEST = 0.2
"""Slower, nobody would wait for the end."""

COUNT = """
import time
turns, until = 0, time.monotonic() + 1.0
while time.monotonic() < until:
    for _ in range(10_000): turns += 1
print(turns)
"""


def rate_of_this_machine() -> float:
    """Seconds told per true second at which a launched cell is quiet here (0.2 to 1)."""
    count = [sys.executable, "-c", COUNT]
    counting = [
        subprocess.Popen(count, stdout=subprocess.PIPE, text=True)
        for _ in range(len(os.sched_getaffinity(0)))
    ]
    turns = sum(int(process.communicate()[0]) for process in counting)
    return min(1.0, max(SLOWEST, round(SHARE * turns / NEED, 2)))


@contextmanager
def slow_clocks(rate: float) -> Iterator[Mapping[str, str]]:
    """What the environment of a command needs, while the context lasts.

    Args:
        rate: seconds told per true second, above 0 and at most 1.

    Raises:
        ValueError: the rate is none of these.
        FileNotFoundError: no C compiler.
    """
    if not 0.0 < rate <= 1.0:
        raise ValueError(f"rate {rate}: above 0 and at most 1 is needed, 0.5 makes a second two")
    with preloaded(SOURCE) as library:
        yield {**library, "SLOW_CLOCK": f"{rate} {time.monotonic_ns()}"}


def run(command: Sequence[str], environment: Mapping[str, str]) -> int:
    """A command's exit code; what would end this process ends the command, which cleans up."""
    child: subprocess.Popen[bytes] | None = None

    def pass_on(number: int, _: object) -> None:
        if child is not None and number != signal.SIGINT:  # a terminal sends that to both
            child.send_signal(number)

    signals = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
    before = {number: signal.signal(number, pass_on) for number in signals}
    try:
        child = subprocess.Popen(command, env=environment)
        code = child.wait()
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
    return code if code >= 0 else 128 - code


def main() -> int:
    """Run the command; its exit code."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("rate", help="seconds told per true second, or auto")
    parser.add_argument("command", nargs=argparse.REMAINDER, help="what to run, and its options")
    given = parser.parse_args()
    if not given.command:
        parser.error("no command: name one after the rate")
    try:
        rate = rate_of_this_machine() if given.rate == "auto" else float(given.rate)
    except ValueError:
        parser.error(f"rate {given.rate!r}: a number above 0 and at most 1 is needed, or auto")
    if given.rate == "auto" and (rate == 1.0 or shutil.which("cc") is None):
        if rate < 1.0:
            print(f"no C compiler (cc): clocks go on, where {rate} would do", file=sys.stderr)
        return run(given.command, os.environ)
    with slow_clocks(rate) as clocks:
        print(f"clocks go at {rate} of their speed", file=sys.stderr, flush=True)
        return run(given.command, {**os.environ, **clocks})


if __name__ == "__main__":
    raise SystemExit(main())
