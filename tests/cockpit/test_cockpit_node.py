"""The node of the page on real DDS: what others say is seen, what the page asks arrives."""

import asyncio
import contextlib
import json
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable

import aiohttp
import numpy as np
import pytest

from arm_driver.clearing import CALL_TIMEOUT, CHECK_TIMEOUT
from ate_cockpit import server
from ate_cockpit.acts import acts_of
from ate_core.contract import load_cell
from ate_core.episode_outcome import CLOSING
from ate_core.label_request import ANSWER, read_label

pytestmark = [pytest.mark.ros, pytest.mark.timeout(120)]
PATIENCE = 30.0
CELL = load_cell(None, "sim")


class Peer:
    """The cell around the page: an e-stop node, and one that plays drivers and recorder."""

    def __init__(self) -> None:
        import rclpy
        from rclpy.executors import SingleThreadedExecutor
        from rclpy.qos import QoSProfile, ReliabilityPolicy
        from sensor_msgs.msg import CompressedImage, JointState
        from std_msgs.msg import String

        from ate_cockpit.nodes.cockpit_node import CockpitNode
        from ate_core.nodes.qos import LATCHED_QOS, SENSOR_QOS
        from cell_monitor.nodes.estop_node import EstopNode

        rclpy.init(args=["--ros-args", "-p", "hardware:=sim", "-p", "port:=0"])
        self.cockpit, self.estop = CockpitNode(), EstopNode()
        self.node = rclpy.create_node("peer")
        make, take = self.node.create_publisher, self.node.create_subscription
        self._string, self._joints, self._image = String, JointState, CompressedImage
        self._latched, self._texts = LATCHED_QOS, {}
        self.speak()
        self._states = make(JointState, "/left/arm/joint_states", SENSOR_QOS)
        self._pictures = make(
            CompressedImage, "/cameras/overhead/image_raw/compressed", SENSOR_QOS
        )
        every = QoSProfile(depth=10_000, reliability=ReliabilityPolicy.RELIABLE)
        self._commands = make(JointState, "/left/arm/joint_command", every)
        self.heard: list[float] = []
        take(
            JointState,
            "/left/arm/joint_command",
            lambda message: self.heard.append(message.position[0]),
            every,
        )
        self.executor = SingleThreadedExecutor()
        for node in (self.cockpit, self.estop, self.node):
            self.executor.add_node(node)
        self._thread = threading.Thread(target=self.executor.spin)
        self._thread.start()
        end = time.monotonic() + PATIENCE
        while not self.cockpit._page.address:
            assert time.monotonic() < end
            time.sleep(0.01)

    @property
    def address(self) -> str:
        return f"{self.cockpit._page.address}cell"

    def tell(self, topic: str, **document: object) -> None:
        self._texts[topic].publish(self._string(data=json.dumps(document)))

    def speak(self) -> None:
        """Begin to publish statuses."""
        for topic in ("/left/arm/status", "/left/operator/status", "/episode/status"):
            self._texts[topic] = self.node.create_publisher(self._string, topic, self._latched)

    def fall_silent(self) -> None:
        """Be gone, as a node that was killed."""
        for publisher in self._texts.values():
            self.node.destroy_publisher(publisher)

    def hear_labels(self, take: Callable[[object], None]) -> None:
        """Play a recorder that takes labels."""
        self.node.create_subscription(self._string, "/episode/label", take, 10)

    def show(self, q: np.ndarray, picture: bytes) -> None:
        names = list(CELL.arms["left"].joint_names)
        self._states.publish(self._joints(name=names, position=q.tolist()))
        self._pictures.publish(self._image(format="jpeg", data=picture))

    def command(self, number: int) -> None:
        names = list(CELL.arms["left"].joint_names)
        self._commands.publish(self._joints(name=names, position=[float(number)] + [0.0] * 6))

    def close(self) -> None:
        import rclpy

        self.cockpit.halt()
        self.executor.shutdown()
        self._thread.join()
        for node in (self.cockpit, self.estop, self.node):
            node.destroy_node()
        self.estop._claim.release()  # this process goes on
        rclpy.try_shutdown()


@pytest.fixture
def peer(empty_domain, runtime_dir):
    peer = Peer()
    yield peer
    peer.close()


