"""RDT: a diffusion transformer over a unified action vector (Liu et al. 2024, arXiv 2410.07864).

Its tokens are the diffusion step, the control frequency, the state and the H noisy actions. The
state and every action are 128 numbers, placed by field name (`rdt_layout`), each beside a mask of
the entries that this robot has. Blocks attend in turn to the instruction and to the images, and
the network predicts the clean chunk. All 128 entries are noised; those that the robot lacks are
zero in every clean chunk, so the prediction is masked. Chunks are sampled with DPM-Solver++.

What differs from the published policy: images of the present tick only, z-scored joints and
trainable position tables for all tokens that start as plain sinusoids. A policy that reads no
language or no images has no attention to it. Object poses of a state policy stand in reserved
entries of the state.
"""

from dataclasses import dataclass
from typing import Literal, get_args

import torch
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from ate_core.errors import CheckpointError
from ate_policy.models.interface import Inputs, Interface
from ate_policy.models.rdt_blocks import NORM_EPS, Block, initialise, mlp
from ate_policy.models.rdt_encoders import (
    ByteText,
    ImageTokens,
    SiglipTokens,
    SmallImageTokens,
    T5Text,
    TextEncoder,
)
from ate_policy.models.rdt_layout import SIZE, indices_of, mask_of, object_indices, place
from ate_policy.models.schedules import diffusion_process, sample_dpm_solver
from ate_policy.models.sinusoids import sinusoids
from ate_policy.transforms import FEATURES_PER_OBJECT

Encoders = Literal["small", "published"]
"""small: bytes and a small convolutional network, trained along; published: T5 and SigLIP."""

PREDICTION = "sample"
"""The network predicts the clean chunk."""

STEP_SIZE = 256
"""Width of the sinusoids of diffusion step and frequency (published)."""

LEADING = 3
"""Tokens before the actions: diffusion step, control frequency, state."""

TWO_ARMS = tuple(
    name
    for side in ("left", "right")
    for name in (*(f"{side}_arm_{joint}" for joint in range(1, 8)), f"{side}_gripper")
)
"""Component names of the packaged cell's layout."""


@dataclass(frozen=True, kw_only=True)
class RdtConfig(Interface):
    """Sizes of an RDT; the defaults are those of RDT-1B (its `configs/base.yaml`)."""

    width: int = 2048
    """Numbers per token."""
    depth: int = 28
    """Blocks."""
    heads: int = 32
    """Attention heads."""
    train_steps: int = 1000
    """Noise levels."""
    steps: int = 5
    """DPM-Solver++ steps from noise to chunk."""
    control_frequency: int = 20
    """Actions per second [Hz]: the cell's ticks."""
    action_names: tuple[str, ...] = TWO_ARMS
    """Component names of the layout's action."""
    state_names: tuple[str, ...] = TWO_ARMS
    """Component names of the layout's state."""
    encoders: Encoders = "published"
    """What turns instructions and images into tokens."""
    text_encoder: str = ""
    """Folder of T5-v1.1-XXL (published encoders, language)."""
    image_encoder: str = ""
    """Folder of siglip-so400m-patch14-384 (published encoders, cameras)."""
    text_size: int = 64
    """Numbers per byte of an instruction (small encoders)."""
    longest_text: int = 1024
    """Tokens of an instruction that are read."""
    gradient_checkpointing: bool = False
    """Compute each block again in the backward pass: slower, less memory."""

    def __post_init__(self) -> None:
        """Refuse sizes that cannot be built."""
        super().__post_init__()
        for name, size in (("action_names", self.action_size), ("state_names", self.state_size)):
            object.__setattr__(self, name, tuple(getattr(self, name)))
            if len(getattr(self, name)) != size:
                raise CheckpointError(
                    f"{name} has {len(getattr(self, name))} names, the layout {size} components: "
                    "give the names of the cell's layout"
                )
        for name in ("width", "depth", "heads", "train_steps", "steps", "control_frequency"):
            self.require_positive(name)
        self.require_positive("text_size", "longest_text")
        if self.width % (4 * self.heads):
            raise CheckpointError(
                f"width is {self.width}, must be a multiple of 4 heads, {4 * self.heads}"
            )
        if self.encoders not in get_args(Encoders):
            raise CheckpointError(
                f"encoders is '{self.encoders}': use {', '.join(get_args(Encoders))}"
            )


