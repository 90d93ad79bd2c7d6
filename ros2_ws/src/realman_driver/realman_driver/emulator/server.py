"""Sockets and clock of the emulated controller: one thread, one loop at 200 Hz."""

import contextlib
import json
import logging
import select
import socket
import time
from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from arm_driver.plant import Measurement, Plant
from ate_core.control_socket import ControlServer
from ate_core.errors import DeviceError, UsageError
from realman_driver.emulator import wire
from realman_driver.emulator.clock import TICK, StandingClock
from realman_driver.emulator.commands import CommandTable, PushSetting
from realman_driver.emulator.controller import Controller
from realman_driver.emulator.faults import Faults, Outbox, change_identity, stored_tool
from realman_driver.emulator.links import Line, listen_tcp
from realman_driver.emulator.model import RM75_LIMITS
from realman_driver.emulator.push import StatePush

Array = NDArray[np.float64]
log = logging.getLogger(__name__)

MakeTable = Callable[[Controller, PushSetting], CommandTable]

STREAMED = ("movej_canfd",)
"""Commands that are void when they come late."""
MOST_READS = 64
"""Pieces of 64 KiB that a client may have sent meanwhile."""
TRACE_LENGTH = 4000
"""Ticks kept for the query "trace": 20 s."""
MOST_CLIENTS = 16
"""Connections at a time; more are closed."""
STOP_GRACE = 0.7
"""How long a stopping controller lets its client bring the arm to rest [s]."""


@dataclass(frozen=True, kw_only=True)
class ServerConfig:
    """Where one emulated controller listens."""

    ip: str
    """Its own address; the UDP push leaves from here, as the SDK knows arms by it."""
    tcp_port: int = 8080
    """Command port."""
    udp_port: int = 8089
    """Port of the receiver before a client sets another."""
    control_path: Path | None = None
    """Unix socket for faults and queries (see ``faults``); None: none."""


