"""Whether what cameras show moves as the arms do: their time, and which arm carries them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ate_core.camera_config import CameraConfig
from training.audit.findings import Finding, Untold
from training.audit.motion import GRID, arm_motion, correlation
from training.audit.pictures import picture_measures
from training.audit.rules.images import cameras, image_facts, sides_before
from training.audit.rules.needs import needs
from training.audit.rules.spans import finding, runs
from training.data.bag_reader import BagEpisode

Array = NDArray[np.float64]

LARGEST_LAG = 0.15
"""Time by which a camera may show motion after its arm's joints do [s]."""
LAGS = np.arange(-0.8, 0.81, 0.02)
"""Times that are tried [s]."""
SLOW = 1.0
"""Time over which the mean is taken away before a lag is told: starts and stops tell it [s]."""
AROUND = 0.24
"""Distance from the best lag at which the correlation must have fallen [s]."""
SHARP = 0.2
"""Least correlation of starts and stops, and its least fall around the best lag."""
ALONE = 0.03
"""By how much it must be better than at any lag farther away: arms may move at a beat."""
LEAST_WAY = 0.003
"""Way between two pictures that is rest [rad]. Ways and changes are compared by their logarithm: a
slow motion over a lively scene may change a picture more than a fast one over a bare table."""
NOISE = 10.0
"""Percentile of the changes that noise alone makes [%]."""
LEAST_CHANGE = 0.3
"""Mean change between two pictures that is rest, of 255."""
CARRIED = 0.35
"""By how much pictures must fit one arm better than the other before it is said to carry them."""
SLOW_CAMERA = 3
"""Pictures in a row that a slower camera repeats on faster ticks; more is a still scene."""
LEAST_PICTURES = 30
"""Pictures below which nothing is told."""


@dataclass(frozen=True, kw_only=True)
class CameraLag:
    """By how much a camera is behind the joints of the arms before it."""

    seconds: float
    """The lag, negative where it is ahead; NaN where it cannot be told [s]."""
    correlation: float
    """Of starts and stops in pictures and joints at that lag."""


@needs("images")
def late_camera(episode: BagEpisode) -> Iterator[Finding | Untold]:
    """A camera shows motion when the joints have it.

    Bound: 0.15 s, told by the shift at which starts and stops in its pictures fit those of the
    arms before it best. It cannot be told where no shift fits clearly better than those 0.24 s
    away, nor of pictures that come more rarely than every 0.15 s.
    """
    for camera, _, seconds in cameras(episode):
        lag, period = camera_lag(episode, camera), _period(seconds)
        if np.isnan(lag.seconds):
            reason = (
                "its pictures and the joints before it have too few starts and stops in common"
            )
            if period > LARGEST_LAG:
                reason = f"its pictures come every {period:.2f} s"
            yield Untold(rule="late_camera", stream=camera.key, reason=reason)
        elif abs(lag.seconds) > LARGEST_LAG:
            text = (
                f"{camera.key} shows motion {abs(lag.seconds):.2f} s "
                f"{'after' if lag.seconds > 0 else 'before'} the joints (bound {LARGEST_LAG} s, "
                f"correlation {lag.correlation:.2f}): its stamps are not those of its pictures"
            )
            yield finding(
                "late_camera",
                "flag",
                camera.key,
                text,
                value=lag.seconds,
                bound=LARGEST_LAG,
                seconds=seconds,
            )


def camera_lag(episode: BagEpisode, camera: CameraConfig) -> CameraLag:
    """Return by how much a camera is behind the joints of the arms before it."""
    seconds, change = picture_changes(episode, camera)
    ways = _ways(episode, sides_before(episode, camera))
    period = _period(seconds)
    if len(change) < LEAST_PICTURES or period > LARGEST_LAG:
        return CameraLag(seconds=np.nan, correlation=0.0)
    width = 2 * round(0.5 * SLOW / max(period, 1e-3)) + 1
    shown = _quick(change, width)
    found = np.array(
        [correlation(_quick(_log_way(ways, seconds - lag), width), shown) for lag in LAGS]
    )
    best = int(np.argmax(found))
    sides = [int(np.argmin(np.abs(LAGS - LAGS[best] - away))) for away in (-AROUND, AROUND)]
    others = found[np.abs(LAGS - LAGS[best]) > AROUND]
    if (
        found[best] < SHARP
        or found[best] - found[sides].max() < SHARP
        or found[best] - others.max() < ALONE
    ):
        return CameraLag(seconds=np.nan, correlation=float(found[best]))
    return CameraLag(seconds=float(LAGS[best]), correlation=float(found[best]))


