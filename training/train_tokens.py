"""`ate train-tokens`: chunks of one arm as a few codes of a codebook, and back."""

import dataclasses

import torch
from torch import Tensor, nn

from ate_policy.models.action_tokens import ActionTokens, ActionTokensConfig
from training.clap.card import describe
from training.clap.chunks import horizon_of, load_token_data
from training.clap.kmeans import kmeans
from training.clap.objective import token_loss
from training.clap.recipe import TokenRecipe, recipe_of
from training.clap.restart import restart_codes
from training.configs.train_tokens import TrainTokensConfig
from training.loop.memory import explain_memory, memory_estimate
from training.loop.optimisation import Special, apply_gradients, cosine_rate, make_optimizer
from training.loop.processes import (
    agree,
    autocast,
    leave,
    make_accelerator,
    mean_metrics,
    micro_batches,
)
from training.loop.progress import Progress
from training.loop.run_folder import RunFolder, pack_state, unpack_state

REDRAWS = 32
"""Times that a chunk which stands still is drawn anew (released)."""
START_CHUNKS = 4096
"""Chunks whose encodings the codes begin among."""
FINAL_SHARE = 0.1
"""Of the learning rate, at the last step (Table IX)."""


@explain_memory("use --precision bf16, a smaller --batch, or fewer layers (--preset small)")
def train_tokens(config: TrainTokensConfig) -> int:
    """Train action tokens and write a run folder of checkpoints.

    Returns:
        0 when done, 130 when stopped by a signal (the run can be resumed).
    """
    torch.set_num_threads(config.threads)
    config = dataclasses.replace(config, horizon=horizon_of(config))
    accelerator = make_accelerator()
    device, recipe = accelerator.device, recipe_of(config)
    run = RunFolder.of(config, main=accelerator.is_main_process)

    # data
    data = load_token_data(config)
    run.require_same_data(data.sha256())
    chunks = data.normalised()[~data.held_out].flatten(0, 1)  # (M, H, D): each arm on its own
    still = data.still[~data.held_out].flatten()

    # model
    generator = torch.Generator().manual_seed(config.seed)
    model = initial_tokens(config, recipe, chunks, generator).to(device)
    accelerator.print(memory_estimate(model, average=False))
    optimizer = make_optimizer(
        model, config.peak_rate, config.weight_decay, special=special_rates(model, recipe)
    )
    network, _ = accelerator.prepare(model, optimizer)

    # loop
    step, steps, stopped = 0, config.steps, False
    if config.resume:
        step = unpack_state(run.load_state(), model, optimizer, {"data": generator})
    (share,) = micro_batches(accelerator, config.batch, 1)
    with Progress(run, "tokens", step=step, steps=steps, log_every=config.log_every) as progress:
        while step < steps and not stopped:
            rows = draw_rows(still, config.batch, recipe, generator)
            actions = share.of(chunks[rows]).to(device)
            with autocast(config.precision, device):
                outputs = network(actions)
            loss, metrics = token_loss(outputs, actions, recipe)
            if not torch.isfinite(loss):
                run.refuse_loss(step + 1, loss, {"actions": actions})
            accelerator.backward(loss)
            apply_gradients(optimizer, model, rate_of(config, step))
            step += 1
            model.codebook.count(accelerator.gather(outputs[3]))
            used = (model.codebook.usage > 0).float().mean()  # since the last restart
            if step % config.restart_every == 0:
                pool = accelerator.gather(outputs[1].detach()).flatten(0, 1).float()
                restart_codes(model.codebook, recipe.restart, pool, generator)
            if progress.is_due(step):
                logged = {"loss": loss, **metrics, "used": used}
                progress.log(step, mean_metrics(accelerator, [logged]))
            stopped = agree(accelerator, progress.signalled)
            if step % config.save_every == 0 or step == steps or stopped:
                state = pack_state(step, model, optimizer, {"data": generator})
                run.save(step, describe(config, recipe, data, model, step), state)
    leave(accelerator)
    return 0 if step >= steps else 130


def token_sizes(config: TrainTokensConfig, data_shape: torch.Size) -> ActionTokensConfig:
    """Sizes of the network for chunks of a shape (M, H, D)."""
    return ActionTokensConfig(
        horizon=data_shape[1], action_size=data_shape[2], space=config.space, **config.sizes()
    )


def initial_tokens(
    config: TrainTokensConfig, recipe: TokenRecipe, chunks: Tensor, generator: torch.Generator
) -> ActionTokens:
    """The network before its first step; its codes lie among its encodings where asked for."""
    torch.manual_seed(config.seed)
    model = ActionTokens(token_sizes(config, chunks.shape))
    if recipe.book_start == "kmeans":
        rows = torch.randint(len(chunks), (START_CHUNKS,), generator=generator)
        with torch.no_grad():
            z_e = model.embed_chunks(chunks[rows]).flatten(0, 1)
            model.codebook.codes.copy_(kmeans(z_e, config.codebook, generator))
    return model


def special_rates(model: ActionTokens, recipe: TokenRecipe) -> tuple[Special, ...]:
    """What learns at the codes' rate and without decay, chosen by module."""
    parts: list[nn.Module] = [model.codebook]
    if recipe.book_group == "codebook and maps":
        parts += [model.down, model.up]
    return tuple(Special(module=part, multiplier=recipe.book_rate) for part in parts)


def rate_of(config: TrainTokensConfig, step: int) -> float:
    """The network's learning rate in a step."""
    peak, warmup = config.peak_rate, min(config.warmup, config.steps // 2)
    return cosine_rate(peak, step, config.steps, warmup=warmup, final=FINAL_SHARE * peak)


def draw_rows(
    still: Tensor, count: int, recipe: TokenRecipe, generator: torch.Generator
) -> Tensor:
    """Rows (count,) of the chunks of a step.

    Args:
        still: (M,) whether a chunk stands still.
        count: Chunks per step.
        recipe: Whether these are drawn anew.
        generator: Of the draws.
    """
    rows = torch.randint(len(still), (count,), generator=generator)
    for _ in range(REDRAWS if recipe.still == "redraw" else 0):
        again = still[rows]
        if not again.any():
            break
        rows[again] = torch.randint(len(still), (int(again.sum()),), generator=generator)
    return rows
