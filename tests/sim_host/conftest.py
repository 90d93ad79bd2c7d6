"""Processes of the simulated cell in a runtime folder of their own."""

import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

Start = Callable[..., subprocess.Popen[str]]


@pytest.fixture
def runtime_dir(monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    # Not tmp_path: a unix socket's path may have 107 characters.
    folder = Path(tempfile.mkdtemp(prefix="ate-"))
    monkeypatch.setenv("ATE_RUNTIME_DIR", str(folder))
    yield folder
    shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture
def start(runtime_dir: Path) -> Iterator[Start]:
    """Start `python -m module arguments`; whatever is left at the end is killed."""
    running: list[subprocess.Popen[str]] = []

    def start_module(module: str, *arguments: str) -> subprocess.Popen[str]:
        process = subprocess.Popen(
            [sys.executable, "-m", module, *arguments],
            stderr=subprocess.PIPE,
            text=True,
            env={**os.environ, "OMP_NUM_THREADS": "1"},
        )
        running.append(process)
        return process

    yield start_module
    for process in running:
        if process.poll() is None:
            process.kill()
        process.communicate(timeout=10.0)


@pytest.fixture
def stop() -> Callable[[subprocess.Popen[str], int], float]:
    """Send a signal, demand exit code 0, and return how long the process took to end [s]."""

    def stop_process(process: subprocess.Popen[str], number: int = signal.SIGINT) -> float:
        started = time.monotonic()
        process.send_signal(number)
        _, errors = process.communicate(timeout=10.0)
        assert process.returncode == 0, errors
        assert "Traceback" not in errors
        return time.monotonic() - started

    return stop_process


@pytest.fixture
def eventually() -> Callable[..., None]:
    """Wait for a condition with a deadline."""

    def wait(condition: Callable[[], bool], timeout: float = 20.0, what: str = "") -> None:
        deadline = time.monotonic() + timeout
        while not condition():
            assert time.monotonic() < deadline, f"not within {timeout} s: {what or condition}"
            time.sleep(0.005)

    return wait
