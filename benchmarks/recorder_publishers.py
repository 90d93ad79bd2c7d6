"""Publishers of a cell without the cell: bytes of the true size at the true rate, all counted.

    python -m benchmarks.recorder_publishers CELL KIND FILE IMAGE_BYTES

`benchmarks.recorder_load` starts it. Every message has its own stamp; the stamps of all messages
that were sent are written to FILE (.npz) on SIGINT.
"""

import struct
import sys
import threading
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np
from rclpy.node import Node
from rclpy.publisher import Publisher

from ate_core.contract import load_cell
from ate_core.nodes.qos import DEFAULT_QOS
from ate_core.nodes.runner import run_node
from ate_core.resample import NANOSECONDS
from ate_core.streams import StreamSpec, cell_streams
from ate_recorder.bag_writer import TYPESTORE

KINDS: dict[str, tuple[str, ...]] = {"images": ("image",), "arms": ("joints", "joint_command")}
"""Which streams each of the two processes has; `arms` has also what else is required."""
COMMAND_HZ = 100.0
"""Rate of commands, which the contract leaves open [Hz]."""
OBJECTS_HZ = 30.0
"""Rate of anything else without a rate [Hz]."""


@dataclass(kw_only=True)
class Source:
    """One topic that is published."""

    spec: StreamSpec
    publisher: Publisher
    templates: Sequence[bytearray]
    """Whole messages; their stamps are replaced."""
    period: float
    """Time between two messages [s]."""
    due: float
    """When the next is due, monotonic [s]."""
    sent: list[int] = field(default_factory=list)
    """Stamps of all messages that were sent [ns]."""

    def send(self) -> None:
        """Publish the next message with its own stamp."""
        stamp = time.time_ns()
        if self.sent and stamp <= self.sent[-1]:
            stamp = self.sent[-1] + 1
        message = self.templates[len(self.sent) % len(self.templates)]
        struct.pack_into("<iI", message, 4, *divmod(stamp, NANOSECONDS))
        self.sent.append(stamp)
        self.publisher.publish(bytes(message))
        self.due += self.period


def templates(spec: StreamSpec, image_bytes: int) -> list[bytearray]:
    """Messages of the true size; those of joints tell of motion."""
    types = TYPESTORE.types
    stamp = types["builtin_interfaces/msg/Time"](sec=0, nanosec=0)
    header = types["std_msgs/msg/Header"](stamp=stamp, frame_id="benchmark")
    made = []
    for position in (0.0, 0.5):
        if spec.kind == "image":
            noise = np.random.default_rng(0).integers(0, 256, image_bytes, dtype=np.uint8)
            noise[:3] = 0xFF, 0xD8, 0xFF
            message = types[spec.msgtype](header=header, format="rgb8; jpeg", data=noise)
        elif spec.msgtype == "sensor_msgs/msg/JointState":
            names = list(spec.joint_names) or ["gripper"]
            values = np.full(len(names), position)
            message = types[spec.msgtype](
                header=header, name=names, position=values, velocity=values, effort=values
            )
        else:
            message = _plain(spec.msgtype, header)
        made.append(bytearray(TYPESTORE.serialize_cdr(message, spec.msgtype)))
    return made


def _plain(msgtype: str, header: Any) -> Any:
    """A message of zeros with a header."""
    types = TYPESTORE.types
    vector = types["geometry_msgs/msg/Vector3"](x=0.0, y=0.0, z=0.0)
    point = types["geometry_msgs/msg/Point"](x=0.0, y=0.0, z=0.0)
    turn = types["geometry_msgs/msg/Quaternion"](x=0.0, y=0.0, z=0.0, w=1.0)
    pose = types["geometry_msgs/msg/Pose"](position=point, orientation=turn)
    if msgtype == "geometry_msgs/msg/WrenchStamped":
        wrench = types["geometry_msgs/msg/Wrench"](force=vector, torque=vector)
        return types[msgtype](header=header, wrench=wrench)
    if msgtype == "geometry_msgs/msg/PoseStamped":
        return types[msgtype](header=header, pose=pose)
    return types[msgtype](header=header, poses=[pose])


def chosen(cell_file: str, kind: str) -> Iterator[StreamSpec]:
    """The streams of one of the two processes."""
    for spec in cell_streams(load_cell(cell_file or None, "real")):
        is_image = spec.kind == "image"
        is_wanted = spec.required or spec.kind == "joint_command" or spec.name.endswith("tcp_pose")
        if is_wanted and is_image == (kind == "images"):
            yield spec


class Publishers(Node):
    """Publishes in a thread of its own until the node is halted."""

    def __init__(self, cell_file: str, kind: str, file: Path, image_bytes: int) -> None:
        super().__init__(f"recorder_load_{kind}")
        self._file = file
        now = time.monotonic()
        self._sources = [self._source(spec, image_bytes, now) for spec in chosen(cell_file, kind)]
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run)
        self._thread.start()

    def halt(self) -> None:
        """Stop, and write down what was sent."""
        self._stop.set()
        self._thread.join()
        np.savez(self._file, **{s.spec.name: np.array(s.sent) for s in self._sources})

    def _source(self, spec: StreamSpec, image_bytes: int, now: float) -> Source:
        package, _, name = spec.msgtype.split("/")
        message = getattr(import_module(f"{package}.msg"), name)
        other = COMMAND_HZ if spec.kind == "joint_command" else OBJECTS_HZ
        return Source(
            spec=spec,
            publisher=self.create_publisher(message, spec.topic, DEFAULT_QOS),
            templates=templates(spec, image_bytes),
            period=1.0 / (spec.rate_hz or other),
            due=now,
        )

    def _run(self) -> None:
        while True:
            source = min(self._sources, key=lambda one: one.due)
            if self._stop.wait(max(0.0, source.due - time.monotonic())):
                return
            source.send()


def main() -> int:
    """Publish until SIGINT."""
    cell_file, kind, file, image_bytes = sys.argv[1:5]
    return run_node(lambda: Publishers(cell_file, kind, Path(file), int(image_bytes)), [])


if __name__ == "__main__":
    sys.exit(main())
