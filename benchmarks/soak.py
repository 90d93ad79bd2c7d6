"""Run the simulated cell for minutes, both operators working, and look for what wears out.

    python -m benchmarks.soak --minutes 10
    python -m benchmarks.soak --minutes 0.5 --json soak.json

Starts what `ate launch ate_teleop dual_operator.launch.py hardware:=sim` starts: both scripted
operators move the arms, episodes are recorded. Printed are CPU, memory, descriptors and threads of
every process, drops and periods of the topics, missed ticks, new starts and warnings. The exit
code is 1 when something grows, dies, or drops more than the bounds that stand before the run.
"""

import json
import re
import time
from collections import Counter
from dataclasses import asdict, dataclass, field
from pathlib import Path

import tyro

from benchmarks.live_cell import TELEOP, LaunchedCell, own_surroundings, write_cell
from benchmarks.soak_processes import ProcessBounds, ProcessReport, ProcessWatch
from benchmarks.soak_topics import TopicReport, TopicWatch

STATS = re.compile(
    r"\[(\w+)\].* (\d+) ticks at \d+ Hz: period median [\d.]+ ms, p99 ([\d.]+) ms, (\d+) missed"
)
"""What a node tells of its loop when it ends."""
LEVELS = re.compile(r"^\[(\w+)\] .*\b(WARN|ERROR|FATAL)")
"""A process and the level of one of its lines."""
EPISODE = re.compile(r"episode \d+ of \d+, seed \d+: (kept|not kept)")


@dataclass(frozen=True, kw_only=True)
class SoakConfig:
    """How long, and in which cell."""

    minutes: float = 10.0
    """Length of the measurement, after the cell is ready and records [min]."""
    cell: Path | None = None
    """cell.yaml; None: the packaged one, on addresses of its own."""
    task: str = "cook_bun"
    """Task of the scripted operators; in this one both arms move."""
    small: bool = False
    """Few and small pictures, for a busy machine."""
    warm_up: float = 0.2
    """Share of the time that is not judged: caches fill, threads start."""
    json: Path | None = None
    """File for everything measured."""
    bounds: ProcessBounds = field(default_factory=ProcessBounds)
    """What counts as growth."""
    most_drops: float = 0.001
    """Share of messages of a topic that may be lost."""

    def __post_init__(self) -> None:
        if not self.minutes > 0.0:
            raise ValueError(f"minutes is {self.minutes}; need more than 0")


@dataclass(frozen=True, kw_only=True)
class SoakReport:
    """Everything measured."""

    seconds: float
    """Length [s]."""
    processes: list[ProcessReport]
    """One for each process."""
    topics: list[TopicReport]
    """One for each topic."""
    loops: dict[str, dict[str, float]]
    """Loop of each node as it told at its end: ticks, p99_ms, missed."""
    warnings: dict[str, int]
    """Lines of warning or worse per process, between ready and the end."""
    restarts: list[str]
    """What the launch said of processes that ended."""
    episodes: dict[str, int]
    """Episodes kept and not kept."""
    bad: list[str]
    """Why the exit code is 1."""


def main(config: SoakConfig) -> int:
    """Run and print; 1 when something grows, dies or drops too much."""
    with own_surroundings() as folder:
        report = soak(config, folder)
    show(report)
    if config.json is not None:
        config.json.write_text(json.dumps(asdict(report), indent=1))
    return int(bool(report.bad))


def soak(config: SoakConfig, folder: Path) -> SoakReport:
    """Run the cell and measure it."""
    cell_file = config.cell or write_cell(folder, 0, small=config.small)
    words = [*TELEOP, f"task:={config.task}", "episodes:=100000", f"output:={folder / 'bags'}"]
    cell = LaunchedCell(folder, cell_file.resolve(), words)
    try:
        cell.wait_for(lambda: "READY" in cell.log(), "READY", 90)
        cell.wait_for(lambda: "recording episode_" in cell.log(), "recording", 90)
        begin, said = time.monotonic(), len(cell.log())
        end = begin + 60.0 * config.minutes
        processes = ProcessWatch(cell)
        with TopicWatch(cell.cell) as topics:
            while time.monotonic() < end and cell.process.poll() is None:
                processes.look()
                time.sleep(processes.pause(60.0 * config.minutes))
        died = cell.process.poll() is not None
        seconds = time.monotonic() - begin
        told = cell.log()[said:]
        if not died:
            cell.interrupt()
        return _report(config, seconds, processes, topics, told, cell.log()[said:], died)
    finally:
        cell.kill()


def _report(
    config: SoakConfig,
    seconds: float,
    processes: ProcessWatch,
    topics: TopicWatch,
    told: str,
    ending: str,
    died: bool,
) -> SoakReport:
    restarts = [
        line
        for line in told.splitlines()
        if "starting it again" in line or "started again" in line
    ]
    of_processes = processes.reports(config.bounds, config.warm_up)
    of_topics = topics.reports(config.most_drops)
    bad = [f"{one.name}: {one.verdict}" for one in of_processes if one.verdict != "stable"]
    bad += [f"{one.name}: {one.verdict}" for one in of_topics if one.verdict != "complete"]
    bad += restarts
    if died:
        bad.append("the launch ended")
    levels = (match.group(1) for match in map(LEVELS.match, told.splitlines()) if match)
    return SoakReport(
        seconds=seconds,
        processes=of_processes,
        topics=of_topics,
        loops={
            name: {"ticks": float(ticks), "p99_ms": float(p99), "missed": float(missed)}
            for name, ticks, p99, missed in STATS.findall(ending)
        },
        warnings=dict(Counter(levels)),
        restarts=restarts,
        episodes=dict(Counter(EPISODE.findall(told))),
        bad=bad,
    )


def show(report: SoakReport) -> None:
    """Print the tables and the verdict."""
    print(f"{report.seconds:.0f} s; episodes: {report.episodes or 'none finished'}\n")
    print(ProcessReport.HEADER)
    for process in report.processes:
        print(process.line())
    print(f"\n{TopicReport.HEADER}")
    for topic in report.topics:
        print(topic.line())
    print(f"\n{'loop of':24} {'ticks':>8} {'p99 [ms]':>9} {'missed':>7}")
    for name, loop in report.loops.items():
        print(f"{name:24} {loop['ticks']:8.0f} {loop['p99_ms']:9.1f} {loop['missed']:7.0f}")
    print(f"\nwarnings and errors: {report.warnings or 'none'}")
    print(f"started again: {len(report.restarts)}")
    print("verdict: " + ("; ".join(report.bad) if report.bad else "nothing grows, dies or drops"))


if __name__ == "__main__":
    raise SystemExit(main(tyro.cli(SoakConfig)))
