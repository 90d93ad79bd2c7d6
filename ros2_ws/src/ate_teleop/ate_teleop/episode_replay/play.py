"""Plays a plan: all arms and grippers start together, and whatever ends one ends all."""

import sys
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from ate_teleop.episode_replay.plan import Plan
from ate_teleop.episode_replay.played_path import PathTime
from ate_teleop.episode_replay.watch import COMMANDER, TRAJECTORY

if TYPE_CHECKING:
    from ate_teleop.nodes.episode_player import EpisodePlayer

Array = NDArray[np.float64]

PERIOD = 0.02
"""Between two commands [s]."""
TAKE = 3.0
"""How long arms and grippers may take to follow, all of them, before the episode begins [s]."""
OPENED, OPENING = 0.08, 1.5
"""Distance from the first opening with which it begins [ratio], and how long that is waited for
[s]: a held object may keep a gripper from it."""
STALL = 0.3
"""Time between two commands after which a replay does not go on [s]; its arms hold since long."""
PATIENCE = 3.0
"""How long it waits for an arm that does not follow [s]."""
TAIL = 0.3
"""How long the last posture is still commanded: the arms come to rest in it [s]."""


@dataclass(kw_only=True)
class Played:
    """How it went."""

    ended: str = ""
    """Why it did not come to its end; empty when it did."""
    elapsed: float = 0.0
    """Time of the episode that was played [s]."""
    waited: float = 0.0
    """Time for which all waited for an arm [s]."""
    clock: list[tuple[int, float]] = field(default_factory=list)
    """Stamp of each command [ns] and its time of the episode [s]."""


def take(player: "EpisodePlayer", plan: Plan) -> str:
    """Command the first posture until all follow and grippers are open as recorded; why not."""
    arms, openings = plan.at(0.0)
    grippers = player.watch.grippers
    begin = time.monotonic()

    def follows() -> bool:
        return all(one.text("commander") == COMMANDER for one in player.watch.devices)

    def are_open() -> bool:
        return all(
            _distance_of(grippers[side].position, np.array([ratio])) < OPENED
            for side, ratio in openings.items()
        )

    while not (follows() and (are_open() or time.monotonic() - begin > OPENING)):
        # Whoever brought the arms here may hold them still for a moment.
        stamp = player.now_ns
        trouble = player.watch.trouble(time.monotonic(), (COMMANDER, TRAJECTORY))
        if not trouble and time.monotonic() - begin > TAKE:
            idle = [one for one in player.watch.devices if one.text("commander") != COMMANDER]
            reason = idle[0].text("refused") or idle[0].text("reason") or "no reason is told"
            trouble = f"the {idle[0].name} does not follow the replay: {reason}"
        if trouble:
            return trouble
        player.command(arms, openings, stamp)
        player.spin(lambda: False, PERIOD)
    return ""


def play(
    player: "EpisodePlayer", plan: Plan, speed: float, max_step: float, played: Played
) -> None:
    """Play to the end, or until something ends it; `played` is filled on the way."""
    print(f"playing {plan.seconds:.1f} s of {' and '.join(plan.ways)}", file=sys.stderr)
    player.forget()
    last = due = time.monotonic()
    path_time = PathTime(last, speed, 0.7 * max_step)
    arms, openings = plan.at(0.0)
    rest = TAIL
    while rest > 0.0:
        stamp, now = player.now_ns, time.monotonic()
        played.ended = player.watch.trouble(now)
        if now - last > STALL:
            played.ended = f"this process stood still for {now - last:.1f} s: play it again"
        if path_time.waiting > PATIENCE:
            played.ended = _behind(player, arms)
        if played.ended:
            break
        elapsed = path_time.advance(now, _distance(player, arms))
        played.waited = path_time.waited
        if elapsed >= plan.seconds:
            rest -= now - last
        played.elapsed = min(elapsed, plan.seconds)
        arms, openings = plan.at(played.elapsed)
        played.clock.append((stamp, elapsed))
        player.command(arms, openings, stamp)
        last, due = now, max(due + PERIOD, now)
        player.spin(lambda due=due: time.monotonic() >= due, PERIOD)  # type: ignore[misc]


def _distance(player: "EpisodePlayer", arms: Mapping[str, Array]) -> float:
    """Largest distance of an arm from where it was sent last [rad]."""
    return max(_distance_of(player.watch.arms[side].position, q) for side, q in arms.items())


def _distance_of(position: Array | None, goal: Array) -> float:
    return float("inf") if position is None else float(np.max(np.abs(position - goal)))


def _behind(player: "EpisodePlayer", arms: Mapping[str, Array]) -> str:
    guards = [one.text("guard") or one.text("reason") for one in player.watch.arms.values()]
    reason = next((text for text in guards if text), "no reason is told")
    return (
        f"an arm stayed {_distance(player, arms):.2f} rad behind for {PATIENCE:g} s: {reason}; "
        "clear its way, or play more slowly"
    )
