"""Whether a checkpoint knows what its weights learned, for whoever hands that on."""

from pathlib import Path

from ate_core.errors import CheckpointError
from ate_policy.checkpoint import describe_checkpoint
from training.pretrained.start import learned_of


def require_known(folder: Path, purpose: str) -> None:
    """Refuse imported weights of which nobody said what their numbers were.

    Their checkpoint holds statistics that change nothing: handed on, they would pass for known.

    Args:
        folder: Checkpoint or run folder.
        purpose: What cannot be done, for people.
    """
    actions, is_normalised, is_known = learned_of(describe_checkpoint(folder))
    unknown = []
    if actions is None:
        unknown.append("whether its actions are absolute or relative")
    if not is_known and is_normalised is not False:
        unknown.append("the statistics that its weights learned with")
    if unknown:
        raise CheckpointError(
            f"{folder} does not know {', nor '.join(unknown)}, so that {purpose}: fine-tune it "
            "first, or import it with --statistics and --actions"
        )
