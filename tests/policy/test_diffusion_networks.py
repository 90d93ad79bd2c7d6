"""What Diffusion Policy and RDT must both do."""

import pytest
import torch

from ate_core.errors import CheckpointError
from ate_core.observation import Observation
from ate_policy.checkpoint import save_checkpoint
from ate_policy.models.diffusion_policy import DiffusionPolicyConfig
from ate_policy.models.interface import Inputs
from ate_policy.models.registry import build_model, policy_entry
from ate_policy.policy import checkpoint_of, load_policy
from ate_policy.transforms import Statistics, VectorStatistics

DIFFUSION = ("diffusion", "rdt")
SCENES = {
    "state": {"objects": 2},
    "vision": {"cameras": ("cam_high", "cam_left_wrist"), "image_height": 24, "image_width": 32},
}


def build(kind, scene="state", preset="tiny", **sizes):
    torch.manual_seed(0)
    presets = policy_entry(kind).presets
    sizes = {"horizon": 8, **presets[preset].sizes, **SCENES[scene], **sizes}
    model = build_model(kind, policy_entry(kind).config(**sizes))
    for weight in model.parameters():  # zero-initialised layers would hide everything
        if weight.abs().max() == 0.0:
            torch.nn.init.normal_(weight, std=0.1)
    return model


def observed(scene, batch):
    generator = torch.Generator().manual_seed(1)
    return Inputs(
        state=torch.randn(batch, 16, generator=generator),
        environment=torch.randn(batch, 12, generator=generator) if scene == "state" else None,
        images=torch.rand(batch, 2, 3, 24, 32, generator=generator) - 0.5
        if scene == "vision"
        else None,
    )


def row(inputs, index):
    values = {
        name: None if value is None else value[index : index + 1]
        for name, value in vars(inputs).items()
        if name != "instructions"
    }
    return Inputs(**values)


def noise_for(model, batch):
    width = model.embed(torch.zeros(16)).shape[-1]
    return torch.randn(batch, 8, width, generator=torch.Generator().manual_seed(2))


@pytest.mark.parametrize("kind", DIFFUSION)
@pytest.mark.parametrize("scene", SCENES)
def test_a_batch_of_two_is_two_batches_of_one(kind, scene):
    model = build(kind, scene).eval()
    inputs, noise, level = observed(scene, 2), noise_for(model, 2), torch.tensor([3, 70])
    with torch.no_grad():
        out = model(noise, level, inputs)
        chunks = model.sample(inputs, noise)
        for i in range(2):
            one = slice(i, i + 1)
            alone = model(noise[one], level[one], row(inputs, i))
            torch.testing.assert_close(out[one], alone, rtol=1e-4, atol=1e-5)
            alone = model.sample(row(inputs, i), noise[one])
            torch.testing.assert_close(chunks[one], alone, rtol=1e-4, atol=1e-4)
    assert not torch.allclose(chunks[0], chunks[1], atol=1e-3)


@pytest.mark.parametrize("kind", DIFFUSION)
def test_chunks_in_a_row_share_an_observation(kind):
    model = build(kind, "vision").eval()
    inputs, noise = observed("vision", 2), noise_for(model, 6)
    level = torch.tensor([1, 20, 40, 60, 80, 99])
    with torch.no_grad():
        out = model(noise, level, inputs)
        second = model(noise[3:], level[3:], row(inputs, 1))
    torch.testing.assert_close(out[3:], second, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("kind", DIFFUSION)
def test_a_chunk_depends_on_nothing_but_inputs_and_noise(kind):
    model = build(kind).eval()
    inputs, noise = observed("state", 2), noise_for(model, 2)
    with torch.no_grad():
        torch.manual_seed(3)
        first = model.sample(inputs, noise)
        torch.manual_seed(4)
        assert torch.equal(model.sample(inputs, noise), first)
        assert not torch.allclose(model.sample(inputs, -noise), first, atol=1e-3)


@pytest.mark.parametrize("kind", DIFFUSION)
def test_a_checkpoint_gives_the_same_actions_again(kind, tmp_path, cell):
    def table(size):
        return VectorStatistics(
            mean=(0.1,) * size, std=(0.3,) * size, q01=(-1.0,) * size, q99=(1.0,) * size
        )

    model = build(kind)
    statistics = Statistics(state=table(16), action=table(16), environment=table(12))
    checkpoint = checkpoint_of(
        kind,
        model.config,
        weights=model.state_dict(),
        statistics=statistics,
        contract=cell.canonical_text(),
        training={},
    )
    save_checkpoint(tmp_path / "policy", checkpoint)
    poses = torch.tensor([[0.4, 0.0, 0.1, 0.0, 0.0, 0.0, 1.0]] * 2).numpy()
    observation = Observation(
        state=torch.linspace(-0.5, 0.5, 16).numpy(), images={}, environment=poses, stamp_ns=0
    )
    policy = load_policy(tmp_path / "policy", cell)
    assert policy.config == model.config
    again = load_policy(tmp_path / "policy", cell).infer(observation, 0)
    assert (policy.infer(observation, 0) == again).all()
    generator = torch.Generator().manual_seed(0)
    width = model.embed(torch.zeros(16)).shape[-1]
    noise = torch.randn(1, 8, width, generator=generator)
    features = torch.tensor([[0.4, 0.0, 0.1, 1.0, 0.0, 0.0] * 2])
    inputs = Inputs(
        state=(torch.linspace(-0.5, 0.5, 16)[None] - 0.1) / 0.3,
        environment=(features - 0.1) / 0.3,
    )
    with torch.no_grad():
        expected = 0.3 * model.extract(model.eval().sample(inputs, noise)) + 0.1
    joints = torch.from_numpy(again)[:, :7]
    torch.testing.assert_close(joints, expected[0, :, :7], rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(
    ("sizes", "message"),
    [
        ({"channels": (12, 24)}, "each must be a multiple of 8"),
        ({"kernel": 4}, "kernel is 4, must be odd"),
        ({"steps": 200}, "steps is 200, must not exceed train_steps, 100"),
        ({"prediction": "velocity_pi0"}, "prediction is 'velocity_pi0'"),
        ({"image_network": "vit"}, "image_network is 'vit'"),
        ({"largest": 0.0}, "largest is 0.0"),
        ({"language": True}, "reads no instruction"),
    ],
)
def test_diffusion_policies_that_cannot_be_built_are_refused(sizes, message):
    with pytest.raises(CheckpointError, match=message):
        DiffusionPolicyConfig(**sizes)


def test_the_published_diffusion_policy_can_be_built():
    """254 M of the UNet (one observation, three cameras) and 33.6 M of three ResNet-18."""
    with torch.device("meta"):
        model = build_full()
    count = sum(p.numel() for p in model.parameters())
    assert count / 1e6 == pytest.approx(287, abs=1)
    assert sum(p.numel() for p in model.images.parameters()) / 1e6 == pytest.approx(33.6, abs=0.1)


def build_full():
    presets = policy_entry("diffusion").presets
    cameras = ("cam_high", "cam_left_wrist", "cam_right_wrist")
    return build_model(
        "diffusion", DiffusionPolicyConfig(cameras=cameras, **presets["full"].sizes)
    )
