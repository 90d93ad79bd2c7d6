"""Run a policy on the cell: streams in, joint and gripper commands out at the tick rate."""

import json
import logging
import sys
import threading
import time
from functools import partial
from pathlib import Path
from typing import Any, get_args

import torch
from diagnostic_msgs.msg import DiagnosticArray, DiagnosticStatus, KeyValue
from geometry_msgs.msg import PoseArray
from rclpy.node import Node
from sensor_msgs.msg import CompressedImage, JointState
from std_msgs.msg import Header, String
from std_srvs.srv import Trigger

from ate_core.commanders import POLICY
from ate_core.errors import DeviceError, UsageError
from ate_core.exchanged import Answers
from ate_core.files import replace_text
from ate_core.loop import FixedRateLoop
from ate_core.nodes.claim import DeviceClaim, in_domain
from ate_core.nodes.command_source import unique_commander
from ate_core.nodes.joints import require_near
from ate_core.nodes.listening import listen
from ate_core.nodes.parameters import declare_cell, declare_text
from ate_core.nodes.qos import COMMAND_QOS, DEFAULT_QOS, LATCHED_QOS, SENSOR_QOS
from ate_core.nodes.runner import run_node
from ate_core.observation import LiveBuffer
from ate_core.policy_states import TAKEN_OVER
from ate_core.priority import CONTROL
from ate_core.streams import StreamSpec, header_stamp_ns, read_value
from ate_policy.chunk_check import ChunkLimits
from ate_policy.chunking import GOING_ON, ActionQueue
from ate_policy.first_look import compare_training, tell_pace, tell_picture
from ate_policy.gripper_dwell import GripperDwell
from ate_policy.loading import Precision
from ate_policy.nodes.arm_watch import ArmWatch
from ate_policy.nodes.chunk_options import ChunkOptions
from ate_policy.nodes.operator_watch import OperatorWatch
from ate_policy.nodes.server_options import ServerOptions
from ate_policy.policy import load_policy
from ate_policy.run_report import RunMeter, RunReport
from ate_policy.runtime import PolicyRuntime
from ate_policy.stream_trouble import StreamTrouble

STATUS_PERIOD = 0.2
"""How often what keeps the policy from going on is looked at [s]."""
STALL_LIMIT = 0.5
"""Time between two ticks above which a policy does not go on by itself [s]."""
MESSAGES = {
    "joints": JointState,
    "ratio": JointState,
    "image": CompressedImage,
    "poses": PoseArray,
}

logger = logging.getLogger("policy")


