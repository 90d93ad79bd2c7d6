"""Cameras come from cell.yaml alone: what docs/adding_a_camera.md says."""

import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml

from ate_bringup.launches import LAUNCHES
from ate_core.contract import Cell, load_cell, packaged_cell
from ate_core.errors import ContractError, DeviceError, UsageError
from ate_core.strict import merge
from ate_sim.env import CellEnv
from ate_sim.world.engine import require_graphics
from realsense_camera.backends import make_backend
from realsense_camera.camera import CameraSettings, Frame

Change = Callable[[dict[str, Any]], object]


@pytest.fixture
def cell_with(tmp_path: Path) -> Callable[..., Cell]:
    """Load the packaged cell with a change of its values."""

    def load(change: Change, hardware: str = "sim") -> Cell:
        values = yaml.safe_load(packaged_cell().read_text())
        change(values)
        file = tmp_path / "cell.yaml"
        file.write_text(yaml.safe_dump(values, sort_keys=False))
        return load_cell(file, hardware)  # type: ignore[arg-type]

    return load


def needs_graphics() -> None:
    try:
        require_graphics()
    except DeviceError as error:
        pytest.skip(str(error))


def test_seven_cameras_are_drawn_each_from_where_it_is(seven_cameras: Path) -> None:
    needs_graphics()
    cell = load_cell(seven_cameras, "sim")
    keys = [camera.key for camera in cell.cameras.values()]
    assert len(keys) == 7
    env = CellEnv("pick_place", cell, cameras=keys)
    images = env.observe().images
    assert list(images) == keys
    assert all(image.shape == (72, 128, 3) and image.std() > 3.0 for image in images.values())
    for index, key in enumerate(keys):
        for other in keys[index + 1 :]:
            assert np.abs(images[key].astype(int) - images[other]).mean() > 2.0, (key, other)
    assert env.overview(36, 64).shape == (36, 64, 3)
    env.close()


def test_each_camera_can_be_drawn_at_its_own_size(seven_cameras: Path) -> None:
    needs_graphics()
    cell = load_cell(seven_cameras, "sim")
    env = CellEnv("pick_place", cell, cameras=["cam_front", "cam_left_wrist"], image_size=None)
    assert [image.shape[:2] for image in env.observe().images.values()] == [(72, 128), (270, 480)]
    env.close()


def test_a_camera_on_a_flange_moves_with_the_arm(seven_cameras: Path) -> None:
    needs_graphics()
    cell = load_cell(seven_cameras, "sim")
    env = CellEnv("pick_place", cell, cameras=["cam_palm", "cam_front"])
    action = env.observe().state.astype(float)
    palm = env.observe().images["cam_palm"].astype(int)
    for _ in range(20):
        action[0] += 0.02
        env.step(action)
    assert np.abs(env.observe().images["cam_palm"] - palm).mean() > 2.0
    env.close()


def test_a_renamed_camera_is_known_by_its_new_names_only(seven_cameras: Path) -> None:
    cell = load_cell(seven_cameras, "sim")
    assert cell.topics.camera_image("table") == "/cameras/table/image_raw/compressed"
    assert "cam_table" in cell.layout.cameras
    with pytest.raises(UsageError, match=r"camera is 'cam_high'; use one of .*cam_table"):
        CellEnv("pick_place", cell, cameras=["cam_high"])


def test_a_launch_starts_one_process_for_each_camera_of_the_cell(
    seven_cameras: Path, runtime_dir: str
) -> None:
    given = {"hardware": "sim", "cell": str(seven_cameras)}
    specs = LAUNCHES["dual_operator"].processes(given)
    names = {spec.name for spec in specs if spec.name.startswith("camera_")}
    assert names == {f"camera_{role}" for role in load_cell(seven_cameras, "sim").cameras}
    assert "camera_table" in names and "camera_overhead" not in names


def test_the_page_adds_a_camera(
    cell_with: Callable[..., Cell], code_of: Callable[..., list[str]]
) -> None:
    page = yaml.safe_load(code_of("adding_a_camera.md", "yaml")[0])

    def add(values: dict[str, Any]) -> None:
        values["cameras"] |= page["cameras"]
        values["simulation"]["cameras"] |= page["simulation"]["cameras"]

    assert cell_with(add).cameras["front"].key == "cam_front"
    assert cell_with(add, "real").cameras["front"].backend == "realsense"


def test_files_without_views_look_from_where_the_packaged_cameras_do(
    cell_with: Callable[..., Cell],
) -> None:
    def forget(values: dict[str, Any]) -> None:
        for camera in values["cameras"].values():
            del camera["view"]

    assert cell_with(forget).cameras == load_cell(None, "sim").cameras


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"view": {"mount": "ceiling"}}, "mount is 'ceiling'; need one of world, left_flange"),
        ({"view": {"fovy": 0.0}}, "fovy is 0.0 deg; need 5 to 150"),
        ({"view": {"position": [0.25, 0.0]}}, "need 3 numbers"),
        ({"view": {"position": [0.25, 0.0, 1.0], "look_at": [0.25, 0.0, 0.0]}}, "line of sight"),
        ({"view": {"quaternion": [0.0, 0.0, 0.0, 1.0]}}, "either look_at or quaternion"),
        ({"view": None}, "camera front has no view, so it cannot be drawn: say where"),
        ({"width": 0}, "width is 0; need 64 to 8192"),
        ({"width": 5000}, "width is 5000; at most 4096 pixels are drawn"),
        ({"backend": "realsense"}, "opens a real camera; set backend: software"),
        (
            {"backend": "webcam"},
            "no camera back end 'webcam': known are realsense, v4l2",
        ),
        ({"key": "cam_high"}, "overhead and front share the key 'cam_high'"),
        ({"key": "cam/front"}, "key is 'cam/front'; need a letter"),
    ],
)
def test_what_cannot_be_drawn_is_refused_when_the_cell_is_loaded(
    cell_with: Callable[..., Cell],
    code_of: Callable[..., list[str]],
    change: dict[str, Any],
    message: str,
) -> None:
    page = yaml.safe_load(code_of("adding_a_camera.md", "yaml")[0])

    def add(values: dict[str, Any]) -> None:
        camera = page["cameras"]["front"] | page["simulation"]["cameras"]["front"]
        values["cameras"]["front"] = merge(camera, change, "change")

    with pytest.raises(ContractError) as error:
        cell_with(add)
    assert message in str(error.value)


def test_a_back_end_of_another_package_delivers_frames(
    cell_with: Callable[..., Cell],
    code_of: Callable[..., list[str]],
    add_package: Callable[..., Path],
) -> None:
    code = code_of("adding_a_camera.md", "python")[0]
    add_package("my_camera", code, "ate.camera_backends", {"grey": "my_camera:GreyCamera"})

    def use(values: dict[str, Any]) -> None:
        values["simulation"]["cameras"]["overhead"] |= {"backend": "grey", "fps": 100}

    settings = CameraSettings.from_cell(cell_with(use), "overhead")
    frames: list[Frame] = []
    enough = threading.Event()

    def take(frame: Frame) -> None:
        frames.append(frame)
        if len(frames) == 3:
            enough.set()

    backend = make_backend(settings)
    backend.open(take)
    assert enough.wait(5.0)
    backend.close()
    assert [frame.number for frame in frames[:3]] == [1, 2, 3]
    assert frames[0].image.shape == (270, 480, 3)
