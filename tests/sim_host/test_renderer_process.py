"""The renderer process writes pictures of the world's cameras."""

import threading
import time
from collections.abc import Callable
from pathlib import Path

import pytest
import yaml

from ate_core.contract import load_cell, packaged_cell
from ate_core.errors import DeviceError
from ate_core.shared_state import SharedBlock, frame_dtype
from ate_sim.realtime.control import SimControl
from ate_sim.realtime.renderer import Camera, RendererConfig, run_renderer
from ate_sim.world.engine import require_graphics


def test_late_pictures_are_skipped_not_queued(tmp_path: Path) -> None:
    config = load_cell(None, "sim").cameras["overhead"]
    camera = Camera("overhead", config, tmp_path, now=0.0)
    period = 1.0 / config.fps
    camera.schedule_next(0.5 * period)
    assert camera.due == pytest.approx(period)
    assert camera.skipped == 0
    camera.schedule_next(4.2 * period)
    assert camera.due == pytest.approx(5 * period)
    assert camera.skipped == 3
    camera.close()
    assert list(tmp_path.iterdir()) == []


def test_a_cell_without_cameras_leaves_the_renderer_nothing_to_do(tmp_path: Path) -> None:
    values = yaml.safe_load(packaged_cell().read_text())
    values["cameras"] = {}
    del values["simulation"]["cameras"]
    file = tmp_path / "cell.yaml"
    file.write_text(yaml.safe_dump(values, sort_keys=False))
    assert run_renderer(RendererConfig(cell=file), threading.Event()) == 0


def test_frames_of_seven_cameras_come_with_rising_sequence_and_stop_with_the_process(
    start, stop, runtime_dir: Path, eventually: Callable[..., None], seven_cameras: Path
) -> None:
    try:
        require_graphics()
    except DeviceError as error:
        pytest.skip(str(error))
    start("ate_sim.realtime.world", "--cell", str(seven_cameras))
    renderer = start("ate_sim.realtime.renderer", "--cell", str(seven_cameras))
    cameras = load_cell(seven_cameras, "sim").cameras
    assert len(cameras) == 7
    with SimControl(runtime_dir) as control:
        control.wait_until_up(time.monotonic() + 30.0)
    files = {role: runtime_dir / f"frame_{role}.image" for role in cameras}
    eventually(lambda: all(file.exists() for file in files.values()), timeout=40.0)
    for role, config in cameras.items():
        dtype = frame_dtype(config.height, config.width)
        block = SharedBlock(files[role], dtype, create=False)
        eventually(lambda block=block: block.read()["sequence"] >= 1, timeout=40.0)
        first = block.read()
        eventually(lambda block=block, first=first: block.read()["sequence"] > first["sequence"])
        second = block.read()
        assert second["time_ns"] > first["time_ns"]
        assert second["image"].std() > 5.0  # a picture, not a plain colour
        block.close()
    assert stop(renderer) < 15.0
    assert not any(file.exists() for file in files.values())
