"""Every kind of network comes back from its checkpoint, in any precision, without drawing."""

import dataclasses

import numpy as np
import pytest
import torch

from ate_core.errors import UsageError
from ate_core.observation import Observation
from ate_policy.checkpoint import save_checkpoint
from ate_policy.loading import find_dtype, restore_model, without_weights
from ate_policy.models import schedules
from ate_policy.models.interface import Inputs, action_width
from ate_policy.models.pi0 import Pi0, Pi0Config
from ate_policy.models.pi0_entry import PRESETS
from ate_policy.models.registry import POLICIES, build_model, policy_entry
from ate_policy.policy import checkpoint_of, load_policy
from ate_policy.transforms import Statistics, VectorStatistics

CAMERAS = ("cam_high", "cam_left_wrist", "cam_right_wrist")
TABLE = VectorStatistics(mean=(0.3,) * 16, std=(0.5,) * 16, q01=(-1.0,) * 16, q99=(1.5,) * 16)
CPU, GPU = torch.device("cpu"), torch.device("cuda")


def make_checkpoint(kind, cell):
    """A tiny policy that sees and, where it can, reads; its weights are as if trained."""
    sizes = dict(policy_entry(kind).preset("tiny").sizes)
    sizes |= {"horizon": 8, "cameras": CAMERAS, "language": kind not in ("flow", "diffusion")}
    if kind not in ("pi0", "pi05"):
        sizes |= {"image_height": 32, "image_width": 48}
    torch.manual_seed(0)
    model = build_model(kind, policy_entry(kind).config(**sizes))
    with torch.no_grad():
        for parameter in model.parameters():
            parameter += 0.05 * torch.randn_like(parameter)
    return model, checkpoint_of(
        kind,
        model.config,
        weights=model.state_dict(),
        statistics=Statistics(state=TABLE, action=TABLE),
        contract=cell.canonical_text(),
        training={},
    )


def observe():
    rng = np.random.default_rng(0)
    return Observation(
        state=rng.uniform(-0.5, 1.0, 16).astype(np.float32),
        images={key: rng.integers(0, 255, (54, 96, 3), np.uint8) for key in CAMERAS},
        instruction="lift the bun",
        stamp_ns=0,
    )


@pytest.fixture(params=POLICIES.builtin)
def made(request, cell):
    """A network and its checkpoint, of every kind."""
    return make_checkpoint(request.param, cell)


def test_a_restored_network_has_the_weights_and_tables_of_the_saved_one(made):
    model, checkpoint = made
    restored = restore_model(checkpoint)
    for ours, theirs in (
        (restored.named_parameters(), model.named_parameters()),
        (restored.named_buffers(), model.named_buffers()),
    ):
        theirs = dict(theirs)
        for name, value in ours:
            assert value.dtype == theirs[name].dtype and value.device == CPU
            assert torch.equal(value, theirs.pop(name)), name
        assert not theirs
    learning = {name for name, p in model.named_parameters() if p.requires_grad}
    assert {name for name, p in restored.named_parameters() if p.requires_grad} == learning


def test_restoring_draws_nothing(made):
    _, checkpoint = made
    before = torch.get_rng_state()
    restore_model(checkpoint)
    assert torch.equal(torch.get_rng_state(), before)


@pytest.mark.parametrize("kind", [k for k in POLICIES.builtin if not policy_entry(k).writes])
def test_a_bf16_policy_infers_the_chunk_of_the_fp32_one(kind, cell, tmp_path):
    model, checkpoint = make_checkpoint(kind, cell)
    save_checkpoint(tmp_path / "policy", checkpoint)
    exact = load_policy(tmp_path / "policy", precision="fp32").infer(observe(), 0)
    policy = load_policy(tmp_path / "policy", precision="bf16")
    chunk = policy.infer(observe(), 0)
    assert chunk.dtype == np.float32 and not np.array_equal(chunk, exact)
    assert np.abs(chunk - exact).max() < 0.02 * np.ptp(exact)
    assert {p.dtype for p in policy._model.parameters()} == {torch.bfloat16}
    tables = dict(model.named_buffers())
    for name, table in policy._model.named_buffers():
        assert table.dtype == tables[name].dtype and torch.equal(table, tables[name]), name


