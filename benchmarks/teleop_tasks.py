"""Let scripted operators do every task of the simulated cell through the whole live path.

    python -m benchmarks.teleop_tasks                                 # 100 episodes of each task
    python -m benchmarks.teleop_tasks --tasks cook_bun --episodes 20
    python -m benchmarks.teleop_tasks --json tasks.jsonl              # goes on where it stopped

Each episode goes from the emulated headsets and Joy-Cons through operator nodes, arm drivers and
their clients to the world, and is recorded. It counts where the task succeeded and the episode was
kept. Printed are successes with a Wilson interval of 95 %, attempts that were set aside and begun
again by the people themselves, and seconds. The exit code is 1 where a task falls below the bound.
"""

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import tyro
from scipy.stats import binomtest

from ate_sim.tasks import TASKS
from benchmarks.live_cell import TELEOP, LaunchedCell, own_surroundings, write_cell

PATIENCE = 120.0
"""Longest time for one episode [s]."""


@dataclass(frozen=True, kw_only=True)
class TasksConfig:
    """Which tasks, and how often."""

    tasks: tuple[str, ...] = tuple(sorted(TASKS.names()))
    """Names of the tasks."""
    episodes: int = 100
    """Seeds 0, 1, ... of each."""
    at_once: int = 20
    """Episodes in one launch."""
    bound: float = 0.95
    """Smallest share of successes."""
    small: bool = False
    """Few and small pictures, for a busy machine."""
    json: Path | None = None
    """File of the episodes, one line each; those that are there are not done again. The log of a
    launch with a failure is kept beside it."""
    bags: Path | None = None
    """Folder that keeps the bags of each launch, in one of their own; None: none is kept."""


def main(config: TasksConfig) -> int:
    """Run and print; 1 when a task stays below the bound."""
    rows = _read(config.json)
    below = []
    print(f"{'task':14} {'kept':>9} {'of 95 % [%]':>14} {'regrips':>8} {'seconds':>8}")
    for task in config.tasks:
        for row in _missing(task, rows, config):
            rows.append(row)
            if config.json is not None:
                with config.json.open("a") as file:
                    file.write(json.dumps(row) + "\n")
        mine = [row for row in rows if row["task"] == task and row["seed"] < config.episodes]
        print(line(task, mine, config.episodes), flush=True)
        if sum(map(_counts, mine)) < config.bound * config.episodes:
            below.append(task)
    return int(bool(below))


def line(task: str, rows: list[dict[str, Any]], episodes: int) -> str:
    """One task for people; an episode that never ended counts as failed."""
    kept = sum(map(_counts, rows))
    low, high = binomtest(kept, episodes).proportion_ci(method="wilson")
    seconds = np.median([row["total_s"] for row in rows]) if rows else np.nan
    regrips = sum(row["regrips"] for row in rows)
    resets = sum(row.get("resets", 0) for row in rows)  # older files tell none
    cleared = f"  {resets} arms cleared and enabled" if resets else ""
    failed = "".join(
        f"\n    seed {row['seed']}: {row['reason'] or 'not kept'}"
        for row in rows
        if not _counts(row)
    )
    interval = f"{100 * low:.1f} - {100 * high:.1f}"
    told = f"{task:14} {kept:4} / {episodes:<4} {interval:>12} {regrips:8} {seconds:8.1f}"
    return told + cleared + failed


def _counts(row: dict[str, Any]) -> bool:
    return bool(row["success"] and row["kept"])


def _read(file: Path | None) -> list[dict[str, Any]]:
    if file is None or not file.exists():
        return []
    return [json.loads(text) for text in file.read_text().splitlines()]


def _missing(
    task: str, rows: list[dict[str, Any]], config: TasksConfig
) -> Iterator[dict[str, Any]]:
    """Run the seeds of a task that have no row yet, some in each launch."""
    first = 1 + max((row["seed"] for row in rows if row["task"] == task), default=-1)
    while first < config.episodes:
        count = min(config.at_once, config.episodes - first)
        kept = None if config.bags is None else config.bags / f"{task}_{first}"
        done, told = _launch(task, first, count, small=config.small, bags=kept)
        if config.json is not None and not all(map(_counts, done)):
            config.json.with_name(f"{config.json.stem}_{task}_{first}.log").write_text(told)
        yield from done
        if len(done) < count:
            raise SystemExit(f"{task}: the launch ended at seed {first + len(done)}")
        first += count


def _launch(
    task: str, first: int, count: int, *, small: bool, bags: Path | None
) -> tuple[list[dict[str, Any]], str]:
    """Episodes of one launch, and its log; bags go to a folder or nowhere."""
    with own_surroundings() as folder:
        file, report = write_cell(folder, 0, small=small), folder / "report.jsonl"
        words = [*TELEOP, f"task:={task}", f"seed:={first}", f"episodes:={count}"]
        output = folder / "bags" if bags is None else bags.absolute()
        words += [f"output:={output}", f"report:={report}"]
        cell = LaunchedCell(folder, file, words)
        try:
            cell.process.wait(60.0 + PATIENCE * count)
        finally:
            cell.kill()
        if not report.exists():
            raise SystemExit(f"{task}: no episode\n{cell.log()[-3000:]}")
        return [json.loads(text) for text in report.read_text().splitlines()], cell.log()


if __name__ == "__main__":
    raise SystemExit(main(tyro.cli(TasksConfig)))
