"""Listens to the cell and serves the page.

Nothing here is on the way of a command: streams are read best effort and by hand, at the page's
rate, so that a page that is slow or closed is felt by nobody.

Run: ``ate cockpit``, or ``cockpit:=true`` in a launch.
"""

import asyncio
import contextlib
import math
import secrets
import sys
import threading
import time
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from diagnostic_msgs.msg import DiagnosticArray, DiagnosticStatus
from geometry_msgs.msg import WrenchStamped
from rclpy.node import Node
from sensor_msgs.msg import CompressedImage, JointState
from std_msgs.msg import String
from std_srvs.srv import Trigger

from ate_cockpit.acts import ESTOP, LABEL, SCORE, Act, acts_of
from ate_cockpit.figure import CellFigure
from ate_cockpit.hands import SimulatedHands
from ate_cockpit.scoring import BlindScoring
from ate_cockpit.server import Answer, Page, PageConfig
from ate_cockpit.view import CellView
from ate_core.contract import Cell
from ate_core.episode_folders import EpisodeFolders
from ate_core.errors import DeviceError, UsageError
from ate_core.json_text import Document
from ate_core.label_request import LabelRequest
from ate_core.nodes.estop import REQUEST_QOS
from ate_core.nodes.heartbeat import Heartbeat
from ate_core.nodes.joints import joint_positions
from ate_core.nodes.listening import listen
from ate_core.nodes.parameters import declare_cell, declare_number, declare_text
from ate_core.nodes.qos import DEFAULT_QOS, SENSOR_QOS
from ate_core.nodes.runner import run_node
from ate_core.nodes.statuses import (
    episode_topic,
    hear_cell_statuses,
    hear_part_statuses,
    part_topics,
)
from ate_core.topics import CELL_HEALTH, POLICY_STATUS

LOOK_PERIOD = 1.0
"""Between two looks at who publishes the statuses [s]."""
LIST_PERIOD = 2.0
"""Between two looks at the folder of the episodes [s]."""
NEWEST = 20
"""Episodes that are listed."""
NICENESS = 5
"""The page gives way to everything that moves an arm."""


