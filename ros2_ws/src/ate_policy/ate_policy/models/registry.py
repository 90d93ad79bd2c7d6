"""Kinds of policies by the name that stands in a checkpoint; imported when first asked for."""

from importlib import import_module

from torch import nn

from ate_core.errors import CheckpointError
from ate_policy.models.interface import Interface

FLOW_POLICY = "flow_policy"
"""Kind of the small flow-matching policy."""

KINDS = {
    FLOW_POLICY: ("ate_policy.models.flow_policy", "FlowPolicyConfig", "FlowPolicy"),
    "diffusion_policy": (
        "ate_policy.models.diffusion_policy",
        "DiffusionPolicyConfig",
        "DiffusionPolicy",
    ),
    "pi0": ("ate_policy.models.pi0", "Pi0Config", "Pi0"),
    "rdt": ("ate_policy.models.rdt", "RdtConfig", "Rdt"),
}
"""Kind -> module, configuration class, network class."""


def config_class(kind: str) -> type[Interface]:
    """The configuration class of a kind of policy."""
    return getattr(_module(kind), KINDS[kind][1])


def build_model(kind: str, config: Interface) -> nn.Module:
    """A network with fresh weights (a `ChunkModel`)."""
    return getattr(_module(kind), KINDS[kind][2])(config)


def _module(kind: str) -> object:
    if kind not in KINDS:
        raise CheckpointError(f"'{kind}' is no kind of policy: there are {', '.join(KINDS)}")
    return import_module(KINDS[kind][0])
