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
        for side in ("left", "right"):
            viewer.create_subscription(
                String,
                f"/{side}/robot_description",
                lambda message, side=side: found.update({side: message.data}),
                LATCHED_QOS,
            )
        deadline = time.monotonic() + 20.0
        while len(found) < 2:
            assert process.poll() is None and time.monotonic() < deadline
            rclpy.spin_once(viewer, timeout_sec=0.1)
        for side, text in found.items():
            joints = [e.get("name") for e in ET.fromstring(text).iterfind("joint")]
            assert f"{side}_joint1" in joints
        process.send_signal(signal.SIGINT)
        assert process.wait(10) == 0
    finally:
        process.kill()
        viewer.destroy_node()
        rclpy.try_shutdown()
