"""Whatever is sent to a topic of ours, no node ends by it: any value of any field."""

import contextlib
import importlib
import json
import random
import threading
import time
from functools import partial
from types import SimpleNamespace
from unittest.mock import Mock

import pytest

rclpy = pytest.importorskip("rclpy")
pytestmark = pytest.mark.ros

from rclpy.parameter import Parameter  # noqa: E402
from rclpy.serialization import serialize_message  # noqa: E402
from rclpy.subscription import Subscription  # noqa: E402
from sensor_msgs.msg import JointState  # noqa: E402

from ate_core.cell_description import FrameTree, cell_description  # noqa: E402
from ate_core.contract import load_cell  # noqa: E402
from ate_core.nodes.estop import EstopListener  # noqa: E402
from ate_core.nodes.listening import guarded  # noqa: E402
from ate_core.observation import LiveBuffer  # noqa: E402
from ate_core.trained_for import TrainedOn  # noqa: E402

CELL = load_cell("six_axis", "sim")
ARM = CELL.arms["left"]
MESSAGES = 120
"""Of each subscription."""
FLOATS = [0.0, -0.0, 1.0, -1.0, 5e-324, 1e308, -1e308, float("inf"), float("-inf"), float("nan")]
INTEGERS = [0, 1, -1, 2**31 - 1, -(2**31), 2**32 - 1, 255, 10**9, 999_999_999]
STATUS = {"state": "tracking", "reason": "", "estop": False, "stopped": True, "instance": "a",
          "resets": 1, "joint": [], "object": "held", "recording": True}  # fmt: skip
ODD = ["", None, True, [], {}, 1e400, -1, 10**400, "\ud800", "\0", "x" * 10_000, float("nan")]
TEXTS = ["", "\0", "[" * 20_000, "{}", "[]", "3", "NaN", "Infinity", '"\\ud800"', "9" * 5_000,
         "<robot/>", "<robot><joint name='left_joint1'><limit lower='x'/></joint></robot>",
         ]  # fmt: skip


class Sender:
    """Makes messages of any type, sound in part and extreme in part; seeded."""

    def __init__(self, seed: int) -> None:
        self._random = random.Random(seed)

    def message(self, kind: type):
        made = kind()
        for name, field in kind.get_fields_and_field_types().items():
            setattr(made, name, self._field(field))
        if isinstance(made, JointState) and self._random.random() < 0.6:
            self._make_sound(made)
        return made

    def info(self) -> dict[str, int]:
        now = time.time_ns()
        return {
            "publication_sequence_number": self._random.choice([1, 2, 3, 2**63]),
            "source_timestamp": now,
            "received_timestamp": now,
        }

    def bytes(self, kind) -> bytes:
        """A message as the middleware carries it, or none that it would carry."""
        if self._random.random() < 0.1:
            return self._random.randbytes(60)
        while True:
            with contextlib.suppress(UnicodeEncodeError):  # half a character
                return serialize_message(self.message(kind))

    def _field(self, field: str):
        if field.startswith("sequence<"):
            inner = field[len("sequence<") : -1].split(",")[0]
            return [self._field(inner) for _ in range(self._random.choice([0, 1, 2, 6, 7]))]
        if field.endswith("]"):
            inner, count = field[:-1].split("[")
            return [self._field(inner) for _ in range(int(count))]
        if field in ("double", "float"):
            value = self._random.choice(FLOATS)
            return value if field == "double" or abs(value) < 1e38 else float("inf")
        if "int" in field and "/" not in field:
            bits = int(field.removeprefix("u").removeprefix("int"))
            low = 0 if field[0] == "u" else -(2 ** (bits - 1))
            return min(max(self._random.choice(INTEGERS), low), low + 2**bits - 1)
        if field == "boolean":
            return self._random.random() < 0.5
        if field in ("octet", "byte"):
            return bytes([self._random.randrange(256)])
        if field.startswith("string"):
            return self._text()
        package, name = field.split("/")
        return self.message(getattr(importlib.import_module(f"{package}.msg"), name))

    def _text(self) -> str:
        kind = self._random.random()
        if kind < 0.3:
            return self._random.choice([*ARM.joint_names, "left_gripper", "teleop", "trajectory"])
        if kind < 0.6:
            return self._random.choice(TEXTS)
        status = dict(STATUS)
        status[self._random.choice(list(status))] = self._random.choice(ODD)
        return json.dumps(status)

    def _make_sound(self, message: JointState) -> None:
        """All but one field of it."""
        sound = {
            "name": list(ARM.joint_names),
            "position": list(ARM.home),
            "velocity": [0.0] * len(ARM.home),
            "effort": [0.0] * len(ARM.home),
        }
        kept = self._random.choice([*sound, "stamp"])
        for name, value in sound.items():
            if name != kept:
                setattr(message, name, value)
        if kept != "stamp":
            now = time.time_ns()
            message.header.stamp.sec, message.header.stamp.nanosec = divmod(now, 10**9)


@pytest.fixture
def domain(empty_domain, runtime_dir):
    rclpy.init()
    nodes: list = []
    yield nodes
    for node in nodes:
        for each in (*getattr(node, "companions", ()), node):
            each.destroy_node()
        if hasattr(node, "release_device"):
            node.release_device()
    rclpy.try_shutdown()


