"""The messages of an operator's node."""

import ctypes
import json

import numpy as np
import pytest

from ate_core.geometry import matrix_to_quaternion, rotation_exp, transform

pytestmark = pytest.mark.ros

POSE = transform(rotation_exp([0.4, -0.3, 2.9]), [0.2, 0.4, 1.1])


def test_a_pose_is_told_with_its_rotation():
    from ate_teleop.nodes.messages import pose_message

    pose = pose_message(POSE, "headset_left", 10**18).pose
    told = pose.orientation
    np.testing.assert_allclose(
        [told.x, told.y, told.z, told.w], matrix_to_quaternion(POSE[:3, :3])
    )
    assert (pose.position.x, pose.position.y, pose.position.z) == (0.2, 0.4, 1.1)


class MallInfo(ctypes.Structure):
    """What malloc of the C library tells of this thread's memory, in bytes."""

    _fields_ = [
        (name, ctypes.c_size_t)
        for name in (
            "arena", "ordblks", "smblks", "hblks", "hblkhd", "usmblks", "fsmblks", "uordblks",
            "fordblks", "keepcost",
        )
    ]  # fmt: skip


def test_poses_that_are_told_leave_no_memory_behind():
    from ate_teleop.nodes.messages import pose_message

    mallinfo2 = getattr(ctypes.CDLL(None), "mallinfo2", None)
    if mallinfo2 is None:
        pytest.skip("needs glibc 2.33")
    mallinfo2.restype = MallInfo
    grown = []
    for _ in range(3):
        before = mallinfo2().uordblks
        for tick in range(2000):
            pose_message(POSE, "headset_left", tick)
        grown.append(mallinfo2().uordblks - before)
    assert min(grown) < 2000 * 8, "bytes; what is left behind each time shows in every round"


def test_half_a_character_in_a_status_can_be_told_on():
    from std_msgs.msg import String

    from ate_teleop.nodes.messages import entry_of
    from ate_teleop.nodes.news import arm_news, operator_news

    half = "\ud800"
    entries = {"state": "fault", "clutch": half, "reason": half, "guard": half, "commander": half}
    status = String(data=json.dumps(entries))
    news = arm_news(status)
    for text in (news.trouble, news.guard, news.commander, operator_news(status)):
        assert "?" in String(data=text).data
    assert entry_of(status, "reason") == "?"


def test_a_status_tells_the_numbers_of_the_calibration_that_holds():
    from ate_teleop.calibration import HandCalibration
    from ate_teleop.clutch import ClutchState
    from ate_teleop.nodes.messages import status_message
    from ate_teleop.operator_status import OperatorStatus

    fitted = HandCalibration(
        heading=0.4, correction=0.0, residual=0.0, curve=0.0,
        rotation_tool_to_wrist=((1.0, 0.0, 0.0), (0.0, 1.0, 0.0), (0.0, 0.0, 1.0)),
    )  # fmt: skip
    for holds, numbers in (
        (None, {}),
        (fitted, {"heading": 0.4, "hand_rotation": [0.0, 0.0, 0.0, 1.0]}),
    ):
        status = OperatorStatus(
            clutch=ClutchState.RELEASED, reason="", tracked=True, joycon=True, arm=True,
            out_of_reach=False, limits=(), calibrated=holds,
        )  # fmt: skip
        text = status_message("left", status, (), {}).data
        assert json.loads(text)["calibrated"] == numbers


@pytest.mark.parametrize(
    ("status", "held"),
    [
        ({"state": "tracking", "commander": "teleop"}, False),
        ({"state": "tracking", "commander": "policy"}, True),
        ({"state": "connected", "commander": ""}, False),
        ({"state": "fault", "commander": ""}, True),
    ],
)
def test_a_gripper_that_a_policy_holds_waits_for_a_press_of_the_trigger(status, held):
    from std_msgs.msg import String

    from ate_teleop.nodes.messages import is_held

    assert is_held(String(data=json.dumps(status))) == held
