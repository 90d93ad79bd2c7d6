"""Asking a world that is not there, and who may own a runtime folder."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from ate_core.errors import DeviceError
from ate_sim.realtime.control import SimControl
from ate_sim.realtime.process import claim


def test_without_a_world_the_error_names_the_remedy(tmp_path: Path) -> None:
    with pytest.raises(DeviceError, match=r"start ate_sim\.realtime\.world"):
        SimControl(tmp_path).state()


def test_a_second_owner_of_a_role_is_refused(tmp_path: Path) -> None:
    with claim(tmp_path, "world"):
        message = rf"in use by another world \(pid {os.getpid()}\)"
        with pytest.raises(DeviceError, match=message), claim(tmp_path, "world"):
            pass
        with claim(tmp_path, "renderer"):
            pass
    assert list(tmp_path.iterdir()) == []


def test_a_killed_owner_does_not_block_the_next(tmp_path: Path) -> None:
    code = (
        "import os, sys, pathlib; from ate_sim.realtime.process import claim\n"
        "with claim(pathlib.Path(sys.argv[1]), 'world'): os.kill(os.getpid(), 9)"
    )
    subprocess.run([sys.executable, "-c", code, str(tmp_path)], check=False, timeout=30)
    assert (tmp_path / "world.pid").exists()
    with claim(tmp_path, "world"):
        pass
