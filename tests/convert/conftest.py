"""Synthetic episodes: seeded messages of every stream, recorded by the real recorder."""

import functools
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest

from ate_core.contract import Cell, load_cell
from ate_core.streams import StreamSpec, cell_streams
from ate_recorder.bag_writer import TYPESTORE, encode_text
from ate_recorder.recorder import EpisodeRecorder
from ate_recorder.recorder_config import RecorderConfig
from ate_recorder.sample import Sample

START_NS = 1_700_000_000_000_000_000
OBJECTS = ("bun", "plate")


@dataclass(frozen=True)
class Sent:
    """One message on its way to the recorder."""

    spec: StreamSpec
    stamp_ns: int
    receive_ns: int
    data: bytes


CELL = load_cell(None, "sim")


@functools.cache
def make_messages(seconds: float = 2.0, seed: int = 0) -> tuple[Sent, ...]:
    """Messages of the packaged cell, see `messages_of`."""
    return messages_of(CELL, seconds, seed)


def messages_of(cell: Cell, seconds: float = 2.0, seed: int = 0) -> tuple[Sent, ...]:
    """Messages of all value streams with jittered stamps and delays, in order of receipt."""
    rng = np.random.default_rng(seed)
    rates = {"ratio": 50.0, "image": 15.0, "poses": 30.0}
    sent = []
    for spec in cell_streams(cell):
        if spec.kind == "other":
            continue
        rate = rates.get(spec.kind, 100.0)
        stamps = START_NS + np.arange(int(seconds * rate)) * (1e9 / rate)
        stamps = (stamps + rng.uniform(0.0, 0.3e9 / rate, len(stamps))).astype(np.int64)
        if spec.name.endswith("command"):
            stamps = stamps[len(stamps) // 3 :]  # the operator engages later
        for stamp in stamps.tolist():
            delay = int(rng.uniform(1e5, 5e6))
            sent.append(Sent(spec, stamp, stamp + delay, encode(spec, stamp, rng, cell)))
    sent.append(_scene(cell))
    return tuple(sorted(sent, key=lambda message: message.receive_ns))


def encode(spec: StreamSpec, stamp_ns: int, rng: np.random.Generator, cell: Cell = CELL) -> bytes:
    """One random message of a stream, as CDR bytes."""
    types = TYPESTORE.types
    stamp = types["builtin_interfaces/msg/Time"](sec=stamp_ns // 10**9, nanosec=stamp_ns % 10**9)
    header = types["std_msgs/msg/Header"](stamp=stamp, frame_id="test")
    vector = types["geometry_msgs/msg/Vector3"]
    if spec.kind in ("joints", "joint_command", "ratio"):
        names = list(spec.joint_names) or ["gripper"]
        order = rng.permutation(len(names))
        message = types[spec.msgtype](
            header=header,
            name=[names[i] for i in order],
            position=rng.uniform(0, 1, len(names)),
            velocity=rng.uniform(-1, 1, len(names)),
            effort=np.zeros(len(names)),
        )
    elif spec.kind == "wrench":
        force, torque = (vector(*rng.normal(size=3)) for _ in range(2))
        wrench = types["geometry_msgs/msg/Wrench"](force=force, torque=torque)
        message = types[spec.msgtype](header=header, wrench=wrench)
    elif spec.kind == "poses":
        point, turn = types["geometry_msgs/msg/Point"], types["geometry_msgs/msg/Quaternion"]
        pose = types["geometry_msgs/msg/Pose"]
        poses = [
            pose(position=point(*rng.normal(size=3)), orientation=turn(*_unit(rng)))
            for _ in OBJECTS
        ]
        message = types[spec.msgtype](header=header, poses=poses)
    else:
        body = rng.integers(0, 256, int(rng.integers(10_000, 20_000)), dtype=np.uint8)
        jpeg = np.concatenate([_jpeg_header(spec, cell), body, [0, 0, 0xFF, 0xD9]]).astype(
            np.uint8
        )
        message = types[spec.msgtype](
            header=header, format="rgb8; jpeg compressed bgr8", data=jpeg
        )
    return bytes(TYPESTORE.serialize_cdr(message, spec.msgtype))


def _jpeg_header(spec: StreamSpec, cell: Cell) -> tuple[int, ...]:
    """Start of a JPEG, its frame header with height and width, and the start of its scan."""
    camera = next(camera for camera in cell.cameras.values() if camera.key == spec.name)
    size = (*divmod(camera.height, 256), *divmod(camera.width, 256))
    return (0xFF, 0xD8, 0xFF, 0xC0, 0, 17, 8, *size, 3, *[0] * 9, 0xFF, 0xDA, 0, 2)


def _unit(rng: np.random.Generator) -> np.ndarray:
    turn = rng.normal(size=4)
    return turn / np.linalg.norm(turn)


def _scene(cell: Cell) -> Sent:
    spec = next(spec for spec in cell_streams(cell) if spec.name == "scene_info")
    text = '{"task": "pick_place", "objects": ["bun", "plate"], "epoch": 4, "seed": 11}'
    return Sent(spec, START_NS, START_NS - 10**6, encode_text(text))


def record(
    folder: Path,
    messages: Sequence[Sent],
    outcome: str = "success",
    cell: Cell = CELL,
    **config: object,
) -> Path:
    """Record messages as the next episode of a folder and return its bag."""
    return record_and_listen(folder, messages, outcome, cell, **config)[0]


def record_and_listen(
    folder: Path,
    messages: Sequence[Sent],
    outcome: str = "success",
    cell: Cell = CELL,
    **config: object,
) -> tuple[Path, str]:
    """Do the same, and return what the recorder said at the end too."""
    recorder = EpisodeRecorder(
        cell, RecorderConfig(output=folder, min_free_gb=0.0, instruction="put it down", **config)
    )
    for spec in recorder.required():
        recorder.receive(Sample(spec, b"", START_NS - 10**6))
    name = recorder.start(START_NS).split()[-1]
    for message in messages:
        recorder.receive(Sample(message.spec, message.data, message.receive_ns))
    told = recorder.stop(messages[-1].receive_ns + 10**7)
    recorder.keep(messages[-1].receive_ns + 2 * 10**7, outcome)
    return folder / name, told


@dataclass(frozen=True)
class Studio:
    """The helpers above, for tests."""

    cell: Cell = CELL
    start_ns: int = START_NS
    messages = staticmethod(make_messages)
    messages_of = staticmethod(messages_of)
    record = staticmethod(record)
    record_and_listen = staticmethod(record_and_listen)
    encode = staticmethod(encode)


@pytest.fixture(scope="session")
def studio() -> Studio:
    return Studio()
