"""Sound episodes of the simulated cell, as a bag would give them, without nodes or real time.

A scripted expert drives the arms of the simulated world through the drivers' safety filters. Each
stream has its rate, jitter, delay, resolution and noise. The same seed gives the same episode.
"""

import dataclasses
import json
import math

import numpy as np
import simplejpeg
from numpy.typing import NDArray

from ate_core.contract import SIDES, Cell, load_cell
from ate_core.resample import make_series
from ate_core.safety import JointCommand, SafetyFilter
from ate_sim.experts import Expert
from ate_sim.ik import ToolTracker
from ate_sim.tasks import load_task
from ate_sim.world.renderer import CellRenderer
from ate_sim.world.sim_world import SimWorld
from training.data.bag_reader import BagEpisode

START_NS = 1_700_000_000_000_000_000
PERIOD = 0.01
"""Period of an arm's driver [s]."""
LEAD = 0.5
"""Time before the first command and after the last [s]."""
WIDTH, HEIGHT = 128, 72
"""Size of the pictures [px]."""
RESOLUTION = math.radians(0.001)
"""Step of the arm's joint angles [rad]."""
WRENCH_NOISE = np.array([0.3, 0.3, 0.3, 0.02, 0.02, 0.02])
"""Noise of the force sensor, one standard deviation [N, N m]."""

Array = NDArray[np.float64]


def with_small_cameras(cell: Cell, width: int, height: int) -> Cell:
    """A cell whose cameras take pictures of another size [px]."""
    small = {
        role: dataclasses.replace(camera, width=width, height=height)
        for role, camera in cell.cameras.items()
    }
    return dataclasses.replace(cell, cameras=small)


class EpisodeMaker:
    """Makes episodes of one task.

    Args:
        task: Name of the task.
    """

    def __init__(self, task: str) -> None:
        """Build the world."""
        self.cell = with_small_cameras(load_cell(hardware="sim"), WIDTH, HEIGHT)
        self.name = task
        self._task = load_task(task)
        self._world = SimWorld(self._task, None, 0.002, self.cell)
        self._renderer = CellRenderer(self._world)

    def make(self, seed: int, seconds: float = math.inf) -> BagEpisode:
        """Play the task with the scene and the expert of a seed, at most for some time [s]."""
        self._world.reset(seed, "normal")
        expert = Expert(self._task, self._world, seed)
        tape = _Tape(np.random.default_rng(seed))
        trackers = {side: ToolTracker(self._world, side) for side in SIDES}
        filters = {side: SafetyFilter(self.cell.safety, self.cell.arms[side]) for side in SIDES}
        for side in SIDES:
            filters[side].step(0.0, self._world.arm_q(side))
        steps = round(PERIOD / self._world.timestep)
        length = min(seconds, expert.duration + 2 * LEAD)
        for tick in range(math.ceil(length / PERIOD)):
            now = tick * PERIOD
            for side in SIDES:
                if LEAD <= now <= expert.duration + LEAD:
                    pose, opening = expert.tool_target(side, now - LEAD)
                    target = trackers[side].solve(pose)
                    command = JointCommand(commander="teleop", position=target, stamp=now)
                    filters[side].submit(command, now)
                    tape.add(f"{side}_arm_command", now, target)
                    if tick % 3 == 0:
                        self._world.set_gripper_target(side, opening)
                        tape.add(f"{side}_gripper_command", now, [opening])
                output = filters[side].step(now, self._world.arm_q(side))
                if output.target is not None:
                    self._world.set_arm_target(side, output.target)
            self._world.step(steps)
            self._look(tape, tick, now)
        return tape.episode(self.cell, self.name, seed, self._world.object_names)

    def close(self) -> None:
        """Release the graphics context."""
        self._renderer.close()

    def _look(self, tape: "_Tape", tick: int, now: float) -> None:
        """Put down what the devices tell at this moment."""
        for side in SIDES:
            q = np.round(self._world.arm_q(side) / RESOLUTION) * RESOLUTION
            tape.add(f"{side}_arm_state", now, [*q, *self._world.arm_qd(side)])
            noise = tape.rng.normal(size=6) * WRENCH_NOISE
            tape.add(f"{side}_wrench", now, self._world.wrench(side) + noise)
            if tick % 2 == 0:
                tape.add(f"{side}_gripper_state", now, [self._world.gripper(side)])
        if tick % 3 == 0:
            tape.add("objects", now, self._world.object_poses())
        for number, camera in enumerate(self.cell.cameras.values()):
            # 15 Hz: every 6.67 ticks, and the cameras are not in step.
            if (tick + number) * 15 // 100 != (tick + number - 1) * 15 // 100:
                picture = self._renderer.render(camera.key, HEIGHT, WIDTH)
                jpeg = simplejpeg.encode_jpeg(np.ascontiguousarray(picture), 90, "RGB")
                tape.add(camera.key, now, jpeg)


class _Tape:
    """Collects samples with the stamps that a recorder would give them."""

    def __init__(self, rng: np.random.Generator) -> None:
        self.rng = rng
        self._samples: dict[str, list[tuple[int, int, object]]] = {}

    def add(self, stream: str, now: float, value: object) -> None:
        stamp = START_NS + round((now + self.rng.uniform(0.0, 0.002)) * 1e9)
        delay = round(self.rng.uniform(0.0005, 0.008) * 1e9)
        self._samples.setdefault(stream, []).append((stamp, stamp + delay, value))

    def episode(self, cell: Cell, task: str, seed: int, objects: tuple[str, ...]) -> BagEpisode:
        series, received, images = {}, {}, {}
        for stream, samples in self._samples.items():
            stamps = [stamp for stamp, _, _ in samples]
            received[stream] = np.array([moment for _, moment, _ in samples])
            if isinstance(samples[0][2], bytes):
                series[stream] = make_series(stamps)
                images[stream] = [value for _, _, value in samples]
            else:
                series[stream] = make_series(stamps, np.array([value for *_, value in samples]))
        arm = json.dumps({"state": "tracking", "guard": ""})
        person = json.dumps({"clutch": "engaged", "reason": "", "out_of_reach": False})
        texts = {f"{side}_arm_status": [(START_NS, arm)] for side in SIDES}
        texts |= {f"{side}_operator_status": [(START_NS, person)] for side in SIDES}
        return BagEpisode(
            cell=cell,
            info={"start_ns": START_NS, "task": task, "seed": seed},
            outcome={"outcome": "success"},
            series=series,
            received_ns=received,
            images=images,
            texts=texts,
            scene={"objects": list(objects), "task": task},
        )
