"""What only a GPU shows: tensors on the wrong side, checkpoints that hold them, bf16 inference."""

import os
import subprocess
import sys
import warnings

import numpy as np
import pytest
import torch

from ate_policy.policy import load_policy

pytestmark = pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA GPU")

ADAPTERS = ["--policy.train", "lora", "--policy.gradient-checkpointing"]
COMMANDS = {
    "flow": [],
    "diffusion": ["policy:diffusion"],
    "rdt": ["policy:rdt"],
    "pi0": ["policy:pi0"],
    "pi0, adapters": ["policy:pi0", *ADAPTERS],
}


@pytest.fixture(scope="module", params=["state", "vision"])
def task(request, tmp_path_factory, write_demonstrations):
    """What a policy reads, demonstrations, and their VAE after two steps on the GPU."""
    folder = tmp_path_factory.mktemp(request.param)
    images = request.param == "vision"
    episodes = write_demonstrations(folder / "episodes", count=2, ticks=30, images=images)
    words = ["train-vae", "--stage", "2", "--single-stage", "--latent", "8", "--width", "16"]
    words += ["--episodes", episodes, "--output", folder / "vae", "--steps", 2]
    run([*words, "--precision", "bf16"])
    return request.param, episodes, folder / "vae"


def run(words):
    """Run a command in a process of its own, on the GPU."""
    environment = {k: v for k, v in os.environ.items() if k != "ACCELERATE_USE_CPU"}
    command = [sys.executable, "-m", "ate_bringup.cli", *map(str, words)]
    done = subprocess.run(command, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize("name", COMMANDS)
def test_policies_train_resume_and_run_on_a_gpu(tmp_path, task, name):
    variant, episodes, vae = task
    output = tmp_path / "run"
    words = ["finetune", *COMMANDS[name], "--policy.preset", "tiny", "--variant", variant]
    words += ["--episodes", episodes, "--output", output, "--precision", "bf16"]
    words += ["guidance:paper", "--guidance.vae", vae, "--optim.batch", 8, "--save-every", 2]
    run([*words, "--steps", 4])
    run([*words, "--steps", 4, "--resume"])  # reads the state back to the GPU
    with warnings.catch_warnings():
        warnings.filterwarnings("error", message="chunks are sampled without a CUDA graph")
        compare_on_both(output)


def compare_on_both(output):
    """Chunks of the GPU, where the sampler is recorded, against those of the CPU."""
    policies = [load_policy(output, device="cuda", precision=p) for p in ("fp32", "bf16")]
    on_cpu = load_policy(output)
    observation = on_cpu.blank_observation()
    for seed in range(3):
        exact = on_cpu.infer(observation, seed)
        assert np.abs(policies[0].infer(observation, seed) - exact).max() < 1e-2
        assert np.abs(policies[1].infer(observation, seed) - exact).max() < 0.1
