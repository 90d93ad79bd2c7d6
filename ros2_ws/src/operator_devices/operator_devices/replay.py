"""A hand-pose source that plays a recording: one of this stack's files or a public hand log.

Own files are npz with `time` (N,) [s], `wrist` (N, 4, 4) and `head` (N, 4, 4), both to the
headset frame. The public logs (VisionProTeleop, assets/mujoco_demos/logs) hold no hand pose that
moves, but the joints of the simulated Panda arm that a person's hand led; its flange takes the
place of the person's wrist.
"""

import time
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from ate_core.errors import EpisodeError
from ate_core.geometry import rpy_to_matrix
from ate_core.kinematics import Joint, SerialChain
from operator_devices.hand_pose import HandSample, HandTracker, Matrix, TrackingConfig

_LOG_PERIOD = 0.002
"""Step of the public logs, fitted from their positions and velocities [s]."""
_LOG_RATE = 90.0
"""Rate at which a public log is taken over: the headset's [Hz]."""

_PANDA_DH = (
    (0.0, 0.333, 0.0),
    (0.0, 0.0, -np.pi / 2),
    (0.0, 0.316, np.pi / 2),
    (0.0825, 0.0, np.pi / 2),
    (-0.0825, 0.384, -np.pi / 2),
    (0.0, 0.0, np.pi / 2),
    (0.088, 0.0, np.pi / 2),
)
"""Modified Denavit-Hartenberg a [m], d [m], alpha [rad] of the Franka Panda (maker's manual)."""
_PANDA_FLANGE = 0.107
"""Distance of its flange from joint 7 [m]."""


@dataclass(frozen=True, kw_only=True, eq=False)
class HandRecording:
    """One hand and the head over time, in the headset frame."""

    time: NDArray[np.float64]
    """(N,) increasing [s]."""
    wrist: NDArray[np.float64]
    """(N, 4, 4) wrist to headset."""
    head: NDArray[np.float64]
    """(N, 4, 4) head to headset."""

    def __post_init__(self) -> None:
        count = len(self.time)
        for name in ("wrist", "head"):
            shape = getattr(self, name).shape
            if shape != (count, 4, 4):
                raise EpisodeError(f"{name} has shape {shape}; it must be ({count}, 4, 4)")
        if count < 2 or not (np.diff(self.time) > 0.0).all():
            raise EpisodeError(f"time has {count} values; it must have 2 or more and increase")

    @property
    def duration(self) -> float:
        """From the first to the last pose [s]."""
        return float(self.time[-1] - self.time[0])


def load_recording(path: str | Path) -> HandRecording:
    """Reads a recording, of either kind.

    Raises:
        EpisodeError: The file is missing or of another kind.
    """
    path = Path(path)
    try:
        with np.load(path, allow_pickle=False) as file:
            data = {name: np.asarray(file[name], dtype=np.float64) for name in file.files}
    except (OSError, ValueError) as error:
        raise EpisodeError(f"cannot read {path} as npz: {error}") from error
    if {"time", "wrist", "head"} <= data.keys():
        return HandRecording(time=data["time"], wrist=data["wrist"], head=data["head"])
    if "qpos" in data and data["qpos"].ndim == 2 and data["qpos"].shape[1] >= 7:
        return _from_log(data["qpos"])
    raise EpisodeError(
        f"{path} holds {', '.join(sorted(data))}; it must hold time, wrist and head, or qpos"
    )


def save_recording(path: str | Path, recording: HandRecording) -> None:
    """Writes a recording that `load_recording` reads back unchanged."""
    np.savez_compressed(path, time=recording.time, wrist=recording.wrist, head=recording.head)


