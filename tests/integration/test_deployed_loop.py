"""A launched policy with three cameras and the recorder beside a loop that only sleeps, briefly.

`python -m benchmarks.deployed_loop --minutes 10` compares their punctuality.
"""

import dataclasses
import re
import tempfile
from pathlib import Path

import numpy as np
import pytest

from ate_core.loop import LoopStats
from ate_policy.models.clap_ntp import ClapNtpOptions
from benchmarks.deployed_loop import DeployedLoopConfig, Result, measure
from benchmarks.stages import record
from training.configs.finetune import FinetuneConfig, OptimOptions
from training.configs.train_tokens import TrainTokensConfig
from training.data.episode_file import list_episodes, read_episode, write_episode
from training.finetune import finetune
from training.train_tokens import train_tokens


def loop(p99, misses=0):
    return LoopStats(ticks=9, period_ms=50.0, median_ms=50.0, p99_ms=p99, misses=misses)


@pytest.mark.parametrize(
    ("policy", "bare", "words"),
    [
        (loop(51.9), loop(50.0), []),
        (loop(52.1), loop(50.0), ["period p99 is 2.10 ms beyond the bare loop's"]),
        (loop(60.0, 2), loop(59.0, 2), []),
        (loop(50.0, 1), loop(50.0), ["1 ticks missed, 0 of the bare loop"]),
        (loop(float("nan")), loop(50.0), ["period p99 is nan ms beyond the bare loop's"]),
    ],
)
def test_a_loop_is_judged_by_what_the_machine_can_do(policy, bare, words):
    result = Result(policy=policy, bare=bare, sentence="", pictures=3, recorded_mb=1.0)
    assert result.wrong == words


@pytest.mark.ros
@pytest.mark.slow
@pytest.mark.timeout(240)
def test_both_loops_of_a_launched_deployment_are_measured_in_one_window(monkeypatch):
    with tempfile.TemporaryDirectory(prefix="ate-") as folder:
        monkeypatch.setenv("ATE_RUNTIME_DIR", f"{folder}/run")
        result = measure(DeployedLoopConfig(minutes=0.1, small=True), Path(folder))
    seconds = 1e-3 * result.policy.period_ms * (result.policy.ticks + result.policy.misses)
    assert result.bare.ticks + result.bare.misses == pytest.approx(121, abs=2)
    assert 5.9 < seconds < 12.0, "ticks of before the start or after the stop do not count"
    assert result.pictures == 3 and result.recorded_mb > 0.1
    assert "chunks at" in result.sentence


def swaying(folder):
    """Demonstrations of arms that sway a little, far from all: badly learned, nothing collides."""
    for path in list_episodes(folder):
        episode = read_episode(path)
        joints = list(episode.cell.joint_columns)
        motion = np.repeat(episode.state[:1], len(episode.state), axis=0)
        motion[:, joints[3::7]] = 1.4  # elbows: the guard leaves all joints 0.3 rad there
        motion[:, joints] += 0.02 * np.sin(np.arange(len(motion)) / 8.0)[:, None]
        write_episode(path, dataclasses.replace(episode, state=motion, action=motion))
    return folder


@pytest.mark.ros
@pytest.mark.slow
@pytest.mark.timeout(400)
def test_a_token_policy_drives_both_arms_of_the_launched_cell(monkeypatch, tmp_path):
    demonstrations = swaying(record(tmp_path / "episodes", "pick_place", 7000, 3))
    tokens = TrainTokensConfig(
        output=tmp_path / "tokens", episodes=(demonstrations,), steps=300, save_every=300
    )
    assert train_tokens(tokens) == 0
    policy = FinetuneConfig(
        episodes=demonstrations,
        output=tmp_path / "policy",
        steps=200,
        save_every=200,
        optim=OptimOptions(batch=32),
        policy=ClapNtpOptions(preset="tiny", tokens=tokens.output),
    )
    assert finetune(policy) == 0
    with tempfile.TemporaryDirectory(prefix="ate-") as folder:
        monkeypatch.setenv("ATE_RUNTIME_DIR", f"{folder}/run")
        wanted = DeployedLoopConfig(
            minutes=0.1, small=True, checkpoint=policy.output, task="pick_place"
        )
        result = measure(wanted, Path(folder))
    told = re.search(r"(\d+) chunks at .*held for (\d+) ticks", result.sentence)
    assert told is not None, result.sentence
    chunks, held = map(int, told.groups())
    assert chunks >= 3 and held < result.policy.ticks // 2, result.sentence
    assert result.pictures == 0 and result.recorded_mb > 0.1
