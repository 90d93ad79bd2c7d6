"""Judge a policy on the simulated cell through the nodes: reset, home, start, watch, stop.

python -m ate_sim.nodes.rollouts --task pick_place --first-seed 1000 --episodes 3
"""

import argparse
import json
import logging
import math
import signal
import sys
import threading
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Literal, NamedTuple

import numpy as np
import rclpy
from rclpy.node import Node
from rclpy.signals import SignalHandlerOptions
from sensor_msgs.msg import JointState
from std_msgs.msg import String
from std_srvs.srv import Trigger

from ate_core.commanders import ROLLOUTS
from ate_core.contract import Cell, load_cell
from ate_core.errors import AteError, DeviceError
from ate_core.json_text import UNREADABLE, plain_text
from ate_core.nodes.listening import listen
from ate_core.nodes.qos import COMMAND_QOS, LATCHED_QOS, SENSOR_QOS
from ate_core.nodes.runner import spinning
from ate_core.nodes.transport import use_sockets
from ate_sim.realtime.control import SimControl

START_TIMEOUT = 60.0
"""Longest wait for the other nodes at the start [s]."""
HOME_TIMEOUT = 30.0
"""Longest wait for both arms to be at home [s]."""
ASK_PERIOD = 0.2
"""How often an arm that is not on its way home is asked to go [s]."""
HOME_ANSWER = 2.0
"""Longest wait for its answer [s]."""
SETTLE_TIMEOUT = 15.0
"""Longest wait for the objects to lie still [s]."""
HOME_TOLERANCE = 0.02
"""Largest joint error at home [rad]."""
OPEN_RATIO = 0.95
"""Gripper opening that counts as open."""
NEEDS_A_PERSON = frozenset({"stopped", "fault"})
"""States of an arm that no asking ends."""
READY_TIMEOUT = 15.0
"""Longest wait for arms that follow a policy [s]."""
LONGEST_WAIT = 3.0
"""How long a policy may wait for chunks in a rollout; then it is aborted [s]."""
LONGEST_INTERRUPTION = 1.0
"""How long in all streams and devices may keep a policy waiting in a rollout [s]: what it would
have done with more of its time, nobody knows."""
POLL = 0.05
"""Period at which conditions are looked at [s]."""

logger = logging.getLogger("rollouts")


@dataclass(frozen=True, kw_only=True)
class Rollout:
    """The outcome of one rollout."""

    seed: int
    """Seed of the start positions."""
    success: bool
    """Whether the task was done before the time ran out."""
    score: float
    """Best graded score seen, 0..1."""
    duration: float
    """Time from start to success or to the limit [s]."""
    outcome: Literal["success", "failure", "stuck", "aborted"]
    """stuck: its chunks were refused again and again; aborted: something but the policy kept it
    from going on, so it says nothing of it."""
    reason: str = ""
    """Why it was stuck or aborted."""
    task: str = ""
    """What was to be done."""

    def sentence(self) -> str:
        """Outcome for people."""
        words = {"failure": f"failure, score {self.score:.2f}", "success": "success"}
        word = words.get(self.outcome, f"{self.outcome}: {self.reason}")
        return f"seed {self.seed}: {word} after {self.duration:.1f} s"


class ArmNews(NamedTuple):
    """What an arm's driver told last."""

    state: str = "unknown"
    """As in ``arm/status``."""
    reason: str = "its driver told nothing yet"
    """Likewise."""


class PolicyNews(NamedTuple):
    """What the policy's node told last."""

    state: str = "unknown"
    """As in ``/policy/status``."""
    reason: str = ""
    """Likewise."""
    since: float = math.inf
    """When it was told, on the monotonic clock [s]."""
    waits_for: str = ""
    """Stream or device that keeps it from going on; empty: none does."""


Ended = tuple[Literal["stuck", "aborted"], str]
"""Outcome of a rollout that cannot go on, and the reason."""


