"""The policy as it was before the first step, for a loss that compares with it.

It is kept beside the network, never in a checkpoint: a run that is resumed builds it again from
`--init`, and is refused where that has changed since.
"""

import copy
import hashlib

from torch import nn

from ate_policy.models.interface import ChunkModel
from training.configs.finetune import FinetuneConfig
from training.loop.run_folder import RunFolder
from training.objectives.guidance import ComparesWithInitial

FINGERPRINT = "initial_policy.sha256"
"""File of the run folder: which weights the run is compared with."""


def keep_initial(
    config: FinetuneConfig, model: ChunkModel, folder: RunFolder
) -> ChunkModel | None:
    """A frozen copy of a network that was not trained yet; None where no loss asks for it.

    Raises:
        UsageError: the run began with other weights.
    """
    guidance = config.guidance
    if not isinstance(guidance, ComparesWithInitial) or guidance.strength == 0.0:
        return None
    remedy = f"put back what {config.init} was, or choose another output"
    folder.require_same(FINGERPRINT, fingerprint(model), "the initial policy", remedy)
    return copy.deepcopy(model).requires_grad_(False).eval()


def fingerprint(model: nn.Module) -> str:
    """Digest of a network's weights."""
    digest = hashlib.sha256()
    for name, value in model.state_dict().items():
        digest.update(name.encode())
        digest.update(value.detach().float().cpu().contiguous().numpy())
    return digest.hexdigest()
