"""Disturb an operator's headset and Joy-Con on the wire, and look for motion that no hand made.

    python -m benchmarks.hands_on_the_wire                 # 200 seeds, about eight minutes
    python -m benchmarks.hands_on_the_wire --seeds 8 --first 40

The operator's node runs as a process against the emulated headset (gRPC) and Joy-Con (HID) and an
ideal arm. A person holds the clutch and moves; then one thing happens: the world's origin moves by
1 to 200 mm or 1 to 180 degrees, the hands are swapped, the headset restarts or falls silent, the
process is stalled, the Joy-Con is lost. Each command is held against the person's own way since
the clutch took hold, as it was at any time in the last `LATEST`: what is left is motion of its
own.
"""

import contextlib
import os
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import rclpy
import tyro
import yaml
from numpy.typing import NDArray
from rclpy.executors import SingleThreadedExecutor
from rclpy.node import Node
from sensor_msgs.msg import JointState
from std_msgs.msg import String

from ate_core.contract import Cell, load_cell, packaged_cell
from ate_core.geometry import rotation_exp, rotation_log, transform
from ate_core.hand_mapping import operator_mapping, tool_pose_for_hand_motion
from ate_core.nodes.qos import COMMAND_QOS, DEFAULT_QOS, LATCHED_QOS
from ate_core.nodes.transport import use_sockets
from ate_core.streams import header_stamp_ns
from ate_teleop.ik import ArmIK, arm_ik_config
from operator_devices.joycon_emulator import JoyConEmulator, standin_path
from operator_devices.vision_pro_emulator import HeadsetEmulator

Array = NDArray[np.float64]

START = np.array([0.1, 0.2, 0.0, 1.75, 0.1, 1.1, 0.0])
"""Posture around which strokes begin [rad]: nothing near that the arm would slide along."""
EVENTS = ("shift", "turn", "shift and turn", "swap", "restart", "silence", "stall", "joycon")
"""What happens, by seed."""
LATEST = 0.25
"""A command may follow a hand that was there so long ago [s]."""
GRID = 0.002
"""Spacing of the moments at which a hand is looked at [s]."""
AFTERWARDS = 0.8
"""Commands are looked at for so long after the event [s]."""
ENGAGE_OFFSET, ENGAGE_ANGLE = 1e-3, np.radians(0.5)
"""Largest step of the tool when the clutch takes hold [m, rad]."""
OWN_WAY, OWN_ANGLE = 2e-3, np.radians(1.0)
"""Largest motion of its own in a whole session [m, rad]: filters smooth a way by that."""


@dataclass(frozen=True, kw_only=True)
class WireConfig:
    """How many sessions."""

    seeds: int = 200
    """Sessions."""
    first: int = 0
    """Seed of the first."""


@dataclass(frozen=True, kw_only=True)
class Session:
    """What one session came to."""

    event: str
    """What happened."""
    engage: tuple[float, float]
    """Step of the tool when the clutch took hold [m, rad]."""
    before: tuple[float, float]
    """Motion of its own before the event [m, rad]."""
    after: tuple[float, float]
    """The same from the event on [m, rad]."""
    opened: bool
    """Whether the clutch opened."""

    @property
    def is_sound(self) -> bool:
        """Whether nothing moved that no hand moved."""
        return all(
            way <= most and angle <= turn
            for (way, angle), (most, turn) in (
                (self.engage, (ENGAGE_OFFSET, ENGAGE_ANGLE)),
                (self.before, (OWN_WAY, OWN_ANGLE)),
                (self.after, (OWN_WAY, OWN_ANGLE)),
            )
        )


