"""FollowJointTrajectory, with messages of the test's own: control_msgs comes from apt only."""

import math
import threading
from types import SimpleNamespace

import numpy as np
import pytest

pytest.importorskip("rclpy")
pytestmark = pytest.mark.ros

from builtin_interfaces.msg import Duration  # noqa: E402
from std_msgs.msg import Header  # noqa: E402
from trajectory_msgs.msg import JointTrajectory, JointTrajectoryPoint  # noqa: E402

from arm_driver.following import Outcome  # noqa: E402
from arm_driver.nodes.trajectory_action import (  # noqa: E402
    ERROR_CODES,
    TrajectoryAction,
    tolerances,
)
from ate_core.contract import load_cell  # noqa: E402

ARM = load_cell().arms["left"]
NAMES, HOME = ARM.joint_names, np.array(ARM.home)
ASIDE = np.eye(len(HOME))[0]


class Feedback:
    def __init__(self) -> None:
        self.header, self.joint_names = Header(), []
        self.desired, self.actual, self.error = (JointTrajectoryPoint() for _ in range(3))


FIELDS = {
    "Goal": {
        "trajectory": "trajectory_msgs/JointTrajectory",
        "path_tolerance": "sequence<control_msgs/JointTolerance>",
        "goal_tolerance": "sequence<control_msgs/JointTolerance>",
        "goal_time_tolerance": "builtin_interfaces/Duration",
    },
    "Result": {"error_code": "int32", "error_string": "string"},
    "Feedback": {
        "header": "std_msgs/Header",
        "joint_names": "sequence<string>",
        "desired": "trajectory_msgs/JointTrajectoryPoint",
        "actual": "trajectory_msgs/JointTrajectoryPoint",
        "error": "trajectory_msgs/JointTrajectoryPoint",
    },
}
"""Fields of ``control_msgs/action/FollowJointTrajectory`` in Jazzy that are set or read here."""
ACTION = SimpleNamespace(Result=SimpleNamespace, Feedback=Feedback)


class Handle:
    """A goal as rclpy hands it over."""

    def __init__(self, move: float, seconds: float, path=()) -> None:
        point = JointTrajectoryPoint(positions=(HOME + move * ASIDE).tolist())
        point.time_from_start = Duration(sec=int(seconds), nanosec=int(seconds % 1 * 1e9))
        self.request = SimpleNamespace(
            trajectory=JointTrajectory(joint_names=list(NAMES), points=[point]),
            path_tolerance=path,
            goal_tolerance=[],
            goal_time_tolerance=Duration(),
        )
        self.goal_id = SimpleNamespace(uuid=bytes(range(16)))
        self.is_cancel_requested = False
        self.ended, self.feedback = "", []

    def succeed(self) -> None:
        self.ended = "succeeded"

    def canceled(self) -> None:
        self.ended = "canceled"

    def abort(self) -> None:
        self.ended = "aborted"

    def publish_feedback(self, message) -> None:
        self.feedback.append(message)


@pytest.fixture
def begin(node):
    """A function that starts a goal; the task of its execution."""
    action = TrajectoryAction(node, ACTION, node._trajectories, node._follower, NAMES)

    def start(handle):
        tasks = []
        handle.execute = lambda: tasks.append(node.executor.create_task(action.execute, handle))
        action.accepted(handle)
        return tasks[0]

    start.action = action
    return start


def test_a_goal_that_is_followed_succeeds_with_feedback_on_the_way(begin, node, peer) -> None:
    handle = Handle(0.1, 0.6)
    task = begin(handle)
    assert peer.spin_until(task.done)
    assert (handle.ended, task.result().error_code) == ("succeeded", 0)
    np.testing.assert_allclose(node._backend.q, HOME + 0.1 * ASIDE, atol=1e-3)
    assert len(handle.feedback) >= 3
    assert handle.feedback[-1].joint_names == list(NAMES)


def test_a_goal_that_cannot_be_followed_is_aborted_with_the_reason(begin, peer) -> None:
    handle = Handle(9.0, 1.0)
    task = begin(handle)
    assert peer.spin_until(task.done)
    assert (handle.ended, task.result().error_code) == ("aborted", -1)
    assert "angle" in task.result().error_string


