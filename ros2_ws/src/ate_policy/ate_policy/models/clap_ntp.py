"""CLAP's token policy (arXiv 2601.04061, section III-D): a trunk that writes codes.

It learns by next-token prediction: codes only, observation and instruction are context (Eq. 5).
What the codes mean is the business of the action tokens that gave them; the network knows their
number alone.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from torch import Tensor

from ate_core.contract import Cell
from ate_core.errors import CheckpointError, UsageError
from ate_policy.models.clap_trunk import Trunk, TrunkConfig
from ate_policy.models.entry import PolicyEntry, PolicyOptions, PolicyPreset, Recipe
from ate_policy.models.interface import Inputs, PolicyConfig, TokenModel
from ate_policy.token_folder import load_tokens


@dataclass(frozen=True, kw_only=True)
class ClapNtpConfig(TrunkConfig):
    """Sizes of a token policy."""

    codes: int = 16
    """Codes of a chunk, of all arms; usually 8 for each of two."""
    codebook: int = 256
    """Codes that it chooses from K."""

    def __post_init__(self) -> None:
        """Refuse a policy that writes nothing."""
        super().__post_init__()
        self.require_positive("codes", "codebook")


PSEUDO_SHARE = 0.25
"""Usual part of a batch without actions (released: 26 % of the frames are of video)."""


@dataclass(frozen=True, kw_only=True)
class ClapNtpOptions(PolicyOptions):
    """CLAP's token policy: a small trunk that writes the codes of a chunk one by one."""

    tokens: Path | None = None
    """Run of `ate train-tokens` whose codes are learned; None: those of `--init`."""
    language: bool = False
    """Whether the policy reads the instruction, byte by byte."""
    image_dropout: float = 0.0
    """Probability with which a picture of a wrist camera is replaced by that of the first camera
    that stands (released: 0.5)."""

    pseudo: Path | None = None
    """Labels of episodes whose actions are not used, in the folder of these episodes (it, or the
    file): their codes are learned as well. None: there are none."""
    pseudo_share: float = PSEUDO_SHARE
    """Part of each batch that is drawn from them."""
    pseudo_confidence: float = 0.0
    """Windows are left out of which the codes of an arm are less sure than this, 0 to 1."""

    def __post_init__(self) -> None:
        """Refuse shares that are none, and those of nothing."""
        for name in ("image_dropout", "pseudo_confidence"):
            if not 0.0 <= getattr(self, name) <= 1.0:
                raise UsageError(f"{name} is {getattr(self, name)}, must be 0 to 1")
        if not 0.0 < self.pseudo_share < 1.0:
            raise UsageError(
                f"pseudo_share is {self.pseudo_share}, must be above 0 and below 1: a part of "
                "each batch"
            )
        if self.pseudo is None and (
            self.pseudo_share != PSEUDO_SHARE or self.pseudo_confidence != 0.0
        ):
            raise UsageError(
                "pseudo_share or pseudo_confidence is given, which this run would ignore: leave "
                "it out, or give --policy.pseudo"
            )

    def horizon(self) -> int | None:
        """Actions per chunk of the tokens."""
        return None if self.tokens is None else load_tokens(self.tokens).identity.horizon

    def fields(self, cell: Cell) -> dict[str, Any]:
        """Fields of the configuration that these options decide."""
        fields: dict[str, Any] = {"language": self.language}
        if self.tokens is not None:
            stored = load_tokens(self.tokens)
            fields |= {
                "codes": stored.codes,
                "codebook": stored.model.config.codebook,
                "tokens": str(stored.folder),
                "tokens_sha256": stored.identity.sha256,
            }
        return fields

    def check(self, config: PolicyConfig) -> None:
        """Refuse a policy whose codes mean nothing, and pictures to leave out that are not read.

        Raises:
            UsageError: saying what to give.
        """
        if not getattr(config, "tokens", ""):
            raise UsageError(
                "policy:clap_ntp writes codes of action tokens, and none are named: give "
                "--policy.tokens, a run of `ate train-tokens`, or --init of a token policy"
            )
        if self.image_dropout and len(config.cameras) < 2:
            raise UsageError(
                f"image_dropout is {self.image_dropout}, and the policy reads "
                f"{len(config.cameras)} cameras: leave it out, or give --variant vision with a "
                "camera that stands and one at a wrist"
            )


class ClapNtp(TokenModel):
    """Codes of the next chunk."""

    config: ClapNtpConfig

    def __init__(self, config: ClapNtpConfig) -> None:
        super().__init__()
        self.config = config
        self.trunk = Trunk(config)

    @property
    def token_source(self) -> tuple[str, str]:
        """Folder of the action tokens that say what its codes mean, and their sha256."""
        return self.config.tokens, self.config.tokens_sha256

    def forward(self, inputs: Inputs) -> Tensor:
        """Scores (B, L, K) of the codes that the inputs hold, each given those before it."""
        if inputs.codes is None:
            raise CheckpointError("there are no codes to score: give them in Inputs.codes")
        return self.trunk.score(inputs, inputs.codes)[1]

    def chunk(self, inputs: Inputs) -> Tensor:
        """The likeliest codes (B, L) int64."""
        return self.trunk.write(inputs)


SMALL = Recipe(batch=128, learning_rate=5e-4, warmup=100)
"""Small sizes from random weights."""
SMALL_CAMERAS = Recipe(batch=32, learning_rate=5e-4, warmup=100)
"""The same with cameras: as many observations as other networks of this size see per step."""

PRESETS = {
    "tiny": PolicyPreset(
        sizes={"trunk_width": 32, "trunk_depth": 2, "trunk_heads": 2, "longest_text": 32},
        recipe=SMALL,
        recipe_cameras=SMALL_CAMERAS,
    ),
    "small": PolicyPreset(recipe=SMALL, recipe_cameras=SMALL_CAMERAS),
    "full": PolicyPreset(
        sizes={"trunk_width": 512, "trunk_depth": 12, "trunk_heads": 8},
        recipe=Recipe(batch=128, learning_rate=1e-4, warmup=1000),
        recipe_cameras=Recipe(batch=128, learning_rate=1e-4, warmup=1000),
    ),
}
"""Trunks of the sizes of `clap_rf`, which can start from them."""

ENTRY = PolicyEntry(
    config=ClapNtpConfig,
    build=ClapNtp,
    options=ClapNtpOptions,
    presets=PRESETS,
    only_absolute="the space of its tokens says what they are relative to",
    writes=True,
)