class IdealArm(Node):
    """Plays the arm: is where it is told to be; keeps commands with the time they were given."""

    def __init__(self, cell: Cell, context: rclpy.Context) -> None:
        super().__init__("ideal_arm", context=context)
        self._arms = cell.arms
        self.q = np.array(cell.arms["left"].home)
        self.commands: list[tuple[float, Array]] = []
        self.status: dict[str, Any] = {}
        self._states = {
            side: self.create_publisher(JointState, f"/{side}/arm/joint_states", DEFAULT_QOS)
            for side in cell.arms
        }
        self.create_subscription(
            JointState, "/left/arm/joint_command", self._take_command, COMMAND_QOS
        )
        self.create_subscription(String, "/left/operator/status", self._take_status, LATCHED_QOS)
        self.create_timer(0.01, self._tell)

    def _take_command(self, message: JointState) -> None:
        self.q = np.array(message.position)
        age = time.time() - 1e-9 * header_stamp_ns(message)  # some come after a stall
        self.commands.append((time.monotonic() - age, self.q))

    def _take_status(self, message: String) -> None:
        self.status = yaml.safe_load(message.data)

    def _tell(self) -> None:
        for side, states in self._states.items():
            arm = self._arms[side]
            q = self.q if side == "left" else arm.home  # the other arm rests
            message = JointState(name=list(arm.joint_names), position=list(map(float, q)))
            message.header.stamp = self.get_clock().now().to_msg()
            states.publish(message)


@dataclass
class Person:
    """Moves a hand along a smooth way, in the headset's frame."""

    random: np.random.Generator
    begin: float = 0.0

    def __post_init__(self) -> None:
        """Draw the way: at most 0.2 m/s and 0.6 rad/s."""
        self.begin = time.monotonic()
        self._start = rotation_exp(self.random.normal(0, 0.6, 3))
        self._way = self.random.normal(0, 0.02, 3)
        self._turn = self.random.normal(0, 0.07, 3)
        self._lean = self.random.normal(0, 0.03, 3) * (self.random.uniform() < 0.5)
        self._rate = 2.0 * np.pi * self.random.uniform(0.2, 0.5)

    def head(self, moment: float) -> Array:
        """Head to headset (4, 4) at a monotonic time [s]; every other person's rests."""
        lean = self._lean * (moment - self.begin)
        return transform(rotation_exp(lean), lean + np.array([0.0, 0.0, 1.5]))

    def hand(self, moment: float) -> Array:
        """Wrist to headset (4, 4) at a monotonic time [s]."""
        share = np.sin(self._rate * (moment - self.begin))
        pose = transform(self._start @ rotation_exp(self._turn * share), [0.2, 0.4, 1.1])
        pose[:3, 3] += self._way * share
        return pose


