"""The link process: whatever it or the node does, the arm comes to rest and a link comes back."""

import gc
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import psutil
import pytest

from arm_driver.interface import ArmSample
from ate_core.contract import load_cell
from realman_driver import client as client_module
from realman_driver import link, orders, records
from realman_driver.client import ArmClient, link_config

from .conftest import RunningController, arm_config

START = np.array([0.0, -0.35, 0.0, 2.0, 0.0, 1.4916, 0.0])


def wait_for(condition: Callable[[], bool], seconds: float = 5.0) -> bool:
    deadline = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > deadline:
            return False
        time.sleep(0.002)
    return True


def link_of(pid: int) -> psutil.Process:
    """The link process of a node."""
    children = psutil.Process(pid).children()
    return next(child for child in children if "realman_driver.link" in child.cmdline())


@pytest.fixture
def client(controller: RunningController) -> Iterator[ArmClient]:
    pytest.importorskip("Robotic_Arm")
    client = ArmClient(arm_config(controller.config))
    client.start()
    assert wait_for(lambda: not client.link_error and client.latest() is not None)
    yield client
    client.close()


def stream(client: ArmClient, seconds: float = 0.3) -> None:
    """Move joint 1 at 0.5 rad/s, ticking as a driver does."""
    begin = time.monotonic()
    while (elapsed := time.monotonic() - begin) < seconds:
        assert client.session and client.latest()
        assert client.stream(START + 0.5 * elapsed * np.eye(7)[0])
        time.sleep(0.01)


def newest(client: ArmClient) -> ArmSample:
    sample = client.latest()
    assert sample is not None
    return sample


def test_link_process_loads_neither_ros_nor_numpy() -> None:
    code = "import sys, realman_driver.link; print({'rclpy', 'numpy'} & set(sys.modules))"
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert result.stdout.strip() == "set()", result.stderr


def test_silent_node_makes_the_link_stop_the_arm_and_refuse_older_targets(
    client: ArmClient, controller: RunningController
) -> None:
    stream(client)
    silent_since = time.monotonic()
    assert wait_for(lambda: controller.control.status()["controlled_stops"] == 1)
    assert time.monotonic() - silent_since < 0.25
    assert controller.control.status()["status"] == "stop"
    assert wait_for(lambda: client.health().get("stops by the link", "").startswith("1, "))
    assert client.health()["links made"] == "1"
    # This thread has not seen the new session: its target is older than the stop.
    frames = controller.control.status()["frames"]
    client.stream(START)
    assert wait_for(lambda: client.health()["targets refused by the link"] == "1")
    assert controller.control.status()["frames"] == frames
    assert client.session == 2
    client.stream(newest(client).position)
    assert wait_for(lambda: controller.control.status()["frames"] == frames + 1)


def test_node_that_looks_but_sends_nothing_is_not_silent(
    client: ArmClient, controller: RunningController
) -> None:
    stream(client)
    for _ in range(40):
        client.latest()
        time.sleep(0.01)
    assert controller.control.status()["controlled_stops"] == 0
    assert client.session == 1


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGSEGV, signal.SIGSTOP])
def test_ended_or_frozen_link_is_replaced_within_two_seconds(
    client: ArmClient, controller: RunningController, number: int
) -> None:
    stream(client)
    first = link_of(os.getpid())
    first.send_signal(number)
    begin = time.monotonic()
    assert wait_for(lambda: client.session == 2, 2.0), client.link_error
    assert time.monotonic() - begin < 2.0
    assert wait_for(lambda: not psutil.pid_exists(first.pid))
    trace = controller.control.trace()[:, 1:8]
    assert np.abs(np.diff(trace, axis=0)).max() < 0.02
    assert np.array_equal(trace[-1], trace[-20])
    assert sum(n.startswith("links lost") for n in client.health()) == 1


def test_trouble_that_is_over_is_not_told_of_the_next_end(
    client: ArmClient, controller: RunningController
) -> None:
    controller.control.fault("restart", seconds=0.5)
    assert wait_for(lambda: "127." in client.link_error), client.link_error
    assert wait_for(lambda: not client.link_error)
    link_of(os.getpid()).kill()
    assert wait_for(lambda: bool(client.link_error))
    assert "link process" in client.link_error


