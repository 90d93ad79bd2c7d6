"""The third-party benchmarks, with a toy in the place of the simulator."""

import ast
import json
import socket
import subprocess
import sys
import threading
from pathlib import Path

import numpy as np
import pytest

from ate_core.control_socket import ControlClient, ControlServer
from ate_core.errors import EpisodeError, LayoutError, UsageError
from ate_policy.untrained import untrained_policy
from benchmarks.third_party import run
from benchmarks.third_party.episodes import convert, load_robot
from benchmarks.third_party.expert import Move, Observation, nearest_face, plan
from benchmarks.third_party.panda import Panda, Pose, tool_down
from benchmarks.third_party.play import SIMULATORS, collect, describe, roll_out
from benchmarks.third_party.policy_service import PolicyService
from benchmarks.third_party.results import contrast, summarise
from training.data.episode_file import read_episode

FOLDER = Path(run.__file__).parent
ARM = Panda(base=(-0.615, 0.0, 0.0), tool=0.1034)
REST = np.array([0.0, 0.4, 0.0, -2.0, 0.0, 2.4, np.pi / 4])


class Toy:
    """A Panda whose joints obey at once; the task is to bring the tool to the goal, opened."""

    task = "push_cube"
    arms = {"right": ARM}  # noqa: RUF012
    objects = ("cube", "goal")
    tick_rate = 20.0
    versions = {"toy": "1"}  # noqa: RUF012

    def reset(self, seed):
        self._goal = np.random.default_rng(seed).uniform([-0.1, -0.1, 0.1], [0.1, 0.1, 0.2])
        return self._show(np.r_[REST, 0.0])

    def step(self, action):
        return self._show(np.asarray(action, dtype=float))

    def success(self):
        reached = np.linalg.norm(ARM.forward(self._state[:7]).position - self._goal) < 0.02
        return bool(reached and self._state[7] > 0.5)

    def script(self, start):
        goal = Pose(start.environment[1, :3], tool_down(0.0))
        return [
            Move(targets={"right": goal}, opening=o, ticks=t) for o, t in ((0.0, 20), (1.0, 5))
        ]

    def _show(self, state):
        self._state = state
        poses = np.zeros((2, 7))
        poses[1, :3], poses[:, 6] = self._goal, 1.0
        return Observation(state=state, velocity=np.zeros(7), environment=poses)


class Knowing:
    """Stands in for a trained policy: its chunk ends at the goal after ten actions, opened."""

    contract = load_robot("panda").canonical_text()
    training = {"task": "push_cube"}  # noqa: RUF012
    horizon = 20

    def infer(self, observation, seed):
        state = np.asarray(observation.state, dtype=float)
        goal = Pose(observation.environment[1, :3].astype(float), tool_down(0.0))
        end = np.r_[ARM.inverse(goal, state[:7]), 1.0]
        part = np.minimum(np.arange(1, 21) / 10, 1.0)[:, None]
        return ((1 - part) * state + part * end).astype(np.float32)


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


def test_the_panda_stands_where_the_simulators_show_it():
    # Read from ManiSkill 3.0.1 (PickCube-v1, seed 0) and robosuite 1.5.2 (TwoArmLift, seed 1).
    q = np.array([0.0353, 0.4007, 0.0196, -1.9187, 0.0374, 2.3366, 0.8044])
    assert ARM.forward(q).position == pytest.approx([0.0123, 0.0380, 0.1822], abs=2e-4)
    arm = Panda(base=(-0.56, -0.25, 0.912), tool=0.097)
    q = np.array([0.013, 0.21, -0.01, -2.651, 0.003, 2.944, 0.761])
    assert arm.forward(q).position == pytest.approx([-0.123, -0.249, 0.995], abs=1e-3)


def test_inverse_kinematics_reaches_poses_in_front_of_the_arm():
    rng = np.random.default_rng(0)
    for _ in range(20):
        target = Pose(rng.uniform([-0.15, -0.2, 0.02], [0.15, 0.2, 0.3]), tool_down(rng.normal()))
        reached = ARM.forward(ARM.inverse(target, REST))
        assert reached.position == pytest.approx(target.position, abs=2e-4)
        assert reached.rotation == pytest.approx(target.rotation, abs=1e-3)


@pytest.mark.parametrize(
    ("degrees", "period", "wanted"),
    [(100, 90, 10), (-100, 90, -10), (50, 90, -40), (170, 180, -10), (80, 180, 80)],
)
def test_a_gripper_turns_to_the_nearest_face(degrees, period, wanted):
    yaw = np.radians(degrees)
    found = nearest_face(np.array([np.cos(yaw), np.sin(yaw), 0.0]), np.radians(period))
    assert np.degrees(found) == pytest.approx(wanted)


def test_the_expert_ends_near_the_goal_without_a_jump():
    toy = Toy()
    start = toy.reset(3)
    actions = np.stack(list(plan(toy, start, np.random.default_rng(0))))
    tool = ARM.forward(actions[-1, :7]).position
    assert np.linalg.norm(tool - start.environment[1, :3]) < 4 * 0.002 * np.sqrt(3)
    assert np.abs(np.diff(actions[:, :7], axis=0)).max() < 0.2
    assert np.abs(actions[0, :7] - REST).max() < 0.05


