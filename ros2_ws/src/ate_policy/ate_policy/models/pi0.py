"""pi0 (Black et al. 2024): a vision-language model with an expert that denoises action chunks.

An adapter on transformers' PI0: weights, embeddings and layers are theirs, inputs are prepared
here (transformers' processor pads, resizes and batches differently from openpi), and the
conventions of this package are kept. Time: t = 1 is noise, x = t eps + (1 - t) a, and the network
predicts u = eps - a.

States and actions have 32 numbers; ours stand in front, zeros behind. A policy that sees object
poses instead of images reads them right behind the state. A policy without cameras has a prefix of
prompt tokens only, and one with fewer than three has fewer image tokens, which is what openpi's
mask of a missing camera amounts to.
"""

from collections.abc import Callable
from functools import lru_cache, partial

import torch
from torch import Tensor

from ate_core.errors import CheckpointError, LayoutError
from ate_policy.models.inpainting import Inpainting
from ate_policy.models.interface import ChunkModel, Inputs
from ate_policy.models.pi0_adapters import accept_merged
from ate_policy.models.pi0_config import Pi0Config
from ate_policy.models.pi0_inputs import (
    ByteTokenizer,
    Prompts,
    camera_order,
    load_tokenizer,
    pad_last,
    pad_prompts,
    prompt_ids,
)
from ate_policy.models.pi0_layers import Prefix, embed_suffix, encode_prefix, predict_velocity
from ate_policy.models.pi0_network import build_network
from ate_policy.models.pi0_sampler import FoldedExpert
from ate_policy.noise import FlowProcess

__all__ = ["Pi0", "Pi0Config"]


class Pi0(ChunkModel):
    """Chunk of normalised actions from state, images and an instruction."""

    config: Pi0Config
    continues = True

    def __init__(self, config: Pi0Config) -> None:
        super().__init__()
        self.config = config
        self.process = FlowProcess(prediction="velocity_pi0", beta=(1.5, 1.0))
        # first: a missing one is refused before gigabytes are drawn
        tokenizer = load_tokenizer(config.tokenizer) if config.language else ByteTokenizer()
        self.network = build_network(config)
        self._prompt = lru_cache(maxsize=1024)(partial(prompt_ids, tokenizer))
        self._cameras = camera_order(config.cameras)
        self._expert: FoldedExpert | None = None
        self.register_load_state_dict_pre_hook(accept_merged)  # type: ignore[no-untyped-call]

    def embed(self, actions: Tensor) -> Tensor:
        """(..., D) -> (..., 32), zeros behind."""
        return pad_last(actions, self.config.max_action_size)

    def extract(self, chunk: Tensor) -> Tensor:
        """(..., 32) -> (..., D)."""
        return chunk[..., : self.config.action_size]

    def forward(self, noisy: Tensor, level: Tensor, inputs: Inputs) -> Tensor:
        """Predict u = eps - a, (R B, H, 32).

        Args:
            noisy: x (R B, H, 32).
            level: t (R B,), 1 noise .. 0 clean.
            inputs: B observations.
        """
        prefix, state = self.encode(inputs)
        repeats = len(noisy) // len(state)
        state = state.repeat_interleave(repeats, dim=0)
        known = inputs.prefix
        if known is not None:
            known = known.repeat_interleave(repeats, dim=0)
        suffix = embed_suffix(self.network, state, noisy.to(state.dtype), level, known)
        checkpointing = self.config.gradient_checkpointing and self.training
        return predict_velocity(self.network, prefix.repeat(repeats), suffix, checkpointing)

    @torch.no_grad()
    def sample(self, inputs: Inputs, noise: Tensor, old: Inpainting | None = None) -> Tensor:
        """Integrate u from noise (B, H, 32) at t = 1 to a chunk with Euler steps."""
        if self._expert is None or self._expert.stale():
            self._expert = FoldedExpert(self.network, self.config.steps)
        return self._expert.denoise(*self.encode(inputs), noise, old)

    def encode(self, inputs: Inputs) -> tuple[Prefix, Tensor]:
        """Everything the chunk depends on: the prefix and the state vector (B, 32)."""
        self._require_exact_time()
        weight = self.network.action_out_proj.weight
        state = pad_last(inputs.vector(), self.config.max_state_size).to(weight.dtype)
        prompts = self._prompts(inputs, len(state), state.device)
        embeddings, mask = self._embed_prefix(prompts, inputs)
        checkpointing = self.config.gradient_checkpointing and self.training
        return encode_prefix(self.network, embeddings, mask, checkpointing), state

    def _prompts(self, inputs: Inputs, batch: int, device: torch.device) -> Prompts:
        texts = inputs.instructions if self.config.language else ("",) * batch
        if len(texts) != batch:
            raise LayoutError(
                f"{len(texts)} instructions for {batch} observations, must be one for each"
            )
        return pad_prompts(tuple(self._prompt(text) for text in texts), device)

    def _embed_prefix(self, prompts: Prompts, inputs: Inputs) -> tuple[Tensor, Tensor | None]:
        """Image and prompt tokens (B, P, W) and which of them count (B, P)."""
        model, count = self.network.model, len(self._cameras)
        if not count:
            return model.vlm.get_input_embeddings()(prompts.ids), prompts.mask
        given = inputs.camera_images()
        pixels = torch.stack([given[:, index] for index in self._cameras], dim=1)
        pixels = 2.0 * pixels  # [-0.5, 0.5] -> [-1, 1]
        batch, tokens = len(pixels), count * (self.config.image_height // self.config.patch) ** 2
        image = prompts.ids.new_full((batch, tokens), self.config.vocabulary)
        present = torch.ones(batch, count, dtype=torch.bool, device=pixels.device)
        ids = torch.cat([image, prompts.ids], dim=1)
        embeddings = model.embed_prefix(ids, pixels, present)
        if prompts.mask is None:
            return embeddings, None
        seen = torch.ones(batch, tokens, dtype=torch.bool, device=pixels.device)
        return embeddings, torch.cat([seen, prompts.mask], dim=1)

    def _apply(self, fn: Callable[[Tensor], Tensor], recurse: bool = True) -> "Pi0":
        """Move or cast, but keep the tables of frequencies in fp32.

        In bf16 the time embedding is wrong by more than its own size, and so are the positions.
        """
        tables = {name: table for name, table in self.named_buffers() if table.is_floating_point()}
        super()._apply(fn, recurse)  # type: ignore[no-untyped-call]
        for name, table in tables.items():
            parent, _, leaf = name.rpartition(".")
            moved = self.get_buffer(name)
            if moved.dtype != table.dtype:
                setattr(self.get_submodule(parent), leaf, table.to(moved.device))
        return self

    def _require_exact_time(self) -> None:
        dtype = self.network.embed_action_time.sinusoid_embeds.sinusoid_freq.dtype
        if dtype != torch.float32:
            raise CheckpointError(
                f"the time frequencies are {dtype}, must be float32: cast the Pi0, not its network"
            )
