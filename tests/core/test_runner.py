"""A process whose thread or callback dies ends with a reason."""

import os
import signal
import subprocess
import sys

import pytest

pytest.importorskip("rclpy")
pytestmark = pytest.mark.ros

PROGRAM = """
import ctypes, sys, threading, time
from rclpy.node import Node
from ate_core.nodes import runner
runner.END_BY_FORCE = 0.3

class Half(Node):
    def __init__(self):
        super().__init__("half")
        self.companions = [Node("helper")]
        getattr(self, sys.argv[1])()

    def thread(self):
        threading.Thread(target=self.fail, name="stream").start()

    def companion(self):
        self.companions[0].create_timer(0.01, self.fail)

    def c_callback(self):
        @ctypes.CFUNCTYPE(None)
        def called(): self.fail()
        threading.Thread(target=called).start()

    def stuck(self):
        self.halt = lambda: time.sleep(60)
        self.thread()

    def fail(self):
        raise ValueError("joint 4 has no current")

    def halt(self):
        print("at rest", flush=True)

sys.exit(runner.run_node(Half, []))
"""


@pytest.mark.parametrize(
    ("what", "where"),
    [
        ("thread", "thread 'stream' raised"),
        ("companion", "Traceback"),
        ("c_callback", "a callback of a C library raised"),
        ("stuck", "ended by force"),
    ],
)
def test_a_node_that_half_dies_stops_its_device_and_ends_with_the_reason(
    what, where, node_environment
) -> None:
    result = subprocess.run(
        [sys.executable, "-c", PROGRAM, what], capture_output=True, text=True, timeout=20
    )
    assert result.returncode == 1
    assert "joint 4 has no current" in result.stderr
    assert where in result.stderr
    assert ("at rest" in result.stdout) == (what != "stuck")


COLLECTED = """
import gc, sys
from rclpy.node import Node
from ate_core.nodes import runner

class Looks(Node):
    def __init__(self):
        super().__init__("looks")
        self.create_timer(0.01, self.look)

    def look(self):
        raise ValueError(f"collected are {len(gc.get_objects())} of {gc.get_freeze_count()}")

sys.exit(runner.run_node(Looks, []))
"""


def test_what_a_node_began_with_is_kept_out_of_garbage_collections(node_environment) -> None:
    result = subprocess.run(
        [sys.executable, "-c", COLLECTED], capture_output=True, text=True, timeout=20
    )
    words = result.stderr.split("ValueError: collected are ")[1].split()
    assert int(words[0]) < 0.1 * int(words[2])


REALTIME = """
import sys, threading
from rclpy.node import Node
from ate_core.nodes import runner

given = []
runner.set_fifo = lambda: given.append(threading.current_thread().name)

class Hands(Node):
    def __init__(self):
        super().__init__("hands")
        self.create_timer(0.01, self.tell)

    def tell(self):
        raise ValueError(f"in {threading.current_thread().name!r}, real-time {given}")

sys.exit(runner.run_node(Hands, [], realtime=sys.argv[1] == "realtime"))
"""


@pytest.mark.parametrize(
    ("what", "given"), [("realtime", "['executor of hands']"), ("usual", "[]")]
)
def test_callbacks_that_hand_on_to_an_arm_are_real_time_ones(
    what, given, node_environment
) -> None:
    result = subprocess.run(
        [sys.executable, "-c", REALTIME, what], capture_output=True, text=True, timeout=20
    )
    assert f"in 'executor of hands', real-time {given}" in result.stderr


STREAMING = """
import sys
from pathlib import Path
from rclpy.node import Node
from std_msgs.msg import String
from ate_core.nodes import runner
from ate_core.nodes.qos import DEFAULT_QOS

class Streaming(Node):
    def __init__(self):
        super().__init__("streaming")
        maps = Path("/proc/self/maps").read_text()
        self._way = String(data="shared" if "/dev/shm/fastrtps" in maps else "sockets")
        self._topic = self.create_publisher(String, "/way", DEFAULT_QOS)
        self.create_timer(0.01, lambda: self._topic.publish(self._way))

sys.exit(runner.run_node(Streaming, []))
"""

LISTENING = """
import rclpy
from std_msgs.msg import String
from ate_core.nodes.qos import SENSOR_QOS
rclpy.init()
node, heard = rclpy.create_node("listening"), []
node.create_subscription(String, "/way", lambda message: heard.append(message.data), SENSOR_QOS)
while not heard:
    rclpy.spin_once(node, timeout_sec=0.1)
print(heard[0])
"""


@pytest.mark.parametrize(("asked", "way"), [(None, "sockets"), ("DEFAULT", "shared")])
def test_a_node_shares_no_locks_with_others_and_is_heard_by_those_who_do(
    asked, way, node_environment, monkeypatch
) -> None:
    monkeypatch.setenv("ROS_AUTOMATIC_DISCOVERY_RANGE", "LOCALHOST")
    monkeypatch.delenv("FASTRTPS_DEFAULT_PROFILES_FILE", raising=False)
    monkeypatch.delenv("FASTDDS_BUILTIN_TRANSPORTS", raising=False)
    environment = {**os.environ, **({"FASTDDS_BUILTIN_TRANSPORTS": asked} if asked else {})}
    with subprocess.Popen([sys.executable, "-c", STREAMING], env=environment) as streaming:
        try:
            listening = subprocess.run(
                [sys.executable, "-c", LISTENING], capture_output=True, text=True, timeout=60
            )
            assert listening.stdout.strip() == way, listening.stderr
        finally:
            streaming.send_signal(signal.SIGINT)
    assert streaming.returncode == 0


LATE_THREAD = """
import sys, threading
from rclpy.node import Node
from ate_core.nodes import runner

runner.NEW_THREADS, runner.set_fifo = 0.01, lambda: None
swept = threading.Event()
runner.set_fifo_of_process = swept.set

class Hands(Node):
    def __init__(self):
        super().__init__("hands")
        threading.Thread(target=self.wait, daemon=True).start()

    def wait(self):
        for _ in range(3):
            assert swept.wait(10.0)
            swept.clear()
        raise ValueError("looked for again and again")

sys.exit(runner.run_node(Hands, [], realtime=True))
"""


def test_threads_that_come_later_are_looked_for(node_environment) -> None:
    result = subprocess.run(
        [sys.executable, "-c", LATE_THREAD], capture_output=True, text=True, timeout=30
    )
    assert "looked for again and again" in result.stderr
