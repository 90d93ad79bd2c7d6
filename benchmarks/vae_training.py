"""Time a training step of the action VAE against a trainer with the released one's structure.

    python benchmarks/vae_training.py                       # paper's pi0 configuration, minutes
    python benchmarks/vae_training.py --steps 3 --batch 8   # a quick look

The baseline is written from scratch: the plain network of `plain_vae.py` (unfused attention with
key-padding masks, full cross-attention, all tokens through all layers), a DataLoader with worker
processes, `torch.distributions`, kernels from expanded differences, three `.item()` per step and
AdamW without its fused kernel. Both start from the same weights and see the same chunks and noise
in the same order, step by step in turn; the losses must then be equal up to rounding. Both clip
gradients, which the released code does not, so that they stay comparable.
"""

import statistics
import time
from dataclasses import dataclass
from pathlib import Path

import torch
import tyro
from plain_vae import PlainVae, copy_weights
from torch import Tensor
from torch.distributions import Normal, kl_divergence
from torch.utils.data import DataLoader, Dataset

from training.optimisation import GRADIENT_CLIP, apply_gradients, make_optimizer
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


def main(config: BenchmarkConfig) -> None:
    """Take turns, then print medians, ratios and the difference of the loss curves."""
    torch.set_num_threads(config.threads)
    torch.manual_seed(0)
    vae = ActionVae(sizes(config))
    walk = torch.randn(4000, config.action_size).cumsum(0)
    data = Windows((walk - walk.mean(0)) / walk.std(0), config.horizon)
    order = torch.randint(len(data), (config.steps + 1, config.batch))
    trainers = {
        "baseline": BaselineTrainer(vae, data, order, config.workers),
        "fp32": OurTrainer(vae, data, order, "fp32"),
        "bf16": OurTrainer(vae, data, order, "bf16"),
    }
    wall: dict[str, list[float]] = {name: [] for name in trainers}
    cpu: dict[str, list[float]] = {name: [] for name in trainers}
    losses: dict[str, list[float]] = {name: [] for name in trainers}
    for index in range(config.steps + 1):
        for name, trainer in trainers.items():
            begin, begin_cpu = time.perf_counter(), time.process_time()
            losses[name].append(trainer.step(index))
            wall[name].append(time.perf_counter() - begin)
            cpu[name].append(time.process_time() - begin_cpu)
        print(f"step {index}: " + ", ".join(f"{n} {wall[n][-1]:.2f} s" for n in trainers))
    print_result(config, wall, cpu, losses)


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


def print_result(
    config: BenchmarkConfig,
    wall: dict[str, list[float]],
    cpu: dict[str, list[float]],
    losses: dict[str, list[float]],
) -> None:
    """Medians over the timed steps; ratios are medians of the ratio within a round."""
    print(
        f"\n{processor()}; {config.threads} thread(s), batch {config.batch}, {config.steps} steps"
    )
    print("trainer    s/step  CPU s/step  chunks/s   ratio  CPU ratio  target")
    for name in wall:
        time_, busy = statistics.median(wall[name][1:]), statistics.median(cpu[name][1:])
        ratios = [
            statistics.median(b / o for b, o in zip(of["baseline"][1:], of[name][1:], strict=True))
            for of in (wall, cpu)
        ]
        target = f"{TARGETS[name]:.1f}" if name in TARGETS else ""
        print(
            f"{name:9} {time_:7.2f} {busy:11.2f} {config.batch / time_:9.2f} {ratios[0]:7.2f} "
            f"{ratios[1]:10.2f}  {target:>6}"
        )
    first = losses["baseline"]
    print(f"\nlosses of the baseline: {', '.join(f'{value:.5f}' for value in first)}")
    for name in ("fp32", "bf16"):
        off = max(abs(a - b) for a, b in zip(first, losses[name], strict=True))
        print(f"largest difference of the losses, {name}: {off:.1e}")


def processor() -> str:
    """Model of the CPU and what it has for bfloat16."""
    file = Path("/proc/cpuinfo")
    lines = dict(
        (part.strip() for part in line.split(":", 1))
        for line in (file.read_text() if file.is_file() else "").splitlines()
        if ":" in line
    )
    flags = lines.get("flags", "").split()
    found = [name for name in ("avx2", "avx512f", "avx512_bf16", "amx_bf16") if name in flags]
    return f"{lines.get('model name', 'unknown CPU')} ({', '.join(found)})"


if __name__ == "__main__":
    main(tyro.cli(BenchmarkConfig))
