"""ROS node of one arm: commands in, state out, safety filter and back end between."""

import dataclasses
import json
import threading
import time
from collections.abc import Callable

import numpy as np
from diagnostic_msgs.msg import DiagnosticArray
from geometry_msgs.msg import PoseStamped, WrenchStamped
from rclpy.node import Node
from rclpy.time import Time
from sensor_msgs.msg import JointState
from std_msgs.msg import String
from std_srvs.srv import Trigger

from arm_driver.driver import ArmDriver, DriverStatus
from arm_driver.interface import ArmBackend, ArmSample
from arm_driver.nodes import messages
from ate_core.arm_model import tool_chain
from ate_core.contract import Cell
from ate_core.devices import ArmConfig
from ate_core.geometry import matrix_to_pose, pose_to_matrix
from ate_core.loop import FixedRateLoop
from ate_core.nodes.parameters import declare_cell, declare_text
from ate_core.nodes.qos import COMMAND_QOS, DEFAULT_QOS, LATCHED_QOS
from ate_core.nodes.runner import run_node
from ate_core.priority import CONTROL

STATUS_PERIOD = 0.5
"""A changed reason is published at most this often; a changed state at once [s]."""


MakeBackend = Callable[[ArmConfig, Node], ArmBackend]
"""Builds the back end of an arm; the node is for back ends that speak ROS themselves."""


class ArmNode(Node):
    """Topics and services <-> `ArmDriver`, whose ticks run in a thread of their own."""

    def __init__(self, make_backend: MakeBackend) -> None:
        super().__init__("driver_node")
        cell = declare_cell(self)
        side = declare_text(self, "arm", "left", "arm of the cell to drive", ("left", "right"))
        self._arm = cell.arms[side]
        self._side = side
        self._backend = make_backend(self._arm, self)
        period = 1.0 / cell.rates.arm_stream
        self._driver = ArmDriver(self._arm, cell.safety, self._backend, period)
        self._chain = tool_chain(self._arm)
        self._transform_base_to_world = pose_to_matrix(self._arm.base_pose)
        self._status: DriverStatus | None = None
        self._status_at = 0.0
        self._pushes = 0
        self._connect(cell)
        self._stop = threading.Event()
        self._loop = FixedRateLoop(cell.rates.arm_stream, self._stop)
        self._thread = threading.Thread(target=self._stream, name="arm stream")
        self._backend.start()
        self._thread.start()

    def halt(self) -> None:
        """Send no more targets, let the controller brake, disconnect."""
        self._stop.set()
        self._thread.join()
        self._backend.close()
        self.get_logger().info(f"arm at rest; {self._loop.stats().sentence()}")

    def _connect(self, cell: Cell) -> None:
        topics, namespace = cell.topics, self._arm.namespace

        def name(relative: str) -> str:
            return topics.of_arm(namespace, relative)

        self._states = self.create_publisher(JointState, name(topics.joint_states), DEFAULT_QOS)
        self._wrenches = self.create_publisher(WrenchStamped, name(topics.wrench), DEFAULT_QOS)
        self._poses = self.create_publisher(PoseStamped, name(topics.tcp_pose), DEFAULT_QOS)
        self._statuses = self.create_publisher(String, name(topics.arm_status), LATCHED_QOS)
        self._diagnostics = self.create_publisher(DiagnosticArray, "/diagnostics", DEFAULT_QOS)
        self.create_subscription(
            JointState, name(topics.joint_command), self._take_command, COMMAND_QOS
        )
        self.create_service(Trigger, name("arm/enable"), self._enable)
        self.create_service(Trigger, name("arm/stop"), self._stop_arm)
        self.create_service(Trigger, name("arm/clear_errors"), self._clear_errors)
        self.create_service(Trigger, name("arm/home"), self._home)
        self.create_timer(1.0, self._publish_diagnostics)

    # --- commands, in the executor -------------------------------------------------------

    def _take_command(self, message: JointState) -> None:
        made_ns = Time.from_msg(message.header.stamp).nanoseconds
        age = (self.get_clock().now().nanoseconds - made_ns) / 1e9
        now = time.monotonic()
        verdict = self._driver.command(
            message.name, message.position, message.header.frame_id, now - age, now
        )
        if not verdict.accepted:
            self.get_logger().warning(verdict.reason, throttle_duration_sec=1.0)

    def _enable(self, request: Trigger.Request, response: Trigger.Response) -> Trigger.Response:
        return messages.answer(response, self._driver.enable())

    def _stop_arm(self, request: Trigger.Request, response: Trigger.Response) -> Trigger.Response:
        confirmed = self._driver.stop("stopped by service; call arm/enable")
        return messages.answer(response, "" if confirmed else "the controller did not confirm")

    def _clear_errors(
        self, request: Trigger.Request, response: Trigger.Response
    ) -> Trigger.Response:
        return messages.answer(response, self._driver.clear_errors())

    def _home(self, request: Trigger.Request, response: Trigger.Response) -> Trigger.Response:
        return messages.answer(response, self._driver.home(time.monotonic()))

    # --- state, in the streaming thread --------------------------------------------------

    def _stream(self) -> None:
        for _ in self._loop:
            now = time.monotonic()
            tick = self._driver.tick(now)
            if tick.sample is not None:
                self._publish_sample(tick.sample)
            self._publish_status(tick.status, now)

    def _publish_sample(self, sample: ArmSample) -> None:
        self._pushes = sample.sequence
        stamp = Time(nanoseconds=sample.stamp_ns).to_msg()
        self._states.publish(messages.joint_state(sample, stamp, self._arm.joint_names))
        if sample.wrench is not None:
            self._wrenches.publish(messages.wrench(sample.wrench, stamp, f"{self._side}_tool"))
        transform = self._transform_base_to_world @ self._chain.fk(sample.position)
        self._poses.publish(messages.pose(matrix_to_pose(transform), stamp, "world"))

    def _publish_status(self, status: DriverStatus, now: float) -> None:
        last = self._status
        if status == last:
            return
        if last and status.state == last.state and now - self._status_at < STATUS_PERIOD:
            return
        if last is None or status.state != last.state:
            self.get_logger().info(f"{status.state} {status.reason}".strip())
        self._status, self._status_at = status, now
        self._statuses.publish(String(data=json.dumps(dataclasses.asdict(status))))

    def _publish_diagnostics(self) -> None:
        stats = self._loop.stats()
        device = self._backend.identity().name
        values = {
            "controller": device,
            "links made": str(self._backend.session),
            "state packets": str(self._pushes),
            "commands refused": str(self._driver.refused),
            "loop": stats.sentence() if np.isfinite(stats.median_ms) else "not yet",
        }
        array = messages.diagnostics(
            self._status, f"{self._side} arm", values["controller"], values
        )
        array.header.stamp = self.get_clock().now().to_msg()
        self._diagnostics.publish(array)


def run_arm_node(make_backend: MakeBackend, args: list[str] | None = None) -> int:
    """Run the node of a back end until SIGINT or SIGTERM; returns the exit code."""
    return run_node(lambda: ArmNode(make_backend), args, CONTROL)
