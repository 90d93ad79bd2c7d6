"""Where an encoder's gradient points, by noise level: the part of guidance that needs no training.

g = -dy/dx of `training.objectives.latent_guidance` is meant to point from the noisy chunk x to the
clean one a. The cosine of g and a - x says how well it does; an untrained encoder is the measure.
"""

from pathlib import Path

import torch
from torch import Tensor

from ate_core.errors import UsageError
from ate_policy.checkpoint import load_checkpoint
from ate_policy.models.interface import ChunkModel
from ate_policy.models.registry import build_model, policy_entry
from ate_policy.noise import NoiseProcess, mix
from training.data.chunk_rows import ChunkRows
from training.objectives.latent_guidance import LEVEL_BINS, guidance_gradient
from training.vae.chunks import load_chunks, stored_config
from training.vae.model import ActionVae
from training.vae.recipe import recipe_of
from training.vae.storage import load_vae

CHUNKS = 1024
"""Noisy chunks that are looked at."""
BATCH = 128
"""Of them at a time."""


def alignment_of(vae: Path, policy: Path, seed: int) -> list[float]:
    """Mean cosine by noise level of a stage-2 VAE on the chunks that it learned.

    Args:
        vae: Its folder.
        policy: A policy whose noise process is meant.
        seed: Of chunks and noise.
    """
    stored = load_vae(vae)
    run = stored_config(stored.checkpoint)
    chunks = load_chunks(run, recipe_of(run)).chunks
    described = load_checkpoint(policy)
    entry = policy_entry(described.kind)
    network = build_model(described.kind, entry.config(**described.model))
    if not isinstance(network, ChunkModel):
        raise UsageError(f"{policy} is of kind {described.kind}, which denoises no chunks")
    process = network.process
    return alignment(stored.model, process, chunks, seed)


def alignment(
    encoder: ActionVae,
    process: NoiseProcess,
    chunks: Tensor | ChunkRows,
    seed: int,
    count: int = CHUNKS,
) -> list[float]:
    """Mean of cos(g, a - x) in each of `LEVEL_BINS` bins of the noise share, 0 the cleanest.

    Args:
        encoder: Of the frozen VAE.
        process: Of the policy that would be steered.
        chunks: (N, H, D) clean, normalised.
        seed: Of the draws.
        count: Noisy chunks in all.
    """
    generator = torch.Generator().manual_seed(seed)
    found, bins = [], []
    for _ in range(0, count, BATCH):
        a = chunks[torch.randint(len(chunks), (BATCH,), generator=generator)]
        level = process.draw_levels(BATCH, generator)
        noised = mix(process, a, level, torch.randn(a.shape, generator=generator))
        eps = torch.randn(BATCH, encoder.latent, generator=generator)
        g = guidance_gradient(encoder, noised.noisy, a, eps)
        back = (a - noised.noisy).flatten(1)
        found.append(torch.nn.functional.cosine_similarity(g.flatten(1), back, dim=1))
        share = noised.sigma / (noised.signal + noised.sigma)
        bins.append((share * LEVEL_BINS).long().clamp(max=LEVEL_BINS - 1))
    cosine, bin_of = torch.cat(found), torch.cat(bins)
    return [cosine[bin_of == k].mean().item() for k in range(LEVEL_BINS)]
