"""`ate train-vae`: the action VAE, stage 1 on other robots' motion, stage 2 on demonstrations."""

import dataclasses

import torch
from accelerate import Accelerator
from torch import Tensor, nn

from training.configs.run import Precision
from training.configs.train_vae import TrainVaeConfig
from training.data.digests import sha256_of
from training.loop.memory import explain_memory, memory_estimate
from training.loop.optimisation import apply_gradients, make_optimizer
from training.loop.processes import (
    agree,
    autocast,
    gather_rows,
    leave,
    make_accelerator,
    mean_metrics,
    micro_batches,
)
from training.loop.progress import Progress
from training.loop.run_folder import RunFolder, pack_state, unpack_state
from training.vae.card import describe
from training.vae.chunks import horizon_of, load_chunks, load_prior, vae_sizes
from training.vae.losses import DiagonalGaussian
from training.vae.model import ActionVae, VaeConfig
from training.vae.objective import VaeBatch, draw_batch, vae_loss
from training.vae.recipe import Recipe, recipe_of
from training.vae.reference import reset_weights
from training.vae.schedule import Schedule
from training.vae.storage import StoredVae

PRIOR = "prior.sha256"
"""File of the run folder: which moments the latent is pulled to."""


@explain_memory("use --precision bf16, a smaller --batch, or fewer layers (--preset small)")
def train_vae(config: TrainVaeConfig) -> int:
    """Train one stage and write a run folder of checkpoints.

    Returns:
        0 when done, 130 when stopped by a signal (the run can be resumed).
    """
    torch.set_num_threads(config.threads)
    config = dataclasses.replace(config, horizon=horizon_of(config))
    accelerator = make_accelerator()
    device, recipe = accelerator.device, recipe_of(config)
    run = RunFolder.of(config, main=accelerator.is_main_process)

    # data and prior
    data = load_chunks(config, recipe)
    run.require_same_data(data.sha256())
    sizes = vae_sizes(config, recipe, data)
    stored = load_prior(config, data, sizes)
    prior = prior_of(stored, sizes.latent)
    require_same_prior(run, prior, config)

    # model
    vae = initial_vae(config, recipe, sizes, stored).to(device)
    schedule = Schedule(recipe=recipe, chunks=len(data.chunks), config=config)
    accelerator.print(memory_estimate(vae, average=False))
    optimizer = make_optimizer(vae, schedule.rate(0), config.weight_decay)
    network, _ = accelerator.prepare(vae, optimizer)
    generator = torch.Generator().manual_seed(config.seed)

    # loop
    step, steps, stopped = 0, config.steps, False
    if config.resume:
        step = unpack_state(run.load_state(), vae, optimizer, {"data": generator})
    (share,) = micro_batches(accelerator, config.batch, 1)
    label = f"stage {config.stage}"
    with Progress(run, label, step=step, steps=steps, log_every=config.log_every) as progress:
        while step < steps and not stopped:
            actions = data.chunks[schedule.rows(step, generator)]
            batch = draw_batch(actions, prior, recipe, generator).of(share, device)
            loss, metrics = loss_of(accelerator, network, batch, prior, recipe, config.precision)
            if not torch.isfinite(loss):
                run.refuse_loss(step + 1, loss, {"actions": actions})
            accelerator.backward(loss)
            apply_gradients(optimizer, vae, schedule.rate(step))
            step += 1
            if progress.is_due(step):
                progress.log(step, mean_metrics(accelerator, [{"loss": loss, **metrics}]))
            stopped = agree(accelerator, progress.signalled)
            if step % config.save_every == 0 or step == steps or stopped:
                state = pack_state(step, vae, optimizer, {"data": generator})
                run.save(step, describe(config, recipe, data, vae, step), state)
    leave(accelerator)
    return 0 if step >= steps else 130


def prior_of(stored: StoredVae | None, latent: int) -> DiagonalGaussian:
    """N(0, I), or stage 1's aggregate posterior: float32 on the CPU, where batches are drawn."""
    prior = DiagonalGaussian.standard(latent) if stored is None else stored.moments
    return prior.to(torch.device("cpu"))


def require_same_prior(run: RunFolder, prior: DiagonalGaussian, config: TrainVaeConfig) -> None:
    """Refuse to resume with the moments of another stage 1."""
    run.require_same(
        PRIOR,
        sha256_of(prior.mean, prior.variance),
        f"the prior of {config.prior}",
        "put back what it was, or choose another output",
        adopt=True,
    )


def loss_of(
    accelerator: Accelerator,
    network: nn.Module,
    batch: VaeBatch,
    prior: DiagonalGaussian,
    recipe: Recipe,
    precision: Precision,
) -> tuple[Tensor, dict[str, Tensor]]:
    """The loss of this process's chunks; its MMD looks at the z of all processes."""
    with autocast(precision, accelerator.device):
        outputs = network(batch.seen, batch.eps)
    all_z = gather_rows(accelerator, outputs[1])
    return vae_loss(outputs, batch, all_z, prior.to(accelerator.device), recipe)


def initial_vae(
    config: TrainVaeConfig, recipe: Recipe, sizes: VaeConfig, stored: StoredVae | None
) -> ActionVae:
    """The network before its first step: seeded, or stage 1's where that is asked for."""
    torch.manual_seed(config.seed)
    vae = ActionVae(sizes)
    if recipe.weights == "xavier":
        reset_weights(vae)
    if config.start_from_prior and stored is not None:
        vae.load_state_dict(stored.model.state_dict())
    return vae
