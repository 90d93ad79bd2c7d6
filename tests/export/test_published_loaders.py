"""The published readers themselves on what we export, in an environment of their own.

`make readers` builds the environment. The loaders of ACT, RDT and RoboTwin are read from
checkouts whose folder `ATE_PUBLISHED_LOADERS` names; none of their code stands here.
"""

import json
import os
import subprocess
from pathlib import Path

import pytest

from training.export.act import ActExport, export_act
from training.export.camera_video import VideoConfig
from training.export.lerobot import LerobotExport, export_lerobot
from training.export.rdt import RdtExport, export_rdt
from training.export.robotwin import RobotwinExport, export_robotwin

ROOT = Path(__file__).parents[2]
PYTHON = Path(os.environ.get("ATE_READERS", ROOT / ".readers")) / "bin" / "python"
CHECKOUTS = {
    "act": "act/utils.py",
    "rdt": "RoboticsDiffusionTransformer/data/hdf5_vla_dataset.py",
    "robotwin": "RoboTwin/policy/ACT/process_data.py",
}
LENGTHS = (131, 140)


def read_with(reader: str, *words: object) -> dict:
    """Run one of the readers of `published_readers.py`; returns what it prints last."""
    if not PYTHON.exists():
        pytest.skip(f"{PYTHON} is missing: `make readers` builds it")
    script = Path(__file__).with_name("published_readers.py")
    environment = {**os.environ, "HF_HUB_OFFLINE": "1", "HF_HOME": str(words[0]) + ".cache"}
    done = subprocess.run(
        [PYTHON, "-W", "ignore", script, reader, *map(str, words)],
        capture_output=True,
        text=True,
        timeout=110,
        env=environment,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-2000:]
    return json.loads(done.stdout.splitlines()[-1])


def checkout(reader: str) -> Path:
    """The folder of a published project."""
    base = os.environ.get("ATE_PUBLISHED_LOADERS")
    if base is None:
        pytest.skip("ATE_PUBLISHED_LOADERS names no folder with checkouts of the loaders")
    file = Path(base) / CHECKOUTS[reader]
    if not file.exists():
        pytest.skip(f"{file} is missing: check the project out there")
    return Path(base) / CHECKOUTS[reader].split("/")[0]


@pytest.fixture(scope="module")
def data(studio, tmp_path_factory):
    made = [studio.episode(ticks, seed) for seed, ticks in enumerate(LENGTHS)]
    return studio.write(tmp_path_factory.mktemp("published") / "data", *made)


@pytest.mark.parametrize("codec", ["av1", "h264"])
def test_lerobot_itself_loads_the_set(studio, tmp_path, codec):
    made = [studio.episode(ticks, seed) for seed, ticks in enumerate((8, 11))]
    data = studio.write(tmp_path / "data", *made)
    video = VideoConfig(codec=codec)
    assert export_lerobot(LerobotExport(episodes=data, output=tmp_path / "set", video=video)) == 0
    read = read_with("lerobot", tmp_path / "set")
    assert read["frames"] == 19 and read["episodes"] == 2
    assert read["tasks"] == ["put the bun on the plate"]
    assert read["action_is_pad"] == [False, True, True]  # the last tick of the first episode
    assert read["action"] == pytest.approx(made[0].action[-1].tolist(), abs=1e-6)
    assert read["stats_differ"] < 1e-6
    for index, key in enumerate(camera.key for camera in studio.cell.cameras.values()):
        wanted = studio.picture(5, studio.colours[index])[32, 20] / 255
        assert read["pixels"][f"observation.images.{key}"] == pytest.approx(wanted, abs=0.15)


def test_the_loader_of_act_stacks_and_draws_our_copies(data, studio, tmp_path):
    project = checkout("act")
    assert export_act(ActExport(episodes=data, output=tmp_path / "act")) == 0
    read = read_with("act", tmp_path / "act", project, len(LENGTHS))
    assert read["images"] == [3, 3, *studio.size]
    assert read["qpos"] == [16] and read["actions"] == [max(LENGTHS), 16]


def test_the_loader_of_rdt_draws_our_copies(data, studio, tmp_path):
    project = checkout("rdt")
    assert export_rdt(RdtExport(episodes=data, output=tmp_path / "rdt", drop_joint=3)) == 0
    read = read_with("rdt", tmp_path / "rdt", project)
    assert read["episodes"] == 2 and read["instruction"] == "put the bun on the plate"
    assert read["actions"] == [64, 128] and 0.0 <= read["gripper"] <= 1.0
    assert read["image"] == [2, *studio.size, 3]
    colour = studio.colours[[c.key for c in studio.cell.cameras.values()].index("cam_high")]
    assert read["strongest"] == colour.index(max(colour))  # RGB, as its vision tower wants


def test_the_scripts_of_robotwin_read_our_copies_and_its_act_draws_them(data, studio, tmp_path):
    project = checkout("robotwin")
    assert export_robotwin(RobotwinExport(episodes=data, output=tmp_path / "data")) == 0
    folder = tmp_path / "data" / "pick_place" / "demo_clean" / "data"
    read = read_with("robotwin", folder, project, len(LENGTHS))
    assert read["qpos"] == [16] and read["actions"] == [max(LENGTHS) - 1, 16]
    assert read["images"] == [3, 3, 480, 640]
    colour = studio.colours[[c.key for c in studio.cell.cameras.values()].index("cam_high")]
    assert read["strongest"] == colour.index(max(colour))
