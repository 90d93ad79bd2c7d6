import pytest
import torch

from ate_policy.models.action_tokens import ActionTokens, ActionTokensConfig
from training.clap.align_measures import code_accuracy
from training.clap.align_objective import References, contrast_of, distance_of, video_loss
from training.clap.align_recipe import AlignRecipe
from training.clap.contrast import cosines_of
from training.clap.latent_space import LatentSpace
from training.clap.vd_config import VdVaeConfig
from training.clap.vd_vae import VdVae

CHUNKS, FACTORS = 48, 6
ANISOTROPY = 30.0
"""Of the motion in one direction over that in the others, as grippers are over small turns."""


def lopsided(count=200):
    """Latents whose variance lies nearly all in one direction, far from zero."""
    latents = torch.randn(count, 2, 4, generator=torch.Generator().manual_seed(0))
    latents[:, 0, 0] *= ANISOTROPY
    return latents + 5.0


def test_motion_along_small_directions_is_told_apart():
    latents = lopsided()
    centred, whitened = LatentSpace(2, 4), LatentSpace(2, 4, axes=8)
    alike = []
    for space in (centred, whitened):
        space.fit(latents)
        other = cosines_of(space(latents), space(latents)).fill_diagonal_(-1.0)
        alike.append(other.max(dim=1).values.median())
    assert alike[0] > 0.99 and alike[1] < 0.9


def test_coordinates_have_deviation_1_and_come_back():
    latents = lopsided()
    space = LatentSpace(2, 4, axes=8)
    space.fit(latents)
    found = space(latents)
    torch.testing.assert_close(found.std(dim=0, unbiased=False), torch.ones(8))
    torch.testing.assert_close(space.place(found), latents, atol=1e-3, rtol=1e-4)
    few = LatentSpace(2, 4, axes=3)
    few.fit(latents)
    torch.testing.assert_close(few(few.place(found[:, :3])), found[:, :3], atol=1e-3, rtol=1e-4)


def test_directions_without_motion_stay_finite():
    space = LatentSpace(2, 4, axes=8)
    space.fit(torch.ones(5, 2, 4))
    assert space(torch.ones(2, 2, 4)).isfinite().all()


def recoverable():
    """Chunks of a few factors, tokens of them, and frames whose change shows the factors."""
    torch.manual_seed(0)
    sizes = {"codes": 2, "codebook": 8, "code_width": 8, "width": 16, "heads": 2}
    tokens = ActionTokens(
        ActionTokensConfig(horizon=4, action_size=FACTORS, feedforward=32, **sizes)
    )
    factors = torch.randn(CHUNKS, 1, FACTORS)
    chunks = (torch.linspace(0.25, 1.0, 4)[None, None, :, None] * factors[:, :, None]).clone()
    with torch.no_grad():
        latents = tokens.embed_chunks(chunks.flatten(0, 1))
        mean = latents.mean(dim=0)
        direction = torch.nn.functional.normalize(torch.randn(16), dim=0).view(2, 8)
        size = latents.std()
        latents = latents + ANISOTROPY * size * factors[:, 0, :1, None] * direction + 10 * mean
        latents = latents / 10.0  # of the length that trained tokens have
        spread = factors[:, 0, 0].argsort()[CHUNKS // 8 :: CHUNKS // 4]
        tokens.codebook.codes.copy_(latents[spread].flatten(0, 1))
    before = torch.randn(CHUNKS, 6, 5)
    shown = factors[:, 0, :, None] * torch.randn(1, 6, 5)
    return tokens.freeze(), latents.unflatten(0, (CHUNKS, 1)), before, before + shown


@pytest.mark.parametrize("network", ["conv", "attention"])
def test_pairs_that_can_be_told_apart_are_aligned_and_get_their_codes(network):
    tokens, latents, before, after = recoverable()
    recipe = AlignRecipe(weight_distance=1.0)
    torch.manual_seed(0)
    model = VdVae(
        VdVaeConfig(
            arms=1,
            codes=2,
            codebook=8,
            code_width=8,
            patches=6,
            columns=3,
            feature_size=5,
            axes=8,
            network=network,
            width=32,
            heads=2,
            feedforward=64,
            env_codebook=4,
        )
    )
    with torch.no_grad():
        model.action_book.codes.copy_(tokens.codebook.codes)
        model.space.fit(latents.flatten(0, 1))
    references = References(
        latents=latents,
        codes=tokens.codebook.nearest(latents),
        valid=torch.ones(CHUNKS, 1, dtype=torch.bool),
        idle=torch.zeros(CHUNKS, 1, dtype=torch.bool),
        episode=torch.arange(CHUNKS),
    )
    optimizer = torch.optim.AdamW(model.parameters(), lr=3e-3)
    for _ in range(300):
        outputs = model(before, after, before)
        contrast, _ = contrast_of(model, outputs, references, recipe)
        away = distance_of(model, outputs, references)
        loss, _ = video_loss(outputs, after, contrast, recipe, away)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    with torch.no_grad():
        z_a, _ = model.encoder(before, after)
    nearest = cosines_of(model.space(z_a), model.space(latents)).argmax(dim=1)
    assert (nearest == torch.arange(CHUNKS)).float().mean() >= 0.95
    told = code_accuracy(model.action_book.nearest(z_a), references.codes, references.idle)
    assert told["accuracy"] >= max(0.8, told["majority"] + 0.3)
