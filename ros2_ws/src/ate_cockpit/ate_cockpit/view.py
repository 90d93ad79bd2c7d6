"""What the page shows, kept from what the nodes of the cell say. No ROS, no web server."""

import math
import threading
from collections import deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from operator import itemgetter
from pathlib import Path
from typing import Generic, TypeGuard, TypeVar

import numpy as np
from numpy.typing import NDArray

from ate_cockpit.card import EpisodeCard
from ate_cockpit.headline import headline
from ate_core.contract import Cell
from ate_core.json_text import Document
from ate_core.stage_times import level

Array = NDArray[np.float64]

RATE_WINDOW = 2.0
"""Rates are counted over so long [s]."""
SILENT = 1.0
"""Age from which a stream counts as silent [s]."""
SLOW = 0.5
"""Share of its rate below which a camera counts as slow; a busy page passes pictures over."""
UNTOLD = 3.0
"""Age from which a line that is told once a second, as the monitor's word, counts no more [s]."""
LEVELS = ("ok", "warn", "error", "stale")
"""Words of the levels of a diagnostic line."""
RECORDER = "recorder"
"""What is lost with the status of the episode."""
MOST_LINES = 64
"""Lines of diagnostics kept; a cell has some twenty."""


class Stream:
    """When messages of one stream came."""

    def __init__(self) -> None:
        self._times: deque[float] = deque(maxlen=512)

    def hear(self, now: float) -> None:
        """Count a message at a monotonic time [s]."""
        self._times.append(now)

    def is_silent(self, now: float) -> bool:
        """Whether nothing came for a while, or ever."""
        return not self._times or now - self._times[-1] > SILENT

    def rate(self, now: float) -> float:
        """How many came in a second of late [Hz]."""
        return round(sum(now - time <= RATE_WINDOW for time in self._times) / RATE_WINDOW, 1)

    def document(self, now: float) -> Document:
        """Rate [Hz] and age [s]; an age of None: nothing came yet."""
        age = round(now - self._times[-1], 2) if self._times else None
        return {"rate": self.rate(now), "age": age, "silent": self.is_silent(now)}


Line = TypeVar("Line")


class Lines(Generic[Line]):
    """What is told once a second, by who or what it is about; it counts as long as it is told."""

    def __init__(self) -> None:
        self._lines: dict[str, tuple[float, Line]] = {}

    def take(self, name: str, line: Line, now: float) -> None:
        """Take a line at a monotonic time [s]; a new name only while there are not too many."""
        self._lines = {one: told for one, told in self._lines.items() if now - told[0] <= UNTOLD}
        if name in self._lines or len(self._lines) < MOST_LINES:
            self._lines[name] = now, line

    def of_late(self, now: float) -> dict[str, Line]:
        """Name -> line of those that are still told, in the order of the names."""
        lines = sorted(self._lines.items(), key=itemgetter(0))
        return {name: line for name, (at, line) in lines if now - at <= UNTOLD}


@dataclass
class Picture:
    """The newest picture of a camera."""

    data: bytes = b""
    """JPEG."""
    number: int = 0
    """How many came so far; 0: none."""
    stream: Stream = field(default_factory=Stream)
    """When they came."""


@dataclass
class ArmView:
    """The newest of one arm, its gripper and its operator."""

    measured: Array | None = None
    """Joints (n,) [rad]."""
    commanded: Array | None = None
    """Joint targets (n,) [rad]."""
    opening: float | None = None
    """Opening ratio of the gripper."""
    force: float | None = None
    """Length of the force at the tool [N]."""
    arm: Document = field(default_factory=dict)
    """``arm/status``."""
    gripper: Document = field(default_factory=dict)
    """``gripper/status``."""
    operator: Document = field(default_factory=dict)
    """``operator/status``."""
    states: Stream = field(default_factory=Stream)
    """When measured joints came."""
    commands: Stream = field(default_factory=Stream)
    """When joint targets came."""
    openings: Stream = field(default_factory=Stream)
    """When openings came."""
    forces: Stream = field(default_factory=Stream)
    """When forces came."""


