"""Vendor units: what leaves is exact, what arrives is checked."""

import ctypes

import numpy as np
import pytest

from ate_core.arm_model import load_arm_model
from realman_driver.emulator import wire
from realman_driver.emulator.model import RM75_LIMITS, tip_pose
from realman_driver.protocol import PARSE_ERROR, joints_to_degrees, sample_from_push


def sdk_cut(degrees: list[float]) -> list[int]:
    """What the SDK puts on the wire: a product in 32-bit floats, cut towards zero."""
    return [int(np.float32(value) * np.float32(1000.0)) for value in degrees]


def test_every_angle_reaches_the_wire_rounded_to_a_thousandth_degree() -> None:
    rng = np.random.default_rng(0)
    for q in rng.uniform(RM75_LIMITS.lower, RM75_LIMITS.upper, size=(600, 7)):
        assert sdk_cut(joints_to_degrees(q)) == wire.joints_to_wire(q)


@pytest.mark.parametrize("degrees", [0.0, 0.29, 3.3, -0.29, -3.3, 128.0, -360.0])
def test_round_angles_are_exact(degrees: float) -> None:
    sent = sdk_cut(joints_to_degrees(np.full(7, np.radians(degrees))))
    assert sent == [round(degrees * 1000)] * 7


class Push(ctypes.Structure):
    """The fields of the SDK's push that the driver reads."""

    class Joints(ctypes.Structure):
        _fields_ = (
            ("joint_position", ctypes.c_float * 7),
            ("joint_speed", ctypes.c_float * 7),
            ("joint_current", ctypes.c_float * 7),
            ("joint_err_code", ctypes.c_uint16 * 7),
        )

    class Force(ctypes.Structure):
        _fields_ = (("zero_force", ctypes.c_float * 6),)

    class Errors(ctypes.Structure):
        _fields_ = (("err_len", ctypes.c_uint8), ("err", ctypes.c_int * 24))

    _fields_ = (
        ("errCode", ctypes.c_int),
        ("joint_status", Joints),
        ("force_sensor", Force),
        ("err", Errors),
    )


def test_push_becomes_si_units() -> None:
    push = Push()
    push.joint_status.joint_position[:] = [90.0] * 7
    push.joint_status.joint_speed[:] = [30.0] * 7  # RPM
    push.joint_status.joint_current[:] = [1500.0] * 7  # mA
    push.force_sensor.zero_force[:] = [1.0, 2.0, 3.0, 0.1, 0.2, 0.3]
    push.err.err_len = 1
    sample = sample_from_push(push, joints=7, sequence=1, received=2.0, stamp_ns=3)
    assert sample is not None
    assert np.allclose(sample.position, np.pi / 2)
    assert np.allclose(sample.velocity, np.pi)
    assert np.allclose(sample.effort, 1.5)
    assert np.allclose(sample.wrench, [1.0, 2.0, 3.0, 0.1, 0.2, 0.3])
    assert sample.faulty_joints == ()
    assert sample.fault == ""


def test_a_six_joint_arm_has_the_first_six_of_the_pushs_seven_places() -> None:
    push = Push()
    push.joint_status.joint_position[:] = [90.0] * 6 + [float("nan")]
    push.joint_status.joint_err_code[:] = [0] * 6 + [0x0008]
    sample = sample_from_push(push, joints=6, sequence=1, received=2.0, stamp_ns=3)
    assert sample is not None
    np.testing.assert_allclose(sample.position, np.full(6, np.pi / 2))
    assert sample.velocity.shape == sample.effort.shape == (6,)
    assert (sample.fault, sample.faulty_joints) == ("", ())


def test_broken_push_is_no_sample() -> None:
    push = Push(errCode=PARSE_ERROR)
    assert sample_from_push(push, joints=7, sequence=1, received=0.0, stamp_ns=0) is None
    push.joint_status.joint_position[:] = [float("nan")] + [1.0] * 6
    assert sample_from_push(push, joints=7, sequence=1, received=0.0, stamp_ns=0) is None


def test_push_without_error_list_keeps_its_joints() -> None:
    push = Push(errCode=PARSE_ERROR)
    push.joint_status.joint_position[:] = [10.0] * 7
    assert sample_from_push(push, joints=7, sequence=1, received=0.0, stamp_ns=0) is not None


def test_faults_are_named() -> None:
    push = Push()
    push.err.err_len = 2
    push.err.err[0], push.err.err[1] = 0x100D, 0
    push.joint_status.joint_err_code[2] = 0x0041
    sample = sample_from_push(push, joints=7, sequence=1, received=0.0, stamp_ns=0)
    assert sample is not None
    assert sample.fault == "0x100D collision, joint 3 0x0041 FOC + overcurrent"
    assert sample.faulty_joints == (3,)


def test_emulated_flange_agrees_with_the_robot_description() -> None:
    kinematics = load_arm_model().chain()
    rng = np.random.default_rng(1)
    for q in rng.uniform(RM75_LIMITS.lower, RM75_LIMITS.upper, size=(30, 7)):
        position, (w, x, y, z), _ = tip_pose(q)
        transform = kinematics.fk(q)
        assert np.allclose(position, transform[:3, 3], atol=1e-6)
        axis = transform[:3, 2]
        turned = [2 * (x * z + w * y), 2 * (y * z - w * x), 1 - 2 * (x * x + y * y)]
        assert np.allclose(turned, axis, atol=1e-6)
