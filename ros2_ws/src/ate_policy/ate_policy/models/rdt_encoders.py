"""Instruction and images -> tokens for RDT's cross-attention.

Small encoders are trained with the policy and stored with it. The published ones, T5-v1.1-XXL and
SigLIP, stay frozen: they are read from local folders when first used, never downloaded, and
belong neither to the policy's parameters nor to its checkpoint. On another machine, ATE_MODELS
says where they are.
"""

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Protocol

import torch
from torch import Tensor, nn

from ate_core.errors import CheckpointError
from ate_policy.models.image_encoder import ImageEncoder
from ate_policy.models.rdt_config import RdtConfig
from ate_policy.models.token_rows import pad_rows

MODELS_VARIABLE = "ATE_MODELS"
"""Names the folder that holds this machine's encoders: they are too large for a checkpoint, and
where they lay on the machine that trained means nothing on another."""

T5, SIGLIP = "google/t5-v1_1-xxl", "google/siglip-so400m-patch14-384"
"""Published encoders."""

PADDING = 256
"""Byte token that fills short texts."""


class TextEncoder(Protocol):
    """Texts -> tokens; all texts of a batch are padded to the longest."""

    size: int
    """Numbers per token."""

    def __call__(self, texts: Sequence[str], like: Tensor) -> tuple[Tensor, Tensor]:
        """B texts -> tokens (B, L, size), and where they are valid (B, L).

        Args:
            texts: Of a batch.
            like: What is made has its device, and tokens of frozen encoders its precision.
        """


class ImageTokens(Protocol):
    """Images -> tokens."""

    size: int
    """Numbers per token."""
    count: int
    """Tokens per camera."""

    def __call__(self, images: Tensor) -> Tensor:
        """(B, K, 3, h, w) in [-0.5, 0.5] -> (B, K count, size)."""


class ByteText(nn.Module):
    """One learned vector per UTF-8 byte; enough to tell a few instructions apart."""

    def __init__(self, size: int, longest: int) -> None:
        super().__init__()
        self.size = size
        self.longest = longest
        self.embedding = nn.Embedding(PADDING + 1, size)

    def forward(self, texts: Sequence[str], like: Tensor) -> tuple[Tensor, Tensor]:
        """B texts -> (B, L, size), (B, L); an empty text is one padding token."""
        rows = tuple(tuple(text.encode())[: self.longest] or (PADDING,) for text in texts)
        ids, valid = pad_rows(rows, PADDING, like.device)
        return self.embedding(ids), valid


