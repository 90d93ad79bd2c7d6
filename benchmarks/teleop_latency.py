"""From pose to command in the launched simulated cell, per stage, and how smooth commands are.

    python -m benchmarks.teleop_latency --seconds 60

Starts what `ate launch ate_teleop dual_operator.launch.py hardware:=sim` starts: two operators at
90 Hz, three cameras, the recorder. Operators and drivers time the stages themselves, by the
monotonic clock, from the receipt of a pose to the published command and from its stamp to the next
target at the arm; printed is what they tell when they end. Then a smooth hand is played by an
emulated headset at its real rate, with jitter, through reader, loop and controller. The exit code
is 1 where a bound is exceeded.
"""

import re
import threading
import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import tyro
from numpy.typing import NDArray

from ate_core.contract import load_cell
from ate_core.geometry import rotation_exp, transform
from ate_core.stage_times import TOTAL, Summary, bounds, level
from ate_teleop.nodes.pacing import PosePacedLoop
from ate_teleop.operator import OperatorController
from ate_teleop.operator_settings import operator_settings
from benchmarks.live_cell import TELEOP, LaunchedCell, own_surroundings, write_cell
from operator_devices.joycon_report import BUTTONS, JoyConState
from operator_devices.vision_pro import VisionProConfig, VisionProReader
from operator_devices.vision_pro_emulator import HeadsetEmulator, HeadsetEmulatorConfig

Array = NDArray[np.float64]

SAID = re.compile(r"\[(\w+)\].*from (pose to command|command to target), .*? of (\d+): (.*)")
"""What operators and drivers tell of the stages when they end."""
STAGE = re.compile(r"(\w+) (-?[\d.]+)/(-?[\d.]+)")
MOST_ACCELERATION = 12.0
"""99th percentile of a smooth hand's command acceleration [rad/s2]."""
SKIPPED = 90
"""Poses in which the clutch engages and the time base settles."""


@dataclass(frozen=True, kw_only=True)
class LatencyConfig:
    """How long, and how the smooth hand is played."""

    seconds: float = 60.0
    """Length of the measurement in the launched cell, after it records [s]."""
    smooth_seconds: float = 15.0
    """Length of the smooth hand [s]."""
    small: bool = False
    """Few and small pictures, for a busy machine."""
    rate: float = 90.36
    """Poses per second that a real headset was counted to send [Hz]."""
    jitter: float = 1e-3
    """Standard deviation of their arrival [s]."""

    def __post_init__(self) -> None:
        if not self.seconds > 0.0 or not self.smooth_seconds > 2.0:
            raise ValueError(
                f"seconds is {self.seconds}, smooth_seconds {self.smooth_seconds}; "
                "need more than 0 and more than 2"
            )


@dataclass(frozen=True, kw_only=True)
class Way:
    """One way as its node told it."""

    node: str
    """Name of the process."""
    what: str
    """From what to what."""
    count: int
    """Poses or commands."""
    stages: Summary
    """Median and 99th percentile [ms]."""


def main(config: LatencyConfig) -> int:
    """Measure and print; 1 where a bound is exceeded."""
    with own_surroundings() as folder:
        ways = parse(run_cell(config, folder))
    show(ways)
    acceleration = smooth_hand(config)
    p99 = float(np.percentile(acceleration, 99)) if len(acceleration) else float("nan")
    print(f"\nsmooth hand at {config.rate} Hz with {1e3 * config.jitter:g} ms of jitter: "
          f"command acceleration p99 {p99:.1f} rad/s2 of {len(acceleration)}")  # fmt: skip
    bad = excesses(ways) + ([] if p99 < MOST_ACCELERATION else [f"acceleration {p99:.1f} rad/s2"])
    print("verdict: " + ("; ".join(bad) if bad else "within the bounds"))
    return int(bool(bad))


