"""`ate train-vae`: the action VAE, stage 1 on other robots' motion, stage 2 on demonstrations."""

import dataclasses
import json

import torch
from torch import Tensor

from ate_core.contract import load_cell, parse_cell_text
from ate_core.errors import TrainingError
from ate_policy.checkpoint import Checkpoint
from ate_policy.models.interface import Interface
from ate_policy.transforms import ChunkTransform, Statistics
from training.configs.train_vae import TrainVaeConfig
from training.data.dataset import gather
from training.data.pretraining import load_sources, make_chunks
from training.data.trajectory import read_trajectories
from training.meter import Meter
from training.optimisation import cosine_rate, make_optimizer, take_step
from training.run_folder import RunFolder, pack_state, unpack_state
from training.vae.losses import DiagonalGaussian, kl_from_prior, kl_to_prior, mmd
from training.vae.model import ActionVae, VaeConfig
from training.vae.moments import aggregate_moments
from training.vae.storage import StoredVae, describe_vae, load_vae

INTERIM_CHUNKS = 2000
"""Chunks behind the moments of a checkpoint that is not the last."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class VaeData:
    """What a stage learns from."""

    chunks: Tensor
    """(N, H, D), normalised."""
    statistics: Statistics
    """Of the demonstrations (stage 2), or of the first source (stage 1)."""
    contract: str
    """Canonical text of the cell."""
    about: dict
    """Origin of the chunks, for the record."""


def train_vae(config: TrainVaeConfig) -> int:
    """Train one stage and write a run folder of checkpoints.

    Returns:
        0 when done, 130 when stopped by a signal (the run can be resumed).
    """
    torch.set_num_threads(config.threads)
    run = RunFolder(config.output, config, config.resume)

    # data and prior
    data = load_pretraining(config) if config.stage == 1 else load_demonstrations(config)
    stored = None if config.prior is None else load_prior(config, data)
    prior = DiagonalGaussian.standard(config.latent) if stored is None else stored.moments
    prior = DiagonalGaussian(prior.mean.float(), prior.variance.float())

    # model
    torch.manual_seed(config.seed)
    vae = ActionVae(vae_sizes(config, data))
    if config.start_from_prior and stored is not None:
        vae.load_state_dict(stored.model.state_dict())
    optimizer = make_optimizer(vae, config.learning_rate, config.weight_decay)
    generator = torch.Generator().manual_seed(config.seed)

    # loop
    step, steps = 0, config.steps
    if config.resume:
        step = unpack_state(run.load_state(), vae, optimizer, {"data": generator})
    label = f"stage {config.stage}"
    with Meter(run, label, step=step, steps=steps, log_every=config.log_every) as meter:
        while step < steps and not meter.stopped:
            rows = torch.randint(len(data.chunks), (config.batch,), generator=generator)
            actions = data.chunks[rows]
            loss, figures = vae_loss(vae, actions, prior, config, generator)
            if not torch.isfinite(loss):
                run.refuse_loss(step + 1, loss, {"actions": actions})
            take_step(optimizer, vae, loss, cosine_rate(config.learning_rate, step, steps))
            step += 1
            meter.report(step, {"loss": loss, **figures})
            if step % config.save_every == 0 or step == steps or meter.stopped:
                state = pack_state(step, vae, optimizer, {"data": generator})
                run.save(step, describe(config, data, vae, step), state)
    return 0 if step >= steps else 130


def vae_loss(
    vae: ActionVae,
    actions: Tensor,
    prior: DiagonalGaussian,
    config: TrainVaeConfig,
    generator: torch.Generator,
) -> tuple[Tensor, dict[str, Tensor]]:
    """Reconstruction + w_kl KL + w_mmd MMD of a batch (B, H, D), and its parts for the log."""
    eps = torch.randn(len(actions), config.latent, generator=generator)
    a_hat, z, mean, log_variance = vae(actions, eps)
    divergence = kl_to_prior if config.kl == "reverse" else kl_from_prior
    parts = {
        "reconstruction": torch.nn.functional.smooth_l1_loss(a_hat, actions),
        "kl": divergence(mean, log_variance, prior),
        "mmd": mmd(z, prior.sample(len(z), generator)),
    }
    loss = (
        parts["reconstruction"] + config.weight_kl * parts["kl"] + config.weight_mmd * parts["mmd"]
    )
    return loss, {**parts, "sigma": log_variance.mul(0.5).exp().mean()}


def load_pretraining(config: TrainVaeConfig) -> VaeData:
    """Chunks of other robots; each source normalised on its own."""
    cell = load_cell(config.cell)
    sources = load_sources(
        cell, recordings=config.recordings, motions=config.motions, seed=config.seed
    )
    made = make_chunks(sources, config.horizon)
    first = next(iter(made.statistics.values()))
    tables = {
        name: {key: list(getattr(value, key)) for key in ("mean", "std")}
        for name, value in made.statistics.items()
    }
    return VaeData(
        chunks=made.chunks,
        statistics=Statistics(state=first, action=first),
        contract=cell.canonical_text(),
        about={"sources": made.counts, "source_statistics": tables},
    )


def load_demonstrations(config: TrainVaeConfig) -> VaeData:
    """The chunks on which the policy will be trained, in the same normalisation."""
    trajectories = read_trajectories(config.episodes, config.demonstrations)
    data = gather(trajectories, Interface(horizon=config.horizon))
    statistics = data.statistics(config.actions)
    return VaeData(
        chunks=data.chunks(ChunkTransform(statistics)),
        statistics=statistics,
        contract=data.contract,
        about={"task": data.task, "demonstration_count": data.episodes},
    )


def load_prior(config: TrainVaeConfig, data: VaeData) -> StoredVae:
    """The stage-1 VAE, if its latent and chunks fit."""
    stored = load_vae(config.prior)
    own, theirs = parse_cell_text(data.contract).layout, stored.checkpoint.cell.layout
    if own.action != theirs.action:
        raise TrainingError(
            f"{config.prior} has another action layout ({'; '.join(theirs.differences(own))}): "
            "train stage 1 for this cell"
        )
    if stored.stage != 1:
        raise TrainingError(f"{config.prior} is of stage {stored.stage}: give a stage-1 VAE")
    if stored.model.latent != config.latent:
        raise TrainingError(
            f"{config.prior} has latent {stored.model.latent}, this run {config.latent}: give "
            f"--latent {stored.model.latent}"
        )
    if config.start_from_prior and stored.model.config != vae_sizes(config, data):
        raise TrainingError(
            f"{config.prior} has other sizes than this run: use those of stage 1, or leave out "
            "--start-from-prior"
        )
    return stored


def vae_sizes(config: TrainVaeConfig, data: VaeData) -> VaeConfig:
    """Sizes of the VAE of this run."""
    return VaeConfig(
        horizon=config.horizon,
        action_size=data.chunks.shape[-1],
        latent=config.latent,
        width=config.width,
        encoder_layers=config.encoder_layers,
        decoder_layers=config.decoder_layers,
        feedforward=4 * config.width,
    )


def describe(config: TrainVaeConfig, data: VaeData, vae: ActionVae, step: int) -> Checkpoint:
    """The checkpoint of this moment, with moments over clean training chunks.

    A finished run takes all of them; one that goes on takes a regular sample, so that stopping
    takes no longer than a step or two.
    """
    stride = 1 if step >= config.steps else max(1, len(data.chunks) // INTERIM_CHUNKS)
    chunks = data.chunks[::stride]
    training = json.loads(json.dumps(dataclasses.asdict(config), default=str))
    training |= {"step": step, "chunks": len(data.chunks), "moment_chunks": len(chunks)}
    training |= data.about
    counts = data.about.get("sources", {data.about.get("task") or "unnamed": len(data.chunks)})
    origin = ", ".join(f"{name} ({count})" for name, count in counts.items())
    parameters = sum(p.numel() for p in vae.parameters())
    card = f"""# Action VAE, stage {config.stage}

| | |
|---|---|
| chunks of {config.horizon} actions | {origin} |
| latent | {config.latent} |
| parameters | {parameters / 1e6:.2f} M |
| steps | {step} of {config.steps}, seed {config.seed} |
| KL | {config.kl} |

`moments.safetensors` holds mean and variance of the aggregate posterior (law of total variance,
clean chunks). It is used in training only and is no part of a policy.
"""
    return describe_vae(
        vae,
        aggregate_moments(vae, chunks),
        contract=data.contract,
        statistics=data.statistics,
        training=training,
        card=card,
    )
