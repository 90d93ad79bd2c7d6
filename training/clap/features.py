"""Frozen features of frames, by patch: what the video network reads and what it predicts.

`PcaPatches` needs nothing but frames of the robot; `DinoPatches` reads a folder of DINOv3, where
a user has one. Neither is trained, and no gradient reaches them.
"""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, Protocol

import torch
from torch import Tensor, nn

from ate_core.errors import CheckpointError, TrainingError
from ate_policy.models.rdt_encoders import local_folder
from training.data.digests import spread

FeatureKind = Literal["pca", "dino"]
DINO = "facebook/dinov3-vitb16-pretrain-lvd1689m"
"""Published encoder; it is never downloaded here."""
DINO_LICENCE = "DINOv3 License, to be accepted there"
"""Under which it comes."""
DINO_MEAN, DINO_STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
"""Of the pixels that DINOv3 was trained on (ImageNet's)."""
FLAT = 2.0 / 255.0
"""Smallest deviation along a direction [1]: compression noise must not become a feature."""
FIT_FRAMES = 512
"""Frames that the directions are fitted on; more change little."""


@dataclass(frozen=True, kw_only=True)
class FeatureConfig:
    """Which features of which frames; stored with what was trained on them."""

    kind: FeatureKind = "pca"
    """pca: directions of patches fitted on the robot's frames; dino: a folder of DINOv3."""
    height: int = 72
    """Of the frame that is looked at [px]."""
    width: int = 128
    """Of the frame that is looked at [px]."""
    patch: int = 8
    """Edge of a patch [px]; DINOv3: 16."""
    size: int = 24
    """Numbers per patch; DINOv3 ViT-B: 768."""
    folder: str = ""
    """Of DINOv3, as `hf download` leaves it; its namesake in $ATE_MODELS on another machine."""
    sha256: str = ""
    """Of DINOv3's weights, noted when they are first read."""

    def __post_init__(self) -> None:
        """Refuse frames that patches do not fill."""
        for name in ("height", "width"):
            edge = getattr(self, name)
            if edge < 1 or edge % self.patch:
                raise TrainingError(
                    f"{name} of the frames is {edge}, must be a multiple of the patch "
                    f"{self.patch}: give {max(1, round(edge / self.patch)) * self.patch}"
                )
        if self.kind == "pca" and not 0 < self.size <= 3 * self.patch**2:
            raise TrainingError(
                f"size of the features is {self.size}, a patch has {3 * self.patch**2} numbers: "
                "ask for fewer"
            )

    @property
    def patches(self) -> int:
        """Of a frame P."""
        return (self.height // self.patch) * (self.width // self.patch)


class FrameEncoder(Protocol):
    """Frames -> features of their patches."""

    config: FeatureConfig

    def __call__(self, frames: Tensor) -> Tensor:
        """(B, 3, h, w) in [0, 1] -> (B, P, F), row by row; no gradient."""

    def tensors(self) -> Mapping[str, Tensor]:
        """What a checkpoint must hold so that the same features can be made again."""


class PcaPatches:
    """The main directions of patches, each scaled to deviation 1 on the robot's frames."""

    def __init__(self, config: FeatureConfig, mean: Tensor, basis: Tensor) -> None:
        """Keep what was fitted.

        Args:
            config: Sizes.
            mean: (3 p p,) of patches.
            basis: (3 p p, F) directions over their deviations.
        """
        self.config = config
        self._mean, self._basis = mean, basis

    @classmethod
    def fit(cls, config: FeatureConfig, frames: Tensor) -> "PcaPatches":
        """Fit on frames (N, h, w, 3) uint8 of training episodes, about `FIT_FRAMES` of them."""
        some = spread(frames, FIT_FRAMES)
        patches = _patches(to_unit(some), config.patch).flatten(0, 1).double()
        mean = patches.mean(dim=0)
        centred = patches - mean
        values, vectors = torch.linalg.eigh(centred.T @ centred / len(centred))  # rising
        vectors = vectors.flip(1)[:, : config.size]
        largest = vectors.abs().argmax(dim=0)
        vectors = vectors * vectors[largest, torch.arange(vectors.shape[1])].sign()
        deviations = values.flip(0)[: config.size].clamp(min=0.0).sqrt().clamp(min=FLAT)
        return cls(config, mean.float(), (vectors / deviations).float().contiguous())

    @torch.no_grad()
    def __call__(self, frames: Tensor) -> Tensor:
        """(B, 3, h, w) in [0, 1] -> (B, P, F)."""
        require_size(frames, self.config)
        if self._mean.device != frames.device:
            self._mean, self._basis = self._mean.to(frames.device), self._basis.to(frames.device)
        return (_patches(frames, self.config.patch) - self._mean) @ self._basis

    def tensors(self) -> Mapping[str, Tensor]:
        """Mean and directions."""
        return {"mean": self._mean, "basis": self._basis}


class DinoPatches:
    """Last normed patch tokens of DINOv3 from a local folder, which stays where it is."""

    def __init__(self, config: FeatureConfig) -> None:
        """Load it.

        Raises:
            CheckpointError: the folder is not there, of other sizes, or its weights are others.
        """
        from transformers import DINOv3ViTModel

        folder = local_folder(config.folder, "features folder", DINO, DINO_LICENCE)
        model: Any = DINOv3ViTModel.from_pretrained(folder, local_files_only=True)
        for name, found, wanted in (
            ("patch", model.config.patch_size, config.patch),
            ("size", model.config.hidden_size, config.size),
        ):
            if found != wanted:
                raise CheckpointError(
                    f"{folder} has {name} {found}, asked for is {wanted}: give --features.{name} "
                    f"{found}"
                )
        sha256 = _sha256_of(folder)
        if config.sha256 not in ("", sha256):
            raise CheckpointError(
                f"{folder} holds weights {sha256[:12]}, trained was with {config.sha256[:12]}: "
                "give the folder of that encoder"
            )
        self.config = FeatureConfig(**{**vars(config), "sha256": sha256})
        self._model: nn.Module = model.eval().requires_grad_(False)
        self._first = 1 + model.config.num_register_tokens  # class token, registers, patches

    @torch.no_grad()
    def __call__(self, frames: Tensor) -> Tensor:
        """(B, 3, h, w) in [0, 1] -> (B, P, F)."""
        require_size(frames, self.config)
        self._model.to(frames.device)
        mean, std = (torch.tensor(one, device=frames.device) for one in (DINO_MEAN, DINO_STD))
        pixels = (frames - mean[:, None, None]) / std[:, None, None]
        hidden: Tensor = self._model(pixel_values=pixels).last_hidden_state
        return hidden[:, self._first :]

    def tensors(self) -> Mapping[str, Tensor]:
        """Nothing: the folder is named, and the digest of its weights."""
        return {}


def fit_features(config: FeatureConfig, frames: Tensor) -> FrameEncoder:
    """The features of a new run, from frames (N, h, w, 3) uint8 of its training episodes."""
    return DinoPatches(config) if config.kind == "dino" else PcaPatches.fit(config, frames)


def stored_features(config: FeatureConfig, tensors: Mapping[str, Tensor]) -> FrameEncoder:
    """The features that a checkpoint holds or names."""
    if config.kind == "dino":
        return DinoPatches(config)
    return PcaPatches(config, tensors["mean"], tensors["basis"])


def to_unit(frames: Tensor) -> Tensor:
    """(..., h, w, 3) uint8 -> (..., 3, h, w) in [0, 1]."""
    return frames.movedim(-1, -3).float() / 255.0


def require_size(frames: Tensor, config: FeatureConfig) -> None:
    """Refuse frames of another size."""
    found, wanted = tuple(frames.shape[-3:]), (3, config.height, config.width)
    if found != wanted:
        raise TrainingError(f"frames have shape {found}, the features read {wanted}: resize them")


def _patches(frames: Tensor, edge: int) -> Tensor:
    """(B, 3, h, w) -> (B, P, 3 edge edge), row by row."""
    cut = frames.unfold(2, edge, edge).unfold(3, edge, edge)  # (B, 3, rows, columns, edge, edge)
    return cut.permute(0, 2, 3, 1, 4, 5).flatten(3).flatten(1, 2)


def _sha256_of(folder: Path) -> str:
    digest = hashlib.sha256()
    for file in sorted(folder.glob("*.safetensors")):
        with file.open("rb") as opened:
            digest.update(hashlib.file_digest(opened, "sha256").digest())
    return digest.hexdigest()
