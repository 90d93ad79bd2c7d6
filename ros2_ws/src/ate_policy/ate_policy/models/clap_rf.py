"""CLAP's flow head on a trunk (arXiv 2601.04061, section III-E): continuous chunks in few steps.

With a chunk a, noise eps and tau = 0 at noise, x = tau a + (1 - tau) eps and the head predicts
the velocity v = a - eps (Eq. 6). Times are those of the released code, 1 - (0.001 + 0.999 B) with
B ~ Beta(1.5, 1); chunks are sampled with Euler steps, 4 as released.

Each block of the head has self-attention over [state, H actions], attention to the hidden states
of one trunk layer (`feature_layers`), and an MLP, all modulated by the time (adaptive layer norm
whose gates start at zero, Peebles & Xie 2023). The released head lacks the self-attention: there
neither the state nor another tick of the chunk reaches an action.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, Literal, cast, get_args

import torch
from torch import Tensor, nn

from ate_core.contract import Cell
from ate_core.errors import CheckpointError
from ate_policy.models.clap_trunk import (
    EXPANSION,
    Hidden,
    Pair,
    Places,
    Trunk,
    TrunkConfig,
    require_heads,
)
from ate_policy.models.entry import PolicyEntry, PolicyOptions, PolicyPreset, Recipe
from ate_policy.models.inpainting import Inpainting, guided_estimate
from ate_policy.models.interface import ChunkModel, Inputs, Scored
from ate_policy.models.rdt_blocks import Attention, initialise, mlp
from ate_policy.models.sinusoids import sinusoids
from ate_policy.noise import FlowProcess, clean_estimate

TIME_SCALE = 1000.0
"""tau in units of the sinusoids' usual steps; the released head rounds it to so many buckets."""

PARTS = 3
"""Parts of a block that the time modulates, each by shift, scale and gate."""


TrunkLearning = Literal["trained", "frozen", "insulated"]
"""trained: the flow's gradient, and that of a loss of its codes where there is one; frozen:
nothing, it stays what it was to the byte; insulated: the loss of its codes only."""


@dataclass(frozen=True, kw_only=True)
class ClapRfConfig(TrunkConfig):
    """Sizes of a trunk with a flow head; stored in its checkpoint."""

    feature_layers: tuple[int, ...] = (0, 1, 2)
    """Trunk layer that each block of the head attends to, from 0: as many blocks as entries.
    Early and middle ones, as published; blocks behind the last of them are not evaluated."""
    width: int = 128
    """Numbers per token of the head."""
    heads: int = 4
    """Attention heads of the head."""
    steps: int = 4
    """Euler steps from noise to chunk."""
    trunk: TrunkLearning = "trained"
    """What reaches the trunk's weights."""

    def __post_init__(self) -> None:
        """Refuse sizes that cannot be built."""
        super().__post_init__()
        object.__setattr__(self, "feature_layers", tuple(self.feature_layers))
        self.require_positive("width", "heads", "steps")
        require_heads("width", self.width, "heads", self.heads)
        layers = self.feature_layers
        if not layers or min(layers) < 0 or max(layers) >= self.trunk_depth:
            raise CheckpointError(
                f"feature_layers is {list(layers)}, must name layers of the trunk, 0 to "
                f"{self.trunk_depth - 1}"
            )
        if self.trunk not in get_args(TrunkLearning):
            known = ", ".join(get_args(TrunkLearning))
            raise CheckpointError(f"trunk is '{self.trunk}': use {known}")
        if self.trunk == "insulated" and not self.codes:
            raise CheckpointError(
                "trunk is 'insulated' and writes no codes: nothing would train it; use trained or "
                "frozen"
            )

    @property
    def keeps(self) -> str:
        """The trunk, where it is frozen."""
        return "trunk" if self.trunk == "frozen" else ""

    @property
    def learns_codes(self) -> bool:
        """Where the trunk is insulated: nothing else reaches it."""
        return self.trunk == "insulated"


@dataclass(frozen=True, kw_only=True)
class ClapRfOptions(PolicyOptions):
    """CLAP's flow head: a transformer over the chunk that attends to a trunk's hidden states."""

    language: bool = False
    """Whether the policy reads the instruction, byte by byte."""
    feature_layers: tuple[int, ...] | None = None
    """Trunk layer that each block of the head attends to, from 0; None: as the preset says."""
    flow_steps: int | None = None
    """Euler steps from noise to chunk; None: 4, as released."""
    trunk: TrunkLearning = "trained"
    """trained: along with the head; frozen: it stays as `--init` has it, to the byte; insulated:
    by the loss of its codes alone, where `--init` is a token policy."""

    def fields(self, cell: Cell) -> dict[str, Any]:
        """Fields of the configuration that these options decide."""
        fields: dict[str, Any] = {"language": self.language, "trunk": self.trunk}
        if self.feature_layers is not None:
            fields["feature_layers"] = self.feature_layers
        if self.flow_steps is not None:
            fields["steps"] = self.flow_steps
        return fields


