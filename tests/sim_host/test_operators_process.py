"""The operators process: emulated devices up, hands at rest, a clean end."""

import os
import signal
import time
from collections.abc import Callable
from pathlib import Path

import pytest
import yaml

from ate_core.contract import load_cell, packaged_cell
from operator_devices.vision_pro import VisionProConfig, VisionProReader


@pytest.fixture
def cell_file(tmp_path: Path) -> Path:
    """The packaged cell with headsets at loopback addresses of this test process."""
    text = yaml.safe_load(packaged_cell().read_text())
    high, low = divmod(os.getpid() % 60_000, 250)
    for last, operator in enumerate(text["simulation"]["operators"].values()):
        operator["headset_ip"] = f"127.{100 + last}.{high}.{low + 1}"
    file = tmp_path / "cell.yaml"
    file.write_text(yaml.safe_dump(text))
    return file


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_devices_are_up_and_hands_at_rest_until_stopped(
    start, stop, runtime_dir: Path, cell_file: Path, eventually: Callable[..., None], number: int
) -> None:
    process = start("ate_sim.people.operators", "--cell", str(cell_file))
    operators = load_cell(cell_file, "sim").operators
    for operator in operators.values():
        reader = VisionProReader(VisionProConfig(ip=operator.headset_ip, hand=operator.hand))
        reader.start()
        try:
            eventually(
                lambda reader=reader: (sample := reader.latest()) is not None and sample.tracked
            )
            first = reader.latest()
            eventually(
                lambda reader=reader, first=first: reader.latest().sequence > first.sequence + 45
            )
            last = reader.latest()
            assert last.tracked
            moved = last.transform_wrist_to_headset - first.transform_wrist_to_headset
            assert 0.0 < abs(moved).max() < 0.05
        finally:
            reader.stop()
        assert (runtime_dir / "hid" / f"{operator.joycon_serial}.sock").exists()
    assert stop(process, number) < 1.0
    assert [path for path in runtime_dir.rglob("*") if not path.is_dir()] == []


def test_without_a_world_the_people_give_up_with_one_line(
    start, runtime_dir: Path, cell_file: Path
) -> None:
    arguments = ("--cell", str(cell_file), "--episodes", "1", "--start-timeout", "0.3")
    process = start("ate_sim.people.operators", *arguments)
    began = time.monotonic()
    _, errors = process.communicate(timeout=30.0)
    assert process.returncode == 1
    assert "ERROR the world: not within 0.3 s" in errors
    assert "Traceback" not in errors
    assert time.monotonic() - began < 20.0
