"""A task of another package is built, scored and demonstrated: what docs/adding_a_task.md says."""

import subprocess
import sys
from collections.abc import Callable

import numpy as np
import pytest

from ate_core.errors import UsageError
from ate_sim.embodiments import collect_fast
from ate_sim.env import CellEnv, ExpertPlayer
from ate_sim.tasks import TASKS, load_task


@pytest.fixture
def stack_cubes(code_of: Callable[..., list[str]], add_package: Callable[..., object]) -> str:
    code = code_of("adding_a_task.md", "python")[0]
    add_package("my_tasks", code, "ate.tasks", {"stack_cubes": "my_tasks:StackCubes"})
    return "stack_cubes"


def test_a_task_from_another_package_is_known_by_name(stack_cubes: str) -> None:
    assert TASKS.names()[-1] == stack_cubes
    assert load_task(stack_cubes).instruction == "put the red cube on the blue one"


def test_it_is_built_sampled_scored_and_played_by_its_expert(stack_cubes: str) -> None:
    env = CellEnv(stack_cubes)
    starts = [env.reset(seed).environment for seed in (0, 1)]
    assert not np.allclose(starts[0], starts[1])
    assert env.score() == 0.0
    player = ExpertPlayer(env, 1)
    for tick in range(player.ticks):
        env.step(player.action(tick))
    assert env.success()
    assert env.refusals == 0


def test_its_demonstrations_are_collected_in_bulk(stack_cubes: str) -> None:
    episodes = collect_fast(stack_cubes, range(3))
    assert all(episode.success for episode in episodes)
    assert {episode.task for episode in episodes} == {stack_cubes}


def test_the_launches_list_it(stack_cubes: str) -> None:
    words = ("launch", "ate_teleop", "dual_operator.launch.py", "--show-args")
    code = f"from ate_bringup.cli import main; raise SystemExit(main({list(words)}))"
    shown = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert shown.returncode == 0, shown.stderr
    assert f"use_toaster, {stack_cubes}" in " ".join(shown.stdout.split())


def test_an_unknown_task_is_refused_with_the_known_ones(stack_cubes: str) -> None:
    with pytest.raises(UsageError, match=r"pick_place.*stack_cubes; did you mean stack_cubes"):
        load_task("stack_cube")
