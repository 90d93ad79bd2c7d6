"""A token policy that is kept as it is, and what makes it comparable with a trunk that learns.

Policy and reference are asked about the same numbers: observations of one layout, normalised with
the same statistics, and codes of the same tokens, through trunks of one shape. Where one of these
differs the divergence would mean nothing, and the reference is refused by its name.
"""

import dataclasses
from pathlib import Path

import torch
from torch import Tensor

from ate_core.contract import parse_cell_text
from ate_core.errors import CheckpointError, TrainingError
from ate_policy.checkpoint import Checkpoint, load_checkpoint
from ate_policy.loading import restore_model
from ate_policy.models.clap_ntp import ClapNtp
from ate_policy.models.clap_trunk import TrunkConfig
from ate_policy.models.interface import Inputs, PolicyConfig
from ate_policy.token_folder import StoredTokens, travelling_tokens
from ate_policy.transforms import Statistics

KIND = "clap_ntp"
"""Kind of a checkpoint that holds a token policy."""
TOKENS = "tokens"
"""Field of a model that names the folder of its action tokens."""


@dataclasses.dataclass(frozen=True, kw_only=True, eq=False)
class TokenReference:
    """A frozen token policy: it scores codes, and writes its own."""

    folder: Path
    """As given."""
    model: ClapNtp
    """In eval mode, without gradients."""
    tokens: StoredTokens
    """What its codes mean."""
    checkpoint: Checkpoint
    """Folder content."""

    def __call__(self, inputs: Inputs, codes: Tensor) -> Tensor:
        """Scores (B, L, K) of each code given those before it (B, L)."""
        scores: Tensor = self.model(dataclasses.replace(inputs, codes=codes))
        return scores

    def write(self, inputs: Inputs) -> Tensor:
        """The codes (B, L) int64 that it would write itself."""
        return self.model.chunk(inputs)

    def require_comparable(
        self, config: PolicyConfig, statistics: Statistics, contract: str
    ) -> None:
        """Refuse a policy with which it has nothing to compare.

        Args:
            config: Of the policy's network.
            statistics: That the policy's observations are normalised with.
            contract: Text of its data's cell.

        Raises:
            TrainingError: another trunk, or other statistics.
            LayoutError: another layout.
        """
        parse_cell_text(contract).layout.require(
            self.checkpoint.cell.layout, f"the reference {self.folder}"
        )
        for field in dataclasses.fields(TrunkConfig):
            if field.name == TOKENS:  # compared by what they mean
                continue
            ours, theirs = getattr(config, field.name), getattr(self.model.config, field.name)
            if ours != theirs:
                raise TrainingError(
                    f"the reference {self.folder} has {field.name} {theirs}, this policy {ours}: "
                    "give the token policy that its trunk comes from"
                )
        own = self.checkpoint.statistics
        if (own.state, own.environment) != (statistics.state, statistics.environment):
            raise TrainingError(
                f"the reference {self.folder} normalises observations with other statistics than "
                "this run: give --statistics init, and --init of the same token policy"
            )


def load_reference(folder: Path, device: torch.device) -> TokenReference:
    """A frozen token policy with the tokens that travel with it.

    Args:
        folder: Checkpoint or run folder.
        device: Where it is asked.

    Raises:
        CheckpointError: it holds none, or no tokens.
    """
    stored = load_checkpoint(folder, kind=KIND)
    tokens = tokens_of(stored, folder)
    try:
        model = restore_model(stored, device)
    except CheckpointError as error:
        raise CheckpointError(f"{folder}: {error}") from None
    assert isinstance(model, ClapNtp)
    return TokenReference(
        folder=folder,
        model=model.eval().requires_grad_(False),
        tokens=tokens,
        checkpoint=stored,
    )


def tokens_of(stored: Checkpoint, folder: Path) -> StoredTokens:
    """The tokens that travel with a policy that writes codes.

    Args:
        stored: The policy's checkpoint.
        folder: Where it lies, for messages.

    Raises:
        CheckpointError: it holds none, or others than it was trained with.
    """
    found = stored.model.get(TOKENS)
    if not found:
        raise CheckpointError(
            f"{folder} holds no action tokens, which give the codes of chunks: train it again"
        )
    return travelling_tokens(str(found), str(stored.model.get("tokens_sha256")))
