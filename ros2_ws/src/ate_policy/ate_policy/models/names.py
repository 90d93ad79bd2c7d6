"""Names of the kinds of policies. Imports no network, so that a launch may look at it."""

from ate_core.checkpoint_folders import refuse_part
from ate_core.errors import CheckpointError
from ate_core.registry import Registry

POLICIES = Registry(
    what="policy",
    group="ate.policies",
    builtin={
        "flow": "ate_policy.models.flow_policy:ENTRY",
        "diffusion": "ate_policy.models.diffusion_policy:ENTRY",
        "pi0": "ate_policy.models.pi0_entry:ENTRY",
        "pi05": "ate_policy.models.pi05_entry:ENTRY",
        "rdt": "ate_policy.models.rdt_entry:ENTRY",
        "clap_rf": "ate_policy.models.clap_rf:ENTRY",
        "clap_ntp": "ate_policy.models.clap_ntp:ENTRY",
    },
    error=CheckpointError,
)
"""Name on the command line and in checkpoints -> `PolicyEntry`."""

RENAMED = {"flow_policy": "flow", "diffusion_policy": "diffusion"}
"""Kinds of older checkpoints -> name."""


def require_policy(kind: str, what: str) -> None:
    """Refuse what is no policy.

    Args:
        kind: Of a checkpoint, also as older ones name it.
        what: The checkpoint, for people.

    Raises:
        CheckpointError: saying what it is, or which kinds are known.
    """
    refuse_part(kind, what)
    try:
        POLICIES.require(RENAMED.get(kind, kind))
    except CheckpointError as error:
        raise CheckpointError(f"{what}: {error}") from None
