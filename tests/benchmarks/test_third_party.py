"""The third-party benchmarks as one command, with a toy in the place of the simulator."""

import ast
import json
import subprocess
import sys
from pathlib import Path

import pytest

from ate_core.errors import UsageError
from benchmarks.third_party import run
from benchmarks.third_party.episodes import load_robot
from benchmarks.third_party.play import SIMULATORS, describe
from benchmarks.third_party.results import contrast, summarise

FOLDER = Path(run.__file__).parent


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


@pytest.fixture
def play_with(monkeypatch, toy, knowing):
    """Let a script stand in for the simulator; gives the words of every start."""

    def use(script):
        started = []

        def simulate(task, command, options):
            words = [*map(str, options), "robot", json.dumps(describe(toy))]
            started.append(words)
            return subprocess.Popen([sys.executable, "-c", script, *words])

        monkeypatch.setattr(run, "simulate", simulate)
        monkeypatch.setattr(run, "load_policy", lambda folder: knowing)
        return started

    return use


def test_policies_play_side_by_side_and_only_once(play_with, tmp_path):
    started = play_with(PLAYER)
    config = run.RunConfig(task="push_cube", output=tmp_path, trials=3, jobs=2)
    folders = {name: tmp_path / name for name in ("a", "b", "c")}
    outcomes = run.roll_out(config, folders)
    assert {name: one["trials"] for name, one in outcomes.items()} == {
        name: [name, "3", "100"] for name in folders
    }
    assert run.roll_out(config, folders) == outcomes
    assert len(started) == 3


def test_a_simulator_that_fails_ends_the_benchmark(play_with, tmp_path):
    play_with("raise SystemExit(3)")
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
