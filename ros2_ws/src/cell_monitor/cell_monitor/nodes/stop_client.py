"""What `ate stop` does on the ROS graph: ask until every arm has confirmed."""

import time
from collections.abc import Mapping
from functools import partial

from std_msgs.msg import String
from std_srvs.srv import Trigger

from ate_core.json_text import plain_text
from ate_core.nodes.estop import REQUEST_QOS, REQUEST_TOPIC
from ate_core.nodes.listening import listen
from ate_core.nodes.qos import LATCHED_QOS
from ate_core.nodes.visitor import visit
from ate_core.topics import ESTOP_RESET
from cell_monitor.estop_state import ArmReport, Confirmation, parse_report

NAME = "ate_stop"
"""Of the node that asks."""
PERIOD = 0.05
"""Repetition of the request until all arms have confirmed [s]."""
LOOK_AROUND = 2.0
"""How long to look for a second driver before it counts as not running [s]; a busy machine
discovers slowly. Without any driver the whole time is spent looking."""


def stop(topics: Mapping[str, str], reason: str, timeout: float) -> dict[str, Confirmation]:
    """Publish the request until every arm reports the stop, or the time is over.

    Args:
        topics: status of each arm, by its side; without any the request is repeated to the end.
        reason: told to everybody.
        timeout: when to give up [s].
    """
    with visit(NAME) as visitor:
        node = visitor.node
        request = node.create_publisher(String, REQUEST_TOPIC, REQUEST_QOS)
        reports: dict[str, ArmReport] = {}
        confirmed: dict[str, float] = {}
        begin = time.monotonic()

        def take(side: str, message: String) -> None:
            report = parse_report(message.data)
            if report is not None:
                reports[side] = report
                if report.stopped:
                    confirmed.setdefault(side, time.monotonic() - begin)

        for side, topic in topics.items():
            listen(node, String, topic, partial(take, side), LATCHED_QOS)
        while (elapsed := time.monotonic() - begin) < timeout:
            request.publish(String(data=plain_text(reason)))
            visitor.spin_for(PERIOD)
            driven = {side for side, topic in topics.items() if node.count_publishers(topic)}
            if driven and elapsed > LOOK_AROUND and driven <= set(confirmed):
                break
            if topics and set(confirmed) == set(topics):
                break
        return {
            side: Confirmation(
                driver=bool(node.count_publishers(topic)),
                seconds=confirmed.get(side),
                state=reports[side].state if side in reports else "",
            )
            for side, topic in topics.items()
        }


def reset(timeout: float) -> tuple[bool, str]:
    """Call the reset of the e-stop node; returns whether it was done, and what it says."""
    with visit(NAME) as visitor:
        client = visitor.node.create_client(Trigger, ESTOP_RESET)
        if not visitor.spin_until(client.service_is_ready, timeout):
            return False, (
                f"error: nobody offers /estop/reset within {timeout} s: the e-stop node does not "
                "run; a launch starts it, or `python -m cell_monitor.nodes.estop_node`"
            )
        answer = client.call_async(Trigger.Request())
        if not visitor.spin_until(answer.done, timeout):
            return False, "error: the e-stop node does not answer: it hangs; kill it"
        response = answer.result()
        return response.success, response.message
