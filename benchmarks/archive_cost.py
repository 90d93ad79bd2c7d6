"""What an hour of recording costs in every step, and what a second worker gains.

    python -m benchmarks.archive_cost --seconds 60
    python -m benchmarks.archive_cost --bag FOLDER   # a recorded bag in place of a made one

A bag of the real cell (three cameras of 960x540, two arms) goes through repair, conversion, audit,
validation and the exports, each step in a process of its own. Per step and recorded hour: CPU
seconds (of all threads, without the imports), peak memory, bytes written. Then the same bags are
converted by one worker and by two, in turns: the gain by the clock, and by the CPU time of the
busiest worker, which other work on the machine does not change.
"""

import functools
import json
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import tyro

from benchmarks.conversion import make_bag

HOUR_S = 3600.0
GIGA = 1e9


@dataclass(frozen=True, kw_only=True)
class CostConfig:
    """Measure the cost of each step."""

    seconds: float = 60.0
    """Length of the made bag [s]."""
    bag: Path | None = None
    """A recorded bag in its place."""
    rounds: int = 3
    """Turns of one worker and two; 0 leaves them out."""
    folder: Path | None = None
    """Where to work; a temporary folder by default."""


def main(config: CostConfig) -> None:
    """Measure and print a table."""
    with tempfile.TemporaryDirectory(dir=config.folder) as name:
        folder = Path(name)
        bag = folder / "bags" / "episode_000000"
        if config.bag is None:
            make_bag(bag, config.seconds, "real")
        else:
            shutil.copytree(config.bag, bag)
        seconds = _recorded_seconds(bag)
        hours = seconds / HOUR_S
        print(f"{seconds:.0f} s recorded; {_size(bag) / hours / GIGA:.2f} GB per hour")
        print("step                     CPU s/h  x real time  peak MB  out GB/h")
        for step, output in STEPS.items():
            used = _measured(step, folder)
            cpu, memory = used["cpu_s"] / hours, used["memory_mb"]
            written = _size(folder / output) / hours / GIGA if output else 0.0
            print(
                f"{step:<24} {cpu:7.0f} {HOUR_S / cpu:12.0f} {memory:8.0f} "
                + (f"{written:9.2f}" if output else "        -")
            )
        if config.rounds:
            _print_gain(folder, bag, config.rounds)


def _recorded_seconds(bag: Path) -> float:
    from training.data.bag_reader import read_episode_bag

    stamps = [series.stamps_ns for series in read_episode_bag(bag).series.values()]
    ends = [(times[0], times[-1]) for times in stamps if len(times)]
    return float(max(end for _, end in ends) - min(start for start, _ in ends)) / 1e9


def _size(path: Path) -> int:
    files = [path] if path.is_file() else path.rglob("*")
    return sum(file.stat().st_size for file in files if file.is_file())


def _measured(step: str, folder: Path) -> dict[str, float]:
    words = [sys.executable, "-m", "benchmarks.archive_cost", "--step", step, str(folder)]
    answer = subprocess.run(words, check=True, stdout=subprocess.PIPE, text=True).stdout
    found: dict[str, float] = json.loads(answer.splitlines()[-1])
    return found


