"""Whether arms and grippers do what they are commanded, each joint for itself."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from ate_core.resample import Series, sample
from training.audit.findings import Finding, Untold
from training.audit.motion import GRID, ArmMotion, arm_motion
from training.audit.rules.needs import needs
from training.audit.rules.spans import finding, seconds_of
from training.data.bag_reader import BagEpisode

Array = NDArray[np.float64]

SETTLE = 0.4
"""Time after which a device under a constant command no longer goes where it was sent before; the
arm driver bounds its lag by less [s]."""
PAUSE = 0.5
"""Pause of commands after which the last one is no longer repeated: nobody commands [s]."""
AWAY_RAD, AWAY_RATIO = 0.05, 0.2
"""How far a device may then move away from a constant command: more than servos and the push of
an object explain."""
SILENT_MOTION = 0.15
"""How far an arm may move by itself while nobody commands it [rad]."""
BESIDE = 0.04
"""Median distance of a joint from its command, once the lag is taken out [rad]: arms sag."""
STEADY = 0.01
"""Spread of that distance below which it is an offset [rad]."""
EXPLAINS = 0.2
"""Share of the joint's error that is left where another reading of its command explains it."""
LARGEST_LAG = 0.4
"""Lag that is looked for [s]."""
PRESSED, REST = 30.0, 10
"""Force above that at rest with which an arm presses on something [N], and the percentile of the
forces that is rest [%]."""
LEAST_ROWS = 20
"""Moments with a command from which on it is looked at."""
INVERTED_SHARE, INVERTED = 0.33, 0.3
"""Share of its distance from the command that an inverted opening has, and the least such
distance: a gripper that holds something stays nearer."""
LEAST_MOTION = 0.1
"""Way of a command below which nothing is said of who follows it [rad]."""


def stale_command(episode: BagEpisode) -> Iterator[Finding]:
    """No command stays the same to the last bit, under fresh stamps, while its arm moves away.

    Bound: 0.05 rad away from the command, 0.4 s after it last changed at the earliest. An arm that
    comes nearer is late; one that moves away was commanded by something that is not recorded.
    """
    for side in episode.cell.arms:
        name = f"{side}_arm_command"
        command, state = episode.series.get(name), episode.series.get(f"{side}_arm_state")
        if command is None or state is None or len(command) < 2:
            continue
        joints = len(episode.cell.arms[side].joint_names)
        yield from _moved_away(
            episode, name, "stale_command", command, state, joints, AWAY_RAD, PAUSE
        )


def gripper_follows(episode: BagEpisode) -> Iterator[Finding]:
    """No gripper moves away from a command that stays the same, and none does the opposite.

    Bound: 0.2 of the stroke, 0.4 s after the command last changed at the earliest, for an object
    only keeps it from coming nearer; or an opening whose opposite is three times nearer to the
    command, from which it is 0.3 away (root mean square).
    """
    for side in episode.cell.grippers:
        name = f"{side}_gripper_command"
        command, state = episode.series.get(name), episode.series.get(f"{side}_gripper_state")
        if command is None or state is None or not len(command):
            continue
        target = sample(command, state.stamps_ns)[:, 0]
        known = np.isfinite(target)
        opening, target = state.values[known, 0], target[known]
        right, wrong = _rms(opening - target), _rms(1.0 - opening - target)
        if right > INVERTED and wrong < INVERTED_SHARE * right:
            text = (
                f"{side} gripper does the opposite of its command: {right:.2f} of the stroke away "
                f"from it, {wrong:.2f} if open and closed are exchanged; check both signs"
            )
            yield finding(
                "gripper_follows", "flag", name, text, value=right,
                bound=max(INVERTED, wrong / INVERTED_SHARE),
                seconds=seconds_of(episode, state.stamps_ns[known]),
            )  # fmt: skip
            continue
        # A gripper keeps its last command, also where none is sent any more.
        yield from _moved_away(
            episode, name, "gripper_follows", command, state, 1, AWAY_RATIO, np.inf
        )


