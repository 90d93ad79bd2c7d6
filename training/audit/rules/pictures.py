"""What the decoded pictures show."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from ate_core.camera_config import CameraConfig
from training.audit.findings import Finding
from training.audit.motion import GRID, arm_motion, correlation
from training.audit.pictures import picture_measures
from training.audit.rules.images import cameras, image_facts, sides_before
from training.audit.rules.needs import needs
from training.audit.rules.spans import finding, runs
from training.data.bag_reader import BagEpisode

Array = NDArray[np.float64]

DARK = 10.0
"""Mean grey below which a picture is black, of 255."""
FLAT = 3.0
"""Contrast below which a picture shows nothing, of 255."""
SHORTEST = 3
"""Pictures in a row that make a fault: one may be a flash."""
BLUR_SHARE = 0.5
"""Share of the camera's usual sharpness below which a picture is blurred."""
BLUR_LEAST = 0.03
"""Sharpness below which every picture is blurred."""
REPEATED_SHARE = 0.2
"""Share of pictures that may repeat the one before while an arm moves before the camera."""
LARGEST_LAG = 0.15
"""Time by which a camera may show motion after its arm's joints do [s]."""
CLEAR = 0.45
"""Correlation of pictures and joints from which on it means something."""
CLEARER = 0.1
"""By how much it must be better at another time, or for another arm, to be believed."""
LAGS = np.arange(-0.2, 0.82, 0.02)
"""Times that are tried [s]."""
LIVELY = 1.0
"""Mean change of a picture that its own camera's motion makes, of 255."""


@needs("images")
def undecodable(episode: BagEpisode) -> Iterator[Finding]:
    """Every picture decodes to its last line.

    Bound: none may fail; the decoder's own words.
    """
    for camera, images, seconds in cameras(episode):
        errors = picture_measures(images).errors
        if errors:
            first = next(iter(errors))
            text = (
                f"{len(errors)} of {len(images)} pictures of {camera.key} do not decode, first "
                f"picture {first}: {errors[first]}"
            )
            yield finding(
                "undecodable",
                "refuse",
                camera.key,
                text,
                value=len(errors),
                bound=0.0,
                seconds=seconds[list(errors)],
            )


@needs("images")
def blackout(episode: BagEpisode) -> Iterator[Finding]:
    """No camera is black or shows one colour for three pictures in a row.

    Bound: a mean grey of 10 and a contrast of 3, of 255.
    """
    for camera, images, seconds in cameras(episode):
        measures = picture_measures(images)
        nothing = (measures.brightness < DARK) | (measures.contrast < FLAT)
        yield from _stretches(
            "blackout",
            camera,
            seconds,
            nothing,
            measures.brightness,
            DARK,
            "shows nothing (mean grey {value:.0f} of 255): covered, unlit or unplugged",
        )


@needs("images")
def blur(episode: BagEpisode) -> Iterator[Finding]:
    """No camera is out of focus for three pictures in a row.

    Bound: half of its usual sharpness in the episode.
    """
    for camera, images, seconds in cameras(episode):
        measures = picture_measures(images)
        shown = (measures.brightness >= DARK) & (measures.contrast >= FLAT)
        if shown.sum() < SHORTEST:
            continue
        usual = float(np.median(measures.sharpness[shown]))
        bound = max(BLUR_SHARE * usual, BLUR_LEAST)
        yield from _stretches(
            "blur",
            camera,
            seconds,
            shown & (measures.sharpness < bound),
            measures.sharpness,
            bound,
            f"is blurred (sharpness {{value:.3f}}, usual {usual:.3f}): check focus and lens",
        )


@needs("images", "receive times")  # on ticks, slow cameras repeat rightly
def repeated_frames(episode: BagEpisode) -> Iterator[Finding]:
    """A camera that sees an arm move gives new pictures.

    Bound: a fifth of the pictures taken meanwhile may repeat the one before.
    """
    for camera, images, seconds in cameras(episode):
        facts = image_facts(images, camera)
        moving = frame_motion(episode, seconds, sides_before(episode, camera)) > 0.02
        judged = moving[facts.is_repeated[1:]].sum(), moving.sum()
        if judged[1] >= 10 and judged[0] > REPEATED_SHARE * judged[1]:
            share = float(judged[0] / judged[1])
            text = (
                f"{share:.0%} of the pictures of {camera.key} repeat the one before while an arm "
                f"moves (bound {REPEATED_SHARE:.0%}): it gives fewer pictures than it claims"
            )
            yield finding(
                "repeated_frames",
                "flag",
                camera.key,
                text,
                value=share,
                bound=REPEATED_SHARE,
                seconds=seconds[1:][facts.is_repeated[1:] & moving],
            )


