"""The way to the first posture: one arm after the other, each checked by its driver as a whole."""

import time
from collections.abc import Mapping
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from ate_core.contract import Cell, SafetyConfig
from ate_core.devices import ArmConfig
from ate_core.errors import EpisodeError, SafetyError
from ate_teleop.episode_replay.watch import COMMANDER, TRAJECTORY

if TYPE_CHECKING:
    from ate_teleop.nodes.episode_player import EpisodePlayer

Array = NDArray[np.float64]

NEAR = 0.02
"""Distance from the first posture within which an arm need not go there [rad]."""
ARRIVED = 0.06
"""Distance from it with which a way there may end [rad]; a driver tolerates 0.05."""
SPEED, ACCELERATION = 0.5, 1.0
"""Largest on the way there [rad/s, rad/s2]: slow enough to be stopped by whoever watches."""
SHORTEST = 1.0
"""Shortest time it takes [s]."""
ANSWER = 5.0
"""How long a driver may look at the way before it moves [s]."""
LATE = 8.0
"""How much later than planned an arm may arrive, for instance slowed by what is near [s]."""
TRIES, PAUSE = 2, 1.0
"""How often all ways are asked for, and the pause between [s]: a driver that has just found its
arm refuses for a moment."""


class Refused(SafetyError):
    """A driver does not go the way, with its reason."""


def seconds_for(distance: float, safety: SafetyConfig) -> float:
    """Duration of a cubic motion from rest to rest over a distance [s].

    Its largest speed is 1.5 d / T, its largest acceleration 6 d / T^2.
    """
    speed = min(SPEED, 0.9 * safety.max_joint_speed)
    acceleration = min(ACCELERATION, 0.9 * safety.max_joint_acceleration)
    return max(1.5 * distance / speed, float(np.sqrt(6.0 * distance / acceleration)), SHORTEST)


def within_limits(arm: ArmConfig, margin: float, side: str, posture: Array) -> Array:
    """A posture cut to the bounds that a driver keeps, as its filter had cut it.

    Raises:
        EpisodeError: it lies further outside than rounding and noise explain.
    """
    lower, upper = (np.asarray(bound) for bound in arm.bounds(margin))
    cut = np.clip(posture, lower, upper)
    joint = int(np.argmax(np.abs(cut - posture)))
    if abs(cut[joint] - posture[joint]) > NEAR:
        raise EpisodeError(
            f"the episode starts with {arm.joint_names[joint]} of the {side} arm at "
            f"{posture[joint]:.3f} rad, bounds {lower[joint]:.3f} to {upper[joint]:.3f} rad: "
            "the arm may not go there; correct guards or limits of the cell, or cut the episode"
        )
    return np.asarray(cut, dtype=np.float64)


def approach(cell: Cell, player: "EpisodePlayer", goals: Mapping[str, Array]) -> None:
    """Bring every arm to its first posture; where one is in the way, the other goes first.

    Args:
        cell: limits.
        player: the running cell.
        goals: by side, first posture [rad].

    Raises:
        SafetyError: what keeps an arm from going there.
    """
    left = [side for side, goal in goals.items() if _away(player, side, goal) > NEAR]
    refusals: dict[str, str] = {}
    tries = TRIES
    while left:
        side = next((side for side in left if side not in refusals), None)
        if side is None:
            tries -= 1
            if not tries:
                raise SafetyError("; ".join(refusals.values()))
            refusals.clear()
            player.spin(lambda: False, PAUSE)
            continue
        try:
            _go(cell, player, side, goals[side])
        except Refused as refusal:
            refusals[side] = str(refusal)
            continue
        left.remove(side)
        refusals.clear()


def _away(player: "EpisodePlayer", side: str, goal: Array) -> float:
    position = player.watch.arms[side].position
    return float("inf") if position is None else float(np.max(np.abs(position - goal)))


def _go(cell: Cell, player: "EpisodePlayer", side: str, goal: Array) -> None:
    """One arm's way; returns when it is there."""
    arm = player.watch.arms[side]
    before = arm.text(TRAJECTORY)
    seconds = seconds_for(_away(player, side, goal), cell.safety)
    player.send_way(side, goal, seconds)
    sent = time.monotonic()

    def told() -> str:
        return arm.text(TRAJECTORY)

    def ended() -> bool:
        return bool(trouble()) or not told().startswith("following")

    def trouble() -> str:
        return player.watch.trouble(time.monotonic(), (COMMANDER, TRAJECTORY))

    while not told().startswith("following"):
        _require(trouble())
        waited = time.monotonic() - sent
        is_new = told() != before or waited > 0.5 * ANSWER  # the same words are told only once
        if told().startswith("refused") and is_new:
            raise Refused(f"the way of the {side} arm to the first posture is not free or not "
                          f"allowed: {told()}")  # fmt: skip
        if _away(player, side, goal) < NEAR and told().startswith("arrived"):
            return
        if waited > ANSWER:
            raise SafetyError(f"the driver of the {side} arm does not answer for {ANSWER:g} s")
        player.spin(lambda: told() != before, 0.1)
    player.spin(ended, seconds + LATE)
    if told().startswith("refused") or told().startswith("cancelled"):
        raise SafetyError(f"the {side} arm was ended on its way to the first posture: {told()}")
    _require(trouble())
    if _away(player, side, goal) > ARRIVED:
        raise SafetyError(
            f"the {side} arm is {_away(player, side, goal):.3f} rad from the first posture, bound "
            f"{ARRIVED} rad, after {time.monotonic() - sent:.1f} s: {told() or 'nothing is told'}"
        )


def _require(trouble: str) -> None:
    if trouble:
        raise SafetyError(trouble)
