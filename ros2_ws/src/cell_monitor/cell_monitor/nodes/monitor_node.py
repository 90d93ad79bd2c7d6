"""Brings the drivers of a cell up, says when it is ready, and watches it from outside.

One line per node on ``/diagnostics_agg`` and one for the cell as a whole on
``/diagnostics_toplevel_state``; whoever falls silent is named, and a hanging process
that the launch starts again is killed, since nothing else ends a hang. One that is silent because
the machine is too busy is not: its new start would make the machine busier.
"""

import os
import signal
import sys
import time
from functools import partial

from diagnostic_msgs.msg import DiagnosticArray, DiagnosticStatus, KeyValue
from rcl_interfaces.msg import ParameterDescriptor
from rclpy.node import Node

from ate_core.nodes.listening import listen
from ate_core.nodes.parameters import declare_text
from ate_core.nodes.qos import DEFAULT_QOS
from ate_core.nodes.runner import run_node
from ate_core.topics import CELL_HEALTH
from cell_monitor.nodes.lifecycle_client import LifecycleClient
from cell_monitor.readiness import Readiness
from cell_monitor.siblings import find_sibling
from cell_monitor.starvation import Starvation
from cell_monitor.watch import OK, STALE, DiagnosticsWatch, Health, WatchedNode, parse_nodes

LOOK_PERIOD = 0.1
"""Between two looks at the ages of all nodes [s]."""
MANAGE_PERIOD = 0.3
"""Between two looks at the lifecycle of the drivers [s]."""


class MonitorNode(Node):
    """Topics and services <-> `DiagnosticsWatch` and `Readiness`."""

    def __init__(self) -> None:
        super().__init__("monitor")
        nodes = parse_nodes(declare_text(self, "nodes", "[]", "nodes to watch, as JSON"))
        following = declare_text(self, "following", "the cell is up", "what to do when ready")
        descriptor = ParameterDescriptor(
            description="kill a process that hangs and that the launch starts again",
            read_only=True,
        )
        self._kills = bool(self.declare_parameter("kill_hung", True, descriptor).value)
        self._nodes = {node.name: node for node in nodes}
        self._watch = DiagnosticsWatch(nodes)
        self._readiness = Readiness(nodes, following, time.monotonic())
        self._drivers = {
            node.name: LifecycleClient(self, node.name, partial(self._choose, node.name))
            for node in nodes
            if node.managed
        }
        self._tried: dict[str, float] = {}
        self._waited: set[str] = set()
        self._starving: set[str] = set()
        self._silent: dict[str, Starvation] = {}
        self._published: tuple[dict[str, int], int] = ({}, OK)
        self._published_at = 0.0
        self._aggregate = self.create_publisher(DiagnosticArray, "/diagnostics_agg", DEFAULT_QOS)
        self._whole = self.create_publisher(DiagnosticStatus, CELL_HEALTH, DEFAULT_QOS)
        listen(self, DiagnosticArray, "/diagnostics", self._take, DEFAULT_QOS)
        self.create_timer(LOOK_PERIOD, self._look)
        self.create_timer(MANAGE_PERIOD, self._manage)

    def _take(self, message: DiagnosticArray) -> None:
        now = time.monotonic()
        for status in message.status:
            self._watch.take(status.name, status.level[0], status.message, now)

    def _choose(self, name: str) -> str:
        return self._readiness.transition(name, self._states())

    def _states(self) -> dict[str, str]:
        return {name: driver.state for name, driver in self._drivers.items()}

    def _manage(self) -> None:
        for driver in self._drivers.values():
            driver.step()

    def _look(self) -> None:
        now = time.monotonic()
        health = self._watch.look(now)
        for bad, sentence in self._readiness.look(now, health, self._states()):
            # Two calls: rclpy refuses another severity from the same line.
            if bad:
                self.get_logger().error(sentence)
            else:
                self.get_logger().info(sentence)
        level, sentence = self._readiness.verdict()
        levels = {name: one.level for name, one in health.items()}, level
        if levels != self._published or now - self._published_at >= 1.0:
            self._published, self._published_at = levels, now
            self._publish(health)
            whole = DiagnosticStatus(name="cell", level=bytes([level]), message=sentence)
            self._whole.publish(whole)
        if self._kills:
            for name, node in self._nodes.items():
                if node.restarts:
                    self._judge(node, health[name], now)

    def _judge(self, node: WatchedNode, health: Health, now: float) -> None:
        """End a process that hangs; of one that may be at work, say how long it is waited for."""
        starved = self._starved(node.name, health, now)
        if health.is_hung(node, starved):
            self._end(node.name, health, now)
        if not health.is_starved(node, starved):
            self._starving.discard(node.name)
        elif node.name not in self._starving:
            self._starving.add(node.name)
            self.get_logger().warning(
                f"{node.name} is {health.text}, {starved:.1f} s of that it waited for a "
                "processor: this machine is too busy; end other programs. It is not killed"
            )
        if not health.is_waited_for(node):
            self._waited.discard(node.name)
        elif node.name not in self._waited:
            self._waited.add(node.name)
            self.get_logger().warning(
                f"{node.name} is {health.text}: it may be at work, as a recorder that saves; not "
                f"killed before {node.patience:g} s"
            )

    def _starved(self, name: str, health: Health, now: float) -> float:
        """How long a silent node has waited for a processor since its silence was noticed [s]."""
        if health.level != STALE or health.age == float("inf"):
            self._silent.pop(name, None)
            return 0.0
        if name not in self._silent:  # without a process nothing waits, until it is heard again
            process = find_sibling(name)
            self._silent[name] = Starvation(0 if process is None else process.pid)
        return self._silent[name].look(now)

    def _end(self, name: str, health: Health, now: float) -> None:
        """Kill a process that hangs; one that has not spoken since its start is only slow."""
        if now - self._tried.get(name, 0.0) < 1.0:
            return
        self._tried[name] = now
        process = find_sibling(name)
        if process is not None and process.age > health.age:
            self.get_logger().error(
                f"{name} hangs ({health.text}): killing its process {process.pid}, which the "
                "launch starts again"
            )
            os.kill(process.pid, signal.SIGKILL)

    def _publish(self, health: dict[str, Health]) -> None:
        message = DiagnosticArray()
        message.header.stamp = self.get_clock().now().to_msg()
        states = self._states()
        for name, one in sorted(health.items()):
            values = {"age_s": f"{one.age:.1f}", "lifecycle": states.get(name, "")}
            message.status.append(
                DiagnosticStatus(
                    name=name,
                    hardware_id="cell",
                    level=bytes([min(one.level, STALE)]),
                    message=one.text or "well",
                    values=[KeyValue(key=key, value=value) for key, value in values.items()],
                )
            )
        self._aggregate.publish(message)


def main(args: list[str] | None = None) -> int:
    """Run the node until SIGINT or SIGTERM."""
    return run_node(MonitorNode, args)


if __name__ == "__main__":
    sys.exit(main())