async def told(socket, condition, again=lambda: None):
    """The first words of the cell that fulfil a condition."""
    async with asyncio.timeout(PATIENCE):
        while True:
            again()
            message = await socket.receive()
            assert message.type not in (aiohttp.WSMsgType.CLOSED, aiohttp.WSMsgType.ERROR)
            if message.type is aiohttp.WSMsgType.TEXT:
                cell = json.loads(message.data).get("cell")
                if cell and condition(cell):
                    return cell


async def answer(socket, act, **words):
    """Ask for an act; its answer."""
    await socket.send_json({"wish": "act", "name": act, **words})
    async with asyncio.timeout(PATIENCE):
        while True:
            found = json.loads((await socket.receive()).data).get("answer")
            if found:
                assert found["act"] == act
                return found


def test_what_nodes_say_is_seen_and_stop_and_reset_reach_the_emergency_stop(peer):
    home = np.array(CELL.arms["left"].home)

    async def look():
        async with aiohttp.ClientSession() as session, session.ws_connect(peer.address) as socket:
            peer.tell("/left/arm/status", state="tracking", reason="")
            peer.tell("/left/operator/status", clutch="engaged", tracked=True)
            peer.tell("/episode/status", state="recording", episode=7, seconds=1.0, dropped=0)
            cell = await told(
                socket,
                lambda cell: (
                    cell["arms"]["left"]["status"]
                    and cell["arms"]["left"]["operator"].get("clutch")
                    and cell["episode"]
                    and cell["figure"]
                    and cell["cameras"]["overhead"]["age"] is not None
                    and cell["estop"].get("stopped") is False
                ),
                again=lambda: peer.show(home, b"\xff\xd8"),
            )
            assert cell["arms"]["left"]["status"]["state"] == "tracking"
            assert cell["arms"]["left"]["operator"]["clutch"] == "engaged"
            assert cell["card"]["episode"] == 7 and set(cell["figure"]) == {"left"}

            peer.show(np.full(7, np.nan), b"")
            peer.tell("/left/operator/status", clutch="engaged", scale=float("nan"))
            cell = await told(
                socket, lambda cell: "scale" in cell["arms"]["left"]["operator"]
            )  # numbers that are none end nothing
            assert cell["arms"]["left"]["operator"]["scale"] is None

            assert (await answer(socket, "estop"))["success"]
            cell = await told(socket, lambda cell: cell["estop"]["stopped"])
            assert "the cockpit asked for it" in cell["estop"]["reason"]
            refused = await answer(socket, "reset")
            assert not refused["success"] and "left arm" in refused["message"]
            peer.tell("/left/arm/status", state="disconnected", reason="switched off")
            async with asyncio.timeout(PATIENCE):
                while not (await answer(socket, "reset"))["success"]:
                    pass
            await told(socket, lambda cell: not cell["estop"]["stopped"])
            refused = await answer(socket, "record")
            assert not refused["success"] and "its node does not run" in refused["message"]

    asyncio.run(look())


def test_a_label_is_answered_by_the_recorder_about_that_label_and_that_episode(peer):
    waits = {"state": "pending", "episode": 3, "message": "episode_000003: 4.0 s"}
    asked = []

    def take(message):
        request = read_label(message.data)
        asked.append((request.label, request.episode))
        kept = asked[-1] == ("bad grasp", 3)
        answer = request.answer(kept, "kept (bad grasp)" if kept else "judged already")
        peer.tell("/episode/status", **waits, **{ANSWER: answer})

    async def look():
        async with aiohttp.ClientSession() as session, session.ws_connect(peer.address) as socket:
            peer.tell("/episode/status", **waits)
            await told(socket, lambda cell: cell["episode"].get("episode") == 3)
            for text in ("", "pending", "discarded", "ok\u200d"):
                refused = await answer(socket, "label", text=text, episode=3)
                assert not refused["success"] and "label" in refused["message"]
            refused = await answer(socket, "label", text="bad grasp", episode=3)
            assert "its node does not run" in refused["message"]
            peer.hear_labels(take)
            async with asyncio.timeout(PATIENCE):
                while not (done := await answer(socket, "label", text="bad grasp", episode=3))[
                    "success"
                ]:
                    assert "its node does not run" in done["message"]
            assert done["message"] == "kept (bad grasp)" and asked == [("bad grasp", 3)]
            refused = await answer(socket, "label", text="spilled", episode=3)
            assert not refused["success"] and refused["message"] == "judged already"
            for act in ("label", "keep", "fail", "discard", "redo"):
                refused = await answer(socket, act, text="spilled", episode=2)
                assert (refused["success"], refused["message"]) == (
                    False,
                    "episode 2 was judged meanwhile",
                )
            assert len(asked) == 2, "nobody was asked about another episode"

    asyncio.run(look())