def _repair(folder: Path) -> Callable[[], Any]:
    from training.repair import repair_bag

    cut = folder / "cut" / "episode_000000"
    shutil.copytree(folder / "bags" / "episode_000000", cut)
    (cut / "metadata.yaml").unlink()
    bag = next(cut.glob("*.mcap"))
    os.truncate(bag, bag.stat().st_size * 99 // 100)
    return functools.partial(repair_bag, cut)


def _convert(folder: Path, output: str, **options: Any) -> Callable[[], Any]:
    from training.configs.convert import ConvertConfig
    from training.convert_bags import convert

    config = ConvertConfig(bags=folder / "bags", output=folder / output, **options)
    return functools.partial(convert, config)


def _audit(folder: Path) -> Callable[[], Any]:
    from training.audit.command import AuditConfig, audit

    return functools.partial(audit, AuditConfig(bags=folder / "bags"))


def _validate(folder: Path) -> Callable[[], Any]:
    from training.validate.command import ValidateConfig, validate

    return functools.partial(validate, ValidateConfig(paths=(folder / "hdf5",)))


def _export(folder: Path, codec: Any) -> Callable[[], Any]:
    from training.export.camera_video import VideoConfig
    from training.export.lerobot import LerobotExport, export_lerobot

    config = LerobotExport(
        episodes=folder / "hdf5", output=folder / codec, video=VideoConfig(codec=codec)
    )
    return functools.partial(export_lerobot, config)


PREPARE: dict[str, Callable[[Path], Callable[[], Any]]] = {
    "repair": _repair,
    "convert": functools.partial(_convert, output="hdf5"),
    "convert, up to date": functools.partial(_convert, output="hdf5"),
    "audit": _audit,
    "validate": _validate,
    "export lerobot av1": functools.partial(_export, codec="av1"),
    "export lerobot h264": functools.partial(_export, codec="h264"),
}
"""Step -> what prepares it."""
STEPS = {
    "repair": "cut/episode_000000",
    "convert": "hdf5",
    "convert, up to date": "",
    "audit": "",
    "validate": "",
    "export lerobot av1": "av1",
    "export lerobot h264": "h264",
}
"""Step, in order -> what it writes; empty where that is nothing to speak of."""


def _run_step(step: str, folder: Path) -> None:
    """The child process whose cost is measured."""
    work = PREPARE[step](folder)
    _import_all()
    start = time.process_time()
    work()
    used = time.process_time() - start
    status = Path("/proc/self/status").read_text()
    memory = float(status.split("VmHWM:")[1].split()[0]) / 1e3
    print(json.dumps({"cpu_s": used, "memory_mb": memory}))


def _import_all() -> None:
    from training.audit.findings import flagging_rules, refusing_rules

    refusing_rules(), flagging_rules()


def _print_gain(folder: Path, bag: Path, rounds: int) -> None:
    """Convert eight copies of the bag by one worker and by two, in turns."""
    for index in range(1, 8):
        copy = folder / "bags" / f"episode_{index:06d}"
        copy.mkdir()
        for file in bag.iterdir():
            os.link(file, copy / file.name.replace("000000", f"{index:06d}"))
    found: dict[int, list[tuple[float, float]]] = {1: [], 2: []}
    for _ in range(rounds):
        for jobs, runs in found.items():
            runs.append(_convert_all(folder, jobs))
    wall, busiest = (
        statistics.median(a[i] / b[i] for a, b in zip(found[1], found[2], strict=True))
        for i in (0, 1)
    )
    print(
        f"--jobs 2 against 1, eight episodes, median of {rounds} turns: {wall:.2f}x by the clock, "
        f"{busiest:.2f}x by the CPU time of the busiest worker"
    )


def _convert_all(folder: Path, jobs: int) -> tuple[float, float]:
    """Return wall time and the CPU time of the busiest worker [s]."""
    from training.configs.convert import ConvertConfig
    from training.tasks.choose import WorkConfig

    work = WorkConfig(jobs=jobs)
    config = ConvertConfig(bags=folder / "bags", output=folder / "gain", overwrite=True)
    bags = sorted((folder / "bags").glob("episode_*"))
    start = time.perf_counter()
    workers: dict[int, float] = {}
    for done in work.run(functools.partial(convert_and_tell, config=config), bags):
        if done.result is None:
            raise RuntimeError(done.failure)
        process, used = done.result
        workers[process] = max(workers.get(process, 0.0), used)
    return time.perf_counter() - start, max(workers.values())


def convert_and_tell(folder: Path, config: Any) -> tuple[int, float]:
    """Convert one bag; return the process and what CPU time it has used so far [s]."""
    from training.convert_bags import convert_episode

    report = convert_episode(folder, config)
    if report.result != "converted":
        raise RuntimeError(report.reason)
    return os.getpid(), time.process_time()


if __name__ == "__main__":
    if sys.argv[1:2] == ["--step"]:
        _run_step(sys.argv[2], Path(sys.argv[3]))
    else:
        main(tyro.cli(CostConfig))
