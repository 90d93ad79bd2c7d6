"""Sampling on a GPU as one CUDA graph.

To sample a chunk, a large policy launches thousands of short kernels, and Python takes longer to
launch them than the GPU to run them. A graph is recorded once and launched at once. It repeats
the same operations on the same memory: whatever the sampler derives from shapes or from the
instruction is part of the recording, so another shape or instruction is recorded anew.
"""

import dataclasses
import warnings
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from ate_policy.models.interface import Inputs

Sampler = Callable[[Inputs, Tensor], Tensor]
"""Observation and noise (B, H, M) -> chunk (B, H, M)."""

REHEARSALS = 3
"""Runs before a recording: kernels are chosen, tables are filled."""


class GraphedSampler:
    """A sampler that records itself; its weights must stay where they are."""

    def __init__(self, sample: Sampler) -> None:
        self._sample = sample
        self._key: object = None
        self._graph: torch.cuda.CUDAGraph | None = None

    def __call__(self, inputs: Inputs, noise: Tensor) -> Tensor:
        """As the sampler itself."""
        key = (inputs.instructions, [(v.shape, v.dtype) for v in _tensors(inputs, noise)])
        if key != self._key:
            self._record(inputs, noise)
            self._key = key
        if self._graph is None:
            return self._sample(inputs, noise)
        own = _tensors(self._inputs, self._noise)
        for kept, given in zip(own, _tensors(inputs, noise), strict=True):
            kept.copy_(given)
        self._graph.replay()
        return self._chunk.clone()

    def _record(self, inputs: Inputs, noise: Tensor) -> None:
        self._graph = None
        changes: dict[str, Any] = {
            name: v.clone() for name, v in vars(inputs).items() if isinstance(v, Tensor)
        }
        self._inputs, self._noise = dataclasses.replace(inputs, **changes), noise.clone()
        stream = torch.cuda.Stream(noise.device)
        stream.wait_stream(torch.cuda.current_stream(noise.device))
        with torch.cuda.stream(stream):
            for _ in range(REHEARSALS):
                self._sample(self._inputs, self._noise)
        torch.cuda.current_stream(noise.device).wait_stream(stream)
        graph = torch.cuda.CUDAGraph()
        try:
            with torch.cuda.graph(graph, stream=stream, capture_error_mode="thread_local"):
                self._chunk = self._sample(self._inputs, self._noise)
        except RuntimeError as error:
            reason = " ".join(str(error).split())[:160]
            warnings.warn(f"chunks are sampled without a CUDA graph ({reason})", stacklevel=3)
        else:
            self._graph = graph


def _tensors(inputs: Inputs, noise: Tensor) -> list[Tensor]:
    return [*(v for v in vars(inputs).values() if isinstance(v, Tensor)), noise]