def test_demonstrations_become_episodes_that_training_reads(tmp_path):
    attempts = collect(Toy(), tmp_path / "raw", 2, first_seed=7)
    assert attempts == 2
    count = convert(tmp_path / "raw", tmp_path / "hdf5", load_robot("panda"), "go there")
    assert count == 2
    raw = np.load(tmp_path / "raw" / "episode_000001.npz")
    episode = read_episode(tmp_path / "hdf5" / "episode_000001.hdf5", load_robot("panda").layout)
    assert episode.action == pytest.approx(raw["action"], abs=1e-6)
    # The toy obeys at once: the state of a tick is the action of the tick before.
    assert episode.state[1:] == pytest.approx(episode.action[:-1])
    assert episode.environment.shape == (len(episode), 2, 7)
    assert np.all(np.diff(episode.timestamps_ns) == 50_000_000)
    assert (episode.task, episode.seed, episode.outcome) == ("push_cube", 8, "success")
    assert (episode.instruction, episode.object_names) == ("go there", ("cube", "goal"))


def test_an_expert_that_fails_is_reported(tmp_path):
    toy = Toy()
    toy.success = lambda: False
    with pytest.raises(SystemExit, match="only 0 of 4 attempts at push_cube"):
        collect(toy, tmp_path, 2, first_seed=0)


def test_demonstrations_of_another_robot_or_a_damaged_file_are_refused(tmp_path):
    collect(Toy(), tmp_path, 1, first_seed=0)
    with pytest.raises(LayoutError, match="contract two_pandas is for joints"):
        convert(tmp_path, tmp_path / "out", load_robot("two_pandas"), "")
    file = tmp_path / "episode_000000.npz"
    file.write_bytes(file.read_bytes()[:2000])
    with pytest.raises(EpisodeError, match="cannot be read"):
        convert(tmp_path, tmp_path / "out", load_robot("panda"), "")
    with pytest.raises(EpisodeError, match="collect demonstrations first"):
        convert(tmp_path / "none", tmp_path / "out", load_robot("panda"), "")
    assert not list(tmp_path.glob("out/*"))


def test_a_policy_behind_the_socket_solves_the_task(serve):
    client = serve({"knowing": Knowing()})
    assert client.call("hello", policy="knowing", robot=describe(Toy())) == {"horizon": 20}
    trial = roll_out(Toy(), client, "knowing", seed=5, limit=40, execute=10)
    assert trial["success"]
    assert 5 < trial["ticks"] <= 10
    assert trial["refused"] == 0


def test_an_untrained_policy_answers_alike_for_equal_seeds_and_fails(serve):
    client = serve({"untrained": untrained_policy(load_robot("panda"), objects=2)})
    client.call("hello", policy="untrained", robot=describe(Toy()))
    observation = Toy().reset(0)
    request = {
        "policy": "untrained",
        "state": observation.state.tolist(),
        "environment": observation.environment.tolist(),
    }
    first, again, other = (client.call("infer", **request, seed=seed) for seed in (1, 1, 2))
    assert first == again != other
    assert not roll_out(Toy(), client, "untrained", seed=0, limit=20, execute=10)["success"]


def test_a_chunk_that_breaks_a_limit_is_refused_and_the_arm_holds(serve):
    wild = Knowing()
    wild.infer = lambda observation, seed: np.full((20, 8), 9.0, np.float32)
    client = serve({"wild": wild})
    client.call("hello", policy="wild", robot=describe(Toy()))
    toy = Toy()
    trial = roll_out(toy, client, "wild", seed=0, limit=20, execute=10)
    assert trial["refused"] == 2
    assert toy._state == pytest.approx(np.r_[REST, 0.0])


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"joints": {"right": ["a"] * 7}}, "is for joints"),
        ({"tick_rate": 30.0}, "is for tick_rate 20.0, the simulator has 30.0"),
        ({"task": "pick_cube"}, "trained on push_cube, the simulator plays pick_cube"),
    ],
)
def test_another_robot_or_task_is_refused(change, words):
    service = PolicyService({"knowing": Knowing()})
    robot = {**describe(Toy()), **change}
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
def test_wrong_requests_are_refused_in_words(request_, words):
    service = PolicyService({"knowing": Knowing()})
    if request_["command"] == "infer":
        service({"command": "hello", "policy": "knowing", "robot": describe(Toy())})
    with pytest.raises((LayoutError, UsageError), match=words):
        service(request_)


def test_a_client_that_leaves_in_mid_message_harms_nobody(serve, tmp_path):
    client = serve({"knowing": Knowing()})
    with socket.socket(socket.AF_UNIX) as rude:
        rude.connect(str(tmp_path / "s"))
        rude.sendall(b'{"command": "infer", "policy": "know')
    assert client.call("hello", policy="knowing", robot=describe(Toy())) == {"horizon": 20}