def test_link_that_stood_still_stops_the_arm_instead_of_catching_up(
    client: ArmClient, controller: RunningController
) -> None:
    stream(client)
    process, begin = link_of(os.getpid()), time.monotonic()
    process.send_signal(signal.SIGSTOP)
    while (elapsed := time.monotonic() - begin) < 0.3:
        if elapsed > 0.08:
            process.send_signal(signal.SIGCONT)
        client.stream(START + (0.15 + 0.5 * elapsed) * np.eye(7)[0])  # knows of no stop
        time.sleep(0.01)
    assert wait_for(lambda: client.health().get("stops by the link", "").startswith("1, "))
    status = controller.control.status()
    assert (status["status"], status["controlled_stops"]) == ("stop", 1)


def test_link_to_be_replaced_brings_its_arm_to_rest_first(
    client: ArmClient, controller: RunningController
) -> None:
    stream(client)
    client._process.send_failed = True  # it took no orders, says the node
    assert wait_for(lambda: bool(client.link_error))
    assert wait_for(lambda: client.health()["links made"] == "2")
    status = controller.control.status()  # a link that is just killed ends in a slow stop
    hiccups = int(client.health().get("stops by the link", "0").split(",")[0])
    assert status["status"] == "stop" and 1 <= status["controlled_stops"] <= 1 + hiccups


def test_glide_whose_answer_is_lost_is_asked_for_again(monkeypatch) -> None:
    client = ArmClient(load_cell(None, "sim").arms["left"])
    here, there = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    there.setblocking(False)
    with here, there:
        client._process.channel, client._linked = here, True
        now = time.monotonic()
        orders = []
        for seconds in (0.0, 1.0, 4.9, 5.1, 5.4, 5.5):
            monkeypatch.setattr(client_module.time, "monotonic", lambda s=seconds: now + s)
            assert not client.settle(START)
            try:
                orders.append((seconds, records.unpack_order(there.recv(records.LARGEST))))
            except BlockingIOError:
                continue
    assert [seconds for seconds, _ in orders] == [0.0, 5.4]
    assert orders[0][1].ticket != orders[1][1].ticket


def test_a_count_of_stops_that_comes_late_makes_no_new_session() -> None:
    client = ArmClient(load_cell().arms["left"])
    client._linked, client._session = True, (1, 0xFFFFFFFF)
    for epoch in (0xFFFFFFFF, 0, 0xFFFFFFFF, 0, 1, 0, 1):  # it counts modulo 2^32
        client._take(records.Pulse(records.LINKED, epoch, 0, 0, 0, 0))
    assert client.session == 3  # for two stops


def test_stop_is_confirmed_while_clearing_waits_for_a_slow_controller(
    client: ArmClient, controller: RunningController
) -> None:
    stream(client)
    controller.control.fault("slow", delay=0.4)
    clearing = threading.Thread(target=client.clear_errors)
    clearing.start()
    for fast in (False, True):
        times = []
        thread = threading.Thread(
            target=lambda fast=fast, times=times: times.append(
                (time.monotonic(), client.stop(fast=fast), time.monotonic())
            )
        )
        thread.start()  # not the streaming thread, which never waits
        thread.join()
        begin, confirmed, end = times[0]
        assert confirmed
        assert end - begin < 0.1
    assert clearing.is_alive()
    controller.control.fault("clear")
    clearing.join()


def test_streaming_thread_never_waits(client: ArmClient, controller: RunningController) -> None:
    stream(client)
    controller.control.fault("slow", delay=0.4)
    controller.control.fault("stop_reading")
    for call in (client.stop, client.health, client.identity, client.latest):
        begin = time.monotonic()
        call()
        assert time.monotonic() - begin < 0.05
    begin = time.monotonic()
    client.settle(START)
    assert time.monotonic() - begin < 0.05


NODE = """
import sys, time, dataclasses
import numpy as np
from ate_core.contract import load_cell
from realman_driver.client import ArmClient, link_config
arm = load_cell(None, "sim").arms["left"]
client = ArmClient(dataclasses.replace(arm, ip=sys.argv[1], udp_port=int(sys.argv[2])))
client.start()
start = np.array([0.0, -0.35, 0.0, 2.0, 0.0, 1.4916, 0.0])
while client.link_error or client.latest() is None:
    time.sleep(0.01)
begin = time.monotonic()
while True:
    elapsed = time.monotonic() - begin
    client.session, client.latest()
    client.stream(start + min(elapsed, 3.0) * np.eye(7)[0])
    if elapsed > 0.3 and begin:
        print("moving", flush=True)
    time.sleep(0.01)
"""


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGSTOP])
def test_killed_or_frozen_node_leaves_the_arm_at_rest_and_no_orphan(
    controller: RunningController, number: int
) -> None:
    pytest.importorskip("Robotic_Arm")
    words = [controller.config.ip, str(controller.config.udp_port)]
    node = subprocess.Popen([sys.executable, "-c", NODE, *words], stdout=subprocess.PIPE)
    assert node.stdout is not None
    node.stdout.readline()
    link = link_of(node.pid)
    node.send_signal(number)
    begin = time.monotonic()
    assert wait_for(lambda: controller.control.status()["controlled_stops"] >= 1)
    assert time.monotonic() - begin < 0.25
    node.kill()
    node.communicate()
    assert wait_for(lambda: not link.is_running() or link.status() == psutil.STATUS_ZOMBIE, 2.0)


