"""ROS node of one arm: commands in, state out, safety filter and back end between.

Threads: the stream of targets in one that is watched (`GuardedStream`), which takes the commands
and the other arm's joints before each tick; the node's callbacks in one, the stop and the
emergency stop in one each (`StopNode`, `EstopNode`); calls that wait for the device get their own,
so nothing waits for them.
"""

import importlib
import time
from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray
from rclpy.node import Node
from sensor_msgs.msg import JointState
from std_msgs.msg import Empty, Header
from std_srvs.srv import Trigger

from arm_driver.arm_guard import ArmGuard
from arm_driver.driver import ArmDriver, Tick
from arm_driver.following import TrajectoryFollower
from arm_driver.interface import ArmBackend
from arm_driver.nodes import messages
from arm_driver.nodes.arm_parameters import ArmParameters
from arm_driver.nodes.arm_reports import ArmReports
from arm_driver.nodes.exchange_watch import ExchangeWatch
from arm_driver.nodes.stop_node import EstopNode, StopNode
from arm_driver.nodes.trajectory_action import TrajectoryAction
from arm_driver.nodes.trajectory_commander import COMMANDER as TRAJECTORY
from arm_driver.nodes.trajectory_commander import TrajectoryCommander
from arm_driver.watchdog import GuardedStream
from ate_core.contract import Cell
from ate_core.device_names import arm_device
from ate_core.devices import ArmConfig
from ate_core.nodes.command_source import (
    CommandSources,
    KnownPublishers,
    commander_of,
    publishers_of,
)
from ate_core.nodes.device_node import DeviceNode
from ate_core.nodes.estop import needs_estop_node
from ate_core.nodes.joints import joint_positions, joint_velocities, require_recent
from ate_core.nodes.listening import decoded, listen
from ate_core.nodes.parameters import declare_cell, declare_text
from ate_core.nodes.polling import PolledMessages, PolledTopic
from ate_core.nodes.qos import COMMAND_QOS, POLLED_COMMAND_QOS
from ate_core.nodes.runner import run_node
from ate_core.nodes.waiting import in_thread, offer_waiting
from ate_core.patience import Repeated
from ate_core.priority import CONTROL
from ate_core.stage_times import DRIVER_STAGES, WINDOW, StageTimes, Summary
from ate_core.streams import header_stamp_ns, time_ns

Array = NDArray[np.float64]

MakeBackend = Callable[[ArmConfig, Node], ArmBackend]
"""Builds the back end of an arm; the node is for back ends that speak ROS themselves."""

KEPT_COMMANDS = 20_000
"""Ways of commands kept for the sentence at the end; four minutes at 90 Hz."""
DEPARTURE_PERIOD = 0.25
"""How often publishers that left are looked for [s]."""


