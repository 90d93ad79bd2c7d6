"""Intrinsics from a file of ROS's camera_calibration."""

from pathlib import Path

import pytest
import yaml

from ate_core.contract import load_cell, packaged_cell
from ate_core.errors import ContractError, UsageError
from realsense_camera.calibration import read_calibration

GOOD = {
    "image_width": 640,
    "image_height": 480,
    "camera_name": "overhead",
    "camera_matrix": {"rows": 3, "cols": 3, "data": [600.0, 0, 320, 0, 601.0, 240, 0, 0, 1]},
    "distortion_model": "plumb_bob",
    "distortion_coefficients": {"rows": 1, "cols": 5, "data": [0.1, -0.2, 0.001, 0.002, 0.0]},
}


def write(tmp_path, values) -> str:
    file = tmp_path / "calibration.yaml"
    file.write_text(values if isinstance(values, str) else yaml.safe_dump(values))
    return file


def test_file_gives_matrix_and_distortion(tmp_path) -> None:
    found = read_calibration(write(tmp_path, GOOD), 640, 480)
    assert (found.fx, found.fy, found.ppx, found.ppy) == (600.0, 601.0, 320.0, 240.0)
    assert found.model == "plumb_bob"
    assert found.distortion == (0.1, -0.2, 0.001, 0.002, 0.0)


@pytest.mark.parametrize(
    ("values", "words"),
    [
        ({**GOOD, "image_width": 1280}, "is for 1280x480 pictures, the cell wants 640x480"),
        ({**GOOD, "camera_matrix": {"data": [0.0] * 9}}, "positive focal lengths"),
        ({**GOOD, "camera_matrix": {"data": [1.0] * 8}}, "need 9 numbers"),
        ({**GOOD, "camera_matrix": {"data": [float("nan")] * 9}}, "need finite numbers"),
        ({**GOOD, "camera_matrix": {"data": ["600"] * 9}}, "need finite numbers"),
        ({**GOOD, "distortion_model": "magic"}, "need one of plumb_bob"),
        ({**GOOD, "distortion_coefficients": {"data": [0.1]}}, "with 1 coefficients"),
        ({"image_width": 640, "image_height": 480}, "camera_matrix.data is None"),
        ("[1, 2]", "holds no mapping"),
        ("a: [", "cannot be read"),
    ],
)
def test_file_that_is_no_calibration_is_refused(tmp_path, values, words) -> None:
    with pytest.raises(UsageError, match=words):
        read_calibration(write(tmp_path, values), 640, 480)


def test_missing_file_is_named(tmp_path) -> None:
    with pytest.raises(UsageError, match=r"nowhere.yaml cannot be read"):
        read_calibration(tmp_path / "nowhere.yaml", 640, 480)
    with pytest.raises(UsageError, match="longer than"):
        read_calibration(Path("/dev/zero"), 640, 480)


def changed_cell(tmp_path, **camera):
    values = yaml.safe_load(packaged_cell().read_text())
    values["cameras"]["overhead"] |= camera
    file = tmp_path / "cell.yaml"
    file.write_text(yaml.safe_dump(values))
    return load_cell(file).cameras["overhead"]


def test_calibration_is_looked_for_beside_the_cell_file(tmp_path) -> None:
    assert changed_cell(tmp_path, calibration="high.yaml").calibration == str(
        tmp_path / "high.yaml"
    )


@pytest.mark.parametrize(
    ("camera", "words"),
    [
        ({"exposure_us": 50_000}, "longer than a picture at 30 Hz"),
        ({"exposure_us": 0}, "need 50 to 200000"),
        ({"exposure_us": 8}, r"is 8 us; need 50 to 200000 us\. Is it in ms\? 8 ms are 8000 us"),
        ({"exposure_us": 33}, r"Is it in ms\? 33 ms are 3.3e\+04 us"),
        ({"gain": 16}, "set exposure_us too"),
        ({"exposure_us": 8000, "gain": -1}, "need 0 to 1024"),
        ({"white_balance_k": 5}, "need 2000 to 10000"),
    ],
)
def test_sensor_setting_that_no_camera_has_is_refused(tmp_path, camera, words) -> None:
    with pytest.raises(ContractError, match=words):
        changed_cell(tmp_path, **camera)