class CellView:
    """Newest words and numbers of a cell. Any thread may call anything."""

    def __init__(self, cell: Cell) -> None:
        """Begin with nothing.

        Args:
            cell: its arms and cameras.
        """
        self._lock = threading.Lock()
        self.arms = {side: ArmView() for side in cell.arms}
        """Side -> the newest of it; change it under `changing`."""
        self._pictures = {role: Picture() for role in cell.cameras}
        self._rates = {role: camera.fps for role, camera in cell.cameras.items()}
        self._operators: dict[str, str] = {
            operator.arm: name for name, operator in cell.operators.items()
        }
        self._estop: Document = {}
        self._estop_stream = Stream()
        self._episode: Document = {}
        self._card = EpisodeCard(tuple(cell.arms))
        self._policy: Document = {}
        self._lost: set[str] = set()
        self._health = Lines[Document]()
        self._whole: Document = {}
        self._whole_at = math.inf
        self._loops = Lines[str]()

    @property
    def roles(self) -> tuple[str, ...]:
        """Roles of the cameras."""
        return tuple(self._pictures)

    @property
    def episode(self) -> object:
        """Number of the episode that is recorded, waits, or is next; None: no recorder says."""
        with self._lock:
            return self._episode.get("episode")

    @property
    def output(self) -> Path | None:
        """Folder of the episodes, once the recorder has told it."""
        with self._lock:
            output = self._episode.get("output")
        return Path(output) if isinstance(output, str) and output else None

    def take_joints(self, side: str, q: Sequence[float], now: float) -> None:
        """Take measured joints [rad] in the order of the cell."""
        with self._lock:
            self.arms[side].measured = np.array(q, dtype=np.float64)
            self.arms[side].states.hear(now)

    def take_command(self, side: str, q: Sequence[float], now: float) -> None:
        """Take joint targets [rad] in the order of the cell."""
        with self._lock:
            self.arms[side].commanded = np.array(q, dtype=np.float64)
            self.arms[side].commands.hear(now)

    def take_opening(self, side: str, opening: float, now: float) -> None:
        """Take the measured opening of a gripper [ratio]."""
        with self._lock:
            self.arms[side].opening = opening
            self.arms[side].openings.hear(now)

    def take_force(self, side: str, force: Sequence[float], now: float) -> None:
        """Take the force at a tool (3,) [N]."""
        with self._lock:
            self.arms[side].force = math.hypot(*force)
            self.arms[side].forces.hear(now)

    def take_status(self, side: str, kind: str, document: Document, now: float) -> None:
        """Take a status.

        Args:
            side: the arm.
            kind: ``arm``, ``gripper`` or ``operator``.
            document: what it says.
            now: monotonic time [s].
        """
        with self._lock:
            self._lost.discard(f"{side} {kind}")
            setattr(self.arms[side], kind, document)
            if kind == "operator":
                self._card.see_operator(side, document, now)

    def take_picture(self, role: str, data: bytes, now: float) -> None:
        """Take a JPEG."""
        with self._lock:
            picture = self._pictures[role]
            picture.data, picture.number = data, picture.number + 1
            picture.stream.hear(now)

    def take_estop(self, document: Document, now: float) -> None:
        """Take the state of the emergency stop; one that says nothing counts as silence."""
        if not isinstance(document.get("stopped"), bool):
            return
        with self._lock:
            self._estop = document
            self._estop_stream.hear(now)

    def take_episode(self, document: Document) -> None:
        """Take the recorder's status."""
        with self._lock:
            self._lost.discard(RECORDER)
            self._episode = document
            self._card.see_episode(document)

    def take_policy(self, document: Document) -> None:
        """Take the policy's status."""
        with self._lock:
            self._policy = document

    def lose_status(self, side: str, kind: str, now: float) -> None:
        """Forget a status that nobody publishes any more; see `take_status`."""
        with self._lock:
            if getattr(self.arms[side], kind):
                setattr(self.arms[side], kind, {})
                self._lost.add(f"{side} {kind}")
                if kind == "operator":
                    self._card.see_operator(side, {}, now)

    def lose_episode(self) -> None:
        """Forget the status of a recorder that is there no more."""
        with self._lock:
            if self._episode:
                self._lost.add(RECORDER)
                self._episode = {}
                self._card.see_episode({})

    def lose_policy(self) -> None:
        """Forget the status of a policy that is there no more: most are ended on purpose."""
        with self._lock:
            self._policy = {}

    def take_health(self, name: str, level: int, message: str, now: float) -> None:
        """Take a line of the summary of diagnostics."""
        word = LEVELS[min(level, len(LEVELS) - 1)]
        with self._lock:
            self._health.take(name, {"level": word, "message": message}, now)

    def take_whole(self, level: int, message: str, now: float) -> None:
        """Take what the monitor says of the cell as a whole at a monotonic time [s]."""
        with self._lock:
            self._whole = {"level": LEVELS[min(level, len(LEVELS) - 1)], "message": message}
            self._whole_at = now

    def take_loop(self, name: str, sentence: str, now: float) -> None:
        """Take what a node says of the times of its loop."""
        with self._lock:
            self._loops.take(name, sentence, now)

    def picture(self, role: str) -> tuple[bytes, int]:
        """The newest picture of a camera, and its number."""
        with self._lock:
            picture = self._pictures[role]
            return picture.data, picture.number

    def joints(self, now: float) -> dict[str, Array]:
        """Side -> measured joints (n,) [rad] of the arms that are heard."""
        with self._lock:
            return {
                side: arm.measured.copy()
                for side, arm in self.arms.items()
                if arm.measured is not None and not arm.states.is_silent(now)
            }

    def targets(self, now: float) -> dict[str, Array]:
        """Side -> joint targets (n,) [rad] of the arms that are commanded now."""
        with self._lock:
            return {
                side: arm.commanded.copy()
                for side, arm in self.arms.items()
                if arm.commanded is not None and not arm.commands.is_silent(now)
            }

    def document(self, now: float) -> Document:
        """Everything but pictures and drawings, as JSON would have it."""
        with self._lock:
            document: Document = {
                "estop": {**self._estop, "heard": not self._estop_stream.is_silent(now)},
                "episode": dict(self._episode),
                "card": self._card.document(now),
                "policy": dict(self._policy),
                "lost": sorted(self._lost),
                "arms": {side: self._arm(side, arm, now) for side, arm in self.arms.items()},
                "cameras": {
                    role: self._camera(role, picture.stream, now)
                    for role, picture in self._pictures.items()
                },
                "loops": self._loops.of_late(now),
                "whole": self._watched(now),
                "health": self._health.of_late(now),
            }
        return {**document, "headline": headline(document)}

    def _camera(self, role: str, stream: Stream, now: float) -> Document:
        """A camera's stream, and whether its pictures come too slowly."""
        document = stream.document(now)
        return {**document, "slow": stream.rate(now) < SLOW * self._rates[role]}

    def _watched(self, now: float) -> Document:
        """The cell as a whole; empty where no monitor runs, an error where it fell silent."""
        if now - self._whole_at > UNTOLD:
            return {"level": "error", "message": "monitor: silent, nobody watches the nodes"}
        return dict(self._whole)

    def _arm(self, side: str, arm: ArmView, now: float) -> Document:
        force = None if arm.force is None else round(arm.force, 1)
        return {
            "opening": None if arm.openings.is_silent(now) else arm.opening,
            "force": None if arm.forces.is_silent(now) else force,
            "status": arm.arm,
            "gripper": arm.gripper,
            "operator": {"name": self._operators.get(side, ""), **arm.operator},
            "states": arm.states.document(now),
            "commands": arm.commands.document(now),
            "latency": [
                stage for status in (arm.operator, arm.arm) for stage in latency_strip(status)
            ],
        }


def latency_strip(status: Document) -> list[Document]:
    """Stages of a status that times them, with what their times are; strange ones are left out."""
    given = status.get("latency_ms")
    stages = given if isinstance(given, Mapping) else {}
    return [
        {"stage": name, "median": pair[0], "p99": pair[1], "level": level(name, stages, *pair)}
        for name, pair in stages.items()
        if _is_pair(pair)
    ]


def _is_pair(pair: object) -> TypeGuard[Sequence[float]]:
    """Whether it is two times that can be drawn."""
    return (
        isinstance(pair, Sequence)
        and len(pair) == 2
        and all(isinstance(one, int | float) and math.isfinite(one) for one in pair)
    )