@needs("images")
def swapped_cameras(episode: BagEpisode) -> Iterator[Finding | Untold]:
    """Cameras on arms move with the arms that carry them, not with the other ones.

    Bound: all of them together fit the arms that carry them better than the other ones, by 0.35 of
    correlation. It cannot be told where neither fits better: the arms rest, or move in step.
    """
    on_arms = [
        (camera, sides_before(episode, camera)[0], seconds)
        for camera, _, seconds in cameras(episode)
        if len(sides_before(episode, camera)) == 1 < len(episode.cell.arms)
    ]
    if not on_arms:
        return
    mine = theirs = 0.0
    for camera, own, _ in on_arms:
        moments, change = picture_changes(episode, camera)
        others = tuple(side for side in episode.cell.arms if side != own)
        mine += correlation(_log_way(_ways(episode, (own,)), moments), change)
        theirs += correlation(_log_way(_ways(episode, others), moments), change)
    names = " and ".join(camera.key for camera, *_ in on_arms)
    seconds = on_arms[0][2]
    # One camera alone may look at the other arm from one that rests: the own arm must speak, too.
    alone_at_rest = len(on_arms) == 1 and not _moves(episode, on_arms[0][1])
    if abs(mine - theirs) < CARRIED or alone_at_rest:
        reason = "the arms move in step or too little before their pictures"
        yield Untold(rule="swapped_cameras", stream=names, reason=reason)
    elif theirs > mine:
        text = (
            f"pictures of {names} change with the arms that do not carry them (correlation "
            f"{theirs:.2f}), not with those that do ({mine:.2f}; bound {CARRIED} less): the "
            "cameras are exchanged; check their serial numbers"
        )
        yield finding(
            "swapped_cameras",
            "flag",
            on_arms[0][0].key,
            text,
            value=theirs,
            bound=mine + CARRIED,
            seconds=seconds,
        )


def picture_changes(episode: BagEpisode, camera: CameraConfig) -> tuple[Array, Array]:
    """Return moments (N,) [s] and the logarithm of the change between them, shape (N - 1,).

    What a slow camera repeats on faster ticks is left out, and pictures that do not decode.
    """
    for known, images, seconds in cameras(episode):
        if known.key == camera.key:
            change = picture_measures(images).change
            fresh = np.isfinite(change) | (np.arange(len(change)) == 0)
            for run in runs(image_facts(images, camera).is_repeated):
                if run.stop - run.start <= SLOW_CAMERA:
                    fresh[run] = False
            known_change = change[fresh][1:]
            noise = np.percentile(known_change, NOISE) if len(known_change) else 0.0
            return seconds[fresh], np.log(np.maximum(known_change - noise, 0.0) + LEAST_CHANGE)
    return np.zeros(0), np.zeros(0)


def frame_motion(episode: BagEpisode, seconds: Array, sides: tuple[str, ...]) -> Array:
    """Return the way of some arms between neighbouring moments (N,), shape (N - 1,) [rad]."""
    return _between(_ways(episode, sides), seconds)


def _period(seconds: Array) -> float:
    """Median time between pictures [s]."""
    return float(np.median(np.diff(seconds))) if len(seconds) > 1 else 0.0


def _moves(episode: BagEpisode, side: str) -> bool:
    motion = arm_motion(episode, side)
    return motion is not None and float(np.sum(motion.speed)) * GRID > CARRIED


def _ways(episode: BagEpisode, sides: Sequence[str]) -> list[tuple[Array, Array]]:
    """Times [s] and the way made until then [rad], of each arm."""
    motions = [arm_motion(episode, side) for side in sides]
    return [
        (motion.times, np.cumsum(motion.speed) * GRID)
        for motion in motions
        if motion is not None and len(motion.times)
    ]


def _between(ways: list[tuple[Array, Array]], seconds: Array) -> Array:
    total = np.zeros(max(0, len(seconds) - 1))
    for times, way in ways:
        total += np.diff(np.interp(seconds, times, way))
    return total


def _log_way(ways: list[tuple[Array, Array]], seconds: Array) -> Array:
    return np.asarray(np.log(_between(ways, seconds) + LEAST_WAY))


def _quick(values: Array, width: int) -> Array:
    """Values (N,) less their mean over ``width`` neighbours."""
    padded = np.pad(values, width // 2, mode="edge")
    return np.asarray(values - np.convolve(padded, np.ones(width) / width, "valid"))
