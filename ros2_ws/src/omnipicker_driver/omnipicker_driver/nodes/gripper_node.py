"""ROS node of one gripper: commands in; measured opening, status and diagnostics out."""

import dataclasses
import json
import sys
import time
from collections.abc import Mapping
from functools import partial

from diagnostic_msgs.msg import DiagnosticArray
from rclpy.time import Time
from sensor_msgs.msg import JointState
from std_msgs.msg import String

from ate_core.contract import Cell
from ate_core.device_names import gripper_device
from ate_core.errors import DeviceError
from ate_core.json_text import UNREADABLE, plain_text
from ate_core.nodes.command_source import CommandSources, publishers_of
from ate_core.nodes.device_node import DeviceNode
from ate_core.nodes.diagnostics import health_line
from ate_core.nodes.estop import EstopListener, needs_estop_node
from ate_core.nodes.listening import listen
from ate_core.nodes.parameters import declare_cell, declare_text
from ate_core.nodes.qos import COMMAND_QOS, DEFAULT_QOS, LATCHED_QOS
from ate_core.nodes.runner import run_node
from ate_core.patience import Repeated
from ate_core.priority import CONTROL
from ate_core.streams import header_stamp_ns
from omnipicker_driver.client import ClientConfig, GripperClient
from omnipicker_driver.driver import ESTOP, DriverConfig, GripperDriver
from omnipicker_driver.gate import GateConfig, GripperCommand
from omnipicker_driver.protocol import MAX_FORCE
from omnipicker_driver.state import GripperState
from omnipicker_driver.status import GripperStatus, health_of

TICK = 0.05
"""Period of status and watchdog [s]."""
REASON_PERIOD = 0.5
"""A status of which only reason or commander changed is published at most this often [s]."""
HANG_TICKS = 40
"""Own ticks without a round of the polling thread that mean it hangs: two seconds, and a process
that was stopped as a whole is none."""


