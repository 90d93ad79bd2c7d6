"""What the paper, the released code and the ablations compute differently."""

import math

import pytest
import torch

from ate_core.errors import UsageError
from training.configs.train_vae import TrainVaeConfig
from training.data.micro_batch import MicroBatch
from training.vae import reference
from training.vae.losses import DiagonalGaussian, kl_from_prior, kl_to_prior, mmd
from training.vae.model import ActionVae, VaeConfig
from training.vae.objective import corrupt, draw_batch, vae_loss
from training.vae.recipe import REFERENCE, Recipe, recipe_of

SMALL = VaeConfig(horizon=6, action_size=3, latent=16, width=16, heads=2, feedforward=32)


def stage_two(tmp_path, **options):
    given = {"prior": tmp_path} if not options.get("single_stage") else {}
    return TrainVaeConfig(stage=2, output=tmp_path, episodes=tmp_path, **given, **options)


def seeded(seed=0):
    return torch.Generator().manual_seed(seed)


def test_the_default_differs_from_the_paper_in_the_latent_head_alone(tmp_path):
    assert set(recipe_of(stage_two(tmp_path)).deviations()) == {"latent_head"}
    assert recipe_of(stage_two(tmp_path, latent_head="norm")).deviations() == {}


def test_the_released_code_differs_where_the_facts_say(tmp_path):
    recipe = recipe_of(stage_two(tmp_path, match="reference"))
    assert recipe == REFERENCE
    assert set(recipe.deviations()) == {"kl", "mmd_distance", "mmd_target", "moments"}
    assert recipe.deviations()["kl"] == "forward (paper: reverse)"


@pytest.mark.parametrize(
    ("option", "choice"),
    [
        ({"single_stage": True}, {"prior": "N(0, I)"}),
        ({"kl": "forward"}, {"kl": "forward"}),
        ({"weight_mmd": 0.0}, {"weight_mmd": 0.0}),
        ({"input_noise": 1.0}, {"input_noise": 1.0}),
    ],
)
def test_each_ablation_is_one_option(tmp_path, option, choice):
    recipe = recipe_of(stage_two(tmp_path, latent_head="norm", **option))
    assert recipe == Recipe(latent_head="norm", **choice)
    assert set(recipe.deviations()) == set(choice)


def test_stage_one_always_takes_the_kl_to_its_standard_prior(tmp_path):
    assert recipe_of(TrainVaeConfig(stage=1, output=tmp_path, match="reference")).kl == "reverse"
    with pytest.raises(UsageError, match="is a choice of stage 2"):
        TrainVaeConfig(stage=1, output=tmp_path, kl="forward")


def test_presets_give_sizes_and_options_change_them(tmp_path):
    paper = stage_two(tmp_path, preset="paper", width=256)
    names = ("latent", "width", "encoder_layers", "decoder_layers", "heads", "feedforward")
    assert [paper.sizes()[name] for name in names] == [512, 256, 9, 9, 4, 1024]
    assert paper.peak_rate == 1e-4
    assert stage_two(tmp_path).sizes()["latent"] == 64


def test_the_noise_of_the_released_moments():
    # 10 squared-cosine steps, first three: noise std 0.17, 0.32, 0.46
    std = (1.0 - reference.noise_levels()).sqrt()
    torch.testing.assert_close(std, torch.tensor([0.17, 0.32, 0.46]), atol=0.01, rtol=0)


class Known(torch.nn.Linear):
    """An encoder with mu = the chunk's mean and sigma = 0.5."""

    latent = 1

    def encode(self, actions):
        mean = actions.mean(dim=(1, 2))[:, None]
        return mean, torch.full_like(mean, math.log(0.25))


def test_released_moments_lack_the_spread_of_the_means():
    chunks = torch.tensor([-1.0, 1.0]).repeat(500)[:, None, None].expand(-1, 40, 25)
    moments = reference.noised_moments(Known(1, 1), chunks, seeded(), batch=300)
    assert moments.variance.item() == pytest.approx(0.25)  # E[sigma]^2, not 0.25 + 1
    assert abs(moments.mean.item()) < 0.02


def test_released_epochs_see_every_chunk_once_and_drop_the_rest():
    def epoch(number):
        steps = range(3 * number, 3 * number + 3)
        return torch.cat([reference.epoch_rows(14, 4, step, seed=5) for step in steps])

    first, second = epoch(0), epoch(1)
    assert len(first.unique()) == len(second.unique()) == 12
    assert not torch.equal(first, second)
    assert torch.equal(epoch(0), first)


def test_the_released_rate_falls_by_a_twentieth_per_epoch_until_it_is_tiny():
    assert reference.epoch_rate(1e-4, 0) == 1e-4
    assert reference.epoch_rate(1e-4, 2) == pytest.approx(9.025e-5)
    assert reference.epoch_rate(1e-4, 89) > 1e-6 > reference.epoch_rate(1e-4, 90)
    assert reference.epoch_rate(1e-4, 500) == reference.epoch_rate(1e-4, 90)


