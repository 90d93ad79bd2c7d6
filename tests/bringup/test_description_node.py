"""Viewers that come late still learn what the arms are."""

import signal
import subprocess
import sys
import time
import xml.etree.ElementTree as ET

import pytest

pytestmark = pytest.mark.ros


def test_each_arm_has_a_description_with_its_own_names():
    import rclpy
    from std_msgs.msg import String

    from ate_core.nodes.qos import LATCHED_QOS

    command = [sys.executable, "-m", "ate_bringup.nodes.description_node"]
    process = subprocess.Popen(command)
    rclpy.init()
    viewer = rclpy.create_node("viewer")
    found = {}
    try:
        for side in ("left", "right", ""):
            viewer.create_subscription(
                String,
                f"/{side}/robot_description".replace("//", "/"),
                lambda message, side=side: found.update({side: message.data}),
                LATCHED_QOS,
            )
        deadline = time.monotonic() + 20.0
        while len(found) < 3:
            assert process.poll() is None and time.monotonic() < deadline
            rclpy.spin_once(viewer, timeout_sec=0.1)
        whole = [e.get("name") for e in ET.fromstring(found.pop("")).iter()]
        assert {"left_joint1", "right_joint7", "overhead_color_optical_frame"} <= set(whole)
        for side, text in found.items():
            joints = [e.get("name") for e in ET.fromstring(text).iterfind("joint")]
            assert f"{side}_joint1" in joints
        process.send_signal(signal.SIGINT)
        assert process.wait(10) == 0
    finally:
        process.kill()
        viewer.destroy_node()
        rclpy.try_shutdown()


def test_transforms_name_both_frames_and_where_the_child_is():
    from types import SimpleNamespace

    from builtin_interfaces.msg import Time

    from ate_bringup.nodes.description_node import transforms
    from ate_core.cell_description import FrameTree, cell_description
    from ate_core.contract import load_cell

    cell = load_cell()
    tree = FrameTree(cell_description(cell))
    stamp = Time(sec=7)
    fixed = transforms(SimpleNamespace, tree.standing, stamp).transforms
    overhead = next(e for e in fixed if e.child_frame_id == "overhead_color_optical_frame")
    assert overhead.header.frame_id == "world"
    at = overhead.transform.translation
    assert (at.x, at.y, at.z) == cell.cameras["overhead"].view.position
    joints = dict.fromkeys(cell.arms["left"].joint_names, 0.3)
    moved = transforms(SimpleNamespace, tree.moved(joints), stamp).transforms
    assert len(moved) == len(joints)
    assert {entry.header.stamp.sec for entry in moved} == {7}