class SmallImageTokens(nn.Module):
    """The cells of `ImageEncoder`'s last maps."""

    def __init__(self, cameras: int, height: int, width: int) -> None:
        super().__init__()
        self.encoder = ImageEncoder(cameras)
        self.size = self.encoder.channels
        self.count = -(-height // 16) * -(-width // 16)

    def forward(self, images: Tensor) -> Tensor:
        """(B, K, 3, h, w) -> (B, K count, size)."""
        return self.encoder.maps(images).movedim(2, -1).flatten(1, 3)


class T5Text:
    """Last hidden states of a T5 encoder, frozen; instructions seen before are remembered."""

    size = 4096
    """Width of T5-v1.1-XXL."""

    def __init__(self, folder: str, longest: int) -> None:
        self._folder = folder
        self._longest = longest
        self._model: Any = None  # of transformers, with its tokenizer; loaded when first used
        self._tokenizer: Any = None
        self._known: dict[str, Tensor] = {}

    def __call__(self, texts: Sequence[str], like: Tensor) -> tuple[Tensor, Tensor]:
        """B texts -> (B, L, 4096), (B, L)."""
        for text in texts:
            if text not in self._known:
                self._known[text] = self._encode(text, like)
        rows = [self._known[text].to(like) for text in texts]
        tokens = nn.utils.rnn.pad_sequence(rows, batch_first=True)
        places = torch.arange(tokens.shape[1], device=like.device)
        return tokens, torch.stack([places < len(row) for row in rows])

    @torch.no_grad()
    def _encode(self, text: str, like: Tensor) -> Tensor:
        if self._model is None:
            self._load()
        ids = self._tokenizer(
            text, max_length=self._longest, truncation=True, return_tensors="pt"
        ).input_ids
        return _beside(self._model, like)(ids.to(like.device)).last_hidden_state[0].to(like)

    def _load(self) -> None:
        folder = local_folder(self._folder, "text_encoder", T5)
        from transformers import AutoTokenizer, T5EncoderModel

        self._tokenizer = AutoTokenizer.from_pretrained(folder, local_files_only=True)
        model: Any = T5EncoderModel.from_pretrained(folder, local_files_only=True)
        _require("text_encoder", folder, T5, "width", model.config.d_model, self.size)
        self._model = model.eval()


class SiglipTokens:
    """Last hidden states of SigLIP's image half, frozen."""

    size = 1152
    """Width of siglip-so400m-patch14-384."""
    patch = 14
    """Edge of its patches [px]."""

    def __init__(self, folder: str, height: int, width: int) -> None:
        self._folder = folder
        self._edges = (height, width)
        self._model: Any = None  # of transformers; loaded when first used
        self.count = (height // self.patch) * (width // self.patch)

    @torch.no_grad()
    def __call__(self, images: Tensor) -> Tensor:
        """(B, K, 3, h, w) in [-0.5, 0.5] -> (B, K count, 1152)."""
        if self._model is None:
            self._load()
        pixels = 2.0 * images.flatten(0, 1)  # SigLIP reads [-1, 1]
        hidden = _beside(self._model, images)(pixel_values=pixels).last_hidden_state
        return hidden.to(images).unflatten(0, images.shape[:2]).flatten(1, 2)

    def _load(self) -> None:
        folder = local_folder(self._folder, "image_encoder", SIGLIP)
        from transformers import SiglipVisionModel

        model: Any = SiglipVisionModel.from_pretrained(folder, local_files_only=True)
        sizes = model.config
        _require("image_encoder", folder, SIGLIP, "width", sizes.hidden_size, self.size)
        _require("image_encoder", folder, SIGLIP, "patch size", sizes.patch_size, self.patch)
        for edge in self._edges:
            _require("image_encoder", folder, SIGLIP, "image size", sizes.image_size, edge)
        self._model = model.eval()


def _beside(model: nn.Module, like: Tensor) -> nn.Module:
    """A model where a tensor is, in its precision; asking for a move costs 3 ms each time."""
    weight = next(model.parameters())
    if (weight.device, weight.dtype) != (like.device, like.dtype):
        model.to(like)
    return model


def require_encoders(config: RdtConfig) -> None:
    """Refuse a configuration whose frozen encoders are not on this machine."""
    if config.encoders == "published":
        if config.language:
            local_folder(config.text_encoder, "text_encoder", T5)
        if config.cameras:
            local_folder(config.image_encoder, "image_encoder", SIGLIP)


def local_folder(folder: str, option: str, name: str, licence: str = "Apache-2.0") -> Path:
    """The folder of a published encoder: the given one, or its namesake in $ATE_MODELS.

    Args:
        folder: As given in training, perhaps on another machine; may be empty.
        option: Field of the configuration that holds it.
        name: Of the published encoder.
        licence: It comes under.
    """
    models = os.environ.get(MODELS_VARIABLE, "")
    namesake = Path(models) / Path(folder or name).name
    for place in ([Path(folder)] if folder else []) + ([namesake] if models else []):
        if (place / "config.json").is_file():
            return place
    raise CheckpointError(
        f"{option} is '{folder}' and {MODELS_VARIABLE} is '{models}': neither that folder nor "
        f"{namesake.name} in {MODELS_VARIABLE} holds a config.json; set {MODELS_VARIABLE} to the "
        f"folder that holds {namesake.name}, or download {name} ({licence}) once with "
        f"`hf download {name} --local-dir <folder>` and give that folder in training"
    )


def _require(option: str, folder: Path, name: str, what: str, found: int, wanted: int) -> None:
    """Refuse an encoder of another size."""
    if found != wanted:
        raise CheckpointError(
            f"{option} is '{folder}' with {what} {found}, the policy reads {wanted}: give {name}"
        )
