"""Way-points of both tools, with minimum-jerk motion between them."""

import math
from bisect import bisect_right
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ate_core.contract import Side
from ate_core.geometry import interpolate_pose, rotation_exp, rotation_log, transform

Array = NDArray[np.float64]

TOOL_DOWN = np.diag([-1.0, 1.0, -1.0])
"""Tool z down and fingers moving along y of the world, as at the home posture."""

GRIP_TIME = 0.4
"""Time in which an expert's fingers close or open [s]."""
DWELL = 0.25
"""Rest before and after a grasp [s]: the arm of a teleoperated cell lags by about 0.15 s."""
_SHORTEST_MOVE = 0.3  # at pace 1 [s]
_PEAK = 10.0 / math.sqrt(3.0)  # largest acceleration of a minimum-jerk move, d = T = 1


@dataclass(frozen=True, kw_only=True)
class ExpertConfig:
    """How an expert moves."""

    pace: float = 0.7
    """Factor on all motion times; 1 is relaxed."""
    aim_noise: float = 0.0
    """Standard deviation of the aim per axis at every grasp [m]; 0.003 looks human."""
    speed: float = 0.16
    """Mean speed of the tool at pace 1 [m/s]; at pace 0.7 joints stay below 2 rad/s."""
    acceleration: float = 0.9
    """Largest acceleration of the tool at pace 1 [m/s2]; at pace 0.7 joints stay below 10 rad/s2,
    with room to the safety limit of 15: beyond it the arm overshoots."""
    turning_speed: float = 0.65
    """Mean turning speed of the tool at pace 1 [rad/s]."""
    turning_acceleration: float = 4.0
    """Largest turning acceleration of the tool at pace 1 [rad/s2]."""


@dataclass(frozen=True, kw_only=True)
class Segment:
    """A move of one tool from one pose and opening to the next."""

    start: float
    """[s]"""
    end: float
    """[s]"""
    poses: tuple[Array, Array]
    """Tool to world at both ends, each (4, 4)."""
    openings: tuple[float, float]
    """Gripper ratio at both ends."""


def minimum_jerk(fraction: float) -> float:
    """Progress 0..1 of a minimum-jerk move (Flash and Hogan, 1985)."""
    s = min(max(fraction, 0.0), 1.0)
    return s**3 * (10.0 - 15.0 * s + 6.0 * s**2)


def tool_down(position: ArrayLike, yaw: float = 0.0) -> Array:
    """Tool pose (4, 4) pointing down; at yaw 0 the fingers move along y of the world."""
    return transform(rotation_exp([0.0, 0.0, yaw]) @ TOOL_DOWN, position)


class SidePlan:
    """The way-points of one arm, written in order."""

    def __init__(self, start_pose: Array, config: ExpertConfig, rng: np.random.Generator) -> None:
        self.time = 0.0
        """End of what is planned so far [s]."""
        self.segments: list[Segment] = []
        self._config = config
        self._rng = rng
        self._home = start_pose
        self._pose = start_pose
        self._opening = 1.0

    def move(self, pose: Array) -> None:
        """Go straight to a tool pose (4, 4)."""
        distance = float(np.linalg.norm(pose[:3, 3] - self._pose[:3, 3]))
        angle = float(np.linalg.norm(rotation_log(pose[:3, :3] @ self._pose[:3, :3].T)))
        config = self._config
        duration = max(
            distance / config.speed,
            math.sqrt(_PEAK * distance / config.acceleration),
            angle / config.turning_speed,
            math.sqrt(_PEAK * angle / config.turning_acceleration),
            _SHORTEST_MOVE,
        )
        self._append(duration * self._config.pace, pose, self._opening)

    def wait(self, duration: float) -> None:
        """Rest [s], whatever the pace."""
        self._append(duration, self._pose, self._opening)

    def wait_until(self, time: float) -> None:
        """Rest until ``time`` [s] of the plan."""
        if time > self.time:
            self.wait(time - self.time)

    def grip(self, opening: float) -> None:
        """Rest, then move the fingers, then rest."""
        self.wait(DWELL)
        self._append(GRIP_TIME, self._pose, opening)
        self.wait(DWELL + 0.05 if opening < 0.5 else DWELL / 2)

    def lift_to(self, height: float) -> None:
        """Go straight up or down to ``height`` of the tool [m]."""
        pose = self._pose.copy()
        pose[2, 3] = height
        self.move(pose)

    def pick(
        self, point: ArrayLike, *, height: float, yaw: float = 0.0, lift: float = 0.1
    ) -> None:
        """Come from above, grasp at ``point`` (2,) and lift.

        Args:
            point: x and y in the world [m].
            height: of the tool at the grasp [m].
            yaw: of the tool [rad].
            lift: way up afterwards [m].
        """
        noise = self._rng.normal(0.0, 1.0, 3) * self._config.aim_noise
        x, y = np.asarray(point, dtype=np.float64) + noise[:2]
        low = height + max(noise[2], -0.004)  # an operator sees the table
        self.move(tool_down([x, y, height + lift], yaw))
        self.move(tool_down([x, y, low], yaw))
        self.grip(0.0)
        self.lift_to(height + lift)

    def place(
        self, point: ArrayLike, *, height: float, yaw: float = 0.0, clearance: float = 0.1
    ) -> None:
        """Carry to ``point`` (2,), put down with the tool at ``height``, let go and rise."""
        x, y = np.asarray(point, dtype=np.float64)
        self.move(tool_down([x, y, height + clearance], yaw))
        self.move(tool_down([x, y, height], yaw))
        self.grip(1.0)
        self.lift_to(height + clearance)

    def home(self) -> None:
        """Return to where the plan began."""
        self.move(self._home)

    def target(self, time: float) -> tuple[Array, float]:
        """Tool pose (4, 4) in the world and gripper ratio at ``time`` [s]."""
        if not self.segments:
            return self._home, 1.0
        index = bisect_right(self.segments, time, key=lambda segment: segment.start) - 1
        segment = self.segments[max(index, 0)]
        fraction = (time - segment.start) / (segment.end - segment.start)
        before, after = segment.openings
        opening = before + (after - before) * min(max(fraction, 0.0), 1.0)
        first, last = segment.poses
        if first is last or fraction >= 1.0:
            return last, opening
        return interpolate_pose(first, last, minimum_jerk(fraction)), opening

    def _append(self, duration: float, pose: Array, opening: float) -> None:
        self.segments.append(
            Segment(
                start=self.time,
                end=self.time + duration,
                poses=(self._pose, pose),
                openings=(self._opening, opening),
            )
        )
        self.time += duration
        self._pose, self._opening = pose, opening


class Plan:
    """The way-points of both arms."""

    def __init__(self, left: SidePlan, right: SidePlan) -> None:
        self._sides: dict[Side, SidePlan] = {"left": left, "right": right}

    def side(self, side: Side) -> SidePlan:
        """The plan of one arm."""
        return self._sides[side]

    def synchronise(self) -> None:
        """Let the arm that is ahead wait for the other."""
        time = max(side.time for side in self._sides.values())
        for side in self._sides.values():
            side.wait_until(time)
