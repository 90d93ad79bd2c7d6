"""`ate finetune`: train a chunk policy on demonstrations, plain or steered by an action VAE.

Inference does not know about guidance: the VAE is used here and never stored with the policy.
"""

import dataclasses
from collections.abc import Mapping
from typing import Any

import torch
from accelerate import Accelerator
from torch import Tensor, nn

from ate_core.contract import parse_cell_text
from ate_policy.checkpoint import Checkpoint
from ate_policy.models.interface import ChunkModel, Scored
from ate_policy.models.registry import entry_of
from ate_policy.policy import checkpoint_of
from ate_policy.transforms import ChunkTransform, Statistics
from training.clap.writing import WritingRun, prepare_writing
from training.configs.finetune import FinetuneConfig
from training.data.augmentation import Augmentation, make_augmentation
from training.data.dataset import Demonstrations
from training.data.micro_batch import MicroBatch
from training.data.sampler import Batch, BatchSampler
from training.loop.codes import CodesOfRun, Recall, codes_of_run, make_recall
from training.loop.initial_policy import keep_initial
from training.loop.memory import explain_memory, memory_estimate
from training.loop.opened import Opened, open_run
from training.loop.optimisation import (
    apply_gradients,
    average_weights,
    copy_weights,
    cosine_rate,
    make_optimizer,
)
from training.loop.policies import build_policy
from training.loop.processes import agree, autocast, leave, mean_metrics, no_sync
from training.loop.progress import Progress
from training.loop.run_folder import RunFolder, pack_state, saved_weights, unpack_state
from training.objectives.clean_latents import clean_latents
from training.objectives.denoising import Objective, Spoken
from training.objectives.guidance import GuidedRun


@dataclasses.dataclass(frozen=True, kw_only=True)
class Run:
    """What a run of `ate finetune` trains, on what, and where it writes."""

    config: FinetuneConfig
    accelerator: Accelerator
    folder: RunFolder
    data: Demonstrations
    statistics: Statistics
    seeds_before: dict[str, list[int]]
    """Simulated starts that the weights knew before the run, by task."""
    objective: Objective
    model: ChunkModel
    network: nn.Module
    """The model, as the processes of the run share it."""
    initial: ChunkModel | None
    """The model before the first step, frozen, for a loss that compares with it."""
    recall: Recall | None
    """Brings observations of other episodes beside the batches; None: there are none."""
    optimizer: torch.optim.Optimizer
    averaged: dict[str, Tensor]
    """Averaged weights; empty: there are none."""
    sampler: BatchSampler
    shares: list[MicroBatch]
    """Forward passes of this process in one optimiser step."""

    @property
    def generators(self) -> dict[str, torch.Generator]:
        """Everything that draws, by name."""
        recall = {} if self.recall is None else {"recall": self.recall.generator}
        return {
            "data": self.sampler.generator,
            "guidance": self.objective.generator,
            **recall,
        }

    @property
    def output(self) -> str:
        """What the network gives, for the model card."""
        return f"chunks of {self.model.config.horizon} {self.config.space} actions"

    @property
    def about(self) -> dict[str, Any]:
        """More on the run, for the checkpoint's record."""
        return {}

    def add_gradients(self, step: int) -> list[dict[str, Tensor]]:
        """Forward and backward passes of one optimiser step; returns the metrics of each."""
        return add_gradients(self, step)


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
    run = prepare(config)
    step = 0
    if config.resume:
        state = run.folder.load_state()
        step = unpack_state(state, run.model, run.optimizer, run.generators, run.averaged)
    step = train(run, step)
    leave(run.accelerator)
    return 0 if step >= config.steps else 130


def prepare(config: FinetuneConfig) -> Run | WritingRun:
    """Folder, data and network of a run, in this order: what is cheap is refused first.

    Args:
        config: As given; that of the run has what was inherited and chosen.
    """
    opened = open_run(config)
    if entry_of(config.policy)[1].writes:
        return prepare_writing(opened)
    return prepare_denoising(opened)


