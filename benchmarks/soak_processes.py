"""CPU, memory, descriptors and threads of every process of a launch over minutes."""

import time
from dataclasses import dataclass, field
from typing import ClassVar

import numpy as np
import psutil
from scipy import stats

from benchmarks.live_cell import LaunchedCell

MIB = 1024.0 * 1024.0
LOOKS = 120
"""Looks at each process in a run, at most one a second."""
FEWEST = 8
"""Looks from which a growth can be told."""


@dataclass(frozen=True, kw_only=True)
class ProcessBounds:
    """What counts as growth: more than chance, and more than this."""

    memory: float = 10.0
    """Slope of the resident memory [MiB/h], at the lower end of its 95 % interval."""
    memory_total: float = 1.0
    """Growth within the run below which no slope is judged [MiB]: a short run is all start."""
    descriptors: int = 2
    """Open descriptors, largest of the last third less largest of the first."""
    threads: int = 1
    """Threads, likewise."""


@dataclass(frozen=True, kw_only=True)
class ProcessReport:
    """What one process needs."""

    HEADER: ClassVar[str] = (
        f"{'process':32} {'CPU [%]':>8} {'RSS [MiB]':>10} {'slope [MiB/h]':>20} {'fds':>9} "
        f"{'threads':>9}  verdict"
    )

    name: str
    """Of the module, with its side."""
    cpu: float
    """Share of one core [%]."""
    memory: float
    """Resident at the end [MiB]."""
    slope: float
    """Of the resident memory [MiB/h]; nan with too few looks."""
    interval: float
    """Half of its 95 % interval [MiB/h]."""
    descriptors: tuple[int, int]
    """Open ones, largest of the first and of the last third."""
    threads: tuple[int, int]
    """Likewise."""
    verdict: str
    """``stable``, or what grows or that it ended."""

    def line(self) -> str:
        """For people."""
        slope = f"{self.slope:9.1f} +- {self.interval:6.1f}"
        fds, threads = ("{}-{}".format(*pair) for pair in (self.descriptors, self.threads))
        return (
            f"{self.name:32} {self.cpu:8.1f} {self.memory:10.1f} {slope:>20} {fds:>9} "
            f"{threads:>9}  {self.verdict}"
        )


@dataclass(kw_only=True)
class Series:
    """Looks at one process."""

    name: str
    """Of the process."""
    times: list[float] = field(default_factory=list)
    """Of each look [s]."""
    memory: list[float] = field(default_factory=list)
    """Resident [MiB]."""
    descriptors: list[int] = field(default_factory=list)
    """Open ones."""
    threads: list[int] = field(default_factory=list)
    """Number of them."""
    cpu: list[float] = field(default_factory=list)
    """Used since the process began [s]."""
    ended: bool = False
    """Whether it was gone at the last look."""


class ProcessWatch:
    """Looks at all processes of a launch, links and children too."""

    def __init__(self, cell: LaunchedCell) -> None:
        """Begin with the processes that run now; later ones count as new."""
        self._cell = cell
        launch = psutil.Process(cell.process.pid)
        found = [(launch, "launch"), *((one, _name(one)) for one in cell.children())]
        self._series = [(process, Series(name=name)) for process, name in found if name]

    def pause(self, length: float) -> float:
        """Time until the next look [s], in a run of a length [s]."""
        return max(length / LOOKS, 1.0)

    def look(self) -> None:
        """Note what each process needs now."""
        now = time.monotonic()
        for process, series in self._series:
            try:
                with process.oneshot():
                    if process.status() == psutil.STATUS_ZOMBIE:
                        raise psutil.NoSuchProcess(process.pid)
                    used = process.cpu_times()
                    sizes = process.memory_info().rss / MIB, process.num_threads()
                    descriptors = process.num_fds()
            except psutil.NoSuchProcess:
                series.ended = True
                continue
            series.times.append(now)
            series.cpu.append(used.user + used.system)
            series.memory.append(sizes[0])
            series.threads.append(sizes[1])
            series.descriptors.append(descriptors)

    def reports(self, bounds: ProcessBounds, warm_up: float) -> list[ProcessReport]:
        """Judge every process.

        Args:
            bounds: what counts as growth.
            warm_up: share of the looks, at the beginning, that is not judged.
        """
        return [judge(series, bounds, warm_up) for _, series in self._series if series.times]


def judge(series: Series, bounds: ProcessBounds, warm_up: float) -> ProcessReport:
    """Say what grows; arguments as those of `ProcessWatch.reports`."""
    first = int(warm_up * len(series.times))
    times, memory = np.array(series.times[first:]), np.array(series.memory[first:])
    slope, interval = _slope(times, memory)
    descriptors, threads = (_thirds(some[first:]) for some in (series.descriptors, series.threads))
    wrong = ["ended"] if series.ended else []
    grown = slope * (times[-1] - times[0]) / 3600.0
    if slope - interval > bounds.memory and grown > bounds.memory_total:
        wrong.append("memory grows")
    if descriptors[1] - descriptors[0] > bounds.descriptors:
        wrong.append("descriptors grow")
    if threads[1] - threads[0] > bounds.threads:
        wrong.append("threads grow")
    elapsed = max(series.times[-1] - series.times[0], 1e-9)
    return ProcessReport(
        name=series.name,
        cpu=100.0 * (series.cpu[-1] - series.cpu[0]) / elapsed,
        memory=series.memory[-1],
        slope=slope,
        interval=interval,
        descriptors=descriptors,
        threads=threads,
        verdict=", ".join(wrong) or "stable",
    )


def _slope(times: np.ndarray, values: np.ndarray) -> tuple[float, float]:
    """Least squares: slope per hour and half of its 95 % interval."""
    if len(times) < FEWEST:
        return float("nan"), float("nan")
    if np.ptp(values) == 0.0:
        return 0.0, 0.0
    fit = stats.linregress((times - times[0]) / 3600.0, values)
    return float(fit.slope), float(stats.t.ppf(0.975, len(times) - 2) * fit.stderr)


def _thirds(values: list[int]) -> tuple[int, int]:
    third = max(len(values) // 3, 1)
    return max(values[:third]), max(values[-third:])


def _name(process: psutil.Process) -> str:
    """Short name of a process of a launch: module and side, role or node."""
    words = [word for word in process.cmdline() if word != "ate_core.child"]
    if "-m" not in words:
        return ""
    module = words[words.index("-m") + 1]
    parts = [part for part in module.split(".") if part not in ("nodes", "realtime", "people")]
    name = parts[-1] if parts[-1] != "emulator" else f"{parts[0]} emulator"
    for word in words:
        for mark in ("__ns:=/", "role:="):
            if word.startswith(mark):
                name = f"{word.removeprefix(mark).strip(chr(34))} {name}"
    if "--side" in words:
        name = f"{words[words.index('--side') + 1]} {name}"
    return name
