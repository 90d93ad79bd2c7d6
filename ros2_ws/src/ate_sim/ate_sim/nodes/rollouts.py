"""Judge a policy on the simulated cell through the nodes: reset, home, start, watch, stop.

python -m ate_sim.nodes.rollouts --task pick_place --first-seed 1000 --episodes 3
"""

import argparse
import json
import logging
import signal
import sys
import threading
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import rclpy
from rclpy.node import Node
from rclpy.signals import SignalHandlerOptions
from sensor_msgs.msg import JointState
from std_srvs.srv import Trigger

from ate_core.contract import Cell, load_cell
from ate_core.errors import AteError, DeviceError
from ate_core.nodes.listening import listen
from ate_core.nodes.qos import COMMAND_QOS, SENSOR_QOS
from ate_core.nodes.runner import spinning
from ate_sim.realtime.control import SimControl

START_TIMEOUT = 60.0
"""Longest wait for the other nodes at the start [s]."""
HOME_TIMEOUT = 15.0
"""Longest wait for both arms to be at home [s]."""
HOME_TOLERANCE = 0.02
"""Largest joint error at home [rad]."""
OPEN_RATIO = 0.95
"""Gripper opening that counts as open."""
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


class RolloutNode(Node):
    """Clients of the drivers and of the policy node."""

    def __init__(self, cell: Cell) -> None:
        super().__init__("rollouts")
        topics = cell.topics
        self.cell = cell
        self.joints: dict[str, np.ndarray] = {}
        self.openings: dict[str, float] = {}
        self._openers = {}
        self.triggers = {
            name: self.create_client(Trigger, name) for name in ("/policy/start", "/policy/stop")
        }
        for side, arm in cell.arms.items():
            home = topics.of_arm(arm.namespace, "arm/home")
            self.triggers[home] = self.create_client(Trigger, home)
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

    def open_grippers(self) -> None:
        """Ask both grippers to open."""
        for side, publisher in self._openers.items():
            message = JointState(name=[f"{side}_gripper"], position=[1.0])
            message.header.stamp = self.get_clock().now().to_msg()
            message.header.frame_id = "rollouts"
            publisher.publish(message)

    def ready(self) -> bool:
        """Whether both arms are at home and both grippers are open."""
        for side, arm in self.cell.arms.items():
            joints = self.joints.get(side)
            if joints is None or np.abs(joints - arm.home).max() > HOME_TOLERANCE:
                return False
            if self.openings.get(side, 0.0) < OPEN_RATIO:
                return False
        return True


class Rollouts:
    """The rollouts, one after the other."""

    def __init__(self, node: RolloutNode, control: SimControl, stop: threading.Event) -> None:
        self._node = node
        self._control = control
        self._stop = stop

    def wait(self, condition: Callable[[], bool], timeout: float, what: str) -> None:
        """Wait until a condition holds.

        Raises:
            DeviceError: it did not within ``timeout`` [s].
        """
        deadline = time.monotonic() + timeout
        while not condition():
            if time.monotonic() > deadline:
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
        self._go_home()
        self._control.reset(seed=seed, task=task)
        self._settle()
        response = node.call("/policy/start")
        if not response.success:
            raise DeviceError(f"the policy does not start: {response.message}")
        begin = time.monotonic()
        best, success = 0.0, False
        while not success and time.monotonic() - begin < limit:
            if self._stop.wait(POLL):
                raise KeyboardInterrupt
            score, success = self._control.score()
            best = max(best, score)
        duration = time.monotonic() - begin
        node.call("/policy/stop")
        return Rollout(seed=seed, success=success, score=best, duration=duration)

    def _go_home(self) -> None:
        node = self._node
        homes = [name for name in node.triggers if name.endswith("arm/home")]
        deadline = time.monotonic() + HOME_TIMEOUT
        refused = list(homes)
        while refused:  # the policy's lease ends a moment after its last command
            refused = [name for name in refused if not node.call(name).success]
            if refused and time.monotonic() > deadline:
                raise DeviceError(f"{refused[0]} is refused: see the arm driver's status")
            if refused:
                self._stop.wait(POLL)

        def opening() -> bool:
            node.open_grippers()
            return node.ready()

        self.wait(opening, HOME_TIMEOUT, "sending both arms home")

    def _settle(self) -> None:
        """Wait until the objects have been at rest for some polls: score and poses stand still."""
        start = float(str(self._control.state()["sim_time"]))
        self.wait(
            lambda: float(str(self._control.state()["sim_time"])) - start > 0.5,
            HOME_TIMEOUT,
            "settling the objects",
        )


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
        outcome = rollouts.run(options.task, seed, options.limit)
        word = "success" if outcome.success else f"failure, score {outcome.score:.2f}"
        logger.info("seed %d: %s after %.1f s", seed, word, outcome.duration)
        if options.report:
            with options.report.open("a") as file:
                file.write(json.dumps(asdict(outcome)) + "\n")
    return 0


def main(words: list[str] | None = None) -> int:
    """Run the rollouts; 0 when all were carried out, whatever their outcome."""
    options = _parse(words)
    logging.basicConfig(level=logging.INFO, format="%(name)s: %(message)s")
    stop = threading.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: stop.set())
    rclpy.init(signal_handler_options=SignalHandlerOptions.NO)
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
