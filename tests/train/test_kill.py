"""Runs killed without warning (kill -9) go on from their last checkpoint, bit for bit."""

import contextlib
import json
import random
import signal
import subprocess
import sys
import time

import pytest
import torch

from ate_bringup.cli import main
from ate_policy.checkpoint import load_checkpoint

STEPS = 40
DEADLINE = 90.0

SHORT = ["--steps", str(STEPS), "--log-every", "1", "--save-every", "2"]
ALONE = ["train-vae", "--stage", "2", "--single-stage", "--latent", "8", "--width", "16"]
FINETUNE, TINY = ["finetune", "--optim.batch", "4"], ["--policy.preset", "tiny"]
COMMANDS = {
    "flow": [*FINETUNE, "policy:flow", *TINY],
    "flow, guided": [*FINETUNE, "policy:flow", *TINY, "guidance:paper", "--guidance.vae", "{vae}"],
    "diffusion": [*FINETUNE, "policy:diffusion", *TINY],
    "rdt": [*FINETUNE, "policy:rdt", *TINY],
    "pi0": [*FINETUNE, "policy:pi0", *TINY],
    "train-vae": [*ALONE, "--batch", "4"],
}


@pytest.fixture(scope="module")
def vae(tmp_path_factory, episodes):
    """A stage-2 VAE of the episodes, hardly trained."""
    folder = tmp_path_factory.mktemp("vae")
    words = ["--episodes", str(episodes), "--output", str(folder), "--steps", "2"]
    assert main([*ALONE, *words]) == 0
    return folder


def kill_at_random(words, run, seed):
    """Start a run and kill it at some moment after its first checkpoint."""
    moment = random.Random(seed)
    lines, more = moment.randint(3, 8), moment.uniform(0.0, 0.1)
    command = [sys.executable, "-m", "ate_bringup.cli", *words]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        wait_for_training(process, run, lines)
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(more)  # in the middle of a step, or of writing a checkpoint
    finally:
        process.kill()
    assert process.wait() == -signal.SIGKILL, "the run ended before it was killed"


def wait_for_training(process, run, lines):
    """Wait until a run has a checkpoint and has logged so many steps."""
    deadline, log = time.monotonic() + DEADLINE, run / "log.jsonl"
    while not (run / "last").exists() or log.read_text().count("\n") < lines:
        assert process.poll() is None, "the run ended before it was killed"
        assert time.monotonic() < deadline, f"no checkpoint within {DEADLINE} s"
        time.sleep(0.002)


def losses(run):
    return [json.loads(line)["loss"] for line in (run / "log.jsonl").read_text().splitlines()]


@pytest.mark.slow
@pytest.mark.parametrize("name", COMMANDS)
def test_a_killed_run_resumes_bit_for_bit(tmp_path, episodes, vae, name):
    words = [word.format(vae=vae) for word in COMMANDS[name]]
    words += ["--episodes", str(episodes), *SHORT, "--output"]
    whole, cut = tmp_path / "whole", tmp_path / "cut"
    assert main([*words, str(whole)]) == 0
    kill_at_random([*words, str(cut)], cut, seed=name)
    assert 2 <= load_checkpoint(cut).training["step"] < STEPS
    assert main([*words, str(cut), "--resume"]) == 0
    one, other = load_checkpoint(whole).weights, load_checkpoint(cut).weights
    assert set(one) == set(other)
    assert all(torch.equal(one[key], other[key]) for key in one)
    assert losses(whole) == losses(cut) and len(losses(cut)) == STEPS
