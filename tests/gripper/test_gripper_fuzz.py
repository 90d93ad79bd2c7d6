"""Malformed bytes; ``benchmarks/gripper_fuzz.py`` throws a hundred thousand at each target."""

from pathlib import Path

import pytest

from ate_core.drivers import GRIPPER_TRANSPORTS
from benchmarks.gripper_fuzz import (
    FuzzConfig,
    fuzz_client,
    fuzz_codec,
    fuzz_emulator,
    fuzz_judges,
)

NAMES = GRIPPER_TRANSPORTS.names()
FEW = FuzzConfig(frames=1000, seed=1)


@pytest.mark.parametrize("name", NAMES)
def test_codec_reads_any_bytes_and_then_a_whole_frame(name: str) -> None:
    found = fuzz_codec(FEW, name)
    if name == "rs485":  # id and checksum: nearly nothing passes that was not sent
        assert found < 0.2 * FEW.frames


def test_random_reports_are_judged_and_few_believed() -> None:
    assert fuzz_judges(FEW) < 0.01 * FEW.frames


@pytest.mark.parametrize("name", NAMES)
def test_emulated_gripper_survives_any_bytes_and_requests(name: str, tmp_path: Path) -> None:
    assert fuzz_emulator(FEW, name, tmp_path) > FEW.frames


@pytest.mark.parametrize("name", [name for name in NAMES if name != "socketcan"])
def test_client_survives_a_device_that_answers_nonsense(name: str, tmp_path: Path) -> None:
    fuzz_client(FEW, name, tmp_path)