def test_a_packet_that_comes_again_is_no_new_state(
    client: ArmClient, controller: RunningController
) -> None:
    controller.control.fault("frozen", seconds=0.6)
    assert wait_for(lambda: time.monotonic() - newest(client).received > 0.15, 0.5)
    assert wait_for(lambda: time.monotonic() - newest(client).received < 0.05)


def test_no_state_outlives_its_link(client: ArmClient) -> None:
    link_of(os.getpid()).kill()
    assert wait_for(lambda: bool(client.link_error))
    assert client.latest() is None


LINK_WITH_A_LIBRARY = """
import json, os, socket, sys, time
from realman_driver import link, orders, records
from realman_driver.connection import Connection
from realman_driver.sdk import LinkConfig

class Library:
    def rm_movej_canfd(self, *_):
        {call}

def received():
    while True:
        try:
            yield here.recv(999)
        except BlockingIOError:
            return

def end(code):
    here.setblocking(False)
    print(controller.recv(99), *received())
    sys.stdout.flush()
    os._exit(code)

here, there = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
config = LinkConfig(
    ip="", tcp_port=0, udp_port=0, cycle=1, model="rm75_6f", joint_names=tuple("1234567"),
    joint_speed=(3.0,) * 7, base_pose=(0.0,) * 6 + (1.0,), tool_length=0.2, payload=0.5
)
listener = socket.create_server(("127.0.0.1", 0))
link = link.Link(config, there, 0)
connection = Connection(socket.create_connection(listener.getsockname()))
controller, _ = listener.accept()
joints = {{"joint_position": [0] * 7, "joint_speed": [0] * 7}}
packet = json.dumps({{"state": "realtime_arm_joint_state", "joint_status": joints}}).encode()
link.states.take(packet, time.monotonic())
link.link(Library(), connection)
link.end = end
link.start()
here.send(records.pack_stream(0, time.monotonic(), (0.0,) * 7))
time.sleep(20)
"""


@pytest.mark.parametrize(
    ("call", "code", "words"),
    [
        ("time.sleep(60)", link.WEDGED, b"does not return from a streamed target"),
        ("raise OSError('torn')", link.DIED, b"OSError('torn')"),
    ],
    ids=["does not return", "raises"],
)
def test_library_that_fails_in_a_thread_ends_the_process_with_a_stop_and_the_reason(
    call: str, code: int, words: bytes
) -> None:
    script = LINK_WITH_A_LIBRARY.format(call=call)
    result = subprocess.run([sys.executable, "-c", script], timeout=60, capture_output=True)
    assert result.returncode == code
    assert words in result.stdout
    assert repr(orders.FAST_STOP).encode() in result.stdout


def test_no_garbage_collection_goes_through_the_library_while_targets_are_streamed(
    monkeypatch,
) -> None:
    for name in ("open_push", "open_arm", "set_up", "read_identity"):
        monkeypatch.setattr(link.sdk, name, lambda *_: None)
    monkeypatch.setattr(link, "find_connection", lambda *_: None)
    monkeypatch.setattr(link, "ask_joints", lambda *_: (True, ""))
    monkeypatch.setattr(link, "misfit_of", lambda *_: "")
    monkeypatch.setattr(link.States, "start", lambda *_: None)
    here, there = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    with here, there:
        made = link.Link(link_config(load_cell(None, "sim").arms["left"]), there, 0)
        made.states.packet = b"{}"
        try:
            made._connect()
            assert gc.get_freeze_count() > 1000
        finally:
            gc.unfreeze()


def test_the_library_is_connected_once_and_never_deleted() -> None:
    """Its deletion can crash, hang or lose a thread: the process ends instead."""
    sources = {path: path.read_text() for path in Path(link.__file__).parent.glob("*.py")}
    assert sum(text.count("rm_create_robot_arm(") for text in sources.values()) == 1
    for path, text in sources.items():
        assert "rm_delete_robot_arm" not in text and "rm_destroy" not in text, path
