"""Run a list of processes without ROS's launch tool, on the circus process manager."""

import logging
import os
import shutil
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


def supervise(specs: list[ProcessSpec]) -> int:
    """Start all processes and run until Ctrl-C or until one that ends the launch has ended.

    Returns:
        0 when stopped on purpose, 1 when a process that must not end has ended by itself or the
        process that ends the launch has failed.
    """
    from circus import get_arbiter

    with tempfile.TemporaryDirectory(prefix="ate-launch-") as folder:
        codes: dict[str, int] = {}
        arbiter = get_arbiter(
            [_watcher(spec, codes) for spec in specs],
            controller=f"ipc://{folder}/control",
            pubsub_endpoint=f"ipc://{folder}/events",
            multicast_endpoint="",  # circus would look for other circus daemons on the network
            loglevel="ERROR",
            warmup_delay=0,
            check_delay=POLL,
        )
        logging.getLogger("tornado.application").addFilter(_is_no_conflict)
        watch = _Watch(arbiter, specs, codes)
        arbiter.loop.call_later(1.0, watch.look)
        try:
            arbiter.start()
        finally:
            arbiter.stop()
    return watch.code


def _is_no_conflict(record: logging.LogRecord) -> bool:
    """Drop circus's complaints that its periodic check meets its own stop."""
    from circus.exc import ConflictError

    return not (record.exc_info and isinstance(record.exc_info[1], ConflictError))


class _Watch:
    """Looks for processes that have ended by themselves."""

    def __init__(self, arbiter: Any, specs: list[ProcessSpec], codes: dict[str, int]) -> None:
        self._arbiter = arbiter
        self._codes = codes
        self._specs = {_key(spec): spec for spec in specs if not spec.respawn}
        self.code = 0

    def look(self) -> None:
        """Note ended processes once; stop everything when one of them ends the launch."""
        for watcher in self._arbiter.iter_watchers():
            spec = self._specs.get(watcher.name)
            alive = watcher.name not in self._codes and watcher.processes
            if spec is None or alive:
                continue
            del self._specs[watcher.name]
            code = self._codes.get(watcher.name, 0)
            if spec.ends_launch:
                _say(f"{watcher.name} has finished with code {code}: stopping the launch")
                self.code = 1 if code else self.code
                self._arbiter.loop.add_callback(self._arbiter.stop)
                return
            _say(f"{watcher.name} has ended by itself with code {code}: see its messages above")
            self.code = 1
        self._arbiter.loop.call_later(POLL, self.look)


def _say(text: str) -> None:
    print(f"[launch] {text}", file=sys.stderr, flush=True)


def _key(spec: ProcessSpec) -> str:
    return f"{spec.namespace.strip('/')}_{spec.name}".strip("_").lower()


def _watcher(spec: ProcessSpec, codes: dict[str, int]) -> dict[str, Any]:
    command, *arguments = _with_parent(spec.command())

    def note_code(*_: Any, exit_code: int, **__: Any) -> bool:
        codes[_key(spec)] = exit_code
        return True

    return {
        "name": _key(spec),
        "cmd": command,
        "args": arguments,
        "env": {**os.environ, "PYTHONUNBUFFERED": "1", **spec.environment},
        "working_dir": str(Path.cwd()),
        "shell": False,
        "respawn": spec.respawn,
        "max_retry": -1,
        "hooks": {"after_reap": (note_code, False)},
        "stop_signal": signal.SIGINT,
        "graceful_timeout": STOP_TIMEOUT,
        "stdout_stream": {"class": "ate_bringup.supervisor.PrefixStream", "name": _key(spec)},
        "stderr_stream": {"class": "ate_bringup.supervisor.PrefixStream", "name": _key(spec)},
    }


def _with_parent(command: list[str]) -> list[str]:
    """Let a process get SIGINT when the supervisor dies, however it dies (util-linux)."""
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
