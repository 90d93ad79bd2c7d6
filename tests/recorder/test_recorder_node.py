"""The recorder as a process: services, status, matching of publishers, Ctrl-C."""

import importlib
import json
import os
import signal
import subprocess
import sys
import threading
import time

import pytest
from rosbags.rosbag2 import Reader

from ate_core.contract import load_cell
from ate_core.label_request import LabelRequest
from ate_core.streams import cell_streams

pytestmark = pytest.mark.ros

DEADLINE = 30.0


class FakeCell:
    """Publishes every required stream, and talks to the recorder, from one thread."""

    def __init__(self, cell):
        import rclpy
        from std_msgs.msg import String
        from std_srvs.srv import Trigger

        from ate_core.nodes.qos import DEFAULT_QOS, LATCHED_QOS, SENSOR_QOS

        self.context = rclpy.Context()
        self.context.init()
        self.node = rclpy.create_node("fake_cell", context=self.context)
        self.executor = rclpy.executors.SingleThreadedExecutor(context=self.context)
        self.executor.add_node(self.node)
        self.statuses = []
        self.node.create_subscription(
            String, "/episode/status", lambda m: self.statuses.append(m.data), LATCHED_QOS
        )
        self.clients = {
            name: self.node.create_client(Trigger, f"/episode/{name}")
            for name in ("start", "stop", "keep", "fail", "discard", "redo", "save_last")
        }
        self.request = Trigger.Request
        self.text = String
        self.label = self.node.create_publisher(String, "/episode/label", DEFAULT_QOS)
        self.publishers = []
        for spec in cell_streams(cell):
            if spec.required or spec.kind == "joint_command":
                package, _, name = spec.msgtype.split("/")
                message = getattr(importlib.import_module(f"{package}.msg"), name)
                qos = DEFAULT_QOS if spec.kind in ("joints", "joint_command") else SENSOR_QOS
                publisher = self.node.create_publisher(message, spec.topic, qos)
                self.publishers.append((publisher, message))
        scene = self.node.create_publisher(String, "/scene/info", LATCHED_QOS)
        scene.publish(String(data='{"task": "pick_place", "objects": [], "epoch": 1}'))
        self.streaming = threading.Event()
        self.node.create_timer(0.02, self._publish)

    def _publish(self):
        if not self.streaming.is_set():
            return
        stamp = self.node.get_clock().now().to_msg()
        for publisher, make in self.publishers:
            message = make()
            message.header.stamp = stamp
            publisher.publish(message)

    def spin_until(self, condition):
        end = time.monotonic() + DEADLINE
        while not condition():
            assert time.monotonic() < end, f"not reached; status {self.statuses[-1:]}"
            self.executor.spin_once(timeout_sec=0.05)

    def call(self, name):
        client = self.clients[name]
        self.spin_until(client.service_is_ready)
        future = client.call_async(self.request())
        self.spin_until(future.done)
        return future.result()

    def status(self):
        return json.loads(self.statuses[-1]) if self.statuses else {}

    def close(self):
        self.executor.shutdown()
        self.node.destroy_node()
        self.context.try_shutdown()


@pytest.fixture
def fake_cell(runtime_dir):
    fake = FakeCell(load_cell(None, "sim"))
    yield fake
    fake.close()


@pytest.fixture
def recorder(tmp_path, runtime_dir):
    command = [sys.executable, "-m", "ate_recorder.nodes.recorder_node", "--ros-args"]
    for parameter in ("hardware:=sim", f"output:={tmp_path / 'bags'}", "task:=pick_place"):
        command += ["-p", parameter]
    process = subprocess.Popen(command, env=os.environ.copy())
    yield process
    if process.poll() is None:
        process.kill()
    process.wait(10.0)


def start_episode(fake_cell):
    """Start an episode as soon as the recorder has heard every stream."""
    end = time.monotonic() + DEADLINE
    while not (answer := fake_cell.call("start")).success:
        assert time.monotonic() < end, answer.message
        seen = time.monotonic() + 0.2
        fake_cell.spin_until(lambda seen=seen: time.monotonic() > seen)
    return answer


def record_for(fake_cell, messages):
    """Spin until the recorder says it has written so many camera images."""

    def written():
        streams = fake_cell.status().get("streams", {})
        rate = streams.get("cam_high", {}).get("rate_hz", 0.0)
        return rate * fake_cell.status().get("seconds", 0.0) >= messages

    fake_cell.spin_until(written)


def topics_of(bag):
    with Reader(bag) as reader:
        return [connection.topic for connection, _, _ in reader.messages()]


