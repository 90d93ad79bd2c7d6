"""A recording of one operator's hands as a text file: what is in it, written and read.

One JSON object per line. The first one is the header, with ``"format": "ate-hands"``; every other
has its time ``t`` [s] since the header's ``start_ns``, and one of

* ``head``, ``left``, ``right``: a message of the headset as it was sent, each the first three rows
  of a transform to ARKit's frame (12 numbers) [m]; null where it was not finite;
* ``buttons``, ``stick``, ``battery``, ``charging``: a report of the Joy-Con;
* ``q``: the measured joints of the arm [rad], as old as the stamp of their message says.
"""

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ate_core.contract import Cell
from ate_core.errors import EpisodeError
from ate_core.json_text import UNREADABLE
from operator_devices.joycon_report import BUTTONS

Array = NDArray[np.float64]
FORMAT = "ate-hands"
VERSION = 1
MATRICES = ("head", "left", "right")
"""Names of the matrices of a headset's message."""
LONGEST_WAIT = 3600.0
"""Time between two lines, or before the first one, above which the file is not believed [s]."""
OLDEST_JOINTS = 1.0
"""How much before t = 0 the first joints may have been measured; older ones are left out [s]."""
LARGEST_SENT = float(np.finfo(np.float32).max)
"""Largest number that a headset can send."""
LONGEST_SESSION = 12 * 3600.0
"""Time of a line from which on it is not believed [s]."""


@dataclass(frozen=True, kw_only=True)
class HandsHeader:
    """The first line: whose hands, in which cell, since when."""

    start_ns: int
    """Unix time of t = 0 [ns]."""
    side: str
    """Operator, by the arm that they drive."""
    cell: str
    """Name of the cell."""
    hardware: str
    """real or sim."""
    joint_names: tuple[str, ...]
    """Joints of ``q``."""
    settings: dict[str, Any] = field(default_factory=dict)
    """What makes the motion of the hand that of the arm: see `settings_of`."""
    calibration: dict[str, Any] = field(default_factory=dict)
    """``heading`` [rad] and ``hand_rotation`` (x, y, z, w from tool to wrist) of the calibration
    that held at the beginning; empty: the cell's own values did."""
    source: str = "session"
    """session, or bag where it was taken out of one."""


@dataclass(frozen=True, kw_only=True, eq=False)
class HeadsetMessage:
    """One message of the headset."""

    t: float
    """Time of its receipt [s]."""
    matrices: Mapping[str, Array | None]
    """Name of `MATRICES` -> (4, 4) to ARKit's frame as sent; None where it was not finite."""


@dataclass(frozen=True, kw_only=True)
class JoyConReport:
    """One report of the Joy-Con."""

    t: float
    """Time of its receipt [s]."""
    buttons: frozenset[str] = frozenset()
    """Names of the pressed buttons."""
    stick: tuple[float, float] = (0.0, 0.0)
    """Right and up, -1 .. 1."""
    battery: float = 1.0
    """Charge, 0 .. 1."""
    charging: bool = False
    """Whether it is being charged."""


@dataclass(frozen=True, kw_only=True, eq=False)
class HandsRecording:
    """One operator's recorded hands and the joints of the arm that they led."""

    header: HandsHeader
    """Whose."""
    headset: tuple[HeadsetMessage, ...]
    """In the order of time."""
    joycon: tuple[JoyConReport, ...]
    """In the order of time."""
    joint_times: Array
    """(N,) increasing [s]."""
    joints: Array
    """(N, n) [rad]."""
    notes: tuple[str, ...] = ()
    """What is missing of it, for people."""

    @property
    def duration(self) -> float:
        """From t = 0 to the last message of a device [s]."""
        return max((one[-1].t for one in (self.headset, self.joycon) if one), default=0.0)


def settings_of(cell: Cell, side: str) -> dict[str, Any]:
    """What must be the same for a hand to move the arm in the same way."""
    operator = cell.operators[side]
    return {
        "arm_model": cell.arms[operator.arm].model,
        "hand": operator.hand,
        "joycon_side": operator.joycon_side,
        "scale": operator.scale,
        "yaw": operator.yaw,
        "hand_rotation": list(operator.hand_rotation),
        "buttons": dict(operator.buttons),
        "gripper_input": operator.gripper_input,
    }


def header_line(header: HandsHeader) -> str:
    """The header as the first line."""
    return json.dumps({"format": FORMAT, "version": VERSION, **asdict(header)}) + "\n"


def message_line(t: float, matrices: Mapping[str, Array]) -> str:
    """One message of the headset as a line; `matrices` are (4, 4) to ARKit's frame."""
    parts = [f'"{name}": {_rows(matrices[name])}' for name in MATRICES if name in matrices]
    return f'{{"t": {t:.6f}, {", ".join(parts)}}}\n'