class RolloutNode(Node):
    """Clients of the drivers and of the policy node."""

    def __init__(self, cell: Cell) -> None:
        super().__init__("rollouts")
        topics = cell.topics
        self.cell = cell
        self.joints: dict[str, np.ndarray] = {}
        self.openings: dict[str, float] = {}
        self.arms = {side: ArmNews() for side in cell.arms}
        self.policy = PolicyNews()
        listen(self, String, "/policy/status", self._take_policy, LATCHED_QOS)
        self._openers = {}
        self.triggers = {
            name: self.create_client(Trigger, name) for name in ("/policy/start", "/policy/stop")
        }
        for side, arm in cell.arms.items():
            home = self._home(side)
            self.triggers[home] = self.create_client(Trigger, home)
            listen(
                self,
                String,
                topics.of_arm(arm.namespace, topics.arm_status),
                lambda message, side=side: self._take_status(side, message.data),
                LATCHED_QOS,
            )
            listen(
                self,
                JointState,
                topics.of_arm(arm.namespace, topics.joint_states),
                lambda message, side=side: self.joints.update({side: np.array(message.position)}),
                SENSOR_QOS,
            )
            listen(
                self,
                JointState,
                topics.of_arm(arm.namespace, topics.gripper_states),
                lambda message, side=side: self.openings.update({side: message.position[0]}),
                SENSOR_QOS,
            )
            self._openers[side] = self.create_publisher(
                JointState, topics.of_arm(arm.namespace, topics.gripper_command), COMMAND_QOS
            )

    def call(self, name: str, timeout: float = 5.0) -> Trigger.Response:
        """Call a trigger service; the executor runs in another thread."""
        done = threading.Event()
        future = self.triggers[name].call_async(Trigger.Request())
        future.add_done_callback(lambda _: done.set())
        if not done.wait(timeout):
            raise DeviceError(f"service {name} did not answer within {timeout} s: is it running?")
        response: Trigger.Response = future.result()
        return response

    def ask_home(self, side: str) -> str:
        """Ask an arm to go home; returns why it does not, or nothing."""
        try:
            response = self.call(self._home(side), HOME_ANSWER)
        except DeviceError as error:  # its driver may be started anew just now
            return str(error)
        return "" if response.success else str(response.message)

    def open_grippers(self) -> None:
        """Ask both grippers to open."""
        for side, publisher in self._openers.items():
            message = JointState(name=[f"{side}_gripper"], position=[1.0])
            message.header.stamp = self.get_clock().now().to_msg()
            message.header.frame_id = ROLLOUTS
            publisher.publish(message)

    def away(self) -> list[str]:
        """Arms that are not at home."""
        return [
            side
            for side, arm in self.cell.arms.items()
            if side not in self.joints
            or np.abs(self.joints[side] - arm.home).max() > HOME_TOLERANCE
        ]

    def closed(self) -> list[str]:
        """Arms whose gripper is not open."""
        return [side for side in self.cell.arms if self.openings.get(side, 0.0) < OPEN_RATIO]

    def _take_policy(self, message: String) -> None:
        try:
            status = json.loads(message.data)
            state, reason = plain_text(status["state"]), plain_text(status.get("reason", ""))
            waits_for = plain_text(status.get("waits_for", ""))
        except UNREADABLE:
            waits_for = ""
            state, reason = "unknown", f"status is not readable: {message.data[:60]!r}"
        self.policy = PolicyNews(state, reason, time.monotonic(), waits_for)

    def _home(self, side: str) -> str:
        return self.cell.topics.of_arm(self.cell.arms[side].namespace, "arm/home")

    def _take_status(self, side: str, text: str) -> None:
        try:
            status = json.loads(text)
            state, reason = plain_text(status["state"]), plain_text(status.get("reason", ""))
        except UNREADABLE:
            state, reason = "unknown", f"status is not readable: {text[:60]!r}"
        self.arms[side] = ArmNews(state, reason)


