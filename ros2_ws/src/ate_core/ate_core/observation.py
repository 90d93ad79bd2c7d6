"""What a policy sees and what a dataset stores, built from streams by one set of lines.

The converter calls :class:`ObservationBuilder` with whole recorded streams and all ticks; the
policy node fills a :class:`LiveBuffer`, which calls the same builder for one tick. The header
stamp of a message (the host's receive time of the device's data) decides in both cases.
"""

from __future__ import annotations

import threading
from bisect import bisect_left, insort_right
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ate_core.contract import Cell
from ate_core.errors import EpisodeError, LayoutError
from ate_core.layout import VectorLayout
from ate_core.resample import NANOSECONDS, Series, in_force_at, latest_at, make_series
from ate_core.sampling import (
    GAP_PERIODS,
    HOLD,
    SamplingRules,
    index_at,
    sample_ages,
    sample_by,
    sample_poses,
)
from ate_core.streams import StreamSpec, cell_streams

Value = NDArray[np.float64] | bytes
"""A sample: numbers, or an encoded image."""

Decoder = Callable[[bytes], NDArray[np.uint8]]
"""JPEG bytes to an RGB image (H, W, 3)."""


@dataclass(frozen=True, kw_only=True)
class Observation:
    """What the policy sees at one tick."""

    state: NDArray[np.float32]
    """Measured vector in the order of the layout, shape (16,) [rad, ratio]."""
    images: Mapping[str, NDArray[np.uint8]] = field(default_factory=dict)
    """Camera key to RGB image, shape (H, W, 3)."""
    environment: NDArray[np.float32] | None = None
    """Object poses in the world frame, shape (n, 7) as x y z qx qy qz qw; None without any."""
    instruction: str = ""
    """What to do, in words."""
    stamp_ns: int
    """The tick [ns]."""


@dataclass(frozen=True, kw_only=True)
class Refusal:
    """Why there is no observation at a tick; its text is one line for the log."""

    stream: str
    """Topic of the stream at fault."""
    reason: str
    """What is wrong with it, with value and bound."""
    age: float | None = None
    """Age of its last sample [s]; None when there is none."""
    bound: float | None = None
    """Largest age allowed [s]."""

    def __str__(self) -> str:
        return f"{self.stream} {self.reason}"


FARTHEST_STAMP = 2.0
"""Largest difference of one message's header stamp and its receipt [s]: what was held up for
longer tells of the past."""


@dataclass(frozen=True, kw_only=True)
class StreamLimits:
    """Largest age of a sample at a tick, per kind of stream."""

    lead: float = 0.05
    """How far beyond its arrival a sample may be stamped [s]: more, and the clock that stamps it
    is not this machine's, so that what looks fresh is old."""

    joints: float = 0.2
    """Arm and gripper states and wrenches [s]."""
    image: float = 0.5
    """Camera images [s]."""
    poses: float = 0.5
    """Object poses [s]."""

    def of(self, spec: StreamSpec) -> float:
        """Return the bound of one stream [s]."""
        if spec.kind == "image":
            return self.image
        return self.poses if spec.kind == "poses" else self.joints


