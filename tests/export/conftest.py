"""Small episodes of the packaged cell: a moving square before each camera, arms that move."""

import json
from dataclasses import dataclass, replace
from pathlib import Path

import av
import numpy as np
import pyarrow.parquet
import pytest
import simplejpeg

from ate_core.contract import Cell, load_cell
from ate_core.resample import tick_period_ns
from training.data.episode_file import Episode, write_episode

SIZE = (64, 96)
"""Height and width of the pictures [px]."""
COLOURS = ((220, 40, 30), (40, 200, 60), (30, 60, 210))
"""Of the square, per camera: red, green, blue."""
CELL = load_cell(None, "sim")


def picture(tick: int, colour: tuple[int, int, int]) -> np.ndarray:
    """A square on grey that moves by two pixels per tick."""
    image = np.full((*SIZE, 3), 90, np.uint8)
    left = 2 * tick % (SIZE[1] - 32)
    image[16:48, left : left + 32] = colour
    return image


def make_episode(ticks: int, seed: int = 0, cell: Cell = CELL, **changes: object) -> Episode:
    """Arms that move from zero to a seeded posture."""
    rng = np.random.default_rng(seed)
    phase = np.linspace(0.0, 1.0, ticks, dtype=np.float32)[:, None]
    layout = cell.layout.action
    action = phase * rng.uniform(0.2, 0.9, layout.size).astype(np.float32)
    images = {
        camera.key: [
            simplejpeg.encode_jpeg(picture(tick, colour), 95, "RGB") for tick in range(ticks)
        ]
        for camera, colour in zip(cell.cameras.values(), COLOURS, strict=False)
    }
    episode = Episode(
        state=action * np.float32(0.99),
        velocity=np.zeros((ticks, len(layout.columns("rad"))), np.float32),
        wrench=rng.normal(size=(ticks, 12)).astype(np.float32),
        action=action,
        timestamps_ns=10**18 + np.arange(ticks, dtype=np.int64) * tick_period_ns(cell.tick_rate),
        commanded_by=np.repeat(np.uint8([[2, 1]]), ticks, axis=0),
        environment=np.tile(np.eye(7, dtype=np.float32)[:1], (ticks, 2, 1)),
        object_names=("bun", "plate"),
        images=images,
        cell=cell,
        task="pick_place",
        instruction="put the bun on the plate",
        operator="test",
        seed=seed,
        source=f"episode_{seed:06d}",
        source_sha256=f"{seed}",
    )
    return replace(episode, **changes)


class LerobotReader:
    """Rows and frames of a LeRobot 3.0 set, with pyarrow and PyAV only: no code of the writer."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.info = json.loads((folder / "meta" / "info.json").read_text())
        self.stats = json.loads((folder / "meta" / "stats.json").read_text())
        files = sorted((folder / "meta" / "episodes").glob("chunk-*/file-*.parquet"))
        self.episodes = [
            row for file in files for row in pyarrow.parquet.read_table(file).to_pylist()
        ]
        tasks = pyarrow.parquet.read_table(folder / "meta" / "tasks.parquet").to_pylist()
        self.tasks = {row["task_index"]: row["task"] for row in tasks}
        self.cameras = [k for k, v in self.info["features"].items() if v["dtype"] == "video"]

    def rows(self, index: int) -> dict[str, np.ndarray]:
        """The columns of an episode."""
        episode = self.episodes[index]
        path = self.folder / self.info["data_path"].format(
            chunk_index=episode["data/chunk_index"], file_index=episode["data/file_index"]
        )
        table = pyarrow.parquet.read_table(path, filters=[("episode_index", "=", index)])
        return {key: np.array(table[key].to_pylist()) for key in table.column_names}

    def frames(self, index: int, camera: str) -> list[np.ndarray]:
        """The pictures of an episode: those between its two moments in the shared file."""
        episode, stem = self.episodes[index], f"videos/{camera}"
        path = self.folder / self.info["video_path"].format(
            video_key=camera,
            chunk_index=episode[f"{stem}/chunk_index"],
            file_index=episode[f"{stem}/file_index"],
        )
        begin, end = episode[f"{stem}/from_timestamp"], episode[f"{stem}/to_timestamp"]
        half = 0.5 / self.info["fps"]
        with av.open(str(path)) as container:
            stream = container.streams.video[0]
            return [
                frame.to_ndarray(format="rgb24")
                for frame in container.decode(stream)
                if begin - half < float(frame.pts * stream.time_base) < end - half
            ]


@dataclass(frozen=True)
class Studio:
    """The helpers above, for tests."""

    cell: Cell = CELL
    colours: tuple = COLOURS
    size: tuple = SIZE
    episode = staticmethod(make_episode)
    picture = staticmethod(picture)
    reader = LerobotReader

    def with_wrists_exchanged(self):
        """The cell with the serials of its wrist cameras exchanged."""
        cameras = dict(self.cell.cameras)
        left, right = (cameras[role] for role in ("left_wrist", "right_wrist"))
        cameras["left_wrist"] = replace(left, serial=right.serial)
        cameras["right_wrist"] = replace(right, serial=left.serial)
        return replace(self.cell, cameras=cameras)

    def with_an_arm_moved(self):
        """The cell with its left arm at another place."""
        left = self.cell.arms["left"]
        moved = replace(left, base_pose=(left.base_pose[0] + 0.4, *left.base_pose[1:]))
        return replace(self.cell, arms={**self.cell.arms, "left": moved})

    def write(self, folder, *episodes):
        """Write episodes as a folder of HDF5 files; returns the folder."""
        for index, episode in enumerate(episodes):
            write_episode(folder / f"episode_{index:06d}.hdf5", episode)
        return folder


@pytest.fixture(scope="session")
def studio() -> Studio:
    return Studio()