def report_line(t: float, report: JoyConReport) -> str:
    """One report of the Joy-Con as a line."""
    values = {
        "buttons": sorted(report.buttons),
        "stick": [round(axis, 4) for axis in report.stick],
        "battery": report.battery,
        "charging": report.charging,
    }
    return f'{{"t": {t:.6f}, {json.dumps(values)[1:]}\n'


def joints_line(t: float, q: Array) -> str:
    """Measured joints (n,) [rad] as a line."""
    return f'{{"t": {t:.6f}, "q": [{", ".join(f"{one:.7f}" for one in q.tolist())}]}}\n'


def _rows(matrix: Array) -> str:
    if not np.isfinite(matrix).all():
        return "null"
    # Nine digits bring a float of the wire back exactly.
    return f"[{', '.join(f'{one:.9g}' for one in matrix[:3].ravel().tolist())}]"


def read_hands(path: Path) -> HandsRecording:
    """Read one operator's file.

    A last line that is cut, as a crash or a full disk leaves it, is left out and noted.

    Raises:
        EpisodeError: another kind of file, a newer version, or a line that cannot be.
    """
    try:
        text = path.read_bytes().decode()
    except OSError as error:
        raise EpisodeError(f"cannot read {path}: {error.strerror}") from None
    except UnicodeDecodeError:
        text = path.read_bytes().decode(errors="replace")
    *lines, rest = text.split("\n")
    if not lines:
        raise EpisodeError(f"{path} is no recording of hands: it has no line that ends")
    header = _read_header(path, lines[0])
    builder = _Builder(path, len(header.joint_names))
    for number, line in enumerate(lines[1:], start=2):
        builder.add(number, line)
    recording = builder.built(header)
    if rest.strip():
        note = f"{path.name} is cut after {recording.duration:.1f} s: its last line is not whole"
        recording = replace(recording, notes=(*recording.notes, note))
    return recording


def read_session(path: Path) -> dict[str, HandsRecording]:
    """Read a file, or the folder of a session with one file per operator: side -> recording.

    Raises:
        EpisodeError: there is none, or one of them cannot be read.
    """
    if not path.is_dir():
        recording = read_hands(path)
        return {recording.header.side: recording}
    files = sorted(path.glob("*.jsonl"))
    if not files:
        raise EpisodeError(f"{path} holds no recording of hands (*.jsonl)")
    found: dict[str, HandsRecording] = {}
    for file in files:
        recording = read_hands(file)
        side = recording.header.side
        if side in found:
            raise EpisodeError(
                f"{path} holds two recordings of the {side} operator, whose process was started "
                f"twice; name one: {', '.join(one.name for one in files)}"
            )
        found[side] = recording
    return found


def check_session(session: Mapping[str, HandsRecording]) -> None:
    """Refuse recordings of several operators that were not made together.

    Raises:
        EpisodeError: they begin too far apart.
    """
    starts = [one.header.start_ns for one in session.values()]
    if max(starts) - min(starts) > LONGEST_WAIT * 1e9:
        raise EpisodeError(
            f"the recordings of {' and '.join(session)} begin at start_ns "
            f"{' and '.join(map(str, starts))}; need at most {LONGEST_WAIT:g} s between them: "
            "name one of them, or correct its start_ns"
        )


def check_step(t: float, before: float) -> None:
    """Refuse a time [s] that cannot follow another one, or 0 where it is the first.

    Raises:
        ValueError: naming it and the bound.
    """
    if not before <= t <= min(before + LONGEST_WAIT, LONGEST_SESSION):
        raise ValueError(
            f"t is {t} s, and {before} before: time must go on, by {LONGEST_WAIT:g} s at most, "
            f"and not beyond {LONGEST_SESSION:g} s"
        )


def checked_report(
    t: float,
    buttons: Iterable[str],
    stick: Sequence[float],
    battery: float = 1.0,
    *,
    charging: bool = False,
) -> JoyConReport:
    """A report that a Joy-Con can send, see `JoyConReport`.

    Raises:
        ValueError: stick or battery are out of their bounds.
    """
    right, up = map(float, stick)
    for axis in (right, up):
        if not -1.0 <= axis <= 1.0:
            raise ValueError(f"stick is {axis}; need -1 to 1")
    if not 0.0 <= battery <= 1.0:
        raise ValueError(f"battery is {battery}; need 0 to 1")
    return JoyConReport(
        t=t, buttons=frozenset(buttons), stick=(right, up), battery=battery, charging=charging
    )


_HEADER: dict[str, type] = {
    "start_ns": int, "side": str, "cell": str, "hardware": str, "joint_names": list,
    "settings": dict, "calibration": dict, "source": str,
}  # fmt: skip
"""Kinds of the header's entries."""


