"""What a conversion costs, beside the loop that one would write in an afternoon.

    python -m benchmarks.conversion --seconds 60 --memory-seconds 600

In one run, on made bags of the simulated and of the real cell (three cameras, two arms):

- CPU seconds of `ate convert` for one episode, and of a plain loop over the same bag: rosbags
  deserialises every message, OpenCV (simplejpeg where it is not installed) decodes the image of
  every tick and encodes it again, h5py writes it. The best of three each, and their ratio.
- Seconds recorded per CPU second: how often faster than real time one core converts.
- Peak memory of a process that converts a long episode of the real cell, and a short one.
"""

import json
import shutil
import struct
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import simplejpeg
import tyro
from rosbags.highlevel import AnyReader
from rosbags.typesys import Stores, get_typestore

from ate_core.contract import Cell, load_cell
from ate_core.streams import INFO_TOPIC, OUTCOME_TOPIC, TEXT_TYPE, StreamSpec, cell_streams
from ate_recorder.bag_writer import TYPESTORE, BagTopic, BagWriter, encode_text
from training.configs.convert import ConvertConfig
from training.convert_bags import convert_episode

START_NS = 1_700_000_000_000_000_000
LOOKS = 64
"""Different messages of a stream; they are sent in turn."""
REPEATS = 3
"""Times each way converts the bag; the cheapest counts: other processes only add."""
DELAY_NS = 2_000_000
"""Time from stamp to receipt [ns]."""


@dataclass(frozen=True, kw_only=True)
class BenchmarkConfig:
    """Measure CPU and memory of conversion."""

    seconds: float = 60.0
    """Length of the episodes whose CPU time is measured [s]."""
    memory_seconds: float = 600.0
    """Length of the long episode whose peak memory is measured [s]; 0 leaves it out."""
    folder: Path | None = None
    """Where to make the bags; a temporary folder by default. The long one takes about 2 GB."""


@dataclass(frozen=True, kw_only=True)
class Cost:
    """CPU time of one episode, both ways."""

    ours: float
    """Seconds of `ate convert` [s]."""
    plain: float
    """Seconds of the plain loop [s]."""
    seconds: float
    """Length of the episode [s]."""

    @property
    def ratio(self) -> float:
        """How many times cheaper ours is."""
        return self.plain / self.ours

    @property
    def real_time(self) -> float:
        """Seconds recorded per CPU second of ours."""
        return self.seconds / self.ours


def main(config: BenchmarkConfig) -> None:
    """Make the bags, measure, print."""
    with tempfile.TemporaryDirectory(dir=config.folder) as name:
        folder = Path(name)
        for hardware in ("sim", "real"):
            bag = make_bag(folder / hardware / "episode_000000", config.seconds, hardware)
            cost = measure(bag, config.seconds)
            size = sum(path.stat().st_size for path in bag.iterdir()) / 1e6
            print(
                f"{hardware} cell, {config.seconds:.0f} s, {size:.0f} MB: ate convert "
                f"{cost.ours:.2f} CPU s, plain loop with {codec_name()} {cost.plain:.2f} CPU s: "
                f"{cost.ratio:.1f}x less; {cost.real_time:.0f}x real time per core"
            )
            shutil.rmtree(bag)
        for seconds in (10.0, config.memory_seconds) if config.memory_seconds else ():
            bag = make_bag(folder / "long" / "episode_000000", seconds, "real")
            used = peak_memory(bag)
            size = sum(path.stat().st_size for path in bag.iterdir()) / 1e6
            print(f"real cell, {seconds:.0f} s, {size:.0f} MB: peak memory {used:.0f} MB")
            shutil.rmtree(bag.parent)


def measure(bag: Path, seconds: float) -> Cost:
    """Return the CPU time of converting one bag both ways."""
    output = bag.parent / "data"
    config = ConvertConfig(bags=bag, output=output, overwrite=True)
    report = convert_episode(bag, config)
    if report.result != "converted":
        raise RuntimeError(f"the made bag was refused: {report.reason}")
    return Cost(
        ours=_cheapest(lambda: convert_episode(bag, config)),
        plain=_cheapest(lambda: plain_loop(bag, output / "plain.hdf5")),
        seconds=seconds,
    )


def peak_memory(bag: Path) -> float:
    """Return the peak memory of a process that converts one bag [MB]."""
    words = [sys.executable, "-m", "benchmarks.conversion", "--convert-only", str(bag)]
    return float(subprocess.run(words, check=True, capture_output=True, text=True).stdout)


def _cheapest(work: Callable[[], Any]) -> float:
    times = []
    for _ in range(REPEATS):
        start = time.process_time()
        work()
        times.append(time.process_time() - start)
    return min(times)