class HeadBlock(nn.Module):
    """Self-attention, attention to a trunk layer and an MLP, each modulated by the time."""

    def __init__(self, width: int, heads: int, source: int) -> None:
        """Build it.

        Args:
            width: Of the tokens.
            heads: Attention heads.
            source: Width of the trunk's tokens.
        """
        super().__init__()
        self.norm = nn.LayerNorm(width, elementwise_affine=False)
        self.attention = Attention(width, heads)
        self.cross = Attention(width, heads)
        self.source_norm = nn.LayerNorm(source)
        self.source = nn.Linear(source, width)
        self.mlp = mlp(width, EXPANSION * width, width)
        self.modulate = nn.Linear(width, 3 * PARTS * width)
        initialise(self)
        nn.init.zeros_(self.modulate.weight)

    def pair(self, layer: Tensor) -> Pair:
        """Keys and values of a trunk layer (B, P, source), the same at every time."""
        return self.cross.pair(self.source(self.source_norm(layer)))

    def forward(self, x: Tensor, time: Tensor, pair: Pair, mask: Tensor) -> Tensor:
        """(B, N, W) -> (B, N, W); time is (B, W), mask (B, P)."""
        shifts, scales, gates = (
            self.modulate(time)[:, None].unflatten(-1, (3, PARTS, -1)).unbind(2)
        )

        def modulated(part: int) -> Tensor:
            return self.norm(x) * (1.0 + scales[:, :, part]) + shifts[:, :, part]

        seen = modulated(0)
        x = x + gates[:, :, 0] * self.attention(seen, self.attention.pair(seen))
        x = x + gates[:, :, 1] * self.cross(modulated(1), pair, mask)
        return x + gates[:, :, 2] * self.mlp(modulated(2))


class FlowHead(nn.Module):
    """Noisy chunk, state and hidden states -> velocity."""

    def __init__(self, config: ClapRfConfig, source: int) -> None:
        """Build it.

        Args:
            config: Sizes.
            source: Width of the trunk's tokens.
        """
        super().__init__()
        width = config.width
        self.state = mlp(config.state_size, width, width)
        self.enter = nn.Linear(config.action_size, width)
        self.places = Places(1 + config.horizon, width)
        self.time = nn.Sequential(nn.Linear(width, width), nn.SiLU(), nn.Linear(width, width))
        self.blocks = nn.ModuleList(
            HeadBlock(width, config.heads, source) for _ in config.feature_layers
        )
        self.leave_norm = nn.LayerNorm(width)
        self.leave = nn.Linear(width, config.action_size)
        nn.init.zeros_(self.leave.weight)
        nn.init.zeros_(self.leave.bias)

    def pairs(self, layers: Sequence[Tensor]) -> list[Pair]:
        """Keys and values of the trunk layer of each block."""
        return [
            cast(HeadBlock, block).pair(layer)
            for block, layer in zip(self.blocks, layers, strict=True)
        ]

    def forward(
        self, noisy: Tensor, tau: Tensor, state: Tensor, pairs: Sequence[Pair], mask: Tensor
    ) -> Tensor:
        """Velocity (B, H, D).

        Args:
            noisy: (B, H, D).
            tau: (B,), 0 noise .. 1 clean.
            state: (B, S), normalised.
            pairs: Of `pairs`.
            mask: (B, P), valid tokens of the prompt.
        """
        dtype = self.enter.weight.dtype
        tokens = [self.state(state.to(dtype))[:, None], self.enter(noisy.to(dtype))]
        x = self.places(torch.cat(tokens, dim=1))
        waves = sinusoids(TIME_SCALE * tau, x.shape[-1], closed=False)
        time = nn.functional.silu(self.time(waves.to(dtype)))
        for block, pair in zip(self.blocks, pairs, strict=True):
            x = block(x, time, pair, mask)
        return self.leave(self.leave_norm(x[:, 1:]))


