"""The emergency stop of the cell: tells everybody its state, and resets it on purpose only.

Arms, grippers, operators and policies latch on ``/estop/request`` by themselves; this node is
what ends a stop, not what makes it work.
"""

import math
import sys
import time
import uuid
from functools import partial

from diagnostic_msgs.msg import DiagnosticArray, DiagnosticStatus
from rclpy.node import Node
from rclpy.subscription import Subscription
from sensor_msgs.msg import JointState
from std_msgs.msg import String
from std_srvs.srv import Trigger

from ate_core.errors import DeviceError
from ate_core.nodes.claim import DeviceClaim, in_domain
from ate_core.nodes.estop import (
    ESTOP_NODE,
    REQUEST_QOS,
    REQUEST_TOPIC,
    STATE_TOPIC,
    other_teller,
)
from ate_core.nodes.joints import require_recent
from ate_core.nodes.listening import listen
from ate_core.nodes.parameters import declare_cell
from ate_core.nodes.qos import DEFAULT_QOS, LATCHED_QOS, SENSOR_QOS
from ate_core.nodes.runner import run_node
from ate_core.topics import ESTOP_RESET, ESTOP_SET
from cell_monitor.estop_state import EstopState, parse_report

PERIOD = 0.2
"""Repetition of the state [s]."""
LOOKS = 25
"""Turns in which a node that has begun looks for arms that are stopped, before it says that none
is, or ends a stop: DDS may need three seconds to find them. Once all have told how they stand it
waits no more."""


class EstopNode(Node):
    """Topics and services <-> `EstopState`."""

    def __init__(self) -> None:
        super().__init__(ESTOP_NODE)
        # Of two nodes one could reset what the other still holds. Kept until the process ends.
        own = in_domain(STATE_TOPIC, self.context.get_domain_id())
        self._claim = DeviceClaim(lambda: (own,))
        if taken := self._claim.take():
            raise DeviceError(taken)
        cell = declare_cell(self)
        topics = cell.topics
        self._state = EstopState(uuid.uuid4().hex, tuple(cell.arms))
        self._status_topics = {
            side: topics.of_arm(arm.namespace, topics.arm_status)
            for side, arm in cell.arms.items()
        }
        self._joint_topics = {
            side: topics.of_arm(arm.namespace, topics.joint_states)
            for side, arm in cell.arms.items()
        }
        self._joint_counts = {side: len(arm.joint_names) for side, arm in cell.arms.items()}
        self._joints: list[Subscription] = []
        self._publisher = self.create_publisher(String, STATE_TOPIC, LATCHED_QOS)
        self._diagnostics = self.create_publisher(DiagnosticArray, "/diagnostics", DEFAULT_QOS)
        listen(self, String, REQUEST_TOPIC, self._take_request, REQUEST_QOS)
        for side, topic in self._status_topics.items():
            listen(self, String, topic, partial(self._take_status, side), LATCHED_QOS)
        self.create_service(Trigger, ESTOP_SET, self._set)
        self.create_service(Trigger, ESTOP_RESET, self._reset)
        self.create_timer(PERIOD, self._repeat)
        self.create_timer(1.0, self._diagnose)
        self._looks = 0

    def _take_request(self, message: String) -> None:
        self._stop(message.data)

    def _take_status(self, side: str, message: String) -> None:
        report = parse_report(message.data)
        if report is not None:
            self._state.take_report(side, report)

    def _take_joints(self, side: str, message: JointState) -> None:
        require_recent(self, message)
        # Joints without a speed, or with one that is no number, are not at rest.
        speeds = [abs(value) for value in message.velocity if math.isfinite(value)]
        speed = max(speeds) if len(speeds) == self._joint_counts[side] else math.inf
        self._state.take_speed(side, speed, time.monotonic())

    def _stop(self, reason: str) -> None:
        if self._state.stop(reason):
            self._begin_stop()

    def _begin_stop(self) -> None:
        """Tell everybody, and watch the joints until the reset; before, nobody needs them."""
        self._publish()
        self.get_logger().error(f"EMERGENCY STOP: {self._state.reason}")
        self._joints = [
            listen(self, JointState, topic, partial(self._take_joints, side), SENSOR_QOS)
            for side, topic in self._joint_topics.items()
        ]

    def _set(self, _: Trigger.Request, response: Trigger.Response) -> Trigger.Response:
        self._stop("service /estop/set was called")
        response.success, response.message = True, f"stopped: {self._state.reason}"
        return response

    def _reset(self, _: Trigger.Request, response: Trigger.Response) -> Trigger.Response:
        self._forget_absent()
        was = self._state.reason
        # Where others tell the state, too, no node counts the reset.
        refusal = other_teller(self) or self._not_yet() or self._state.reset(time.monotonic())
        response.success = not refusal
        if refusal:
            response.message = f"not reset: {refusal}"
            self.get_logger().warning(response.message)
            return response
        for subscription in self._joints:
            self.destroy_subscription(subscription)
        self._joints = []
        self._publish()
        state = f"reset ({was})" if was else "reset; this node knew of no stop"
        act = "nothing moves before a new act: press the clutch, call /policy/start or go home"
        response.message = "; ".join([state, *self._state.notes(), act])
        self.get_logger().info(response.message)
        return response

    def _forget_absent(self) -> None:
        for side, topic in self._status_topics.items():
            if not self.count_publishers(topic):
                self._state.forget(side)

    def _repeat(self) -> None:
        self._looks += 1
        if self._state.take_over(time.monotonic()):
            self._begin_stop()
        elif self._state.reason or self._has_looked():
            self._publish()

    def _has_looked(self) -> bool:
        """Whether an arm that is stopped would have said so."""
        return self._looks >= LOOKS or all(map(self._state.knows, self._status_topics))

    def _not_yet(self) -> str:
        """Why a reset would be blind; empty once it is not."""
        if self._has_looked():
            return ""
        return (
            "this node has just begun and asks the arms how they stand: reset again in "
            f"{LOOKS * PERIOD:g} s"
        )

    def _publish(self) -> None:
        now_ns = self.get_clock().now().nanoseconds
        self._publisher.publish(String(data=self._state.document(now_ns)))

    def _diagnose(self) -> None:
        reason = self._state.reason
        status = DiagnosticStatus(
            name="estop: state",
            hardware_id="cell",
            level=DiagnosticStatus.WARN if reason else DiagnosticStatus.OK,
            message=f"stopped: {reason}" if reason else "not stopped",
        )
        message = DiagnosticArray(status=[status])
        message.header.stamp = self.get_clock().now().to_msg()
        self._diagnostics.publish(message)


def main(args: list[str] | None = None) -> int:
    """Run the node until SIGINT or SIGTERM."""
    return run_node(EstopNode, args)


if __name__ == "__main__":
    sys.exit(main())
