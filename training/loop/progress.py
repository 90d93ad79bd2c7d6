"""Progress of a training run: a bar for people, logs for plots, and a clean stop on a signal."""

import math
import signal
import time
from collections.abc import Mapping, Sequence
from threading import Event, current_thread, main_thread
from types import FrameType
from typing import Literal, Self

from rich.progress import Progress
from torch import Tensor

from ate_core.errors import UsageError
from training.loop.run_folder import RunFolder

SIGNALS = (signal.SIGINT, signal.SIGTERM)
"""Signals that end a run after the present step, with a checkpoint."""

LogTarget = Literal["tensorboard", "wandb"]
"""Where figures go besides log.jsonl."""


class Meter:
    """Counts steps of one run; use it in a `with` block around the loop."""

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
        self._progress = Progress(transient=True, disable=not run.main)
        self._bar = self._progress.add_task(label, total=steps, completed=step)
        self._label = label
        self._begin = 0.0
        self._handlers: dict[int, object] = {}
        self._writers = [_WRITERS[target](run, step) for target in log_to] if run.main else []

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
        for writer in self._writers:
            writer.close()
        for number, handler in self._handlers.items():
            signal.signal(number, handler)

    @property
    def signalled(self) -> bool:
        """Whether a signal asked to stop."""
        return self._signalled.is_set()

    def wants(self, step: int) -> bool:
        """Whether the figures of a finished step are logged."""
        return step % self._log_every == 0 or step == self._steps

    def log(self, step: int, figures: Mapping[str, Tensor | float]) -> None:
        """Log figures (scalars); NaN stands for none and is left out."""
        rate = (step - self._first) / (time.monotonic() - self._begin)
        values = {name: float(value) for name, value in figures.items()}
        values = {name: value for name, value in values.items() if not math.isnan(value)}
        values["steps_per_s"] = round(rate, 2)
        self._run.log(step, values)
        for writer in self._writers:
            writer.write(step, values)
        text = f"{self._label}  loss {values['loss']:.4f}"
        self._progress.update(self._bar, completed=step, description=text)

    def _on_signal(self, number: int, frame: FrameType | None) -> None:
        self._signalled.set()


class _TensorBoard:
    """Event files in the run folder."""

    def __init__(self, run: RunFolder, step: int) -> None:
        from torch.utils.tensorboard import (
            SummaryWriter,
        )  # a second to import: only when asked for

        self._writer = SummaryWriter(str(run.path / "tensorboard"), purge_step=step or None)

    def write(self, step: int, values: Mapping[str, float]) -> None:
        for name, value in values.items():
            self._writer.add_scalar(name, value, step)

    def close(self) -> None:
        self._writer.close()


class _WeightsAndBiases:
    """A wandb run; the account and its settings are the user's."""

    def __init__(self, run: RunFolder, step: int) -> None:
        try:
            import wandb
        except ModuleNotFoundError:
            raise UsageError(
                "--log-to wandb needs the package wandb: run `pip install wandb`, or leave it out"
            ) from None
        self._run = wandb.init(
            dir=run.path, name=run.path.name, id=run.path.name, resume="allow", config=run.config
        )

    def write(self, step: int, values: Mapping[str, float]) -> None:
        self._run.log(dict(values), step=step)

    def close(self) -> None:
        self._run.finish()


_WRITERS = {"tensorboard": _TensorBoard, "wandb": _WeightsAndBiases}
