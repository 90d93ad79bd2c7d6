"""The published description is the arm as its driver knows it, where it stands in the cell."""

import dataclasses
import xml.etree.ElementTree as ET

import numpy as np
import pytest

from ate_core.arm_model import tool_chain
from ate_core.contract import load_cell, packaged_cells
from ate_core.geometry import pose_to_matrix
from ate_core.robot_description import robot_description

POSES = (
    (0.1, 0.25, 0.3, 0.0, 0.0, 0.0, 1.0),
    (0.0, -0.2, 0.5, 0.5, -0.5, 0.5, 0.5),
    (0.0, 0.0, 0.0, 0.0, 0.70710678, 0.0, 0.70710678),
    (0.3, 0.0, 0.0, 0.1825742, 0.3651484, 0.5477226, 0.7302967),
)


@pytest.mark.parametrize("cell", packaged_cells())
@pytest.mark.parametrize("pose", POSES)
def test_the_tool_of_the_description_is_that_of_the_cell(cell, pose):
    pinocchio = pytest.importorskip("pinocchio")
    rng = np.random.default_rng(0)
    for side, packaged in load_cell(cell).arms.items():
        arm = dataclasses.replace(packaged, base_pose=pose)
        model = pinocchio.buildModelFromXML(robot_description(side, arm))
        assert tuple(model.names)[1:] == arm.joint_names
        q = rng.uniform(arm.joint_lower, arm.joint_upper)
        data = model.createData()
        pinocchio.framesForwardKinematics(model, data, q)
        tool = data.oMf[model.getFrameId(f"{side}_tool")].homogeneous
        expected = pose_to_matrix(pose) @ tool_chain(arm).fk(q)
        np.testing.assert_allclose(tool, expected, atol=1e-6)


def test_joints_have_the_names_of_the_messages_where_the_cell_names_them():
    packaged = load_cell().arms["left"]
    names = tuple(f"l_axis_{index}" for index in range(len(packaged.joint_names)))
    arm = dataclasses.replace(packaged, joint_names=names, guards={})
    joints = ET.fromstring(robot_description("left", arm)).findall("joint")
    movable = [joint.get("name") for joint in joints if joint.get("type") == "revolute"]
    assert tuple(movable) == names


def test_two_arms_share_no_name_but_the_world():
    arms = load_cell().arms
    names = [
        {e.get("name") for e in ET.fromstring(robot_description(side, arm)).iter("link")}
        for side, arm in arms.items()
    ]
    assert names[0] & names[1] == {"world"}
