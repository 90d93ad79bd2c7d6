"""Defects that recordings have, each with the rule that must speak, and how it is planted."""

import dataclasses
import json
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import simplejpeg

from ate_core.resample import Series, make_series
from training.audit.judge import audit_episode
from training.audit.motion import GRID, arm_motion
from training.audit.report import EpisodeAudit
from training.data.bag_reader import BagEpisode

Rng = np.random.Generator
AWAY = 0.06
"""Way of a command in half a second after which its arm has left it [rad]."""
MOVED = 0.05
"""Way of a joint within a second that is motion [rad]."""


@dataclass(frozen=True, kw_only=True)
class Plant:
    """A clean episode, and where a defect goes."""

    episode: BagEpisode
    """Copied, never changed."""
    side: str
    """The arm that moves most."""
    start: float
    """Share of the stream at which the defect begins."""
    rng: Rng
    """For noise."""

    @property
    def arm(self) -> str:
        """Stream of the arm's states."""
        return f"{self.side}_arm_state"

    @property
    def command(self) -> str:
        """Stream of its commands."""
        return f"{self.side}_arm_command"

    @property
    def camera(self) -> str:
        """The camera that the arm carries."""
        return f"cam_{self.side}_wrist"

    def pictures_in(self, seconds: float) -> int:
        """Pictures that the arm's camera takes in some time [s], two at least."""
        period = float(np.median(np.diff(self.episode.series[self.camera].stamps_ns)))
        return max(2, round(seconds * 1e9 / period))

    def values(self, stream: str, change: Callable[[Any, int, int], None], seconds: float = 0.0):
        """The episode with values of a stream changed, from ``start`` on for some time [s]."""
        series = self.episode.series[stream]
        first = int(self.start * len(series))
        wanted = int(series.stamps_ns[first]) + round(seconds * 1e9)
        last = max(int(np.searchsorted(series.stamps_ns, wanted)), first + 1)
        values = series.values.copy()
        change(values, first, min(last, len(values)))
        return self.series({stream: dataclasses.replace(series, values=values)})

    def series(self, new: dict[str, Series | None]) -> BagEpisode:
        """The episode with other series; None takes one away."""
        merged = {k: v for k, v in (self.episode.series | new).items() if v is not None}
        return dataclasses.replace(self.episode, series=merged)

    def pictures(self, change: Callable[[list[bytes], int], None]) -> BagEpisode:
        """The episode with the moving arm's pictures changed from ``start`` on."""
        images = list(self.episode.images[self.camera])
        change(images, int(self.start * len(images)))
        return dataclasses.replace(
            self.episode, images={**self.episode.images, self.camera: images}
        )

    def without(self, stream: str, rows: np.ndarray) -> BagEpisode:
        """The episode without some messages of a stream."""
        series = self.episode.series[stream]
        keep = np.setdiff1d(np.arange(len(series)), rows)
        new = Series(stamps_ns=series.stamps_ns[keep], values=series.values[keep])
        received = {**self.episode.received_ns, stream: self.episode.received_ns[stream][keep]}
        images = dict(self.episode.images)
        if stream in images:
            images[stream] = [images[stream][i] for i in keep]
        return dataclasses.replace(self.series({stream: new}), received_ns=received, images=images)


def _set(row: int, value: float) -> Callable[[Any, int, int], None]:
    def change(values: Any, first: int, last: int) -> None:
        values[first:last, row] = value

    return change


def _hold(values: Any, first: int, last: int) -> None:
    values[first:last] = values[first]


def _shake(values: Any, first: int, last: int) -> None:
    values[first:last, :7] += 0.04 * np.sin(0.5 * np.arange(last - first))[:, None]


def _scale(factor: float, columns: slice) -> Callable[[Any, int, int], None]:
    def change(values: Any, first: int, last: int) -> None:
        values[:, columns] *= factor

    return change


def _swap(plant: Plant, part: str) -> BagEpisode:
    left, right = (plant.episode.series.get(f"{side}_{part}") for side in ("left", "right"))
    return plant.series({f"left_{part}": right, f"right_{part}": left})


