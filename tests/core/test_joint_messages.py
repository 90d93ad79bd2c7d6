"""Numbers of joints are found by name; what is not whole is no posture."""

import numpy as np
import pytest
from sensor_msgs.msg import JointState

from ate_core.nodes.joints import joint_positions, joint_velocities

NAMES = ("elbow", "wrist")


def message(names, position, velocity=()):
    return JointState(name=names, position=position, velocity=velocity)


@pytest.mark.parametrize(
    ("names", "position"),
    [
        (["elbow", "wrist"], [1.0, 2.0]),
        (["wrist", "elbow"], [2.0, 1.0]),
        (["finger", "wrist", "elbow"], [9.0, 2.0, 1.0]),
        (["wrist", "elbow", "finger"], [2.0, 1.0]),
    ],
)
def test_joints_come_in_the_order_asked_for(names, position):
    told = message(names, position, position)
    np.testing.assert_array_equal(joint_positions(told, NAMES), [1.0, 2.0])
    np.testing.assert_array_equal(joint_velocities(told, NAMES), [1.0, 2.0])


@pytest.mark.parametrize(
    ("names", "position"),
    [
        ([], []),
        (["elbow"], [1.0]),
        (["elbow", "wrist"], [1.0]),
        (["elbow", "wrist"], [1.0, 2.0, 3.0]),
        (["elbow", "wrist"], [1.0, np.nan]),
        (["wrist", "elbow"], [np.inf, 1.0]),
    ],
)
def test_what_is_not_whole_is_no_posture(names, position):
    told = message(names, position, position)
    with pytest.raises(ValueError, match=r"no finite position for each of elbow, wrist"):
        joint_positions(told, NAMES)
    assert joint_velocities(told, NAMES) is None