@needs("receive times", "commands")  # on ticks, commands go on
def uncommanded_motion(episode: BagEpisode) -> Iterator[Finding]:
    """No arm moves while nobody commands it.

    Bound: 0.15 rad of a joint within a pause of its commands of 0.5 s at least; the action is the
    last command all the while.
    """
    for side, motion in _motions(episode):
        command = episode.series.get(f"{side}_arm_command")
        if command is None or not len(command):
            continue
        sent = seconds_of(episode, command.stamps_ns)
        sent = np.append(sent, motion.times[-1])
        for row in np.flatnonzero(np.diff(sent) > PAUSE).tolist():
            inside = (motion.times >= sent[row] + SETTLE) & (motion.times <= sent[row + 1])
            way = float(np.ptp(motion.position[inside], axis=0).max()) if inside.any() else 0.0
            if way > SILENT_MOTION:
                text = (
                    f"{side} arm moves by {way:.2f} rad (bound {SILENT_MOTION} rad) in a pause of "
                    f"its commands of {sent[row + 1] - sent[row]:.1f} s: its action stands still "
                    "meanwhile; cut the episode, or record who commanded it"
                )
                yield finding(
                    "uncommanded_motion", "flag", f"{side}_arm_command", text,
                    value=way, bound=SILENT_MOTION, seconds=motion.times[inside],
                )  # fmt: skip


@needs("commands")
def off_command(episode: BagEpisode) -> Iterator[Finding | Untold]:
    """Every joint is where it is commanded to be, once the lag is taken out.

    Bound: 0.04 rad in the median, without moments at which the arm's sensor tells 30 N more than
    at rest: an arm that presses is held back. A wrong zero, sign, unit or order of joints on one
    side shows here; the same error in commands and states does not.
    """
    for side, motion in _motions(episode):
        stream, free = f"{side}_arm_state", ~_is_pressed(episode, side, motion.times)
        said = _why_untold(motion, free)
        if said or motion.command is None:
            yield Untold(rule="off_command", stream=stream, reason=said)
            continue
        measured, command = _in_time(motion.position, motion.command, free)
        error = np.median(np.abs(measured - command), axis=0)
        joint = int(np.argmax(error))
        if error[joint] > BESIDE:
            name = episode.cell.arms[side].joint_names[joint]
            why = _reading(measured[:, joint], command, joint)
            text = f"{name} is {error[joint]:.2f} rad beside its command (bound {BESIDE} rad){why}"
            yield finding(
                "off_command", "flag", stream, text,
                value=float(error[joint]), bound=BESIDE, seconds=motion.times[free],
            )  # fmt: skip


def _why_untold(motion: ArmMotion, free: NDArray[np.bool_]) -> str:
    """Why nobody can tell whether an arm follows; empty where it can be told."""
    if motion.command is None:
        return "it has no command"
    known = np.isfinite(motion.command).all(axis=1)
    if known.sum() < LEAST_ROWS or np.ptp(motion.command[known], axis=0).max() < LEAST_MOTION:
        return "its command hardly moves"
    return "" if (known & free).sum() >= LEAST_ROWS else "it presses all the while"


def _is_pressed(episode: BagEpisode, side: str, times: Array) -> NDArray[np.bool_]:
    """Whether an arm's sensor tells of a force, at some times (T,) [s]."""
    wrench = episode.series.get(f"{side}_wrench")
    if wrench is None or not len(wrench):
        return np.zeros(len(times), dtype=np.bool_)
    force = np.nan_to_num(np.linalg.norm(wrench.values[:, :3], axis=1))
    there = np.interp(times, seconds_of(episode, wrench.stamps_ns), force)
    pressed: NDArray[np.bool_] = there - np.percentile(force, REST) > PRESSED
    return pressed


