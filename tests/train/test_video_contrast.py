import copy
import dataclasses

import pytest
import torch

from training.clap.align_objective import References, contrast_of, distance_of, video_loss
from training.clap.align_recipe import PAPER, REFERENCE, AlignRecipe
from training.clap.contrast import SigmoidContrast, contrast_loss, cosines_of, pairs_that_count
from training.clap.latent_space import LatentSpace
from training.clap.teacher import Teacher
from training.clap.vd_config import VdVaeConfig
from training.clap.vd_vae import VdVae, VideoOutputs

SIZES = VdVaeConfig(
    arms=2,
    codes=3,
    codebook=8,
    code_width=4,
    patches=6,
    columns=3,
    feature_size=5,
    env_codebook=4,
    width=16,
    heads=2,
    feedforward=32,
)


NETWORKS = [
    {"network": network, "axes": axes} for network in ("attention", "conv") for axes in (0, 4)
]


@pytest.fixture
def model():
    return model_of()


def model_of(**sizes):
    torch.manual_seed(0)
    return VdVae(dataclasses.replace(SIZES, **sizes))


def frames(count=4, seed=0):
    generator = torch.Generator().manual_seed(seed)
    return [torch.randn(count, 6, 5, generator=generator) for _ in range(2)]


def test_equation_3_has_the_value_worked_out_by_hand():
    cosines = torch.tensor([[0.9, 0.1], [0.2, 0.8]])
    tau, bias = 0.1, 1.0
    assert contrast_loss(cosines, 1 / tau, -bias / tau).item() == pytest.approx(1.720324, abs=1e-6)


@pytest.mark.parametrize(("bias", "value"), [(-10.0, 10.00145), (0.0, 22.18071)])
def test_the_bias_keeps_the_negatives_from_ruling_the_start(bias, value):
    found = contrast_loss(torch.zeros(32, 32), 10.0, bias)
    assert found.item() == pytest.approx(value, abs=1e-5)


def test_the_contrast_begins_as_siglip():
    contrast = SigmoidContrast()
    everything = torch.ones(32, 32, dtype=torch.bool)
    assert contrast(torch.zeros(32, 32), everything).item() == pytest.approx(10.00145, abs=1e-5)


def test_pairs_that_do_not_count_and_rows_without_reference_cost_nothing():
    cosines = torch.rand(3, 3, generator=torch.Generator().manual_seed(0))
    keep = torch.tensor([[1, 0, 1], [1, 1, 1], [1, 1, 0]], dtype=torch.bool)
    alone = contrast_loss(cosines, 10.0, -10.0, keep)
    changed = cosines.clone()
    changed[0, 1] = changed[2] = 9.0  # the third row's own pair does not count
    assert contrast_loss(changed, 10.0, -10.0, keep) == alone
    none = contrast_loss(cosines, 10.0, -10.0, torch.zeros(3, 3, dtype=torch.bool))
    assert none == 0.0


def test_cosines_are_of_whole_sequences_about_their_origin():
    latents = torch.randn(3, 2, 4, generator=torch.Generator().manual_seed(0))
    torch.testing.assert_close(cosines_of(latents, 3.0 * latents).diagonal(), torch.ones(3))
    space = LatentSpace(2, 4)
    apart = cosines_of(space(latents + 50.0), space(latents + 50.0))
    assert apart.min() > 0.99  # what all share hides what tells them apart
    space.fit(torch.full((1, 2, 4), 50.0))
    torch.testing.assert_close(
        cosines_of(space(latents + 50.0), space(latents + 50.0)),
        cosines_of(latents, latents),
        atol=1e-4,
        rtol=0.0,
    )


