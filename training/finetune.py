"""`ate finetune`: train a chunk policy on demonstrations, plain or steered by an action VAE.

Inference does not know about guidance: the VAE is used here and never stored with the policy.
"""

import dataclasses
import json

import torch
from torch import Tensor

from ate_core.contract import parse_cell_text
from ate_core.errors import TrainingError
from ate_policy.checkpoint import Checkpoint, load_checkpoint
from ate_policy.models.flow_policy import FlowPolicy, FlowPolicyConfig
from ate_policy.policy import FLOW_POLICY, checkpoint_of
from ate_policy.transforms import ChunkTransform, Statistics
from training.configs.finetune import FinetuneConfig
from training.data.dataset import Demonstrations, gather, read_trajectories
from training.data.sampler import BatchSampler
from training.meter import Meter
from training.objectives.flow import FlowBatch, draw_noise
from training.objectives.latent_guidance import (
    Guidance,
    LatentMetric,
    PaperGuidance,
    PlainFlow,
    ShiftBounds,
)
from training.optimisation import (
    average_weights,
    copy_weights,
    cosine_rate,
    make_optimizer,
    take_step,
)
from training.run_folder import RunFolder, pack_state, unpack_state
from training.vae.storage import load_vae, require_same_space


def finetune(config: FinetuneConfig) -> int:
    """Train a policy and write a run folder of checkpoints.

    Returns:
        0 when done, 130 when stopped by a signal (the run can be resumed).
    """
    torch.set_num_threads(config.threads)
    run = RunFolder(config.output, config, config.resume)

    # data
    data = load_demonstrations(config)
    statistics = data.statistics()
    sampler = BatchSampler(data, ChunkTransform(statistics), config)

    # model
    torch.manual_seed(config.seed)
    model = build_policy(config, data)
    averaged = copy_weights(model)
    optimizer = make_optimizer(model, config.learning_rate, config.weight_decay)

    # objective
    guidance = build_guidance(config, statistics)
    generators = {"data": sampler.generator, "guidance": guidance.generator}

    # loop
    step, steps = 0, config.steps
    if config.resume:
        step = unpack_state(run.load_state(), model, optimizer, generators, averaged)
    label = f"finetune {config.guidance}"
    with Meter(run, label, step=step, steps=steps, log_every=config.log_every) as meter:
        while step < steps and not meter.stopped:
            batch = sampler.draw()
            noisy = draw_noise(batch["actions"], sampler.generator)
            a_hat = predict(model, batch, noisy)
            loss, figures = guidance.loss(a_hat, noisy)
            if not torch.isfinite(loss):
                run.refuse_loss(step + 1, loss, {**batch, "noisy": noisy.noisy, "tau": noisy.tau})
            rate = cosine_rate(config.learning_rate, step, steps)
            norm = take_step(optimizer, model, loss, rate)
            step += 1
            average_weights(averaged, model, config.ema_decay, step)
            meter.report(step, {"loss": loss, "gradient_norm": norm, **figures})
            if step % config.save_every == 0 or step == steps or meter.stopped:
                checkpoint = describe(config, data, statistics, model, averaged, step)
                run.save(
                    step, checkpoint, pack_state(step, model, optimizer, generators, averaged)
                )
    return 0 if step >= steps else 130


def predict(model: FlowPolicy, batch: dict[str, Tensor], noisy: FlowBatch) -> Tensor:
    """Clean chunks (B, H, D) that the network sees behind the noisy ones."""
    condition = model.condition(batch["state"], batch.get("environment"), batch.get("images"))
    draws = len(noisy.noisy) // len(condition)
    return model(noisy.noisy, noisy.tau, condition.repeat_interleave(draws, dim=0))


def load_demonstrations(config: FinetuneConfig) -> Demonstrations:
    """Read the episodes that the configuration names."""
    trajectories = read_trajectories(config.episodes, config.demonstrations)
    cameras = config.cameras or parse_cell_text(trajectories[0].contract).layout.cameras
    size = FlowPolicyConfig()
    return gather(
        trajectories,
        horizon=config.horizon,
        use_environment=config.variant == "state",
        cameras=cameras if config.variant == "vision" else (),
        image_size=(size.image_height, size.image_width),
    )


def build_policy(config: FinetuneConfig, data: Demonstrations) -> FlowPolicy:
    """A fresh network, or the pre-trained one of `init`."""
    layout = parse_cell_text(data.contract).layout
    cameras = config.cameras or layout.cameras
    sizes = FlowPolicyConfig(
        horizon=config.horizon,
        action_size=layout.action.size,
        state_size=layout.state.size,
        objects=data.objects,
        cameras=cameras if config.variant == "vision" else (),
    )
    model = FlowPolicy(sizes)
    if config.init is not None:
        pretrained = load_checkpoint(config.init, parse_cell_text(data.contract), FLOW_POLICY)
        stored = FlowPolicyConfig(**pretrained.model)
        if stored != sizes:
            differing = [
                f"{f.name} {getattr(stored, f.name)} against {getattr(sizes, f.name)}"
                for f in dataclasses.fields(sizes)
                if getattr(stored, f.name) != getattr(sizes, f.name)
            ]
            raise TrainingError(
                f"{config.init} has other sizes than this run: {'; '.join(differing)}"
            )
        model.load_state_dict(dict(pretrained.weights))
    return model


def build_guidance(config: FinetuneConfig, statistics: Statistics) -> Guidance:
    """The objective of the chosen guidance mode."""
    if config.guidance == "none":
        return PlainFlow()
    vae = load_vae(config.vae)
    require_same_space(vae, statistics, config.horizon)
    if config.guidance == "latent_metric":
        return LatentMetric(vae.model, config.guidance_strength, config.seed)
    bounds = ShiftBounds(
        strength=config.guidance_strength,
        tau_floor=config.guidance_tau_floor,
        cap=config.guidance_cap,
    )
    return PaperGuidance(vae.model, bounds, config.seed)


def describe(
    config: FinetuneConfig,
    data: Demonstrations,
    statistics: Statistics,
    model: FlowPolicy,
    averaged: dict[str, Tensor],
    step: int,
) -> Checkpoint:
    """The checkpoint of this moment, with its model card."""
    training = json.loads(json.dumps(dataclasses.asdict(config), default=str))
    training |= {"step": step, "task": data.task}
    training |= {"demonstration_count": data.episodes, "ticks": len(data)}
    parameters = sum(p.numel() for p in model.parameters())
    card = f"""# Flow policy: {data.task or "unnamed task"}

| | |
|---|---|
| input | {config.variant}: {"object poses" if data.objects else ", ".join(model.config.cameras)} |
| output | chunks of {config.horizon} actions |
| parameters | {parameters / 1e6:.2f} M |
| demonstrations | {data.episodes} ({len(data)} ticks) |
| steps | {step} of {config.steps}, seed {config.seed} |
| guidance | {config.guidance} |

Trained for the cell in `contract.yaml`; a cell with another layout is refused. The weights are
averages over training steps. Load with `ate_policy.policy.load_policy`.
"""
    return checkpoint_of(
        model,
        weights=averaged,
        statistics=statistics,
        contract=data.contract,
        training=training,
        card=card,
    )