def make_bag(bag: Path, seconds: float, hardware: str) -> Path:
    """Write an episode of smooth motion and smooth pictures at the cell's own rates."""
    cell = load_cell(None, "sim" if hardware == "sim" else "real")
    streams = [spec for spec in cell_streams(cell) if spec.stamped]
    looks = {spec.name: _looks(spec, cell) for spec in streams}
    writer = BagWriter(bag)
    _write_text(writer, INFO_TOPIC, _info(cell), START_NS)
    for stamp_ns, index, spec in _schedule(streams, seconds):
        message = bytearray(looks[spec.name][index % LOOKS])
        struct.pack_into("<iI", message, 4, *divmod(stamp_ns, 10**9))
        topic = BagTopic(name=spec.topic, msgtype=spec.msgtype)
        writer.write(topic, stamp_ns + DELAY_NS, bytes(message))
    end_ns = START_NS + round(seconds * 1e9) + DELAY_NS
    _write_text(writer, OUTCOME_TOPIC, {"outcome": "success", "end_ns": end_ns}, end_ns)
    writer.close()
    return bag


def _schedule(streams: list[StreamSpec], seconds: float) -> Iterator[tuple[int, int, StreamSpec]]:
    """Yield stamp, index and stream of every message, second by second in order of stamps."""
    for second in range(int(seconds)):
        due = []
        for spec in streams:
            rate = _rate(spec)
            due += [
                (START_NS + second * 10**9 + round(i * 1e9 / rate), second * rate + i, spec)
                for i in range(rate)
            ]
        yield from sorted(due, key=lambda entry: entry[0])


def _rate(spec: StreamSpec) -> int:
    """Messages per second: the nominal rate, else what the teleoperation and the scene send."""
    return round(spec.rate_hz) or {"joint_command": 90, "ratio": 50, "poses": 30}.get(
        spec.kind, 90
    )


def _info(cell: Cell) -> dict[str, Any]:
    return {
        "format": 1,
        "contract": cell.canonical_text(),
        "contract_sha256": cell.sha256,
        "layout_sha256": cell.layout.sha256,
        "start_ns": START_NS,
        "required": [],
        "task": "benchmark",
    }


def _write_text(writer: BagWriter, topic: str, fields: dict[str, Any], at_ns: int) -> None:
    described = BagTopic(name=topic, msgtype=TEXT_TYPE, latched=True)
    writer.write(described, at_ns, encode_text(json.dumps(fields)))


def _looks(spec: StreamSpec, cell: Cell) -> list[bytes]:
    phases = np.arange(LOOKS) * (2 * np.pi / LOOKS)
    return [bytes(TYPESTORE.serialize_cdr(_message(spec, cell, x), spec.msgtype)) for x in phases]


def _message(spec: StreamSpec, cell: Cell, phase: float) -> Any:
    types = TYPESTORE.types
    stamp = types["builtin_interfaces/msg/Time"](sec=0, nanosec=0)
    header = types["std_msgs/msg/Header"](stamp=stamp, frame_id=spec.name)
    vector = types["geometry_msgs/msg/Vector3"](x=np.sin(phase), y=1.0, z=2.0)
    pose = types["geometry_msgs/msg/Pose"](
        position=types["geometry_msgs/msg/Point"](x=np.sin(phase), y=0.0, z=0.1),
        orientation=types["geometry_msgs/msg/Quaternion"](x=0.0, y=0.0, z=0.6, w=0.8),
    )
    made = types[spec.msgtype]
    if spec.msgtype.endswith("JointState"):
        side = spec.name.split("_")[0]
        home = np.array(cell.arms[side].home) if spec.joint_names else np.array([0.5])
        position = home + 0.05 * np.sin(phase + np.arange(len(home)))
        return made(
            header=header, name=list(spec.joint_names) or ["gripper"], position=position,
            velocity=0.05 * np.cos(phase + np.arange(len(home))), effort=np.zeros(len(home)),
        )  # fmt: skip
    if spec.kind == "image":
        camera = next(one for one in cell.cameras.values() if one.key == spec.name)
        data = np.frombuffer(_picture(camera.width, camera.height, phase), np.uint8)
        return made(header=header, format="rgb8; jpeg compressed bgr8", data=data)
    if spec.msgtype.endswith("WrenchStamped"):
        wrench = types["geometry_msgs/msg/Wrench"](force=vector, torque=vector)
        return made(header=header, wrench=wrench)
    if spec.msgtype.endswith("PoseArray"):
        return made(header=header, poses=[pose, pose])
    if spec.msgtype.endswith("PoseStamped"):
        return made(header=header, pose=pose)
    return _other(spec, header)


