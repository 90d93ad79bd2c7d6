"""Run a command whose clocks go slower, its children's too: as if the machine were faster.

    python -m benchmarks.slowly 0.5 python -m benchmarks.teleop_tasks --small
    python -m benchmarks.slowly 0.5 ate launch ate_teleop dual_operator.launch.py hardware:=sim

A launched cell is processes that must be in time, so a machine that is too slow for it measures
itself. At 0.5 a second takes two: all clocks lag equally and all timed waits last longer, in every
process (`slow_clock.c`), and half the processors suffice. Durations that the command tells are
those of its slow clocks, and what it computes takes less of them: cite no latency measured so.
"""

import argparse
import os
import shutil
import subprocess
import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

SOURCE = Path(__file__).with_name("slow_clock.c")


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
    if shutil.which("cc") is None:
        raise FileNotFoundError("no C compiler (cc): install one, e.g. apt install gcc")
    with tempfile.TemporaryDirectory(prefix="ate-clock-") as folder:
        library = Path(folder) / "slow_clock.so"
        subprocess.run(
            ["cc", "-O2", "-shared", "-fPIC", "-o", library, SOURCE, "-ldl"], check=True
        )
        yield {"LD_PRELOAD": str(library), "SLOW_CLOCK": f"{rate} {time.monotonic_ns()}"}


def main() -> int:
    """Run the command; its exit code."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("rate", type=float, help="seconds told per true second")
    parser.add_argument("command", nargs=argparse.REMAINDER, help="what to run, and its options")
    given = parser.parse_args()
    if not given.command:
        parser.error("no command: name one after the rate")
    with slow_clocks(given.rate) as clocks:
        return subprocess.run(given.command, env={**os.environ, **clocks}).returncode


if __name__ == "__main__":
    raise SystemExit(main())
