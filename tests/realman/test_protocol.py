"""Vendor units: what leaves is exact, what arrives is checked."""

import json

import numpy as np
import pytest

from arm_driver.interface import ArmSample
from ate_core.arm_model import load_arm_model
from realman_driver.codes import remedies
from realman_driver.emulator import wire
from realman_driver.emulator.model import RM75_LIMITS, tip_pose
from realman_driver.protocol import joints_to_degrees, sample_from_push, wrench_doubt
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


def sample(joints: int = 7, own: bool = False, **changes: object) -> ArmSample:
    push = read_push(packet(**changes), joints)
    return sample_from_push(
        push, joints=joints, sequence=1, received=2.0, stamp_ns=3, gliding=own, streaming=own
    )


def test_push_becomes_si_units() -> None:
    taken = sample(
        joint_position=[90000] * 7,
        joint_speed=[3000] * 7,
        zero_force=[1000, 2000, 3000, 100, 200, 300],
    )
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
    np.testing.assert_allclose(taken.position, np.full(6, np.pi / 2))
    assert taken.velocity.shape == taken.effort.shape == (6,)
    assert (taken.fault, taken.faulty_joints) == ("", ())


@pytest.mark.parametrize(
    "data", [b"", b"{", b"[" * 2000, b"[1]", b'{"state":"other"}', b"\xff\xfe", b"9" * 2000]
)
def test_what_is_no_state_packet_is_refused(data: bytes) -> None:
    with pytest.raises(PushError):
        read_push(data, 7)


def test_sound_packet_raises_no_doubt() -> None:
    taken = sample()
    assert (taken.doubt, taken.obstacle, taken.fault) == ("", "", "")
    assert taken.enabled == (True,) * 7
    assert np.allclose(taken.temperature, 32.0)
    assert np.allclose(taken.voltage, 24.0)


@pytest.mark.parametrize(
    ("field", "value", "words"),
    [
        ("joint_position", None, "joint_position is None, need 7 numbers"),
        ("joint_position", [1000] * 6, "joint_position is [1000, 1000"),
        ("joint_position", ["1"] * 7, "joint_position is ['1'"),
        ("joint_position", 10**400, "joint_position is 1000"),
        ("joint_speed", None, "joint_speed is None"),
        ("joint_current", [float("nan")] * 7, "joint_current of joint 1 is nan A"),
        ("joint_current", [0] * 6 + [1e12], "joint_current of joint 7 is 1e+06 A, possible are"),
        ("joint_temperature", [99999999] * 7, "joint_temperature of joint 1 is 100000 deg C"),
        ("joint_voltage", [24000, 900000] + [0] * 5, "joint_voltage of joint 2 is 900 V"),
        ("joint_en_flag", [2] * 7, "joint_en_flag is [2.0"),
        ("joint_en_flag", None, "joint_en_flag is None"),
        ("joint_err_code", None, "joint_err_code is None"),
        ("err", list(range(1, 300)), "err has 299 entries, possible are 24"),
        ("err", ["broken"], "err has the entry 'broken'"),
        ("err", [-1], "err has the entry -1, need 1 to 65535"),
        ("err", "0x1001", "err is '0x1001', need a list"),
        ("err", [[[]]], "err has the entry [[]]"),
        ("arm_current_status", 7, "arm_current_status is 7, need a word"),
        ("arm_current_status", "\ud800", "arm_current_status is '\\ud800', need a word"),
        ("arm_current_status", "idle " * 9, "need a word"),
    ],
)
def test_what_cannot_be_true_is_a_doubt_with_field_value_and_bound(field, value, words) -> None:
    assert words in sample(**{field: value}).doubt


def test_codes_written_as_text_are_read() -> None:
    assert sample(err=["0x100D"]).fault == "0x100D collision"


@pytest.mark.parametrize(
    "value", [None, [float("nan")] * 6, [0] * 5, [1e9] + [0] * 5, [0] * 5 + [99999]]
)
def test_bad_wrench_is_no_wrench_and_the_joints_are_kept(value) -> None:
    taken = sample(zero_force=value)
    assert taken.wrench is None
    assert taken.doubt == ""
    assert wrench_doubt(read_push(packet(zero_force=value), 7))


def test_temperatures_and_voltages_of_old_firmware_are_none() -> None:
    taken = sample(joint_temperature=None, joint_voltage=[0] * 7)
    assert (taken.temperature, taken.voltage, taken.doubt) == (None, None, "")


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"arm_current_status": "current_drag"}, "hand guiding (current_drag)"),
        ({"arm_current_status": "tech_demonstration"}, "being taught"),
        ({"arm_current_status": "pause"}, "pause"),
        ({"arm_current_status": "move_L"}, "motion from the pendant or another program (move_L)"),
        ({"arm_current_status": "move_J"}, "motion from the pendant"),
        (
            {"arm_current_status": "move_through_joint", "joint_speed": [100] * 7},
            "targets of another program",
        ),
        ({"joint_en_flag": [1, 1, 0, 1, 1, 0, 1]}, "joint 3, 6 disabled: call arm/clear_errors"),
    ],
)
def test_arm_that_would_not_follow_is_an_obstacle_by_name(changes, words: str) -> None:
    assert words in sample(**changes).obstacle


def test_own_motions_are_no_obstacle() -> None:
    moving = {"joint_speed": [100] * 7}
    assert sample(own=True, arm_current_status="move_J", **moving).obstacle == ""
    assert sample(own=True, arm_current_status="move_through_joint", **moving).obstacle == ""
    assert sample(arm_current_status="slow_stop", **moving).obstacle == ""


def test_errors_carry_meaning_and_remedy() -> None:
    texts = remedies([0x1001, 0x100D, 0x4242], [0, 0, 0x0041, 0, 0, 0, 0xF000])
    assert texts["error 0x1001"].startswith("severe: joint communication; stop using the arm")
    assert texts["error 0x100D"] == "collision; free the arm, then call arm/clear_errors"
    assert texts["error 0x4242"].startswith("unknown")
    assert texts["error 0x0040 of joint 3"].startswith("overcurrent; look for an obstacle")
    assert texts["error 0xF000 of joint 7"].startswith("frames lost")
    assert all("; " in text for text in texts.values())


def test_push_without_error_list_keeps_its_joints() -> None:
    taken = sample(err=None, sys_err=0x100D)
    assert taken.fault.startswith("0x100D collision")


@pytest.mark.parametrize("listed", [[0], [], None])
@pytest.mark.parametrize("field", ["arm_err", "sys_err"])
def test_an_error_in_any_field_is_a_fault(field: str, listed: list[int] | None) -> None:
    taken = sample(err=listed, **{field: 0x100D})
    assert taken.fault == "0x100D collision" and not taken.doubt


def test_a_fraction_is_no_code() -> None:
    assert "err has the entry 0.9" in sample(err=[0.9]).doubt


def test_faults_are_named() -> None:
    taken = sample(err=[0x100D, 0], joint_err_code=[0, 0, 0x0041, 0, 0, 0, 0])
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
