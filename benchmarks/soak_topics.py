"""Drops and periods of the topics of a cell, from the numbers and stamps that messages carry."""

import time
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, ClassVar

import numpy as np
import rclpy
from rclpy.node import Node
from rclpy.qos import QoSProfile, ReliabilityPolicy
from sensor_msgs.msg import CompressedImage, JointState

from ate_core.contract import Cell
from ate_core.nodes.runner import spinning
from ate_core.nodes.transport import use_sockets

PAUSE_NS = 100_000_000
"""Silence of a commander after which it has paused: that is no period of its stream [ns]."""

LONGEST_SILENCE_NS = 2_000_000_000
"""Silence of who publishes all the time after which it counts as lost [ns]."""


@dataclass(frozen=True, kw_only=True)
class TopicReport:
    """What one topic delivered."""

    HEADER: ClassVar[str] = (
        f"{'topic':40} {'messages':>9} {'dropped':>8} {'median':>8} {'p99':>8} "
        f"{'longest [ms]':>13}  verdict"
    )

    name: str
    """Of the topic."""
    messages: int
    """Received."""
    dropped: int
    """Numbers of its publishers that never came."""
    median_ms: float
    """Between two messages as they were sent [ms]; pauses of commanders are left out."""
    p99_ms: float
    """Likewise."""
    longest_ms: float
    """Likewise."""
    verdict: str
    """``complete``, or what is wrong."""

    def line(self) -> str:
        """For people."""
        return (
            f"{self.name:40} {self.messages:9} {self.dropped:8} {self.median_ms:8.1f} "
            f"{self.p99_ms:8.1f} {self.longest_ms:13.1f}  {self.verdict}"
        )


class TopicWatch:
    """Listens to joints, commands and pictures of a cell while it is used as a context."""

    def __init__(self, cell: Cell, *, pictures: bool = True) -> None:
        """Prepare.

        Args:
            cell: its arms and cameras.
            pictures: listen to them, too.
        """
        self._topics: dict[str, type] = {}
        for side in cell.arms:
            for part in ("arm/joint_states", "arm/joint_command", "gripper/joint_states"):
                self._topics[f"/{side}/{part}"] = JointState
        for role in cell.cameras if pictures else ():
            self._topics[f"/cameras/{role}/image_raw/compressed"] = CompressedImage
        self._heard: dict[str, list[tuple[int, int]]] = defaultdict(list)

    def __enter__(self) -> "TopicWatch":
        use_sockets()
        rclpy.init(args=[])
        self._node = Node("soak")
        qos = QoSProfile(depth=200, reliability=ReliabilityPolicy.RELIABLE)
        for name, kind in self._topics.items():
            # Raw: nothing of the pictures is looked at but their number.
            self._node.create_subscription(kind, name, partial(self._take, name), qos, raw=True)
        self._spinning = spinning(self._node)
        self._spinning.__enter__()
        return self

    def __exit__(self, *error: Any) -> None:
        self._spinning.__exit__(None, None, None)
        self._end_ns = time.time_ns()

    def _take(self, name: str, _message: bytes, info: dict[str, int]) -> None:
        self._heard[name].append((info["publication_sequence_number"], info["source_timestamp"]))

    def reports(self, most_drops: float) -> list[TopicReport]:
        """Judge every topic.

        Args:
            most_drops: share of its messages that may be lost.
        """
        return [judge(name, self._heard[name], most_drops, self._end_ns) for name in self._topics]


def judge(
    name: str, heard: Sequence[tuple[int, int]], most_drops: float, end_ns: int
) -> TopicReport:
    """Say what is missing.

    Args:
        name: of the topic.
        heard: number and stamp [ns] of each message.
        most_drops: share that may be lost.
        end_ns: until when it was listened to, on the clock of the stamps [ns].
    """
    numbers = np.array([number for number, _ in heard], dtype=np.int64)
    stamps = np.array([stamp for _, stamp in heard], dtype=np.int64)
    steps, periods = np.diff(numbers), np.diff(stamps)
    dropped = int((steps[steps > 1] - 1).sum())
    silence = np.diff(stamps, append=end_ns).max(initial=0)
    if name.endswith("command"):
        periods = periods[periods < PAUSE_NS]
        silence = 0
    middle, late, longest = (
        np.percentile(periods * 1e-6, [50, 99, 100]) if len(periods) else np.full(3, np.nan)
    )
    verdict = "complete"
    if not len(heard):
        verdict = "silent"
    elif silence > LONGEST_SILENCE_NS:
        verdict = f"silent for {silence * 1e-9:.0f} s"
    elif dropped > most_drops * len(heard):
        verdict = f"{dropped} dropped, bound {most_drops:.1%}"
    return TopicReport(
        name=name,
        messages=len(heard),
        dropped=dropped,
        median_ms=float(middle),
        p99_ms=float(late),
        longest_ms=float(longest),
        verdict=verdict,
    )
