"""Which operator takes over a stored calibration and stores one: not who follows a recording."""

import time
from types import SimpleNamespace
from unittest import mock

import numpy as np
import pytest

pytest.importorskip("rclpy")

import rclpy

from ate_core.contract import load_cell
from ate_teleop.calibration import HandCalibration
from ate_teleop.calibration_file import calibration_path, load_calibration, save_calibration
from ate_teleop.calibrator import CalibrationNews
from ate_teleop.nodes.calibrations import Calibrations
from ate_teleop.nodes.operator_node import OperatorNode

pytestmark = pytest.mark.ros
CELL = load_cell(hardware="sim")


def calibration(heading: float) -> HandCalibration:
    rotation = np.array([[0.0, 0.0, -1.0], [0.0, 1.0, 0.0], [1.0, 0.0, 0.0]])
    return HandCalibration(
        heading=heading, correction=0.0, residual=0.0, curve=0.0,
        rotation_tool_to_wrist=tuple(tuple(row) for row in rotation.tolist()),
    )  # fmt: skip


@pytest.fixture
def node(node_environment):
    rclpy.init()
    node = rclpy.create_node("calibrations")
    yield node
    node.destroy_node()
    rclpy.shutdown()


@pytest.mark.parametrize("are_kept", [True, False])
def test_recorded_hands_neither_use_nor_replace_the_calibration_of_today(
    node, runtime_dir, are_kept
):
    path = calibration_path("", CELL, "left")
    save_calibration(path, calibration(0.5), CELL, "left", time.time())
    before, taken = path.read_text(), []
    calibrator = SimpleNamespace(take_over=lambda one, said: taken.append(one))
    kept = Calibrations(
        node, SimpleNamespace(calibrator=calibrator), CELL, "left", are_kept=are_kept
    )
    assert [one.heading for one in taken] == ([0.5] if are_kept else [])
    assert (kept.at_start is not None) is are_kept
    kept.take(CalibrationNews(sentence="calibrated", good=True, result=calibration(1.0)))
    kept._store()
    assert (path.read_text() == before) is not are_kept


def test_what_was_fitted_just_before_a_node_ends_is_stored(node, runtime_dir):
    calibrator = SimpleNamespace(take_over=lambda one, said: None)
    kept = Calibrations(node, SimpleNamespace(calibrator=calibrator), CELL, "left")
    for heading in (0.5, 1.0):  # the last one holds
        result = calibration(heading)
        kept.take(CalibrationNews(sentence="calibrated", good=True, result=result))
    ended = []
    part = mock.Mock(stop=lambda: None, stats=lambda: mock.Mock(sentence=str))
    operator = SimpleNamespace(
        _stop=mock.Mock(), _thread=mock.Mock(join=lambda: ended.append(True)),
        _calibrations=kept, _joycon=part, _hand=part, _recorder=None, _claim=mock.Mock(),
        get_logger=mock.Mock(), _loop=part, _times=mock.Mock(),
    )  # fmt: skip
    OperatorNode.halt(operator)
    path = calibration_path("", CELL, "left")
    found = load_calibration(path, CELL, "left", time.time())
    assert ended and found is not None and found[0].heading == 1.0
