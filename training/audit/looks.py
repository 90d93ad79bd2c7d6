"""Whether a camera looks in one episode as in the others: how it is held, and its colours."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import NDArray

from training.audit.findings import Finding, Untold
from training.audit.pictures import COLUMNS, ROWS

LOOK_RULE = "camera_looks"
LOOK_WORDS = (
    "A camera looks as in the other episodes of its task: not mirrored, not upside down, red and "
    "blue in their places.\n\nBound: changed so, its mean picture lies at most 0.7 times as far "
    "from the others' median as it does, and 1 grey level nearer; at least 8 episodes. It cannot "
    "be told of a camera that would look the same."
)
SHARE, NEARER = 0.7, 1.0
"""Share of its distance from the others that a picture has which is put right, and by how many
grey levels it comes nearer."""

Array = NDArray[np.float64]
CHANGES: dict[str, Callable[[Array], Array]] = {
    "mirrored": lambda look: look[:, ::-1],
    "upside down": lambda look: look[::-1, ::-1],
    "upside down and mirrored": lambda look: look[::-1],
    "with red and blue exchanged": lambda look: look[..., ::-1],
}
"""What was done to a picture -> the same puts it right."""


def odd_look(
    camera: str, own: Sequence[float], others: Sequence[Sequence[float]]
) -> Finding | Untold | None:
    """Say what was done to a camera's pictures; None where they fit the others' as they are.

    Args:
        camera: Its key.
        own: Mean picture of the episode, see `training.audit.measures.looks_of`.
        others: Those of the other episodes of its task.
    """
    pictures = [_without_light(look) for look in (own, *others)]
    look, middle = pictures[0], np.median(pictures[1:], axis=0)
    away = _distance(look, middle)
    changed = {name: _distance(change(look), middle) for name, change in CHANGES.items()}
    name = min(changed, key=lambda one: changed[one])
    if not _is_nearer(changed[name], away):
        usual = float(np.median([_distance(other, middle) for other in pictures[1:]]))
        same = [
            name
            for name, change in CHANGES.items()
            if not _is_nearer(usual, float(np.hypot(usual, _distance(change(middle), middle))))
        ]
        reason = f"{' or '.join(same)} it would look the same"
        return Untold(rule=LOOK_RULE, stream=camera, reason=reason) if same else None
    text = (
        f"{camera} looks {name} beside the other episodes: {away:.1f} grey levels away from them, "
        f"{changed[name]:.1f} where that is put right; check how it is mounted and read, and put "
        "right or delete the episode"
    )
    return Finding(
        rule=LOOK_RULE, severity="flag", stream=camera, message=text, value=away,
        bound=max(changed[name] / SHARE, changed[name] + NEARER), start_s=0.0, end_s=0.0,
    )  # fmt: skip


def _is_nearer(changed: float, away: float) -> bool:
    """Whether a changed picture is so much nearer to the others that it was changed."""
    return changed <= min(SHARE * away, away - NEARER)


def _without_light(look: Sequence[float]) -> Array:
    """Colours (rows, columns, 3) less their overall mean: light may change from day to day."""
    colours = np.reshape(np.asarray(look, dtype=np.float64), (ROWS, COLUMNS, 3))
    return np.asarray(colours - colours.mean())


def _distance(first: Array, second: Array) -> float:
    """Root mean square difference [grey levels]."""
    return float(np.sqrt(np.mean((first - second) ** 2)))