class ReplaySource:
    """A `HandPoseSource` that plays a recording in real time, without a thread of its own."""

    def __init__(
        self,
        recording: HandRecording,
        *,
        loop: bool = False,
        tracking: TrackingConfig | None = None,
    ) -> None:
        """Prepares the samples.

        Args:
            recording: What to play.
            loop: Whether to begin again at the end, in a new session.
            tracking: When the recorded hand counts as tracked.
        """
        self._times_ns = np.round((recording.time - recording.time[0]) * 1e9).astype(np.int64)
        self._samples = _track(recording, self._times_ns, tracking)
        self._sessions = 1 + max(sample.session for sample in self._samples)
        # The last pose is shown as long as the mean pose, then the recording is over.
        self._lap_ns = int(self._times_ns[-1] * len(self._times_ns) / (len(self._times_ns) - 1))
        self._loop = loop
        self._start_ns: int | None = None

    def start(self) -> None:
        """Begins playing."""
        self._start_ns = time.monotonic_ns()

    def stop(self) -> None:
        """Ends playing."""
        self._start_ns = None

    def latest(self) -> HandSample | None:
        """The pose whose time has come; after the end the last one, no longer tracked."""
        if self._start_ns is None:
            return None
        return self.sample_at(time.monotonic_ns() - self._start_ns, self._start_ns)

    def wait_change(self, changed_ns: int, timeout: float) -> None:
        """Waits until the next pose's time has come, for `timeout` [s] at most."""
        now_ns = time.monotonic_ns()
        sample = self.latest()
        if self._start_ns is not None and sample is not None and sample.changed_ns == changed_ns:
            within_ns = (now_ns - self._start_ns) % self._lap_ns
            index = int(np.searchsorted(self._times_ns, within_ns, side="right"))
            due_ns = self._times_ns[index] if index < len(self._times_ns) else self._lap_ns
            time.sleep(min(timeout, max(0.0, (int(due_ns) - within_ns) * 1e-9)))

    @property
    def connected(self) -> bool:
        """Whether the recording is playing."""
        if self._start_ns is None:
            return False
        return self._loop or time.monotonic_ns() - self._start_ns < self._lap_ns

    @property
    def status(self) -> str:
        """One line for the operator."""
        return "recording playing" if self.connected else "recording not playing"

    @property
    def trouble(self) -> str:
        """A recording is always there."""
        return ""

    def sample_at(self, elapsed_ns: int, start_ns: int = 0) -> HandSample:
        """The sample `elapsed_ns` after the beginning, which was at `start_ns` [ns, monotonic]."""
        lap, within_ns = divmod(elapsed_ns, self._lap_ns)
        over = lap > 0 and not self._loop
        if over:
            lap, within_ns = 0, self._lap_ns
        index = int(np.searchsorted(self._times_ns, within_ns, side="right")) - 1
        sample = self._samples[index]
        origin_ns = start_ns + lap * self._lap_ns
        return replace(
            sample,
            received_ns=origin_ns + sample.received_ns,
            changed_ns=origin_ns + sample.changed_ns,
            sequence=lap * len(self._samples) + sample.sequence,
            session=lap * self._sessions + sample.session,
            tracked=sample.tracked and not over,
        )


def _track(
    recording: HandRecording, times_ns: NDArray[np.int64], config: TrackingConfig | None
) -> list[HandSample]:
    tracker = HandTracker(config)
    samples = []
    for wrist, head, time_ns in zip(recording.wrist, recording.head, times_ns, strict=True):
        sample = tracker.update(wrist, head, int(time_ns))
        if sample is None:
            raise EpisodeError("the recording begins with a pose that is not a proper rotation")
        samples.append(sample)
    return samples


def _from_log(qpos: NDArray[np.float64]) -> HandRecording:
    """The hand of the logged arm; `qpos` is (N, 16), the arm's seven joints first [rad]."""
    step = round(1.0 / (_LOG_RATE * _LOG_PERIOD))
    rows = np.arange(0, len(qpos), step)
    # The arm's base has x forward, y left; the headset frame x right, y forward.
    transform_base_to_headset = np.eye(4)
    transform_base_to_headset[:3, :3] = rpy_to_matrix((0.0, 0.0, np.pi / 2))
    chain = _panda()
    wrist = np.stack([transform_base_to_headset @ chain.fk(q) for q in qpos[rows, :7]])
    head = np.tile(np.eye(4), (len(rows), 1, 1))
    head[:, 2, 3] = 0.6
    return HandRecording(time=np.float64(_LOG_PERIOD) * rows, wrist=wrist, head=head)


def _panda() -> SerialChain:
    joints = []
    for number, (a, d, alpha) in enumerate(_PANDA_DH, start=1):
        origin: Matrix = np.eye(4)
        origin[:3, :3] = rpy_to_matrix((alpha, 0.0, 0.0))
        origin[:3, 3] = origin[:3, :3] @ np.array([a, 0.0, d])
        joints.append(
            Joint(
                name=f"panda_joint{number}",
                origin=origin,
                axis=np.array([0.0, 0.0, 1.0]),
                lower=-np.pi,
                upper=np.pi,
                speed=np.inf,
                effort=np.inf,
            )
        )
    flange: Matrix = np.eye(4)
    flange[2, 3] = _PANDA_FLANGE
    return SerialChain(joints=tuple(joints), tip=flange)