class PolicyNode(Node):
    """Topics <-> `PolicyRuntime`."""

    def __init__(self) -> None:
        super().__init__("policy")
        self.cell = declare_cell(self)
        self._claim = DeviceClaim(lambda: (in_domain("/policy", self.context.get_domain_id()),))
        if taken := self._claim.take():
            raise DeviceError(taken)
        checkpoint = declare_text(self, "checkpoint", "", "checkpoint folder")
        server = ServerOptions.declare(self)
        if bool(checkpoint) == bool(server.address):
            raise UsageError("give one of checkpoint:=FOLDER and policy_server:=ws://HOST:PORT")
        instruction = declare_text(self, "instruction", "", "what to do, in words")
        self._summary = declare_text(self, "summary", "", "JSON file for the timing at the end")
        chunks = ChunkOptions.declare(self)
        device = declare_text(self, "device", "auto", "where the network runs: auto, cpu, cuda")
        precision = declare_text(
            self, "precision", "auto", "what the network computes in", get_args(Precision)
        )
        torch.set_num_threads(1)
        self._remote = server.connect(self.cell) if server.address else None
        policy = self._remote or load_policy(checkpoint, self.cell, device, precision)
        self._trained = compare_training(policy, self.cell, instruction)
        self._unseen = set(policy.config.cameras)
        chunks.check(policy, self.cell.tick_rate)
        self._policy = policy
        self._instruction = policy.instruction_for(instruction)
        warm = policy.warm_up(self._instruction, continuing=chunks.mode in GOING_ON)
        server.require_in_time(warm)
        self._buffer = LiveBuffer(
            self.cell,
            cameras=policy.config.cameras,
            decoder=policy.decode if policy.config.cameras else None,
            use_environment=policy.config.objects > 0,
        )
        rate = self.cell.tick_rate
        chunking = chunks.chunking(policy, self.cell, warm)
        tell_pace(policy, warm, chunking.execute, rate)
        limits = ChunkLimits.of_cell(self.cell)
        self._meter = RunMeter(limits)
        self._runtime = PolicyRuntime(
            policy.infer,
            limits,
            ActionQueue(chunking),
            approach_step=chunks.approach_step(rate),
            measure=lambda: self._buffer.state(time.time_ns()),
        )
        action = self.cell.layout.action
        self._dwell = GripperDwell(action.columns("ratio"), action.names, self.cell.tick_rate)
        self._answers = Answers()
        self._newest: dict[str, Any] = {}
        self._running = threading.Event()
        self._sending = threading.RLock()  # while an action goes out; a hold comes after it
        self._stop = threading.Event()
        self._tick = self._paused_ticks = self._takeovers = 0
        self._pause = ""
        self._streams = StreamTrouble()
        self._told = ("", "", "")
        self._commander = unique_commander(POLICY)
        self._make_interfaces()
        self._loop = FixedRateLoop(self.cell.tick_rate, self._stop)
        self._loop.is_counted = False
        self._thread = threading.Thread(target=self._control, name="control")
        self._thread.start()
        self._publish_status("ready", "")
        logger.info("policy ready: inference %.1f ms, chunk %d", 1e3 * warm, policy.horizon)

    def _make_interfaces(self) -> None:
        topics = self.cell.topics
        for spec in self._buffer.needed:
            listen(self, MESSAGES[spec.kind], spec.topic, partial(self._receive, spec), SENSOR_QOS)
        self._devices = {
            f"{side}_{part}_state": f"{side} {part}"
            for side in self.cell.arms
            for part in ("arm", "gripper")
        }
        self._arm = {
            side: self.create_publisher(
                JointState, topics.of_arm(arm.namespace, topics.joint_command), COMMAND_QOS
            )
            for side, arm in self.cell.arms.items()
        }
        self._gripper = {
            side: self.create_publisher(
                JointState, topics.of_arm(gripper.namespace, topics.gripper_command), COMMAND_QOS
            )
            for side, gripper in self.cell.grippers.items()
        }
        self._status = self.create_publisher(String, "/policy/status", LATCHED_QOS)
        self._diagnostics = self.create_publisher(DiagnosticArray, "/diagnostics", DEFAULT_QOS)
        listen(self, String, "/policy/instruction", self._on_instruction, DEFAULT_QOS)
        self.create_service(Trigger, "/policy/start", self._on_start)
        self.create_service(Trigger, "/policy/stop", self._on_stop)
        self.create_timer(1.0, self._publish_diagnostics)
        self.create_timer(STATUS_PERIOD, self._look)
        self._hold = [
            self.create_publisher(Header, topics.of_arm(arm.namespace, topics.hold), COMMAND_QOS)
            for arm in self.cell.arms.values()
        ]
        self._watch = ArmWatch(self, self.cell, self._commander, self._fall_silent)
        self._operators = OperatorWatch(self, self.cell, self._yield)

    def _receive(self, spec: StreamSpec, message: Any) -> None:
        now_ns, value = time.time_ns(), read_value(spec, message)
        stamp_ns = header_stamp_ns(message)
        self._buffer.add(spec.name, stamp_ns, value, now_ns)
        require_near(stamp_ns, now_ns)  # the buffer looks at ages by itself, and tells the stream
        self._newest[spec.name] = value
        if spec.name in self._unseen:
            self._unseen.discard(spec.name)
            tell_picture(self._trained, spec.name, bytes(message.data))
        if spec.name in self._devices:
            self._watch.heard(self._devices[spec.name])

    def _control(self) -> None:
        """The cell's ticks on the monotonic clock; the tick index counts skipped ticks too."""
        start: int | None = None
        last = time.monotonic()
        for due in self._loop:
            stalled, last = time.monotonic() - last, time.monotonic()
            if stalled > STALL_LIMIT:
                self._fall_silent(f"its process stood still for {stalled:.1f} s")
            start = due if start is None else start
            self._tick = round((due - start) * self.cell.tick_rate / 1e9)
            self._loop.is_counted = self._running.is_set()
            if self._running.is_set() and not self._pauses():
                action = self._runtime.tick(self._tick, self._observe)
                self._meter.note(action, self._tick, self._runtime.observed)
                if action is not None:
                    self._command(self._dwell.apply(action, self._tick), last)

    def _pauses(self) -> bool:
        """Whether all arms hold because of one; they go on together, from where they are then."""
        before, self._pause = self._pause, self._watch.pause
        if self._pause:
            self._paused_ticks += 1
            if not before:
                self._runtime.reset()
                self._answers.reset()
        if bool(before) != bool(self._pause):
            logger.warning("%s", self._pause or "all arms and grippers are there again: going on")
        return bool(self._pause)

    def _observe(self) -> Any:
        return self._streams.take(self._buffer.observe(time.time_ns(), self._instruction))

    def _command(self, action: Any, read_at: float) -> None:
        """Send an action, unless the process stood still since it was read [s, monotonic].

        Its stamp is taken before that is looked at: of what is held up later the drivers see
        the age.
        """
        with self._sending:
            stamp = self.get_clock().now().to_msg()
            if time.monotonic() - read_at > self.cell.safety.command_timeout:
                self._runtime.withhold()
            elif self._running.is_set():
                self._send(action, stamp)

    def _send(self, action: Any, stamp: Any) -> None:
        blocks = self.cell.layout.action.unpack(action)
        for side, arm in self.cell.arms.items():
            message = JointState()
            message.header.stamp = stamp
            message.header.frame_id = self._commander
            message.name = list(arm.joint_names)
            message.position = [float(value) for value in blocks[f"{side}_arm"]]
            self._arm[side].publish(message)
            opening = JointState()
            opening.header.stamp = stamp
            opening.header.frame_id = self._commander
            opening.name = [f"{side}_gripper"]
            opening.position = [float(blocks[f"{side}_gripper"][0])]
            self._gripper[side].publish(opening)
        self._watch.sent()
        self._compare_answers({side: blocks[f"{side}_arm"] for side in self.cell.arms})

    def _compare_answers(self, told: dict[str, Any]) -> None:
        """Brake where one arm does what the other one is told."""
        did = {
            side: state[: len(joints)]
            for side, joints in told.items()
            if (state := self._newest.get(f"{side}_arm_state")) is not None
        }
        if exchanged := self._answers.note(self._tick, told, did):
            self._brake(exchanged)

    def _on_instruction(self, message: String) -> None:
        """Another instruction from the next chunk on, if the policy can follow one."""
        try:
            self._instruction = self._policy.require_instruction(message.data)
        except UsageError as error:
            logger.error("instruction refused, it stays %r: %s", self._instruction, error)
            return
        logger.info("instruction is now %r", self._instruction)

    def _on_start(self, _: Trigger.Request, response: Trigger.Response) -> Trigger.Response:
        trouble = self._watch.trouble or self._watch.pause
        trouble = trouble or self._operators.pressed or self._watch.taken
        if trouble:
            response.success, response.message = False, f"not started: {trouble}"
            return response
        self._runtime.reset()
        self._streams.forget()
        self._dwell.reset()
        self._answers.reset()
        self._pause = ""
        self._watch.begin()
        self._running.set()
        self._publish_status("running", "")
        response.success, response.message = True, "running"
        return response

    def _on_stop(self, _: Trigger.Request, response: Trigger.Response) -> Trigger.Response:
        self._running.clear()
        self._runtime.reset()
        self._publish_status("ready", "")
        response.success, response.message = True, "stopped, the arms hold"
        return response

    def _fall_silent(self, reason: str, state: str = "ready") -> None:
        """Stop commanding until /policy/start is called anew."""
        with self._sending:
            was_running = self._running.is_set()
            self._running.clear()
        if was_running:
            self._runtime.reset()
            self._publish_status(state, reason)
            logger.error("policy stopped: %s; call /policy/start to go on", reason)

    def _yield(self, reason: str) -> None:
        """Let all arms brake at once for an operator, who drives with the next press."""
        if self._running.is_set():
            self._takeovers += 1
            self._brake(reason, TAKEN_OVER)

    def _brake(self, reason: str, state: str = "ready") -> None:
        """Fall silent, and let all arms brake at once instead of after the silence."""
        self._fall_silent(reason, state)
        stamp = self.get_clock().now().to_msg()
        for publisher in self._hold:
            publisher.publish(Header(stamp=stamp, frame_id=self._commander))

    def _look(self) -> None:
        """Tell why no chunk comes, and end what cannot go on by itself."""
        stats = self._runtime.stats(self._tick)
        if not self._running.is_set():
            return
        if stats.stuck:
            self._running.clear()
            self._runtime.reset()
            self._publish_status("stuck", stats.stuck)
            logger.error("policy is stuck: %s; call /policy/start to try again", stats.stuck)
            return
        reason, waits_for = self._pause or stats.reason, self._pause or self._streams.stream
        if ("running", reason, waits_for) != self._told:
            self._publish_status("running", reason, waits_for)

    def _publish_status(self, state: str, reason: str, waits_for: str = "") -> None:
        self._told = (state, reason, waits_for)
        status = {"state": state, "reason": reason, "waits_for": waits_for}
        self._status.publish(String(data=json.dumps(status)))

    def _publish_diagnostics(self) -> None:
        values = {**self._report().values(), "instruction": self._instruction}
        status = DiagnosticStatus(
            name="policy: runtime",
            hardware_id=self.cell.name,
            level=DiagnosticStatus.WARN if self._told[1] else DiagnosticStatus.OK,
            message=": ".join(filter(None, self._told[:2])),
            values=[KeyValue(key=key, value=text) for key, text in values.items()],
        )
        array = DiagnosticArray(status=[status])
        array.header.stamp = self.get_clock().now().to_msg()
        self._diagnostics.publish(array)

    def _report(self) -> RunReport:
        return RunReport(
            loop=self._loop.stats(),
            runtime=self._runtime.stats(self._tick),
            measures=self._meter.measures(),
            paused_ticks=self._paused_ticks,
            turns_held_back=self._dwell.held_back,
            takeovers=self._takeovers,
            latency={} if self._remote is None else self._remote.latency.figures(),
        )

    def halt(self) -> None:
        """Fall silent, so the drivers hold, then say in one sentence how it went."""
        self._running.clear()
        self._stop.set()
        self._thread.join()
        if self._remote is not None:
            self._remote.close()
        self._runtime.close()
        self._claim.release()
        report = self._report()
        logger.info("%s", report.sentence())
        if self._summary:
            path = Path(self._summary)
            path.parent.mkdir(parents=True, exist_ok=True)
            replace_text(path, json.dumps(report.as_dict(), indent=2))


def main(args: list[str] | None = None) -> int:
    """Run the node."""
    return run_node(PolicyNode, args, CONTROL)


if __name__ == "__main__":
    sys.exit(main())
