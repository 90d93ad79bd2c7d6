"""What `ate stop` does on the ROS graph: ask until every arm has confirmed."""

import contextlib
import time
from collections.abc import Iterator
from functools import partial

import rclpy
from rclpy.executors import SingleThreadedExecutor
from rclpy.node import Node
from std_msgs.msg import String
from std_srvs.srv import Trigger

from ate_core.contract import Cell
from ate_core.nodes.estop import REQUEST_QOS, REQUEST_TOPIC
from ate_core.nodes.listening import listen
from ate_core.nodes.qos import LATCHED_QOS
from ate_core.topics import ESTOP_RESET
from cell_monitor.estop_state import ArmReport, Confirmation, parse_report

PERIOD = 0.05
"""Repetition of the request until all arms have confirmed [s]."""
LOOK_AROUND = 2.0
"""How long to look for a second driver before it counts as not running [s]; a busy machine
discovers slowly. Without any driver the whole time is spent looking."""


def stop(cell: Cell, reason: str, timeout: float) -> dict[str, Confirmation]:
    """Publish the request until every arm reports the stop, or the time is over.

    Args:
        cell: its arms.
        reason: told to everybody.
        timeout: when to give up [s].
    """
    with _node() as (node, executor):
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

        topics = {
            side: cell.topics.of_arm(arm.namespace, cell.topics.arm_status)
            for side, arm in cell.arms.items()
        }
        for side, topic in topics.items():
            listen(node, String, topic, partial(take, side), LATCHED_QOS)
        while (elapsed := time.monotonic() - begin) < timeout:
            request.publish(String(data=reason))
            _spin_for(executor, PERIOD)
            driven = {side for side, topic in topics.items() if node.count_publishers(topic)}
            if driven and elapsed > LOOK_AROUND and driven <= set(confirmed):
                break
            if set(confirmed) == set(topics):
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
    with _node() as (node, executor):
        client = node.create_client(Trigger, ESTOP_RESET)
        deadline = time.monotonic() + timeout
        while not client.service_is_ready() and time.monotonic() < deadline:
            _spin_for(executor, PERIOD)
        if not client.service_is_ready():
            return False, (
                f"error: nobody offers /estop/reset within {timeout} s: the e-stop node does not "
                "run; a launch starts it, or `python -m cell_monitor.nodes.estop_node`"
            )
        answer = client.call_async(Trigger.Request())
        while not answer.done() and time.monotonic() < deadline + timeout:
            _spin_for(executor, PERIOD)
        if not answer.done():
            return False, "error: the e-stop node does not answer: it hangs; kill it"
        response = answer.result()
        return response.success, response.message


def _spin_for(executor: SingleThreadedExecutor, seconds: float) -> None:
    deadline = time.monotonic() + seconds
    while (left := deadline - time.monotonic()) > 0:
        executor.spin_once(timeout_sec=left)


@contextlib.contextmanager
def _node() -> Iterator[tuple[Node, SingleThreadedExecutor]]:
    context = rclpy.Context()
    rclpy.init(context=context)
    node = rclpy.create_node("ate_stop", context=context, start_parameter_services=False)
    executor = SingleThreadedExecutor(context=context)
    executor.add_node(node)
    try:
        yield node, executor
    finally:
        executor.shutdown()
        node.destroy_node()
        context.try_shutdown()