class ArmNode(DeviceNode):
    """Topics and services <-> `ArmDriver`, whose ticks run in a thread of their own."""

    def __init__(self, make_backend: MakeBackend, **options: Any) -> None:
        """Create the node; it connects when nobody else drives the arm.

        Args:
            make_backend: builds the link to the arm.
            options: of `rclpy.node.Node`.
        """
        super().__init__("driver_node", **options)
        self._cell = cell = declare_cell(self)
        self._side = declare_text(
            self, "arm", "left", "arm of the cell to drive", ("left", "right")
        )
        self._arm = arm = cell.arms[self._side]
        self._backend = make_backend(arm, self)
        other = declare_text(
            self,
            "other_arm",
            "required",
            "absent: the other arm is off and out of the way; else its joints must be heard",
            ("required", "absent"),
        )
        self._guard = ArmGuard(cell, self._side, other_absent=other == "absent")
        self._others: list[PolledTopic] = []
        self._driver = ArmDriver(
            arm,
            cell.safety,
            self._backend,
            1.0 / cell.rates.arm_stream,
            self._guard.path_problem,
            self._guard,
        )
        ArmParameters(self, self._driver, self._guard)
        self._driver.set_active(False)
        self._stream = GuardedStream(
            self._driver, cell.rates.arm_stream, self._use, self._look_around
        )
        self._stream.cover_all_threads()
        self._refusals = Repeated()
        self._times = StageTimes(DRIVER_STAGES, KEPT_COMMANDS)
        self._way: tuple[int, dict[str, int]] | None = None
        self._latency: Summary = {}
        self._reports = ArmReports(self, cell, self._side)
        self._exchange = ExchangeWatch(self, cell, self._side)
        self._follower = TrajectoryFollower(self._submit_point, self._driver)
        self._trajectories = TrajectoryCommander(
            self, arm, cell.safety, self._follower, self._present, self._guard.route_problem
        )
        self._follower.on_end = partial(self._driver.release, TRAJECTORY)
        self._needs_estop_node = needs_estop_node(self)
        self._stop_node = StopNode(self, self._driver)
        self._estop_node = EstopNode(self, self._driver)
        self.companions = [self._stop_node, self._estop_node]
        """Nodes with a thread of their own."""
        self.create_timer(1.0, self._diagnose)
        self.manage(f"{arm.namespace}/arm", partial(arm_device, arm))

    def halt(self) -> None:
        """Let the arm come to rest, send no more targets, disconnect."""
        self._follower.cancel("the driver ends")
        self._stream.close()
        self._backend.close()
        self.get_logger().info(f"arm at rest; {self._stream.stats().sentence()}")
        self.get_logger().info(f"from command to target, {self._times.sentence()}")
        self.release_device()

    # --- lifecycle -------------------------------------------------------------------------

    def begin(self) -> None:
        """Connect to the arm and to those who command it; nobody else drives it."""
        self._reports.connect()
        self._connect(self._cell)
        self._backend.start()
        self._stream.start()

    def link_problem(self) -> str:
        """Why the arm is not linked, not the one of the cell, or may have missed a stop."""
        unheard = self._estop_node.unheard if self._needs_estop_node else ""
        return self._driver.link_problem() or unheard

    def set_active(self, active: bool) -> None:
        """Accept commands, or brake and hold."""
        self._driver.set_active(active)

    def _connect(self, cell: Cell) -> None:
        topics, namespace = cell.topics, self._arm.namespace

        def name(relative: str) -> str:
            return topics.of_arm(namespace, relative)

        command = name(topics.joint_command)
        self._commanding = KnownPublishers(publishers_of(self, command))
        self._sources = CommandSources(self._commanding)
        self._looks_home = False
        self._commands = PolledMessages(
            self, JointState, command, self._take_command, POLLED_COMMAND_QOS
        )
        self.create_timer(DEPARTURE_PERIOD, self._release_departed)
        for side in self._guard.other_sides:
            other = topics.of_arm(cell.arms[side].namespace, topics.joint_states)
            see = partial(self._see_other, side)
            self._others.append(PolledTopic(self, JointState, other, see))
        self._exchange.connect(self._guard.other_sides, self._present)
        self._holds = PolledMessages(
            self, Header, name(topics.hold), self._take_hold, POLLED_COMMAND_QOS
        )
        listen(self, Empty, name(topics.home_hold), self._hold_home, COMMAND_QOS)
        for service, answer in (
            ("arm/enable", self._enable),
            ("arm/clear_errors", self._clear_errors),
            ("arm/home", self._home),
        ):
            offer_waiting(self, name(service), answer)
        self._estop_node.connect()
        self._stop_node.connect(name("arm/stop"))
        self._trajectories.connect(name(topics.joint_trajectory))
        self._offer_action(name("arm/follow_joint_trajectory"))

    def _offer_action(self, name: str) -> None:
        try:
            action = importlib.import_module("control_msgs.action").FollowJointTrajectory
        except ImportError:
            self.get_logger().info(
                f"no control_msgs here: no action {name}; trajectories by topic are accepted"
            )
            return
        joints = self._arm.joint_names
        TrajectoryAction(self, action, self._trajectories, self._follower, joints).connect(name)

    # --- requests, in the executor -----------------------------------------------------------

    def _release_departed(self) -> None:
        self._commanding.refresh()
        for source in self._sources.departed(time.monotonic()):
            self._driver.release(commander_of(source), source)

    def _present(self) -> Array | None:
        """Where the arm is (n,) [rad]; None when that is not known."""
        return self._driver.measured(time.monotonic())

    def _hold_home(self, message: Empty) -> None:
        refusal = self._driver.hold_home(time.monotonic())
        if refusal:
            self._reports.refused(f"home: {refusal}", time.monotonic())
            self.get_logger().warning(refusal, throttle_duration_sec=1.0)

    async def _enable(
        self, request: Trigger.Request, response: Trigger.Response
    ) -> Trigger.Response:
        stops = self._driver.stops_so_far
        return messages.answer(response, await in_thread(self, lambda: self._driver.enable(stops)))

    async def _clear_errors(
        self, request: Trigger.Request, response: Trigger.Response
    ) -> Trigger.Response:
        return messages.answer(response, await in_thread(self, self._driver.clear_errors))

    async def _home(
        self, request: Trigger.Request, response: Trigger.Response
    ) -> Trigger.Response:
        if self._looks_home:
            return messages.answer(response, "the way home is looked at already: wait for it")
        stops, self._looks_home = self._driver.stops_so_far, True
        try:
            refusal = await in_thread(self, lambda: self._driver.home(time.monotonic(), stops))
        finally:
            self._looks_home = False
        return messages.answer(response, refusal)

    # --- commands and state, in the streaming thread -----------------------------------------

    def _look_around(self, now: float) -> None:
        for other in self._others:
            other.poll(int(now * 1e9))
        self._commands.poll()
        self._holds.poll()  # after the commands, which came before them

    def _take_command(self, message: JointState, info: dict[str, int | None]) -> None:
        made_ns = header_stamp_ns(message)
        age_ns = self.get_clock().now().nanoseconds - made_ns
        received_ns = time.monotonic_ns()
        age, now = age_ns / 1e9, received_ns / 1e9
        sender = self._sources.identify(message.header.frame_id, info, now)
        self._reports.commands += 1
        refusal = sender.refusal
        if sender.commander == TRAJECTORY:
            refusal = f"the name {TRAJECTORY} is for trajectories; give frame_id another one"
        if not refusal and abs(age) <= self._cell.safety.stamp_max_age:
            self._follower.cancel(f"ended by {sender.commander}")
        refusal = self._driver.command(
            message.name, message.position, sender.commander, now - age, now,
            sender.source, sender.mark(made_ns), refusal,
        ).reason  # fmt: skip
        if not refusal:
            self._way = (
                received_ns - age_ns,
                {"receipt": received_ns, "filter": time.monotonic_ns()},
            )
        else:
            self._reports.refused(f"{sender.commander}: {refusal}", now)
            if self.is_active and self._refusals.happened(now):
                self.get_logger().warning(refusal, throttle_duration_sec=1.0)

    def _take_hold(self, message: Header, _: object) -> None:
        age = (self.get_clock().now().nanoseconds - time_ns(message.stamp)) / 1e9
        now = time.monotonic()
        self._driver.hold(message.frame_id, now - age, now)

    def _see_other(self, side: str, data: bytes, came_ns: int) -> None:
        names, message = self._cell.arms[side].joint_names, decoded(JointState, data)
        require_recent(self, message)
        position, velocity = joint_positions(message, names), joint_velocities(message, names)
        self._guard.see_other(position, came_ns * 1e-9, velocity)
        self._exchange.see_other(side, position, came_ns * 1e-9)

    def _use(self, tick: Tick, now: float) -> None:
        self._keep_times(tick)
        self._exchange.sent(tick.target, now)
        if tick.sample is not None:
            self._reports.publish_sample(tick.sample)
        self._follower.step(now, self._present(), tick.target)
        extra = {
            "lifecycle": self.state_label,
            "inactive": self.inactive_reason,
            "trajectory": self._trajectories.told,
            "latency_ms": self._latency,
        }
        self._reports.publish_status(tick.status, extra, now)

    def _submit_point(self, q: Array, source: str) -> str:
        now = time.monotonic()
        names = self._arm.joint_names
        return self._driver.command(names, q.tolist(), TRAJECTORY, now, now, source).reason

    def _keep_times(self, tick: Tick) -> None:
        """Keep when a target was sent after the newest accepted command."""
        way, self._way = self._way, None
        if way is not None and tick.target is not None:
            begin_ns, done_ns = way
            self._times.keep(begin_ns, {**done_ns, "wire": time.monotonic_ns()})

    def _diagnose(self) -> None:
        self._latency = self._times.summary(time.monotonic_ns() - int(1e9 * WINDOW))
        stats = self._stream.stats()
        values = {
            "lifecycle": self.state_label,
            "commands heard": str(self._reports.commands),
            "commands refused": str(self._driver.refused),
            "loop": stats.sentence() if np.isfinite(stats.median_ms) else "not yet",
        }
        self._reports.publish_diagnostics(self._backend, values, self.inactive_reason)


def run_arm_node(make_backend: MakeBackend, args: list[str] | None = None) -> int:
    """Run the node of a back end until SIGINT or SIGTERM; returns the exit code."""
    return run_node(lambda: ArmNode(make_backend), args, CONTROL, realtime=True)