PRESETS: dict[str, dict[str, object]] = {
    "tiny": {"width": 32, "depth": 2, "heads": 2, "encoders": "small", "longest_text": 32},
    "small": {"width": 128, "depth": 4, "heads": 4, "encoders": "small", "longest_text": 64},
    "full": {
        "language": True,
        "image_height": 384,  # what SigLIP was trained with
        "image_width": 384,
        "image_fit": "pad",
    },
}
"""Sizes by name; full: RDT-1B."""


@dataclass(frozen=True, kw_only=True)
class Conditions:
    """What B chunks are conditioned on, as tokens of the transformer's width W."""

    state: Tensor
    """(B, 1, W)."""
    language: Tensor | None
    """(B, L, W)."""
    language_mask: Tensor | None
    """(B, L), True where an instruction has a token."""
    images: Tensor | None
    """(B, N, W)."""

    def repeat(self, repeats: int) -> "Conditions":
        """Each condition R times in a row."""
        if repeats == 1:
            return self
        return Conditions(
            **{
                name: None if value is None else value.repeat_interleave(repeats, dim=0)
                for name, value in vars(self).items()
            }
        )


class Rdt(nn.Module):
    """Chunk of normalised actions in RDT's unified vector."""

    def __init__(self, config: RdtConfig) -> None:
        super().__init__()
        self.config = config
        self.process = diffusion_process(config.train_steps, PREDICTION)
        self._actions = list(indices_of(config.action_names))
        self._state = list(indices_of(config.state_names))
        self._objects = list(object_indices(FEATURES_PER_OBJECT * config.objects))
        self.register_buffer("action_mask", mask_of(self._actions), persistent=False)
        self.register_buffer("state_mask", mask_of(self._state + self._objects), persistent=False)
        width = config.width
        self.state_adaptor = mlp(2 * SIZE, width, width, width)
        self.step = _embedder(width)
        self.frequency = _embedder(width)
        self.text = _text_encoder(config)
        self.images = _image_encoder(config)
        self.text_adaptor = None if self.text is None else mlp(self.text.size, width, width)
        self.image_adaptor = None if self.images is None else mlp(self.images.size, width, width)
        self.positions = nn.Parameter(_token_positions(config.horizon, width))
        if self.text is not None:
            self.text_positions = nn.Parameter(sinusoids(torch.arange(config.longest_text), width))
        if self.images is not None:
            count = len(config.cameras) * self.images.count
            self.image_positions = nn.Parameter(sinusoids(torch.arange(count), width))
        conditioned = (self.text is not None, self.images is not None)
        self.blocks = nn.ModuleList(
            Block(width, config.heads, conditioned=conditioned[index % 2])
            for index in range(config.depth)
        )
        self.leave_norm = nn.RMSNorm(width, NORM_EPS)
        self.leave = mlp(width, width, SIZE)
        self._initialise()

    def embed(self, actions: Tensor) -> Tensor:
        """(..., D) -> (..., 128); entries that the robot lacks are zero."""
        return place(actions, self._actions)

    def extract(self, chunk: Tensor) -> Tensor:
        """(..., 128) -> (..., D)."""
        return chunk[..., self._actions]

    def conditions(self, inputs: Inputs) -> Conditions:
        """Tokens of B observations."""
        parts = [inputs.state] + ([inputs.environment] if self._objects else [])
        state = place(torch.cat(parts, dim=-1), self._state + self._objects)
        state = torch.cat([state, self.state_mask.expand_as(state)], dim=-1)
        language = mask = images = None
        if self.text is not None:
            tokens, mask = self.text(inputs.instructions, state.device)
            language = self.text_adaptor(tokens) + self.text_positions[: tokens.shape[1]]
        if self.images is not None:
            images = self.image_adaptor(self.images(inputs.images)) + self.image_positions
        return Conditions(
            state=self.state_adaptor(state)[:, None],
            language=language,
            language_mask=mask,
            images=images,
        )

    def forward(self, noisy: Tensor, level: Tensor, inputs: Inputs) -> Tensor:
        """Predict the clean chunk (R B, H, 128).

        Args:
            noisy: (R B, H, 128).
            level: Diffusion step (R B,).
            inputs: B observations.
        """
        repeats = len(noisy) // len(inputs.state)
        return self._denoise(noisy, level, self.conditions(inputs).repeat(repeats))

    def sample(self, inputs: Inputs, noise: Tensor) -> Tensor:
        """Denoise (B, H, 128) into a chunk with DPM-Solver++."""
        conditions = self.conditions(inputs)
        chunk = sample_dpm_solver(
            lambda x, step: self._denoise(x, step, conditions),
            noise,
            prediction=PREDICTION,
            train_steps=self.config.train_steps,
            steps=self.config.steps,
        )
        return chunk * self.action_mask

    def _denoise(self, noisy: Tensor, level: Tensor, conditions: Conditions) -> Tensor:
        actions = self.state_adaptor(
            torch.cat([noisy, self.action_mask.expand_as(noisy)], dim=-1)
        )  # (B, H, W)
        step = self.step(sinusoids(level, STEP_SIZE))[:, None]
        hertz = torch.full_like(level, self.config.control_frequency)
        frequency = self.frequency(sinusoids(hertz, STEP_SIZE))[:, None]
        x = torch.cat([step, frequency, conditions.state, actions], dim=1) + self.positions
        attended = (
            (conditions.language, conditions.language_mask),
            (conditions.images, None),
        )
        for index, block in enumerate(self.blocks):
            if self.config.gradient_checkpointing and torch.is_grad_enabled():
                x = checkpoint(block, x, *attended[index % 2], use_reentrant=False)
            else:
                x = block(x, *attended[index % 2])
        return self.leave(self.leave_norm(x[:, LEADING:])) * self.action_mask

    def _initialise(self) -> None:
        """As published; the last layer starts at zero, so that the first guess is the mean."""
        for part in (self.blocks, self.step, self.frequency, self.leave):
            initialise(part)
        for layer in (self.step[0], self.step[-1], self.frequency[0], self.frequency[-1]):
            nn.init.normal_(layer.weight, std=0.02)
        nn.init.zeros_(self.leave[-1].weight)


def _embedder(width: int) -> nn.Sequential:
    """Sinusoids -> token."""
    return nn.Sequential(nn.Linear(STEP_SIZE, width), nn.SiLU(), nn.Linear(width, width))


def _token_positions(horizon: int, width: int) -> Tensor:
    """First half: which kind of token; second half: which action. (3 + H, W)."""
    kind = torch.cat([torch.arange(LEADING), torch.full((horizon,), LEADING)])
    place = torch.cat([torch.zeros(LEADING, dtype=torch.long), torch.arange(horizon)])
    return torch.cat([sinusoids(kind, width // 2), sinusoids(place, width // 2)], dim=-1)


def _text_encoder(config: RdtConfig) -> TextEncoder | None:
    if not config.language:
        return None
    if config.encoders == "small":
        return ByteText(config.text_size, config.longest_text)
    return T5Text(config.text_encoder, config.longest_text)


def _image_encoder(config: RdtConfig) -> ImageTokens | None:
    if not config.cameras:
        return None
    if config.encoders == "small":
        return SmallImageTokens(len(config.cameras), config.image_height, config.image_width)
    return SiglipTokens(config.image_encoder, config.image_height, config.image_width)