def _in_time(position: Array, command: Array, free: NDArray[np.bool_]) -> tuple[Array, Array]:
    """Measured and commanded positions (N, n) with the lag taken out that fits most joints best.

    Args:
        position: Measured, shape (T, n) [rad].
        command: Shape (T, n) [rad]; NaN outside its first and last.
        free: Moments that count, shape (T,).
    """
    known: NDArray[np.bool_] = np.asarray(np.isfinite(command).all(axis=1))
    first, last = int(np.argmax(known)), len(known) - int(np.argmax(known[::-1]))
    pairs = []
    for step in range(min(round(LARGEST_LAG / GRID), (last - first) // 2) + 1):
        rows = free[first + step : last]
        if rows.any():
            pairs.append((position[first + step : last][rows], command[first : last - step][rows]))
    return min(pairs, key=lambda pair: float(np.median(np.abs(pair[0] - pair[1]), axis=0).sum()))


def _reading(measured: Array, command: Array, joint: int) -> str:
    """What the distance of a joint from its command looks like, in words."""
    offset = measured - command[:, joint]
    middle = float(np.median(offset))
    left = float(np.median(np.abs(offset - middle)))
    if left < STEADY:
        return f", by {middle:+.2f} rad all the time: look at its zero"
    turned = measured + command[:, joint]
    if np.median(np.abs(turned - np.median(turned))) < EXPLAINS * left:
        return ": it turns against its command; look at its sign"
    others = np.median(np.abs(command - measured[:, None]), axis=0)
    best = int(np.argmin(others))
    if best != joint and others[best] < STEADY:
        return f": it follows the command of joint {best + 1}; look at the order of joints"
    return ": it was held back, or follows something else"


def _moved_away(
    episode: BagEpisode,
    stream: str,
    rule: str,
    command: Series,
    state: Series,
    width: int,
    bound: float,
    pause: float,
) -> Iterator[Finding]:
    """Find where a device moves away from a command that is repeated to the last bit.

    Args:
        episode: The episode.
        stream: Of the command.
        rule: Who asks: one that flags grippers, or one that refuses arms.
        command: What was commanded.
        state: What was measured.
        width: Columns of both that are compared.
        bound: How far it may move away.
        pause: Time without any message after which a command no longer holds [s].
    """
    sent, seen = seconds_of(episode, command.stamps_ns), seconds_of(episode, state.stamps_ns)
    ends = np.minimum(np.append(sent[1:], max(sent[-1], seen[-1])), sent + pause)
    changed = np.any(np.diff(command.values[:, :width], axis=0) != 0, axis=1)
    changed |= np.diff(sent) > pause
    firsts = np.flatnonzero(np.concatenate([[True], changed]))
    lasts = np.append(firsts[1:], len(sent)) - 1
    for first, last in zip(firsts.tolist(), lasts.tolist(), strict=True):
        begin, end = sent[first] + SETTLE, ends[last]
        if end <= begin or (last == first and np.isfinite(pause)):
            continue
        rows = slice(*np.searchsorted(seen, [begin, end]))
        distance = np.abs(state.values[rows, :width] - command.values[first, :width])
        away = distance - np.minimum.accumulate(distance, axis=0)
        if not away.size or not np.nanmax(away) > bound:
            continue
        most, what = float(np.nanmax(away)), "rad" if width > 1 else "of the stroke"
        text = (
            f"{stream} is the same for {end - sent[first]:.2f} s while what it commands moves "
            f"away from it by {most:.2f} {what} (bound {bound} {what}): the command is stale "
            "or of another device; check who publishes it"
        )
        yield finding(
            rule, "refuse" if rule == "stale_command" else "flag", stream, text,
            value=most, bound=bound, seconds=seen[rows],
        )  # fmt: skip
        return


def _rms(values: Array) -> float:
    return float(np.sqrt(np.mean(values**2))) if len(values) else 0.0


def _motions(episode: BagEpisode) -> Iterator[tuple[str, ArmMotion]]:
    for side in episode.cell.arms:
        motion = arm_motion(episode, side)
        if motion is not None and len(motion.times) > 3:
            yield side, motion
