"""Whether a checkpoint knows what its weights learned, for whoever hands that on."""

from pathlib import Path

from ate_core.checkpoint_folders import PARTS
from ate_core.errors import CheckpointError
from ate_policy.checkpoint import describe_checkpoint
from ate_policy.models.registry import policy_entry
from training.pretrained.start import read_start


def require_known(folder: Path, purpose: str) -> None:
    """Refuse imported weights of which nobody said what their numbers were.

    Their checkpoint holds statistics that change nothing: handed on, they would pass for known.

    Args:
        folder: Checkpoint or run folder.
        purpose: What cannot be done, for people.
    """
    kind = describe_checkpoint(folder).kind
    if kind in PARTS:
        return  # made here, of its own data
    start = read_start(folder, policy_entry(kind).options())
    unknown = []
    if start.actions is None:
        unknown.append("whether its actions are absolute or relative")
    if start.statistics is None and start.normalised is not False:
        unknown.append("the statistics that its weights learned with")
    if unknown:
        raise CheckpointError(
            f"{folder} does not know {', nor '.join(unknown)}, so that {purpose}: fine-tune it "
            "first, or import it with --statistics and --actions"
        )
