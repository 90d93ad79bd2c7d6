"""What every chunk policy's network has in common: inputs, configuration and four functions.

A network lives in its own action space of M numbers per action (pi0: 32, RDT: 128). `embed` puts
the D numbers of the cell's layout there, `extract` takes them out again; losses, guidance and
the robot see the D numbers only.
"""

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar, Literal

import torch
from torch import Tensor, nn

from ate_core.errors import CheckpointError, LayoutError
from ate_policy.models.inpainting import Inpainting
from ate_policy.noise import NoiseProcess

ImageFit = Literal["stretch", "pad", "pad_grey"]
"""stretch: resize to the wanted size; pad: keep the aspect and fill with black (openpi); pad_grey:
the same with mid-grey (RDT)."""


@dataclass(frozen=True, kw_only=True)
class Inputs:
    """What a network is conditioned on, a batch of B observations."""

    state: Tensor
    """(B, S), normalised."""
    environment: Tensor | None = None
    """(B, 6 n) object features, normalised; for a policy that reads object poses."""
    images: Tensor | None = None
    """(B, K, 3, h, w) in [-0.5, 0.5], cameras in the order of the model's `cameras`."""
    instructions: tuple[str, ...] = ()
    """B texts, for a policy that reads language; empty otherwise."""
    prefix: Tensor | None = None
    """(B,) how many first rows of each noisy chunk are given clean, to a network that is trained
    with delays; None: none."""
    codes: Tensor | None = None
    """(B, L) int64 codes of the true chunks, for a network that is asked to score them."""
    recalled: "Inputs | None" = None
    """Other observations with codes: where they are given, these codes alone are scored, and no
    chunk belongs to them."""

    def vector(self) -> Tensor:
        """State and object features side by side, (B, S + 6 n)."""
        if self.environment is None:
            return self.state
        return torch.cat([self.state, self.environment], dim=-1)

    def camera_images(self) -> Tensor:
        """The images, for a network that reads them.

        Raises:
            LayoutError: there are none.
        """
        if self.images is None:
            raise LayoutError("the network reads images, the observation has none: give them")
        return self.images


@dataclass(frozen=True, kw_only=True)
class PolicyConfig:
    """What every network is built from; its own class adds to it and is stored with it."""

    horizon: int = 20
    """Actions per chunk H [ticks]."""
    action_size: int = 16
    """Numbers per action D, as in the cell's layout."""
    state_size: int = 16
    """Numbers per measured state S."""
    objects: int = 0
    """Object poses the policy reads; 0 for a policy that sees the scene through cameras."""
    cameras: tuple[str, ...] = ()
    """Keys of the images the policy reads, in order."""
    image_height: int = 72
    """Height of the image the network sees [px]."""
    image_width: int = 128
    """Width of the image the network sees [px]."""
    image_fit: ImageFit = "stretch"
    """How an image is brought to that size."""
    language: bool = False
    """Whether the policy reads an instruction."""
    max_delay: int = 0
    """So many first rows of a chunk may be given clean, those that are played while it is inferred
    [ticks] (arXiv 2512.05964); 0: the network is not trained with delays."""
    takes_prefix: ClassVar[bool] = False
    """Whether the network can be told which rows are clean."""
    writes_codes: ClassVar[bool] = False
    """Whether the network may have a part that writes a chunk as codes."""
    by_quantiles: ClassVar[bool] = False
    """Whether the 1 % and 99 % quantiles of state and action are brought to -1 and 1, instead of
    mean and deviation to 0 and 1."""

    def __post_init__(self) -> None:
        """Refuse sizes that cannot be built."""
        for name in ("horizon", "action_size", "state_size", "image_height", "image_width"):
            self.require_positive(name)
        if self.objects < 0:
            raise CheckpointError(f"objects is {self.objects}, must not be negative")
        if not 0 <= self.max_delay < self.horizon:
            raise CheckpointError(
                f"max_delay is {self.max_delay} ticks, must be 0 to {self.horizon - 1}: less than "
                "the chunk"
            )
        if self.max_delay and not self.takes_prefix:
            raise CheckpointError(
                f"max_delay is {self.max_delay}, but the network cannot be told which rows are "
                "clean: use flow or pi0, or leave it out (rtc guides it instead)"
            )
        object.__setattr__(self, "cameras", tuple(self.cameras))

    @property
    def adds_weights(self) -> bool:
        """Whether training draws weights that no checkpoint holds (adapters); here: no."""
        return False

    @property
    def keeps(self) -> str:
        """Part that is not trained and useless with random weights; empty: there is none."""
        return ""

    @property
    def learns_codes(self) -> bool:
        """Whether the loss of its codes is added to that of its chunks; here: no."""
        return False

    def deployed(
        self, weights: Mapping[str, Tensor]
    ) -> tuple["PolicyConfig", Mapping[str, Tensor]]:
        """What a checkpoint holds of a trained network: here, just that.

        A network whose training needs more than its inference (adapters) says otherwise.
        """
        return self, weights

    def require_positive(self, *names: str) -> None:
        """Refuse sizes below 1."""
        for name in names:
            if getattr(self, name) < 1:
                raise CheckpointError(f"{name} is {getattr(self, name)}, must be at least 1")