def test_a_goal_that_is_cancelled_lets_the_arm_brake(begin, node, peer) -> None:
    handle = Handle(0.3, 3.0)
    task = begin(handle)
    assert peer.spin_until(lambda: bool(handle.feedback))
    handle.is_cancel_requested = True
    begin.action.cancel(handle)
    assert peer.spin_until(task.done)
    assert handle.ended == "canceled"
    assert np.abs(node._backend.q - HOME).max() < 0.2


def test_leaving_the_tolerated_path_ends_a_goal(begin, node, peer) -> None:
    tolerance = SimpleNamespace(name=NAMES[0], position=1e-4)
    handle = Handle(0.3, 0.6, path=[tolerance])
    task = begin(handle)
    assert peer.spin_until(task.done)
    assert (handle.ended, task.result().error_code) == ("aborted", -4)


@pytest.mark.parametrize("how", ["cancelled", "deactivated"])
def test_a_goal_that_ends_while_it_is_looked_at_never_starts(begin, node, peer, how) -> None:
    looked, goes_on = threading.Event(), threading.Event()

    def look(postures) -> str:
        looked.set()
        assert goes_on.wait(20.0)
        return ""

    node._trajectories._path_problem = look
    handle = Handle(0.1, 0.6)
    task = begin(handle)
    assert peer.spin_until(looked.is_set)
    if how == "cancelled":
        handle.is_cancel_requested = True
        begin.action.cancel(handle)
    else:
        node.trigger_deactivate()
        node.trigger_activate()
    goes_on.set()
    assert peer.spin_until(task.done)
    assert handle.ended == ("canceled" if how == "cancelled" else "aborted")
    assert task.result().error_string
    assert not node._backend.sent
    assert not begin.action._goals


@pytest.mark.parametrize(
    "tolerance",
    [SimpleNamespace(name=NAMES[0], position=math.nan), SimpleNamespace(name="x", position=0.1)],
)
def test_a_goal_with_a_tolerance_of_nothing_is_aborted(begin, peer, tolerance) -> None:
    handle = Handle(0.1, 0.6, path=[tolerance])
    task = begin(handle)
    assert peer.spin_until(task.done)
    assert (handle.ended, task.result().error_code) == ("aborted", -1)
    assert tolerance.name in task.result().error_string


def test_tolerances_keep_the_arms_order_and_their_special_values() -> None:
    asked = [SimpleNamespace(name="b", position=-1.0), SimpleNamespace(name="a", position=0.2)]
    np.testing.assert_array_equal(tolerances(asked, ("a", "b", "c"), 0.05), [0.2, np.inf, 0.05])


def test_what_stands_in_for_the_action_has_its_fields_and_no_others(begin, peer) -> None:
    handle = Handle(9.0, 1.0)
    task = begin(handle)
    assert peer.spin_until(task.done)
    stand_ins = {"Goal": handle.request, "Result": task.result(), "Feedback": Feedback()}
    assert {part: set(vars(one)) for part, one in stand_ins.items()} == {
        part: set(fields) for part, fields in FIELDS.items()
    }
    feedback = Feedback()
    for name in ("header", "desired", "actual", "error"):
        package, kind = FIELDS["Feedback"][name].split("/")
        assert type(getattr(feedback, name)).__module__.startswith(package)
        assert type(getattr(feedback, name)).__name__ == kind


def test_the_installed_action_has_the_fields_that_are_used() -> None:
    action = pytest.importorskip("control_msgs.action").FollowJointTrajectory
    for part, fields in FIELDS.items():
        assert fields.items() <= getattr(action, part).get_fields_and_field_types().items()
    assert (action.Result.SUCCESSFUL, action.Result.INVALID_GOAL) == (0, -1)
    assert ERROR_CODES[Outcome.OFF_PATH] == action.Result.PATH_TOLERANCE_VIOLATED
    assert ERROR_CODES[Outcome.OFF_GOAL] == action.Result.GOAL_TOLERANCE_VIOLATED
