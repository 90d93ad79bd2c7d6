"""The latent report: its measures in closed form, and a page from two short runs."""

import json

import numpy as np
import pytest
import torch
from torch.distributions import Normal, kl_divergence

from ate_core.errors import ContractError, DeviceError, UsageError
from training import latent_report as command
from training.configs.latent_report import LatentReportConfig
from training.configs.train_vae import TrainVaeConfig
from training.data.pretraining import MotionSource
from training.latent_report import farthest_pair, latent_report
from training.reporting.figures import principal_plane
from training.reporting.latent_video import APPROACH, approach
from training.train_vae import train_vae
from training.vae import chunks as chunks_module
from training.vae import measures
from training.vae.losses import DiagonalGaussian
from training.vae.measures import (
    active_units,
    bhattacharyya,
    dimension_errors,
    gaussian_kl,
    overlap,
    tool_errors,
)

SHORT = {"steps": 4, "batch": 8, "latent": 8, "width": 16, "feedforward": 32}


def gaussian(mean, variance):
    return DiagonalGaussian(torch.tensor(mean), torch.tensor(variance))


def test_overlap_of_gaussians_is_that_of_their_densities():
    p, q = gaussian([0.3, 0.0], [0.5, 1.0]), gaussian([-0.4, 0.0], [2.0, 1.0])
    x = torch.linspace(-15.0, 15.0, 200_001)[:, None]
    densities = [Normal(g.mean, g.variance.sqrt()).log_prob(x).exp() for g in (p, q)]
    integral = torch.trapezoid((densities[0] * densities[1]).sqrt(), x, dim=0)
    torch.testing.assert_close(bhattacharyya(p, q), integral, atol=1e-4, rtol=0)
    both = [Normal(g.mean, g.variance.sqrt()) for g in (p, q)]
    torch.testing.assert_close(gaussian_kl(p, q), kl_divergence(*both))


def test_overlap_tells_the_same_from_another():
    standard = DiagonalGaussian.standard(16)
    same = overlap(standard, standard, 0)
    other = overlap(standard, gaussian([1.0] * 16, [1.0] * 16), 0)
    assert same.bhattacharyya == 1.0 and same.kl_forward == 0.0 and abs(same.mmd) < 1e-3
    assert other.bhattacharyya < 0.9 and other.kl_forward == pytest.approx(0.5)


def test_a_unit_is_active_where_its_mean_moves():
    spread = torch.linspace(-1.0, 1.0, 101)[:, None]
    mean = spread * torch.tensor([1.0, 0.2, 0.1, 0.0]) + 3.0  # variances 0.34, 0.014, 0.003, 0
    assert active_units(mean) == 2


def test_errors_of_joints_are_in_degrees_and_of_grippers_as_they_are(cell):
    true = np.zeros((2, 4, 16))
    made = true.copy()
    made[..., 0] = np.radians(3.0)
    made[0, 0, 7] = 0.5
    entries = dimension_errors(made, true, cell.layout.action)
    assert entries[0]["unit"] == "deg" and entries[0]["rms"] == pytest.approx(3.0)
    assert entries[7]["unit"] == "ratio" and entries[7]["largest"] == 0.5
    assert entries[7]["rms"] == pytest.approx(0.5 / np.sqrt(8))


def test_the_tool_moves_on_a_circle_around_the_first_joint(cell):
    home = np.zeros((1, 1, 16))
    home[..., :7] = [0.0, -0.35, 0.0, 2.0, 0.0, 1.4916, 0.0]
    turned = home.copy()
    turned[..., 0] = 0.1
    from ate_core.arm_model import load_arm_model

    tool = np.eye(4)
    tool[2, 3] = cell.arms["left"].tool_length
    radius = np.linalg.norm(load_arm_model().chain().with_tip(tool).fk(home[0, 0, :7])[:2, 3])
    found = tool_errors(turned, home, cell)
    assert found["left"]["mean"] == pytest.approx(2000.0 * radius * np.sin(0.05), rel=1e-6)
    assert found["right"]["largest"] == 0.0


