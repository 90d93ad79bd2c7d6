"""Options that belong to a choice: the command line offers them once the choice is made.

`policy:pi0 --policy.train lora` chooses a network and gives it an option, `guidance:paper
--guidance.strength 1.0` a mode of guidance. The unions are built from the registries when a
command line is read, so a network or mode of another package is offered like a built-in one.
"""

from collections.abc import Iterable
from typing import Annotated, Any, Union

import tyro

from ate_policy.models.entry import PolicyOptions
from ate_policy.models.registry import policy_entries
from training.objectives.guidance import Guidance, guidance_modes


def _offer_policies() -> Any:
    return _union((name, entry.options) for name, entry in policy_entries().items())


def _offer_guidance() -> Any:
    return _union(guidance_modes().items())


def _union(classes: Iterable[tuple[str, type]]) -> Any:
    offered = tuple(Annotated[kind, tyro.conf.subcommand(name)] for name, kind in classes)
    return Union[offered]  # noqa: UP007  made at run time


PolicyChoice = Annotated[PolicyOptions, tyro.conf.arg(constructor_factory=_offer_policies)]
"""A network by its options."""

GuidanceChoice = Annotated[Guidance, tyro.conf.arg(constructor_factory=_offer_guidance)]
"""A mode of guidance by its options."""
