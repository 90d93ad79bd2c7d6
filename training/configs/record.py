"""Configurations as JSON values, as run folders, studies and checkpoints keep them.

A choice (a network, a mode of guidance) is kept with its name:
`{"name": "pi0", "train": "lora"}`.
"""

import dataclasses
import json
from collections.abc import Mapping
from typing import Any

Record = dict[str, Any]
"""JSON values by option."""


def record_of(config: Any, **names: str) -> Record:
    """A configuration dataclass as JSON values.

    Args:
        config: The dataclass.
        names: Registered name of the choice in a field, by field.
    """
    record = _plain(dataclasses.asdict(config))
    for field, name in names.items():
        record[field] = {"name": name, **record[field]}
    return record


def complete(stored: Mapping[str, Any], config: Any) -> Record:
    """A record with the options that it is too old to know, which had their defaults.

    Args:
        stored: As read from a file.
        config: Of today; its classes know the defaults.
    """
    record: Record = {**_defaults(type(config)), **stored}
    for field in dataclasses.fields(config):
        value, kept = getattr(config, field.name), record.get(field.name, {})
        if dataclasses.is_dataclass(value) and isinstance(kept, dict):
            record[field.name] = {**_defaults(type(value)), **kept}
    return record


def differences(stored: Mapping[str, Any], wanted: Mapping[str, Any]) -> list[tuple[str, str]]:
    """Options that differ, nested ones with dots, each with a line that shows both values."""
    before, now = _flat(stored), _flat(wanted)
    return [
        (key, f"{key}: {now.get(key)} (was {before.get(key)})")
        for key in sorted(set(before) | set(now))
        if before.get(key) != now.get(key)
    ]


def _defaults(kind: type) -> Record:
    """JSON values of the options that need not be given; choices are left out."""
    return _plain(
        {
            field.name: field.default
            for field in dataclasses.fields(kind)
            if field.default is not dataclasses.MISSING
        }
    )


def _plain(values: Mapping[str, Any]) -> Record:
    plain: Record = json.loads(json.dumps(values, default=str))
    return plain


def _flat(values: Mapping[str, Any], prefix: str = "") -> Record:
    flat: Record = {}
    for key, value in values.items():
        if isinstance(value, Mapping):
            flat |= _flat(value, f"{prefix}{key}.")
        else:
            flat[f"{prefix}{key}"] = value
    return flat
