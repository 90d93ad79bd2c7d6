"""Kill, stall, slow down and cut off the server of a policy while both arms move.

    python -m benchmarks.policy_server_faults                    # all: about a minute
    python -m benchmarks.policy_server_faults --only kill stall

Per case: how long after the fault the chunk ended, how long after that each arm was at rest, and
how long after the end of the fault they go on by themselves. The
exit code is 1 when a case is not as it must be.
"""

import contextlib
import json
import os
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, field
from pathlib import Path

import numpy as np
import rclpy
import tyro
from rclpy.node import Node
from sensor_msgs.msg import JointState
from std_srvs.srv import Trigger

from ate_core.child import child_command, child_environment
from ate_core.contract import Cell, load_cell
from ate_core.nodes.listening import listen
from ate_core.nodes.qos import COMMAND_QOS
from ate_core.nodes.runner import spinning
from ate_core.nodes.transport import use_sockets
from benchmarks.live_cell import DEPLOY, LaunchedCell, WorldTrace, own_surroundings, write_cell
from benchmarks.relay import Relay
from benchmarks.restless_policy import save_restless_policy
from benchmarks.server_process import free_port

BOUND = 0.2
"""Both arms are at rest so long after the last action of their chunk [s]."""
CHUNK = 1.0
"""Length of a chunk of the policy: so long after its observation no action is left [s]."""
TOGETHER = 0.05
"""Their chunk ends for both arms no further apart [s]."""
LASTS = 2.5
"""Length of a fault: more than a chunk [s]."""
DELAY = 1.2
"""Of each answer of a slow server: more than the deadline [s]."""
BACK = 10.0
"""Longest wait for motion after the end of a fault [s]."""
CASES = ("kill", "stall", "slow", "half-open")
"""kill: SIGKILL, started again later; stall: SIGSTOP; slow: each answer comes too late; half-open:
the link stays, and nothing arrives."""


@dataclass(frozen=True, kw_only=True)
class FaultsConfig:
    """Which cases to run."""

    only: tuple[str, ...] = CASES
    """Names of cases."""
    bound: float = BOUND
    """Time from the last action to rest [s]."""
    json: Path | None = None
    """File for the results, one line per case."""


@dataclass(frozen=True, kw_only=True)
class Result:
    """What a case did."""

    case: str
    """One of `CASES`."""
    last: dict[str, float]
    """Time from the fault to the end of the chunk, the tick of each arm's last command [s]."""
    rest: dict[str, float]
    """Time from there until it was at rest [s]."""
    again: dict[str, float]
    """Time from the end of the fault to the next command [s]; inf: none came."""
    told: str
    """The first line of the log about it."""
    ended: str
    """The line that names why the policy waits to be started again; empty: it goes on."""
    wrong: tuple[str, ...] = field(default=())
    """What was not as it must be."""

    def line(self) -> str:
        """One case for people."""
        parts = [
            " ".join(f"{1e3 * time:6.0f}" for time in row.values())
            for row in (self.last, self.rest, self.again)
        ]
        return f"{self.case:10} {'   '.join(parts)}   {'; '.join(self.wrong) or 'yes'}"


class Listener(Node):
    """Notes when the policy commands each arm, and starts it."""

    def __init__(self, cell: Cell) -> None:
        super().__init__("fault_listener")
        self.times: dict[str, list[float]] = {side: [] for side in cell.arms}
        """Arrival of each command on the monotonic clock [s]."""
        topics = cell.topics
        for side, arm in cell.arms.items():
            topic = topics.of_arm(arm.namespace, topics.joint_command)
            times = self.times[side]
            listen(
                self,
                JointState,
                topic,
                lambda _, times=times: times.append(time.monotonic()),
                COMMAND_QOS,
            )
        self._start = self.create_client(Trigger, "/policy/start")

    def start(self) -> bool:
        """Ask the policy to start; whether it has."""
        if not self._start.service_is_ready():
            return False
        future = self._start.call_async(Trigger.Request())
        deadline = time.monotonic() + 2.0
        while not future.done() and time.monotonic() < deadline:
            time.sleep(0.02)
        answer = future.result() if future.done() else None
        return bool(answer and answer.success)

    def last_before(self, side: str, moment: float) -> float:
        """The last command before a moment [s]; -inf: none."""
        return max((one for one in self.times[side] if one < moment), default=-np.inf)

    def first_after(self, side: str, moment: float) -> float:
        """The first command after a moment [s]; inf: none."""
        return next((one for one in self.times[side] if one > moment), np.inf)


