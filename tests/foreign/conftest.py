"""Small data sets as others write them: frame n of an episode is grey, brighter with n."""

import json
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path

import av
import h5py
import numpy as np
import pyarrow
import pyarrow.parquet
import pytest
import simplejpeg

from ate_core.contract import load_cell
from ate_core.resample import tick_period_ns
from training.data.episode_file import Episode, write_episode

JOINTS = 7
RATE = 20
HEIGHT, WIDTH = 64, 96
CAMERA = "observation.images.top"
NAMES = [
    *(f"left_joint{index}" for index in range(1, 8)),
    "left_gripper",
    *(f"right_joint{index}" for index in range(1, 8)),
    "right_gripper",
]


def grey(row: int, episode: int = 0) -> int:
    """Brightness of a frame."""
    return 20 + (6 * row + 3 * episode) % 220


def picture(row: int, episode: int = 0) -> np.ndarray:
    return np.full((HEIGHT, WIDTH, 3), grey(row, episode), np.uint8)


def seen(jpeg: bytes) -> float:
    """Brightness of a JPEG."""
    return float(simplejpeg.decode_jpeg(jpeg, "RGB").mean())


def motion(rows: int, episode: int = 0, rate: float = RATE) -> np.ndarray:
    """(rows, 16) states: number n of the vector goes from n / 100 on at 0.1 per second."""
    vector = np.arange(16) / 100.0 + episode / 1000.0
    return vector + 0.1 * np.arange(rows)[:, None] / rate


def encode(path: Path, images, rate: int = RATE, codec: str = "libx264", gop: int = 8) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with av.open(str(path), "w") as container:
        stream = container.add_stream(codec, rate=rate, options={"g": str(gop), "crf": "10"})
        stream.width, stream.height, stream.pix_fmt = WIDTH, HEIGHT, "yuv420p"
        for image in images:
            container.mux(stream.encode(av.VideoFrame.from_ndarray(image, format="rgb24")))
        container.mux(stream.encode(None))


def png(image: np.ndarray) -> bytes:
    codec = av.CodecContext.create("png", "w")
    codec.width, codec.height, codec.pix_fmt = WIDTH, HEIGHT, "rgb24"
    codec.time_base = Fraction(1, RATE)
    packets = codec.encode(av.VideoFrame.from_ndarray(image, format="rgb24"))
    return b"".join(map(bytes, [*packets, *codec.encode(None)]))


def put_into_table(folder: Path) -> None:
    """Move the images of version 2.1's only episode from its video into its table, as PNGs."""
    file = folder / "meta" / "info.json"
    text = file.read_text().replace('"dtype": "video"', '"dtype": "image"')
    file.write_text(text)
    (path,) = folder.glob("data/*/*.parquet")
    rows = pyarrow.parquet.read_table(path)
    images = [{"bytes": png(picture(row)), "path": f"{row}.png"} for row in range(len(rows))]
    pyarrow.parquet.write_table(rows.append_column(CAMERA, pyarrow.array(images)), path)


def table(path: Path, episodes: dict[int, np.ndarray], rate: int = RATE, commanded=None) -> None:
    """Rows of some episodes as one parquet file; the action is 0.01 ahead of the state."""
    path.parent.mkdir(parents=True, exist_ok=True)
    states = np.concatenate(list(episodes.values())).astype(np.float32)
    actions = states + np.float32(0.01) if commanded is None else commanded
    lengths = [len(rows) for rows in episodes.values()]
    kind = pyarrow.list_(pyarrow.float32(), states.shape[1])
    numbers = np.concatenate([np.arange(length) for length in lengths])
    pyarrow.parquet.write_table(
        pyarrow.table(
            {
                "observation.state": pyarrow.array(states.tolist(), type=kind),
                "action": pyarrow.array(actions.tolist(), type=kind),
                "timestamp": (numbers / rate).astype(np.float32),
                "episode_index": np.repeat(list(episodes), lengths),
                "task_index": np.zeros(len(states), np.int64),
            }
        ),
        path,
        write_page_checksum=True,
    )


def info(version: str, episodes: int, rate: int, names=NAMES, **features) -> dict:
    vector = {"dtype": "float32", "shape": [len(names)], "names": names}
    number = {"dtype": "float32", "shape": [1], "names": None}
    chunk, file = "{episode_chunk:03d}", "episode_{episode_index:06d}"
    if version == "v3.0":
        chunk, file = "{chunk_index:03d}", "file-{file_index:03d}"
    video = f"videos/chunk-{chunk}/{{video_key}}/{file}.mp4"
    return {
        "codebase_version": version,
        "robot_type": "Two Arms",
        "fps": rate,
        "total_episodes": episodes,
        "chunks_size": 1000,
        "data_path": f"data/chunk-{chunk}/{file}.parquet",
        "video_path": video,
        "features": {
            "observation.state": vector,
            "action": vector,
            CAMERA: {"dtype": "video", "shape": [HEIGHT, WIDTH, 3], "names": None},
            "timestamp": number,
            **features,
        },
    }


