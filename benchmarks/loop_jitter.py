"""Time the control loop of the nodes beside a bare sleep loop, in one process and one run.

    python benchmarks/loop_jitter.py --seconds 30
    python benchmarks/loop_jitter.py --seconds 30 --work-ms 10 --load 2

Both loops do the same work in each tick. The bare loop sleeps one period after it, so its period
is too long by the work and by every late wake-up; `FixedRateLoop` sleeps until the next due time.
Each loop has a thread of its own at the priority of the policy node, and both run at once, so that
they meet the same machine.
"""

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import tyro

from ate_core.loop import FixedRateLoop, LoopStats
from ate_core.priority import CONTROL, set_niceness


@dataclass(frozen=True, kw_only=True)
class BenchmarkConfig:
    """Run two loops at one rate beside each other."""

    seconds: float = 20.0
    """How long [s]."""
    rate: float = 20.0
    """Wake-ups per second [Hz]."""
    work_ms: float = 1.0
    """Computing in each tick of both loops [ms]."""
    load: int = 0
    """Threads that compute without pause beside them."""


@dataclass(frozen=True, kw_only=True)
class Result:
    """Both loops of one run."""

    fixed_rate: LoopStats
    """The loop of the nodes."""
    bare: LoopStats
    """Sleeps one period after the work."""

    @property
    def ratio(self) -> float:
        """Error of the period at the 99th percentile: bare loop over the nodes'."""
        return _p99_error_ms(self.bare) / _p99_error_ms(self.fixed_rate)


def main(config: BenchmarkConfig) -> int:
    """Print both loops and their ratio."""
    set_niceness(CONTROL)
    result = measure(config)
    print(f"fixed rate  {result.fixed_rate.sentence()}")
    print(f"bare sleep  {result.bare.sentence()}")
    print(f"p99 error of the period, bare / fixed rate: {result.ratio:.1f}")
    return 0


def measure(config: BenchmarkConfig) -> Result:
    """Run both loops at once."""
    stop, period = threading.Event(), 1.0 / config.rate
    loop = FixedRateLoop(config.rate, stop)
    woken_ns: list[int] = []

    def fixed_rate() -> None:
        for _ in loop:
            _compute(config.work_ms)

    def bare() -> None:
        while not stop.is_set():
            woken_ns.append(time.monotonic_ns())
            _compute(config.work_ms)
            time.sleep(period)

    threads = [_start(fixed_rate), _start(bare)]
    threads += [_start(lambda: _multiply(stop)) for _ in range(config.load)]
    stop.wait(config.seconds)
    stop.set()
    for thread in threads:
        thread.join()
    return Result(fixed_rate=loop.stats(), bare=LoopStats.of_times(woken_ns, 1e3 * period))


def _start(run: Callable[[], None]) -> threading.Thread:
    thread = threading.Thread(target=run)
    thread.start()
    return thread


def _compute(milliseconds: float) -> None:
    end = time.perf_counter() + 1e-3 * milliseconds
    while time.perf_counter() < end:
        np.sqrt(np.arange(500.0))


def _multiply(stop: threading.Event) -> None:
    matrix = np.ones((256, 256))
    while not stop.is_set():
        np.dot(matrix, matrix)


def _p99_error_ms(stats: LoopStats) -> float:
    return max(abs(stats.p99_ms - stats.period_ms), 1e-3)


if __name__ == "__main__":
    raise SystemExit(main(tyro.cli(BenchmarkConfig, description=__doc__)))