class ObservationBuilder:
    """Puts the streams of a cell on ticks, as the vectors of its layout.

    Args:
        cell: The cell.
        rules: Which sample stands for a stream at a tick.
    """

    def __init__(self, cell: Cell, rules: SamplingRules = HOLD) -> None:
        self.cell = cell
        self.rules = rules
        self.streams = {spec.name: spec for spec in cell_streams(cell)}
        self.sides = tuple(cell.arms)
        self.cameras = tuple(camera.key for camera in cell.cameras.values())

    def state(self, series: Mapping[str, Series], ticks_ns: ArrayLike) -> NDArray[np.float32]:
        """Return the measured vectors, shape (T, 16); NaN before a stream's first sample."""
        blocks = {}
        for side in self.sides:
            joints = self._sample(series, f"{side}_arm_state", ticks_ns)
            blocks[f"{side}_arm"] = joints[:, : self._joints(side)]
            blocks[f"{side}_gripper"] = self._sample(series, f"{side}_gripper_state", ticks_ns)
        return self._pack(blocks, self.cell.layout.state)

    def velocity(self, series: Mapping[str, Series], ticks_ns: ArrayLike) -> NDArray[np.float32]:
        """Return the measured joint velocities, left then right, shape (T, 14) [rad/s]."""
        columns = [
            self._sample(series, f"{side}_arm_state", ticks_ns)[:, self._joints(side) :]
            for side in self.sides
        ]
        return np.concatenate(columns, axis=1).astype(np.float32)

    def wrench(self, series: Mapping[str, Series], ticks_ns: ArrayLike) -> NDArray[np.float32]:
        """Return the zeroed wrenches, left then right, shape (T, 12) [N, N m]."""
        columns = [self._sample(series, f"{side}_wrench", ticks_ns) for side in self.sides]
        return np.concatenate(columns, axis=1).astype(np.float32)

    def action(
        self, series: Mapping[str, Series], ticks_ns: NDArray[np.int64], period_ns: int
    ) -> NDArray[np.float32]:
        """Return what was wanted one tick after each tick, shape (T, 16).

        Of an arm that is the command in force there or, where nobody commands it and its driver
        holds it (`safety.command_timeout`) or takes it home, the position measured there. A
        gripper keeps its last command; before the first one its measured opening at the first
        tick stands in.
        """
        ends, blocks = ticks_ns + period_ns, dict[str, NDArray[np.float64]]()
        lasts_ns = round(self.cell.safety.command_timeout * NANOSECONDS)
        for side in self.sides:
            arm = self._sample(series, f"{side}_arm_state", ends)[:, : self._joints(side)]
            gripper = self._sample(series, f"{side}_gripper_state", ticks_ns[:1])
            gripper = np.repeat(gripper, len(ticks_ns), axis=0)
            if (commands := series.get(f"{side}_arm_command")) is not None:
                index = in_force_at(commands.stamps_ns, ends, lasts_ns)
                arm[index >= 0] = commands.values[index[index >= 0]]
            if (commands := series.get(f"{side}_gripper_command")) is not None:
                index = latest_at(commands.stamps_ns, ends)
                gripper[index >= 0] = commands.values[index[index >= 0]]
            blocks |= {f"{side}_arm": arm, f"{side}_gripper": gripper}
        return self._pack(blocks, self.cell.layout.action)

    def environment(
        self, series: Mapping[str, Series], ticks_ns: ArrayLike
    ) -> NDArray[np.float32] | None:
        """Return the object poses, shape (T, n, 7); None when the cell has no such stream."""
        if "objects" not in series or not len(series["objects"]):
            return None
        return sample_poses(series["objects"], ticks_ns, self.rules.objects).astype(np.float32)

    def image_index(
        self, series: Mapping[str, Series], ticks_ns: ArrayLike
    ) -> dict[str, NDArray[np.int64]]:
        """Return per camera key the index of the image at each tick, shape (T,), -1 for none."""
        return {
            key: index_at(series[key].stamps_ns, ticks_ns, self.rules.images)
            for key in self.cameras
            if key in series
        }

    def ages(
        self, series: Mapping[str, Series], ticks_ns: NDArray[np.int64], period_ns: int
    ) -> dict[str, NDArray[np.float32]]:
        """Return per stream how old the sample used at each tick is, shape (T,) [s].

        Commands count from the next tick, where they are in force.
        """
        ages = {}
        for name, spec in self.streams.items():
            if spec.kind == "other" or name not in series:
                continue
            is_command = name.endswith("_command")
            ticks = ticks_ns + period_ns if is_command else ticks_ns
            rule = "hold" if is_command else self.rules.of(spec.kind)
            ages[name] = sample_ages(series[name].stamps_ns, ticks, rule)
        return ages

    def _sample(
        self, series: Mapping[str, Series], name: str, ticks_ns: ArrayLike
    ) -> NDArray[np.float64]:
        rule = self.rules.of(self.streams[name].kind)
        return sample_by(_need(series, name), ticks_ns, rule)

    def _joints(self, side: str) -> int:
        return len(self.cell.arms[side].joint_names)

    @staticmethod
    def _pack(
        blocks: Mapping[str, NDArray[np.float64]], layout: VectorLayout
    ) -> NDArray[np.float32]:
        for entry in layout.fields:
            if entry.name not in blocks or blocks[entry.name].shape[1] != entry.size:
                raise LayoutError(
                    f"the layout wants {entry.size} values of {entry.name}, the cell's streams "
                    "do not give them; make arms, grippers and layout of cell.yaml agree"
                )
        columns = [blocks[entry.name] for entry in layout.fields]
        return np.concatenate(columns, axis=1).astype(np.float32)