@dataclass(frozen=True, kw_only=True)
class Scored:
    """A prediction together with the scores of the codes that were given."""

    chunk: Tensor
    """(R B, H, M), what `forward` returns otherwise."""
    logits: Tensor
    """(B, L, K); the scores of each code have seen those before it."""
    codes: Tensor
    """(B, L) int64, as given."""


class ChunkModel(nn.Module, ABC):
    """A network that learns chunks by denoising."""

    config: PolicyConfig
    """What it was built from."""
    process: NoiseProcess
    """How its chunks are noised, and what it predicts."""
    continues: ClassVar[bool] = False
    """Whether `sample` takes an `Inpainting` as its third argument: chunks that go on with others
    (real-time chunking)."""
    graphable: ClassVar[bool] = True
    """Whether a recording of `sample` on a GPU may be replayed: not where the state is read on the
    CPU, because the recorded one would be replayed with it."""

    def embed(self, actions: Tensor) -> Tensor:
        """(..., D) normalised actions -> (..., M); what the layout lacks is zero. Here: M = D."""
        return actions

    def extract(self, chunk: Tensor) -> Tensor:
        """(..., M) -> (..., D), the inverse of `embed`."""
        return chunk

    def keep_codes(self) -> None:
        """Train nothing that only the scores of codes reach: the run asks for none."""

    @abstractmethod
    def forward(self, noisy: Tensor, level: Tensor, inputs: Inputs) -> Tensor | Scored:
        """Predict what `process.prediction` names.

        Args:
            noisy: (R B, H, M); R chunks in a row belong to each of the B observations.
            level: (R B,), the process's own time.
            inputs: B observations.

        Returns:
            (R B, H, M); with scores where the network writes codes and the inputs have some.
        """

    @abstractmethod
    def sample(self, inputs: Inputs, noise: Tensor, old: Inpainting | None = None) -> Tensor:
        """Denoise; (B, H, M) standard normal -> (B, H, M) normalised actions.

        Args:
            inputs: B observations.
            noise: Standard normal.
            old: Rows that the chunk has to agree with; given only where `continues` is true.
        """


class TokenModel(nn.Module, ABC):
    """A network that writes a chunk as codes: no noise, one chunk per observation."""

    config: PolicyConfig
    """What it was built from."""

    @property
    @abstractmethod
    def token_source(self) -> tuple[str, str]:
        """Folder of the action tokens that say what its codes mean, and their sha256."""

    @abstractmethod
    def forward(self, inputs: Inputs) -> Tensor:
        """Scores (B, L, K) of the codes that the inputs hold, each given those before it."""

    @abstractmethod
    def chunk(self, inputs: Inputs) -> Tensor:
        """The likeliest codes (B, L) int64 of the next chunk, exactly as many as it has."""


Network = ChunkModel | TokenModel
"""Whatever makes chunks."""


def action_width(model: ChunkModel) -> int:
    """Numbers per action M in the network's own space."""
    return model.embed(torch.zeros(model.config.action_size)).shape[-1]
