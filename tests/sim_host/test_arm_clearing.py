"""Arms that follow nobody are cleared as a person does it; an emergency stop is left alone."""

import json
from functools import partial

import pytest

from ate_core.contract import load_cell

pytestmark = pytest.mark.ros

STATES = {
    "fault": ({"state": "fault", "reason": "joint 3: over-current"}, ["clear_errors", "enable"]),
    "fault in half a character": (
        {"state": "fault", "reason": "\ud800"},
        ["clear_errors", "enable"],
    ),
    "stopped": ({"state": "stopped", "reason": "arm/stop was called"}, ["enable"]),
    "emergency stop": ({"state": "stopped", "estop": "pressed", "reason": "pressed"}, []),
    "well": ({"state": "connected", "reason": ""}, []),
}


@pytest.mark.parametrize("name", STATES)
def test_only_what_a_fault_has_latched_is_ended(empty_domain, name):
    rclpy = pytest.importorskip("rclpy")
    from std_msgs.msg import String
    from std_srvs.srv import Trigger

    from ate_core.nodes.qos import LATCHED_QOS
    from ate_core.nodes.runner import spinning
    from ate_sim.nodes.arm_clearing import clear_arms

    cell, (told, wanted), calls = load_cell(None, "sim"), STATES[name], []

    def answer(call, _, response):
        calls.append(call)
        response.success = True
        return response

    rclpy.init()
    try:
        node = rclpy.create_node("drivers")
        for side, arm in cell.arms.items():
            of = partial(cell.topics.of_arm, arm.namespace)
            status = told if side == "left" else {"state": "connected", "reason": ""}
            out = node.create_publisher(String, of(cell.topics.arm_status), LATCHED_QOS)
            out.publish(String(data=json.dumps(status)))
            for act in ("clear_errors", "enable"):
                call = act if side == "left" else f"right {act}"
                node.create_service(Trigger, of(f"arm/{act}"), partial(answer, call))
        with spinning(node):
            lines = list(clear_arms(cell, timeout=8.0))
    finally:
        rclpy.try_shutdown()
    assert calls == wanted
    assert all(line.encode() for line in lines)
    assert [line.split(": ")[0] for line in lines] == ["left arm"] * bool(wanted)
