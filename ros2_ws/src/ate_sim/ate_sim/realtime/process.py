"""What every process of the cell does alike: own its role in the folder, stop on a signal."""

import logging
import os
import signal
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from ate_core.child import end_with_parent
from ate_core.errors import AteError, DeviceError
from ate_core.locks import holder_of, open_locked
from ate_core.priority import set_niceness


@contextmanager
def claim(runtime_dir: Path, name: str) -> Iterator[None]:
    """Own the role `name` in a runtime folder for as long as the context lasts.

    The lock dies with its process, so a killed owner never blocks the next one.

    Args:
        runtime_dir: Folder of the shared blocks and sockets; created when missing.
        name: Role of the process, for instance "world".

    Raises:
        DeviceError: Another live process owns this role.
    """
    runtime_dir.mkdir(parents=True, exist_ok=True)
    path = runtime_dir / f"{name}.pid"
    try:
        descriptor = open_locked(path)
    except BlockingIOError:
        raise DeviceError(
            f"{runtime_dir} is in use by another {name} (pid {holder_of(path) or 'unknown'}): "
            "stop that process, or choose another folder with ATE_RUNTIME_DIR"
        ) from None
    try:
        os.ftruncate(descriptor, 0)
        os.write(descriptor, f"{os.getpid()}\n".encode())
        try:
            yield
        finally:
            path.unlink(missing_ok=True)
    finally:
        os.close(descriptor)


def stop_on_signals() -> threading.Event:
    """Return an event that SIGINT and SIGTERM set; call it in the main thread."""
    stop = threading.Event()

    def request_stop(_signal: int, _frame: object) -> None:
        stop.set()

    signal.signal(signal.SIGINT, request_stop)
    signal.signal(signal.SIGTERM, request_stop)
    return stop


def run_process(name: str, niceness: int, run: Callable[[threading.Event], int]) -> int:
    """Run one process of the cell: log to stderr, stop on signals, errors in one line.

    Args:
        name: Shown at the start of every log line.
        niceness: Scheduling priority to ask for, see `ate_core.priority`.
        run: Does the work until the event is set and returns the exit code.
    """
    logging.basicConfig(
        level=logging.INFO, stream=sys.stderr, format=f"[{name}] %(levelname)s %(message)s"
    )
    stop = stop_on_signals()
    end_with_parent()
    set_niceness(niceness)
    try:
        return run(stop)
    except AteError as error:
        logging.getLogger(__name__).error("%s", error)
        return 1
