"""A stored calibration: what it takes to be taken over, and where it lies."""

import dataclasses
import math
from pathlib import Path

import numpy as np
import pytest
import yaml

from ate_core.contract import load_cell
from ate_core.errors import ContractError
from ate_core.geometry import quaternion_to_matrix, rotation_exp
from ate_teleop.calibration import HandCalibration
from ate_teleop.calibration_file import calibration_path, load_calibration, save_calibration

MADE = 1.8e9


@pytest.fixture(scope="module")
def cell():
    return load_cell()


def calibration(cell) -> HandCalibration:
    nominal = quaternion_to_matrix(cell.operators["left"].hand_rotation)
    rotation = nominal @ rotation_exp([0.0, 0.3, 0.0])
    return HandCalibration(
        heading=-1.25,
        rotation_tool_to_wrist=tuple(tuple(row) for row in rotation.tolist()),
        correction=0.3,
        residual=0.02,
        curve=0.004,
    )


def test_what_was_stored_is_taken_over_with_its_age(cell, tmp_path: Path) -> None:
    path = calibration_path(tmp_path / "new", cell, "left")
    for void in ("", "the headset was centred anew"):
        before = dataclasses.replace(calibration(cell), void=void)
        save_calibration(path, before, cell, "left", MADE)
        after, age = load_calibration(path, cell, "left", MADE + 90.0)
        assert age == pytest.approx(90.0)
        assert (after.heading, after.void) == (before.heading, before.void)
        rotations = (after.rotation_tool_to_wrist, before.rotation_tool_to_wrist)
        np.testing.assert_allclose(*rotations, atol=1e-9)
    assert [file.name for file in path.parent.iterdir()] == [path.name]
    assert load_calibration(path.with_name("other.yaml"), cell, "left", MADE) is None


WRONG = {
    "foreign version": ({"version": 2}, "version is 2; need 1"),
    "no version": ({"version": None}, "version is None; need 1"),
    "other cell": ({"cell": "kitchen"}, "cell is 'kitchen'; need 'ate_cell'"),
    "other operator": ({"operator": "right"}, "operator is 'right'; need 'left'"),
    "other hand": ({"hand": "left"}, "hand is 'left'; need 'right'"),
    "other headset": ({"headset": "192.168.1.32:12345"}, "need '192.168.1.31:12345'"),
    "NaN": ({"heading": math.nan}, "heading is nan; need a finite number"),
    "degrees": ({"heading": 57.3}, "heading is 57.3 rad; need -3.14159 to 3.14159 rad. Is it in"),
    "text": ({"heading": "east"}, "heading is 'east'; need a number"),
    "no rotation": ({"hand_rotation": [0.0, 0.0, 0.0, 2.0]}, "need length 1"),
    "too large a correction": ({"correction": 1.2}, "correction is 1.2 rad; need 0 to 0.61"),
    "changed cell": ({"hand_rotation": [0.0, 0.0, 0.0, 1.0]}, "the cell was changed"),
    "unknown key": ({"yaw": 1.0}, "has the unknown key 'yaw'"),
    "too old": ({"made": MADE - 13 * 3600}, "it is 13.0 hours old; need 0 to 12"),
    "from the future": ({"made": MADE + 3600}, "it is -1.0 hours old; need 0 to 12"),
}


@pytest.mark.parametrize(("change", "reason"), WRONG.values(), ids=WRONG)
def test_a_file_of_another_or_an_unsound_one_is_refused_by_name(
    change: dict, reason: str, cell, tmp_path: Path
) -> None:
    path = calibration_path(tmp_path, cell, "left")
    save_calibration(path, calibration(cell), cell, "left", MADE)
    values = yaml.safe_load(path.read_text()) | change
    path.write_text(yaml.safe_dump(values))
    with pytest.raises(ContractError) as refused:
        load_calibration(path, cell, "left", MADE)
    assert reason in str(refused.value)
    assert str(path) in str(refused.value)


@pytest.mark.parametrize("text", ["", "[1, 2", "just words", "a: 1\na: 2", "\0", "- 1"])
def test_what_is_no_calibration_at_all_is_refused(text: str, cell, tmp_path: Path) -> None:
    path = tmp_path / "left.yaml"
    path.write_text(text)
    with pytest.raises(ContractError, match=r"left\.yaml"):
        load_calibration(path, cell, "left", MADE)


def test_calibrations_lie_with_the_users_settings_and_simulated_ones_apart(
    cell, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "settings"))
    monkeypatch.setenv("ATE_RUNTIME_DIR", str(tmp_path / "run"))
    real = calibration_path("", cell, "left")
    assert real == tmp_path / "settings/ate/calibrations/ate_cell-left.yaml"
    assert tmp_path / "run" in calibration_path("", load_cell(hardware="sim"), "left").parents
    odd = dataclasses.replace(cell, name="../my cell")
    assert calibration_path(tmp_path, odd, "right") == tmp_path / ".._my_cell-right.yaml"