def test_what_nobody_publishes_any_more_is_lost_and_no_green_light(peer):
    async def look():
        async with aiohttp.ClientSession() as session, session.ws_connect(peer.address) as socket:
            peer.tell("/left/arm/status", state="tracking")
            peer.tell("/left/operator/status", clutch="engaged")
            peer.tell("/episode/status", state="recording", episode=7)
            await told(
                socket,
                lambda cell: (
                    cell["episode"]
                    and cell["arms"]["left"]["status"]
                    and cell["arms"]["left"]["operator"].get("clutch")
                ),
            )
            peer.fall_silent()
            lost = ["left arm", "left operator", "recorder"]
            cell = await told(socket, lambda cell: cell["lost"] == lost)
            assert not cell["episode"] and not cell["arms"]["left"]["status"]
            assert "clutch" not in cell["arms"]["left"]["operator"]
            peer.speak()
            peer.tell("/episode/status", state="idle", episode=8)
            await told(socket, lambda cell: cell["lost"] == lost[:2] and cell["episode"])

    asyncio.run(look())


def test_a_port_that_is_taken_is_one_line_with_the_remedy(empty_domain, runtime_dir):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        words = ["cockpit", "--hardware", "sim", "--port", str(port), "--token", "20242024"]
        ended = subprocess.run(
            [sys.executable, "-m", "ate_bringup.cli", *words],
            capture_output=True,
            text=True,
            timeout=PATIENCE,
        )
    assert ended.returncode == 1 and "Traceback" not in ended.stderr
    assert f"error: the cockpit cannot listen on 127.0.0.1:{port}: " in ended.stderr
    assert "--port of `ate cockpit`" in ended.stderr


def test_a_page_that_has_ended_is_halted_all_the_same(peer):
    peer.cockpit.halt()
    assert not peer.cockpit._thread.is_alive()
    peer.cockpit.halt()


def test_an_act_is_waited_for_as_long_as_its_node_may_take():
    acts = acts_of(CELL)
    assert acts["finish"].timeout > CLOSING, "a slow disk closes a bag"
    assert acts["left/clear_errors"].timeout > CALL_TIMEOUT + CHECK_TIMEOUT
    assert acts["reset"].timeout == 5.0


def test_a_page_that_takes_nothing_and_one_that_closed_keep_no_command_and_nobody_else(
    peer, monkeypatch
):
    monkeypatch.setattr(server, "STALLED", 0.3)
    filler = {f"{number} {'long' * 40}": {"rate_hz": 1.0, "gaps": 0} for number in range(4000)}

    async def look():
        async with contextlib.AsyncExitStack() as stack:
            session = await stack.enter_async_context(aiohttp.ClientSession())
            stalled, closed, other = [
                await stack.enter_async_context(session.ws_connect(peer.address, max_msg_size=0))
                for _ in range(3)
            ]
            peer.tell("/episode/status", state="recording", episode=1, streams=filler)
            await told(other, lambda cell: cell["episode"].get("episode") == 1)
            transport = stalled._response.connection.transport
            stack.callback(transport.abort)  # no goodbye is waited for
            transport.pause_reading()
            closed._response.connection.transport.abort()
            sent = 0

            def command() -> None:
                nonlocal sent
                sent += 1
                peer.command(sent)
                peer.tell("/left/operator/status", clutch="engaged", number=sent)

            while peer.cockpit._page.browsers > 1:
                number = sent
                await told(
                    other,
                    lambda cell, number=number: (
                        cell["arms"]["left"]["operator"].get("number", 0) > number
                    ),
                    again=command,
                )
            async with asyncio.timeout(PATIENCE):
                while peer.heard[-1:] != [float(sent)]:
                    await asyncio.sleep(0.01)
            assert peer.heard == [float(number) for number in range(1, sent + 1)]

    asyncio.run(look())
