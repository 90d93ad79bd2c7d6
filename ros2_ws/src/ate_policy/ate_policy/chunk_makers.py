"""From what a network is given to a chunk in robot units: denoised, or written as codes."""

import logging
from typing import Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ate_core.contract import Cell
from ate_core.errors import LayoutError, UsageError
from ate_policy.code_decoder import CodeDecoder
from ate_policy.continuation import Continuation
from ate_policy.graphed import GraphedSampler
from ate_policy.models.inpainting import Inpainting, soft_mask
from ate_policy.models.interface import ChunkModel, Inputs, Network, TokenModel, action_width
from ate_policy.token_folder import travelling_tokens
from ate_policy.transforms import ChunkTransform

logger = logging.getLogger(__name__)


class ChunkMaker(Protocol):
    """How a policy makes its chunks."""

    continues: bool
    """Whether `make` takes a continuation (real-time chunking)."""

    def make(
        self,
        inputs: Inputs,
        state: NDArray[np.float32],
        generator: torch.Generator | None,
        continuation: Continuation | None,
    ) -> NDArray[np.float32]:
        """Make a chunk (H, D) in robot units.

        Args:
            inputs: One observation.
            state: What was measured (S,), in robot units.
            generator: Source of noise; None: torch's global one.
            continuation: The chunk that is being played.
        """


class DenoisedChunks:
    """Chunks of a network that starts from noise."""

    def __init__(self, kind: str, model: ChunkModel, transform: ChunkTransform) -> None:
        """Take the network as it is, on its device.

        Args:
            kind: Of the network, for messages.
            model: Frozen.
            transform: Of the policy.
        """
        self._kind, self._model, self._transform = kind, model, transform
        self._device = next(model.parameters()).device
        graphed = self._device.type == "cuda" and model.graphable
        self._sample = GraphedSampler(model.sample) if graphed else model.sample
        self._told_plain = not graphed
        self._width = action_width(model)
        self.continues: bool = model.continues

    def make(
        self,
        inputs: Inputs,
        state: NDArray[np.float32],
        generator: torch.Generator | None,
        continuation: Continuation | None,
    ) -> NDArray[np.float32]:
        """Draw noise and denoise it, see `ChunkMaker.make`."""
        noise = torch.randn(1, self._model.config.horizon, self._width, generator=generator)
        noise, measured = noise.to(self._device), torch.from_numpy(state)[None]
        if continuation is None:
            chunk = self._sample(inputs, noise)
        else:
            self._tell_plain()
            old = self._inpainting(continuation, measured)
            chunk = self._model.sample(inputs, noise, old)
        chunk = self._model.extract(chunk).float().cpu()
        return self._transform.decode_chunk(chunk, measured)[0].numpy().astype(np.float32)

    def _tell_plain(self) -> None:
        """Say once that a chunk that goes on with another has no CUDA graph."""
        if not self._told_plain:
            logger.info(
                "policy:%s samples chunks that go on with the one before without a CUDA graph: "
                "they take longer than the first", self._kind,
            )  # fmt: skip
        self._told_plain = True

    def _inpainting(self, continuation: Continuation, state: Tensor) -> Inpainting:
        """The old rows in the network's units, as differences from the present state (1, S).

        Rows behind the last old one repeat it; their weight is 0.
        """
        if not self.continues:
            raise UsageError(
                f"policy:{self._kind} cannot go on with a chunk: use another chunk mode"
            )
        reads = self._model.config
        horizon = reads.horizon
        old = torch.from_numpy(np.asarray(continuation.actions[:horizon], dtype=np.float32))
        if old.shape[1] != reads.action_size:
            raise LayoutError(
                f"an old chunk has {old.shape[1]} entries per action, the policy "
                f"{reads.action_size}: clear the queue when the policy changes"
            )
        rows = torch.cat([old, old[-1:].expand(horizon - len(old), -1)])
        embed = self._model.embed
        weights = soft_mask(horizon, continuation.delay, len(old))[:, None]
        known = embed(torch.ones(reads.action_size))
        # as many rows as it was trained to be given; at more, or none, it is guided
        trained = continuation.delay <= reads.max_delay
        return Inpainting(
            prefix=min(continuation.delay, len(old)) if trained else 0,
            through_network=continuation.through_network,
            rows=embed(self._transform.encode_chunk(rows[None], state)).to(self._device),
            weights=(weights * known).to(self._device),
        )


class WrittenChunks:
    """Chunks of a network that writes codes: no noise, and nothing to go on with."""

    continues: bool = False

    def __init__(self, kind: str, model: TokenModel, cell: Cell) -> None:
        """Load the tokens that travel with the network.

        Args:
            kind: Of the network, for messages.
            model: Frozen.
            cell: Whose arms move.

        Raises:
            CheckpointError: they are not there, or others than the network was trained with.
        """
        self._kind, self._model = kind, model
        self._decoder = CodeDecoder(travelling_tokens(*model.token_source), cell)

    def make(
        self,
        inputs: Inputs,
        state: NDArray[np.float32],
        generator: torch.Generator | None,
        continuation: Continuation | None,
    ) -> NDArray[np.float32]:
        """Write the likeliest codes and decode them, see `ChunkMaker.make`."""
        if continuation is not None:
            raise UsageError(
                f"policy:{self._kind} writes whole chunks and cannot go on with one: use chunk "
                "mode synchronous or temporal_ensemble"
            )
        return self._decoder.actions(self._model.chunk(inputs)[0], state)


def make_chunks(kind: str, model: Network, transform: ChunkTransform, cell: Cell) -> ChunkMaker:
    """How the chunks of a network are made.

    Args:
        kind: Of the network, for messages.
        model: Frozen.
        transform: Of the policy.
        cell: Whose arms move.
    """
    if isinstance(model, TokenModel):
        return WrittenChunks(kind, model, cell)
    return DenoisedChunks(kind, model, transform)
