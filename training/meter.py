"""Progress of a training run: a bar for people, a log for plots, and a clean stop on a signal."""

import math
import signal
import time
from collections.abc import Mapping
from threading import Event, current_thread, main_thread
from types import FrameType
from typing import Self

from rich.progress import Progress
from torch import Tensor

from training.run_folder import RunFolder

SIGNALS = (signal.SIGINT, signal.SIGTERM)
"""Signals that end a run after the present step, with a checkpoint."""


class Meter:
    """Counts steps of one run; use it in a `with` block around the loop."""

    def __init__(
        self, run: RunFolder, label: str, *, step: int, steps: int, log_every: int
    ) -> None:
        self.stopped = False
        """Whether a signal asked to stop; changes only in `report`, once per step."""
        self._run = run
        self._first, self._steps, self._log_every = step, steps, log_every
        self._signalled = Event()
        self._progress = Progress(transient=True)
        self._bar = self._progress.add_task(label, total=steps, completed=step)
        self._label = label
        self._begin = 0.0
        self._handlers: dict[int, object] = {}

    def __enter__(self) -> Self:
        """Show the bar and listen to signals."""
        if current_thread() is main_thread():
            self._handlers = {number: signal.signal(number, self._on_signal) for number in SIGNALS}
        self._progress.start()
        self._begin = time.monotonic()
        return self

    def __exit__(self, *_: object) -> None:
        """Take the bar away and restore the signal handlers."""
        self._progress.stop()
        for number, handler in self._handlers.items():
            signal.signal(number, handler)

    def report(self, step: int, figures: Mapping[str, Tensor]) -> None:
        """Note that a step is done; figures (scalars) are read only when they are logged."""
        self.stopped = self._signalled.is_set()
        if step % self._log_every and step != self._steps:
            return
        rate = (step - self._first) / (time.monotonic() - self._begin)
        values = {name: value.item() for name, value in figures.items()}
        values = {name: value for name, value in values.items() if not math.isnan(value)}
        self._run.log(step, {**values, "steps_per_s": round(rate, 2)})
        text = f"{self._label}  loss {values['loss']:.4f}"
        self._progress.update(self._bar, completed=step, description=text)

    def _on_signal(self, number: int, frame: FrameType | None) -> None:
        self._signalled.set()
