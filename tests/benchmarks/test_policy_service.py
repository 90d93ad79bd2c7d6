"""Policies behind a socket, played by the side of a simulator."""

import socket
import threading

import numpy as np
import pytest

from ate_core.control_socket import ControlClient, ControlServer
from ate_core.errors import LayoutError, UsageError
from ate_policy.untrained import untrained_policy
from benchmarks.third_party.episodes import load_robot
from benchmarks.third_party.play import describe, roll_out
from benchmarks.third_party.policy_service import PolicyService


@pytest.fixture
def serve(tmp_path):
    """Serve policies from a thread; gives a client."""
    stop, threads = threading.Event(), []

    def start(policies):
        server = ControlServer(tmp_path / "s", PolicyService(policies))

        def loop():
            with server:
                while not stop.is_set():
                    server.wait(0.01)

        threads.append(threading.Thread(target=loop))
        threads[-1].start()
        return ControlClient(tmp_path / "s", peer="the service", remedy="-", timeout=30.0)

    yield start
    stop.set()
    for thread in threads:
        thread.join()


def test_a_policy_behind_the_socket_solves_the_task(serve, toy, knowing):
    client = serve({"knowing": knowing})
    assert client.call("hello", policy="knowing", robot=describe(toy)) == {"horizon": 20}
    trial = roll_out(toy, client, "knowing", seed=5, limit=40, execute=10)
    assert trial["success"]
    assert 5 < trial["ticks"] <= 10
    assert trial["refused"] == 0


def test_an_untrained_policy_answers_alike_for_equal_seeds_and_fails(serve, toy):
    client = serve({"untrained": untrained_policy(load_robot("panda"), objects=2)})
    client.call("hello", policy="untrained", robot=describe(toy))
    observation = toy.reset(0)
    request = {
        "policy": "untrained",
        "state": observation.state.tolist(),
        "environment": observation.environment.tolist(),
    }
    first, again, other = (client.call("infer", **request, seed=seed) for seed in (1, 1, 2))
    assert first == again != other
    assert not roll_out(toy, client, "untrained", seed=0, limit=20, execute=10)["success"]


def test_a_chunk_that_breaks_a_limit_is_refused_and_the_arm_holds(serve, toy, knowing):
    knowing.infer = lambda observation, seed: np.full((20, 8), 9.0, np.float32)
    client = serve({"wild": knowing})
    client.call("hello", policy="wild", robot=describe(toy))
    trial = roll_out(toy, client, "wild", seed=0, limit=20, execute=10)
    assert trial["refused"] == 2
    assert toy._state == pytest.approx(np.r_[toy.rest, 0.0])


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"joints": {"right": ["a"] * 7}}, "is for joints"),
        ({"tick_rate": 30.0}, "is for tick_rate 20.0, the simulator has 30.0"),
        ({"task": "pick_cube"}, "trained on push_cube, the simulator plays pick_cube"),
    ],
)
def test_another_robot_or_task_is_refused(change, words, toy, knowing):
    service = PolicyService({"knowing": knowing})
    robot = {**describe(toy), **change}
    with pytest.raises((LayoutError, UsageError), match=words):
        service({"command": "hello", "policy": "knowing", "robot": robot})
    with pytest.raises(UsageError, match="send hello first"):
        service({"command": "infer", "policy": "knowing"})


@pytest.mark.parametrize(
    ("request_", "words"),
    [
        ({"command": "hello", "policy": "other"}, "no policy 'other'; have knowing"),
        ({"command": "stop", "policy": "knowing"}, "no command 'stop'"),
        ({"command": "hello", "policy": "knowing"}, "robot is None"),
        ({"command": "infer", "policy": "knowing", "state": "x"}, "state is 'x'"),
        ({"command": "infer", "policy": "knowing", "state": [0.0] * 8}, "environment is None"),
    ],
)
def test_wrong_requests_are_refused_in_words(request_, words, toy, knowing):
    service = PolicyService({"knowing": knowing})
    if request_["command"] == "infer":
        service({"command": "hello", "policy": "knowing", "robot": describe(toy)})
    with pytest.raises((LayoutError, UsageError), match=words):
        service(request_)


def test_a_client_that_leaves_in_mid_message_harms_nobody(serve, tmp_path, toy, knowing):
    client = serve({"knowing": knowing})
    with socket.socket(socket.AF_UNIX) as rude:
        rude.connect(str(tmp_path / "s"))
        rude.sendall(b'{"command": "infer", "policy": "know')
    assert client.call("hello", policy="knowing", robot=describe(toy)) == {"horizon": 20}