class CockpitNode(Node):
    """Topics -> `CellView` -> `Page`; acts of the page -> services."""

    def __init__(self) -> None:
        super().__init__("cockpit")
        cell = declare_cell(self)
        self._cell = cell
        self._view = CellView(cell)
        self._figure = CellFigure(cell)
        self._acts = acts_of(cell)
        self._triggers = {
            name: self.create_client(Trigger, act.service)
            for name, act in self._acts.items()
            if act.service
        }
        self._texts = {
            name: self.create_publisher(String, act.topic, REQUEST_QOS)
            for name, act in self._acts.items()
            if act.topic
        }
        self._listed: list[dict[str, str]] = []
        self._listed_at = self._looked_at = -math.inf
        self._labels: dict[str, Callable[[Document], None]] = {}
        self._listen(cell)
        self._hands = SimulatedHands(cell)
        folder = declare_text(self, "score", "", "folder of a session of `ate score`")
        self._scoring = BlindScoring(Path(folder) if folder else None)
        self._page = Page(
            self._declare_config(),
            self._view,
            self._words,
            self._setup(),
            self._act,
            self._hands,
        )
        self._heartbeat = Heartbeat(self, "cockpit: page", lambda: self._page.address)
        self._loop = asyncio.new_event_loop()
        self._serving: asyncio.Task[None] | None = None
        self._start()
        self._thread = threading.Thread(target=self._serve, name="page", daemon=True)
        self._thread.start()

    def halt(self) -> None:
        """Close the page."""
        self._on_page(self._cancel)
        self._thread.join(3.0)

    def _cancel(self) -> None:
        if self._serving is not None:
            self._serving.cancel()

    def _on_page(self, act: Callable[[], None]) -> None:
        """Let the page's thread do something, if it has not ended."""
        with contextlib.suppress(RuntimeError):  # its loop is closed
            self._loop.call_soon_threadsafe(act)

    def _declare_config(self) -> PageConfig:
        host = declare_text(self, "host", "127.0.0.1", "address that the page listens on")
        port = declare_number(self, "port", 8400, "TCP port of the page", 0, 65535)
        token = declare_text(self, "token", "", "word a browser must know; empty: made up")
        config = PageConfig(host=host, port=int(port), token=token)
        if config.is_local and not token:
            return config
        if token and len(token) < 8:
            raise UsageError(f"parameter token has {len(token)} characters; need 8 or more")
        return PageConfig(host=host, port=int(port), token=token or secrets.token_urlsafe(12))

    def _listen(self, cell: Cell) -> None:
        topics, view = cell.topics, self._view
        for side, arm in cell.arms.items():
            name = partial(topics.of_arm, arm.namespace)
            order = arm.joint_names
            self._joints(name(topics.joint_states), partial(self._take_joints, side, order, False))
            self._joints(name(topics.joint_command), partial(self._take_joints, side, order, True))
            self._joints(name(topics.gripper_states), partial(self._take_opening, side))
            listen(
                self,
                WrenchStamped,
                name(topics.wrench),
                partial(self._take_wrench, side),
                SENSOR_QOS,
            )
        for role in cell.cameras:
            listen(
                self,
                CompressedImage,
                topics.camera_image(role),
                partial(self._take_picture, role),
                SENSOR_QOS,
            )
        hear_part_statuses(self, cell, self._take_status)
        hear_cell_statuses(
            self,
            cell,
            estop=lambda document: view.take_estop(document, time.monotonic()),
            episode=self._take_episode,
            policy=view.take_policy,
        )
        listen(self, DiagnosticArray, "/diagnostics_agg", self._take_health, DEFAULT_QOS)
        listen(self, DiagnosticStatus, CELL_HEALTH, self._take_whole, DEFAULT_QOS)
        listen(self, DiagnosticArray, "/diagnostics", self._take_loops, DEFAULT_QOS)

    def _joints(self, topic: str, take: Callable[[JointState], None]) -> None:
        listen(self, JointState, topic, take, SENSOR_QOS)

    def _take_joints(
        self, side: str, order: Sequence[str], is_command: bool, message: JointState
    ) -> None:
        q = joint_positions(message, order).tolist()
        take = self._view.take_command if is_command else self._view.take_joints
        take(side, q, time.monotonic())

    def _take_status(self, side: str, kind: str, document: Document) -> None:
        self._view.take_status(side, kind, document, time.monotonic())

    def _take_episode(self, document: Document) -> None:
        self._view.take_episode(document)
        for hear in tuple(self._labels.values()):
            hear(document)

    def _take_opening(self, side: str, message: JointState) -> None:
        opening = float(message.position[0])
        if not math.isfinite(opening):
            raise ValueError(f"opening {opening}")
        self._view.take_opening(side, opening, time.monotonic())

    def _take_wrench(self, side: str, message: WrenchStamped) -> None:
        force = message.wrench.force
        self._view.take_force(side, (force.x, force.y, force.z), time.monotonic())

    def _take_picture(self, role: str, message: CompressedImage) -> None:
        self._view.take_picture(role, bytes(message.data), time.monotonic())

    def _take_health(self, message: DiagnosticArray) -> None:
        now = time.monotonic()
        for line in message.status:
            self._view.take_health(line.name, line.level[0], line.message, now)

    def _take_whole(self, message: DiagnosticStatus) -> None:
        self._view.take_whole(message.level[0], message.message, time.monotonic())

    def _take_loops(self, message: DiagnosticArray) -> None:
        now = time.monotonic()
        for line in message.status:
            for value in line.values:
                if value.key == "loop":
                    self._view.take_loop(line.name, value.value, now)

    # --- the page, in its own thread ---------------------------------------------------------

    def _start(self) -> None:
        """Listen, still in the thread that makes the node: it is told what that refuses.

        Raises:
            DeviceError: the address cannot be listened on.
        """
        try:
            self._loop.run_until_complete(self._page.start())
        except DeviceError:
            self._loop.close()
            raise
        self.get_logger().info(f"cockpit: open {self._page.address}")

    def _serve(self) -> None:
        asyncio.set_event_loop(self._loop)
        self._serving = self._loop.create_task(self._page.serve())
        try:
            self._loop.run_until_complete(self._serving)
        except asyncio.CancelledError:
            pass
        finally:
            self._loop.close()

    def _setup(self) -> Document:
        return {
            "hardware": self._cell.hardware,
            "sides": list(self._cell.arms),
            "cameras": list(self._cell.cameras),
            "acts": {name: act.words for name, act in self._acts.items()},
            **self._figure.surroundings(),
        }

    def _words(self) -> Document:
        """The state of the cell, and its drawing."""
        now = time.monotonic()
        self._forget_the_silent(now)
        measured, targets = self._view.joints(now), self._view.targets(now)
        return {
            **self._view.document(now),
            "figure": {side: self._figure.arm(side, q) for side, q in measured.items()},
            "ghost": {side: self._figure.arm(side, q) for side, q in targets.items()},
            "near": self._figure.near(measured),
            "episodes": self._episodes(now),
            "unled": self._hands.refusal(),
            "scoring": self._scoring.document(),
        }

    def _episodes(self, now: float) -> list[dict[str, str]]:
        """The newest episodes, looked up every few seconds; on another machine there are none."""
        if now - self._listed_at > LIST_PERIOD:
            self._listed_at = now
            output = self._view.output
            self._listed = EpisodeFolders(output).newest(NEWEST) if output else []
        return self._listed

    def _forget_the_silent(self, now: float) -> None:
        """Show no status that nobody publishes any more; most are latched and have no age."""
        if now - self._looked_at < LOOK_PERIOD:
            return
        self._looked_at = now
        for (side, kind), topic in part_topics(self._cell).items():
            if not self.count_publishers(topic):
                self._view.lose_status(side, kind, now)
        if not self.count_publishers(episode_topic(self._cell)):
            self._view.lose_episode()
        if not self.count_publishers(POLICY_STATUS):
            self._view.lose_policy()

    async def _act(self, name: str, text: str, episode: int | None) -> Answer:
        """Do what the page asks for, of the episode that it has shown.

        Raises:
            DeviceError: nobody does it, or not in time.
            EpisodeError: the label is none.
        """
        if name not in self._acts:
            raise DeviceError(f"there is no {name!r}; known: {', '.join(self._acts)}")
        act = self._acts[name]
        if name == SCORE:
            return self._score(text)
        if act.judges and episode is not None and episode != self._view.episode:
            return Answer(success=False, message=f"episode {episode} was judged meanwhile")
        if name == LABEL:
            return await self._label(act, text, episode)
        if name == ESTOP:
            self._texts[name].publish(String(data="the cockpit asked for it"))
            return Answer(success=True, message=f"asked to {act.words}")
        client = self._triggers[name]
        if not client.service_is_ready():
            raise DeviceError(f"{client.srv_name} is not there: its node does not run")
        done: asyncio.Future[Trigger.Response] = self._loop.create_future()
        future = client.call_async(Trigger.Request())
        future.add_done_callback(partial(self._pass_on, done))
        try:
            async with asyncio.timeout(act.timeout):
                response = await done
        except TimeoutError:
            client.remove_pending_request(future)
            raise DeviceError(
                f"{client.srv_name} did not answer within {act.timeout:g} s: its node hangs"
            ) from None
        return Answer(success=bool(response.success), message=str(response.message))

    async def _label(self, act: Act, text: str, episode: int | None) -> Answer:
        """Keep the episode that was shown with a label; the recorder's status answers.

        Raises:
            DeviceError: there is no recorder, or it says nothing of it in time.
            EpisodeError: the label is none.
        """
        request = LabelRequest(label=text, episode=episode)
        said = request.text()
        if not self.count_subscribers(act.topic):
            raise DeviceError(f"nobody listens on {act.topic}: its node does not run")
        done: asyncio.Future[tuple[bool, str]] = self._loop.create_future()

        def hear(status: Document) -> None:
            if (answer := request.find_answer(status)) is not None:
                self._on_page(lambda: None if done.done() else done.set_result(answer))

        self._labels[request.request] = hear
        try:
            self._texts[LABEL].publish(String(data=said))
            async with asyncio.timeout(act.timeout):
                success, message = await done
        except TimeoutError:
            raise DeviceError(
                f"the recorder said nothing of the label within {act.timeout:g} s: its log may"
            ) from None
        finally:
            del self._labels[request.request]
        return Answer(success=success, message=message)

    def _score(self, text: str) -> Answer:
        key, _, turn = text.partition(" ")
        try:
            return Answer(success=True, message=self._scoring.press(key, turn))
        except (UsageError, OSError) as error:
            return Answer(success=False, message=f"not scored: {error}")

    def _pass_on(self, done: "asyncio.Future[Any]", future: Any) -> None:
        """Give the answer of a service to the page's thread."""

        def give() -> None:
            if not done.done():
                done.set_result(future.result())

        self._on_page(give)


def main(args: list[str] | None = None) -> int:
    """Run the node until SIGINT or SIGTERM."""
    return run_node(CockpitNode, args, niceness=NICENESS)


if __name__ == "__main__":
    sys.exit(main())
