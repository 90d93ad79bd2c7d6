"""Asking and answering over a control socket."""

import json
import select
import socket
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import pytest

from ate_core.control_socket import LONGEST_REQUEST, ControlClient, ControlServer
from ate_core.errors import DeviceError, UsageError


def _echo(request: Mapping[str, object]) -> dict[str, object]:
    if request["command"] == "refuse":
        raise UsageError("seed is 'x'; need a whole number")
    if request["command"] == "count":
        return {"count": float(request["number"])}
    if request["command"] == "fill":
        return {"text": "x" * 2_000_000}
    return {"heard": dict(request)}


@contextmanager
def serving(step: Callable[[], None]) -> Iterator[None]:
    """Repeat a step in a thread."""
    stop = threading.Event()

    def run() -> None:
        while not stop.is_set():
            step()

    thread = threading.Thread(target=run)
    thread.start()
    try:
        yield
    finally:
        stop.set()
        thread.join(5.0)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "control.sock"


@pytest.fixture
def served(path: Path) -> Iterator[Path]:
    with ControlServer(path, _echo, patience=5.0) as server, serving(lambda: server.wait(0.01)):
        yield path


def client_of(path: Path, timeout: float = 5.0) -> ControlClient:
    return ControlClient(path, peer="the echo", remedy="start it", timeout=timeout)


@contextmanager
def raw(path: Path) -> Iterator[socket.socket]:
    """A connection without a client."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as link:
        link.settimeout(5.0)
        link.connect(str(path))
        yield link


def test_a_request_is_answered(served: Path) -> None:
    client = client_of(served)
    assert client.call("state", a=1) == {"heard": {"command": "state", "a": 1}}
    assert client.call("state", a=2) == {"heard": {"command": "state", "a": 2}}


def test_the_wire_carries_one_object_per_line(served: Path) -> None:
    with raw(served) as link, link.makefile("rb") as answers:
        link.sendall(b'{"command": "a"}\n\n{"command": "refuse"}\n{"comm')
        assert json.loads(answers.readline()) == {"ok": True, "heard": {"command": "a"}}
        refusal = {"ok": False, "error": "seed is 'x'; need a whole number"}
        assert json.loads(answers.readline()) == refusal
        link.sendall(b'and": "b"}\n')
        assert json.loads(answers.readline()) == {"ok": True, "heard": {"command": "b"}}


def test_several_clients_are_served(served: Path) -> None:
    with raw(served), raw(served) as link, link.makefile("rb") as answers:
        assert client_of(served).call("a")["heard"] == {"command": "a"}
        link.sendall(b'{"command": "b"}\n')
        assert json.loads(answers.readline())["heard"] == {"command": "b"}


def test_a_loop_with_its_own_select_can_serve(path: Path) -> None:
    with ControlServer(path, _echo) as server, socket.socket() as foreign:

        def step() -> None:
            ready, _, _ = select.select(server.descriptors, [], [], 0.01)
            server.serve([3, foreign, *ready])

        with serving(step):
            assert client_of(path).call("a")


def test_a_refusal_carries_the_reason(served: Path) -> None:
    with pytest.raises(DeviceError, match="the echo refused 'refuse': seed is 'x'; need a whole"):
        client_of(served).call("refuse")


@pytest.mark.parametrize("line", [b"stop", b"[1]", b"{}", b'{"command": 1}', b"\xff"])
def test_a_line_that_is_no_request_is_refused_and_the_link_lives_on(
    served: Path, line: bytes
) -> None:
    with raw(served) as link, link.makefile("rb") as answers:
        link.sendall(line + b'\n{"command": "a"}\n')
        refusal = json.loads(answers.readline())
        assert not refusal["ok"]
        assert refusal["error"].startswith("request b'")
        assert json.loads(answers.readline())["ok"]


@pytest.mark.parametrize(
    ("values", "stumbled"),
    [
        ({"number": 10**400}, "OverflowError"),
        ({"number": "one"}, "ValueError"),
        ({"number": [1.0]}, "TypeError"),
        ({}, "KeyError: 'number'"),
    ],
)
def test_a_value_over_which_the_handler_stumbles_is_refused_and_the_loop_goes_on(
    served: Path, values: dict[str, object], stumbled: str
) -> None:
    with pytest.raises(DeviceError, match=f"refused 'count': not understood: {stumbled}"):
        client_of(served).call("count", **values)
    assert client_of(served).call("count", number=2) == {"count": 2.0}


def test_an_endless_line_drops_the_client(served: Path) -> None:
    with raw(served) as link:
        link.sendall(b"x" * (LONGEST_REQUEST + 1))
        assert link.recv(1) == b""
    assert client_of(served).call("a")


def test_an_answer_longer_than_the_buffer_arrives(served: Path) -> None:
    assert len(client_of(served).call("fill")["text"]) == 2_000_000


def test_a_client_that_does_not_read_does_not_stop_the_server(path: Path) -> None:
    with (
        ControlServer(path, _echo) as server,
        serving(lambda: server.wait(0.01)),
        raw(path) as link,
    ):
        link.sendall(b'{"command": "fill"}\n')
        assert client_of(path).call("a")


def test_nobody_there_is_an_error_with_the_remedy(path: Path) -> None:
    with pytest.raises(DeviceError, match=r"no answer to 'a' from the echo at .*; start it"):
        client_of(path).call("a")


def test_a_silent_server_meets_the_deadline(path: Path) -> None:
    begin = time.monotonic()
    with ControlServer(path, _echo), pytest.raises(DeviceError, match="timed out"):
        client_of(path, timeout=0.1).call("a")
    assert time.monotonic() - begin < 2.0


def test_a_server_that_ends_meanwhile_is_an_error(path: Path) -> None:
    server = ControlServer(path, _echo)
    closing = threading.Timer(0.05, server.close)
    closing.start()
    with pytest.raises(DeviceError, match="no answer to 'a'"):
        client_of(path).call("a")
    closing.join()


def test_the_socket_of_a_killed_server_is_replaced_and_removed_at_the_end(path: Path) -> None:
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as dead:
        dead.bind(str(path))
    with ControlServer(path, _echo) as server, serving(lambda: server.wait(0.01)):
        assert client_of(path).call("a")
    assert not path.exists()


def test_a_path_too_long_for_the_kernel_names_the_remedy(tmp_path: Path) -> None:
    with pytest.raises(DeviceError, match="choose a shorter runtime folder"):
        ControlServer(tmp_path / ("x" * 120), _echo)
