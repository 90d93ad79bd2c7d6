"""`ate teleop-calibrate` succeeds only where the operator's node says that it has fitted."""

import json

import pytest

from ate_bringup.cli import EXIT_NO_CELL, main
from ate_core.contract import load_cell

pytestmark = pytest.mark.ros

CELL = load_cell()
IDLE = {"calibrating": False, "calibration": "none", "calibrations_refused": 0}
LED = IDLE | {"calibrating": True, "calibration": "push the hand forward"}
FITTED = IDLE | {"calibration": "the person faces ahead", "calibrations_fitted": 1}
REFUSED = IDLE | {"calibration": "refused: too short", "calibrations_refused": 1}
GONE = None
"""In the place of a status: the node dies."""


@pytest.mark.parametrize(
    ("said", "code"),
    [
        ([LED, FITTED], 0),
        ([FITTED], 0),
        ([LED, REFUSED], 1),
        ([LED, FITTED | {"calibrations_refused": "x"}], 0),
        ([], EXIT_NO_CELL),
        ([LED, GONE], EXIT_NO_CELL),
        ([GONE], EXIT_NO_CELL),
        ([LED, IDLE], EXIT_NO_CELL),
        ([LED, IDLE | {"calibrations_fitted": "x"}], EXIT_NO_CELL),
    ],
    ids=["fitted", "fast", "refused", "odd", "silent", "died", "died at once", "restarted", "bad"],
)
def test_a_calibration_succeeds_only_where_it_was_fitted(empty_domain, said, code, capsys):
    rclpy = pytest.importorskip("rclpy")
    from std_msgs.msg import String
    from std_srvs.srv import Trigger

    from ate_core.nodes.qos import LATCHED_QOS
    from ate_core.nodes.runner import spinning

    topics, namespace = CELL.topics, CELL.arms["left"].namespace
    rclpy.init(args=[])
    try:
        node = rclpy.create_node("operator")
        topic = topics.of_arm(namespace, topics.operator_status)
        out = node.create_publisher(String, topic, LATCHED_QOS)

        def answer(_, response):
            for status in said:
                if status is GONE:
                    node.destroy_publisher(out)
                else:
                    out.publish(String(data=json.dumps(status)))
            response.success = True
            return response

        node.create_service(Trigger, topics.of_arm(namespace, topics.calibrate), answer)
        out.publish(String(data=json.dumps(IDLE)))
        with spinning(node):
            assert main(["teleop-calibrate", "left", "--timeout", "5"]) == code
    finally:
        rclpy.try_shutdown()
    assert ("no end of the calibration" in capsys.readouterr().err) is (code == EXIT_NO_CELL)
