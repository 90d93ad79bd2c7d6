"""Trajectories of standard tools as a commander of the arm: by topic, and by action if possible.

``control_msgs`` comes with ROS from apt only; without it the action is left out and said so once.
"""

import time
from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import NDArray
from rclpy.node import Node
from trajectory_msgs.msg import JointTrajectory

from arm_driver.following import Asked, Outcome, Request, TrajectoryFollower
from arm_driver.trajectory import Trajectory, TrajectoryPoint, plan
from ate_core.contract import SafetyConfig
from ate_core.devices import ArmConfig
from ate_core.errors import SafetyError
from ate_core.nodes.command_source import CommandSources, publishers_of
from ate_core.nodes.listening import listen
from ate_core.nodes.qos import COMMAND_QOS
from ate_core.nodes.waiting import NewestOnly
from ate_core.streams import header_stamp_ns

Array = NDArray[np.float64]

COMMANDER = "trajectory"
"""Commander name of trajectories; no other publisher may use it."""
LATEST_START = 10.0
"""How far ahead a trajectory may say that it starts [s]."""
LOOK_STEP = 0.02
"""Joint motion between two postures whose distances are looked at [rad]."""

PathProblem = Callable[[Sequence[Array]], str]
"""Postures (k, n) [rad] -> why an arm must not pass them; empty when it may."""


class TrajectoryCommander:
    """Checks what arrives and hands it to the follower."""

    def __init__(
        self,
        node: Node,
        arm: ArmConfig,
        safety: SafetyConfig,
        follower: TrajectoryFollower,
        present: Callable[[], Array | None],
        path_problem: PathProblem,
    ) -> None:
        """Prepare; nothing is heard before `connect`.

        Args:
            node: node of the driver.
            arm: its joints.
            safety: limits of the cell.
            follower: what follows an accepted trajectory.
            present: where the arm is (n,) [rad]; None when that is not known.
            path_problem: looks at the distances on the way; may take its time.
        """
        self._node = node
        self._arm = arm
        self._safety = safety
        self._follower = follower
        self._present = present
        self._path_problem = path_problem
        self._checks = NewestOnly("trajectory check")
        self.told = ""
        """What became of the last trajectory."""

    def connect(self, topic: str) -> None:
        """Listen to trajectories on a topic."""
        self._sources = CommandSources(publishers_of(self._node, topic))
        listen(self._node, JointTrajectory, topic, self._take, COMMAND_QOS)

    def accept(self, message: JointTrajectory, asked: Asked, **options: object) -> str:
        """Check a trajectory and follow it; returns why not, or nothing. May take its time.

        Args:
            message: what is asked.
            asked: by whom, noted by the follower when it came.
            options: tolerances and end of `Request`.
        """
        try:
            if asked.void:
                raise SafetyError(asked.void)
            begin = self._begin(message)
            trajectory = self._plan(message, asked.source)
        except SafetyError as error:
            return self._refused(str(error))
        on_end = options.pop("on_end", None)

        def ended(outcome: Outcome, reason: str) -> None:
            self._ended(outcome, reason)
            if callable(on_end):
                on_end(outcome, reason)

        request = Request(
            trajectory=trajectory,
            begin=max(begin, time.monotonic()),
            on_end=ended,
            **options,  # type: ignore[arg-type]
        )
        self.told = f"following {trajectory.duration:.1f} s of {asked.source}"
        refusal = self._follower.start(asked, request)
        return self._refused(refusal) if refusal else ""

    def _take(self, message: JointTrajectory, info: dict[str, int | None]) -> None:
        sender = self._sources.identify(COMMANDER, info, time.monotonic())
        if sender.refusal:
            self._refused(sender.refusal)
        elif not message.points:
            self._follower.cancel("cancelled by an empty trajectory", sender.source)
        else:
            asked = self._follower.ask(sender.source)
            self._checks.do(lambda: self.accept(message, asked))

    def _begin(self, message: JointTrajectory) -> float:
        """When it starts, monotonic clock [s]."""
        stamp_ns = header_stamp_ns(message)
        now = time.monotonic()
        if stamp_ns == 0:
            return now
        ahead: float = (stamp_ns - self._node.get_clock().now().nanoseconds) / 1e9
        if not -self._safety.stamp_max_age <= ahead <= LATEST_START:
            raise SafetyError(
                f"trajectory starts {ahead:.2f} s from now, bounds "
                f"{-self._safety.stamp_max_age:g} to {LATEST_START:g} s: a stamp of 0 means now"
            )
        return now + ahead

    def _plan(self, message: JointTrajectory, source: str) -> Trajectory:
        holder = self._follower.source
        if holder and holder != source:
            raise SafetyError(f"{holder} is followed already: cancel it first")
        present = self._present()
        if present is None:
            raise SafetyError("no state of the arm to start a trajectory from")
        points = [
            TrajectoryPoint(
                time=point.time_from_start.sec + point.time_from_start.nanosec / 1e9,
                position=point.positions,
                velocity=point.velocities,
                acceleration=point.accelerations,
            )
            for point in message.points
        ]
        trajectory = plan(message.joint_names, points, self._arm, self._safety, present)
        problem = self._path_problem(list(trajectory.postures(LOOK_STEP)))
        if problem:
            raise SafetyError(problem)
        return trajectory

    def _refused(self, reason: str) -> str:
        self.told = f"refused: {reason}"
        self._node.get_logger().warning(f"trajectory {self.told}")
        return reason

    def _ended(self, outcome: Outcome, reason: str) -> None:
        self.told = f"{outcome}: {reason}" if reason else str(outcome)
        self._node.get_logger().info(f"trajectory {self.told}")