def write_v2(folder: Path, lengths=(24, 30), rate: int = RATE, codec: str = "libx264") -> Path:
    """LeRobot v2.1: a table and a video for each episode."""
    (folder / "meta").mkdir(parents=True)
    (folder / "meta" / "info.json").write_text(json.dumps(info("v2.1", len(lengths), rate)))
    lines = [
        {"episode_index": n, "tasks": ["put it down"], "length": length}
        for n, length in enumerate(lengths)
    ]
    (folder / "meta" / "episodes.jsonl").write_text("\n".join(map(json.dumps, lines)))
    for n, length in enumerate(lengths):
        name = f"chunk-000/episode_{n:06d}.parquet"
        table(folder / "data" / name, {n: motion(length, n, rate)}, rate)
        video = folder / "videos" / "chunk-000" / CAMERA / f"episode_{n:06d}.mp4"
        encode(video, [picture(row, n) for row in range(length)], rate, codec)
    return folder


def write_v3(folder: Path, lengths=(24, 30, 20), codec: str = "libx264") -> Path:
    """LeRobot v3.0: one table and one video for all episodes."""
    (folder / "meta" / "episodes" / "chunk-000").mkdir(parents=True)
    (folder / "meta" / "info.json").write_text(json.dumps(info("v3.0", len(lengths), RATE)))
    ends = np.cumsum(lengths) / RATE
    zeros = [0] * len(lengths)
    lines = {
        "episode_index": list(range(len(lengths))),
        "tasks": [["put it down"]] * len(lengths),
        "length": list(lengths),
        "data/chunk_index": zeros,
        "data/file_index": zeros,
        f"videos/{CAMERA}/chunk_index": zeros,
        f"videos/{CAMERA}/file_index": zeros,
        f"videos/{CAMERA}/from_timestamp": [0.0, *ends[:-1].tolist()],
        f"videos/{CAMERA}/to_timestamp": ends.tolist(),
    }
    index = folder / "meta" / "episodes" / "chunk-000" / "file-000.parquet"
    pyarrow.parquet.write_table(pyarrow.table(lines), index)
    rows = {n: motion(length, n) for n, length in enumerate(lengths)}
    table(folder / "data" / "chunk-000" / "file-000.parquet", rows)
    images = [picture(row, n) for n, length in enumerate(lengths) for row in range(length)]
    video = folder / "videos" / "chunk-000" / CAMERA / "file-000.mp4"
    encode(video, images, codec=codec)
    return folder


def write_aloha(folder: Path, form: str = "raw", rows: int = 24) -> Path:
    """One file of ALOHA: six joints and a gripper per arm; images raw, padded or as bytes."""
    folder.mkdir(parents=True, exist_ok=True)
    columns = [*range(6), 7, *range(8, 14), 15]
    states = motion(rows, rate=50)[:, columns].astype(np.float32)
    images = np.stack([picture(row) for row in range(rows)])
    jpegs = [simplejpeg.encode_jpeg(image, 95, "RGB") for image in images]
    longest = max(map(len, jpegs))
    padded = np.stack([np.frombuffer(one.ljust(longest, b"\0"), np.uint8) for one in jpegs])
    stored = {"raw": images, "padded": padded, "bytes": np.array(jpegs, f"S{longest}")}
    with h5py.File(folder / "episode_0.hdf5", "w") as file:
        file["observations/qpos"], file["action"] = states, states + np.float32(0.01)
        file["observations/images/cam_high"] = stored[form]
    return folder


MAPPING = f"""
body: Two Arms
action_is: target
state:
  feature: observation.state
  fields: &fields
    left_arm: {{columns: [{", ".join(NAMES[:7])}]}}
    left_gripper: {{columns: [left_gripper], unit: ratio}}
    right_arm: {{columns: [{", ".join(NAMES[8:15])}]}}
    right_gripper: {{columns: [right_gripper], unit: ratio}}
action: {{feature: action, fields: *fields}}
cameras:
  cam_high: {{feature: {CAMERA}}}
"""


@dataclass(frozen=True)
class Others:
    """The helpers above, for tests."""

    rate: int = RATE
    mapping: str = MAPPING
    camera: str = CAMERA
    names: tuple[str, ...] = tuple(NAMES)
    grey = staticmethod(grey)
    seen = staticmethod(seen)
    picture = staticmethod(picture)
    motion = staticmethod(motion)
    encode = staticmethod(encode)
    table = staticmethod(table)
    put_into_table = staticmethod(put_into_table)
    write_v2 = staticmethod(write_v2)
    write_v3 = staticmethod(write_v3)
    write_aloha = staticmethod(write_aloha)


@pytest.fixture(scope="session")
def others() -> Others:
    return Others()


@pytest.fixture(scope="session")
def cell():
    """The packaged cell with emulated devices."""
    return load_cell(hardware="sim")


@pytest.fixture
def write_own(cell):
    """Write one episode of our own cell with images into a folder; returns the folder."""

    def write_own(folder: Path) -> Path:
        jpegs = [simplejpeg.encode_jpeg(picture(row), 95, "RGB") for row in range(40)]
        states = motion(40).astype(np.float32)
        episode = Episode(
            state=states,
            velocity=np.zeros((40, 14), np.float32),
            wrench=np.zeros((40, 12), np.float32),
            action=states + np.float32(0.01),
            timestamps_ns=np.arange(40, dtype=np.int64) * tick_period_ns(cell.tick_rate),
            images=dict.fromkeys(cell.layout.cameras, jpegs),
            cell=cell,
            instruction="put it down",
        )
        write_episode(folder / "episode_000000.hdf5", episode)
        return folder

    return write_own
