"""What only a GPU shows: tensors on the wrong side, checkpoints that hold them, bf16 inference."""

import os
import subprocess
import sys

import numpy as np
import pytest
import torch

from ate_policy.policy import load_policy

pytestmark = pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA GPU")

COMMANDS = {
    "flow": [],
    "diffusion": ["--policy", "diffusion"],
    "rdt": ["--policy", "rdt"],
    "pi0": ["--policy", "pi0"],
    "pi0, adapters": ["--policy", "pi0", "--pi0-train", "lora", "--gradient-checkpointing"],
}


@pytest.fixture(scope="module")
def vae(tmp_path_factory, episodes):
    """A stage-2 VAE of the episodes, trained on the GPU for two steps."""
    folder = tmp_path_factory.mktemp("vae")
    words = ["train-vae", "--stage", "2", "--single-stage", "--latent", "8", "--width", "16"]
    run([*words, "--episodes", episodes, "--output", folder, "--steps", 2, "--precision", "bf16"])
    return folder


def run(words):
    """Run a command in a process of its own, on the GPU."""
    environment = {k: v for k, v in os.environ.items() if k != "ACCELERATE_USE_CPU"}
    command = [sys.executable, "-m", "ate_bringup.cli", *map(str, words)]
    done = subprocess.run(command, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize("variant", ["state", "vision"])
@pytest.mark.parametrize("name", COMMANDS)
def test_policies_train_resume_and_run_on_a_gpu(tmp_path, episodes, vae, name, variant):
    output = tmp_path / "run"
    words = ["finetune", "--preset", "tiny", *COMMANDS[name], "--variant", variant]
    words += ["--episodes", episodes, "--output", output, "--batch", 4, "--precision", "bf16"]
    words += ["--guidance", "paper", "--vae", vae, "--save-every", 2]
    run([*words, "--steps", 4])
    run([*words, "--steps", 4, "--resume"])  # reads the state back to the GPU
    policies = [load_policy(output, device="cuda", precision=p) for p in ("fp32", "bf16")]
    on_cpu = load_policy(output)
    observation = on_cpu._blank_observation()
    exact = on_cpu.infer(observation, 0)
    assert np.abs(policies[0].infer(observation, 0) - exact).max() < 1e-2
    assert np.abs(policies[1].infer(observation, 0) - exact).max() < 0.1