def _read_header(path: Path, line: str) -> HandsHeader:
    try:
        values = _parse(line)
        named = values.pop("format"), values.pop("version")
    except UNREADABLE:
        named = "", 0
    if named[0] != FORMAT:
        raise EpisodeError(
            f'{path} is no recording of hands: its first line has no "format": "{FORMAT}"'
        )
    if named[1] != VERSION:
        raise EpisodeError(
            f"{path} is of version {named[1]}, this software reads {VERSION}: "
            "update it, or play the file with the software that wrote it"
        )
    try:
        for name, kind in _HEADER.items():
            if name in values and not isinstance(values[name], kind):
                raise TypeError(f"{name} is {values[name]!r:.80}, must be a {kind.__name__}")
        values["joint_names"] = tuple(str(name) for name in values["joint_names"])
        header = HandsHeader(**values)
    except UNREADABLE as error:
        raise EpisodeError(f"{path}: the header cannot be read: {error!r}") from None
    return header


class _Builder:
    """Takes the lines behind the header, each checked."""

    def __init__(self, path: Path, joints: int) -> None:
        self._path = path
        self._joint_count = joints
        self._headset: list[HeadsetMessage] = []
        self._joycon: list[JoyConReport] = []
        self._joints: list[tuple[float, Array]] = []

    def add(self, number: int, line: str) -> None:
        try:
            values = _parse(line)
            t = _number(values["t"])
            if values.keys() & set(MATRICES):
                matrices = {name: _matrix(values.get(name)) for name in MATRICES}
                self._append(self._headset, HeadsetMessage(t=t, matrices=matrices))
            elif "buttons" in values:
                self._append(self._joycon, _report(t, values))
            elif "q" in values:
                q = _numbers(values["q"], self._joint_count)
                before = self._joints[-1][0] if self._joints else -OLDEST_JOINTS
                if t > before:
                    check_step(t, before)
                    self._joints.append((t, q))
            else:
                raise ValueError(f"neither pose nor buttons nor joints: {sorted(values)}")
        except UNREADABLE as error:
            raise EpisodeError(
                f"{self._path}, line {number}: {error}; the file is refused"
            ) from None

    @staticmethod
    def _append(kept: list[Any], one: Any) -> None:
        check_step(one.t, kept[-1].t if kept else 0.0)
        kept.append(one)

    def built(self, header: HandsHeader) -> HandsRecording:
        notes = [
            f"{self._path.name} holds no {what}"
            for what, kept in (
                ("pose of the headset", self._headset),
                ("report of the Joy-Con", self._joycon),
                ("joints of the arm", self._joints),
            )
            if not kept
        ]
        return HandsRecording(
            header=header,
            headset=tuple(self._headset),
            joycon=tuple(self._joycon),
            joint_times=np.array([t for t, _ in self._joints], dtype=np.float64),
            joints=np.array([q for _, q in self._joints]).reshape(-1, self._joint_count),
            notes=tuple(notes),
        )


def _refuse_constant(name: str) -> float:
    raise ValueError(f"it holds {name}, which is no number")


def _parse(line: str) -> dict[str, Any]:
    try:
        values = json.loads(line, parse_constant=_refuse_constant)
    except json.JSONDecodeError as error:
        raise ValueError(f"it is no JSON ({error.msg})") from None
    if not isinstance(values, dict):
        raise ValueError("it is no JSON object")
    return values


def _number(value: object) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise ValueError(f"{value!r} is no number")
    number = float(value)
    if not np.isfinite(number):
        raise ValueError(f"{value!r} is not finite")
    return number


def _numbers(values: object, count: int) -> Array:
    if not isinstance(values, list) or len(values) != count:
        raise ValueError(f"need {count} numbers, got {str(values)[:40]}")
    return np.array([_number(value) for value in values])


def _matrix(values: object) -> Array | None:
    if values is None:
        return None
    numbers = _numbers(values, 12)
    if np.abs(numbers).max() > LARGEST_SENT:
        raise ValueError(f"a pose holds {np.abs(numbers).max():g}; need {LARGEST_SENT:g} at most")
    sent = numbers.astype(np.float32)  # the wire's own precision
    return np.vstack([sent.reshape(3, 4), [0.0, 0.0, 0.0, 1.0]]).astype(np.float64)


def _report(t: float, values: Mapping[str, Any]) -> JoyConReport:
    buttons = values["buttons"]
    if not isinstance(buttons, list) or any(button not in BUTTONS for button in buttons):
        raise ValueError(f"buttons are {buttons!r}; need names out of {', '.join(BUTTONS)}")
    return checked_report(
        t,
        buttons,
        _numbers(values["stick"], 2).tolist(),
        _number(values["battery"]),
        charging=values["charging"] is True,
    )