def prepare_denoising(opened: Opened) -> Run:
    """Objective and network of a run that learns to denoise chunks."""
    config, accelerator, folder = opened.config, opened.accelerator, opened.folder
    data, statistics, built_from = opened.data, opened.statistics, opened.built_from
    recipe, device = config.recipe, accelerator.device
    objective = make_objective(config, data, statistics, built_from.horizon, device)
    codes = codes_of_run(config, built_from, data, statistics, folder, device)

    model = build_policy(config, built_from, data.contract).to(device)
    assert isinstance(model, ChunkModel)
    if codes is None:
        model.keep_codes()
    initial = keep_initial(config, model, folder)
    kept = initial is not None or (codes is not None and codes.reference is not None)
    accelerator.print(memory_estimate(model, recipe.ema_decay > 0.0, kept))
    optimizer = make_optimizer(model, recipe.learning_rate, recipe.weight_decay, recipe.betas)
    network, _ = accelerator.prepare(model, optimizer)
    augmentation = make_augmentation(
        config.augmentation,
        parse_cell_text(data.contract),
        model.config.cameras,
        config.images.shift,
    )
    return Run(
        config=config,
        accelerator=accelerator,
        folder=folder,
        data=data,
        statistics=statistics,
        seeds_before=opened.seeds_before,
        objective=objective if codes is None else codes.around(objective),
        model=model,
        network=network,
        initial=initial,
        recall=make_recall(config, codes, statistics, model, augmentation),
        optimizer=optimizer,
        averaged=copy_weights(model) if recipe.ema_decay else {},
        sampler=make_sampler(
            config, data, statistics, model, objective, augmentation, codes, device
        ),
        shares=opened.shares,
    )


def train(run: Run | WritingRun, step: int) -> int:
    """Train from a step on; returns the step at which the run ended or was stopped."""
    config, recipe, steps = run.config, run.config.recipe, run.config.steps
    label = f"finetune {config.policy_name} {config.guidance_name}"
    with Progress(
        run.folder, label, step=step, steps=steps, log_every=config.log_every, log_to=config.log_to
    ) as progress:
        stopped = False
        while step < steps and not stopped:
            metrics = run.add_gradients(step)
            rate = cosine_rate(
                recipe.learning_rate, step, steps, warmup=recipe.warmup, final=recipe.final_rate
            )
            norm = apply_gradients(run.optimizer, run.model, rate)
            step += 1
            average_weights(run.averaged, run.model, recipe.ema_decay, step)
            if progress.is_due(step):
                means = mean_metrics(run.accelerator, metrics)
                progress.log(step, {**means, "gradient_norm": norm, "learning_rate": rate})
            stopped = agree(run.accelerator, progress.signalled)
            if step % config.save_every == 0 or step == steps or stopped:
                save(run, step)
    return step


def add_gradients(run: Run, step: int) -> list[dict[str, Tensor]]:
    """Forward and backward passes of one optimiser step; returns the metrics of each."""
    config, device = run.config, run.accelerator.device
    draw = run.sampler.draw()
    old = None if run.recall is None else run.recall.draw()
    eps = run.objective.draw(len(draw.level))
    collected = []
    for micro_batch in run.shares:
        batch = run.sampler.load(draw, micro_batch, eps, device)
        if run.recall is not None and old is not None:
            batch = run.recall.beside(batch, old, micro_batch, device)
        with no_sync(run.accelerator, run.network, micro_batch):
            with autocast(config.precision, device):
                output = run.network(batch.noised.noisy, batch.noised.level, batch.inputs)
                batch = compared(batch, run.initial)
            loss, metrics = loss_of(run.model, run.objective, output, batch, step)
            if not torch.isfinite(loss):
                run.folder.refuse_loss(step + 1, loss, batch.tensors())
            run.accelerator.backward(loss / len(run.shares))
        collected.append({"loss": loss, **metrics})
    return collected


def save(run: Run | WritingRun, step: int) -> None:
    """Write a checkpoint and all that an exact resume needs.

    Every process helps to collect; describing hashes all data, so that one does it.
    """
    state = pack_state(step, run.model, run.optimizer, run.generators, run.averaged)
    weights = saved_weights(run.model, run.averaged)
    if run.folder.main:
        run.folder.save(step, describe(run, weights, step), state)


def compared(batch: Batch, initial: ChunkModel | None) -> Batch:
    """The batch with what the initial policy predicts of it, where one is asked."""
    if initial is None:
        return batch
    with torch.no_grad():
        reference = initial(batch.noised.noisy, batch.noised.level, batch.inputs)
    return dataclasses.replace(
        batch, noised=dataclasses.replace(batch.noised, reference=reference)
    )


