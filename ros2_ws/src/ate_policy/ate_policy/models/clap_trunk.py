"""The trunk of the CLAP policies: a decoder-only transformer over what a policy observes.

CLAP (arXiv 2601.04061) reads pictures and instruction with a vision-language model of four billion
weights. Here it is small and learned from nothing: one token per object pose, cell of an image
map and byte of the instruction, in the order [begin, state, objects, images, instruction, end].
Every token sees those before it, so that a trunk with a codebook goes on behind the end: it writes
the codes of a chunk one by one (Eq. 5; observation and instruction are context, never targets),
exactly as many as the chunk has and of nothing but codes. A flow head reads the hidden states of
the prompt, which do not depend on the codes behind it.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor, nn

from ate_core.errors import CheckpointError
from ate_policy.models.interface import Inputs, PolicyConfig
from ate_policy.models.rdt_blocks import Attention, RmsNorm, initialise, mlp
from ate_policy.models.rdt_encoders import ByteText, SmallImageTokens
from ate_policy.transforms import FEATURES_PER_OBJECT

Pair = tuple[Tensor, Tensor]
"""Keys and values of a block, each (B, heads, L, W / heads)."""

EXPANSION = 4
"""Width of the inner layer of a block's MLP, in widths."""


@dataclass(frozen=True, kw_only=True)
class TrunkConfig(PolicyConfig):
    """Sizes of the trunk; a policy's own configuration adds to them."""

    trunk_width: int = 128
    """Numbers per token of the trunk."""
    trunk_depth: int = 4
    """Blocks of the trunk."""
    trunk_heads: int = 4
    """Attention heads of the trunk."""
    longest_text: int = 64
    """Bytes of an instruction that are read."""
    codes: int = 0
    """Codes of a chunk that the trunk writes, of all arms; 0: it writes none."""
    codebook: int = 0
    """Codes that it chooses from K; 0 where it writes none."""
    tokens: str = ""
    """Folder of the action tokens that give the codes; it travels with the policy."""
    tokens_sha256: str = ""
    """Of these tokens, as they were in training; empty: there are none."""
    writes_codes: ClassVar[bool] = True

    def __post_init__(self) -> None:
        """Refuse sizes that cannot be built."""
        super().__post_init__()
        self.require_positive("trunk_width", "trunk_depth", "trunk_heads", "longest_text")
        require_heads("trunk_width", self.trunk_width, "trunk_heads", self.trunk_heads)
        if min(self.codes, self.codebook) < 0 or bool(self.codes) != bool(self.codebook):
            raise CheckpointError(
                f"codes is {self.codes} and codebook {self.codebook}: give both above 0 or neither"
            )


@dataclass(frozen=True, kw_only=True)
class Hidden:
    """What a trunk makes of B prompts of P tokens."""

    layers: tuple[Tensor, ...]
    """Output of each block that was asked for, from the first one on; each (B, P, W)."""
    mask: Tensor
    """(B, P), True where there is a token."""

    def detached(self) -> "Hidden":
        """The same, through which no gradient passes."""
        return Hidden(layers=tuple(layer.detach() for layer in self.layers), mask=self.mask)


class Places(nn.Module):
    """A learned vector per place."""

    def __init__(self, count: int, width: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.empty(count, width))
        nn.init.normal_(self.weight, std=0.02)

    def forward(self, x: Tensor) -> Tensor:
        """Tokens (B, N, W) of the first N places -> the same, with their places."""
        return x + self.weight[: x.shape[1]]


class Prompt(nn.Module):
    """Observations -> tokens in a row."""

    def __init__(self, config: TrunkConfig) -> None:
        super().__init__()
        width = config.trunk_width
        self.marks = Places(2, width)  # begin, end
        self.state = mlp(config.state_size, width, width)
        self.objects = self.images = self.text = None
        if config.objects:
            self.objects = mlp(FEATURES_PER_OBJECT, width, width)
            self.object_places = Places(config.objects, width)
        if config.cameras:
            self.images = SmallImageTokens(
                len(config.cameras), config.image_height, config.image_width
            )
            self.image_adaptor = mlp(self.images.size, width, width)
            self.image_places = Places(len(config.cameras) * self.images.count, width)
        if config.language:
            self.text = ByteText(width, config.longest_text)
            self.text_places = Places(config.longest_text, width)

    def forward(self, inputs: Inputs) -> tuple[Tensor, Tensor]:
        """Tokens (B, P, W), and where there is one (B, P)."""
        batch, (like, end) = len(inputs.state), self.marks.weight

        def there(count: int) -> Tensor:  # made where it is used: a CUDA graph cannot copy it
            return torch.ones(batch, count, dtype=torch.bool, device=like.device)

        parts = [like.expand(batch, 1, -1), self.state(inputs.state.to(like.dtype))[:, None]]
        if self.objects is not None and inputs.environment is not None:
            poses = inputs.environment.to(like.dtype).unflatten(1, (-1, FEATURES_PER_OBJECT))
            parts.append(self.object_places(self.objects(poses)))
        if self.images is not None:
            seen = self.image_adaptor(self.images(inputs.camera_images()))
            parts.append(self.image_places(seen))
        masks = [there(sum(part.shape[1] for part in parts))]
        if self.text is not None:
            read, valid = self.text(inputs.instructions or ("",) * batch, like)
            parts.append(self.text_places(read))
            masks.append(valid)
        parts.append(end.expand(batch, 1, -1))
        masks.append(there(1))
        return torch.cat(parts, dim=1), torch.cat(masks, dim=1)


