"""The described cell has the frames of the topics, where the cell file puts them."""

import xml.etree.ElementTree as ET

import numpy as np
import pytest

from ate_core.arm_model import load_arm_model, tool_chain
from ate_core.cell_description import FrameTree, cell_description, optical_rotation
from ate_core.contract import load_cell, packaged_cells
from ate_core.geometry import pose_to_matrix


def placements(cell, positions) -> dict[str, np.ndarray]:
    """Link -> its transform (4, 4) to the world."""
    tree = FrameTree(cell_description(cell))
    frames = {frame.child: frame for frame in (*tree.standing, *tree.moved(positions))}
    found = {"world": np.eye(4)}

    def place(name: str) -> np.ndarray:
        if name not in found:
            frame = frames[name]
            found[name] = place(frame.parent) @ frame.transform_child_to_parent
        return found[name]

    return {name: place(name) for name in frames}


@pytest.mark.parametrize("name", packaged_cells())
def test_tools_and_cameras_are_where_the_drivers_and_the_cell_say(name) -> None:
    cell = load_cell(name)
    rng = np.random.default_rng(4)
    postures = {side: rng.uniform(arm.joint_lower, arm.joint_upper)
                for side, arm in cell.arms.items()}  # fmt: skip
    positions = {
        joint: float(angle)
        for side, arm in cell.arms.items()
        for joint, angle in zip(arm.joint_names, postures[side], strict=True)
    }
    found = placements(cell, {**positions, "left_gripper": 1.0})
    for side, arm in cell.arms.items():
        base = pose_to_matrix(arm.base_pose)
        tool = base @ tool_chain(arm).fk(postures[side])
        np.testing.assert_allclose(found[f"{side}_tool"], tool, atol=1e-9)
    for role, camera in cell.cameras.items():
        view = camera.view
        mount = np.eye(4)
        if view.mount != "world":
            side = view.mount.removesuffix("_flange")
            arm = cell.arms[side]
            chain = load_arm_model(arm.model).chain()
            mount = pose_to_matrix(arm.base_pose) @ chain.fk(postures[side])
        frame = found[f"{role}_color_optical_frame"]
        np.testing.assert_allclose(frame[:3, 3], (mount @ [*view.position, 1.0])[:3], atol=1e-9)
        ahead = (mount @ [*view.look_at, 1.0])[:3] - frame[:3, 3]
        np.testing.assert_allclose(frame[:3, 2], ahead / np.linalg.norm(ahead), atol=1e-9)
        rotation = optical_rotation(view)
        np.testing.assert_allclose(rotation.T @ rotation, np.eye(3), atol=1e-12)
        assert np.linalg.det(rotation) > 0.0
        assert rotation[:, 1] @ np.array(view.up) < 0.0  # y points down in the image


@pytest.mark.parametrize("name", packaged_cells())
def test_the_description_is_one_tree_with_the_joints_of_the_topics(name) -> None:
    pinocchio = pytest.importorskip("pinocchio")
    cell = load_cell(name)
    text = cell_description(cell)
    model = pinocchio.buildModelFromXML(text)
    wanted = [joint for arm in cell.arms.values() for joint in arm.joint_names]
    assert sorted(list(model.names)[1:]) == sorted(wanted)
    root = ET.fromstring(text)
    links = [link.get("name") for link in root.iterfind("link")]
    assert len(links) == len(set(links))
    children = [child.get("link") for child in root.iterfind("joint/child")]
    assert set(links) - set(children) == {"world"}
    assert {f"{side}_gripper" for side in cell.arms} <= set(links)
    assert {f"obstacle_{name}" for name in cell.obstacles} <= set(links)