def test_negatives_are_other_motion_of_other_episodes():
    # two windows of episode 0, one of episode 1, one of episode 2; two arms each
    window = torch.arange(4).repeat_interleave(2)
    episode = torch.tensor([0, 0, 0, 0, 1, 1, 2, 2])
    codes = torch.arange(8)[:, None].repeat(1, 3)
    codes[6] = codes[4]
    idle = torch.tensor([0, 0, 0, 0, 0, 1, 0, 1], dtype=torch.bool)
    valid = torch.ones(8, dtype=torch.bool)
    valid[0] = False
    keep = pairs_that_count(valid, window, episode, codes, idle)
    assert torch.equal(keep, keep.T)
    assert keep.diagonal().tolist() == valid.tolist()
    assert not keep[0].any()
    assert keep[2, 3] and not keep[1, 2]  # the other arm; another window of the same episode
    assert not keep[4, 6] and keep[4, 7]  # equal codes; different ones
    assert not keep[5, 7] and keep[5, 6]  # both rest; one of them


@pytest.mark.parametrize("sizes", NETWORKS)
def test_z_of_swapped_frames_differs_and_lies_in_the_tokens_space(sizes):
    model = model_of(**sizes)
    before, after = frames()
    outputs = model(before, after, before)
    assert outputs.z_a.shape == (4, 2, 3, 4) and outputs.z_i.shape == (4, 2, 4)
    assert outputs.predicted.shape == (4, 6, 5)
    assert torch.equal(outputs.q_a, model.action_book.codes[outputs.codes_a])
    swapped = model(after, before, after)
    assert (outputs.z_a - swapped.z_a).abs().max() > 1e-3


@pytest.mark.parametrize("sizes", NETWORKS)
def test_the_decoder_reads_the_codes_of_both_kinds(sizes):
    model = model_of(**sizes)
    before, _ = frames()
    q_a, q_i = torch.randn(4, 2, 3, 4), torch.randn(4, 2, 4)
    made = model.decoder(before, q_a, q_i)
    assert (made - model.decoder(before, -q_a, q_i)).abs().max() > 1e-4
    assert (made - model.decoder(before, q_a, -q_i)).abs().max() > 1e-4


@pytest.mark.parametrize("sizes", NETWORKS)
def test_no_gradient_reaches_the_codes_of_the_tokens(sizes):
    model = model_of(**sizes)
    before, after = frames()
    outputs = model(before, after, before)
    loss, _ = video_loss(outputs, after, outputs.z_a.square().mean(), AlignRecipe())
    loss.backward()
    assert model.action_book.codes.grad is None and not model.action_book.codes.requires_grad
    assert model.env_book.codes.grad.abs().sum() > 0.0
    assert all(value.grad.abs().sum() > 0.0 for value in model.encoder.down_action.parameters())


def test_the_teacher_equals_the_average_and_gets_no_gradient(model):
    teacher = Teacher(model.encoder, 0.9, warmup=False)
    expected = {name: value.detach().clone() for name, value in model.encoder.named_parameters()}
    for step in range(3):
        with torch.no_grad():
            for value in model.encoder.parameters():
                value.add_(torch.randn_like(value))
        teacher.follow(model.encoder, step)
        for name, value in model.encoder.named_parameters():
            expected[name] = 0.9 * expected[name] + 0.1 * value.detach()
    for name, value in teacher.weights.items():
        torch.testing.assert_close(value, expected[name])
        assert not value.requires_grad
    before, after = frames()
    assert not teacher.action_latent(before, after).requires_grad
    soon = Teacher(model.encoder, 0.999, warmup=True)
    start = copy.deepcopy(soon.encoder.latents)
    with torch.no_grad():
        model.encoder.latents.add_(1.0)
    soon.follow(model.encoder, 0)
    torch.testing.assert_close(soon.encoder.latents - start, torch.full_like(start, 0.9))


def outputs_of(z_a, z_i, q_a, q_i, predicted):
    none = torch.zeros(1, dtype=torch.int64)
    return VideoOutputs(z_a, z_i, q_a, q_i, none, none, predicted)