class ClapRf(ChunkModel):
    """Chunk of normalised actions: a flow head that attends to a trunk."""

    config: ClapRfConfig
    continues = True

    def __init__(self, config: ClapRfConfig) -> None:
        super().__init__()
        self.config = config
        self.process = FlowProcess(prediction="velocity_paper", beta=(1.5, 1.0))
        self.trunk = Trunk(config)
        self.head = FlowHead(config, self.trunk.width)
        if config.trunk == "frozen":
            self.trunk.requires_grad_(False)
        elif not config.codes:
            self.keep_codes()

    def forward(self, noisy: Tensor, level: Tensor, inputs: Inputs) -> Tensor | Scored:
        """Predict the velocity (R B, H, D), and score the codes that the inputs hold or recall.

        Args:
            noisy: (R B, H, D).
            level: tau (R B,), 0 noise .. 1 clean.
            inputs: B observations.
        """
        asked = inputs if inputs.recalled is None else inputs.recalled
        codes, logits = asked.codes, None
        if codes is None:
            hidden = self._read(inputs)
        elif asked is inputs:
            hidden, logits = self.trunk.score(inputs, codes)
        else:
            hidden, logits = self._read(inputs), self.trunk.score(asked, codes)[1]
        if self.config.trunk == "insulated":
            hidden = hidden.detached()
        repeats = len(noisy) // len(inputs.state)
        pairs = [
            (_repeat(key, repeats), _repeat(value, repeats)) for key, value in self._pairs(hidden)
        ]
        state, mask = _repeat(inputs.state, repeats), _repeat(hidden.mask, repeats)
        chunk = self.head(noisy, level, state, pairs, mask)
        if codes is None or logits is None:
            return chunk
        return Scored(chunk=chunk, logits=logits, codes=codes)

    def sample(self, inputs: Inputs, noise: Tensor, old: Inpainting | None = None) -> Tensor:
        """Integrate the velocity from noise (B, H, D) to a chunk with Euler steps."""
        hidden, steps = self._read(inputs), self.config.steps
        predict = partial(
            self.head, state=inputs.state, pairs=self._pairs(hidden), mask=hidden.mask
        )
        x = noise
        for step in range(steps):
            tau = x.new_full((len(x),), step / steps)
            sigma = 1.0 - tau

            def estimate(x: Tensor, tau: Tensor = tau, sigma: Tensor = sigma) -> Tensor:
                return clean_estimate("velocity_paper", predict(x, tau), x, tau, sigma)

            clean = guided_estimate(estimate, x, tau, sigma, old)
            x = x + (clean - x) / (sigma[:, None, None] * steps)
        return x

    def keep_codes(self) -> None:
        """Train nothing that only the scores of codes reach."""
        self.trunk.blocks[self._depth :].requires_grad_(False)
        if self.trunk.codes is not None:
            self.trunk.codes.requires_grad_(False)

    @property
    def _depth(self) -> int:
        """Blocks of the trunk that are evaluated."""
        return 1 + max(self.config.feature_layers)

    def _read(self, inputs: Inputs) -> Hidden:
        return self.trunk.read(inputs, self._depth)

    def _pairs(self, hidden: Hidden) -> list[Pair]:
        return self.head.pairs([hidden.layers[layer] for layer in self.config.feature_layers])


def _repeat(values: Tensor, repeats: int) -> Tensor:
    return values if repeats == 1 else values.repeat_interleave(repeats, dim=0)


SMALL = Recipe(batch=128, learning_rate=5e-4, warmup=100)
"""Small sizes from random weights; transformers bear a smaller rate than residual blocks."""
SMALL_CAMERAS = Recipe(batch=256, learning_rate=5e-4, warmup=100, draws=8)
"""The same with cameras: observing costs more than denoising."""

PRESETS = {
    "tiny": PolicyPreset(
        sizes={
            "trunk_width": 32,
            "trunk_depth": 2,
            "trunk_heads": 2,
            "longest_text": 32,
            "feature_layers": (0, 1),
            "width": 32,
            "heads": 2,
        },
        recipe=SMALL,
        recipe_cameras=SMALL_CAMERAS,
    ),
    "small": PolicyPreset(recipe=SMALL, recipe_cameras=SMALL_CAMERAS),
    "full": PolicyPreset(
        sizes={
            "trunk_width": 512,
            "trunk_depth": 12,
            "trunk_heads": 8,
            "feature_layers": (0, 1, 2, 3, 4, 5, 6, 8),
            "width": 512,
            "heads": 8,
        },
        recipe=Recipe(batch=128, learning_rate=1e-4, warmup=1000),
        recipe_cameras=Recipe(batch=256, learning_rate=1e-4, warmup=1000, draws=2),
    ),
}
"""tiny: for tests; small: trained on a CPU in minutes; full: for a GPU, with two noises per
observation as released. The published trunk, a vision-language model of 4 B weights, is none."""

ENTRY = PolicyEntry(
    config=ClapRfConfig,
    build=ClapRf,
    options=ClapRfOptions,
    presets=PRESETS,
    starts_from=("clap_ntp",),
)
