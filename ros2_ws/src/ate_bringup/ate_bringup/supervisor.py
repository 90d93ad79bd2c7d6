"""Run a list of processes without ROS's launch tool, on the circus process manager."""

import logging
import os
import signal
import sys
import tempfile
from pathlib import Path
from typing import Any

from ate_bringup.specs import ProcessSpec

STOP_TIMEOUT = 4.0
"""Time between SIGINT and SIGKILL when stopping [s]; a cell stops within five."""
POLL = 0.2
"""Period at which finished processes are looked for [s]."""

logger = logging.getLogger("ate launch")


def supervise(specs: list[ProcessSpec]) -> int:
    """Start all processes and run until Ctrl-C or until one that ends the launch has ended.

    Returns:
        0 when stopped on purpose, 1 when a process that must not end has ended by itself.
    """
    from circus import get_arbiter

    with tempfile.TemporaryDirectory(prefix="ate-launch-") as folder:
        arbiter = get_arbiter(
            [_watcher(spec) for spec in specs],
            controller=f"ipc://{folder}/control",
            pubsub_endpoint=f"ipc://{folder}/events",
            loglevel="ERROR",
            warmup_delay=0,
            check_delay=POLL,
        )
        watch = _Watch(arbiter, specs)
        arbiter.loop.call_later(1.0, watch.look)
        try:
            arbiter.start()
        finally:
            arbiter.stop()
    return watch.code


class _Watch:
    """Looks for processes that have ended by themselves."""

    def __init__(self, arbiter: Any, specs: list[ProcessSpec]) -> None:
        self._arbiter = arbiter
        self._specs = {_key(spec): spec for spec in specs if not spec.respawn}
        self.code = 0

    def look(self) -> None:
        """Note ended processes once; stop everything when one of them ends the launch."""
        for watcher in self._arbiter.iter_watchers():
            spec = self._specs.get(watcher.name)
            if spec is None or watcher.get_active_processes():
                continue
            del self._specs[watcher.name]
            if spec.ends_launch:
                logger.info("%s has finished: stopping the launch", spec.name)
                self._arbiter.loop.add_callback(self._arbiter.stop)
                return
            logger.error("%s has ended by itself: see its messages above", watcher.name)
            self.code = 1
        self._arbiter.loop.call_later(POLL, self.look)


def _key(spec: ProcessSpec) -> str:
    return f"{spec.namespace.strip('/')}_{spec.name}".strip("_").lower()


def _watcher(spec: ProcessSpec) -> dict[str, Any]:
    command, *arguments = spec.command()
    return {
        "name": _key(spec),
        "cmd": command,
        "args": arguments,
        "env": {**os.environ, "PYTHONUNBUFFERED": "1", **spec.environment},
        "working_dir": str(Path.cwd()),
        "shell": False,
        "respawn": spec.respawn,
        "max_retry": -1,
        "stop_signal": signal.SIGINT,
        "graceful_timeout": STOP_TIMEOUT,
        "stdout_stream": {"class": "ate_bringup.supervisor.PrefixStream", "name": _key(spec)},
        "stderr_stream": {"class": "ate_bringup.supervisor.PrefixStream", "name": _key(spec)},
    }


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
