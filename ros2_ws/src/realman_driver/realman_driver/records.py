"""Fixed binary records between the node and its link process, both directions.

One record is one packet of a SEQPACKET socket: a kind byte, a version byte, then packed fields.
Angles are in the vendor's degrees here, as the link process does no arithmetic. The standard
library only: the link process starts in a fraction of a second.
"""

import struct
from typing import Any, NamedTuple

VERSION = 2
"""Both ends come from one installation; another version is a broken packet."""
LARGEST = 16384
"""Room for the longest record [bytes]."""
JOINTS = 7
"""Places for joints in every record, as in the SDK's push."""

# Node to link.
STREAM, BEAT, STOP, SETTLE, CLEAR, END = range(1, 7)
# Link to node.
STATE, PULSE, ANSWER, IDENTITY, PROBLEM = range(101, 106)

# Phases of a link process.
KNOCKING, CONNECTING, LINKED = range(3)

_HEAD = struct.Struct("=BB")
_STREAM = struct.Struct("=BBId7d")
_BEAT = struct.Struct("=BB")
_STOP = struct.Struct("=BBIB")
_SETTLE = struct.Struct("=BBI7d")
_CLEAR = struct.Struct("=BBIB")
_STATE = struct.Struct("=BBIIdq")
_PULSE = struct.Struct("=BBBIIIII")
_ANSWER = struct.Struct("=BBIi160s")
_PROBLEM = struct.Struct("=BB320s")
_IDENTITY = struct.Struct("=BB" + "48s" * 6 + "ii" + "7d" * 4 + "28d" + "6d" + "6d" + "4d" + "3d")


class RecordError(ValueError):
    """A packet that is no record of this version."""


class Stream(NamedTuple):
    """One pass-through target."""

    epoch: int
    """The newest epoch that the sender knows of; see `State`."""
    made: float
    """When it was made, monotonic [s]."""
    degrees: tuple[float, ...]
    """Joint angles (7,), as the SDK takes them."""


class Stop(NamedTuple):
    """Bring the arm to rest."""

    ticket: int
    """Comes back in the answer."""
    fast: bool
    """As fast as the joints can."""


class Settle(NamedTuple):
    """Let the controller's set point glide to where the arm comes to rest."""

    ticket: int
    """Comes back in the answer."""
    degrees: tuple[float, ...]
    """Where the node believes the arm to be [deg], in all places."""


class Clear(NamedTuple):
    """Clear the errors and enable the joints."""

    ticket: int
    """Comes back in the answer."""
    joints: tuple[int, ...]
    """Joints, from 1, to clear and enable one by one."""


class State(NamedTuple):
    """One state packet as it came from the controller."""

    epoch: int
    """Counts what made older targets void: the link's own stops, and those of others."""
    foreign_stops: int
    """Stops so far that nobody here asked for."""
    received: float
    """When it arrived, monotonic [s]."""
    stamp_ns: int
    """When it arrived, wall clock [ns]."""
    packet: bytes
    """The datagram."""


class Pulse(NamedTuple):
    """The link process lives; sent all the time."""

    phase: int
    """KNOCKING, CONNECTING or LINKED."""
    epoch: int
    """As in `State`."""
    frames: int
    """Targets given to the SDK."""
    refused: int
    """Targets not given to it: too late, of an old epoch, followed by a newer one at once."""
    pushes: int
    """State packets received."""
    repeated: int
    """State packets that repeated the one before."""


class Answer(NamedTuple):
    """What became of a request, or why the link stopped the arm."""

    ticket: int
    """Of the request; 0: nobody asked, the link stopped the arm by itself."""
    code: int
    """0: done and confirmed."""
    text: str
    """Why not, else empty."""


class Identity(NamedTuple):
    """What the controller says of itself, in the vendor's units."""

    product: str
    """``Product_version``, for instance ``RM75-6F``."""
    model: str
    """Model as the SDK reads it, for instance ``RM_75``."""
    force_type: str
    """Variant as the SDK reads it: ``B``, ``6F``, ..."""
    firmware: str
    """Version of the controller's software."""
    work_frame: str
    """Name of the active work frame."""
    tool: str
    """Name of the active tool frame."""
    generation: int
    """Generation of the controller."""
    joints: int
    """Number of joints."""
    lower: tuple[float, ...]
    """Lower joint limits (7,) [deg]."""
    upper: tuple[float, ...]
    """Upper joint limits (7,) [deg]."""
    speed: tuple[float, ...]
    """Largest joint speeds (7,) [deg/s]."""
    acceleration: tuple[float, ...]
    """Largest joint accelerations (7,) [deg/s2]."""
    dh: tuple[float, ...]
    """Rows alpha [deg], a [m], d [m], offset [deg] of seven joints (28,)."""
    work_pose: tuple[float, ...]
    """Work frame x, y, z [m], rx, ry, rz [rad]."""
    tool_pose: tuple[float, ...]
    """Tool frame x, y, z [m], rx, ry, rz [rad]."""
    load: tuple[float, ...]
    """Payload [kg] and its centre x, y, z as the controller holds them [m]."""
    install: tuple[float, ...]
    """Install angles (3,) [deg]."""


class Problem(NamedTuple):
    """Why there is no link."""

    text: str


Order = Stream | Stop | Settle | Clear | int
Report = State | Pulse | Answer | Identity | Problem


