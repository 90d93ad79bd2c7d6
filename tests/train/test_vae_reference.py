"""The VAE against the plain network: full attention, all tokens, every projection."""

import importlib.util
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from training.configs.train_vae import PRESETS
from training.vae.model import ActionVae, VaeConfig

FILE = Path(__file__).parents[2] / "benchmarks" / "plain_vae.py"
SPEC = importlib.util.spec_from_file_location("plain_vae", FILE)
plain_vae = importlib.util.module_from_spec(SPEC)
SPEC.loader.exec_module(plain_vae)

PAPER = VaeConfig(horizon=50, action_size=32, latent_head="norm", **PRESETS["paper"].sizes())
SMALL = VaeConfig(
    horizon=7, action_size=5, latent=24, width=24, encoder_layers=5, decoder_layers=5, heads=2
)


@pytest.fixture(params=["linear", "norm"])
def networks(request):
    torch.manual_seed(0)
    config = VaeConfig(**{**vars(SMALL), "latent_head": request.param})
    vae, plain = ActionVae(config), plain_vae.PlainVae(config, positions=11)
    for parameter in vae.parameters():  # biases start at zero: let them count
        parameter.data += 0.1 * torch.randn_like(parameter)
    plain_vae.copy_weights(vae, plain)
    return vae, plain


def batch():
    generator = torch.Generator().manual_seed(1)
    return (
        torch.randn(6, 7, 5, generator=generator),
        torch.randn(6, 24, generator=generator),
        torch.zeros(6, 7, dtype=torch.bool),
    )


def test_outputs_are_those_of_the_plain_network(networks):
    vae, plain = networks
    actions, eps, mask = batch()
    for mine, theirs in zip(vae(actions, eps), plain(actions, mask, eps), strict=True):
        torch.testing.assert_close(mine, theirs, atol=2e-6, rtol=2e-6)


def test_gradients_are_those_of_the_plain_network(networks):
    vae, plain = networks
    actions, eps, mask = batch()
    for outputs in (vae(actions, eps), plain(actions, mask, eps)):
        a_hat, z, mean, log_variance = outputs
        loss = (a_hat - actions).square().mean() + z.square().mean()
        (loss + mean.sin().mean() + log_variance.cos().mean()).backward()
    for name, (theirs, rows) in plain_vae.counterparts(vae, plain).items():
        mine = vae.get_parameter(name).grad
        expected = theirs.grad[rows].view_as(mine)
        torch.testing.assert_close(
            mine, expected, atol=2e-6, rtol=2e-5, msg=lambda m, n=name: f"{n}: {m}"
        )


def test_what_we_leave_out_never_learns(networks):
    _, plain = networks
    actions, eps, mask = batch()
    plain(actions, mask, eps)[0].square().mean().backward()
    for layer in plain.decoder:
        assert layer.cross.in_proj_weight.grad[: 2 * 24].abs().max() < 1e-9
    assert plain.encoder_positions.grad[9:].abs().max() == 0.0


def test_parameter_counts_of_the_paper():
    with torch.device("meta"):
        released, ours = plain_vae.PlainVae(PAPER), ActionVae(PAPER)
        linear = ActionVae(VaeConfig(**{**vars(PAPER), "latent_head": "linear"}))

    def count(model):
        return sum(parameter.numel() for parameter in model.parameters())

    assert count(released) == 52_061_728
    # without the dead query and key maps of 9 cross-attentions and the positions never used
    dead = 9 * 2 * (512 * 512 + 512) + (500 - 52 + 500 - 50) * 512
    assert count(ours) == count(released) - dead == 46_874_144
    assert count(linear) == count(ours) + 2 * (512 * 512 + 512)


@pytest.mark.slow  # four processes that import torch
def test_the_benchmark_prints_ratios_and_equal_loss_curves():
    sizes = {"steps": 2, "batch": 4, "horizon": 6, "action-size": 3, "width": 16, "layers": 3}
    words = [word for key, value in sizes.items() for word in (f"--{key}", str(value))]
    command = [sys.executable, FILE.with_name("vae_training.py"), *words, "--workers", "0"]
    printed = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    difference = float(printed.split("the losses, fp32: ")[1].split()[0])
    assert difference < 2e-6
    assert printed.count("ratio") == 2 and "baseline" in printed
