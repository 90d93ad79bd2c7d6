"""What a blinded session hides: it draws letters and order, and opens the key at the end.

Scoring itself is `ate_core.blind_scoring`. `key.json` in the session's folder says whose letter is
whose. It is encoded, not encrypted: it keeps a person from reading it in passing, and its hash in
the plan shows if it was exchanged.
"""

import base64
import hashlib
import json
import math
import os
import secrets
import string
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np

from ate_core.blind_scoring import PLAN, Score, Session, Turn
from ate_core.errors import UsageError
from ate_core.files import replace_text
from ate_core.json_text import UNREADABLE
from ate_policy.checkpoint import files_sha256
from training.studies.rollout import Trial

KEY = "key.json"
NOT_SHOWN = ("README.md", "training_state.safetensors")
"""Files of a checkpoint that say in plain words how it was trained, or only serve its training."""
MOST_POLICIES = len(string.ascii_uppercase)


def plan_turns(letters: Sequence[str], starts: int, rng: np.random.Generator) -> tuple[Turn, ...]:
    """All policies from each start, in an order drawn anew for every start (randomised blocks)."""
    return tuple(
        Turn(start=start, letter=str(letter))
        for start in range(1, starts + 1)
        for letter in rng.permutation(list(letters))
    )


def begin(
    folder: Path, policies: Mapping[str, Path], starts: int, task: str, rng: np.random.Generator
) -> Session:
    """Draw letters and order, and lay the checkpoints out under their letters.

    Args:
        folder: of the session, to be made.
        policies: checkpoint folders by name.
        starts: start positions.
        task: what is rolled out.
        rng: must not be foreseen by who scores.
    """
    letters = list(string.ascii_uppercase[: len(policies)])
    owners = dict(zip(letters, rng.permutation(list(policies)).tolist(), strict=True))
    turns = plan_turns(letters, starts, rng)
    for letter, name in owners.items():
        _lay_out(policies[name], folder / letter)
    key = {
        "owners": owners,
        "checkpoints": {name: str(path.resolve()) for name, path in policies.items()},
        "hashes": {name: files_sha256(path) for name, path in policies.items()},
    }
    sealed = base64.b64encode(json.dumps(key).encode()).decode()
    replace_text(folder / KEY, json.dumps({"sealed": sealed}) + "\n")
    plan = {
        "task": task,
        "session": secrets.token_hex(8),
        "key_sha256": hashlib.sha256(sealed.encode()).hexdigest(),
        "turns": [asdict(turn) for turn in turns],
    }
    replace_text(folder / PLAN, json.dumps(plan, indent=1) + "\n")  # last: with it, it exists
    return Session(folder=folder, turns=turns, task=task)


def _lay_out(checkpoint: Path, place: Path) -> None:
    """Copy a checkpoint without its name; hard links where the disk has them."""
    for file in sorted(checkpoint.rglob("*")):
        target = place / file.relative_to(checkpoint)
        if not file.is_file() or target.exists() or file.name in NOT_SHOWN:
            continue
        target.parent.mkdir(parents=True, exist_ok=True)
        try:
            os.link(file, target)
        except OSError:
            target.write_bytes(file.read_bytes())


def unblind(session: Session) -> dict[str, Any]:
    """The outcomes by policy, as a file of `ate evaluate`.

    Raises:
        UsageError: rollouts are left, or the key is not the one of the plan.
    """
    if left := len(session.queue):
        raise UsageError(f"{left} rollouts are not scored: the key opens after the last one")
    key = _open_key(session)
    owners: dict[str, str] = key["owners"]
    outcomes: dict[str, list[dict[str, Any]]] = {name: [] for name in sorted(owners.values())}
    aborted = dict.fromkeys(outcomes, 0)
    for score in sorted(session.scores, key=lambda one: one.start):
        if score.aborted:
            aborted[owners[score.letter]] += 1
        else:
            outcomes[owners[score.letter]].append(_as_trial(score))
    return {
        "task": session.task,
        "difficulty": "real cell, blinded",
        "session": _name_of(session),
        "checkpoints": key["checkpoints"],
        "hashes": key["hashes"],
        "aborted": aborted,
        "policies": outcomes,
    }


def _name_of(session: Session) -> str:
    """What tells its starts from those of other sessions; plans of before have no name."""
    plan = (session.folder / PLAN).read_text()
    return str(json.loads(plan).get("session") or hashlib.sha256(plan.encode()).hexdigest()[:16])


def _open_key(session: Session) -> dict[str, Any]:
    try:
        sealed = str(json.loads((session.folder / KEY).read_text())["sealed"])
        wanted = json.loads((session.folder / PLAN).read_text())["key_sha256"]
        if hashlib.sha256(sealed.encode()).hexdigest() != wanted:
            raise UsageError(f"{session.folder / KEY} is not the key of this plan: restore it")
        return dict(json.loads(base64.b64decode(sealed)))
    except (OSError, *UNREADABLE) as error:
        raise UsageError(f"{session.folder / KEY} is damaged ({error!r}): restore it") from None


def _as_trial(score: Score) -> dict[str, Any]:
    success = score.score >= 1.0
    trial = Trial(
        seed=score.start,
        success=success,
        score=score.score,
        duration=math.nan,
        jerk=math.nan,
        refused=0,
        outcome="success" if success else "failure",
    )
    return asdict(trial)