def test_results_carry_intervals_and_the_paired_test():
    def trials(outcomes):
        return [
            {"success": bool(o), "ticks": 30 + i, "refused": 0} for i, o in enumerate(outcomes)
        ]

    # Wilson, 8 of 10: 0.490 to 0.943. McNemar, 1 against 7 of 8: 2 (1 + 8) / 2^8 = 0.0703.
    rate = summarise(trials([1] * 8 + [0] * 2))
    assert (rate["successes"], rate["trials"], rate["median_ticks"]) == (8, 10, 34)
    assert (rate["low"], rate["high"]) == pytest.approx((0.490, 0.943), abs=5e-4)
    first, second = trials([1, 0, 0, 0, 0]), trials([0, 1, 1, 1, 1])
    result = contrast([first, trials([0, 0, 0, 1])], [second, trials([1, 1, 1, 1])])
    assert (result["only_first"], result["only_second"]) == (1, 7)
    assert result["p_value"] == pytest.approx(0.0703, abs=5e-5)


PLAYER = """
import json, sys
from pathlib import Path
from ate_core.control_socket import ControlClient
options = dict(zip(sys.argv[1::2], sys.argv[2::2]))
client = ControlClient(Path(options["--socket"]), peer="-", remedy="-", timeout=30.0)
client.call("hello", policy=options["--policy"], robot=json.loads(options["robot"]))
trials = [options["--policy"], options["--episodes"], options["--limit"]]
Path(options["--output"]).write_text(json.dumps({"simulator": {}, "trials": trials}))
"""
"""Stands in for `play.py roll-out` in the simulator's environment."""


def play_with(monkeypatch, script):
    started = []

    def simulate(task, command, options):
        words = [*map(str, options), "robot", json.dumps(describe(Toy()))]
        started.append(words)
        return subprocess.Popen([sys.executable, "-c", script, *words])

    monkeypatch.setattr(run, "simulate", simulate)
    monkeypatch.setattr(run, "load_policy", lambda folder: Knowing())
    return started


def test_policies_play_side_by_side_and_only_once(monkeypatch, tmp_path):
    started = play_with(monkeypatch, PLAYER)
    config = run.RunConfig(task="push_cube", output=tmp_path, trials=3, jobs=2)
    folders = {name: tmp_path / name for name in ("a", "b", "c")}
    outcomes = run.roll_out(config, folders)
    assert {name: one["trials"] for name, one in outcomes.items()} == {
        name: [name, "3", "100"] for name in folders
    }
    assert run.roll_out(config, folders) == outcomes
    assert len(started) == 3


def test_a_simulator_that_fails_ends_the_benchmark(monkeypatch, tmp_path):
    play_with(monkeypatch, "raise SystemExit(3)")
    config = run.RunConfig(task="push_cube", output=tmp_path)
    with pytest.raises(run.BenchmarkError, match="ended with code 3"):
        run.roll_out(config, {"a": tmp_path})


def test_a_folder_holds_one_configuration(tmp_path):
    config = run.RunConfig(task="push_cube", output=tmp_path)
    run.remember(config)
    run.remember(config)
    with pytest.raises(UsageError, match="another configuration"):
        run.remember(run.RunConfig(task="push_cube", output=tmp_path, steps=7))
    with pytest.raises(UsageError, match="trials is 0"):
        run.RunConfig(task="push_cube", output=tmp_path, trials=0)


def test_a_missing_simulator_is_named_with_its_remedy(monkeypatch, tmp_path):
    monkeypatch.setattr(run, "ENVIRONMENTS", tmp_path)
    with pytest.raises(UsageError, match=r"setup\.sh maniskill"):
        run.simulate("push_cube", "collect", [])


def test_every_task_has_a_robot_an_environment_and_a_simulator():
    assert set(run.TASKS) == set(SIMULATORS)
    for task in run.TASKS.values():
        cell = load_robot(task.robot)
        assert cell.layout.action.size == 8 * len(cell.arms)
        assert (FOLDER / "environments" / f"{task.environment}.txt").is_file()


def test_the_simulators_side_imports_little_of_the_stack():
    allowed = {*sys.stdlib_module_names, "numpy"}
    for name in ("play", "expert", "panda"):
        for node in ast.walk(ast.parse((FOLDER / f"{name}.py").read_text())):
            module = node.module if isinstance(node, ast.ImportFrom) else None
            names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
            for imported in [module] if module else names:
                own = imported.startswith(("benchmarks.third_party.", "ate_core.control_socket"))
                assert own or imported.split(".")[0] in allowed, f"{name} imports {imported}"


def test_results_are_written_with_every_policy(tmp_path, capsys):
    trial = {"success": True, "ticks": 30, "refused": 0, "seed": 0}
    config = run.RunConfig(task="push_cube", output=tmp_path, seeds=(0, 1), trials=2)
    names = [f"{guidance}_seed{seed}" for seed in (0, 1) for guidance in ("none", "paper")]
    run.report(config, {name: {"simulator": {}, "trials": [trial, trial]} for name in names})
    document = json.loads((tmp_path / "results.json").read_text())
    assert list(document["policies"]) == names
    assert document["guidances"]["paper"]["trials"] == 4
    assert document["against none"]["paper"]["p_value"] == 1.0
    assert "none against paper, same starts" in capsys.readouterr().out