def test_equation_4_has_the_value_worked_out_by_hand():
    z_a, q_a = torch.full((1, 2, 3, 4), 0.5), torch.zeros(1, 2, 3, 4)  # 24 numbers
    z_i, q_i = torch.full((1, 2, 4), -0.25), torch.full((1, 2, 4), 0.25)  # 8 numbers
    target = torch.zeros(1, 6, 5)  # 30 numbers
    outputs = outputs_of(z_a, z_i, q_a, q_i, target + 0.1)
    contrast = torch.tensor(2.0)
    ours, logged = video_loss(outputs, target, contrast, AlignRecipe(beta=0.5, weight_vq=2.0))
    expected = 0.01 + 2.0 * (0.5 * 0.25 + 0.5 * 0.25 + 0.25) + 0.1 * 2.0 + 0.5 * 0.25
    assert ours.item() == pytest.approx(expected)
    assert logged["book_i"].item() == pytest.approx(0.25)
    paper, _ = video_loss(outputs, target, contrast, PAPER)
    sums = 30 * 0.01 + (24 * 0.25 + 8 * 0.25 + 8 * 0.25) + 0.1 * 2.0 + 0.5 * 8 * 0.25
    assert paper.item() * 30 == pytest.approx(sums, rel=1e-5)
    half, _ = video_loss(outputs, target, contrast, AlignRecipe(beta=0.5, beta_on="book"))
    assert half.item() == pytest.approx(0.01 + 0.25 + 0.25 + 0.125 + 0.2 + 0.125)


def test_the_released_code_presses_the_codes_of_z_i_and_contrasts_codes(model):
    z_i = torch.full((1, 2, 4), -0.25, requires_grad=True)
    q_i = torch.zeros(1, 2, 4)
    outputs = outputs_of(torch.zeros(1, 2, 3, 4), z_i, torch.zeros(1, 2, 3, 4), q_i, q_i)
    zero = torch.tensor(0.0)
    _, ours = video_loss(outputs, torch.zeros(1, 2, 4), zero, AlignRecipe())
    _, released = video_loss(outputs, torch.zeros(1, 2, 4), zero, REFERENCE)
    assert ours["sparse"] == 0.25 and released["sparse"] == 0.0

    before, after = frames()
    made = model(before, after, before)
    references = References(
        latents=torch.randn(4, 2, 3, 4),
        codes=made.codes_a,
        valid=torch.ones(4, 2, dtype=torch.bool),
        idle=torch.zeros(4, 2, dtype=torch.bool),
        episode=torch.arange(4),
    )
    _, logged = contrast_of(model, made, references, REFERENCE)
    assert logged["cosine_own"].item() == pytest.approx(1.0)  # the same codes on both sides
    _, logged = contrast_of(model, made, references, AlignRecipe())
    assert abs(logged["cosine_own"].item()) < 0.9


def test_deviations_from_the_paper_are_named():
    assert PAPER.deviations() == {}
    assert {"contrast_of", "target", "norms", "beta_on"} <= set(REFERENCE.deviations())
    assert {"space", "weight_distance", "negatives", "predicts"} <= set(AlignRecipe().deviations())


def test_the_distance_is_of_rows_that_have_a_reference():
    model = model_of(axes=4)
    z_a, wanted = torch.zeros(2, 2, 3, 4), torch.zeros(2, 2, 3, 4)
    wanted[0, 0] = model.space.place(torch.tensor([1.0, 1.0, 1.0, 3.0]))
    wanted[1] = 100.0
    references = References(
        latents=wanted,
        codes=torch.zeros(2, 2, 3, dtype=torch.int64),
        valid=torch.tensor([[True, True], [False, False]]),
        idle=torch.zeros(2, 2, dtype=torch.bool),
        episode=torch.arange(2),
    )
    outputs = outputs_of(z_a, z_a[:, 0], z_a, z_a[:, 0], torch.zeros(2, 6, 5))
    distance = distance_of(model, outputs, references)
    assert distance.item() == pytest.approx(0.5 * (3 * 1.0 + 9.0) / 4)
    loss, logged = video_loss(
        outputs, outputs.predicted, torch.tensor(0.0), AlignRecipe(weight_distance=2.0), distance
    )
    assert loss.item() == pytest.approx(2.0 * distance.item()) and logged["distance"] == distance
