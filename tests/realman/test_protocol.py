"""Vendor units: what leaves is exact, what arrives is checked."""

import json

import numpy as np
import pytest

from arm_driver.interface import ArmSample
from ate_core.arm_model import load_arm_model
from realman_driver.emulator import wire
from realman_driver.emulator.model import RM75_LIMITS, tip_pose
from realman_driver.protocol import joints_to_degrees, sample_from_push
from realman_driver.push import PushError, read_push


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


def packet(**changes: object) -> bytes:
    """A state packet of an arm at rest at 10 degrees in every joint, but for the changes."""
    status = {
        "joint_current": [1500000] * 7,
        "joint_en_flag": [1] * 7,
        "joint_err_code": [0] * 7,
        "joint_position": [10000] * 7,
        "joint_temperature": [32000] * 7,
        "joint_voltage": [24000] * 7,
        "joint_speed": [0] * 7,
    }
    force = {"force": [0] * 6, "zero_force": [0] * 6, "coordinate": 2}
    message: dict[str, object] = {
        "state": "realtime_arm_joint_state",
        "arm_current_status": "idle",
        "err": [0],
        "joint_status": status,
        "six_force_sensor": force,
    }
    for name, value in changes.items():
        part = next((part for part in (status, force) if name in part), message)
        part[name] = value  # type: ignore[index]
    return json.dumps(message).encode()


def sample(joints: int = 7, **changes: object) -> ArmSample | None:
    push = read_push(packet(**changes), joints)
    return sample_from_push(push, sequence=1, received=2.0, stamp_ns=3)


def test_push_becomes_si_units() -> None:
    taken = sample(
        joint_position=[90000] * 7,
        joint_speed=[3000] * 7,
        zero_force=[1000, 2000, 3000, 100, 200, 300],
    )
    assert taken is not None
    assert np.allclose(taken.position, np.pi / 2)
    assert np.allclose(taken.velocity, np.pi)  # from 0.01 RPM
    assert np.allclose(taken.effort, 1.5)  # from 0.001 mA
    assert np.allclose(taken.wrench, [1.0, 2.0, 3.0, 0.1, 0.2, 0.3])
    assert taken.faulty_joints == ()
    assert taken.fault == ""


def test_a_six_joint_arm_has_the_first_six_of_the_pushs_seven_places() -> None:
    taken = sample(
        6,
        joint_position=[90000] * 6 + [float("nan")],
        joint_err_code=[0] * 6 + [0x0008],
    )
    assert taken is not None
    np.testing.assert_allclose(taken.position, np.full(6, np.pi / 2))
    assert taken.velocity.shape == taken.effort.shape == (6,)
    assert (taken.fault, taken.faulty_joints) == ("", ())


@pytest.mark.parametrize(
    "data", [b"", b"{", b"[" * 2000, b"[1]", b'{"state":"other"}', b"\xff\xfe", b"9" * 2000]
)
def test_what_is_no_state_packet_is_refused(data: bytes) -> None:
    with pytest.raises(PushError):
        read_push(data, 7)


def test_joints_that_are_no_numbers_are_no_sample() -> None:
    assert sample(joint_position=[float("nan")] + [1000] * 6) is None
    assert sample(joint_position=[1000] * 6) is None
    assert sample(joint_position=None) is None


def test_push_without_error_list_keeps_its_joints() -> None:
    taken = sample(err=None, sys_err=0x100D)
    assert taken is not None
    assert taken.fault.startswith("0x100D collision")


def test_faults_are_named() -> None:
    taken = sample(err=[0x100D, 0], joint_err_code=[0, 0, 0x0041, 0, 0, 0, 0])
    assert taken is not None
    assert taken.fault == "0x100D collision, joint 3 0x0041 FOC + overcurrent"
    assert taken.faulty_joints == (3,)


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