def run_cell(config: LatencyConfig, folder: Path) -> str:
    """What the nodes of the cell say when it has run for so long."""
    file = write_cell(folder, 0, small=config.small)
    words = [*TELEOP, "task:=cook_bun", "episodes:=100000", f"output:={folder / 'bags'}"]
    cell = LaunchedCell(folder, file.resolve(), words)
    try:
        cell.wait_for(lambda: "READY" in cell.log(), "READY", 90)
        cell.wait_for(lambda: "recording episode_" in cell.log(), "recording", 90)
        ended = threading.Event()
        ended.wait(config.seconds)
        cell.interrupt()
        return cell.log()
    finally:
        cell.kill()


def parse(log: str) -> list[Way]:
    """The ways that are told in a log."""
    return [
        Way(
            node=node,
            what=what,
            count=int(count),
            stages={name: (float(a), float(b)) for name, a, b in STAGE.findall(stages)},
        )
        for node, what, count, stages in SAID.findall(log)
    ]


def show(ways: list[Way]) -> None:
    """Print a line for each stage."""
    print(
        f"{'node':16} {'from ... to ...':20} {'stage':10} {'median':>8} {'p99 [ms]':>9} {'n':>7}"
    )
    for way in ways:
        for stage, (median, p99) in way.stages.items():
            print(f"{way.node:16} {way.what:20} {stage:10} {median:8.2f} {p99:9.2f} {way.count:7}")


def excesses(ways: list[Way]) -> list[str]:
    """What is beyond its bounds, as the cockpit's page colours it, or was not told."""
    told = []
    for way in ways:
        for stage, times in way.stages.items():
            if level(stage, way.stages, *times) != "ok":
                most = bounds(stage, way.stages)
                told.append(
                    f"{way.node}, {stage}: median {times[0]} ms, p99 {times[1]} ms; "
                    f"bounds {most[0]:g} and {most[1]:g}"
                )
    totals = sum(way.what == "pose to command" and TOTAL in way.stages for way in ways)
    return told + ([] if totals == 2 else [f"{totals} of 2 operators told their times"])


def smooth_hand(config: LatencyConfig) -> Array:
    """Accelerations of the commands of a smooth hand, largest of all joints (n,) [rad/s2]."""
    cell = load_cell(hardware="sim")
    controller = OperatorController(operator_settings(cell, "left"))
    measured = np.array(cell.arms["left"].home)
    played = HeadsetEmulatorConfig(rate=config.rate, jitter=config.jitter)
    ended, strokes = threading.Event(), list[list[Array]]()
    port, end = 24_345, time.monotonic() + config.smooth_seconds
    reader = VisionProReader(VisionProConfig(ip="127.78.0.9", port=port, hand="left"))
    with HeadsetEmulator("127.78.0.9", port, played) as headset:
        headset.set_tracked("left", True)
        headset.follow("left", circle)
        reader.start()
        used, closed = -1, True
        for tick, now_ns in enumerate(PosePacedLoop(reader, config.rate, ended, 1)):
            if now_ns * 1e-9 > end:
                break
            pressed = tuple(int(name == "l" and tick > SKIPPED) for name in BUTTONS)
            joy = JoyConState(buttons=pressed, received_ns=now_ns, session=1, live=True)
            sample = reader.latest()
            output = controller.step(sample, joy, measured, now_ns)
            is_new = sample is not None and sample.changed_ns != used
            used = -1 if sample is None else sample.changed_ns
            if output.joint_target is None:
                closed = closed or is_new
                continue
            if closed:
                strokes.append([])
            strokes[-1].append(output.joint_target)
            measured, closed = output.joint_target, False
        reader.stop()
    seconds = [np.diff(stroke, n=2, axis=0) for stroke in strokes if len(stroke) > SKIPPED]
    if not seconds:
        return np.zeros(0)
    moves: Array = np.abs(np.concatenate(seconds)).max(axis=1) * config.rate**2
    return moves


def circle(now: float) -> Array:
    """A hand on a circle of 60 mm at 80 mm/s that turns a little (4, 4), at a time [s]."""
    wrist = transform(rotation_exp([0.4, 0.1 * np.sin(now), 0.9]), [0.2, 0.4, 1.1])
    wrist[:3, 3] += 0.06 * np.array([np.cos(1.3 * now), 0.0, np.sin(1.3 * now)])
    return wrist


if __name__ == "__main__":
    raise SystemExit(main(tyro.cli(LatencyConfig, description=__doc__)))