class ServedCell:
    """A launched cell whose arms are moved by a policy on a server; use it as a context."""

    def __init__(self, folder: Path) -> None:
        """Start the server, then the cell."""
        self._stack = contextlib.ExitStack()
        self._folder = folder
        file = write_cell(folder, 1)
        self._cell = load_cell(file, "sim")
        save_restless_policy(folder / "policy", self._cell)
        self._port = free_port()
        self._server = self._serve()
        self._stack.callback(lambda: self._server.kill())
        self._relay = Relay(self._port)
        self._stack.callback(self._relay.close)
        words = [*DEPLOY, "task:=cook_bun", "cameras:=false", "approach:=true"]
        words += [f"policy_server:=ws://127.0.0.1:{self._relay.port}"]
        self._launched = LaunchedCell(folder, file, words)
        self._stack.callback(self._launched.kill)

    def __enter__(self) -> "ServedCell":
        with contextlib.ExitStack() as undo:
            undo.push(self._stack)
            self._launched.wait_for(lambda: "READY" in self._launched.log(), "READY", 90)
            use_sockets()
            rclpy.init()
            self._listener = Listener(self._cell)
            undo.enter_context(spinning(self._listener))
            self._launched.wait_for(self._listener.start, "start", 30)
            self._stack = undo.pop_all()
        return self

    def __exit__(self, *_: object) -> None:
        if self._launched.process.poll() is None:
            self._launched.interrupt()
        self._stack.close()

    def _serve(self) -> "subprocess.Popen[str]":
        words = ["serve", str(self._folder / "policy"), "--port", str(self._port)]
        process = subprocess.Popen(
            child_command("ate_bringup.cli", [*words, "--device", "cpu"]),
            env={**os.environ, **child_environment()},
            stdout=subprocess.PIPE,
            text=True,
        )
        assert process.stdout is not None
        if not process.stdout.readline():
            raise AssertionError("the server ended before it was there")
        return process

    @contextlib.contextmanager
    def _fault(self, case: str) -> Iterator[None]:
        if case == "kill":
            self._server.kill()
            self._server.wait()
        elif case == "stall":
            self._server.send_signal(signal.SIGSTOP)
        elif case == "slow":
            self._relay.delay = DELAY
        else:
            self._relay.swallows = True
        try:
            yield
        finally:
            if case == "kill":
                self._server = self._serve()
            self._server.send_signal(signal.SIGCONT)
            self._relay.delay, self._relay.swallows = 0.0, False

    def run(self, case: str, bound: float = BOUND) -> Result:
        """Let the server fail in motion, and look at what follows."""
        said = len(self._launched.log())
        sides, listener = tuple(self._cell.arms), self._listener
        with WorldTrace(self._launched) as trace:

            def move() -> bool:
                return all(trace.is_moving(side) for side in sides)

            listener.start()  # it may have come to a named end
            self._launched.wait_for(move, "motion", 30)
            begin = time.monotonic()
            with self._fault(case):
                _until(lambda: time.monotonic() > begin + LASTS)
            end = time.monotonic()
            period = 1.0 / self._cell.tick_rate  # a command is that of the next tick
            last = {side: listener.last_before(side, begin + LASTS) + period for side in sides}
            _until(lambda: all(listener.first_after(s, end) < np.inf for s in sides))
            _until(move)
            moves = move()
            rest = {s: trace.motion(s, begin).rest_after(last[s]) for s in sides}
        lines = self._launched.log()[said:].splitlines()
        told = [line for line in lines if "policy server" in line]
        ended = [line for line in lines if "policy stopped:" in line or "is stuck:" in line]
        result = Result(
            case=case,
            last={side: last[side] - begin for side in sides},
            rest=rest,
            again={side: listener.first_after(side, end) - end for side in sides},
            told=(told or [""])[0],
            ended=(ended or [""])[0],
        )
        return Result(**{**asdict(result), "wrong": tuple(_wrong(result, bound, moves))})


def _wrong(result: Result, bound: float, moves: bool) -> Iterator[str]:
    for side, rest in result.rest.items():
        if rest > bound:
            yield f"{side} rests late"
        if result.last[side] > CHUNK + bound:
            yield f"{side} is commanded beyond its chunk"
    times = list(result.last.values())
    if max(times) - min(times) > TOGETHER:
        yield "the arms stop one after the other"
    if not moves and not result.ended:
        yield "they do not move again"
    if not result.told:
        yield "nothing is told of it"


def _until(condition: Callable[[], bool], timeout: float = BACK) -> None:
    deadline = time.monotonic() + timeout
    while not condition() and time.monotonic() < deadline:
        time.sleep(0.01)


def main(config: FaultsConfig) -> int:
    """Run the cases and print a line for each; 1 when one is not as it must be."""
    print("case       end of chunk [ms], rest after it [ms], command again [ms]; as it must be")
    wrong = 0
    with own_surroundings() as folder, ServedCell(folder) as cell:
        for case in config.only:
            result = cell.run(case, config.bound)
            print(result.line(), flush=True)
            wrong += bool(result.wrong)
            if config.json is not None:
                with config.json.open("a") as file:
                    file.write(json.dumps(asdict(result)) + "\n")
    return int(wrong > 0)


if __name__ == "__main__":
    raise SystemExit(main(tyro.cli(FaultsConfig)))