def listens_to(node) -> list[Subscription]:
    companions = getattr(node, "companions", ())
    return [s for each in (node, *companions) for s in each.subscriptions]


def send_all(node, seed: int, between=lambda: None) -> int:
    """Any message to each subscription of a node, and its timers between; how many there were."""
    sender, sent = Sender(seed), 0
    for number in range(MESSAGES):
        for subscription in listens_to(node):
            kind = subscription.msg_type
            message = [sender.bytes(kind) if subscription.raw else sender.message(kind)]
            if subscription._callback_type is Subscription.CallbackType.WithMessageInfo:
                message.append(sender.info())
            subscription.callback(*message)
            sent += 1
        if number % 10 == 0:
            for timer in node.timers:
                timer.callback()
            between()
    return sent


def test_no_message_ends_the_driver_of_an_arm(domain, monkeypatch) -> None:
    from arm_driver.nodes import arm_node
    from ros2_control_driver.nodes.driver_node import connect

    monkeypatch.setattr(arm_node.GuardedStream, "start", lambda self: None)
    monkeypatch.setattr(arm_node.GuardedStream, "cover_all_threads", lambda self: None)
    died: list[threading.ExceptHookArgs] = []
    monkeypatch.setattr(threading, "excepthook", died.append)
    overrides = [Parameter("cell", value="six_axis"), Parameter("hardware", value="sim")]
    node = arm_node.ArmNode(connect, parameter_overrides=overrides)
    domain.append(node)

    def tick() -> None:
        now = time.monotonic()
        node._use(node._driver.tick(now), now)

    # Command, the other arm, home button, trajectories, states, two of the emergency stop.
    assert send_all(node, 1, tick) >= 7 * MESSAGES
    checks = [t for t in threading.enumerate() if t.name == "trajectory check"]
    for thread in checks:
        thread.join(20.0)
    tick()
    assert not died
    assert node._reports.commands >= 0.8 * MESSAGES  # all but those that are no message


def test_no_message_ends_the_node_of_a_gripper(domain, monkeypatch) -> None:
    from omnipicker_driver.client import GripperClient
    from omnipicker_driver.nodes.gripper_node import GripperNode

    monkeypatch.setattr(GripperClient, "start", lambda self: None)
    domain.append(GripperNode())
    assert send_all(domain[0], 2) >= 4 * MESSAGES


def test_no_message_ends_what_watches_the_cell(domain) -> None:
    from cell_monitor.nodes.estop_node import EstopNode
    from cell_monitor.nodes.monitor_node import MonitorNode

    domain.extend([EstopNode(), MonitorNode()])
    domain[0]._stop("a person")  # from then on it hears the joints, too
    assert send_all(domain[0], 3) >= 5 * MESSAGES
    assert send_all(domain[1], 4) == MESSAGES


def test_no_message_ends_a_policy_or_an_operator(domain) -> None:
    from std_msgs.msg import String

    from ate_policy.nodes.arm_watch import ArmWatch
    from ate_policy.nodes.policy_node import MESSAGES as KINDS
    from ate_policy.nodes.policy_node import PolicyNode
    from ate_sim.nodes.rollouts import RolloutNode
    from ate_teleop.nodes.messages import is_held, state_of

    node = rclpy.create_node("policy")
    domain.extend([node, RolloutNode(CELL)])
    EstopListener(node, lambda reason: reason.encode())  # as every text must be that is told
    watch = ArmWatch(node, CELL, "policy#1f0c27aa", str.encode)
    receiver = SimpleNamespace(
        _buffer=LiveBuffer(CELL, use_environment=False),
        _newest={},
        _trained=TrainedOn(cell=CELL),
        _devices={"left_arm_state": "left arm"},
        _watch=watch,
    )
    sender, streams = Sender(5), receiver._buffer.needed
    assert streams
    for _ in range(MESSAGES):
        receiver._unseen = {spec.name for spec in streams if spec.kind == "image"}
        for spec in streams:
            take = partial(PolicyNode._receive, receiver, spec)
            guarded(node, spec.topic, take)(sender.message(KINDS[spec.kind]))
        text = sender.message(String)
        assert is_held(text) in (True, False)
        assert state_of(text).encode() is not None
        receiver._buffer.observe(time.time_ns(), "")
    assert send_all(node, 6, lambda: watch.trouble.encode()) >= 6 * MESSAGES
    assert send_all(domain[1], 7) >= 4 * MESSAGES


def test_no_message_ends_who_tells_where_the_frames_are(domain) -> None:
    from ate_bringup.nodes.description_node import DescriptionNode

    node = rclpy.create_node("description")
    domain.append(node)
    frames = FrameTree(cell_description(CELL))
    teller = SimpleNamespace(_frames=frames, _last_ns={}, _moving=Mock(), _tf_message=Mock())
    take, sender = (
        guarded(node, "/states", partial(DescriptionNode._move, teller, "left")),
        Sender(8),
    )
    for _ in range(3 * MESSAGES):
        take(sender.message(JointState))
    assert teller._moving.publish.called