class ControllerServer:
    """One emulated controller; ``run`` blocks until ``stop`` is called."""

    def __init__(
        self, config: ServerConfig, plant: Plant, make_table: MakeTable = CommandTable
    ) -> None:
        """Open the sockets; the arm is taken over at its first measurement.

        Args:
            config: where it listens.
            plant: the arm.
            make_table: answers the commands; another one may note them first.

        Raises:
            DeviceError: the address or port cannot be used.
        """
        self._plant = plant
        self._make_table = make_table
        self._faults = Faults()
        self._setting = PushSetting(port=config.udp_port)
        self._controller: Controller | None = None
        self._commands: CommandTable | None = None
        self._measured: Measurement | None = None
        self._clients: list[Line] = []
        self._outbox = Outbox(self._faults)
        self._trace: deque[tuple[float, Array, Array]] = deque(maxlen=TRACE_LENGTH)
        self._ticks = 0
        self._clock = StandingClock()
        self._now = self._clock.now
        self._restarting = False
        self._running = True
        self._guided = False
        self._reset_at = 0.0
        self.resets = 0
        """Connections reset by the fault of that name."""
        with contextlib.ExitStack() as opened:
            self._listener = listen_tcp(config.ip, config.tcp_port)
            opened.callback(self._listener.close)
            self._push = StatePush(config.ip, self._setting, self._faults)
            opened.callback(self._push.close)
            path = config.control_path  # a trace is longer than the buffer of a socket
            self._control = None if path is None else ControlServer(path, self._operate, 1.0)
            opened.pop_all()  # none failed: they stay open

    def stop(self) -> None:
        """End ``run`` soon; safe from a signal handler or another thread."""
        self._running = False

    def run(self) -> None:
        """Serve until ``stop``, then bring the arm to rest and close."""
        due = time.monotonic()
        stop_by = None
        while True:
            self._look()
            now = time.monotonic()
            if not self._running:
                stop_by = now + STOP_GRACE if stop_by is None else stop_by
                if now >= stop_by or not self._clients:
                    break
            if now >= due:
                self._tick(self._now())
                due = max(due + TICK, now)
            self._serve(max(due - time.monotonic(), 0.0))
        self._finish()

    # --- clock ---------------------------------------------------------------------------

    def _look(self) -> None:
        """Notice that this process stood still: nothing is caught up with afterwards.

        The motion goes on from where it was, and the targets that came meanwhile are void.
        """
        late = self._clock.look()
        if late == 0.0:
            return
        if self._controller is not None:
            self._controller.stand_still(late)
        log.info("stood still for %.0f ms", late * 1e3)
        if self._faults.deaf(self._now()):
            return
        for line in list(self._clients):
            for _ in range(MOST_READS):
                if line not in self._clients or not select.select([line.socket], [], [], 0.0)[0]:
                    break
                self._read_client(line, self._now(), stale=True)

    def _tick(self, now: float) -> None:
        self._ticks += 1
        measured = self._plant.read()
        if self._faults.active("restart", now):
            if not self._restarting:
                self._begin_restart()
            return
        self._restarting = False
        fresh = measured is not None
        if measured is not None:
            self._measured = measured
            if self._controller is None:
                self._take_over(measured)
        if self._controller is None or self._commands is None or self._measured is None:
            return
        self._commands.measured = self._measured
        self._controller.measured = self._measured.q
        self._act_out(self._controller, now)
        target = self._controller.step(now)
        self._plant.write_target(target)
        self._trace.append((time.monotonic(), target, self._measured.q))
        stalled = self._faults.active("stall", now)
        if not stalled:
            self._outbox.flush(now)
            for arrived in self._controller.take_events():
                self._report_move(arrived)
        # No packet without a fresh measurement: a stale one must never look new.
        if fresh and not stalled and self._push.is_due(self._ticks):
            self._push.send(self._measured, self._controller, self._commands, self._ticks, now)

    def _act_out(self, controller: Controller, now: float) -> None:
        """Faults that something does on every tick."""
        faults = self._faults
        if faults.silent and not self._guided:
            return
        self._guided = faults.active("hand_guiding", now)
        controller.guide(self._guided, faults.speed, TICK)
        if faults.active("stuck", now) and faults.code not in controller.errors:
            controller.raise_error(faults.code, now)
        if faults.active("reset", now) and faults.period > 0 and now >= self._reset_at:
            self._reset_links(now)

    def _reset_links(self, now: float) -> None:
        self._reset_at = now + self._faults.period
        self.resets += len(self._clients)
        self._drop_clients(reset=True)
        if self._controller is not None and self._controller.moving(now):
            self._controller.stop(now, "links reset", slow=True)

    def _take_over(self, measured: Measurement) -> None:
        self._controller = Controller(RM75_LIMITS, measured.q)
        self._commands = self._make_table(self._controller, self._setting)
        log.info("arm taken over at its measured joints")

    def _begin_restart(self) -> None:
        self._restarting = True
        log.info("restart: links closed, set point forgotten")
        self._drop_clients(reset=True)
        self._controller = self._commands = None

    # --- TCP -----------------------------------------------------------------------------

    def _serve(self, wait: float) -> None:
        # select() keeps microseconds; epoll would round the wait up to whole milliseconds.
        sockets = [] if self._control is None else self._control.descriptors
        if not self._faults.deaf(self._now()):
            sockets += [line.socket for line in self._clients]
            sockets.append(self._listener)
        ready, _, _ = select.select(sockets, [], [], wait)
        self._look()
        if not ready:
            return
        now = self._now()
        if self._listener in ready:
            self._accept(now)
        for line in [c for c in self._clients if c.socket in ready]:
            self._read_client(line, now)
        if self._control is not None:
            self._control.serve(ready)

    def _accept(self, now: float) -> None:
        try:
            connection, peer = self._listener.accept()
        except OSError:  # gone before it was taken
            return
        line = Line(connection)
        if len(self._clients) >= MOST_CLIENTS:
            line.close()
            return
        if self._faults.active("cut", now) or self._controller is None:
            line.close(reset=True)
            return
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._clients.append(line)
        log.info("client %s:%d connected", *peer)

    def _read_client(self, line: Line, now: float, *, stale: bool = False) -> None:
        """Carry out what a client sent.

        Args:
            line: of the client.
            now: the controller's time [s].
            stale: streamed targets came while this process stood still.
        """
        lines = line.receive()
        if lines is None:
            self._lose(line, now)
            return
        for text in lines:
            if not text.strip() or self._commands is None:
                continue
            try:
                message = json.loads(text)
            except (ValueError, RecursionError):
                self._commands.malformed += 1
                log.debug("not JSON: %.60r", text)
                continue
            if not isinstance(message, dict) or (stale and message.get("command") in STREAMED):
                continue
            reply = self._commands.answer(message, now)
            if reply is None:
                continue
            try:
                data = wire.encode(reply)
            except ValueError:  # a number of thousands of digits that a client had stored
                self._commands.malformed += 1
                continue
            self._outbox.send(line, str(message["command"]), data, now)

    def _report_move(self, arrived: bool) -> None:
        for line in self._clients:
            line.send(wire.encode(wire.move_event(arrived)))

    def _lose(self, line: Line, now: float) -> None:
        line.close()
        self._clients.remove(line)
        log.info("client gone")
        controller = self._controller
        if controller is not None and not self._clients and controller.moving(now):
            controller.stop(now, "client lost", slow=True)

    def _drop_clients(self, *, reset: bool) -> None:
        for line in self._clients:
            line.close(reset=reset)
        self._clients.clear()
        self._outbox.clear()

    # --- faults and queries --------------------------------------------------------------

    def _operate(self, request: Mapping[str, Any]) -> dict[str, Any]:
        now = self._now()
        command = request["command"]
        if command == "status":
            up = self._controller is not None and not self._restarting
            counters = {} if self._controller is None else self._controller.counters(now)
            commands = self._commands
            if commands is not None:
                counters |= {
                    "malformed": commands.malformed,
                    "tool": commands.tool,
                    "written": commands.written,
                }
            return {"up": up, "clients": len(self._clients), "resets": self.resets} | counters
        if command == "trace":
            return {"trace": [[t, *a.tolist(), *m.tolist()] for t, a, m in self._trace]}
        if command != "fault":
            raise UsageError(f"unknown command {command!r}; need fault, status or trace")
        if self._controller is None:
            raise DeviceError("the controller has no arm yet: start the world first")
        assert self._commands is not None
        try:
            name = str(request.get("name"))
            if name == "identity":
                change_identity(self._commands.identity, request)
            elif name == "tool":
                self._commands.store_tool(stored_tool(request))
            elif name == "lock_tools":
                self._commands.tools_locked = True
            else:
                self._faults.apply(request, self._controller, now)
        except (TypeError, ValueError, OverflowError) as error:
            raise UsageError(f"an argument of {request} is no number: {error}") from None
        log.info("fault %s", name)
        if name == "reset":
            self._reset_links(now)
        if name == "cut":
            self._drop_clients(reset=True)
            self._controller.stop(now, "link cut", slow=True)
        return {}

    # --- end -----------------------------------------------------------------------------

    def _finish(self) -> None:
        now = self._now()
        controller = self._controller
        if controller is not None and (self._clients or controller.moving(now)):
            controller.stop(now, "controller is shutting down", slow=False)
            # 2 rad/s brake in 50 ms; nothing but the set point has to run meanwhile.
            while controller.moving(now := self._now()):
                self._plant.write_target(controller.step(now))
                select.select([], [], [], TICK)
        self._drop_clients(reset=False)
        self._listener.close()
        self._push.close()
        if self._control is not None:
            self._control.close()
        self._plant.close()
