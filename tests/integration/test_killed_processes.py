"""Killing or stalling one process in motion: the arms stop, and nothing jumps afterwards.

A few processes here; `python benchmarks/kill_matrix.py` takes them all.
"""

import json
import os
import signal
import threading
import time
from pathlib import Path

import numpy as np
import pytest

pytestmark = [pytest.mark.ros, pytest.mark.slow, pytest.mark.timeout(240)]

TELEOP = ("ate_teleop", "dual_operator.launch.py")
REST_SPEED = 0.05
"""Joint speed below which an arm counts as at rest [rad/s]."""
STRIDE = 4
"""Looks between two joints of which a speed is made: one alone is mostly noise of the clock."""
BOUND = 0.2
"""An arm without its command path is at rest after so long [s]."""
SLACK = 0.1
"""What a busy machine may add: trace, signal and process switches [s]."""

LEFT, BOTH, NONE = ("left",), ("left", "right"), ()
MATRIX = {
    "operator": (("ate_teleop.nodes.operator_node", "__ns:=/left"), LEFT),
    "arm driver": (("realman_driver.nodes.driver_node", "__ns:=/left"), LEFT),
    "arm emulator": (("realman_driver.emulator", "left"), LEFT),
    "gripper driver": (("omnipicker_driver.nodes.gripper_node", "__ns:=/left"), NONE),
    "gripper emulator": (("omnipicker_driver.emulator", "left"), NONE),
    "renderer": (("ate_sim.realtime.renderer",), NONE),
    "scene": (("ate_sim.nodes.scene_node",), NONE),
    "recorder": (("ate_recorder.nodes.recorder_node",), NONE),
    "camera": (("realsense_camera.nodes.camera_node", "__node:=camera_overhead"), NONE),
    "estop": (("cell_monitor.nodes.estop_node",), NONE),
    "monitor": (("cell_monitor.nodes.monitor_node",), NONE),
}
"""Process -> words of its command line, and the arms whose commands pass through it."""
ALL = [(name, number) for name in MATRIX for number in ("SIGKILL", "SIGSTOP")]
SHORT = [("operator", "SIGSTOP"), ("arm driver", "SIGSTOP"), ("renderer", "SIGKILL")]
CASES = ALL if os.environ.get("ATE_KILL_MATRIX") else SHORT


class Trace(threading.Thread):
    """True joints of both arms at about 200 Hz."""

    def __init__(self, block):
        super().__init__(daemon=True)
        self._block, self._ended = block, threading.Event()
        self.rows = []

    def run(self):
        while not self._ended.wait(0.005):
            record = self._block.read()
            if not self.rows or record["time_ns"] != self.rows[-1][0]:
                joints = (record["left_q"].copy(), record["right_q"].copy())
                self.rows.append((int(record["time_ns"]), float(record["sim_time"]), *joints))

    def speeds(self, side):
        """Times [s, monotonic] and largest joint speeds over four looks [rad/s], world's time."""
        rows = list(self.rows)
        times = np.array([row[0] for row in rows]) * 1e-9
        seconds = np.array([row[1] for row in rows])
        joints = np.array([row[3 if side == "right" else 2] for row in rows])
        moved = np.abs(joints[STRIDE:] - joints[:-STRIDE]).max(axis=1)
        return times[STRIDE // 2 : -STRIDE // 2], moved / (seconds[STRIDE:] - seconds[:-STRIDE])

    def end(self):
        self._ended.set()
        self.join()


def moving(trace, side):
    """Whether an arm moves well in the newest looks."""
    if len(trace.rows) < 40:
        return False
    return trace.speeds(side)[1][-20:].min() > 0.15


def rest_after(trace, side, begin):
    """Time from an event until the arm is at rest and stays so for a second [s]."""
    times, speeds = trace.speeds(side)
    fast = times[(times > begin) & (times < begin + 1.0) & (speeds > REST_SPEED)]
    return float(fast[-1] - begin) if len(fast) else 0.0


def after(trace, side, begin):
    """Largest joint speed of an arm after an event [rad/s]."""
    times, speeds = trace.speeds(side)
    return float(speeds[times > begin + BOUND].max(initial=0.0))


@pytest.mark.parametrize(("name", "number"), CASES)
def test_one_process_fails_in_motion(name, number, launch_cell, tmp_path):
    words, stopped = MATRIX[name]
    cell = launch_cell(*TELEOP, "task:=cook_bun", "episodes:=2", f"output:={tmp_path / 'bags'}")
    world = cell.world()
    cell.wait_for(lambda: "READY" in cell.log(), "READY", 90)
    cell.wait_for(lambda: "recording episode_000000" in cell.log(), "recording", 90)
    victim = cell.find(*words)
    trace = Trace(world)
    trace.start()
    watched = stopped or LEFT
    cell.wait_for(lambda: all(moving(trace, side) for side in watched[:1]), "motion", 60)
    begin = time.monotonic()
    victim.send_signal(getattr(signal, number))
    cell.wait_for(lambda: time.monotonic() > begin + 1.2, "a moment")
    if number == "SIGSTOP" and victim.is_running():
        victim.send_signal(signal.SIGCONT)
    else:
        cell.wait_for(lambda: "was killed by SIGKILL" in cell.log(), "the ending told", 20)
    cell.wait_for(lambda: time.monotonic() > begin + 4.0, "what follows")
    trace.end()
    rests = {side: rest_after(trace, side, begin) for side in stopped}
    fastest = max(after(trace, side, begin) for side in watched)
    report(name, number, rests, fastest)
    assert all(rest < BOUND + SLACK for rest in rests.values()), rests
    assert fastest < 1.5 * cell.cell.safety.max_joint_speed, "nothing jumps on return"
    if "killed by" in cell.log():
        assert "starting it again" in cell.log()
    assert cell.interrupt() < 8.0


def report(name, number, rests, fastest):
    """Keep what was measured, for the table of the whole matrix."""
    file = os.environ.get("ATE_KILL_REPORT")
    if file:
        line = {"process": name, "signal": number, "rest_s": rests, "fastest": fastest}
        with Path(file).open("a") as out:
            out.write(json.dumps(line) + "\n")
