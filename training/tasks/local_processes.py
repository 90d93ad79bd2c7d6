"""Worker processes of this machine; the death of one costs at most the item it held."""

from __future__ import annotations

import multiprocessing
import signal
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from multiprocessing.connection import Connection, wait
from typing import Any, Generic

from training.tasks.engine import ATTEMPTS, Done, Item, Result, describe

_SPAWN = multiprocessing.get_context("spawn")


class LocalProcesses:
    """Runs items in processes that are spawned for one call of `run`.

    Args:
        jobs: Largest number of processes.
    """

    def __init__(self, jobs: int) -> None:
        self._jobs = jobs

    def run(
        self, function: Callable[[Item], Result], items: Sequence[Item]
    ) -> Iterator[Done[Item, Result]]:
        """Yield one `Done` per item, as they are done."""
        waiting = deque((item, 1) for item in items)
        busy: dict[Any, _Worker[Item, Result]] = {}
        try:
            while waiting or busy:
                while waiting and len(busy) < self._jobs:
                    worker = _Worker(function)
                    worker.give(*waiting.popleft())
                    busy[worker.pipe] = worker
                for pipe in wait(list(busy)):
                    worker = busy[pipe]
                    done = worker.take()
                    if done is not None:
                        yield done
                    elif worker.attempt < ATTEMPTS:
                        waiting.append((worker.item, worker.attempt + 1))
                    else:
                        yield Done(item=worker.item, failure=worker.death())
                    if done is not None and waiting:
                        worker.give(*waiting.popleft())
                    else:
                        busy.pop(pipe).stop()
        finally:
            for worker in busy.values():
                worker.stop()


class _Worker(Generic[Item, Result]):
    """One process, and the item it holds."""

    item: Item
    attempt: int

    def __init__(self, function: Callable[[Item], Result]) -> None:
        self.pipe, theirs = _SPAWN.Pipe()
        self._process = _SPAWN.Process(target=_work, args=(function, theirs), daemon=True)
        self._process.start()
        theirs.close()

    def give(self, item: Item, attempt: int) -> None:
        """Hand over an item; a process that is gone by now is noticed by `take`."""
        self.item, self.attempt = item, attempt
        try:
            self.pipe.send(item)
        except OSError:
            return

    def take(self) -> Done[Item, Result] | None:
        """Return what became of the item; None when the process died over it."""
        try:
            result, failure = self.pipe.recv()
        except (EOFError, OSError):
            return None
        return Done(item=self.item, result=result, failure=failure)

    def death(self) -> str:
        """Say what ended the process."""
        self._process.join()
        code = self._process.exitcode or 0
        how = f"by {signal.Signals(-code).name}" if code < 0 else f"with exit code {code}"
        return (
            f"its worker process ended {how}, {self.attempt} times, perhaps for want of memory; "
            "use fewer --jobs"
        )

    def stop(self) -> None:
        """End the process, whatever it does."""
        self.pipe.close()
        self._process.terminate()
        self._process.join()


def _work(function: Callable[[Any], Any], pipe: Connection) -> None:
    """The worker: items in, results out, until the pipe closes."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is the parent's affair
    while True:
        try:
            item = pipe.recv()
        except EOFError:
            return
        try:
            answer = function(item), ""
        except Exception as error:  # any: the others go on
            answer = None, describe(error)
        pipe.send(answer)
