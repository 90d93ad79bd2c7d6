"""The rim of a replay: what a cell says comes in, postures and openings go out."""

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from functools import partial
from time import monotonic
from typing import Any

import numpy as np
from builtin_interfaces.msg import Duration
from numpy.typing import NDArray
from sensor_msgs.msg import JointState, Joy
from std_msgs.msg import Header, String
from trajectory_msgs.msg import JointTrajectory, JointTrajectoryPoint

from ate_core.contract import Cell
from ate_core.errors import DeviceError, NoCellError
from ate_core.json_text import read_document
from ate_core.nodes.claim import DeviceClaim, in_domain
from ate_core.nodes.command_source import unique_commander
from ate_core.nodes.estop import EstopListener
from ate_core.nodes.joints import joint_positions, require_recent
from ate_core.nodes.listening import listen
from ate_core.nodes.qos import COMMAND_QOS, LATCHED_QOS, SENSOR_QOS
from ate_core.nodes.visitor import Visitor, visit
from ate_core.streams import header_stamp_ns
from ate_teleop.episode_replay.watch import COMMANDER, CellWatch, Device
from ate_teleop.nodes.messages import joint_message, time_message

Array = NDArray[np.float64]


class EpisodePlayer:
    """Topics <-> `CellWatch`; all on the caller's thread."""

    def __init__(self, cell: Cell, sides: tuple[str, ...], visitor: Visitor) -> None:
        """Listen; nothing is taken before `spin`."""
        self._cell, self._sides, self._visitor = cell, sides, visitor
        self._node = visitor.node
        self._frame = unique_commander(COMMANDER)
        grippers = tuple(side for side in sides if side in cell.grippers)
        self.watch = CellWatch(sides, grippers)
        self.measured: dict[str, list[tuple[int, Array]]] = {side: [] for side in sides}
        """Stamps [ns] and joints of each arm since `forget`."""
        self.openings: dict[str, list[tuple[int, Array]]] = {side: [] for side in grippers}
        """Stamps [ns] and opening ratio of each gripper since then."""
        self._arms, self._ways, self._holds, self._grippers = (
            self._publishers(cell.topics.joint_command, JointState, sides),
            self._publishers(cell.topics.joint_trajectory, JointTrajectory, sides),
            self._publishers(cell.topics.hold, Header, sides),
            self._publishers(cell.topics.gripper_command, JointState, grippers),
        )
        self._listen(sides, grippers)

    def _publishers(self, topic: str, kind: Any, sides: tuple[str, ...]) -> dict[str, Any]:
        name = partial(self._cell.topics.of_arm, name=topic)
        return {
            side: self._node.create_publisher(
                kind, name(self._cell.arms[side].namespace), COMMAND_QOS
            )
            for side in sides
        }

    def _listen(self, sides: tuple[str, ...], grippers: tuple[str, ...]) -> None:
        cell, topics, node = self._cell, self._cell.topics, self._node

        def hear(side: str, topic: str, kind: Any, take: Callable[..., object], qos: Any) -> None:
            listen(node, kind, topics.of_arm(cell.arms[side].namespace, topic), take, qos)

        for side in sides:
            arm = self.watch.arms[side]
            hear(side, topics.joint_states, JointState, partial(self._joints, side), SENSOR_QOS)
            hear(side, topics.arm_status, String, partial(self._status, arm), LATCHED_QOS)
        for side in grippers:
            one = self.watch.grippers[side]
            hear(side, topics.gripper_states, JointState, partial(self._opening, side), SENSOR_QOS)
            hear(side, topics.gripper_status, String, partial(self._status, one), LATCHED_QOS)
        for operator in cell.operators.values():
            side = operator.arm
            hear(side, topics.joy, Joy, partial(self._joy, side), SENSOR_QOS)
            told = partial(self._operator, side)
            hear(side, topics.operator_status, String, told, LATCHED_QOS)
        listen(node, String, topics.scene_info, self._scene, LATCHED_QOS)
        self._estop = EstopListener(node, self._stop)

    @property
    def now_ns(self) -> int:
        """The clock that stamps commands and joints [ns]."""
        return int(self._node.get_clock().now().nanoseconds)

    def spin(self, condition: Callable[[], bool], timeout: float) -> bool:
        """Take messages until a condition holds, for at most so long [s]; whether it holds."""
        return self._visitor.spin_until(condition, timeout)

    def find(self, timeout: float) -> None:
        """Wait until every device is heard and hears.

        Raises:
            NoCellError: one does not.
        """

        def are_there() -> bool:
            links = (*self._arms.values(), *self._ways.values(), *self._grippers.values())
            return all(link.get_subscription_count() for link in links) and all(
                device.status and device.position is not None for device in self.watch.devices
            )

        if not self.spin(are_there, timeout):
            silent = [one.name for one in self.watch.devices if one.position is None]
            raise NoCellError((silent or ["driver of the arms"])[0], timeout)

    def forget(self) -> None:
        """Begin to keep measured joints and openings anew."""
        for rows in (*self.measured.values(), *self.openings.values()):
            rows.clear()

    def command(
        self, arms: Mapping[str, Array], openings: Mapping[str, float], stamp: int
    ) -> None:
        """Send postures [rad] and openings [ratio], all with one stamp: when they were due [ns].

        Where the process stood still since, the drivers see their age.
        """
        for side, q in arms.items():
            names = self._cell.arms[side].joint_names
            self._arms[side].publish(joint_message(names, q.tolist(), self._frame, stamp))
        for side, ratio in openings.items():
            names = (f"{side}_gripper",)
            self._grippers[side].publish(joint_message(names, [ratio], self._frame, stamp))

    def send_way(self, side: str, posture: Array, seconds: float) -> None:
        """Ask the driver of an arm for a motion from where it is to a posture [rad]."""
        point = JointTrajectoryPoint(positions=posture.tolist())
        whole, rest = divmod(round(seconds * 1e9), 1_000_000_000)
        point.time_from_start = Duration(sec=whole, nanosec=rest)
        names = list(self._cell.arms[side].joint_names)
        self._ways[side].publish(JointTrajectory(joint_names=names, points=[point]))

    def hold(self) -> None:
        """Let all arms brake and hold, on a way or not; grippers keep what they have."""
        stamp = time_message(self.now_ns)
        for side in self._sides:
            self._holds[side].publish(Header(stamp=stamp, frame_id=self._frame))
            self._ways[side].publish(JointTrajectory())

    # --- what is heard -------------------------------------------------------------------------

    def _joints(self, side: str, message: JointState) -> None:
        require_recent(self._node, message)
        q = joint_positions(message, self._cell.arms[side].joint_names)
        self.watch.take_position(self.watch.arms[side], q, monotonic())
        self.measured[side].append((header_stamp_ns(message), q))

    def _opening(self, side: str, message: JointState) -> None:
        require_recent(self._node, message)
        ratio = np.array(message.position[:1], dtype=np.float64)
        if ratio.shape == (1,) and np.isfinite(ratio[0]):
            self.watch.take_position(self.watch.grippers[side], ratio, monotonic())
            self.openings[side].append((header_stamp_ns(message), ratio))

    def _status(self, device: Device, message: String) -> None:
        status = read_document(message.data)
        if status:
            self.watch.take_status(device, status)

    def _joy(self, side: str, message: Joy) -> None:
        self.watch.take_buttons(side, message.buttons)

    def _operator(self, side: str, message: String) -> None:
        self.watch.take_operator(side, read_document(message.data))

    def _scene(self, _: String) -> None:
        self.watch.is_simulated = True

    def _stop(self, reason: str) -> None:
        self.watch.stop = reason


@contextmanager
def episode_player(cell: Cell, sides: tuple[str, ...]) -> Iterator[EpisodePlayer]:
    """Join the graph while the context lasts; one replay drives an arm.

    Raises:
        DeviceError: another one does.
    """
    with visit("ate_replay") as visitor:
        domain = visitor.node.context.get_domain_id()
        names = [in_domain(f"replay on {cell.arms[side].namespace}", domain) for side in sides]
        claim = DeviceClaim(lambda: names)
        if taken := claim.take():
            raise DeviceError(taken)
        try:
            yield EpisodePlayer(cell, sides, visitor)
        finally:
            claim.release()