class TrunkBlock(nn.Module):
    """Self-attention and an MLP; each adds to x."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.attention_norm = RmsNorm(width)
        self.attention = Attention(width, heads)
        self.mlp_norm = RmsNorm(width)
        self.mlp = mlp(width, EXPANSION * width, width)

    def forward(self, x: Tensor, mask: Tensor, past: Pair | None = None) -> tuple[Tensor, Pair]:
        """Output (B, N, W), and the keys and values of all tokens so far.

        Args:
            x: (B, N, W), the last N tokens.
            mask: (B, N, L), which of all L tokens each of them sees.
            past: Keys and values of the L - N tokens before; None: there are none.
        """
        normed = self.attention_norm(x)
        key, value = self.attention.pair(normed)
        if past is not None:
            key, value = torch.cat([past[0], key], dim=2), torch.cat([past[1], value], dim=2)
        x = x + self.attention(normed, (key, value), mask)
        return x + self.mlp(self.mlp_norm(x)), (key, value)


class Codes(nn.Module):
    """Codes as tokens, and the scores of those that come next."""

    def __init__(self, count: int, codebook: int, width: int) -> None:
        super().__init__()
        self.count = count
        self.embedding = nn.Embedding(codebook, width)
        self.places = Places(count, width)
        self.norm = RmsNorm(width)
        self.leave = nn.Linear(width, codebook)

    def tokens(self, codes: Tensor, first: int = 0) -> Tensor:
        """Codes (B, N) that stand at places from `first` on -> (B, N, W)."""
        places = self.places.weight[first : first + codes.shape[1]]
        return self.embedding(codes) + places

    def logits(self, x: Tensor) -> Tensor:
        """Hidden states (..., W) -> scores of the code behind each (..., K), float32."""
        return self.leave(self.norm(x)).float()


class Trunk(nn.Module):
    """Prompt and blocks: hidden states for a flow head, and codes for a token policy."""

    def __init__(self, config: TrunkConfig) -> None:
        super().__init__()
        self.width, self.depth = config.trunk_width, config.trunk_depth
        self.prompt = Prompt(config)
        self.blocks = nn.ModuleList(
            TrunkBlock(self.width, config.trunk_heads) for _ in range(self.depth)
        )
        self.codes = Codes(config.codes, config.codebook, self.width) if config.codes else None
        initialise(self.blocks)

    def read(self, inputs: Inputs, depth: int | None = None) -> Hidden:
        """Hidden states of B prompts behind the first `depth` blocks; None: all of them."""
        x, valid = self.prompt(inputs)
        layers, _ = self._run(x, causal(valid), self.blocks[:depth])
        return Hidden(layers=tuple(layers), mask=valid)

    def score(self, inputs: Inputs, codes: Tensor) -> tuple[Hidden, Tensor]:
        """Hidden states of B prompts, and the scores of each code given those before it.

        Args:
            inputs: B observations.
            codes: (B, L) int64, of the true chunks: row l of the scores has seen the first l - 1.

        Returns:
            The prompts behind all blocks, scores (B, L, K).
        """
        written = self._written()
        x, valid = self.prompt(inputs)
        length = valid.shape[1]
        x = torch.cat([x, written.tokens(codes[:, :-1])], dim=1)
        seen = nn.functional.pad(valid, (0, written.count - 1), value=True)
        layers, _ = self._run(x, causal(seen), self.blocks)
        hidden = Hidden(layers=tuple(layer[:, :length] for layer in layers), mask=valid)
        return hidden, written.logits(layers[-1][:, length - 1 :])

    @torch.no_grad()
    def write(self, inputs: Inputs) -> Tensor:
        """The likeliest codes, one after the other, (B, L) int64: no other token can be written.

        Keys and values of what was read are kept, so that each code costs one token.
        """
        written = self._written()
        x, valid = self.prompt(inputs)
        layers, past = self._run(x, causal(valid), self.blocks)
        codes = [written.logits(layers[-1][:, -1:]).argmax(-1)]
        for place in range(written.count - 1):
            valid = nn.functional.pad(valid, (0, 1), value=True)
            token = written.tokens(codes[-1], place)
            layers, past = self._run(token, valid[:, None], self.blocks, past)
            codes.append(written.logits(layers[-1]).argmax(-1))
        return torch.cat(codes, dim=1)

    def _run(
        self, x: Tensor, mask: Tensor, blocks: nn.ModuleList, past: Sequence[Pair] = ()
    ) -> tuple[list[Tensor], list[Pair]]:
        """Outputs of each block, and keys and values of all tokens so far."""
        layers, pairs = [], []
        for index, block in enumerate(blocks):
            x, pair = block(x, mask, past[index] if past else None)
            layers.append(x)
            pairs.append(pair)
        return layers, pairs

    def _written(self) -> Codes:
        if self.codes is None:
            raise CheckpointError("this trunk has no codebook: train one that writes codes")
        return self.codes


def causal(valid: Tensor) -> Tensor:
    """Which tokens each token sees: itself and valid ones before, (B, L) -> (B, L, L)."""
    length = valid.shape[1]
    before = torch.ones(length, length, dtype=torch.bool, device=valid.device).tril()
    itself = torch.eye(length, dtype=torch.bool, device=valid.device)
    return (before & valid[:, None]) | itself


def require_heads(width_name: str, width: int, heads_name: str, heads: int) -> None:
    """Refuse a width that cannot be shared by attention heads."""
    if width % heads:
        raise CheckpointError(
            f"{width_name} is {width}, must be a multiple of {heads_name}, {heads}"
        )
