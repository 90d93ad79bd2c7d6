"""Kinds of policies by name; a network is imported when it is first asked for."""

from ate_core.errors import CheckpointError
from ate_policy.models.entry import PolicyEntry, PolicyOptions
from ate_policy.models.interface import Network, PolicyConfig
from ate_policy.models.names import POLICIES


def policy_entry(name: str) -> PolicyEntry:
    """The entry of a kind of policy.

    Raises:
        CheckpointError: there is no such kind; the message lists the known ones.
    """
    entry = POLICIES.load(name)
    if not isinstance(entry, PolicyEntry):
        raise CheckpointError(
            f"policy {name!r} is {POLICIES.require(name)}, a {type(entry).__name__}: it must be a "
            "PolicyEntry"
        )
    return entry


def policy_entries() -> dict[str, PolicyEntry]:
    """All kinds of policies by name; a broken one of another package is left out."""
    return POLICIES.load_working(policy_entry)


def entry_of(options: PolicyOptions) -> tuple[str, PolicyEntry]:
    """Name and entry of the network whose command-line options these are.

    Raises:
        CheckpointError: no network has options of this class, or two have.
    """
    entries = policy_entries()
    kinds = {name: entry.options for name, entry in entries.items()}
    name = POLICIES.name_of(type(options), kinds)
    if name is None:
        raise CheckpointError(
            f"{type(options).__name__} are the options of no network: use those of an entry, for "
            f"instance of {', '.join(entries)}"
        )
    return name, entries[name]


def build_model(kind: str, config: PolicyConfig) -> Network:
    """A network with fresh weights."""
    return policy_entry(kind).build(config)