def find_stale(
    series: Mapping[str, Series],
    specs: Iterable[StreamSpec],
    ticks_ns: NDArray[np.int64],
    limits: StreamLimits,
    rules: SamplingRules = HOLD,
) -> Refusal | None:
    """Return the first stream that is missing, too old at a tick, or not finite there."""
    for spec in specs:
        rule, bound = rules.of(spec.kind), limits.of(spec)
        if rule == "refuse" and spec.rate_hz > 0:
            bound = min(bound, GAP_PERIODS / spec.rate_hz)
        stream = series.get(spec.name)
        index = index_at(stream.stamps_ns if stream is not None else [], ticks_ns, rule)
        if stream is None or np.any(index < 0):
            return Refusal(stream=spec.topic, reason="has no sample yet", bound=bound)
        age = np.abs(ticks_ns - stream.stamps_ns[index])
        worst = int(np.argmax(age))
        oldest = float(age[worst]) / NANOSECONDS
        if oldest > bound:
            reason = f"is {oldest * 1e3:.0f} ms old (bound {bound * 1e3:.0f} ms)"
            if len(ticks_ns) > 1:
                reason += f" at tick {worst} of {len(ticks_ns)}"
            return Refusal(stream=spec.topic, reason=reason, age=oldest, bound=bound)
        if not np.all(np.isfinite(stream.values[index])):
            return Refusal(stream=spec.topic, reason="holds a value that is not finite")
    return None


def _need(series: Mapping[str, Series], name: str) -> Series:
    if name not in series:
        raise EpisodeError(f"stream {name} is missing; have {', '.join(sorted(series))}")
    return series[name]


class _History:
    """The last seconds of one stream, ordered by stamp and, within a stamp, by arrival."""

    def __init__(self, length_ns: int) -> None:
        self._length_ns = length_ns
        self.samples: list[tuple[int, Value]] = []

    def add(self, stamp_ns: int, value: Value) -> None:
        previous = self.samples[-1][1] if self.samples else value
        if not isinstance(value, bytes) and np.shape(value) != np.shape(previous):
            self.samples.clear()  # another number of objects: another scene
        if self.samples and stamp_ns < self.samples[-1][0] - self._length_ns:
            self.samples.clear()  # a clock was set back: what is there would outlive all others
        insort_right(self.samples, (stamp_ns, value), key=lambda entry: entry[0])
        oldest = self.samples[-1][0] - self._length_ns
        keep = bisect_left(self.samples, oldest, key=lambda entry: entry[0])
        del self.samples[: max(0, keep - 1)]


