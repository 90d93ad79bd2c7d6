"""`ate benchmark`: how fast a policy is on this machine, and how punctual the loop beside it."""

import contextlib
import json
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import simplejpeg
import torch

from ate_core.contract import Cell, parse_cell_text
from ate_core.errors import UsageError
from ate_core.loop import FixedRateLoop, LoopStats
from ate_core.observation import Observation
from ate_core.priority import CONTROL, set_niceness
from ate_policy.chunk_check import ChunkLimits, ChunkRefusal
from ate_policy.chunking import ActionQueue, ChunkingConfig, usual_execute
from ate_policy.loading import Precision
from ate_policy.pace import expected_rate
from ate_policy.policy import Policy, load_policy
from ate_policy.run_report import RunMeter, RunReport
from ate_policy.runtime import PolicyRuntime

WARM_UP = 3
"""Repetitions of a stage that do not count."""


@dataclass(frozen=True, kw_only=True)
class BenchmarkConfig:
    """Time a policy stage by stage, then run it at its tick rate beside a bare sleep loop."""

    checkpoint: Path
    """Checkpoint or run folder."""
    device: str = "auto"
    """Where the network runs: auto, cpu, cuda, cuda:1."""
    precision: Precision = "auto"
    """What it computes in."""
    repeats: int = 20
    """Repetitions of each stage."""
    seconds: float = 10.0
    """How long both loops run [s]."""

    def __post_init__(self) -> None:
        if self.repeats < 1 or not 0.0 < self.seconds <= 3600.0:
            raise UsageError(
                f"repeats is {self.repeats} and seconds {self.seconds:g}: need 1 or more and "
                "above 0, 3600 at most"
            )


def benchmark(config: BenchmarkConfig) -> int:
    """Print the stages, the budget, both loops and the run in one sentence."""
    torch.set_num_threads(1)
    policy = load_policy(config.checkpoint, None, config.device, config.precision)
    cell = parse_cell_text(policy.contract)
    execute = usual_execute(cell.tick_rate, policy.horizon)
    print(f"{policy.kind} on {policy.device}, {policy.horizon} actions per chunk")
    total = 0.0
    for name, seconds in stage_times(policy, cell, config.repeats).items():
        median, p99 = 1e3 * np.median(seconds), 1e3 * np.percentile(seconds, 99)
        print(f"  {name:18} {median:8.2f} ms  (p99 {p99:.2f} ms)")
        total += 1e-3 * p99
    budget = (policy.horizon - execute) / cell.tick_rate
    rate = expected_rate(total, execute, policy.horizon, cell.tick_rate)
    print(
        f"budget at {cell.tick_rate:g} Hz: {1e3 * total:.1f} of {1e3 * budget:.0f} ms "
        f"({100.0 * total / max(budget, 1e-9):.0f} %), about {rate:.1f} of {cell.tick_rate:g} "
        "actions per second"
    )
    report, bare = run_beside(policy, cell, config.seconds)
    ours = report.loop
    print(f"bare loop, same window: {bare.sentence()}")
    print(
        f"period p99: {ours.p99_ms:.2f} ms against {bare.p99_ms:.2f} ms of the bare loop, "
        f"{ours.p99_ms - bare.p99_ms:+.2f} ms"
    )
    print(report.sentence())
    return 0


def stage_times(policy: Policy, cell: Cell, repeats: int) -> dict[str, list[float]]:
    """Durations of each stage from pictures to a checked chunk, by its name [s].

    Args:
        policy: which is timed.
        cell: for which it was trained.
        repeats: durations per stage.
    """
    instruction = policy.only_instruction or ""
    seen = policy.blank_observation(instruction)
    chunk, limits = policy.infer(seen, 0), ChunkLimits.of_cell(cell)
    prepared = _repeat(lambda: policy.prepare(seen), repeats)
    inferred = _repeat(lambda: policy.infer(seen, 0), repeats)
    stages: dict[str, list[float]] = {}
    if policy.config.cameras:
        pictures = list(_pictures(policy, cell))
        stages["decode pictures"] = _repeat(lambda: [policy.decode(p) for p in pictures], repeats)
    stages["fit and normalise"] = prepared
    stages["network"] = [
        max(whole - part, 0.0) for whole, part in zip(inferred, prepared, strict=True)
    ]
    stages["check chunk"] = _repeat(lambda: _check(limits, chunk, seen), repeats)
    return stages


def run_beside(policy: Policy, cell: Cell, seconds: float) -> tuple[RunReport, LoopStats]:
    """Run a policy at the tick rate in the same window as a bare loop in another process.

    Args:
        policy: which is run; what it is shown stands still, and its chunks are not checked.
        cell: for which it was trained.
        seconds: how long [s].
    """
    size = policy.config.action_size
    free = ChunkLimits(
        lower=np.full(size, -np.inf),
        upper=np.full(size, np.inf),
        step=np.full(size, np.finfo(np.float64).max),
        names=cell.layout.action.names,
    )
    queue = ActionQueue(ChunkingConfig(execute=usual_execute(cell.tick_rate, policy.horizon)))
    seen = policy.blank_observation(policy.only_instruction or "")
    runtime, meter, stop = (
        PolicyRuntime(policy.infer, free, queue),
        RunMeter(free),
        threading.Event(),
    )
    loop = FixedRateLoop(cell.tick_rate, stop)
    words = ["--rate", f"{cell.tick_rate:g}", "--seconds", f"{seconds:g}"]
    other = subprocess.Popen(
        [sys.executable, "-m", "ate_policy.bare_loop", *words], stdout=subprocess.PIPE, text=True
    )
    set_niceness(CONTROL)
    try:
        begin = time.monotonic()
        for tick, _ in enumerate(loop):
            meter.note(runtime.tick(tick, lambda: seen), tick, runtime.observed)
            if time.monotonic() - begin >= seconds:
                stop.set()
        woken = json.loads(other.communicate(timeout=seconds + 30.0)[0])
    finally:
        runtime.close()
        other.kill()
        other.wait()
    report = RunReport(loop=loop.stats(), runtime=runtime.stats(tick), measures=meter.measures())
    return report, LoopStats.of_times(woken, 1e3 / cell.tick_rate)


def _repeat(run: Callable[[], object], repeats: int) -> list[float]:
    durations = []
    for _ in range(WARM_UP + repeats):
        begin = time.perf_counter()
        run()
        durations.append(time.perf_counter() - begin)
    return durations[WARM_UP:]


def _check(limits: ChunkLimits, chunk: np.ndarray, seen: Observation) -> None:
    with contextlib.suppress(ChunkRefusal):  # of what was made up: only the time counts
        limits.check(chunk, np.asarray(seen.state))


def _pictures(policy: Policy, cell: Cell) -> Iterator[bytes]:
    """A JPEG of noise per camera that the policy reads, as large as the camera's."""
    random = np.random.default_rng(0)
    for camera in cell.cameras.values():
        if camera.key in policy.config.cameras:
            size = (camera.height, camera.width, 3)
            yield simplejpeg.encode_jpeg(random.integers(0, 255, size, np.uint8))
