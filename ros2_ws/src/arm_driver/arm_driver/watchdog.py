"""Threads of a driver that can neither die nor hang unnoticed.

A thread that raises stops the arm and ends the process with the reason, so that its launch starts
it anew. A stream whose ticks stay away is noticed by a second thread of the same process, which
stops the arm and, when the ticks do not come back, ends the process too. What keeps every thread
of the process at once (a library that holds the interpreter) cannot be noticed from inside: for
that the part next to the wire watches its node, and the launch its processes.
"""

import logging
import os
import threading
import time
import traceback
from collections.abc import Callable

from arm_driver.driver import ArmDriver, Tick
from ate_core.loop import FixedRateLoop, LoopStats
from ate_core.priority import set_fifo, wanted_fifo

log = logging.getLogger(__name__)

LOST_TICKS = 0.060
"""Silence of the ticks after which the arm is stopped [s]."""
GIVE_UP = 1.0
"""Silence of the ticks after which the process ends [s]."""
LOOK_PERIOD = 0.010
"""How often the watchdog looks [s]."""
LONGEST_LOOK = 0.025
"""A later look counts as this long: while the whole machine is late, the ticks may be too [s]."""
LAST_STOP = 0.1
"""How long the stop of the device may take before the process ends [s]."""
EXIT_CODE = 70
"""Exit code of a process whose thread died or hangs (EX_SOFTWARE)."""

Die = Callable[[str], None]
"""Ends the process with a reason."""


def end_process(reason: str) -> None:
    """Log the reason and end the process at once: a thread that hangs cannot be joined."""
    log.critical("%s: the process ends, so that its launch starts it again", reason)
    logging.shutdown()
    os._exit(EXIT_CODE)


class TickWatch:
    """Judges the silence of a loop by its own looks. Time is an argument."""

    def __init__(self) -> None:
        """Nothing is missed before the first look."""
        self._seen = -1
        self._silence = 0.0
        self._last_look: float | None = None

    def look(self, ticks: int, now: float) -> float:
        """How long the ticks stayed away while this one looked [s].

        Args:
            ticks: number of ticks so far.
            now: present time [s].
        """
        elapsed = 0.0 if self._last_look is None else now - self._last_look
        self._last_look = now
        if ticks != self._seen:
            self._seen, self._silence = ticks, 0.0
        else:
            self._silence += min(elapsed, LONGEST_LOOK)
        return self._silence


class GuardedStream:
    """Ticks of a driver at a fixed rate in a thread that is watched."""

    def __init__(
        self,
        driver: ArmDriver,
        rate: float,
        use: Callable[[Tick, float], None],
        look: Callable[[float], None],
        die: Die = end_process,
    ) -> None:
        """Prepare; `start` begins.

        Args:
            driver: what ticks.
            rate: ticks per second [Hz].
            use: takes each tick and its monotonic time [s], in the same thread.
            look: gets what a tick needs to know before it, at the same time.
            die: ends the process.

        Raises:
            UsageError: the real-time priority that this machine's setting asks for is none.
        """
        wanted_fifo()
        self._driver = driver
        self._use = use
        self._look = look
        self._die = die
        self._stop = threading.Event()
        self._closing = threading.Event()
        self._loop = FixedRateLoop(rate, self._stop)
        self._threads = [
            self.cover("arm stream", self._run),
            self.cover("arm watchdog", self._watch),
        ]

    def start(self) -> None:
        """Tick until `close`."""
        for thread in self._threads:
            thread.start()

    def close(self, timeout: float = 1.0) -> None:
        """Let the arm come to rest within its limits, then end the ticks.

        Args:
            timeout: longest wait for a stream that hangs [s]; it is left behind.
        """
        deadline = time.monotonic() + timeout
        self._driver.set_active(False)
        while not self._driver.at_rest and time.monotonic() < deadline:
            self._closing.wait(LOOK_PERIOD)
        self._closing.set()
        self._stop.set()
        for thread in self._threads:
            if thread.is_alive():
                thread.join(max(0.0, deadline - time.monotonic()) + LOST_TICKS)

    def stats(self) -> LoopStats:
        """How punctual the ticks were."""
        return self._loop.stats()

    def cover(self, name: str, body: Callable[[], None]) -> threading.Thread:
        """A thread whose death stops the arm and ends the process; not started.

        Args:
            name: of the thread.
            body: what it does; to return is no death.
        """

        def run() -> None:
            try:
                body()
            except BaseException as error:  # whatever it is, the arm must not go on
                self.died(name, error)

        return threading.Thread(target=run, name=name, daemon=True)

    def cover_all_threads(self) -> None:
        """Do the same for every other thread of the process that ends in an exception."""

        def hook(args: threading.ExceptHookArgs) -> None:
            name = "unknown" if args.thread is None else args.thread.name
            self.died(name, args.exc_value)

        threading.excepthook = hook

    def died(self, name: str, error: BaseException | None) -> None:
        """Stop the arm and end the process: a thread raised.

        Args:
            name: of the thread.
            error: what it raised.
        """
        log.critical("%s", "".join(traceback.format_exception(error)).rstrip())
        reason = f"thread {name!r} died of {error!r}"
        self._driver.stop_device(reason, LAST_STOP)
        self._die(reason)

    def _run(self) -> None:
        set_fifo()
        for _ in self._loop:
            now = time.monotonic()
            self._look(now)
            self._use(self._driver.tick(now), now)

    def _watch(self) -> None:
        watch, told = TickWatch(), False
        while not self._closing.wait(LOOK_PERIOD):
            silence = watch.look(self._driver.ticks, time.monotonic())
            if silence <= LOST_TICKS:
                told = False
            elif not told:
                told = True
                log.error("no tick for %.0f ms: the arm is stopped", silence * 1e3)
                self._driver.stop_device("the stream hangs", 0.0)
            if silence > GIVE_UP:
                self._driver.stop_device("the stream hangs", LAST_STOP)
                self._die(f"no tick of the arm stream for {silence * 1e3:.0f} ms")
                return