def _other(spec: StreamSpec, header: Any) -> Any:
    types = TYPESTORE.types
    if spec.msgtype.endswith("Joy"):
        return types[spec.msgtype](
            header=header, axes=np.zeros(4, np.float32), buttons=np.zeros(12, np.int32)
        )
    roi = types["sensor_msgs/msg/RegionOfInterest"](
        x_offset=0, y_offset=0, height=0, width=0, do_rectify=False
    )
    return types[spec.msgtype](
        header=header, height=1, width=1, distortion_model="plumb_bob", d=np.zeros(5),
        k=np.zeros(9), r=np.zeros(9), p=np.zeros(12), binning_x=0, binning_y=0, roi=roi,
    )  # fmt: skip


def _picture(width: int, height: int, phase: float) -> bytes:
    """A scene of soft shapes with the grain of a camera, as JPEG."""
    x, y = np.meshgrid(np.linspace(0, 6, width), np.linspace(0, 4, height))
    grain = np.random.default_rng(0).normal(0, 3, (height, width))
    shades = [120 + 80 * np.sin(x + shift + phase) * np.cos(y - shift) for shift in (0, 1, 2)]
    image = np.clip(np.stack(shades, axis=-1) + grain[..., None], 0, 255).astype(np.uint8)
    return bytes(simplejpeg.encode_jpeg(np.ascontiguousarray(image), quality=80))


def codec_name() -> str:
    """What decodes and encodes images in the plain loop."""
    return _codec()[0]


def _codec() -> tuple[str, Callable[[bytes], Any], Callable[[Any], bytes]]:
    try:
        import cv2
    except ImportError:
        return (
            "simplejpeg",
            simplejpeg.decode_jpeg,
            lambda image: bytes(simplejpeg.encode_jpeg(image, quality=80)),
        )
    cv2.setNumThreads(1)
    return (
        "OpenCV",
        lambda data: cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR),
        lambda image: bytes(cv2.imencode(".jpg", image, [cv2.IMWRITE_JPEG_QUALITY, 80])[1]),
    )


def plain_loop(bag: Path, target: Path) -> None:
    """Convert a bag as one would without any of ours: message by message, image by image."""
    _, decode, encode = _codec()
    stamps: dict[str, list[int]] = {}
    values: dict[str, list[Any]] = {}
    with AnyReader([bag], default_typestore=get_typestore(Stores.ROS2_JAZZY)) as reader:
        for connection, _, raw in reader.messages():
            message: Any = reader.deserialize(raw, connection.msgtype)
            if not hasattr(message, "header"):
                continue
            stamp = message.header.stamp.sec * 10**9 + message.header.stamp.nanosec
            stamps.setdefault(connection.topic, []).append(stamp)
            values.setdefault(connection.topic, []).append(_plain_value(message))
    start = max(times[0] for times in stamps.values())
    ticks = np.arange(start, max(times[-1] for times in stamps.values()), 50_000_000)
    with h5py.File(target, "w") as file:
        for topic, rows in values.items():
            index = np.searchsorted(stamps[topic], ticks, side="right") - 1
            if isinstance(rows[0], bytes):
                images = [encode(decode(rows[i])) for i in index]
                longest = max(len(image) for image in images)
                data = file.create_dataset(topic, (len(ticks),), dtype=f"S{longest}")
                for i, image in enumerate(images):
                    data[i] = image
            elif rows[0] is not None:
                file[topic] = np.array([rows[i] for i in index], dtype=np.float32)


def _plain_value(message: Any) -> Any:
    if hasattr(message, "position"):
        return np.concatenate([message.position, message.velocity])
    if hasattr(message, "wrench"):
        force, torque = message.wrench.force, message.wrench.torque
        return [force.x, force.y, force.z, torque.x, torque.y, torque.z]
    if hasattr(message, "format"):
        return bytes(message.data)
    return None


def _convert_only(bag: Path) -> None:
    """The child process whose memory is measured."""
    report = convert_episode(bag, ConvertConfig(bags=bag, output=bag.parent / "data"))
    if report.result != "converted":
        raise SystemExit(report.reason)
    # Not ru_maxrss: after fork and exec it still holds the parent's peak.
    status = Path("/proc/self/status").read_text()
    print(float(status.split("VmHWM:")[1].split()[0]) / 1e3)


if __name__ == "__main__":
    if sys.argv[1:2] == ["--convert-only"]:
        _convert_only(Path(sys.argv[2]))
    else:
        main(tyro.cli(BenchmarkConfig))