@needs("images")
def late_camera(episode: BagEpisode) -> Iterator[Finding]:
    """A camera shows motion when the joints have it.

    Bound: 0.15 s, told by the shift at which the change of its pictures fits the motion of the
    arms before it best.
    """
    for camera, _, seconds in cameras(episode):
        lag, best, _ = camera_lag(episode, camera)
        if np.isfinite(lag) and abs(lag) > LARGEST_LAG:
            text = (
                f"{camera.key} shows motion {abs(lag):.2f} s {'after' if lag > 0 else 'before'} "
                f"the joints (bound {LARGEST_LAG} s, correlation {best:.2f}): its stamps are not "
                "those of its pictures"
            )
            yield finding(
                "late_camera",
                "flag",
                camera.key,
                text,
                value=lag,
                bound=LARGEST_LAG,
                seconds=seconds,
            )


def camera_lag(episode: BagEpisode, camera: CameraConfig) -> tuple[float, float, float]:
    """Return by how much a camera is behind the joints [s], and the correlations there and at 0.

    The lag is NaN where nothing correlates.
    """
    stamps = episode.series[camera.key].stamps_ns
    seconds = (stamps - int(episode.info["start_ns"])) / 1e9
    change = picture_measures(episode.images[camera.key]).change[1:]
    ways = _ways(episode, sides_before(episode, camera))
    found = [correlation(_between(ways, seconds - lag), change) for lag in LAGS]
    best, without = int(np.argmax(found)), found[int(np.argmin(np.abs(LAGS)))]
    if found[best] < CLEAR:
        return float("nan"), found[best], without
    lag = float(LAGS[best]) if found[best] > without + CLEARER else 0.0
    return lag, found[best], without


@needs("images")
def swapped_cameras(episode: BagEpisode) -> Iterator[Finding]:
    """A camera on an arm moves with that arm, not with the other one.

    Bound: its pictures fit the motion of its own arm at least as well as that of the other. Told
    only where it can be: where the arms move at different times.
    """
    for camera, images, seconds in cameras(episode):
        own = sides_before(episode, camera)
        others = tuple(side for side in episode.cell.arms if side not in own)
        if len(own) != 1 or not others:
            continue
        change = picture_measures(images).change[1:]
        if np.nanmedian(change) < LIVELY:
            continue
        mine = correlation(frame_motion(episode, seconds, own), change)
        theirs = correlation(frame_motion(episode, seconds, others), change)
        if theirs > CLEAR and theirs > mine + 0.3:
            text = (
                f"pictures of {camera.key} change with the {others[0]} arm (correlation "
                f"{theirs:.2f}), not with the {own[0]} one that carries it ({mine:.2f}): the "
                "cameras are exchanged; check their serial numbers"
            )
            yield finding(
                "swapped_cameras",
                "flag",
                camera.key,
                text,
                value=theirs,
                bound=mine + 0.3,
                seconds=seconds,
            )


def frame_motion(episode: BagEpisode, seconds: Array, sides: tuple[str, ...]) -> Array:
    """Return the way of some arms between neighbouring moments (N,), shape (N - 1,) [rad]."""
    return _between(_ways(episode, sides), seconds)


def _ways(episode: BagEpisode, sides: tuple[str, ...]) -> list[tuple[Array, Array]]:
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


def _stretches(
    rule: str,
    camera: CameraConfig,
    seconds: Array,
    mask: NDArray[np.bool_],
    values: Array,
    bound: float,
    words: str,
) -> Iterator[Finding]:
    """One finding for all stretches of a fault that are long enough."""
    long = [run for run in runs(mask) if run.stop - run.start >= SHORTEST]
    if not long:
        return
    rows = np.concatenate([np.arange(run.start, run.stop) for run in long])
    value = float(np.min(values[rows]))
    text = f"{camera.key} {words.format(value=value)}; {len(rows)} of {len(mask)} pictures"
    yield finding(rule, "flag", camera.key, text, value=value, bound=bound, seconds=seconds[rows])