def test_released_weights_are_xavier_with_the_bounds_of_one_attention_matrix():
    torch.manual_seed(0)
    vae = ActionVae(VaeConfig(horizon=6, action_size=3, width=64, latent=64))
    embed = vae.embed.weight.clone()
    reference.reset_weights(vae)
    layer = vae.decoder[0]
    for weight, bound in (
        (layer.attention.project.weight, math.sqrt(6 / (4 * 64))),
        (layer.value.weight, math.sqrt(6 / (4 * 64))),
        (layer.out.weight, math.sqrt(6 / (2 * 64))),
        (layer.feedforward[0].weight, math.sqrt(6 / (64 + 256))),
    ):
        assert 0.98 * bound < weight.abs().max() <= bound
    assert layer.attention.project.bias.abs().max() == layer.out.bias.abs().max() == 0.0
    assert torch.equal(vae.embed.weight, embed)


def test_the_released_kernel_by_hand():
    # d = 2, C = 8; |x - y|^2 = 4, its mean 2: k = 8 / 10; with the diagonals: 2 (1 + 0.8) / 2
    x, y = torch.tensor([[0.0, 0.0], [2.0, 0.0]]), torch.tensor([[0.0, 0.0], [0.0, 0.0]])
    value = mmd(x, y, distance="mean", diagonal=True)
    assert value.item() == pytest.approx(0.9 + 1.0 - 2.0 * 0.9)
    assert mmd(x, y).item() == pytest.approx(8 / 12 + 1.0 - 2.0 * (1.0 + 8 / 12) / 2)


def test_the_released_kernel_does_not_see_scale():
    standard, other = torch.randn(2, 800, 512, generator=seeded())
    wide = 2.0 * other
    assert mmd(wide, standard).item() > 0.1
    assert mmd(wide, standard, distance="mean").item() < 1e-5


def batch_and_outputs(recipe, prior):
    torch.manual_seed(0)
    vae = ActionVae(SMALL)
    batch = draw_batch(torch.randn(8, 6, 3, generator=seeded(1)), prior, recipe, seeded(2))
    return batch, vae(batch.seen, batch.eps)


def test_the_loss_follows_the_recipe():
    prior = DiagonalGaussian(torch.full((16,), 0.7), torch.full((16,), 1.8))
    for recipe, divergence in ((Recipe(), kl_to_prior), (REFERENCE, kl_from_prior)):
        batch, outputs = batch_and_outputs(recipe, prior)
        loss, terms = vae_loss(outputs, batch, outputs[1], prior, recipe)
        a_hat, z, mean, log_variance = outputs
        kl = divergence(mean, log_variance, prior)
        target = prior if recipe.mmd_target == "prior" else DiagonalGaussian.standard(16)
        generator = seeded(2)
        torch.randn(8, 16, generator=generator)  # eps
        kernel = {"distance": recipe.mmd_distance, "diagonal": recipe.mmd_diagonal}
        expected = mmd(z, target.sample(8, generator), **kernel)
        off = (a_hat - batch.actions).abs()
        smooth = torch.where(off < 1.0, 0.5 * off**2, off - 0.5).mean()
        torch.testing.assert_close(terms["kl"], kl)
        torch.testing.assert_close(loss, smooth + 7.5e-5 * kl + expected)


def test_without_mmd_the_loss_has_none():
    prior = DiagonalGaussian.standard(16)
    recipe = Recipe(weight_mmd=0.0)
    batch, outputs = batch_and_outputs(recipe, prior)
    loss, terms = vae_loss(outputs, batch, outputs[1], prior, recipe)
    assert "mmd" not in terms
    torch.testing.assert_close(loss, terms["reconstruction"] + 7.5e-5 * terms["kl"])


def test_input_noise_reaches_what_the_encoder_sees_only():
    actions = torch.full((2000, 2, 1), 5.0)
    batch = draw_batch(actions, DiagonalGaussian.standard(2), Recipe(input_noise=1.0), seeded())
    assert torch.equal(batch.actions, actions)
    # E[(1 - s) 5 + s n] = 2.5 with s ~ U(0, 1)
    assert batch.seen.mean().item() == pytest.approx(2.5, abs=0.1)
    generator = seeded()
    before = generator.get_state()
    assert corrupt(actions, 0.0, generator) is actions
    assert torch.equal(generator.get_state(), before)


def test_a_process_takes_its_part_but_compares_all_of_z():
    batch = draw_batch(torch.zeros(8, 6, 3), DiagonalGaussian.standard(4), Recipe(), seeded())
    mine = batch.of(MicroBatch(4, 8, True), torch.device("cpu"))
    assert torch.equal(mine.eps, batch.eps[4:]) and len(mine.actions) == 4
    assert torch.equal(mine.samples, batch.samples)


def test_bfloat16_keeps_losses_in_float32_and_close():
    prior = DiagonalGaussian.standard(16)
    batch, exact = batch_and_outputs(Recipe(), prior)
    torch.manual_seed(0)
    vae = ActionVae(SMALL)
    with torch.autocast("cpu", torch.bfloat16):
        outputs = vae(batch.seen, batch.eps)
    assert outputs[0].dtype == torch.bfloat16
    loss, terms = vae_loss(outputs, batch, outputs[1], prior, Recipe())
    assert loss.dtype == torch.float32 and all(p.dtype == torch.float32 for p in terms.values())
    expected, _ = vae_loss(exact, batch, exact[1], prior, Recipe())
    assert loss.item() == pytest.approx(expected.item(), rel=0.02)
    loss.backward()
    assert all(p.grad.dtype == torch.float32 for p in vae.parameters())