class Stand:
    """Operator node, headset, Joy-Con and arm."""

    def __init__(self, cell: Cell, headset: HeadsetEmulator, joycon: JoyConEmulator) -> None:
        self.cell, self.headset, self.joycon = cell, headset, joycon
        self.hand = cell.operators["left"].hand
        self.mapping = operator_mapping(cell.operators["left"], cell.arms["left"])
        self.ik = ArmIK(arm_ik_config(cell.arms["left"], cell.safety))
        self.process: subprocess.Popen[bytes] | None = None
        use_sockets()
        self._context = rclpy.Context()
        rclpy.init(context=self._context)
        self.arm = IdealArm(cell, self._context)
        self._executor = SingleThreadedExecutor(context=self._context)
        self._executor.add_node(self.arm)
        self._spinning = threading.Thread(target=self._executor.spin)
        self._spinning.start()

    def close(self) -> None:
        """End the arm's node."""
        self._executor.shutdown()
        self._spinning.join()
        self.arm.destroy_node()
        rclpy.shutdown(context=self._context)

    def wait(self, condition: Callable[[], object], what: str, timeout: float = 30.0) -> None:
        """Wait for something.

        Raises:
            AssertionError: it does not come.
        """
        deadline = time.monotonic() + timeout
        while not condition():
            assert time.monotonic() < deadline, f"no {what}: {self.arm.status}"
            time.sleep(0.002)

    def is_ready(self) -> bool:
        """Whether the node sees hand, buttons and arm, and the clutch is open."""
        status = self.arm.status
        seen = all(status.get(key) for key in ("tracked", "joycon", "arm"))
        return seen and status.get("clutch") == "released"

    def session(self, seed: int) -> Session:
        """One press of the clutch with one event."""
        random = np.random.default_rng(seed)
        person = Person(random)
        self.headset.follow(self.hand, person.hand)
        start = START + random.uniform(-0.2, 0.2, 7)
        for _ in range(10):  # a busy machine may lose the hand at once
            self.wait(self.is_ready, "hand, Joy-Con and arm")
            self.arm.q, self.arm.commands = start, []
            self._live(person, 0.2)  # until the node has heard of it
            self.joycon.press("l")
            self.wait(lambda: self.arm.status.get("clutch") != "released", "clutch")
            self._live(person, random.uniform(0.5, 0.9))
            if self.arm.status["clutch"] == "engaged":
                break
            self.joycon.release("l")
        event, moment = EVENTS[seed % len(EVENTS)], time.monotonic()
        undo = self._happen(event, random)
        self._live(person, AFTERWARDS)
        opened = self.arm.status["clutch"] != "engaged"
        commands = list(self.arm.commands)
        undo()
        self.joycon.release("l")
        return self._judge(event, person, start, commands, moment, opened)

    def _live(self, person: Person, seconds: float) -> None:
        """Let the person's head move for a while [s]."""
        end = time.monotonic() + seconds
        while (now := time.monotonic()) < end:
            self.headset.set_head(person.head(now))
            time.sleep(1.0 / 90.0)

    def _happen(self, event: str, random: np.random.Generator) -> Callable[[], None]:
        """Let an event happen; what brings all back."""
        headset = self.headset
        if "shift" in event or "turn" in event:
            turn = np.radians(180.0 ** random.uniform()) * ("turn" in event)
            shift = random.normal(size=3) * ("shift" in event)
            length = 1e-3 * 200.0 ** random.uniform()
            shift *= length / max(float(np.linalg.norm(shift)), 1e-9)
            moved = transform(rotation_exp([0.0, 0.0, turn]), shift)
            headset.recentre(moved)
            return lambda: headset.recentre(np.linalg.inv(moved))
        if event == "swap":
            headset.swap_hands()
            return lambda: headset.swap_hands(False)
        if event == "silence":
            headset.silence()
            return lambda: headset.silence(False)
        if event == "joycon":
            self.joycon.drop()
            return self.joycon.restore
        if event == "restart":
            headset.restart()
        elif self.process is not None:
            self.process.send_signal(signal.SIGSTOP)
            time.sleep(random.uniform(0.155, 0.6))
            self.process.send_signal(signal.SIGCONT)
        return lambda: None

    def _judge(
        self,
        event: str,
        person: Person,
        start: Array,
        commands: list[tuple[float, Array]],
        moment: float,
        opened: bool,
    ) -> Session:
        first = self.ik.tool_pose(start)
        tools = [(came, self.ik.tool_pose(q)) for came, q in commands]
        moments = np.arange(commands[0][0] - LATEST, commands[-1][0] + GRID, GRID)
        hands = [person.hand(at) for at in moments]
        earlier = [entry for entry in tools if entry[0] < moment]
        ways = []
        for begin in range(0, round(LATEST / GRID), 2):  # the clutch took hold at one of these
            path = [
                tool_pose_for_hand_motion(self.mapping, hands[begin], first, hand)
                for hand in hands[begin:]
            ]
            ways.append((_own_motion(earlier, moments[begin:], path)[0], begin, path))
        _, begin, path = min(ways, key=lambda way: way[0])
        later = [entry for entry in tools if entry[0] >= moment]
        return Session(
            event=event,
            engage=_between(first, tools[0][1]),
            before=_own_motion(earlier, moments[begin:], path),
            after=_own_motion(later, moments[begin:], path),
            opened=opened,
        )


def _own_motion(
    tools: list[tuple[float, Array]], moments: Array, path: list[Array]
) -> tuple[float, float]:
    """How far the tool was from all of a way that it may follow, at most [m, rad]."""
    places = np.array([pose[:3, 3] for pose in path])
    worst, turned = 0.0, 0.0
    for came, tool in tools:
        near = np.flatnonzero((moments > came - LATEST) & (moments <= came))
        near = near if len(near) else np.array([len(moments) - 1])
        worst = max(worst, float(np.linalg.norm(places[near] - tool[:3, 3], axis=1).min()))
        turned = max(turned, min(_between(path[index], tool)[1] for index in near[::4]))
    return worst, turned


