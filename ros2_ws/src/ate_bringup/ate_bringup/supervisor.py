"""Run a list of processes without ROS's launch tool, on the circus process manager."""

import asyncio
import os
import shutil
import signal
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from ate_bringup.restarts import Restarts
from ate_bringup.specs import ProcessSpec
from ate_core.child import STOPS, child_command, child_environment

STOP_TIMEOUT = 4.0
"""Time between SIGINT and SIGKILL when stopping [s]; a cell stops within five."""
POLL = 0.1
"""Period at which finished processes are looked for [s]."""
RETRY = 0.02
"""Wait for circus to finish what it is at [s]."""


def supervise(specs: list[ProcessSpec]) -> int:
    """Start all processes and run until Ctrl-C or until one that ends the launch has ended.

    Returns:
        0 when stopped on purpose, 1 when a process that is not started again has ended by itself,
        or the process that ends the launch has failed.
    """
    from circus import get_arbiter

    with tempfile.TemporaryDirectory(prefix="ate-launch-") as folder:
        arbiter = get_arbiter(
            [_watcher(spec) for spec in specs],
            controller=f"ipc://{folder}/control",
            pubsub_endpoint=f"ipc://{folder}/events",
            multicast_endpoint="",  # circus would look for other circus daemons on the network
            loglevel="ERROR",
            warmup_delay=0,
            check_delay=-1,  # its own check loses exit codes, and starts again without a pause
        )
        watch = _Watch(arbiter, specs)
        arbiter.loop.add_callback(watch.begin)
        signal.pthread_sigmask(signal.SIG_BLOCK, STOPS)  # until `begin` can answer them
        try:
            arbiter.start()
        finally:
            signal.pthread_sigmask(signal.SIG_UNBLOCK, STOPS)
            arbiter.stop()
    return watch.code


class _Watch:
    """Looks for processes that have ended by themselves, and does what is to follow."""

    def __init__(self, arbiter: Any, specs: list[ProcessSpec]) -> None:
        self._arbiter = arbiter
        self._restarts = {spec.label: Restarts(spec) for spec in specs}
        self._waiting = {spec.label for spec in specs if not spec.is_installed}
        self._started: dict[int, float] = {}
        self._is_ending = False
        self.code = 0

    async def begin(self) -> None:
        """Answer signals from now on, and start all processes."""
        for number in STOPS:
            signal.signal(number, self._take_signal)
        signal.pthread_sigmask(signal.SIG_UNBLOCK, STOPS)
        self._arbiter.loop.call_later(POLL, self.look)
        for watcher in list(self._arbiter.iter_watchers()):
            if not self._is_ending:
                await self._start_one(watcher)

    def _take_signal(self, *_: object) -> None:
        self._arbiter.loop.add_callback_from_signal(self._end)

    def _end(self) -> None:
        """Stop everything; circus forgets what it is asked for while it starts a process."""
        self._is_ending = True
        if self._arbiter._exclusive_running_command is not None:
            self._arbiter.loop.call_later(RETRY, self._end)
        elif not self._arbiter._stopping:
            self._arbiter.loop.add_callback(self._arbiter.stop)

    def look(self) -> None:
        """Reap what has ended; nothing of it counts once the launch is being stopped."""
        if self._is_ending:
            return
        for watcher in self._arbiter.iter_watchers():
            for pid in list(watcher.processes):
                self._started.setdefault(pid, time.monotonic())
                ended, status = os.waitpid(pid, os.WNOHANG)
                if ended:
                    watcher.reap_process(pid, status)
                    self._follow(watcher, pid, os.waitstatus_to_exitcode(status))
        self._arbiter.loop.call_later(POLL, self.look)

    def _follow(self, watcher: Any, pid: int, code: int) -> None:
        lived = time.monotonic() - self._started.pop(pid)
        verdict = self._restarts[watcher.name].ended(code, lived)
        _say(verdict.text)
        if verdict.failed:
            self.code = 1
        if verdict.ends_launch:
            self._end()
        elif verdict.restart_after is not None:
            self._arbiter.loop.call_later(verdict.restart_after, self._start, watcher)

    async def _start(self, watcher: Any) -> None:
        """Start a process again; circus refuses while it starts another one."""
        while self._arbiter._exclusive_running_command is not None:
            await asyncio.sleep(RETRY)
        if not self._is_ending:
            await self._start_one(watcher)

    async def _start_one(self, watcher: Any) -> None:
        """Start a process whose signals wait until it can answer them."""
        if watcher.name in self._waiting:
            signal.pthread_sigmask(signal.SIG_BLOCK, STOPS)
        try:
            await watcher.start()
        finally:
            signal.pthread_sigmask(signal.SIG_UNBLOCK, STOPS)


def _say(text: str) -> None:
    print(f"[launch] {text}", file=sys.stderr, flush=True)


def _watcher(spec: ProcessSpec) -> dict[str, Any]:
    command, *arguments = _as_child(spec)
    return {
        "name": spec.label,
        "cmd": command,
        "args": arguments,
        "env": {**os.environ, "PYTHONUNBUFFERED": "1", **child_environment(), **spec.environment},
        "working_dir": str(Path.cwd()),
        "shell": False,
        "respawn": False,
        "autostart": False,  # `begin` starts it, when signals are answered
        "stop_signal": signal.SIGINT,
        "graceful_timeout": STOP_TIMEOUT,
        "stdout_stream": {"class": "ate_bringup.supervisor.PrefixStream", "name": spec.label},
        "stderr_stream": {"class": "ate_bringup.supervisor.PrefixStream", "name": spec.label},
    }


def _as_child(spec: ProcessSpec) -> list[str]:
    """Let a process get SIGINT when the supervisor dies, however it dies."""
    command = spec.command()
    if not spec.is_installed:
        return child_command(spec.module, command[3:])  # without interpreter, -m and module
    setpriv = shutil.which("setpriv")
    return [setpriv, "--pdeathsig", "INT", "--", *command] if setpriv else command


class PrefixStream:
    """Prints each line of a process behind its name."""

    def __init__(self, name: str, **_: Any) -> None:
        """Take the lines of the process called ``name``."""
        self._name = name
        self._rest = b""

    def __call__(self, data: dict[str, Any]) -> None:
        """Print the complete lines of one piece of output."""
        *lines, self._rest = (self._rest + data["data"]).split(b"\n")
        for line in lines:
            sys.stderr.write(f"[{self._name}] {line.decode(errors='replace')}\n")

    def close(self) -> None:
        """Print what is left without a line end."""
        if self._rest:
            sys.stderr.write(f"[{self._name}] {self._rest.decode(errors='replace')}\n")
