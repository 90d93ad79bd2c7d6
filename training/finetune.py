"""`ate finetune`: train a chunk policy on demonstrations, plain or steered by an action VAE.

Inference does not know about guidance: the VAE is used here and never stored with the policy.
"""

import dataclasses
from collections.abc import Mapping

import torch
from torch import Tensor

from ate_core.contract import parse_cell_text
from ate_policy.checkpoint import Checkpoint
from ate_policy.models.interface import ChunkModel
from ate_policy.policy import checkpoint_of
from ate_policy.transforms import ChunkTransform, Statistics
from training.configs.finetune import FinetuneConfig
from training.data.augmentation import make_augmentation
from training.data.dataset import Demonstrations, gather
from training.data.sampler import Batch, BatchSampler
from training.data.trajectory import read_trajectories
from training.loop.memory import explain_memory, memory_estimate
from training.loop.optimisation import (
    apply_gradients,
    average_weights,
    copy_weights,
    cosine_rate,
    make_optimizer,
)
from training.loop.policies import build_policy, horizon_of, policy_config
from training.loop.processes import (
    agree,
    autocast,
    leave,
    make_accelerator,
    mean_metrics,
    micro_batches,
    no_sync,
)
from training.loop.progress import Progress
from training.loop.run_folder import RunFolder, pack_state, saved_weights, unpack_state
from training.objectives.denoising import Objective
from training.objectives.guidance import GuidedRun


@explain_memory(
    "halve the forward pass with --optim.accumulate 2 (or 4), or use --precision bf16, "
    "--policy.gradient-checkpointing (pi0, rdt), a smaller --optim.batch, or train less of the "
    "network (pi0: --policy.train expert or lora)"
)
def finetune(config: FinetuneConfig) -> int:
    """Train a policy and write a run folder of checkpoints.

    Returns:
        0 when done, 130 when stopped by a signal (the run can be resumed).
    """
    torch.set_num_threads(config.threads)
    config = dataclasses.replace(config, horizon=horizon_of(config))
    recipe = config.recipe
    accelerator = make_accelerator()
    device, main = accelerator.device, accelerator.is_main_process
    run = RunFolder(
        config.output, config.record(), config.resume, upgrade=config.upgrade, main=main
    )
    accumulate = config.optim.accumulate
    shares = micro_batches(accelerator, recipe.observations, accumulate)

    # data
    trajectories = read_trajectories(config.episodes, config.demonstrations)
    built_from = policy_config(config, trajectories[0])
    data = gather(trajectories, built_from, image_memory_gb=config.images.memory_gb)
    statistics = data.statistics(config.actions, normalise=config.normalise)
    objective = make_objective(config, statistics, built_from.horizon, device)

    # model
    model = build_policy(config, built_from, data.contract).to(device)
    accelerator.print(memory_estimate(model, recipe.ema_decay > 0.0))
    optimizer = make_optimizer(model, recipe.learning_rate, recipe.weight_decay, recipe.betas)
    network, _ = accelerator.prepare(model, optimizer)
    averaged = copy_weights(model) if recipe.ema_decay else {}
    sampler = make_sampler(config, data, statistics, model)
    generators = {"data": sampler.generator, "guidance": objective.generator}

    # loop
    step, steps = 0, config.steps
    if config.resume:
        step = unpack_state(run.load_state(), model, optimizer, generators, averaged)
    label = f"finetune {config.policy_name} {config.guidance_name}"
    with Progress(
        run, label, step=step, steps=steps, log_every=config.log_every, log_to=config.log_to
    ) as progress:
        stopped = False
        while step < steps and not stopped:
            draw = sampler.draw()
            eps = objective.draw(len(draw.level))
            collected = []
            for micro_batch in shares:
                batch = sampler.load(draw, micro_batch, eps, device)
                with no_sync(accelerator, network, micro_batch):
                    with autocast(config.precision, device):
                        output = network(batch.noised.noisy, batch.noised.level, batch.inputs)
                    loss, metrics = loss_of(model, objective, output, batch, step)
                    if not torch.isfinite(loss):
                        run.refuse_loss(step + 1, loss, batch.tensors())
                    accelerator.backward(loss / accumulate)
                collected.append({"loss": loss, **metrics})
            rate = cosine_rate(
                recipe.learning_rate, step, steps, warmup=recipe.warmup, final=recipe.final_rate
            )
            norm = apply_gradients(optimizer, model, rate)
            step += 1
            average_weights(averaged, model, recipe.ema_decay, step)
            if progress.is_due(step):
                metrics = mean_metrics(accelerator, collected)
                progress.log(step, {**metrics, "gradient_norm": norm, "learning_rate": rate})
            stopped = agree(accelerator, progress.signalled)
            if step % config.save_every == 0 or step == steps or stopped:
                state = pack_state(step, model, optimizer, generators, averaged)
                weights = saved_weights(model, averaged)
                if main:  # every process helps to collect; describing hashes all data
                    run.save(step, describe(config, data, statistics, model, weights, step), state)
    leave(accelerator)
    return 0 if step >= steps else 130


