"""Runs in processes of their own, one of them or two that share the work."""

import os
import runpy
import subprocess
import sys
from pathlib import Path

import pytest
from safetensors.torch import load_file

from ate_core.errors import UsageError
from ate_policy.checkpoint import load_checkpoint
from ate_policy.models.clap_ntp import ClapNtpOptions
from training.configs.finetune import FinetuneConfig, OptimOptions
from training.configs.train_tokens import TrainTokensConfig
from training.data.micro_batch import split
from training.finetune import finetune as finetune_here
from training.train_tokens import train_tokens

ATE = [sys.executable, "-m", "ate_bringup.cli"]
# the paper's rate: where a gradient is zero up to rounding, Adam still takes a step of its size
RATE = "1e-4"
SETTINGS = ["--log-every", "1", "--save-every", "2"]
DEADLINE = 90.0
SHARDED = Path(__file__).with_name("sharded_run.py")


def spread(count, command):
    """Start a command on several processes of one machine, without a GPU."""
    launcher = [sys.executable, "-m", "torch.distributed.run", "--standalone"]
    environment = {**os.environ, "ACCELERATE_USE_CPU": "true", "OMP_NUM_THREADS": "1"}
    words = [*launcher, "--nproc-per-node", str(count), *command[1:]]
    return subprocess.run(
        words, env=environment, capture_output=True, text=True, timeout=DEADLINE, check=False
    )


def run(command):
    return subprocess.run(command, capture_output=True, text=True, timeout=DEADLINE, check=False)


def largest_difference(first, second):
    one, other = load_checkpoint(first).weights, load_checkpoint(second).weights
    assert set(one) == set(other)
    return max((one[name] - other[name]).abs().max().item() for name in one)


def finetune(episodes, output, *more):
    words = ["finetune", "--episodes", str(episodes), "--output", str(output)]
    words += ["--optim.batch", "16", "--optim.learning-rate", RATE]
    return [*ATE, *words, *SETTINGS, *more]


def train_vae(episodes, output, *more):
    words = ["train-vae", "--stage", "1", "--output", str(output), "--motions", "2"]
    words += ["--batch", "16", "--latent", "8", "--width", "16", "--learning-rate", RATE]
    return [*ATE, *words, *SETTINGS, *more]


COMMANDS = {"finetune": finetune, "train-vae": train_vae}


@pytest.mark.slow
@pytest.mark.parametrize("name", COMMANDS)
def test_two_processes_learn_what_one_learns(tmp_path, episodes, name):
    command = COMMANDS[name]
    alone = run(command(episodes, tmp_path / "one", "--steps", "6"))
    assert alone.returncode == 0, alone.stderr
    shared = spread(2, command(episodes, tmp_path / "two", "--steps", "6"))
    assert shared.returncode == 0, shared.stderr
    assert largest_difference(tmp_path / "one", tmp_path / "two") < 1e-5


@pytest.fixture(scope="module")
def token_policy(tmp_path_factory, episodes):
    """A token policy that has hardly learned."""
    folder = tmp_path_factory.mktemp("token_policy")
    tokens = TrainTokensConfig(
        output=folder / "tokens",
        episodes=(episodes,),
        steps=2,
        batch=8,
        codes=8,
        codebook=8,
        code_width=4,
        width=16,
        feedforward=32,
        heads=2,
    )
    policy = FinetuneConfig(
        episodes=episodes,
        output=folder / "policy",
        steps=2,
        optim=OptimOptions(batch=8),
        policy=ClapNtpOptions(preset="tiny", tokens=tokens.output),
    )
    assert train_tokens(tokens) == finetune_here(policy) == 0
    return policy.output


@pytest.mark.slow
@pytest.mark.parametrize("holds", [False, True], ids=["insulated", "knowledge"])
def test_two_processes_teach_trunk_and_flow_head_as_one_does(
    tmp_path, episodes, token_policy, holds
):
    words = ["--steps", "4", "--init", str(token_policy), "--statistics", "init"]
    words += ["--knowledge", str(token_policy), "--knowledge-weight", "0.5"] if holds else []
    words += ["policy:clap_rf", "--policy.preset", "tiny"]
    words += [] if holds else ["--policy.trunk", "insulated"]
    alone = run(finetune(episodes, tmp_path / "one", *words))
    assert alone.returncode == 0, alone.stderr
    shared = spread(2, finetune(episodes, tmp_path / "two", *words))
    assert shared.returncode == 0, shared.stderr
    assert largest_difference(tmp_path / "one", tmp_path / "two") < 1e-5


def test_micro_batches_learn_what_one_batch_learns(tmp_path, episodes):
    whole = run(finetune(episodes, tmp_path / "whole", "--steps", "4"))
    split = run(finetune(episodes, tmp_path / "split", "--steps", "4", "--optim.accumulate", "4"))
    assert whole.returncode == split.returncode == 0, whole.stderr + split.stderr
    assert largest_difference(tmp_path / "whole", tmp_path / "split") < 1e-5


def test_weights_spread_over_processes_train_and_resume_alike(tmp_path):
    shared = spread(2, ["", str(SHARDED), str(tmp_path / "two")])
    assert shared.returncode == 0, shared.stderr
    sharded_main = runpy.run_path(str(SHARDED))["main"]
    sharded_main(tmp_path / "one")
    one, two = load_file(tmp_path / "one"), load_file(tmp_path / "two")
    assert set(one) == set(two)
    assert max((one[name] - two[name]).abs().max().item() for name in one) < 1e-5


def test_a_batch_that_cannot_be_shared_equally_is_refused():
    shares = [
        [
            (part.begin, part.end, part.last)
            for part in split(24, processes=2, process=k, accumulate=3)
        ]
        for k in (0, 1)
    ]
    assert shares == [
        [(0, 4, False), (4, 8, False), (8, 12, True)],
        [(12, 16, False), (16, 20, False), (20, 24, True)],
    ]
    with pytest.raises(
        UsageError, match="25 observations cannot be shared equally by 2 processes"
    ):
        list(split(25, processes=2, process=0, accumulate=3))