def _between(first: Array, second: Array) -> tuple[float, float]:
    """Way [m] and angle [rad] between two poses (4, 4)."""
    turn = rotation_log(first[:3, :3].T @ second[:3, :3])
    return float(np.linalg.norm(second[:3, 3] - first[:3, 3])), float(np.linalg.norm(turn))


@contextlib.contextmanager
def stand() -> Iterator[Stand]:
    """A stand of its own: addresses, ROS domain and folders that nothing else uses."""
    pid = os.getpid()
    with tempfile.TemporaryDirectory(prefix="ate-") as name:
        folder = Path(name)
        os.environ |= {
            "ATE_RUNTIME_DIR": str(folder / "run"),
            "ATE_HID_DIR": str(folder / "hid"),
            "ROS_LOG_DIR": str(folder / "ros"),
            "ROS_DOMAIN_ID": str(1 + pid % 100),
            "ROS_AUTOMATIC_DISCOVERY_RANGE": "LOCALHOST",
        }
        values = yaml.safe_load(packaged_cell().read_text())
        address = f"127.78.{pid // 250 % 250}.{2 + pid % 250}"
        values["simulation"]["operators"]["left"]["headset_ip"] = address
        file = folder / "cell.yaml"
        file.write_text(yaml.safe_dump(values))
        cell = load_cell(file, "sim")
        operator = cell.operators["left"]
        with (
            HeadsetEmulator(operator.headset_ip) as headset,
            JoyConEmulator(operator.joycon_serial, operator.joycon_side, folder / "hid") as joycon,
        ):
            headset.follow(operator.hand, Person(np.random.default_rng(0)).hand)
            headset.set_tracked(operator.hand, True)
            ready = Stand(cell, headset, joycon)
            ready.process = _start_operator(file)
            try:
                yield ready
            finally:
                ready.process.send_signal(signal.SIGINT)
                ready.process.wait(10)
                ready.close()


def _start_operator(cell: Path) -> subprocess.Popen[bytes]:
    paths = [str(standin_path()), *(path for path in sys.path if path)]
    command = [sys.executable, "-m", "ate_teleop.nodes.operator_node", "--ros-args"]
    command += ["-r", "__ns:=/left", "-p", "hardware:=sim", "-p", "operator:=left"]
    return subprocess.Popen(
        [*command, "-p", f"cell:={cell}"],
        env={**os.environ, "PYTHONPATH": os.pathsep.join(paths)},
        stderr=subprocess.DEVNULL,
    )


def main(config: WireConfig) -> int:
    """Run the sessions and print a line for each kind; 1 when anything moved by itself."""
    sessions: dict[int, Session] = {}
    with stand() as cell:
        for seed in range(config.first, config.first + config.seeds):
            sessions[seed] = session = cell.session(seed)
            if not session.is_sound:
                print(f"seed {seed}: {_numbers([session])}", flush=True)
    print(f"{'event':16} {'sessions':>8} {'opened':>7}   engage mm, deg   before        after")
    for event in EVENTS:
        mine = [session for session in sessions.values() if session.event == event]
        if mine:
            opened = sum(session.opened for session in mine)
            print(f"{event:16} {len(mine):8} {opened:7}   {_numbers(mine)}")
    wrong = [seed for seed, session in sessions.items() if not session.is_sound]
    print(f"{len(sessions)} sessions, motion that no hand made in {len(wrong)} {wrong or ''}")
    return int(bool(wrong))


def _numbers(sessions: list[Session]) -> str:
    """Largest steps at engagement, and motions of their own before and after [mm, degrees]."""
    parts = []
    for name in ("engage", "before", "after"):
        values = np.max([getattr(session, name) for session in sessions], axis=0)
        parts.append(f"{1e3 * values[0]:6.2f} {np.degrees(values[1]):5.2f}")
    return "   ".join(parts)


if __name__ == "__main__":
    raise SystemExit(main(tyro.cli(WireConfig)))