def pack_stream(epoch: int, made: float, degrees: tuple[float, ...]) -> bytes:
    """A `Stream`."""
    return _STREAM.pack(STREAM, VERSION, epoch, made, *seven(degrees))


def pack_beat() -> bytes:
    """The node lives, with nothing to send."""
    return _BEAT.pack(BEAT, VERSION)


def pack_end() -> bytes:
    """Bring the arm to rest and end."""
    return _BEAT.pack(END, VERSION)


def pack_stop(ticket: int, fast: bool) -> bytes:
    """A `Stop`."""
    return _STOP.pack(STOP, VERSION, ticket, fast)


def pack_settle(ticket: int, degrees: tuple[float, ...]) -> bytes:
    """A `Settle`."""
    return _SETTLE.pack(SETTLE, VERSION, ticket, *seven(degrees))


def pack_clear(ticket: int, joints: tuple[int, ...]) -> bytes:
    """A `Clear`."""
    return _CLEAR.pack(CLEAR, VERSION, ticket, sum(1 << (joint - 1) for joint in joints))


def unpack_order(data: bytes) -> Order:
    """Read a record of the node; BEAT and END come as their kind.

    Raises:
        RecordError: it is none.
    """
    kind = _kind(data)
    try:
        if kind == STREAM:
            _, _, epoch, made, *degrees = _STREAM.unpack(data)
            return Stream(epoch, made, tuple(degrees))
        if kind == STOP:
            _, _, ticket, fast = _STOP.unpack(data)
            return Stop(ticket, bool(fast))
        if kind == SETTLE:
            _, _, ticket, *degrees = _SETTLE.unpack(data)
            return Settle(ticket, tuple(degrees))
        if kind == CLEAR:
            _, _, ticket, mask = _CLEAR.unpack(data)
            return Clear(ticket, tuple(n for n in range(1, JOINTS + 1) if mask >> (n - 1) & 1))
        if kind in (BEAT, END):
            _BEAT.unpack(data)
            return kind
    except struct.error as error:
        raise RecordError(f"order of kind {kind} has {len(data)} bytes: {error}") from None
    raise RecordError(f"no order has the kind {kind}")


def pack_state(state: State) -> bytes:
    """A `State`; its counters go round at 2^32."""
    counts = (state.epoch & 0xFFFFFFFF, state.foreign_stops & 0xFFFFFFFF)
    return _STATE.pack(STATE, VERSION, *counts, state.received, state.stamp_ns) + state.packet


def pack_pulse(pulse: Pulse) -> bytes:
    """A `Pulse`; its counters go round at 2^32."""
    phase, *counters = pulse
    return _PULSE.pack(PULSE, VERSION, phase, *(count & 0xFFFFFFFF for count in counters))


def pack_answer(ticket: int, code: int, text: str = "") -> bytes:
    """An `Answer`; a long text is cut."""
    return _ANSWER.pack(ANSWER, VERSION, ticket, code, _text(text, 160))


def pack_problem(text: str) -> bytes:
    """A `Problem`; a long text is cut."""
    return _PROBLEM.pack(PROBLEM, VERSION, _text(text, 320))


def pack_identity(identity: Identity) -> bytes:
    """An `Identity`."""
    texts = [_text(text, 48) for text in identity[:6]]
    numbers = [number for part in identity[8:] for number in part]
    return _IDENTITY.pack(IDENTITY, VERSION, *texts, *identity[6:8], *numbers)


def unpack_report(data: bytes) -> Report:
    """Read a record of the link process.

    Raises:
        RecordError: it is none.
    """
    kind = _kind(data)
    try:
        if kind == STATE:
            _, _, epoch, foreign, received, stamp_ns = _STATE.unpack_from(data)
            return State(epoch, foreign, received, stamp_ns, data[_STATE.size :])
        if kind == PULSE:
            return Pulse(*_PULSE.unpack(data)[2:])
        if kind == ANSWER:
            _, _, ticket, code, text = _ANSWER.unpack(data)
            return Answer(ticket, code, _read_text(text))
        if kind == IDENTITY:
            return _unpack_identity(data)
        if kind == PROBLEM:
            return Problem(_read_text(_PROBLEM.unpack(data)[2]))
    except struct.error as error:
        raise RecordError(f"report of kind {kind} has {len(data)} bytes: {error}") from None
    raise RecordError(f"no report has the kind {kind}")


def seven(values: tuple[float, ...]) -> tuple[float, ...]:
    """The values with zeros for joints that the arm has not."""
    return (*values, *(0.0,) * (JOINTS - len(values)))


def _kind(data: bytes) -> int:
    if len(data) < _HEAD.size:
        raise RecordError(f"record of {len(data)} bytes")
    kind: int
    kind, version = _HEAD.unpack_from(data)
    if version != VERSION:
        raise RecordError(f"record of version {version}, need {VERSION}")
    return kind


def _unpack_identity(data: bytes) -> Identity:
    _, _, *fields = _IDENTITY.unpack(data)
    parts: list[Any] = [_read_text(text) for text in fields[:6]] + fields[6:8]
    at = 8
    for length in (7, 7, 7, 7, 28, 6, 6, 4, 3):
        parts.append(tuple(fields[at : at + length]))
        at += length
    return Identity(*parts)


def _text(text: str, size: int) -> bytes:
    return text.encode()[:size]


def _read_text(data: bytes) -> str:
    return data.rstrip(b"\0").decode(errors="replace")
