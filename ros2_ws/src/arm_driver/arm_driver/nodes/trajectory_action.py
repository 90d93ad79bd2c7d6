"""``FollowJointTrajectory`` for one arm, where ``control_msgs`` is installed (ROS from apt)."""

import itertools
import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from rclpy.action import ActionServer, CancelResponse
from rclpy.duration import Duration
from rclpy.node import Node
from rclpy.task import Future

from arm_driver.following import GOAL_TIME, GOAL_TOLERANCE, Asked, Outcome, TrajectoryFollower
from arm_driver.nodes.trajectory_commander import TrajectoryCommander
from ate_core.errors import SafetyError
from ate_core.nodes.waiting import in_thread

Array = NDArray[np.float64]

FEEDBACK_PERIOD = 0.1
"""Between two messages of feedback [s]."""
SUCCESSFUL, INVALID_GOAL = 0, -1
ERROR_CODES = {
    Outcome.ARRIVED: SUCCESSFUL,
    Outcome.OFF_PATH: -4,
    Outcome.OFF_GOAL: -5,
    Outcome.BLOCKED: -5,
}
"""Error codes of the action's result; others are an invalid goal."""


def tolerances(asked: Sequence[Any], names: Sequence[str], usual: float) -> Array:
    """Tolerances (n,) [rad] in the arm's order.

    Args:
        asked: JointTolerance messages; 0 means the usual one, a negative one any distance.
        names: joints of the arm.
        usual: where nothing is asked [rad].

    Raises:
        SafetyError: one is no number or of an unknown joint.
    """
    for entry in asked:
        if entry.name not in names or math.isnan(entry.position):
            raise SafetyError(
                f"tolerance of {entry.name!r} is {entry.position} rad; need a number for one of "
                f"{', '.join(names)}"
            )
    by_name = {entry.name: entry.position for entry in asked}
    values = np.array([by_name.get(name, 0.0) or usual for name in names], dtype=np.float64)
    return np.where(values < 0.0, np.inf, values)


class TrajectoryAction:
    """Goals of the action -> `TrajectoryCommander`; one goal at a time, a newer one replaces."""

    def __init__(
        self,
        node: Node,
        action_type: Any,
        commander: TrajectoryCommander,
        follower: TrajectoryFollower,
        names: Sequence[str],
    ) -> None:
        """Prepare.

        Args:
            node: node of the driver.
            action_type: FollowJointTrajectory.
            commander: checks and starts.
            follower: follows.
            names: joints of the arm.
        """
        self._node = node
        self._type = action_type
        self._commander = commander
        self._follower = follower
        self._names = tuple(names)
        self._numbers = itertools.count(1)
        self._goals: dict[bytes, Asked] = {}

    def connect(self, name: str) -> None:
        """Offer the action."""
        self._server = ActionServer(
            self._node,
            self._type,
            name,
            self.execute,
            handle_accepted_callback=self.accepted,
            cancel_callback=self.cancel,
        )

    def accepted(self, handle: Any) -> None:
        """Note when a goal came: what ends motions from now on ends it, wherever it waits."""
        key = bytes(handle.goal_id.uuid)
        source = f"action {next(self._numbers)}"
        self._follower.cancel("replaced by a newer goal", self._action_source())
        self._goals[key] = self._follower.ask(source)
        handle.execute()

    def cancel(self, handle: Any) -> CancelResponse:
        """Cancel a goal: the arm brakes and holds."""
        asked = self._goals.get(bytes(handle.goal_id.uuid))
        if asked is not None:
            self._follower.cancel("cancelled by the action's client", asked.source)
        return CancelResponse.ACCEPT

    async def execute(self, handle: Any) -> Any:
        """Follow one goal to its end; runs in the executor and waits without keeping it."""
        goal, key = handle.request, bytes(handle.goal_id.uuid)
        asked = self._goals[key]
        ended = Future(executor=self._node.executor)

        def on_end(outcome: Outcome, reason: str) -> None:
            ended.set_result((outcome, reason))
            if self._node.executor is not None:
                self._node.executor.wake()

        try:
            options = self._options(goal, on_end)
            refusal = await in_thread(
                self._node, lambda: self._commander.accept(goal.trajectory, asked, **options)
            )
            if refusal:
                return self._result(handle, None, refusal)
            timer = self._node.create_timer(FEEDBACK_PERIOD, lambda: self._feedback(handle))
            outcome, reason = await ended
            self._node.destroy_timer(timer)
            return self._result(handle, outcome, reason)
        except SafetyError as error:
            return self._result(handle, None, str(error))
        finally:
            del self._goals[key]

    def _options(self, goal: Any, on_end: Callable[[Outcome, str], None]) -> dict[str, Any]:
        """Tolerances and end of a `Request`.

        Raises:
            SafetyError: a tolerance is no number or of an unknown joint.
        """
        path = tolerances(goal.path_tolerance, self._names, -1.0)
        late = goal.goal_time_tolerance.sec + goal.goal_time_tolerance.nanosec / 1e9
        return {
            "path_tolerance": path if np.any(np.isfinite(path)) else None,
            "goal_tolerance": tolerances(goal.goal_tolerance, self._names, GOAL_TOLERANCE),
            "goal_time": late if late > 0.0 else GOAL_TIME,
            "on_end": on_end,
        }

    def _action_source(self) -> str:
        """Source that is followed, if it is a goal of this action; else one that nobody has."""
        source = self._follower.source
        ours = {asked.source for asked in self._goals.values()}
        return source if source in ours else "no goal"

    def _result(self, handle: Any, outcome: Outcome | None, reason: str) -> Any:
        if outcome is Outcome.ARRIVED:
            handle.succeed()
        elif handle.is_cancel_requested:
            handle.canceled()
        else:
            handle.abort()
        result = self._type.Result()
        result.error_code = INVALID_GOAL if outcome is None else ERROR_CODES.get(outcome, -1)
        result.error_string = reason
        return result

    def _feedback(self, handle: Any) -> None:
        progress = self._follower.progress
        if progress is None:
            return
        message = self._type.Feedback()
        message.header.stamp = self._node.get_clock().now().to_msg()
        message.joint_names = list(self._names)
        message.desired.positions = progress.desired.tolist()
        message.actual.positions = progress.actual.tolist()
        message.error.positions = (progress.desired - progress.actual).tolist()
        elapsed = Duration(nanoseconds=int(progress.elapsed * 1e9)).to_msg()
        for point in (message.desired, message.actual, message.error):
            point.time_from_start = elapsed
        handle.publish_feedback(message)