class LiveBuffer:
    """Collects live samples and answers for a tick with an observation, or why there is none.

    Samples may be added and observed from different threads.

    Args:
        cell: The cell, whose layout and streams are used.
        cameras: Keys of the cameras the policy needs; others may be added and are ignored.
        decoder: Turns the bytes of a needed image into an RGB array.
        use_environment: Whether the policy needs object poses.
        limits: Largest ages; beyond them the observation is refused.
        history: Seconds of samples kept per stream.
    """

    def __init__(
        self,
        cell: Cell,
        *,
        cameras: Sequence[str] = (),
        decoder: Decoder | None = None,
        use_environment: bool = False,
        limits: StreamLimits | None = None,
        history: float = 2.0,
    ) -> None:
        self._builder = ObservationBuilder(cell)
        self._limits = limits or StreamLimits()
        self._decoder = decoder
        self._cameras = tuple(cameras)
        if self._cameras and decoder is None:
            raise LayoutError(f"cameras {list(cameras)} need a decoder of their images: pass one")
        states = [f"{side}_{part}_state" for side in cell.arms for part in ("arm", "gripper")]
        names = [*states, *cameras, *(["objects"] if use_environment else [])]
        unknown = [name for name in names if name not in self._builder.streams]
        if unknown:
            raise LayoutError(f"the cell has no stream {unknown[0]!r}; check the policy's cameras")
        self.needed: tuple[StreamSpec, ...] = tuple(self._builder.streams[name] for name in names)
        """The streams to subscribe to."""
        self._states = self.needed[: len(states)]
        self._history = {name: _History(round(history * NANOSECONDS)) for name in names}
        self._ahead: dict[str, Refusal] = {}
        self._arrived_ns = 0
        self._lock = threading.Lock()

    def add(
        self,
        stream: str,
        stamp_ns: int,
        value: ArrayLike | bytes,
        arrived_ns: int | None = None,
    ) -> None:
        """Add one sample of a needed stream; others are ignored.

        Args:
            stream: Its name.
            stamp_ns: Of its header [ns].
            value: As ``ate_core.streams.read_value`` gives it.
            arrived_ns: When it came, on the clock of the ticks [ns]; None: its stamp is believed.
        """
        if stream not in self._history:
            return
        kept = value if isinstance(value, bytes) else np.asarray(value, dtype=np.float64)
        lead = 0.0 if arrived_ns is None else (stamp_ns - arrived_ns) / NANOSECONDS
        with self._lock:
            if arrived_ns is not None:
                self._forget_other_times(arrived_ns)
                self._arrived_ns = arrived_ns
            if lead > self._limits.lead:
                self._ahead[stream] = self._ahead_by(stream, lead)
                return
            self._ahead.pop(stream, None)
            self._history[stream].add(stamp_ns, kept)

    def observe(self, tick_ns: int, instruction: str = "") -> Observation | Refusal:
        """Return what the policy sees at a tick, or the stream that forbids it."""
        ticks = np.array([tick_ns], dtype=np.int64)
        found = self._look(self.needed, ticks)
        if isinstance(found, Refusal):
            return found
        samples, series = found
        index = self._builder.image_index(series, ticks)
        environment = self._builder.environment(series, ticks)
        images: dict[str, NDArray[np.uint8]] = {}
        for key in self._cameras:
            try:
                images[key] = self._decode(samples[key][index[key][0]][1])
            except LayoutError as error:  # cut short: the next one is better
                return Refusal(stream=self._builder.streams[key].topic, reason=f"holds {error}")
        return Observation(
            state=self._builder.state(series, ticks)[0],
            images=images,
            environment=None if environment is None else environment[0],
            instruction=instruction,
            stamp_ns=tick_ns,
        )

    def state(self, tick_ns: int) -> NDArray[np.float32] | Refusal:
        """Return where arms and grippers are at a tick (D,), or the stream that forbids it."""
        ticks = np.array([tick_ns], dtype=np.int64)
        found = self._look(self._states, ticks)
        return found if isinstance(found, Refusal) else self._builder.state(found[1], ticks)[0]

    def _look(
        self, specs: Sequence[StreamSpec], ticks: NDArray[np.int64]
    ) -> tuple[dict[str, list[tuple[int, Value]]], dict[str, Series]] | Refusal:
        """Samples of streams by name, also as series, where all are there at a tick (1,)."""
        with self._lock:
            self._forget_other_times(int(ticks[0]))
            for spec in specs:
                if spec.name in self._ahead:
                    return self._ahead[spec.name]
            samples = {spec.name: list(self._history[spec.name].samples) for spec in specs}
        series = {}
        for name, entries in samples.items():
            numbers = [value for _, value in entries if not isinstance(value, bytes)]
            series[name] = make_series([stamp for stamp, _ in entries], numbers or None)
        refusal = find_stale(series, specs, ticks, self._limits)
        return (samples, series) if refusal is None else refusal

    def _forget_other_times(self, now_ns: int) -> None:
        """Forget all samples where the clock was set back: they would pass for newer ones."""
        if now_ns < self._arrived_ns - self._limits.lead * NANOSECONDS:
            for history in self._history.values():
                history.samples.clear()
            self._arrived_ns = now_ns

    def _ahead_by(self, stream: str, lead: float) -> Refusal:
        return Refusal(
            stream=self._builder.streams[stream].topic,
            reason=(
                f"is stamped {lead * 1e3:.0f} ms in the future (bound "
                f"{self._limits.lead * 1e3:.0f} ms): set the clock of the machine that stamps it "
                "by this one's, for instance with chrony"
            ),
            age=-lead,
            bound=self._limits.lead,
        )

    def _decode(self, data: Value) -> NDArray[np.uint8]:
        if self._decoder is None or not isinstance(data, bytes):
            raise LayoutError("images are added as encoded bytes and need a decoder: pass one")
        return self._decoder(data)
