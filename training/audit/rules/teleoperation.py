"""What the operators and the guard of the arms said while it was recorded."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

from ate_core.resample import NANOSECONDS
from training.audit.findings import Finding
from training.audit.rules.needs import needs
from training.audit.rules.spans import finding, seconds_of
from training.data.bag_reader import BagEpisode

LOSSES = 1
"""Times that a clutch may let go by itself in an episode."""
EDGE_SHARE = 0.1
"""Share of an episode that a hand may spend beyond reach."""
GUARD_SHARE = 0.5
"""Share in which an arm may be slowed by its guard: it is, near the table."""


@needs("texts")
def clutch_losses(episode: BagEpisode) -> Iterator[Finding]:
    """The clutch lets go when its button is released, not by itself.

    Bound: once; the operator status gives the reason.
    """
    for side in episode.cell.operators:
        lost: list[float] = []
        reason, engaged = "", False
        for moment, said in statuses(episode, f"{side}_operator_status"):
            if engaged and said.get("clutch") != "engaged" and said.get("reason"):
                lost.append(moment)
                reason = str(said["reason"])
            engaged = said.get("clutch") == "engaged"
        if len(lost) > LOSSES:
            text = (
                f"the clutch of the {side} operator lets go {len(lost)} times by itself (bound "
                f"{LOSSES}), last because: {reason}"
            )
            yield finding(
                "clutch_losses",
                "flag",
                f"{side}_operator_status",
                text,
                value=len(lost),
                bound=LOSSES,
                seconds=np.array(lost),
            )


@needs("texts")
def reach_edge(episode: BagEpisode) -> Iterator[Finding]:
    """No hand leads its arm beyond reach for long.

    Bound: 10 % of the episode, by ``out_of_reach`` of the operator status.
    """
    for side in episode.cell.operators:
        name = f"{side}_operator_status"
        share, when = share_of(episode, name, lambda said: bool(said.get("out_of_reach")))
        if share > EDGE_SHARE:
            text = (
                f"the hand of the {side} operator is beyond the arm's reach in {share:.0%} of the "
                f"episode (bound {EDGE_SHARE:.0%}): re-centre it nearer"
            )
            yield finding(
                "reach_edge", "flag", name, text, value=share, bound=EDGE_SHARE, seconds=when
            )


@needs("texts")
def guard_held(episode: BagEpisode) -> Iterator[Finding]:
    """The guard against collisions does not slow or stop an arm most of the time.

    Bound: half of the episode, by ``guard`` of the arm's status.
    """
    for side in episode.cell.arms:
        name = f"{side}_arm_status"
        share, when = share_of(episode, name, lambda said: bool(said.get("guard")))
        if share > GUARD_SHARE:
            text = (
                f"the guard holds the {side} arm back in {share:.0%} of the episode (bound "
                f"{GUARD_SHARE:.0%}): its actions are not what it did"
            )
            yield finding(
                "guard_held", "flag", name, text, value=share, bound=GUARD_SHARE, seconds=when
            )


def statuses(episode: BagEpisode, name: str) -> Iterator[tuple[float, dict[str, Any]]]:
    """Yield when [s] a status came and what it said; what is no JSON object is passed over."""
    for received_ns, text in episode.texts.get(name, ()):
        try:
            said = json.loads(text)
        except ValueError:
            continue
        if isinstance(said, dict):
            yield (received_ns - int(episode.info["start_ns"])) / NANOSECONDS, said


def share_of(
    episode: BagEpisode, name: str, holds: Callable[[dict[str, Any]], bool]
) -> tuple[float, Any]:
    """Return the share of an episode in which a status holds, and the first and last moment."""
    ends = [seconds_of(episode, series.stamps_ns[-1:])[0] for series in episode.series.values()]
    end = max(ends, default=0.0)
    since: float | None = None
    total = 0.0
    when: list[float] = []
    for moment, said in [*statuses(episode, name), (end, {})]:
        if since is not None:
            total += max(0.0, moment - since)
            when += [since, moment]
        since = max(moment, 0.0) if said and holds(said) else None
    return (total / end if end > 0 else 0.0), np.array(when)