def test_the_plane_is_that_of_the_largest_variance():
    rng = np.random.default_rng(0)
    points = rng.normal(size=(500, 4)) * [0.1, 5.0, 0.1, 2.0] + 1.0
    _, axes, shares = principal_plane(points)
    assert abs(axes[0, 1]) > 0.99 and abs(axes[1, 3]) > 0.99
    assert shares[0] > shares[1] > 0.1


def test_the_arms_approach_a_chunk_slowly():
    begin, end = np.zeros(16), np.linspace(-0.4, 0.2, 16)
    rows = np.concatenate([begin[None], approach(begin, end, 0.05), end[None]])
    assert np.abs(np.diff(rows, axis=0)).max() <= APPROACH * 0.05 + 1e-12
    assert len(approach(end, end, 0.05)) == 0


def test_the_farthest_pair_is_found():
    assert farthest_pair(torch.tensor([[0.0], [4.0], [1.0], [-2.0]])) in ((1, 3), (3, 1))


@pytest.fixture
def runs(tmp_path, episodes, monkeypatch):
    rng = np.random.default_rng(0)
    motion = [rng.normal(size=(30, 16)).cumsum(0) for _ in range(2)]
    sources = [MotionSource("robot", motion)]
    monkeypatch.setattr(chunks_module, "load_sources", lambda *_, **__: sources)
    one, two = tmp_path / "one", tmp_path / "two"
    train_vae(TrainVaeConfig(stage=1, output=one, **SHORT))
    train_vae(TrainVaeConfig(stage=2, output=two, episodes=episodes, prior=one, **SHORT))
    return one, two


def test_a_report_is_one_page_with_its_numbers(tmp_path, runs):
    _, two = runs
    output = tmp_path / "new" / "page.html"
    config = LatentReportConfig(vae=two, output=output, chunks=20, video=False)
    assert latent_report(config) == 0
    text = output.read_text()
    assert "Interpolation" in text and "No video was asked for" in text
    assert "http" not in text.replace("http://www.w3.org", "")
    numbers = json.loads(output.with_suffix(".json").read_text())
    assert len(numbers["dimensions"]) == 16 and numbers["latent"] == 8
    assert set(numbers["deviations"]) == {"latent_head"}
    assert 0.0 < numbers["overlap"]["bhattacharyya"] <= 1.0


def test_a_machine_without_graphics_gets_the_page_and_the_reason(tmp_path, runs, monkeypatch):
    def no_graphics(*_, **__):
        raise DeviceError("cannot draw camera pictures: install libegl1")

    monkeypatch.setattr(command, "play", no_graphics)
    output = tmp_path / "page.html"
    latent_report(LatentReportConfig(vae=runs[1], output=output, chunks=20))
    assert "No video: cannot draw camera pictures: install libegl1" in output.read_text()


def test_a_model_that_is_not_on_this_machine_costs_the_tool_errors_alone(
    tmp_path, runs, monkeypatch
):
    def no_model(*_):
        raise ContractError("/gone/arm.yaml of an arm model cannot be read")

    monkeypatch.setattr(measures, "tool_chain", no_model)
    output = tmp_path / "page.html"
    assert (
        latent_report(LatentReportConfig(vae=runs[1], output=output, chunks=20, video=False)) == 0
    )
    words = "No errors of the tool in mm: /gone/arm.yaml of an arm model cannot be read"
    assert words in output.read_text()
    assert json.loads(output.with_suffix(".json").read_text())["tool_mm"] == words


def test_reports_that_cannot_be_made_say_what_to_give(tmp_path, runs):
    one, two = runs
    output = tmp_path / "page.html"
    with pytest.raises(UsageError, match="is of stage 1: give a stage-2 VAE"):
        latent_report(LatentReportConfig(vae=one, output=output))
    with pytest.raises(UsageError, match="give them with --episodes"):
        latent_report(LatentReportConfig(vae=two, output=output, episodes=tmp_path / "none"))
    with pytest.raises(UsageError, match="give it with --prior"):
        latent_report(LatentReportConfig(vae=two, output=output, prior=tmp_path / "none"))
    with pytest.raises(UsageError, match="name an HTML file"):
        LatentReportConfig(vae=two, output=tmp_path / "page.json")
    with pytest.raises(UsageError, match="fewer than 10"):
        LatentReportConfig(vae=two, chunks=3)
