"""The JSON texts of a bag: what each must hold before anything is made of it."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from ate_core.errors import EpisodeError
from ate_core.json_text import UNREADABLE, plain_text
from ate_core.streams import CLOCK_TOPIC, INFO_TOPIC, OUTCOME_TOPIC

FORMATS = (1, 2)
"""Versions of /episode/info that are understood."""
LARGEST_NS = 2**63 - 1
"""Latest time that fits a stamp [ns]."""
_KINDS: Mapping[str, Mapping[str, type]] = {
    INFO_TOPIC: {
        "contract": str, "start_ns": int, "required": list, "task": str, "instruction": str,
        "operator": str, "seed": int,
    },
    OUTCOME_TOPIC: {
        "outcome": str, "end_ns": int, "duration_s": float, "streams": dict, "clock": dict,
    },
    CLOCK_TOPIC: {"bag_ns": int, "since_ns": int, "step_ns": int},
}  # fmt: skip
"""Topic -> entry -> what it is where it is there."""
_NEEDED: Mapping[str, tuple[str, ...]] = {
    INFO_TOPIC: ("contract", "start_ns"),
    OUTCOME_TOPIC: ("outcome",),
    CLOCK_TOPIC: ("bag_ns",),
}
_SCENE: Mapping[str, type] = {"objects": list, "seed": int}
_WORDS = {
    str: "a text",
    int: "a whole number",
    float: "a number",
    list: "a list",
    dict: "an object",
}


def read_text(topic: str, text: str) -> dict[str, Any]:
    """Return the JSON object on a topic, with every entry of its kind.

    Args:
        topic: One of the recorder's, or that of the scene.
        text: What was published.

    Raises:
        EpisodeError: it is none, lacks an entry, or has one of another kind.
    """
    remedy = "whoever published it is at fault: record the episode anew"
    try:
        fields = json.loads(text)
    except UNREADABLE as error:
        raise EpisodeError(f"{topic} is not JSON ({error}); {remedy}") from None
    if not isinstance(fields, dict):
        raise EpisodeError(f"{topic} is {plain_text(text)[:40]}, need a JSON object; {remedy}")
    if topic == INFO_TOPIC and fields.get("format") not in FORMATS:
        raise EpisodeError(
            f"bag format {fields.get('format')!r}, this version reads {FORMATS}; "
            "convert it with the version that recorded it"
        )
    for name in _NEEDED.get(topic, ()):
        if name not in fields:
            raise EpisodeError(f"{topic} lacks {name}; {remedy}")
    for name, kind in _KINDS.get(topic, _SCENE).items():
        value: Any = fields.get(name)
        is_right = isinstance(value, int | float if kind is float else kind)
        if is_right and name in ("start_ns", "end_ns", "bag_ns", "since_ns"):
            is_right = 0 <= value <= LARGEST_NS
        elif is_right and kind is int:
            is_right = abs(value) <= LARGEST_NS
        elif is_right and kind is str:
            is_right = not any("\ud800" <= mark <= "\udfff" for mark in value)  # half a mark
        if name in fields and not is_right:
            said = plain_text(value)[:40]
            raise EpisodeError(f"{topic} has {name} {said!r}, need {_WORDS[kind]}; {remedy}")
    return fields
