"""The scene node tells where the objects are and which task they belong to."""

import json
import signal
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest

from ate_sim.realtime.control import SimControl


@pytest.fixture
def listener() -> Iterator[dict[str, list]]:
    """Messages of /scene/objects and /scene/info as they come."""
    rclpy = pytest.importorskip("rclpy")
    from geometry_msgs.msg import PoseArray
    from std_msgs.msg import String

    from ate_core.nodes.qos import LATCHED_QOS, SENSOR_QOS
    from ate_core.nodes.runner import spinning

    heard: dict[str, list] = {"objects": [], "info": []}
    rclpy.init()
    node = rclpy.create_node("listener")
    node.create_subscription(PoseArray, "/scene/objects", heard["objects"].append, SENSOR_QOS)
    node.create_subscription(
        String,
        "/scene/info",
        lambda text: heard["info"].append(json.loads(text.data)),
        LATCHED_QOS,
    )
    with spinning(node):
        yield heard
    rclpy.try_shutdown()


@pytest.mark.ros
def test_poses_and_names_follow_the_world(
    start, stop, runtime_dir: Path, listener, eventually: Callable[..., None]
) -> None:
    start("ate_sim.realtime.world", "--task", "pick_place")
    with SimControl(runtime_dir) as control:
        control.wait_until_up(time.monotonic() + 30.0)
        node = start(
            "ate_sim.nodes.scene_node", "--ros-args", "-p", "hardware:=sim", "-r", "__node:=scene"
        )
        eventually(lambda: len(listener["objects"]) > 10 and listener["info"], timeout=40.0)
        assert listener["info"][-1]["task"] == "pick_place"
        assert listener["info"][-1]["objects"] == ["cube", "plate"]
        before = listener["objects"][-1]
        assert before.header.frame_id == "world"
        assert len(before.poses) == 2
        epoch = control.reset(seed=11, task="handover")["epoch"]
        eventually(lambda: listener["info"][-1]["epoch"] == epoch)
        assert listener["info"][-1]["task"] == "handover"
        was = before.poses[0].position

        def has_moved() -> bool:
            now = listener["objects"][-1].poses[0].position
            return bool(np.hypot(now.x - was.x, now.y - was.y) > 0.01)

        eventually(has_moved)
        assert len(listener["objects"][-1].poses) == len(listener["info"][-1]["objects"])
        assert stop(node, signal.SIGINT) < 2.0
