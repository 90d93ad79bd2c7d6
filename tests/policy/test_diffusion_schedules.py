"""Our noise conventions against the library's, and its samplers with perfect networks."""

import pytest
import torch
from diffusers.schedulers.scheduling_ddim import DDIMScheduler
from diffusers.schedulers.scheduling_ddpm import DDPMScheduler

from ate_policy.models.schedules import diffusion_process, sample_ddim, sample_dpm_solver
from ate_policy.models.sinusoids import sinusoids
from ate_policy.noise import clean_estimate, mix, target_of

PREDICTIONS = ("epsilon", "sample", "v")
TRAIN_STEPS = 100


def drawn(prediction, count=64):
    """A batch of noised chunks of (5 ticks, 3 numbers)."""
    generator = torch.Generator().manual_seed(0)
    actions = torch.randn(count, 5, 3, generator=generator)
    process = diffusion_process(TRAIN_STEPS, prediction)
    level = process.draw_levels(count, generator)
    return mix(process, actions, level, torch.randn(actions.shape, generator=generator))


@pytest.fixture(scope="module")
def library():
    return DDPMScheduler(num_train_timesteps=TRAIN_STEPS, beta_schedule="squaredcos_cap_v2")


def test_the_noise_falls_as_a_squared_cosine():
    """alpha_bar_k = f(k + 1) / f(0), f(k) = cos^2((k / T + 0.008) / 1.008 pi / 2)."""
    signal, sigma = diffusion_process(TRAIN_STEPS, "sample").coefficients(torch.tensor([0, 49]))
    assert signal.square().tolist() == pytest.approx([0.999369, 0.493844], abs=1e-5)
    torch.testing.assert_close(signal**2 + sigma**2, torch.ones(2))


def test_the_last_level_is_almost_pure_noise():
    signal, _ = diffusion_process(1000, "sample").coefficients(torch.tensor([999]))
    assert 0.0 < signal.item() < 1e-4


def test_a_chunk_is_noised_as_the_library_noises_it(library):
    noised = drawn("epsilon")
    expected = library.add_noise(noised.actions, noised.noise, noised.level)
    torch.testing.assert_close(noised.noisy, expected)


def test_v_is_the_library_velocity(library):
    noised = drawn("v")
    expected = library.get_velocity(noised.actions, noised.noise, noised.level)
    torch.testing.assert_close(target_of("v", noised), expected)


@pytest.mark.parametrize("prediction", PREDICTIONS)
def test_the_clean_estimate_is_the_library_s(prediction):
    """One deterministic step lists the library's own estimate of the clean chunk."""
    name = {"v": "v_prediction"}.get(prediction, prediction)
    scheduler = DDIMScheduler(
        num_train_timesteps=TRAIN_STEPS,
        beta_schedule="squaredcos_cap_v2",
        prediction_type=name,
        clip_sample=False,
    )
    scheduler.set_timesteps(TRAIN_STEPS)
    noised = drawn(prediction, count=4)
    output = torch.randn(4, 5, 3, generator=torch.Generator().manual_seed(1))
    step = torch.full((4,), 60)
    signal, sigma = diffusion_process(TRAIN_STEPS, prediction).coefficients(step)
    expected = scheduler.step(output, 60, noised.noisy).pred_original_sample
    estimate = clean_estimate(prediction, output, noised.noisy, signal, sigma)
    torch.testing.assert_close(estimate, expected, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("prediction", PREDICTIONS)
def test_the_plain_target_stands_for_the_clean_chunk(prediction):
    noised = drawn(prediction)
    inner = noised.level < 90  # beyond, float32 divides by a signal of 1e-3
    output = target_of(prediction, noised)
    estimate = clean_estimate(prediction, output, noised.noisy, noised.signal, noised.sigma)
    torch.testing.assert_close(estimate[inner], noised.actions[inner], rtol=1e-4, atol=1e-4)


def perfect(prediction, chunk, process):
    """A network that knows the chunk."""

    def denoiser(x, step):
        signal, sigma = (level[:, None, None] for level in process.coefficients(step))
        noise = (x - signal * chunk) / sigma
        return {"epsilon": noise, "sample": chunk, "v": signal * noise - sigma * chunk}[prediction]

    return denoiser


@pytest.mark.parametrize("prediction", PREDICTIONS)
@pytest.mark.parametrize("steps", [1, 3, 10, 16, 100])
def test_ddim_with_a_perfect_network_returns_the_clean_chunk(prediction, steps):
    generator = torch.Generator().manual_seed(2)
    chunk, noise = torch.randn(2, 3, 5, 2, generator=generator)
    chunk_of = sample_ddim(
        perfect(prediction, chunk, diffusion_process(TRAIN_STEPS, prediction)),
        noise,
        prediction=prediction,
        train_steps=TRAIN_STEPS,
        steps=steps,
        largest=10.0,
    )
    torch.testing.assert_close(chunk_of, chunk, rtol=2e-3, atol=2e-3)


@pytest.mark.parametrize(
    ("prediction", "expected"),
    [("epsilon", [75, 50, 25, 0]), ("sample", [99, 74, 49, 24]), ("v", [99, 74, 49, 24])],
)
def test_ddim_starts_where_the_prediction_can_be_used(prediction, expected):
    """At step 99 a clean chunk is (x - eps) / 5e-4: no epsilon is good enough for that."""
    steps = []

    def denoiser(x, step):
        steps.append(int(step[0]))
        return x

    noise = torch.zeros(1, 2, 2)
    sample_ddim(denoiser, noise, prediction=prediction, train_steps=100, steps=4, largest=3.0)
    assert steps == expected


def test_ddim_bounds_the_clean_estimate():
    noise, huge = torch.zeros(1, 2, 2), torch.full((1, 2, 2), 1e6)
    chunk = sample_ddim(
        lambda x, _: huge, noise, prediction="sample", train_steps=100, steps=4, largest=3.0
    )
    torch.testing.assert_close(chunk, torch.full((1, 2, 2), 3.0))


def test_dpm_solver_with_a_perfect_network_returns_the_clean_chunk():
    chunk, noise = torch.randn(2, 3, 5, 2, generator=torch.Generator().manual_seed(3))
    calls = []

    def denoiser(x, step):
        calls.append(int(step[0]))
        return chunk

    found = sample_dpm_solver(denoiser, noise, prediction="sample", train_steps=1000, steps=5)
    assert calls == [999, 799, 599, 400, 200]  # five calls, from the noisiest level
    torch.testing.assert_close(found, chunk)


def test_samplers_leave_the_noise_they_are_given_alone():
    noise = torch.randn(1, 4, 2, generator=torch.Generator().manual_seed(4))
    before = noise.clone()
    sample_dpm_solver(lambda x, _: 0.5 * x, noise, prediction="sample", train_steps=50, steps=3)
    assert torch.equal(noise, before)


@pytest.mark.parametrize(
    ("closed", "sine", "cosine"),
    [(True, 2e-4, 1.0), (False, 0.019999, 0.999800)],  # frequency 1e-4 or 1e-2
)
def test_sinusoids_of_known_numbers(closed, sine, cosine):
    embedded = sinusoids(torch.tensor([0, 2]), 4, closed=closed)
    expected = torch.tensor([[0.0, 0.0, 1.0, 1.0], [0.909297, sine, -0.416147, cosine]])
    torch.testing.assert_close(embedded, expected, rtol=0.0, atol=1e-6)
