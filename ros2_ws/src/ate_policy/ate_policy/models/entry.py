"""What one network tells about itself, in one entry of the registry.

The entry names its configuration, its sizes and how each of them is usually trained, what it may
be conditioned on, and its options on the command line. A new network is one file with an entry,
and one line of `ate_policy.models.names` (or an entry point of another package).
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from ate_core.contract import Cell
from ate_core.errors import UsageError
from ate_policy.models.interface import Network, PolicyConfig

PresetName = Literal["tiny", "small", "full"]
ImageAugmentation = Literal["shift", "openpi", "none"]
"""shift: all images of a tick move by a few pixels; openpi: crop, rotation and colour, as pi0 was
trained."""
Input = Literal["objects", "cameras"]
"""What a network may read besides the state, as `--variant` chooses."""


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """How a policy is usually optimised; every field can be given on the command line."""

    batch: int
    """Chunks per optimiser step."""
    learning_rate: float
    """Peak rate of AdamW."""
    final_rate: float = 0.0
    """Rate at the end of the cosine."""
    warmup: int = 0
    """Steps from (almost) zero to the peak rate, linear as in openpi."""
    betas: tuple[float, float] = (0.9, 0.999)
    """Decay of AdamW's moments."""
    weight_decay: float = 1e-4
    """AdamW."""
    ema_decay: float = 0.999
    """Decay of the averaged weights; 0: none, the raw weights are saved."""
    draws: int = 1
    """Noisy chunks per observation."""

    @property
    def observations(self) -> int:
        """Observations per step."""
        return self.batch // self.draws


SCRATCH = Recipe(batch=128, learning_rate=1e-3)
"""Small networks from random weights."""
SCRATCH_CAMERAS = Recipe(batch=256, learning_rate=1e-3, draws=8)
"""The same with cameras: observing costs more than denoising."""


@dataclass(frozen=True, kw_only=True)
class PolicyPreset:
    """One size of a network, and how it is usually trained."""

    sizes: Mapping[str, Any] = field(default_factory=dict)
    """Fields of its configuration."""
    recipe: Recipe = SCRATCH
    """Optimisation."""
    recipe_cameras: Recipe = SCRATCH_CAMERAS
    """Optimisation where it reads cameras."""
    augmentation: ImageAugmentation = "shift"
    """How its images are changed at random."""


@dataclass(frozen=True, kw_only=True)
class PolicyOptions:
    """Command-line options that every network has; a network's own class adds to them.

    The first line of that class is what `ate finetune --help` says about the network.
    """

    preset: PresetName = "small"
    """Size: small trains on a CPU, full is the published one, tiny is for tests."""

    def fields(self, cell: Cell) -> dict[str, Any]:
        """Fields of the network's configuration that these options or the cell decide."""
        return {}

    def horizon(self) -> int | None:
        """Actions per chunk that these options decide; None: they decide none."""
        return None

    def check(self, config: PolicyConfig) -> None:
        """Refuse what the network would not read or lacks, before its weights are drawn."""


@dataclass(frozen=True, kw_only=True)
class PolicyEntry:
    """A kind of policy."""

    config: type[PolicyConfig]
    """Its configuration; stored in every checkpoint."""
    build: Callable[[Any], Network]
    """Makes the network with fresh weights from that configuration: its class, or a function that
    imports a slow one when it is called."""
    options: type[PolicyOptions]
    """Its options on the command line; a class of its own."""
    presets: Mapping[str, PolicyPreset]
    """By name; `options.preset` offers the same names."""
    reads: tuple[Input, ...] = ("objects", "cameras")
    """What it can be conditioned on."""
    only_absolute: str = ""
    """Why it cannot learn relative actions; empty: it can."""
    writes: bool = False
    """Whether it writes chunks as codes (`TokenModel`), instead of denoising them."""
    starts_from: tuple[str, ...] = ()
    """Other kinds of networks whose trunk it can start from (`--init`)."""
    large: bool = False
    """Whether reading its weights from a GPU's memory takes longer than computing with them: then
    `precision: auto` is bf16 there."""

    def kinds_of_start(self, name: str) -> tuple[str, ...]:
        """Kinds of checkpoints that a network of this kind, named so, can start from."""
        return (name, *self.starts_from)

    def preset(self, name: str) -> PolicyPreset:
        """A size by name.

        Raises:
            UsageError: the network has no such size.
        """
        if name not in self.presets:
            raise UsageError(f"there is no preset {name!r}: known are {', '.join(self.presets)}")
        return self.presets[name]
