"""How fast the emulated controller lets its stream be: jitter is no speed."""

import numpy as np
import pytest

from realman_driver.emulator.controller import SPEED_LIMIT, Controller
from realman_driver.emulator.model import RM75_LIMITS

from .conftest import START

AXIS = np.eye(7)[0]


def errors(speed: float, arrivals: np.ndarray) -> list[int]:
    """Errors after frames made every 10 ms [rad/s], of which some arrive late [s]."""
    controller = Controller(RM75_LIMITS, START)
    for number, arrival in enumerate(arrivals):
        controller.stream(START + speed * 0.01 * number * AXIS, float(arrival))
    return controller.errors


@pytest.mark.parametrize("late", [0.015, 0.025])
def test_frames_that_come_late_and_then_close_together_are_no_speed(late: float) -> None:
    made = 1.0 + 0.01 * np.arange(40)
    arrivals = made.copy()
    for first in (5, 20, 32):
        arrivals[first : first + 3] = np.maximum(made[first : first + 3], made[first] + late)
    assert errors(2.0, arrivals) == []


def test_joints_that_stay_too_fast_are_an_error() -> None:
    made = 1.0 + 0.01 * np.arange(40)
    assert errors(2.9, made) == []
    assert errors(6.5, made) == [SPEED_LIMIT]
