"""The control socket of the world, and who may own a runtime folder."""

import os
import subprocess
import sys
import threading
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest

from ate_core.errors import DeviceError, UsageError
from ate_sim.host.control import SOCKET_NAME, SimControl
from ate_sim.host.control_server import ControlServer
from ate_sim.host.process import claim


def _echo(request: Mapping[str, object]) -> dict[str, object]:
    if request["command"] == "refuse":
        raise UsageError("seed is 'x'; need a whole number")
    return {"heard": dict(request)}


@pytest.fixture
def served(tmp_path: Path) -> Iterator[Path]:
    stop = threading.Event()
    server = ControlServer(tmp_path / SOCKET_NAME, _echo)

    def serve() -> None:
        while not stop.is_set():
            server.wait(0.01)

    thread = threading.Thread(target=serve)
    thread.start()
    yield tmp_path
    stop.set()
    thread.join(5.0)
    server.close()
    assert not (tmp_path / SOCKET_NAME).exists()


def test_a_request_is_answered(served: Path) -> None:
    with SimControl(served) as control:
        assert control.call("state", a=1)["heard"] == {"command": "state", "a": 1}
        assert control.call("state", a=2)["heard"] == {"command": "state", "a": 2}


def test_several_clients_are_served(served: Path) -> None:
    with SimControl(served) as first, SimControl(served) as second:
        assert first.call("a")["heard"] == {"command": "a"}
        assert second.call("b")["heard"] == {"command": "b"}
        assert first.call("c")["heard"] == {"command": "c"}


def test_a_refusal_carries_the_reason(served: Path) -> None:
    with SimControl(served) as control, pytest.raises(DeviceError, match="need a whole number"):
        control.call("refuse")


def test_without_a_world_the_error_names_the_remedy(tmp_path: Path) -> None:
    with pytest.raises(DeviceError, match=r"start ate_sim\.host\.world"):
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
        "import os, sys, pathlib; from ate_sim.host.process import claim\n"
        "with claim(pathlib.Path(sys.argv[1]), 'world'): os.kill(os.getpid(), 9)"
    )
    subprocess.run([sys.executable, "-c", code, str(tmp_path)], check=False, timeout=30)
    assert (tmp_path / "world.pid").exists()
    with claim(tmp_path, "world"):
        pass
