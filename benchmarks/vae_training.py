"""Time a training step of the action VAE against a trainer with the released one's structure.

    python benchmarks/vae_training.py                       # paper's pi0 configuration, minutes
    python benchmarks/vae_training.py --steps 3 --batch 8   # a quick look

The baseline is written from scratch: the plain network of `plain_vae.py` (unfused attention with
key-padding masks, full cross-attention, all tokens through all layers), a DataLoader with worker
processes, `torch.distributions`, kernels from expanded differences, three `.item()` per step and
AdamW without its fused kernel. Both start from the same weights and see the same chunks and noise
in the same order; the losses must then be equal up to rounding. Each trainer lives in a process
of its own, they take turns step by step. Both clip gradients, which the released code does not,
so that they stay comparable.
"""

import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass
from multiprocessing.connection import Connection
from pathlib import Path

import torch
import tyro
from plain_vae import PlainVae, copy_weights
from torch import Tensor
from torch.distributions import Normal, kl_divergence
from torch.multiprocessing import get_context
from torch.utils.data import DataLoader, Dataset

from training.loop.memory import keep_freed_memory
from training.loop.optimisation import GRADIENT_CLIP, apply_gradients, make_optimizer
from training.vae.losses import KERNEL_VARIANCE, DiagonalGaussian
from training.vae.model import ActionVae, VaeConfig
from training.vae.objective import draw_batch, vae_loss
from training.vae.recipe import Recipe

TARGETS = {"fp32": 1.6, "bf16": 2.5}
"""Speed-ups that are asked of us."""
RATE, WEIGHT_DECAY = 1e-4, 1e-4


@dataclass(frozen=True, kw_only=True)
class BenchmarkConfig:
    """Time training steps of the action VAE; defaults: the paper's configuration for pi0."""

    steps: int = 4
    """Timed steps of each trainer, after one that is not timed."""
    batch: int = 64
    """Chunks per step."""
    horizon: int = 50
    """Actions per chunk."""
    action_size: int = 32
    """Numbers per action."""
    width: int = 512
    """Width and latent."""
    layers: int = 9
    """Layers of encoder and of decoder."""
    threads: int = 1
    """CPU threads of each trainer."""
    workers: int = 4
    """Worker processes of the baseline's DataLoader; the released trainer has 4."""


class Windows(Dataset[Tensor]):
    """Chunks cut from one long recording."""

    def __init__(self, rows: Tensor, horizon: int) -> None:
        self.rows, self.horizon = rows, horizon

    def __len__(self) -> int:
        return len(self.rows) - self.horizon + 1

    def __getitem__(self, index: int) -> Tensor:
        return self.rows[index : index + self.horizon].clone()


class BaselineTrainer:
    """Structure of the released trainer."""

    def __init__(self, vae: ActionVae, data: Windows, order: Tensor, workers: int) -> None:
        self.model = PlainVae(vae.config)
        copy_weights(vae, self.model)
        self.optimizer = torch.optim.AdamW(
            self.model.parameters(), lr=RATE, weight_decay=WEIGHT_DECAY
        )
        self.generator = torch.Generator().manual_seed(0)
        self.batches = iter(DataLoader(data, batch_sampler=order.tolist(), num_workers=workers))

    def step(self, _: int) -> float:
        """One step; returns the loss."""
        actions = next(self.batches).float()
        count, horizon, _ = actions.shape
        lengths = torch.tensor([horizon] * count)
        padded = torch.arange(horizon).expand(count, horizon) >= lengths[:, None]
        latent = self.model.config.latent
        eps = torch.randn(count, latent, generator=self.generator)
        a_hat, z, mean, log_variance = self.model(actions, padded, eps)
        standard = Normal(torch.zeros_like(mean), torch.ones_like(mean))
        posterior = Normal(mean, log_variance.exp().pow(0.5))
        samples = torch.randn(count, latent, generator=self.generator)
        reconstruction = torch.nn.functional.smooth_l1_loss(a_hat, actions)
        kl = kl_divergence(posterior, standard).mean()
        mmd = expanded_mmd(z, samples)
        loss = reconstruction + Recipe().weight_kl * kl + mmd
        if torch.isnan(loss) or torch.isinf(loss):
            raise ArithmeticError("the baseline's loss is not finite")
        loss.backward()
        torch.nn.utils.clip_grad_norm_(self.model.parameters(), GRADIENT_CLIP)
        self.optimizer.step()
        self.optimizer.zero_grad()
        kl.item(), mmd.item()
        return loss.item()


class OurTrainer:
    """The loop body of `ate train-vae`."""

    def __init__(self, vae: ActionVae, data: Windows, order: Tensor, precision: str) -> None:
        keep_freed_memory()
        self.model = ActionVae(vae.config)
        self.model.load_state_dict(vae.state_dict())
        self.optimizer = make_optimizer(self.model, RATE, WEIGHT_DECAY)
        self.generator = torch.Generator().manual_seed(0)
        self.chunks = data.rows.unfold(0, data.horizon, 1).transpose(1, 2)
        self.order, self.precision = order, precision
        self.prior = DiagonalGaussian.standard(vae.latent)

    def step(self, index: int) -> float:
        """One step; returns the loss."""
        actions = self.chunks[self.order[index]]
        batch = draw_batch(actions, self.prior, Recipe(), self.generator)
        with torch.autocast("cpu", torch.bfloat16, enabled=self.precision == "bf16"):
            outputs = self.model(batch.seen, batch.eps)
        loss, _ = vae_loss(outputs, batch, outputs[1], self.prior, Recipe())
        if not torch.isfinite(loss):
            raise ArithmeticError("our loss is not finite")
        loss.backward()
        apply_gradients(self.optimizer, self.model, RATE)
        return loss.item()


