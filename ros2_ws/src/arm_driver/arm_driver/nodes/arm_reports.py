"""What the driver of an arm publishes: states, status, diagnostics."""

import dataclasses
import json
import time
from collections.abc import Mapping

import numpy as np
from diagnostic_msgs.msg import DiagnosticArray
from geometry_msgs.msg import PoseStamped, WrenchStamped
from rclpy.time import Time
from sensor_msgs.msg import JointState
from std_msgs.msg import String

from arm_driver.driver import DriverStatus
from arm_driver.interface import ArmBackend, ArmSample
from arm_driver.nodes import messages
from ate_core.arm_model import tool_chain
from ate_core.contract import Cell
from ate_core.geometry import matrix_to_pose, pose_to_matrix
from ate_core.nodes.device_node import DeviceNode
from ate_core.nodes.qos import DEFAULT_QOS, LATCHED_QOS

STATUS_PERIOD = 0.5
"""A changed reason is published at most this often; a changed state at once [s]."""
TOLD_FOR = 1.0
"""How long a refused command stays in the status [s]."""


class ArmReports:
    """Publishers of one arm. `publish` belongs to the streaming thread."""

    def __init__(self, node: DeviceNode, cell: Cell, side: str) -> None:
        """Create what exists before the device is ours: diagnostics.

        Args:
            node: node of the driver.
            cell: topics.
            side: the arm.
        """
        self._node, self._cell, self._side = node, cell, side
        self._arm = cell.arms[side]
        self._chain = tool_chain(self._arm)
        self._transform_base_to_world = pose_to_matrix(self._arm.base_pose)
        self._diagnostics = node.create_publisher(DiagnosticArray, "/diagnostics", DEFAULT_QOS)
        self._content: tuple[DriverStatus, dict[str, object], str] | None = None
        self._document: dict[str, object] = {}
        self._document_at = 0.0
        self._refusal: tuple[str, float] = ("", -np.inf)
        self._counted: tuple[int, float] = (0, time.monotonic())
        self.status: DriverStatus | None = None
        """Newest status."""
        self.sample: ArmSample | None = None
        """Newest good state."""
        self.commands = 0
        """Commands heard."""

    def connect(self) -> None:
        """Create what only the one driver of the arm may publish."""
        topics, node = self._cell.topics, self._node

        def name(relative: str) -> str:
            return topics.of_arm(self._arm.namespace, relative)

        self._states = node.create_publisher(JointState, name(topics.joint_states), DEFAULT_QOS)
        self._wrenches = node.create_publisher(WrenchStamped, name(topics.wrench), DEFAULT_QOS)
        self._poses = node.create_publisher(PoseStamped, name(topics.tcp_pose), DEFAULT_QOS)
        self._statuses = node.create_publisher(String, name(topics.arm_status), LATCHED_QOS)

    def refused(self, reason: str, now: float) -> None:
        """Keep a refusal for the status: whoever was refused must be able to learn why."""
        self._refusal = (reason, now)

    def publish_sample(self, sample: ArmSample) -> None:
        """Publish a state that is good."""
        self.sample = sample
        stamp = Time(nanoseconds=sample.stamp_ns).to_msg()
        self._states.publish(messages.joint_state(sample, stamp, self._arm.joint_names))
        if sample.wrench is not None:
            self._wrenches.publish(messages.wrench(sample.wrench, stamp, f"{self._side}_tool"))
        transform = self._transform_base_to_world @ self._chain.fk(sample.position)
        self._poses.publish(messages.pose(matrix_to_pose(transform), stamp, "world"))

    def publish_status(
        self, status: DriverStatus, extra: Mapping[str, object], now: float
    ) -> None:
        """Publish what has changed.

        Args:
            status: of the driver.
            extra: further entries of the document.
            now: monotonic time [s].
        """
        reason, since = self._refusal
        refused = reason if now - since < TOLD_FOR else ""
        self.status, content = status, (status, dict(extra), refused)
        if content == self._content:
            return
        document = {**dataclasses.asdict(status), **extra, "refused": refused}
        last = self._document
        if _same_state(document, last) and now - self._document_at < STATUS_PERIOD:
            return
        if document["state"] != last.get("state") and self._node.is_active:
            self._node.get_logger().info(f"{status.state} {status.reason}".strip())
        self._content, self._document, self._document_at = content, document, now
        self._statuses.publish(String(data=json.dumps(document)))

    def publish_diagnostics(
        self, backend: ArmBackend, values: Mapping[str, str], not_active: str
    ) -> None:
        """Publish one entry for the arm and one for its joints.

        Args:
            backend: the link.
            values: of the node: rates, counters.
            not_active: why the node is not active; empty while it is.
        """
        name = f"{self._side} arm"
        identity, now = backend.identity(), time.monotonic()
        entries = {
            "controller": identity.name,
            "model": identity.model,
            "firmware": identity.firmware,
            "links made": str(backend.session),
            **self._rate(now),
            **values,
            **backend.health(),
        }
        array = DiagnosticArray(
            status=[
                messages.arm_diagnostics(
                    self.status, not_active, name, identity.name, _told(entries)
                )
            ]
        )
        if self.sample is not None:
            array.status.append(
                messages.joint_diagnostics(
                    self.sample,
                    now - self.sample.received,
                    self._arm.joint_names,
                    f"{name} joints",
                    identity.name,
                )
            )
        array.header.stamp = self._node.get_clock().now().to_msg()
        self._diagnostics.publish(array)

    def _rate(self, now: float) -> dict[str, str]:
        """Rate and age of the states since the last call."""
        if self.sample is None:
            return {"state rate": "0.0 Hz", "state age": "no state yet"}
        (before, since), after = self._counted, self.sample.sequence
        self._counted = (after, now)
        rate = max(after - before, 0) / max(now - since, 1e-3)
        age_ms = (now - self.sample.received) * 1e3
        return {
            "state packets": str(after),
            "state rate": f"{rate:.1f} Hz",
            "state age": f"{age_ms:.0f} ms",
        }


def _same_state(document: Mapping[str, object], last: Mapping[str, object]) -> bool:
    keys = ("state", "estop", "fault", "active", "lifecycle")
    return all(document.get(key) == last.get(key) for key in keys)


def _told(entries: Mapping[str, str]) -> dict[str, str]:
    return {key: value for key, value in entries.items() if value}
