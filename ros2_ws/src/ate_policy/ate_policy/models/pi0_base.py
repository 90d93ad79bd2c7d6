"""What pi0 and pi0.5 have in common: the vision-language model, and actions of 32 numbers."""

from abc import ABC
from collections.abc import Callable

import torch
from torch import Tensor

from ate_core.errors import CheckpointError, LayoutError
from ate_policy.models.interface import ChunkModel, Inputs
from ate_policy.models.pi0_adapters import accept_merged
from ate_policy.models.pi0_config import Pi0Config
from ate_policy.models.pi0_inputs import (
    ByteTokenizer,
    Prompts,
    Tokenizer,
    camera_order,
    load_tokenizer,
    pad_last,
    require_vocabulary,
)
from ate_policy.models.pi0_layers import Prefix, encode_prefix
from ate_policy.models.pi0_network import build_network
from ate_policy.noise import FlowProcess


class VisionLanguagePolicy(ChunkModel, ABC):
    """A prefix of image and prompt tokens, read by an expert that denoises."""

    config: Pi0Config
    continues = True

    def __init__(self, config: Pi0Config) -> None:
        super().__init__()
        self.config = config
        self.process = FlowProcess(prediction="velocity_pi0", beta=(1.5, 1.0))
        # first: a missing one is refused before gigabytes are drawn
        self._tokenizer: Tokenizer = ByteTokenizer()
        if config.reads_text:
            self._tokenizer = load_tokenizer(config.tokenizer)
            require_vocabulary(self._tokenizer, config.tokenizer, config.vocabulary)
        self.network = build_network(config)
        self._cameras = camera_order(config.cameras)
        self.register_load_state_dict_pre_hook(accept_merged)  # type: ignore[no-untyped-call]

    def embed(self, actions: Tensor) -> Tensor:
        """(..., D) -> (..., 32), zeros behind."""
        return pad_last(actions, self.config.max_action_size)

    def extract(self, chunk: Tensor) -> Tensor:
        """(..., 32) -> (..., D)."""
        return chunk[..., : self.config.action_size]

    def encode_tokens(self, prompts: Prompts, inputs: Inputs) -> Prefix:
        """Run images and prompts through the vision-language model."""
        self._require_exact_time()
        embeddings, mask = self._embed_prefix(prompts, inputs)
        checkpointing = self.config.gradient_checkpointing and self.training
        return encode_prefix(self.network, embeddings, mask, checkpointing)

    def texts(self, inputs: Inputs) -> tuple[str, ...]:
        """The instructions, or as many empty ones where the policy reads none."""
        batch = len(inputs.state)
        texts = inputs.instructions if self.config.language else ("",) * batch
        if len(texts) != batch:
            raise LayoutError(
                f"{len(texts)} instructions for {batch} observations, must be one for each"
            )
        return texts

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

    def _apply(
        self, fn: Callable[[Tensor], Tensor], recurse: bool = True
    ) -> "VisionLanguagePolicy":
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
                f"the time frequencies are {dtype}, must be float32: cast the policy, not its "
                "network"
            )