def loss_of(
    model: ChunkModel, objective: Objective, output: Tensor, batch: Batch, step: int
) -> tuple[Tensor, dict[str, Tensor]]:
    """The objective's loss over the entries that the layout has."""
    noised = dataclasses.replace(
        batch.noised,
        actions=model.extract(batch.noised.actions),
        noise=model.extract(batch.noised.noise),
    )
    return objective.loss(model.process.prediction, model.extract(output), noised, batch.eps, step)


def make_sampler(
    config: FinetuneConfig, data: Demonstrations, statistics: Statistics, model: ChunkModel
) -> BatchSampler:
    """Batches in the units of the policy."""
    augmentation = make_augmentation(
        config.augmentation,
        parse_cell_text(data.contract),
        model.config.cameras,
        config.images.shift,
    )
    return BatchSampler(
        data,
        ChunkTransform(statistics),
        model,
        batch=config.recipe.batch,
        draws=config.recipe.draws,
        input_noise=config.input_noise,
        augmentation=augmentation,
        seed=config.seed,
    )


def make_objective(
    config: FinetuneConfig, statistics: Statistics, horizon: int, device: torch.device
) -> Objective:
    """The objective of the chosen guidance mode."""
    return config.guidance.make_objective(
        GuidedRun(
            statistics=statistics,
            horizon=horizon,
            steps=config.steps,
            seed=config.seed,
            device=device,
        )
    )


def describe(
    config: FinetuneConfig,
    data: Demonstrations,
    statistics: Statistics,
    model: ChunkModel,
    weights: Mapping[str, Tensor],
    step: int,
) -> Checkpoint:
    """The checkpoint of this moment, with its model card."""
    training = config.record()
    guidance = {key: value for key, value in training["guidance"].items() if key != "name"}
    steered = "".join(f", {key} {value}" for key, value in guidance.items())
    training |= {"step": step, "task": data.task}
    training |= {"demonstration_count": data.episodes, "ticks": len(data)}
    training |= {"data_sha256": data.sha256()}
    training |= {"instructions": sorted(set(data.instructions))}
    parameters = sum(p.numel() for p in model.parameters())
    reads = model.config
    card = f"""# {config.policy_name} policy: {data.task or "unnamed task"}

| | |
|---|---|
| input | {config.variant}: {"object poses" if reads.objects else ", ".join(reads.cameras)} |
| output | chunks of {reads.horizon} {config.actions} actions |
| parameters | {parameters / 1e6:.2f} M, preset {config.policy.preset} |
| started from | {config.init or "random weights"} |
| demonstrations | {data.episodes} ({len(data)} ticks) |
| steps | {step} of {config.steps}, seed {config.seed} |
| guidance | {config.guidance_name}{steered} |

Trained for the cell in `contract.yaml`; a cell with another layout is refused. The weights are
{"averages over training steps" if config.recipe.ema_decay else "those of the last step"}. Load
with `ate_policy.policy.load_policy`; `config.json` holds every setting of the run.
"""
    return checkpoint_of(
        config.policy_name,
        model.config,
        weights=weights,
        statistics=statistics,
        contract=data.contract,
        training=training,
        card=card,
    )
