"""Words of a command line for ROS; no ROS in here."""

import json
import sys
from collections.abc import Mapping

import yaml


def parameter_words(values: Mapping[str, str | bool | int]) -> list[str]:
    """Words behind ``--ros-args`` that set parameters.

    They are read as YAML: a text is quoted, or ``2024`` and ``true`` were none and ``a: b`` ends
    the process.
    """
    return [
        word for name, value in values.items() for word in ("-p", f"{name}:={_as_yaml(value)}")
    ]


def _as_yaml(value: str | bool | int) -> str:
    """A value as the parser of ROS reads it: JSON writes many signs as pairs that it refuses."""
    if not isinstance(value, str):
        return json.dumps(value)
    return yaml.safe_dump(value, default_style='"', width=sys.maxsize).strip()
