"""The 20 Hz loop of a deployed policy beside a loop that only sleeps, in the same window.

    python -m benchmarks.deployed_loop --minutes 10
    python -m benchmarks.deployed_loop --minutes 0.5 --json loop.json
    python -m benchmarks.deployed_loop --minutes 1 --checkpoint runs/ntp --task pick_place

Launches the simulated cell with three cameras at full size, a policy that looks through them and
moves both arms, or a checkpoint of your own, and the recorder, which writes one episode. While the
policy runs, a process of the same priority sleeps from tick to tick and does nothing else. The
exit code is 1 where the period of the policy's loop at the 99th percentile is more than 2 ms
beyond that of the bare loop, or where it missed more ticks.
"""

import contextlib
import json
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import rclpy
import tyro
from rclpy.node import Node
from std_srvs.srv import Trigger

from ate_core.contract import load_cell
from ate_core.errors import UsageError
from ate_core.loop import LoopStats
from ate_core.nodes.runner import spinning
from ate_core.nodes.transport import use_sockets
from ate_policy.checkpoint import describe_checkpoint
from benchmarks.live_cell import DEPLOY, LaunchedCell, own_surroundings, write_cell
from benchmarks.restless_policy import save_restless_policy

MARGIN_MS = 2.0
"""The period at the 99th percentile may be so much longer than that of the bare loop [ms]."""
ANSWER = 3.0
"""An answer of a service that takes longer was lost [s]."""
PATIENCE = 30.0
"""Longest wait until a service has done what it is asked for [s]."""


@dataclass(frozen=True, kw_only=True)
class DeployedLoopConfig:
    """How long."""

    minutes: float = 10.0
    """Length of the window [min]."""
    small: bool = False
    """Few and small pictures, for a busy machine."""
    checkpoint: Path | None = None
    """Policy to deploy; None: one that has learned nothing and looks through all cameras."""
    task: str = "cook_bun"
    """Scene that it is deployed in."""
    json: Path | None = None
    """File for everything measured."""

    def __post_init__(self) -> None:
        if not self.minutes > 0.0:
            raise UsageError(f"minutes is {self.minutes:g}; need more than 0")


@dataclass(frozen=True, kw_only=True)
class Result:
    """Both loops, and what ran beside them."""

    policy: LoopStats
    """Of the policy's node while the policy ran."""
    bare: LoopStats
    """Of the loop that only sleeps."""
    sentence: str
    """What the policy's node told at its end."""
    pictures: int
    """Cameras through which the policy looks."""
    recorded_mb: float
    """Size of the recorded episode [MB]."""

    @property
    def wrong(self) -> list[str]:
        """What is not as it must be."""
        beyond, missed = self.policy.p99_ms - self.bare.p99_ms, self.policy.misses
        found = []
        if not beyond <= MARGIN_MS:
            found.append(f"period p99 is {beyond:.2f} ms beyond the bare loop's")
        if missed > self.bare.misses:
            found.append(f"{missed} ticks missed, {self.bare.misses} of the bare loop")
        return found


class Caller(Node):
    """Calls services of the running cell."""

    def __init__(self) -> None:
        super().__init__("deployed_loop")

    def ask(self, service: str, done: str = "") -> None:
        """Ask until it is done; an answer may be lost while those who ask are still being found.

        Args:
            service: its name.
            done: what a refusal says where an earlier call, whose answer was lost, did it.

        Raises:
            TimeoutError: it was not within `PATIENCE`.
        """
        client, until = self.create_client(Trigger, service), time.monotonic() + PATIENCE
        why = "nobody offers it"
        while time.monotonic() < until:
            if client.service_is_ready():
                future, deadline = client.call_async(Trigger.Request()), time.monotonic() + ANSWER
                while not future.done() and time.monotonic() < deadline:
                    time.sleep(0.01)
                answer = future.result() if future.done() else None
                why = answer.message if answer is not None else "no answer"
                if answer is not None and (answer.success or (done and done in why)):
                    return
            time.sleep(0.2)
        raise TimeoutError(f"{service}: {why}")


def measure(config: DeployedLoopConfig, folder: Path) -> Result:
    """Launch, run both loops for the window, and end."""
    file = write_cell(folder, 2, small=config.small)
    cell = load_cell(file, "sim")
    checkpoint = config.checkpoint
    if checkpoint is None:
        checkpoint = folder / "policy"
        save_restless_policy(checkpoint, cell, cameras=cell.layout.cameras)
    summary, bags = folder / "summary.json", folder / "bags"
    words = [*DEPLOY, f"checkpoint:={checkpoint.absolute()}", f"task:={config.task}"]
    words += ["device:=cpu", "approach:=true", "record:=true"]
    words += [f"output:={bags}", f"summary:={summary}"]
    launched = LaunchedCell(folder, file, words)
    try:
        launched.wait_for(lambda: "READY" in launched.log(), "READY", 120)
        with _caller() as caller:
            caller.ask("/episode/start", done="is being recorded")
            caller.ask("/policy/start")
            woken = bare_loop(cell.tick_rate, 60.0 * config.minutes)
            caller.ask("/policy/stop")
            caller.ask("/episode/stop", done="no episode is being recorded")
        launched.interrupt()
    finally:
        launched.kill()
    told: dict[str, Any] = json.loads(summary.read_text())
    size = sum(one.stat().st_size for one in bags.rglob("*") if one.is_file())
    return Result(
        policy=LoopStats(**told["loop"]),
        bare=LoopStats.of_times(woken, 1e3 / cell.tick_rate),
        sentence=told["sentence"],
        pictures=len(describe_checkpoint(checkpoint).model["cameras"]),
        recorded_mb=1e-6 * size,
    )


def bare_loop(rate: float, seconds: float) -> list[int]:
    """Wake-ups of a loop that only sleeps, in a process of the policy's priority [ns]."""
    words = ["--rate", f"{rate:g}", "--seconds", f"{seconds:g}", "--urgent"]
    command = [sys.executable, "-m", "ate_policy.bare_loop", *words]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    woken: list[int] = json.loads(done.stdout)
    return woken


@contextlib.contextmanager
def _caller() -> Iterator[Caller]:
    use_sockets()
    rclpy.init()
    caller = Caller()
    with spinning(caller):
        yield caller


def main(config: DeployedLoopConfig) -> int:
    """Run and print; 1 where a bound is not kept."""
    with own_surroundings() as folder:
        result = measure(config, folder)
    print(f"policy    {result.policy.sentence()}")
    print(f"bare loop {result.bare.sentence()}")
    print(f"{result.pictures} cameras, {result.recorded_mb:.1f} MB recorded; {result.sentence}")
    beyond = result.policy.p99_ms - result.bare.p99_ms
    verdict = "; ".join(result.wrong) or "as it must be"
    print(f"period p99 {beyond:+.2f} ms beyond the bare loop (bound {MARGIN_MS:g}): {verdict}")
    if config.json is not None:
        config.json.write_text(json.dumps({**asdict(result), "wrong": result.wrong}, indent=1))
    return int(bool(result.wrong))


if __name__ == "__main__":
    raise SystemExit(main(tyro.cli(DeployedLoopConfig, description=__doc__)))
