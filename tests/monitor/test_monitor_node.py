"""The monitor brings drivers up, says READY once, names who is silent and kills who hangs."""

import json
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path
from types import SimpleNamespace

import pytest

pytestmark = pytest.mark.ros
rclpy = pytest.importorskip("rclpy")

DRIVER = Path(__file__).with_name("fake_driver.py")
SIDES = ("left", "right")


class Launch:
    """Starts processes as a launch does: the monitor and its drivers are brothers."""

    def __init__(self):
        self.processes = []
        self.lines = []

    def start(self, *words):
        process = subprocess.Popen(
            [sys.executable, *words], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
        )
        self.processes.append(process)
        threading.Thread(target=self._read, args=(process.stdout,), daemon=True).start()
        return process

    def driver(self, side):
        words = ("-r", "__node:=fake", "-r", f"__ns:=/{side}", "-p", "autostart:=false")
        return self.start(str(DRIVER), "--ros-args", *words)

    def monitor(self, following):
        nodes = [
            {
                "name": f"/{side}/fake",
                "heartbeat": f"/{side} driver",
                "managed": True,
                "restarts": side == "left",
                "loss": f"the {side} arm holds",
            }
            for side in SIDES
        ]
        words = ("-p", f"nodes:={json.dumps(json.dumps(nodes))}", "-p", f"following:={following}")
        return self.start("-m", "cell_monitor.nodes.monitor_node", "--ros-args", *words)

    def _read(self, stream):
        self.lines += iter(stream.readline, "")

    def wait_for(self, condition, seconds=20.0):
        deadline = time.monotonic() + seconds
        while not condition():
            assert time.monotonic() < deadline, "".join(self.lines)
            time.sleep(0.02)

    def said(self, words):
        return sum(words in line for line in self.lines)

    def close(self):
        for process in self.processes:
            if process.poll() is None:
                process.kill()
            process.wait(10)


@pytest.fixture
def launch(node_environment):
    launch = Launch()
    yield launch
    launch.close()


@pytest.fixture
def aggregate(node_environment):
    """Newest level and message of each node on /diagnostics_agg, and of the `cell`."""
    from diagnostic_msgs.msg import DiagnosticArray, DiagnosticStatus
    from rclpy.executors import SingleThreadedExecutor

    from ate_core.nodes.qos import DEFAULT_QOS
    from ate_core.topics import CELL_HEALTH

    context = rclpy.Context()
    rclpy.init(context=context)
    node = rclpy.create_node("reader", context=context)
    heard = {}

    def keep(status):
        heard[status.name] = (status.level[0], status.message)

    def keep_all(message):
        for status in message.status:
            keep(status)

    node.create_subscription(DiagnosticArray, "/diagnostics_agg", keep_all, DEFAULT_QOS)
    node.create_subscription(DiagnosticStatus, CELL_HEALTH, keep, DEFAULT_QOS)
    executor = SingleThreadedExecutor(context=context)
    executor.add_node(node)
    thread = threading.Thread(target=executor.spin)
    thread.start()
    yield heard
    executor.shutdown()
    thread.join()
    node.destroy_node()
    context.try_shutdown()


def test_drivers_are_activated_together_watched_and_brought_back(launch, aggregate):
    launch.monitor("press the button")
    left = launch.driver("left")
    launch.wait_for(lambda: launch.said("inactive: checked") == 1)
    right = launch.driver("right")
    launch.wait_for(lambda: launch.said("READY: press the button"))
    assert launch.said("active True") == 2
    launch.wait_for(lambda: aggregate.get("/left/fake") == (0, "well"))
    launch.wait_for(lambda: aggregate.get("cell") == (0, "ready"))

    left.send_signal(signal.SIGSTOP)
    launch.wait_for(lambda: aggregate["/left/fake"][0] == 3)
    assert "silent for" in aggregate["/left/fake"][1]
    launch.wait_for(lambda: aggregate["cell"][0] == 2)
    launch.wait_for(lambda: launch.said("/left/fake hangs"))
    assert left.wait(10) == -signal.SIGKILL
    launch.driver("left")
    launch.wait_for(lambda: launch.said("/left active True") == 2)
    launch.wait_for(lambda: launch.said("recovered: /left/fake"))

    right.send_signal(signal.SIGSTOP)
    launch.wait_for(lambda: launch.said("DEGRADED: /right/fake (silent for"))
    assert launch.said("the right arm holds")
    right.send_signal(signal.SIGCONT)
    launch.wait_for(lambda: launch.said("recovered: /right/fake"))
    assert right.poll() is None, "nobody starts it again, so nobody kills it"
    assert launch.said("READY") == 1


def test_a_node_that_starves_is_not_killed_and_one_that_hangs_is(node_environment, monkeypatch):
    from cell_monitor.nodes import monitor_node
    from cell_monitor.siblings import Sibling

    now, starved, killed, said = [100.0], [0.0], [], []
    monkeypatch.setattr(monitor_node, "time", SimpleNamespace(monotonic=lambda: now[0]))
    monkeypatch.setattr(monitor_node, "find_sibling", lambda _: Sibling(pid=4242, age=1e6))
    monkeypatch.setattr(monitor_node.Starvation, "look", lambda self, _: starved[0])
    monkeypatch.setattr(monitor_node.os, "kill", lambda *which: killed.append(which))
    nodes = json.dumps([{"name": "/fake", "heartbeat": "fake: state", "restarts": True}])
    rclpy.init(args=["--ros-args", "-p", f"nodes:={json.dumps(nodes)}"])
    node = monitor_node.MonitorNode()
    monkeypatch.setattr(node.get_logger(), "warning", said.append)
    node._watch.take("fake: state", 0, "well", now[0])
    for _ in range(60):  # 6 s, in looks that are no pause of the monitor
        now[0] += 0.1
        starved[0] = max(starved[0], now[0] - 102.0)
        node._look()
    assert not killed
    assert sum("it waited for a processor: this machine is too busy" in text for text in said) == 1
    for _ in range(30):
        now[0] += 0.1
        node._look()
    assert killed == [(4242, signal.SIGKILL)] * len(killed) and killed
    node.destroy_node()
    rclpy.shutdown()
