"""The squared-cosine diffusion and its samplers; schedules and solvers are `diffusers`' own."""

from collections.abc import Callable
from typing import Any, Literal

import torch
from diffusers.schedulers.scheduling_ddim import DDIMScheduler
from diffusers.schedulers.scheduling_ddpm import DDPMScheduler
from diffusers.schedulers.scheduling_dpmsolver_multistep import DPMSolverMultistepScheduler
from torch import Tensor

from ate_policy.models.inpainting import Inpainting, guided_estimate
from ate_policy.noise import DiffusionProcess, clean_estimate, output_of

DiffusionPrediction = Literal["epsilon", "sample", "v"]
"""What a diffusion network can predict."""

BETA_SCHEDULE = "squaredcos_cap_v2"
"""Nichol & Dhariwal 2021; both published policies use it."""

NAME_IN_DIFFUSERS = {"epsilon": "epsilon", "sample": "sample", "v": "v_prediction"}
"""Our name of a prediction -> the library's."""

Denoiser = Callable[[Tensor, Tensor], Tensor]
"""(x (B, H, M), step (B,)) -> what the network predicts (B, H, M)."""


def diffusion_process(steps: int, prediction: DiffusionPrediction) -> DiffusionProcess:
    """The noise process of training, with `steps` levels."""
    with torch.device("cpu"):  # a model may be built on the meta device
        schedule = DDPMScheduler(num_train_timesteps=steps, beta_schedule=BETA_SCHEDULE)
    return DiffusionProcess(schedule.alphas_cumprod, prediction)


def sample_ddim(
    denoiser: Denoiser,
    noise: Tensor,
    *,
    prediction: DiffusionPrediction,
    train_steps: int,
    steps: int,
    largest: float,
    old: Inpainting | None = None,
) -> Tensor:
    """Deterministic DDIM (Song et al. 2021, eta = 0), (B, H, M) -> (B, H, M).

    A network that predicts epsilon starts a stride below the noisiest level, as published: there
    the signal is 5e-4, and dividing by it turns any error into a leap. The others start at the
    noisiest level, which is where pure noise belongs (Lin et al. 2024, arXiv 2305.08891).

    Args:
        denoiser: The network.
        noise: Standard normal.
        prediction: What the network predicts.
        train_steps: Levels of the process it was trained with.
        steps: Denoising steps.
        largest: The clean estimate is clipped to +- this at every step.
        old: Rows that the chunk has to agree with.
    """
    with torch.device("cpu"):
        scheduler = DDIMScheduler(
            num_train_timesteps=train_steps,
            beta_schedule=BETA_SCHEDULE,
            prediction_type=NAME_IN_DIFFUSERS[prediction],
            clip_sample=True,
            clip_sample_range=largest,
            timestep_spacing="leading" if prediction == "epsilon" else "trailing",
        )
    return _denoise(scheduler, _guided(denoiser, scheduler, prediction, old), noise, steps)


def sample_dpm_solver(
    denoiser: Denoiser,
    noise: Tensor,
    *,
    prediction: DiffusionPrediction,
    train_steps: int,
    steps: int,
    old: Inpainting | None = None,
) -> Tensor:
    """DPM-Solver++ of second order (Lu et al. 2022), (B, H, M) -> (B, H, M)."""
    with torch.device("cpu"):
        scheduler = DPMSolverMultistepScheduler(
            num_train_timesteps=train_steps,
            beta_schedule=BETA_SCHEDULE,
            prediction_type=NAME_IN_DIFFUSERS[prediction],
            algorithm_type="dpmsolver++",
        )
    return _denoise(scheduler, _guided(denoiser, scheduler, prediction, old), noise, steps)


def _guided(
    denoiser: Denoiser,
    scheduler: DDIMScheduler | DPMSolverMultistepScheduler,
    prediction: DiffusionPrediction,
    old: Inpainting | None,
) -> Denoiser:
    """A denoiser whose clean estimate is drawn towards old rows."""
    if old is None:
        return denoiser
    process = DiffusionProcess(scheduler.alphas_cumprod, prediction)

    def guided(x: Tensor, level: Tensor) -> Tensor:
        signal, sigma = process.coefficients(level)

        def estimate(noisy: Tensor) -> Tensor:
            output = denoiser(noisy, level).to(noisy.dtype)
            return clean_estimate(prediction, output, noisy, signal, sigma)

        clean = guided_estimate(estimate, x, signal, sigma, old)
        return output_of(prediction, clean, x, signal, sigma)

    return guided


def _denoise(
    scheduler: DDIMScheduler | DPMSolverMultistepScheduler,
    denoiser: Denoiser,
    noise: Tensor,
    steps: int,
) -> Tensor:
    """Solve in the precision of the noise, whatever the denoiser computes in."""
    scheduler.set_timesteps(steps)
    x = noise
    for step in scheduler.timesteps:
        level = torch.full((len(x),), int(step), device=x.device)
        output = denoiser(x, level).to(x.dtype)
        solved: Any = scheduler.step(output, step, x)  # a tuple for those who ask for one
        x = solved.prev_sample
    return x
