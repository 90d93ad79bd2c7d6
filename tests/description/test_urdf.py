"""The URDF agrees with the vendor's forward kinematics and with the cell's limits."""

import json
from pathlib import Path

import numpy as np
import pytest

from ate_core.arm_model import Embodiment, load_arm_model
from ate_core.contract import load_cell
from ate_core.errors import ContractError
from ate_core.geometry import quaternion_to_matrix, rotation_log
from ate_core.urdf import change_lengths, parse_chain
from ate_description import model_names

TRUTH = Path(__file__).parent / "rm75_fk_truth.json"


def test_flange_agrees_with_the_vendors_kinematics_in_all_postures():
    chain = load_arm_model().chain()
    samples = json.loads(TRUTH.read_text())["samples"]
    assert len(samples) == 30
    for sample in samples:
        flange = chain.fk(np.radians(sample["joints_deg"]))
        w, x, y, z = sample["quat_wxyz"]
        rotation = quaternion_to_matrix([x, y, z, w])
        assert np.linalg.norm(flange[:3, 3] - sample["position_m"]) < 1e-6
        assert np.linalg.norm(rotation_log(rotation.T @ flange[:3, :3])) < 1e-6


def test_limits_of_the_cell_are_those_of_the_urdf():
    chain = load_arm_model().chain()
    for arm in load_cell().arms.values():
        np.testing.assert_array_equal(arm.joint_lower, chain.lower)
        np.testing.assert_array_equal(arm.joint_upper, chain.upper)
        np.testing.assert_array_equal(arm.joint_speed, chain.speed)


@pytest.mark.parametrize("model", model_names())
def test_every_link_inertia_is_physical(model):
    import xml.etree.ElementTree as ET

    for inertia in ET.fromstring(load_arm_model(model).urdf).iter("inertia"):
        xx, yy, zz, xy, xz, yz = (
            float(inertia.get(key)) for key in ("ixx", "iyy", "izz", "ixy", "ixz", "iyz")
        )
        moments = np.linalg.eigvalsh([[xx, xy, xz], [xy, yy, yz], [xz, yz, zz]])
        assert moments[0] > 0 and moments[0] + moments[1] >= moments[2]


def test_jacobian_agrees_with_finite_differences():
    chain = load_arm_model().chain()
    rng = np.random.default_rng(0)
    for _ in range(5):
        q = rng.uniform(-1.5, 1.5, 7)
        jacobian = chain.jacobian(q)
        for i in range(7):
            step = np.zeros(7)
            step[i] = 1e-6
            before, after = chain.fk(q - step), chain.fk(q + step)
            linear = (after[:3, 3] - before[:3, 3]) / 2e-6
            angular = rotation_log(after[:3, :3] @ before[:3, :3].T) / 2e-6
            np.testing.assert_allclose(jacobian[:, i], [*linear, *angular], atol=1e-7)


def test_another_embodiment_has_fewer_joints_and_other_lengths():
    embodiment = Embodiment(
        name="six_axes", scale={"joint3": 1.15, "joint5": 0.92}, locked_joints=("joint3",)
    )
    chain = load_arm_model().chain(embodiment)
    assert len(chain.joints) == 6
    height = 0.2405 + 0.256 * 1.15 + 0.210 * 0.92 + 0.1725
    np.testing.assert_allclose(chain.fk(np.zeros(6))[:3, 3], [0, 0, height], atol=1e-12)


CONTROLLER = (
    "<ros2_control name='c' type='system'><joint name='joint3'/></ros2_control>"
    "<transmission name='t'><joint name='joint3'/></transmission></robot>"
)


def test_joints_of_controllers_and_transmissions_are_no_joints_of_the_arm():
    text = load_arm_model().urdf.replace("</robot>", CONTROLLER)
    assert len(parse_chain(text).joints) == 7
    changed = change_lengths(text, "six", {"joint3": 0.9}, ["joint3"])
    assert len(parse_chain(changed).joints) == 6


@pytest.mark.parametrize(
    ("old", "new", "words"),
    [
        ('xyz="0 0 ', 'xyz="0 ', "xyz is .*in the URDF; need three finite numbers"),
        ('lower="', 'lower="low', "lower is 'low.*in the URDF; need a finite number"),
        ('xyz="0 0 1"', 'xyz="0 0 0"', "has an axis of length 0 in the URDF: give a direction"),
    ],
)
def test_numbers_that_a_urdf_cannot_have_are_named(old, new, words):
    text = load_arm_model().urdf
    assert old in text
    with pytest.raises(ContractError, match=words):
        parse_chain(text.replace(old, new))


def test_locking_an_unknown_joint_is_refused():
    with pytest.raises(ContractError, match="joint9"):
        load_arm_model().chain(Embodiment(name="odd", locked_joints=("joint9",)))