class Rollouts:
    """The rollouts, one after the other."""

    def __init__(
        self,
        node: RolloutNode,
        control: SimControl,
        stop: threading.Event,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._node = node
        self._control = control
        self._stop = stop
        self._clock = clock

    def wait(self, condition: Callable[[], bool], timeout: float, what: str) -> None:
        """Wait until a condition holds.

        Raises:
            DeviceError: it did not within ``timeout`` [s].
        """
        deadline = self._clock() + timeout
        while not condition():
            if self._clock() > deadline:
                raise DeviceError(
                    f"{what} took more than {timeout:.0f} s: see the other processes"
                )
            if self._stop.wait(POLL):
                raise KeyboardInterrupt

    def wait_for_nodes(self) -> None:
        """Wait until every service and every arm is there."""
        node = self._node
        self.wait(
            lambda: all(client.service_is_ready() for client in node.triggers.values()),
            START_TIMEOUT,
            "starting the drivers and the policy",
        )
        self.wait(lambda: len(node.joints) == 2, START_TIMEOUT, "the first joint states")
        self._control.wait_until_up(time.monotonic() + START_TIMEOUT)

    def run(self, task: str, seed: int, limit: float) -> Rollout:
        """One rollout of at most ``limit`` seconds."""
        node = self._node
        node.call("/policy/stop")
        self.go_home()
        self._control.reset(seed=seed, task=task)
        self._settle()
        self._start_policy()
        begin = time.monotonic()
        best, success = 0.0, False
        ended: Ended | None = None
        interruptions = Interruptions()
        while not (success or ended) and time.monotonic() - begin < limit:
            if self._stop.wait(POLL):
                raise KeyboardInterrupt
            score, success = self._control.score()
            best, now = max(best, score), time.monotonic()
            interrupted = interruptions.look(node.policy, now)
            ended = None if success else ended_by(node.policy, begin, now) or interrupted
        duration = time.monotonic() - begin
        node.call("/policy/stop")
        outcome, reason = ended or ("success" if success else "failure", "")
        return Rollout(
            seed=seed,
            success=success,
            score=best,
            duration=duration,
            outcome=outcome,
            reason=reason,
            task=task,
        )

    def _start_policy(self) -> None:
        """Start the policy; its arms may be getting ready.

        Raises:
            DeviceError: it was refused for too long.
        """
        deadline = self._clock() + READY_TIMEOUT
        while not (response := self._node.call("/policy/start")).success:
            if self._clock() > deadline:
                raise DeviceError(f"the policy does not start: {response.message}")
            if self._stop.wait(ASK_PERIOD):
                raise KeyboardInterrupt

    def go_home(self) -> None:
        """Send both arms home and open the grippers; what ends a way home is asked for again.

        Raises:
            DeviceError: an arm waits for a person, or the time is over.
        """
        node, asked, refusals = self._node, -math.inf, dict[str, str]()
        begin = self._clock()
        while (away := node.away()) or node.closed():
            now = self._clock()
            for side in away:
                if node.arms[side].state in NEEDS_A_PERSON:
                    raise DeviceError(f"the {side} arm does not go home: {_told(node, side)}")
            if now - begin > HOME_TIMEOUT:
                raise DeviceError(self._why_not_home(refusals))
            if now - asked >= ASK_PERIOD:
                asked = now
                waiting = (side for side in away if node.arms[side].state != "homing")
                refusals = {side: node.ask_home(side) for side in waiting}
            node.open_grippers()
            if self._stop.wait(POLL):
                raise KeyboardInterrupt

    def _why_not_home(self, refusals: dict[str, str]) -> str:
        node = self._node
        why = [
            f"the {side} arm: {refusals.get(side) or _told(node, side)}" for side in node.away()
        ]
        why += [f"the {side} gripper is not open" for side in node.closed()]
        return f"sending both arms home took more than {HOME_TIMEOUT:.0f} s: {'; '.join(why)}"

    def _settle(self) -> None:
        """Wait until the objects have been at rest for some polls: score and poses stand still."""
        start = float(str(self._control.state()["sim_time"]))
        self.wait(
            lambda: float(str(self._control.state()["sim_time"])) - start > 0.5,
            SETTLE_TIMEOUT,
            "settling the objects",
        )


class Interruptions:
    """How long streams and devices have kept a policy waiting in a rollout, one after another."""

    def __init__(self) -> None:
        self._looked_at = math.inf
        self._waited: dict[str, float] = {}

    def look(self, news: PolicyNews, now: float) -> Ended | None:
        """How they have ended the rollout, and why; None: they have not.

        Args:
            news: what the policy's node told last.
            now: present time on the monotonic clock [s].
        """
        passed, self._looked_at = max(now - self._looked_at, 0.0), now
        if news.state == "running" and news.waits_for:
            reason = news.reason or news.waits_for
            self._waited[reason] = self._waited.get(reason, 0.0) + passed
        if sum(self._waited.values()) <= LONGEST_INTERRUPTION:
            return None
        return "aborted", "; ".join(
            f"{reason}, for {waited:.1f} s" for reason, waited in self._waited.items()
        )


def ended_by(news: PolicyNews, begin: float, now: float) -> Ended | None:
    """How a rollout ended by itself, and why; None: it goes on.

    Args:
        news: what the policy's node told last.
        begin: start of the rollout on the monotonic clock [s].
        now: present time [s].
    """
    if news.since < begin:
        return None
    if news.state == "stuck":
        return "stuck", news.reason
    waits = news.state == "running" and now - news.since > LONGEST_WAIT
    if news.reason and (waits or news.state != "running"):
        return "aborted", news.reason
    return None


def _told(node: RolloutNode, side: str) -> str:
    news = node.arms[side]
    return f"is {news.state} {news.reason}".rstrip()


def _parse(words: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="Judge a running policy on the simulated cell.")
    parser.add_argument("--cell", default=None, help="cell.yaml; default: the packaged one")
    parser.add_argument("--task", default="pick_place", help="task to reset the world to")
    parser.add_argument("--first-seed", type=int, default=1000, help="seed of the first rollout")
    parser.add_argument("--episodes", type=int, default=3, help="number of rollouts")
    parser.add_argument("--limit", type=float, default=20.0, help="longest rollout [s]")
    parser.add_argument("--report", type=Path, default=None, help="JSON-lines file of outcomes")
    return parser.parse_args(words)


def _run_all(rollouts: Rollouts, options: argparse.Namespace) -> int:
    rollouts.wait_for_nodes()
    if options.report:
        options.report.parent.mkdir(parents=True, exist_ok=True)
        options.report.write_text("")
    for seed in range(options.first_seed, options.first_seed + options.episodes):
        try:
            outcome = rollouts.run(options.task, seed, options.limit)
        except (AteError, KeyboardInterrupt) as error:
            why = str(error) or "the rollouts were told to stop"
            _tell(_cut_off(seed, why, options.task), options.report)
            raise
        _tell(outcome, options.report)
    return 0


def _cut_off(seed: int, reason: str, task: str) -> Rollout:
    """A rollout that could not be carried out; nobody knows how it would have ended."""
    return Rollout(
        seed=seed,
        success=False,
        score=0.0,
        duration=0.0,
        outcome="aborted",
        reason=reason,
        task=task,
    )


def _tell(outcome: Rollout, report: Path | None) -> None:
    logger.info("%s", outcome.sentence())
    if report:
        with report.open("a") as file:
            file.write(json.dumps(asdict(outcome)) + "\n")


def main(words: list[str] | None = None) -> int:
    """Run the rollouts; 0 when all were carried out, whatever their outcome."""
    options = _parse(words)
    logging.basicConfig(level=logging.INFO, format="%(name)s: %(message)s")
    stop = threading.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: stop.set())
    use_sockets()
    rclpy.init(args=[], signal_handler_options=SignalHandlerOptions.NO)
    try:
        cell = load_cell(options.cell, "sim")
        node = RolloutNode(cell)
        with spinning(node), SimControl(cell.runtime_dir) as control:
            return _run_all(Rollouts(node, control, stop), options)
    except KeyboardInterrupt:
        return 130
    except AteError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    finally:
        rclpy.try_shutdown()


if __name__ == "__main__":
    sys.exit(main())