class GripperNode(DeviceNode):
    """Topics <-> `GripperDriver`. Silence keeps the last target; a held object is not dropped."""

    def __init__(self) -> None:
        super().__init__("gripper_node")
        cell = declare_cell(self)
        self._side = declare_text(
            self, "arm", "left", "side of the cell this gripper is on", ("left", "right")
        )
        gripper = cell.grippers[self._side]
        config = ClientConfig.from_cell(gripper, cell.rates.gripper)
        self._client = GripperClient(config, self._publish_state, self.claim_device)
        gate = GateConfig(
            joint=f"{self._side}_gripper",
            stamp_max_age=cell.safety.stamp_max_age,
            command_timeout=cell.safety.command_timeout,
        )
        driver = DriverConfig(gate=gate, stale_after=config.stale_after, stroke_m=gripper.stroke_m)
        self._driver = GripperDriver(driver, self._client)
        self._joint = gate.joint
        self._status: GripperStatus | None = None
        self._status_at = 0.0
        self._polls, self._idle_ticks = 0, 0
        self._needs_estop_node = needs_estop_node(self)
        self._connect(cell)
        self.manage(f"{gripper.namespace}/gripper", partial(gripper_device, gripper))

    def begin(self) -> None:
        """Open the port, and try again until it is there."""
        self._client.start()

    def link_problem(self) -> str:
        """Why the gripper does not answer as it must, or may have missed a stop; or nothing."""
        unheard = self._estop.unheard if self._needs_estop_node else ""
        return self._driver.problem(time.monotonic()) or unheard

    def set_active(self, active: bool) -> None:
        """Take commands, or come to rest and hold."""
        self._driver.set_active(active)

    def halt(self) -> None:
        """Close the port; the gripper keeps its grip."""
        self._client.stop()
        self.release_device()

    def _connect(self, cell: Cell) -> None:
        topics = cell.topics

        def name(relative: str) -> str:
            return topics.of_arm(cell.grippers[self._side].namespace, relative)

        self._states = self.create_publisher(JointState, name(topics.gripper_states), DEFAULT_QOS)
        self._statuses = self.create_publisher(String, name(topics.gripper_status), LATCHED_QOS)
        self._diagnostics = self.create_publisher(DiagnosticArray, "/diagnostics", DEFAULT_QOS)
        command = name(topics.gripper_command)
        self._refusals = Repeated()
        self._sources = CommandSources(publishers_of(self, command))
        listen(self, JointState, command, self._take_command, COMMAND_QOS)
        listen(self, String, name(topics.arm_status), self._take_arm_status, LATCHED_QOS)
        self._estop = EstopListener(self, self._take_estop)
        self.create_timer(TICK, self._tick)
        self.create_timer(1.0, self._publish_diagnostics)

    # --- in the executor -----------------------------------------------------------------

    def _take_command(self, message: JointState, info: Mapping[str, int | None]) -> None:
        stamp_ns = header_stamp_ns(message)
        age = (self.get_clock().now().nanoseconds - stamp_ns) / 1e9
        now = time.monotonic()
        sender = self._sources.identify(message.header.frame_id, info, now)
        command = GripperCommand(
            names=list(message.name),
            positions=list(message.position),
            commander=sender.commander,
            source=sender.source,
            refusal=sender.refusal,
            mark=sender.mark(stamp_ns),
            age=age,
        )
        verdict = self._driver.command(command, now)
        if not verdict.accepted and self.is_active and self._refusals.happened(now):
            self.get_logger().warning(verdict.reason, throttle_duration_sec=1.0)

    def _take_arm_status(self, message: String) -> None:
        try:
            status = json.loads(message.data)
            state, reason = plain_text(status["state"]), plain_text(status["reason"])
        except UNREADABLE:
            self.get_logger().warning(
                f"arm/status is not readable: {message.data[:60]!r}", throttle_duration_sec=1.0
            )
            return
        self._driver.see_arm(state, reason)

    def _take_estop(self, reason: str) -> None:
        if reason:
            self._driver.stop(ESTOP, f"emergency stop: {reason}; reset it with /estop/reset")
        else:
            self._driver.release(ESTOP)

    def _tick(self) -> None:
        self._watch_client()
        now = time.monotonic()
        for source in self._sources.departed(now):
            self._driver.depart(source)
        self._driver.explain_inactive(self.inactive_reason)
        status, last = self._driver.tick(now), self._status
        if status == last:
            return
        moved = last is None or (status.state, status.object) != (last.state, last.object)
        if not moved and now - self._status_at < REASON_PERIOD:
            return
        if self.is_active and (last is None or status.state != last.state):
            self.get_logger().info(f"{status.state} {status.reason}".strip())
        self._status, self._status_at = status, now
        self._statuses.publish(String(data=json.dumps(dataclasses.asdict(status))))

    def _watch_client(self) -> None:
        """End the process with a reason when the polling thread hangs.

        Raises:
            DeviceError: it does.
        """
        if not self._client.is_running:
            return
        polls = self._client.polls
        self._idle_ticks = self._idle_ticks + 1 if polls == self._polls else 0
        self._polls = polls
        if self._idle_ticks >= HANG_TICKS:
            raise DeviceError(
                f"the polling thread of {self._client.config.port} hangs for "
                f"{self._idle_ticks * TICK:.0f} s: pull the adapter out and plug it in again"
            )

    def _publish_diagnostics(self) -> None:
        now = time.monotonic()
        status = self._driver.tick(now)
        health = health_of(status, self._client.state, now, self._driver.refused)
        line = health_line(health, f"gripper_node: {self._side} gripper", self._client.config.port)
        message = DiagnosticArray(status=[line])
        message.header.stamp = self.get_clock().now().to_msg()
        self._diagnostics.publish(message)

    # --- in the client's thread ------------------------------------------------------------

    def _publish_state(self, state: GripperState) -> None:
        """Publish one new report; an old one is never stamped anew, a doubted one never sent."""
        if state.report is None:
            return
        message = JointState(name=[self._joint])
        message.header.stamp = Time(nanoseconds=state.stamp_ns).to_msg()
        message.position = [state.report.position]
        message.velocity = [state.velocity]
        message.effort = [state.report.force * MAX_FORCE]
        self._states.publish(message)


def main(args: list[str] | None = None) -> int:
    """Run the node until SIGINT or SIGTERM."""
    return run_node(GripperNode, args, CONTROL)


if __name__ == "__main__":
    sys.exit(main())
