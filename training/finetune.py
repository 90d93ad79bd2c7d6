"""`ate finetune`: train a chunk policy on demonstrations, plain or steered by an action VAE.

Inference does not know about guidance: the VAE is used here and never stored with the policy.
"""

import dataclasses
import json
import math
import time

import torch
from rich.progress import Progress
from torch import Tensor

from ate_core.contract import parse_cell_text
from ate_core.errors import TrainingError
from ate_policy.checkpoint import Checkpoint, load_checkpoint
from ate_policy.images import images_to_tensor
from ate_policy.models.flow_policy import FlowPolicy, FlowPolicyConfig
from ate_policy.policy import FLOW_POLICY, checkpoint_of
from ate_policy.transforms import ChunkTransform, Statistics
from training.configs.finetune import FinetuneConfig
from training.data.dataset import Demonstrations, gather, read_trajectories
from training.objectives.flow import draw_noise
from training.objectives.latent_guidance import (
    Guidance,
    LatentMetric,
    PaperGuidance,
    PlainFlow,
    ShiftBounds,
)
from training.run_folder import RunFolder, pack_state, stop_on_signal, unpack_state
from training.vae.storage import load_vae, require_same_space

DRAWS_PER_IMAGE = 8
"""Noisy chunks per observation of a vision policy: images cost more than chunks."""

GRADIENT_CLIP = 1.0
"""Largest gradient norm; only outliers reach it."""


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
    averaged = {name: value.detach().clone() for name, value in model.state_dict().items()}
    optimizer = torch.optim.AdamW(
        model.parameters(), lr=config.learning_rate, weight_decay=config.weight_decay, fused=True
    )

    # objective
    guidance = build_guidance(config, statistics)
    generators = {"data": sampler.generator, "guidance": guidance.generator}

    step = 0
    if config.resume:
        step = unpack_state(run.load_state(), model, optimizer, generators, averaged)

    def save() -> None:
        checkpoint = describe(config, data, statistics, model, averaged, step)
        run.save(step, checkpoint, pack_state(step, model, optimizer, generators, averaged))

    begin, first = time.monotonic(), step
    with stop_on_signal() as stop, Progress(transient=True) as progress:
        bar = progress.add_task(f"finetune {config.guidance}", total=config.steps, completed=step)
        while step < config.steps and not stop.is_set():
            set_learning_rate(optimizer, config, step)
            batch = sampler.draw()
            noisy = draw_noise(batch["actions"], sampler.generator)
            condition = model.condition(
                batch["state"], batch.get("environment"), batch.get("images")
            ).repeat_interleave(sampler.draws, dim=0)
            a_hat = model(noisy.noisy, noisy.tau, condition)
            loss, figures = guidance.loss(a_hat, noisy)
            if not torch.isfinite(loss):
                file = run.save_batch({**batch, "noisy": noisy.noisy, "tau": noisy.tau})
                raise TrainingError(
                    f"loss is {loss.item()} at step {step + 1}: the batch is in {file}, the last "
                    "good checkpoint is untouched; lower learning_rate or guidance_strength"
                )
            optimizer.zero_grad()
            loss.backward()
            norm = torch.nn.utils.clip_grad_norm_(model.parameters(), GRADIENT_CLIP)
            optimizer.step()
            step += 1
            average_weights(averaged, model, config.ema_decay, step)

            if step % config.log_every == 0 or step == config.steps:
                rate = (step - first) / (time.monotonic() - begin)
                figures = {"loss": loss.detach(), "gradient_norm": norm, **figures}
                run.log(step, {k: float(v) for k, v in figures.items()} | {"steps_per_s": rate})
                progress.update(bar, completed=step, description=f"loss {loss.item():.4f}")
            if step % config.save_every == 0 and step < config.steps:
                save()
        save()
    return 0 if step >= config.steps else 130


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


class BatchSampler:
    """Random batches of normalised observations and chunks.

    Ticks are drawn with replacement from one generator, which also draws the noise of the flow:
    its state is all that a resumed run needs, and guidance does not touch it.
    """

    def __init__(
        self, data: Demonstrations, transform: ChunkTransform, config: FinetuneConfig
    ) -> None:
        self.generator = torch.Generator().manual_seed(config.seed)
        self.draws = DRAWS_PER_IMAGE if data.images is not None else 1
        self._count = max(1, config.batch // self.draws)
        self._noise = config.input_noise
        self._shift = config.image_shift
        self._states = transform.state.apply(data.states)
        self._actions = transform.action.apply(data.actions)
        self._windows = data.windows
        self._images = data.images
        self._environment = (
            None if data.environment is None else transform.environment.apply(data.environment)
        )

    def draw(self) -> dict[str, Tensor]:
        """Observations (B / draws, ...) and chunks (B, H, D)."""
        rows = torch.randint(len(self._states), (self._count,), generator=self.generator)
        chunks = self._actions[self._windows[rows]]
        batch = {
            "state": self._perturb(self._states[rows]),
            "actions": chunks.repeat_interleave(self.draws, dim=0),
        }
        if self._environment is not None:
            batch["environment"] = self._perturb(self._environment[rows])
        if self._images is not None:
            batch["images"] = self._shifted(images_to_tensor(self._images[rows]))
        return batch

    def _perturb(self, values: Tensor) -> Tensor:
        noise = torch.randn(values.shape, generator=self.generator)
        return values + self._noise * noise

    def _shifted(self, images: Tensor) -> Tensor:
        """Move each observation's images by one random offset; edges are repeated."""
        if self._shift == 0:
            return images
        reach = self._shift
        offsets = torch.randint(0, 2 * reach + 1, (len(images), 2), generator=self.generator)
        height, width = images.shape[-2:]
        padded = torch.nn.functional.pad(images.flatten(0, 1), (reach,) * 4, mode="replicate")
        padded = padded.unflatten(0, images.shape[:2])
        return torch.stack(
            [
                one[..., y : y + height, x : x + width]
                for one, (y, x) in zip(padded, offsets.tolist(), strict=True)
            ]
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


def set_learning_rate(optimizer: torch.optim.Optimizer, config: FinetuneConfig, step: int) -> None:
    """Cosine from the full rate to zero; a function of the step alone."""
    rate = config.learning_rate * 0.5 * (1.0 + math.cos(math.pi * step / config.steps))
    for group in optimizer.param_groups:
        group["lr"] = rate


@torch.no_grad()
def average_weights(
    averaged: dict[str, Tensor], model: FlowPolicy, decay: float, step: int
) -> None:
    """Exponential moving average; the decay grows at first, so that early noise is forgotten."""
    weight = 1.0 - min(decay, (1.0 + step) / (10.0 + step))
    values = model.state_dict()
    torch._foreach_lerp_(list(averaged.values()), [values[name] for name in averaged], weight)


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