def loss_of(
    model: ChunkModel, objective: Objective, output: Tensor | Scored, batch: Batch, step: int
) -> tuple[Tensor, dict[str, Tensor]]:
    """The objective's loss over the entries that the layout has.

    Rows that were given clean are no prediction: the batch's weights leave them out.
    """
    output, spoken = heard(output, batch)
    noised = dataclasses.replace(
        batch.noised,
        actions=model.extract(batch.noised.actions),
        noise=model.extract(batch.noised.noise),
    )
    if noised.reference is not None:
        noised = dataclasses.replace(noised, reference=model.extract(noised.reference))
    output, prediction = model.extract(output), model.process.prediction
    return objective.loss(prediction, output, noised, batch.eps, step, batch.weight, spoken)


def heard(output: Tensor | Scored, batch: Batch) -> tuple[Tensor, Spoken | None]:
    """A network's chunks, and what the objective is told besides, by argument."""
    if not isinstance(output, Scored):
        return output, None
    asked = batch.inputs if batch.inputs.recalled is None else batch.inputs.recalled
    spoken = Spoken(logits=output.logits, codes=output.codes, inputs=asked)
    return output.chunk, spoken


def make_sampler(
    config: FinetuneConfig,
    data: Demonstrations,
    statistics: Statistics,
    model: ChunkModel,
    objective: Objective,
    augmentation: Augmentation | None,
    codes: CodesOfRun | None,
    device: torch.device,
) -> BatchSampler:
    """Batches in the units of the policy, with the latents of their chunks where some are kept."""
    transform, recipe = ChunkTransform(statistics), config.recipe
    return BatchSampler(
        data,
        transform,
        model,
        batch=recipe.batch,
        draws=recipe.draws,
        input_noise=config.input_noise,
        augmentation=augmentation,
        latents=clean_latents(
            objective, data, transform, uses=config.steps * recipe.batch, device=device
        ),
        codes=None if codes is None else codes.of_chunks,
        seed=config.seed,
    )


def make_objective(
    config: FinetuneConfig,
    data: Demonstrations,
    statistics: Statistics,
    horizon: int,
    device: torch.device,
) -> Objective:
    """The objective of the chosen guidance mode."""
    return config.guidance.make_objective(
        GuidedRun(
            statistics=statistics,
            horizon=horizon,
            layout=parse_cell_text(data.contract).layout,
            motion_sha256=data.motion_sha256(),
            steps=config.steps,
            seed=config.seed,
            device=device,
        )
    )


def describe(run: Run | WritingRun, weights: Mapping[str, Tensor], step: int) -> Checkpoint:
    """The checkpoint of this moment, with its model card."""
    config, data, reads = run.config, run.data, run.model.config
    training = config.record()
    guidance = {key: value for key, value in training["guidance"].items() if key != "name"}
    steered = "".join(f", {key} {value}" for key, value in guidance.items())
    training |= {"step": step, "task": data.task, "object_names": list(data.object_names)}
    training |= {"demonstration_count": data.episodes, "ticks": len(data)}
    training |= {"data_sha256": data.sha256(), **run.about}
    training |= {"instructions": sorted(set(data.instructions))}
    training |= {"seeds": sorted({seed for seed in data.seeds if seed >= 0})}
    training |= {"seeds_before": run.seeds_before}
    parameters = sum(p.numel() for p in run.model.parameters())
    gate = f", {config.gate}" if str(config.gate) else ""
    told = f"{data.imitation}, weight {config.correction_weight:g}" if data.imitation.own else ""
    corrections = f"| corrections | {told} |\n" if told else ""
    held = f"| knowledge | {config.matching} |\n" if config.matching.holds else ""
    card = f"""# {config.policy_name} policy: {data.task or "unnamed task"}

| | |
|---|---|
| input | {config.variant}: {"object poses" if reads.objects else ", ".join(reads.cameras)} |
| output | {run.output} |
| parameters | {parameters / 1e6:.2f} M, preset {config.policy.preset} |
| started from | {config.init or "random weights"} |
| statistics | {"as there" if config.statistics == "init" else "of the demonstrations"} |
| demonstrations | {data.episodes} ({len(data)} ticks{gate}) |
{corrections}{held}| steps | {step} of {config.steps}, seed {config.seed} |
| guidance | {config.guidance_name}{steered} |

Trained for the cell in `contract.yaml`; a cell with another layout is refused. The weights are
{"averages over training steps" if config.recipe.ema_decay else "those of the last step"}. Load
with `ate_policy.policy.load_policy`; `config.json` holds every setting of the run.
"""
    return checkpoint_of(
        config.policy_name,
        run.model.config,
        weights=weights,
        statistics=run.statistics,
        contract=data.contract,
        training=training,
        card=card,
    )
