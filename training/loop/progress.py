"""Progress of a training run: a bar for people, logs for plots, and a clean stop on a signal."""

import hashlib
import math
import signal
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from threading import Event, current_thread, main_thread
from types import FrameType
from typing import Self

from accelerate.tracking import GeneralTracker, TensorBoardTracker, WandBTracker
from rich import progress as bars
from torch import Tensor

from ate_core.errors import UsageError
from training.configs.run import LogTarget
from training.loop.run_folder import RunFolder

SIGNALS = (signal.SIGINT, signal.SIGTERM)
"""Signals that end a run after the present step, with a checkpoint."""

Handler = Callable[[int, FrameType | None], object] | int | None
"""What a signal was answered with before."""


class Progress:
    """Follows the steps of one run; use it in a `with` block around the loop."""

    def __init__(
        self,
        run: RunFolder,
        label: str,
        *,
        step: int,
        steps: int,
        log_every: int,
        log_to: Sequence[LogTarget] = (),
    ) -> None:
        self._run = run
        self._first, self._steps, self._log_every = step, steps, log_every
        self._signalled = Event()
        self._bar = bars.Progress(transient=True, disable=not run.main)
        self._task = self._bar.add_task(label, total=steps, completed=step)
        self._label = label
        self._begin = 0.0
        self._handlers: dict[int, Handler] = {}
        self._log_to = tuple(log_to) if run.main else ()
        self._trackers: list[GeneralTracker] = []

    def __enter__(self) -> Self:
        """Show the bar, open the logs and listen to signals."""
        for name in self._log_to:
            self._trackers.append(_start_tracker(name, self._run, self._first))
        if current_thread() is main_thread():
            self._handlers = {number: signal.signal(number, self._on_signal) for number in SIGNALS}
        self._bar.start()
        self._begin = time.monotonic()
        return self

    def __exit__(self, *_: object) -> None:
        """Take the bar away, restore the signal handlers, and give the folder back."""
        self._run.release()
        self._bar.stop()
        for tracker in self._trackers:
            tracker.finish()
        for number, handler in self._handlers.items():
            signal.signal(number, handler)

    @property
    def signalled(self) -> bool:
        """Whether a signal asked to stop."""
        return self._signalled.is_set()

    def is_due(self, step: int) -> bool:
        """Whether the metrics of a finished step are logged."""
        return step % self._log_every == 0 or step == self._steps

    def log(self, step: int, metrics: Mapping[str, Tensor | float]) -> None:
        """Log metrics (scalars); NaN stands for none and is left out."""
        rate = (step - self._first) / (time.monotonic() - self._begin)
        values = {name: float(value) for name, value in metrics.items()}
        values = {name: value for name, value in values.items() if not math.isnan(value)}
        values["steps_per_s"] = round(rate, 2)
        self._run.log(step, values)
        for tracker in self._trackers:
            tracker.log(values, step=step)
        text = f"{self._label}  loss {values['loss']:.4f}"
        self._bar.update(self._task, completed=step, description=text)

    def _on_signal(self, number: int, frame: FrameType | None) -> None:
        self._signalled.set()


def _start_tracker(name: LogTarget, run: RunFolder, step: int) -> GeneralTracker:
    """A log of accelerate's that a resumed run goes on with.

    Args:
        name: Which one.
        run: Whose it is; TensorBoard's files lie in its folder.
        step: The step the run begins or goes on at; what TensorBoard has of later ones is void.
    """
    tracker: GeneralTracker
    if name == "tensorboard":
        tracker = TensorBoardTracker("tensorboard", run.path, purge_step=step or None)
    else:  # without a project's name: account and project are the user's settings
        tracker = WandBTracker(
            None,
            dir=run.path,
            name=run.path.name,
            id=_identity(run.path),
            resume="allow",
            config=run.config,
        )
    try:
        tracker.start()
    except ModuleNotFoundError:
        raise UsageError(
            f"--log-to {name} needs the package {name}: run `pip install {name}`, or leave it out"
        ) from None
    return tracker


def _identity(folder: Path) -> str:
    """The same for the same folder, and for no other of that name."""
    digest = hashlib.sha256(str(folder.resolve()).encode()).hexdigest()
    return f"{folder.name}-{digest[:12]}"
