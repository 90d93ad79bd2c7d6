"""Drivers of RealMan arms come back after every reset of their connection."""

import os

import pytest

from benchmarks.link_resets import BenchmarkConfig, measure


def test_every_driver_survives_resets_of_its_controller() -> None:
    pytest.importorskip("Robotic_Arm")
    config = BenchmarkConfig(
        drivers=2, resets=8, first_port=24200 + os.getpid() % 500 * 4, network="127.77.9"
    )
    drivers = measure(config)
    assert [driver.lost for driver in drivers] == ["", ""]
    assert sum(len(driver.times) for driver in drivers) == 8
    assert max(max(driver.times) for driver in drivers) < 5.0
