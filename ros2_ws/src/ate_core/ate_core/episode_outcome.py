"""What became of an episode after its bag was closed: ``outcome.json`` in the episode's folder.

A bag's last message says how the recording ended. What a person decides afterwards cannot go into
a closed bag: it lies beside it, is replaced as a whole, and overrides the message.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from ate_core.disk_refusals import remedy
from ate_core.errors import EpisodeError
from ate_core.files import replace_text
from ate_core.json_text import UNREADABLE

OUTCOME_FILE = "outcome.json"
PENDING = "pending"
"""Stopped, and waits for somebody to keep or discard it."""
SUCCESS = "success"
FAILURE = "failure"
DISCARDED = "discarded"
"""Set aside."""
INTERRUPTED = "interrupted"
"""The recording was cut short; nobody has judged it."""
CLOSING = 20.0
"""What a slow disk needs to close a bag [s]."""
SETTLING = 0.3
"""Time after a change of the episode in which two people may have asked for it at once, and the
second one meant the state before [s]."""
LONGEST_LABEL = 60
"""Characters of a label."""


class UnreadOutcomeError(EpisodeError):
    """The disk does not give a decision, whatever it is."""


def check_label(label: str) -> str:
    """Return a label without the space around it.

    Raises:
        EpisodeError: it is empty, too long, spread over lines, or a word of the recorder's own.
    """
    label = label.strip()
    if label in (PENDING, DISCARDED, INTERRUPTED):
        raise EpisodeError(f"label {label!r} is the recorder's own word; use another one")
    if not 0 < len(label) <= LONGEST_LABEL or not label.isprintable():
        raise EpisodeError(
            f"label {label!r} is not one line of 1 to {LONGEST_LABEL} characters; "
            f"use {SUCCESS}, {FAILURE} or a few words"
        )
    return label


def read_outcome(folder: Path) -> dict[str, Any]:
    """Return the decision beside a bag; empty where there is none.

    Raises:
        UnreadOutcomeError: the disk refuses.
        EpisodeError: the file is damaged.
    """
    file = folder / OUTCOME_FILE
    try:
        fields = json.loads(file.read_text())
    except FileNotFoundError:
        return {}
    except OSError as error:
        raise UnreadOutcomeError(
            f"{file} cannot be read ({error.strerror}): {remedy(error)}"
        ) from None
    except UNREADABLE as error:
        raise EpisodeError(f"{file} cannot be read ({error}); label the episode anew") from None
    if not isinstance(fields, dict) or not isinstance(fields.get("outcome"), str):
        raise EpisodeError(f"{file} names no outcome; label the episode anew")
    return fields


def write_outcome(folder: Path, outcome: str, reason: str, decided_ns: int) -> None:
    """Replace the decision beside a bag; after a kill it is the old one or the new one.

    Args:
        folder: Of the episode.
        outcome: ``pending``, ``discarded`` or a label.
        reason: Why, where there is something to say.
        decided_ns: When [ns].
    """
    fields = {"outcome": outcome, "reason": reason, "decided_ns": decided_ns}
    replace_text(folder / OUTCOME_FILE, json.dumps(fields, sort_keys=True) + "\n")