def _swap_cameras(plant: Plant) -> BagEpisode:
    left, right = "cam_left_wrist", "cam_right_wrist"
    series, images = plant.episode.series, plant.episode.images
    swapped = plant.series({left: series[right], right: series[left]})
    return dataclasses.replace(
        swapped, images={**images, left: images[right], right: images[left]}
    )


def _shift(plant: Plant, stream: str, seconds: float) -> BagEpisode:
    series = plant.episode.series[stream]
    moved = series.stamps_ns + round(seconds * 1e9)
    return plant.series({stream: make_series(moved, series.values)})


def _late_pictures(plant: Plant) -> BagEpisode:
    late = plant.pictures_in(0.33)

    def change(images: list[bytes], first: int) -> None:
        images[:] = [images[max(0, i - late)] for i in range(len(images))]

    return plant.pictures(change)


def _pictures_of(change: Callable[[Any, Any], Any]) -> Callable[[Plant], BagEpisode]:
    """Decode, change and encode the pictures of a second."""

    def plant_in(plant: Plant) -> BagEpisode:
        def inner(images: list[bytes], first: int) -> None:
            for index in range(first, min(first + plant.pictures_in(1.0), len(images))):
                picture = simplejpeg.decode_jpeg(images[index], "RGB")
                images[index] = simplejpeg.encode_jpeg(change(picture, plant.rng), 90, "RGB")

        return plant.pictures(inner)

    return plant_in


def _blurred(picture: Any, rng: Rng) -> Any:
    out = picture.astype(np.float32)
    for axis in (0, 1):
        for _ in range(8):
            out = (np.roll(out, 1, axis) + out + np.roll(out, -1, axis)) / 3
    return np.ascontiguousarray(out.astype(np.uint8))


def _one(data: Callable[[bytes, Rng], bytes]) -> Callable[[Plant], BagEpisode]:
    def plant_in(plant: Plant) -> BagEpisode:
        def inner(images: list[bytes], first: int) -> None:
            images[first] = data(images[first], plant.rng)

        return plant.pictures(inner)

    return plant_in


def _rotten(data: bytes, rng: Rng) -> bytes:
    """Bytes of the scan replaced by markers that no scan holds."""
    middle = len(data) // 2
    return data[:middle] + b"\xff\xc4\xff\xda" * 8 + data[middle + 32 :]


def _freeze(plant: Plant) -> BagEpisode:
    def change(images: list[bytes], first: int) -> None:
        last = min(first + plant.pictures_in(1.3), len(images))
        images[first:last] = [images[first]] * (last - first)

    return plant.pictures(change)


def _double(images: list[bytes], first: int) -> None:
    images[:] = [images[i - i % 2] for i in range(len(images))]