def sampled_in_bf16(kind, cell):
    """A chunk in the network's own action space."""
    model = restore_model(make_checkpoint(kind, cell)[1], dtype=torch.bfloat16).eval()
    generator = torch.Generator().manual_seed(0)
    size = (1, 3, 3, model.config.image_height, model.config.image_width)
    inputs = Inputs(
        state=torch.randn(1, 16, generator=generator).bfloat16(),
        images=torch.rand(size, generator=generator).bfloat16() - 0.5,
        instructions=("go",),
    )
    noise = torch.randn(1, 8, action_width(model), generator=generator)
    with torch.no_grad():
        return model.sample(inputs, noise)


@pytest.mark.parametrize("kind", ["flow", "pi0", "clap_rf"])
def test_a_flow_is_integrated_in_fp32(kind, cell):
    chunk = sampled_in_bf16(kind, cell)
    assert chunk.dtype == torch.float32 and not torch.equal(chunk, chunk.bfloat16().float())


@pytest.mark.parametrize(
    ("kind", "solver"),
    [("diffusion", "DDIMScheduler"), ("rdt", "DPMSolverMultistepScheduler")],
)
def test_a_diffusion_is_solved_in_fp32(kind, solver, cell, monkeypatch):
    solver, types = getattr(schedules, solver), []
    step = solver.step

    def watched(self, output, level, x):
        types.extend([output.dtype, x.dtype])
        return step(self, output, level, x)

    monkeypatch.setattr(solver, "step", watched)
    assert sampled_in_bf16(kind, cell).dtype == torch.float32
    assert set(types) == {torch.float32} and len(types) >= 6


def test_bf16_files_run_in_fp32_when_asked(cell):
    _, checkpoint = make_checkpoint("flow", cell)
    halved = {name: value.bfloat16() for name, value in checkpoint.weights.items()}
    model = restore_model(dataclasses.replace(checkpoint, weights=halved))
    assert {p.dtype for p in model.parameters()} == {torch.float32}
    assert torch.equal(model.enter.weight, halved["enter.weight"].float())


def test_the_published_pi0_is_built_without_a_number_drawn_or_kept():
    with without_weights():
        model = Pi0(Pi0Config(tokenizer="bytes", cameras=CAMERAS))
    assert sum(p.numel() for p in model.parameters()) == 3_501_372_176 - 257152 * 1024
    assert all(p.is_meta for p in model.parameters())
    small = Pi0(Pi0Config(**{**PRESETS["tiny"].sizes, "head_width": 256, "expert_width": 1024}))
    tables, own = dict(model.named_buffers()), dict(small.named_buffers())
    assert len(tables) == len(own) == 7
    time = "network.embed_action_time.sinusoid_embeds.sinusoid_freq"
    assert tables[time].dtype == torch.float32 and torch.equal(tables[time], own[time])
    angles = "network.model.dit.rotary_emb.inv_freq"  # 1 / 10000^(2 i / 256)
    torch.testing.assert_close(tables[angles], 10_000.0 ** (-torch.arange(0, 256, 2) / 256))


def test_networks_are_built_with_numbers_again_afterwards():
    with pytest.raises(RuntimeError, match="stop"), without_weights():
        raise RuntimeError("stop")
    assert not torch.nn.Linear(2, 2).weight.is_meta


@pytest.mark.parametrize(
    ("precision", "kind", "device", "dtype"),
    [
        ("auto", "pi0", GPU, torch.bfloat16),
        ("auto", "rdt", GPU, torch.bfloat16),
        ("auto", "diffusion", GPU, torch.float32),
        ("auto", "pi0", CPU, torch.float32),
        ("fp32", "pi0", GPU, torch.float32),
        ("bf16", "flow", CPU, torch.bfloat16),
    ],
)
def test_auto_is_bf16_where_it_pays(precision, kind, device, dtype):
    assert find_dtype(precision, kind, device) == dtype


def test_an_unknown_precision_is_refused():
    with pytest.raises(UsageError, match="precision 'fp8' is unknown: use auto, fp32, bf16"):
        find_dtype("fp8", "pi0", CPU)