def expanded_mmd(z: Tensor, samples: Tensor) -> Tensor:
    """The same unbiased MMD as `training.vae.losses.mmd`, from (B, B, L) differences."""
    count, size = z.shape
    scale = 2.0 * size * KERNEL_VARIANCE

    def kernel(x: Tensor, y: Tensor) -> Tensor:
        x, y = x[None].expand(count, count, size), y[:, None].expand(count, count, size)
        return scale / (scale + (x - y).pow(2).sum(-1))

    others = 1.0 - torch.eye(count)
    own = [(kernel(x, x) * others).sum() / others.sum() for x in (z, samples)]
    return own[0] + own[1] - 2.0 * kernel(samples, z).mean()


@dataclass(frozen=True)
class Step:
    """One measured step."""

    loss: float
    """Of the trainer."""
    wall: float
    """Duration [s]."""
    busy: float
    """Time of the processor in it, without the baseline's workers [s]."""


def main(config: BenchmarkConfig) -> None:
    """Take turns, then print medians, ratios and the difference of the loss curves."""
    turns = {name: start_trainer(name, config) for name in ("baseline", "fp32", "bf16")}
    steps: dict[str, list[Step]] = {name: [] for name in turns}
    for index in range(config.steps + 1):
        for name, take in turns.items():
            steps[name].append(take(index))
        print(f"step {index}: " + ", ".join(f"{n} {steps[n][-1].wall:.2f} s" for n in turns))
    print_result(config, steps)


def start_trainer(name: str, config: BenchmarkConfig) -> Callable[[int], Step]:
    """Start a process that waits for its turns."""
    context = get_context("spawn")
    here, there = context.Pipe()
    context.Process(target=serve_steps, args=(name, config, there)).start()

    def take(index: int) -> Step:
        here.send(index)
        step: Step = here.recv()
        return step

    return take


def serve_steps(name: str, config: BenchmarkConfig, turns: Connection) -> None:
    """Train one step per turn; the same weights, chunks and order in every process."""
    torch.set_num_threads(config.threads)
    torch.manual_seed(0)
    vae = ActionVae(sizes(config))
    walk = torch.randn(4000, config.action_size).cumsum(0)
    data = Windows((walk - walk.mean(0)) / walk.std(0), config.horizon)
    order = torch.randint(len(data), (config.steps + 1, config.batch))
    trainer: BaselineTrainer | OurTrainer
    if name == "baseline":
        trainer = BaselineTrainer(vae, data, order, config.workers)
    else:
        trainer = OurTrainer(vae, data, order, name)
    for _ in range(config.steps + 1):
        index = turns.recv()
        begin, begin_busy = time.perf_counter(), time.process_time()
        loss = trainer.step(index)
        turns.send(Step(loss, time.perf_counter() - begin, time.process_time() - begin_busy))


def sizes(config: BenchmarkConfig) -> VaeConfig:
    """The network that is timed."""
    return VaeConfig(
        horizon=config.horizon,
        action_size=config.action_size,
        latent=config.width,
        width=config.width,
        encoder_layers=config.layers,
        decoder_layers=config.layers,
        feedforward=2 * config.width,
        latent_head="norm",
    )


def print_result(config: BenchmarkConfig, steps: dict[str, list[Step]]) -> None:
    """Medians over the timed steps; ratios are medians of the ratio within a round."""
    print(
        f"\n{processor()}; {config.threads} thread(s), batch {config.batch}, {config.steps} steps"
    )
    print("trainer    s/step  CPU s/step  chunks/s   ratio  CPU ratio  target")
    baseline = steps["baseline"][1:]
    for name, all_steps in steps.items():
        timed = all_steps[1:]
        rounds = list(zip(baseline, timed, strict=True))
        wall = statistics.median(step.wall for step in timed)
        busy = statistics.median(step.busy for step in timed)
        ratio = statistics.median(theirs.wall / ours.wall for theirs, ours in rounds)
        busy_ratio = statistics.median(theirs.busy / ours.busy for theirs, ours in rounds)
        target = f"{TARGETS[name]:.1f}" if name in TARGETS else ""
        print(
            f"{name:9} {wall:7.2f} {busy:11.2f} {config.batch / wall:9.2f} {ratio:7.2f} "
            f"{busy_ratio:10.2f}  {target:>6}"
        )
    first = [step.loss for step in steps["baseline"]]
    print(f"\nlosses of the baseline: {', '.join(f'{value:.5f}' for value in first)}")
    for name in TARGETS:
        pairs = zip(first, (step.loss for step in steps[name]), strict=True)
        print(f"largest difference of the losses, {name}: {max(abs(a - b) for a, b in pairs):.1e}")


def processor() -> str:
    """Model of the CPU and what it has for bfloat16."""
    file = Path("/proc/cpuinfo")
    text = file.read_text() if file.is_file() else ""
    pairs = [line.partition(":")[::2] for line in text.splitlines() if ":" in line]
    lines = {name.strip(): value.strip() for name, value in pairs}
    flags = lines.get("flags", "").split()
    found = [name for name in ("avx2", "avx512f", "avx512_bf16", "amx_bf16") if name in flags]
    return f"{lines.get('model name', 'unknown CPU')} ({', '.join(found)})"


if __name__ == "__main__":
    main(tyro.cli(BenchmarkConfig))