def _chatter(plant: Plant) -> BagEpisode:
    def change(values: Any, first: int, last: int) -> None:
        values[first:last, 0] = np.where(np.arange(last - first) // 6 % 2, 0.9, 0.4)

    return plant.values(f"{plant.side}_gripper_state", change, 2.0)


def _still(plant: Plant) -> BagEpisode:
    episode = plant.episode
    for stream in episode.series:
        if "arm" in stream or "gripper" in stream or "wrist_pose" in stream:
            series = episode.series[stream]
            if series.values.size:
                early = dataclasses.replace(plant, episode=episode, start=0.35)
                episode = early.values(stream, _hold, 1e3)
    return episode


def _said(plant: Plant, stream: str, *texts: tuple[float, dict[str, Any]]) -> BagEpisode:
    start = int(plant.episode.info["start_ns"])
    said = [(start + round(at * 1e9), json.dumps(text)) for at, text in texts]
    return dataclasses.replace(plant.episode, texts={**plant.episode.texts, stream: said})


def _losses(plant: Plant) -> BagEpisode:
    on, off = {"clutch": "engaged"}, {"clutch": "released", "reason": "hand not tracked"}
    texts = [(0.5 * i, on if i % 2 == 0 else off) for i in range(6)]
    return _said(plant, f"{plant.side}_operator_status", *texts)


def _at_limit(plant: Plant) -> BagEpisode:
    upper = plant.episode.cell.arms[plant.side].joint_upper[1]
    return plant.values(plant.arm, _set(1, upper - 0.02), 2.0)


def _reorder(plant: Plant) -> BagEpisode:
    received = plant.episode.received_ns[plant.arm].copy()
    received[::10] += 60_000_000
    return dataclasses.replace(
        plant.episode, received_ns={**plant.episode.received_ns, plant.arm: received}
    )


def _repeat(plant: Plant) -> BagEpisode:
    series = plant.episode.series[plant.arm]
    stamps = series.stamps_ns.copy()
    stamps[1::4] = stamps[:-1:4][: len(stamps[1::4])]
    return plant.series({plant.arm: Series(stamps_ns=stamps, values=series.values)})


def _rows(plant: Plant, seconds: float, stream: str) -> np.ndarray:
    stamps = plant.episode.series[stream].stamps_ns
    first = int(plant.start * len(stamps))
    return np.flatnonzero((stamps > stamps[first]) & (stamps < stamps[first] + seconds * 1e9))


def _no_commands(plant: Plant) -> BagEpisode:
    return plant.series({f"{side}_arm_command": None for side in plant.episode.cell.arms})


def _stuck_gripper(plant: Plant) -> BagEpisode:
    early = dataclasses.replace(plant, start=0.0)
    return early.values(f"{plant.side}_gripper_state", _hold, 1e3)


def _all(plant: Plant, stream: str, change: Callable[[Any], Any]) -> BagEpisode:
    """All values of a stream changed."""
    series = plant.episode.series[stream]
    return plant.series({stream: dataclasses.replace(series, values=change(series.values))})


def _column(index: int, change: Callable[[Any], Any]) -> Callable[[Any], Any]:
    def inner(values: Any) -> Any:
        changed = values.copy()
        changed[:, index] = change(values[:, index])
        return changed

    return inner


def _part(series: Series, columns: int) -> Series:
    return dataclasses.replace(series, values=series.values[:, :columns])


def _copy(plant: Plant, part: str) -> BagEpisode:
    own = plant.episode.series[f"{plant.side}_{part}"]
    return plant.series({f"{side}_{part}": own for side in plant.episode.cell.arms})


def _copy_camera(plant: Plant) -> BagEpisode:
    series, images = plant.episode.series, plant.episode.images
    both = [f"cam_{side}_wrist" for side in plant.episode.cell.arms]
    copied = plant.series(dict.fromkeys(both, series[plant.camera]))
    return dataclasses.replace(
        copied, images={**images, **dict.fromkeys(both, images[plant.camera])}
    )


def _repeat_command(plant: Plant, seconds: float) -> BagEpisode:
    """Repeat a command from a moment on after which its arm goes away from it."""
    start = _start_where(plant, plant.command, min(seconds, 1.0), AWAY, np.inf)
    return dataclasses.replace(plant, start=start).values(plant.command, _hold, seconds)


def _slow_freeze(plant: Plant) -> BagEpisode:
    """Hold the states for 1 s in which a joint moves by 0.004 to 0.02 rad."""
    start = _start_where(plant, plant.arm, 1.0, 0.004, 0.02)
    return dataclasses.replace(plant, start=start).values(plant.arm, _hold, 1.0)


def _start_where(plant: Plant, stream: str, seconds: float, least: float, most: float) -> float:
    """Share of a stream from which on a joint moves within some time by a way between two [rad].

    Of the command's second the last half counts: an arm goes on to the command before.
    """
    series = plant.episode.series[stream]
    stamps, values = series.stamps_ns, series.values[:, :7]
    ends = np.searchsorted(stamps, stamps + round(seconds * 1e9))
    fits = []
    for first in range(0, len(stamps), 5):
        if ends[first] >= len(stamps):
            break
        middle = (first + ends[first]) // 2 if stream == plant.command else first
        rows = values[middle : ends[first]]
        way = np.abs(rows - values[first]).max(axis=0) - np.abs(values[middle] - values[first])
        if least < float(np.ptp(rows, axis=0).max() if middle == first else way.max()) < most:
            fits.append(first)
    chosen = plant.rng.choice(fits) if fits else round(plant.start * len(stamps))
    return float(chosen) / len(stamps)


def _success_at_rest(plant: Plant) -> BagEpisode:
    """Objects and grippers stay as they began; arms move."""
    streams = [
        f"{side}_gripper_{part}"
        for side in plant.episode.cell.grippers
        for part in ("state", "command")
    ]
    episode = plant.episode
    for stream in ("objects", *streams):
        if stream in episode.series:
            early = dataclasses.replace(plant, episode=episode, start=0.0)
            episode = early.values(stream, _hold, 1e3)
    return episode


DEFECTS: dict[str, tuple[str, Callable[[Plant], BagEpisode]]] = {
    "joint at 9.9 rad": ("joint_limits", lambda p: p.values(p.arm, _set(2, 9.9))),
    "joints in degrees": (
        "joint_limits", lambda p: p.values(p.arm, _scale(57.3, slice(0, 7)))),
    "speeds in degrees": ("told_speed", lambda p: p.values(p.arm, _scale(57.3, slice(7, 14)))),
    "NaN joint": ("not_finite", lambda p: p.values(p.arm, _set(0, np.nan))),
    "NaN command": (
        "not_finite", lambda p: p.values(f"{p.side}_arm_command", _set(0, np.nan))),
    "gripper at 1.7": (
        "gripper_range", lambda p: p.values(f"{p.side}_gripper_state", _set(0, 1.7))),
    "wrench of 900 N": (
        "wrench_range", lambda p: p.values(f"{p.side}_wrench", _set(2, 900.0))),
    "force peak of 150 N": (
        "force_peak", lambda p: p.values(f"{p.side}_wrench", _set(2, 150.0), 0.05)),
    "wrench stuck": (
        "frozen_wrench", lambda p: p.values(f"{p.side}_wrench", _hold, 2.0)),
    "quaternion of length 0.5": (
        "unit_quaternion", lambda p: p.values("objects", lambda v, a, b: v.__setitem__(
            (a, 0, slice(3, 7)), 0.5 * v[a, 0, 3:7]))),
    "no command": ("no_command", _no_commands),
    "arms' states exchanged": ("swapped_arms", lambda p: _swap(p, "arm_state")),
    "arms' commands exchanged": ("swapped_arms", lambda p: _swap(p, "arm_command")),
    "joints frozen for 1 s": ("frozen_joints", lambda p: p.values(p.arm, _hold, 1.0)),
    "joints frozen in a slow motion": ("frozen_joints", _slow_freeze),
    "command repeated for 1 s": ("stale_command", lambda p: _repeat_command(p, 1.0)),
    "command repeated to the end": ("stale_command", lambda p: _repeat_command(p, 1e3)),
    "command constant": ("stale_command", lambda p: _all(p, p.command, lambda v: 0 * v + v[0])),
    "command copied from states": ("copied_command", lambda p: p.series({
        p.command: _part(p.episode.series[p.arm], 7)})),
    "sign of a joint": ("off_command", lambda p: _all(p, p.arm, _column(1, lambda q: -q))),
    "zero of a joint by 0.1 rad": (
        "off_command", lambda p: _all(p, p.arm, _column(2, lambda q: q + 0.1))),
    "two joints exchanged": ("off_command", lambda p: _all(
        p, p.arm, lambda v: v[:, [0, 3, 2, 1, *range(4, v.shape[1])]])),
    "commands 0.1 s late": ("command_lag", lambda p: _shift(p, p.command, 0.1)),
    "states at half their rate": ("repeated_states", lambda p: _all(
        p, p.arm, lambda v: v[np.arange(len(v)) // 2 * 2])),
    "one arm's states under both names": ("copied_stream", lambda p: _copy(p, "arm_state")),
    "one sensor under both names": ("copied_stream", lambda p: _copy(p, "wrench")),
    "one wrist camera under both names": ("copied_stream", _copy_camera),
    "opening inverted": ("gripper_follows", lambda p: _all(
        p, f"{p.side}_gripper_state", lambda v: 1.0 - v)),
    "openings exchanged": ("gripper_follows", lambda p: _swap(p, "gripper_state")),
    "success where nothing was moved": ("nothing_done", _success_at_rest),
    "gripper frozen": ("frozen_gripper", _stuck_gripper),
    "commands 0.4 s early": (
        "command_lag", lambda p: _shift(p, f"{p.side}_arm_command", -0.4)),
    "a joint jumps by 0.5 rad": (
        "jump", lambda p: p.values(p.arm, lambda v, a, b: v.__setitem__((a, 3), v[a, 3] - 0.5))),
    "shaking arm": ("jerk", lambda p: p.values(p.arm, _shake, 1.0)),
    "joint at its limit": ("near_limit", _at_limit),
    "nothing moves": ("idle", _still),
    "gripper chatters": ("gripper_chatter", _chatter),
    "clutch lost 3 times": ("clutch_losses", _losses),
    "hand beyond reach": ("reach_edge", lambda p: _said(
        p, f"{p.side}_operator_status", (0.0, {"out_of_reach": True}), (3.0, {"clutch": ""}))),
    "guard holds the arm": ("guard_held", lambda p: _said(
        p, f"{p.side}_arm_status", (0.0, {"guard": "left arm 30 mm from the table"}))),
    "empty image": ("broken_image", _one(lambda d, r: b"")),
    "random bytes": ("broken_image", _one(lambda d, r: r.bytes(len(d)))),
    "half a JPEG": ("broken_image", _one(lambda d, r: d[: len(d) // 2])),
    "a PNG": ("broken_image", _one(lambda d, r: b"\x89PNG\r\n\x1a\n" + r.bytes(len(d)))),
    "another size": ("broken_image", _one(
        lambda d, r: simplejpeg.encode_jpeg(np.zeros((48, 64, 3), np.uint8), 90, "RGB"))),
    "rotten scan": ("undecodable", _one(_rotten)),
    "black for 1 s": ("blackout", _pictures_of(lambda picture, r: 0 * picture)),
    "blurred for 1 s": ("blur", _pictures_of(_blurred)),
    "camera frozen for 1.3 s": ("frozen_camera", _freeze),
    "every picture twice": ("repeated_frames", lambda p: p.pictures(_double)),
    "pictures 0.33 s late": ("late_camera", _late_pictures),
    "camera's stamps 0.3 s early": ("skew", lambda p: _shift(p, p.camera, -0.3)),
    "wrist cameras exchanged": ("swapped_cameras", _swap_cameras),
    "states missing for 0.5 s": ("gaps", lambda p: p.without(p.arm, _rows(p, 0.5, p.arm))),
    "images missing for 0.6 s": (
        "gaps", lambda p: p.without(p.camera, _rows(p, 0.6, p.camera))),
    "every third state missing": ("rate", lambda p: p.without(
        p.arm, np.arange(0, len(p.episode.series[p.arm]), 3))),
    "stamps an hour ahead": ("skew", lambda p: _shift(p, p.arm, 3600.0)),
    "repeated stamps": ("repeated_stamps", _repeat),
    "messages out of order": ("out_of_order", _reorder),
}  # fmt: skip
"""Defect -> rule that must speak, and how it is planted."""


def moving_side(episode: BagEpisode) -> str:
    """Return the arm with the longest way."""
    ways = {}
    for side in episode.cell.arms:
        motion = arm_motion(episode, side)
        ways[side] = float(motion.speed.sum()) if motion is not None else 0.0
    return max(ways, key=lambda side: ways[side])


def moving_start(episode: BagEpisode, side: str, rng: Rng) -> float:
    """Return a share of the episode, in its middle, from which on the arm moves within a second.

    A stream that stands still where nothing moves tells the truth.
    """
    motion = arm_motion(episode, side)
    starts = rng.uniform(0.3, 0.6, 100)
    for start in starts if motion is not None else ():
        first = int(start * len(motion.times))
        rows = motion.position[first : first + round(1.0 / GRID)]
        if float(np.ptp(rows, axis=0).max()) > MOVED:
            return float(start)
    return float(starts[0])


def plant_and_judge(episode: BagEpisode, defect: str, rng: Rng) -> EpisodeAudit:
    """Return the audit of an episode with one defect."""
    side = moving_side(episode)
    plant = Plant(episode=episode, side=side, start=moving_start(episode, side, rng), rng=rng)
    return audit_episode("planted", DEFECTS[defect][1](plant))