def test_episodes_are_recorded_through_the_services(fake_cell, recorder, tmp_path):
    refused = fake_cell.call("start")
    assert not refused.success and "/left/arm/joint_states never came" in refused.message
    fake_cell.streaming.set()
    assert start_episode(fake_cell).message == "recording episode_000000"
    record_for(fake_cell, 20)
    assert fake_cell.status()["state"] == "recording" and fake_cell.status()["episode"] == 0
    stopped = fake_cell.call("stop")
    assert stopped.success and "episode_000000 waits to be kept" in stopped.message
    fake_cell.spin_until(lambda: fake_cell.status()["state"] == "pending")
    assert "episode_000000 waits to be judged" in fake_cell.call("start").message
    other = LabelRequest(label="spilled", episode=7)
    fake_cell.label.publish(fake_cell.text(data=other.text()))
    fake_cell.spin_until(lambda: other.find_answer(fake_cell.status()))
    done, why = other.find_answer(fake_cell.status())
    assert not done and why.startswith("episode 7 does not wait to be judged")
    assert fake_cell.status()["state"] == "pending"
    meant = LabelRequest(label="spilled", episode=0)
    fake_cell.label.publish(fake_cell.text(data=meant.text()))
    fake_cell.spin_until(lambda: meant.find_answer(fake_cell.status()))
    assert meant.find_answer(fake_cell.status()) == (True, "episode_000000 kept (spilled)")
    assert fake_cell.status()["message"] == "episode_000000 kept (spilled)"
    assert start_episode(fake_cell).success
    assert fake_cell.call("discard").success
    fake_cell.spin_until(lambda: fake_cell.status()["state"] == "idle")
    assert (fake_cell.status()["kept"], fake_cell.status()["discarded"]) == (1, 1)

    topics = topics_of(tmp_path / "bags" / "episode_000000")
    assert topics[0] == "/episode/info" and topics[-1] == "/episode/outcome"
    assert "/scene/info" in topics
    for spec in cell_streams(load_cell(None, "sim")):
        if spec.required:
            assert topics.count(spec.topic) >= 10, spec.topic
    assert (tmp_path / "bags" / "episode_000001.discarded").is_dir()
    assert "episode_000002 waits to be kept" in fake_cell.call("save_last").message
    assert len(topics_of(tmp_path / "bags" / "episode_000002")) > 2
    fake_cell.label.publish(fake_cell.text(data="said without a number"))
    fake_cell.spin_until(lambda: fake_cell.status()["state"] == "idle")
    assert fake_cell.status()["message"] == "episode_000002 kept (said without a number)"

    recorder.send_signal(signal.SIGINT)
    assert recorder.wait(10.0) == 0


DOUBLE = """
import rclpy, time
from sensor_msgs.msg import JointState
from ate_core.nodes.qos import DEFAULT_QOS
rclpy.init()
node = rclpy.create_node("double")
publisher = node.create_publisher(JointState, "/left/arm/joint_states", DEFAULT_QOS)
while True:
    publisher.publish(JointState())
    time.sleep(0.02)
"""


def test_a_killed_publisher_keeps_no_episode_from_starting_and_a_living_second_one_does(
    fake_cell, recorder
):
    fake_cell.streaming.set()
    double = subprocess.Popen([sys.executable, "-c", DOUBLE])
    try:
        topic = "/left/arm/joint_states"
        fake_cell.spin_until(lambda: fake_cell.node.count_publishers(topic) == 2)
        heard = time.monotonic()
        # Until the recorder has heard them all it names another reason, or none.
        while "2 publishers (bound 1)" not in (answer := fake_cell.call("start")).message:
            assert time.monotonic() < heard + DEADLINE, answer.message
            if answer.success:
                fake_cell.call("discard")
    finally:
        double.kill()
        double.wait()
    killed = time.monotonic()
    assert start_episode(fake_cell).success
    assert time.monotonic() - killed < 15.0, "the middleware forgets it after twenty seconds"


def test_ctrl_c_closes_and_marks_the_open_episode(fake_cell, recorder, tmp_path):
    fake_cell.streaming.set()
    start_episode(fake_cell)
    record_for(fake_cell, 10)
    began = time.monotonic()
    recorder.send_signal(signal.SIGINT)
    recorder.send_signal(signal.SIGINT)
    assert recorder.wait(10.0) == 0
    assert time.monotonic() - began < 5.0
    with Reader(tmp_path / "bags" / "episode_000000") as reader:
        last = list(reader.messages())[-1]
    assert last[0].topic == "/episode/outcome" and b'"interrupted"' in bytes(last[2])
