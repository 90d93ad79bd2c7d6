"""What an entry of a cell file or model may be: written in its type, checked when a file is read.

A field says its range with its type, ``speed: Annotated[float, Range(0.05, 10, "rad/s")]``;
`ate_core.strict.build` asks every check of a file's entries. Texts that are embedded in recordings
are built without, so an old recording stays readable when a range is narrowed.
"""

import ipaddress
import math
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated, Protocol, runtime_checkable

OTHER_UNITS: dict[str, tuple[tuple[str, float], ...]] = {
    "rad": (("deg", math.pi / 180.0),),
    "rad/s": (("deg/s", math.pi / 180.0), ("RPM", math.pi / 30.0)),
    "rad/s^2": (("deg/s^2", math.pi / 180.0),),
    "rad/s^3": (("deg/s^3", math.pi / 180.0),),
    "deg": (("rad", 180.0 / math.pi),),
    "m": (("mm", 1e-3), ("cm", 1e-2)),
    "m/s": (("mm/s", 1e-3),),
    "s": (("ms", 1e-3),),
    "ms": (("s", 1e3), ("us", 1e-3)),
    "us": (("ms", 1e3), ("s", 1e6)),
    "kg": (("g", 1e-3),),
    "Hz": (("ms", 0.0),),
}
"""Unit -> units that are taken for it by mistake, and how many of it one of them is.

A factor of 0 means a period in place of a rate."""
POSITION_SIZE, QUATERNION_SIZE = 3, 4
"""Numbers of a position x, y, z and of a rotation x, y, z, w."""
UNIT_LENGTH_TOLERANCE = 1e-3
"""How far the length of a quaternion may be from 1: files hold rounded numbers."""


@runtime_checkable
class EntryCheck(Protocol):
    """Says what is wrong with an entry of the right type."""

    def problem(self, value: object) -> str:
        """Return the value, the bound and the remedy, or nothing; the place is said before it."""
        ...


@dataclass(frozen=True)
class Range:
    """Numbers that are physically possible, both ends included."""

    low: float
    """Smallest value."""
    high: float
    """Largest value."""
    unit: str = ""
    """Its unit; empty for counts and ratios."""

    def problem(self, value: object) -> str:
        """Refuse a number outside, and guess the unit that was meant."""
        if not isinstance(value, (int, float)) or self.low <= value <= self.high:
            return ""
        unit = f" {self.unit}" if self.unit else ""
        text = f"is {value}{unit}; need {self.low:g} to {self.high:g}{unit}"
        for other, factor in OTHER_UNITS.get(self.unit, ()):
            meant = factor * value if factor else (1000.0 / value if value else 0.0)
            if value and self.low <= meant <= self.high:
                return f"{text}. Is it in {other}? {value:g} {other} are {meant:.4g} {self.unit}"
        return text


@dataclass(frozen=True)
class OneOf:
    """One of a few numbers."""

    values: tuple[int, ...]
    """What is possible."""
    unit: str = ""
    """Their unit."""

    def problem(self, value: object) -> str:
        """Refuse any other."""
        if value in self.values:
            return ""
        return f"is {value} {self.unit}; need one of {', '.join(map(str, self.values))}"


@dataclass(frozen=True)
class UnitQuaternion:
    """A rotation x, y, z, w."""

    def problem(self, value: object) -> str:
        """Refuse a quaternion that is no rotation."""
        if not isinstance(value, Sequence) or len(value) != QUATERNION_SIZE:
            return f"is {value}; need a quaternion x, y, z, w"
        length = math.hypot(*value)
        if abs(length - 1.0) <= UNIT_LENGTH_TOLERANCE:
            return ""
        remedy = (
            "0 0 0 1 turns nothing"
            if length < UNIT_LENGTH_TOLERANCE
            else "divide it by its length: " + " ".join(f"{x / length:.6g}" for x in value)
        )
        given = " ".join(f"{x:g}" for x in value)
        return f"has the quaternion {given} of length {length:.4g}; need length 1 ({remedy})"


@dataclass(frozen=True)
class Pose:
    """Position and rotation: x, y, z [m], qx, qy, qz, qw."""

    reach: float
    """Largest distance along each axis [m]."""

    def problem(self, value: object) -> str:
        """Refuse a place that is too far, and a quaternion that is no rotation."""
        if not isinstance(value, Sequence) or len(value) != POSITION_SIZE + QUATERNION_SIZE:
            return f"is {value}; need x y z [m], qx qy qz qw"
        for axis, number in zip("xyz", value, strict=False):
            wrong = Range(-self.reach, self.reach, "m").problem(number)
            if wrong:
                return f"{wrong} ({axis} of the position)"
        return UnitQuaternion().problem(value[POSITION_SIZE:])


@dataclass(frozen=True)
class HostAddress:
    """IPv4 address of one device, or nothing.

    Names of hosts are not taken: the state push of an arm is told from another's by its address,
    and a name may mean another machine tomorrow.
    """

    def problem(self, value: object) -> str:
        """Refuse what is no address, and addresses that no single device can have."""
        if not value:
            return ""
        try:
            address = ipaddress.IPv4Address(value)
        except ValueError:
            return f"is {value!r}; need an IPv4 address such as 192.168.1.18 (no host name)"
        last = int(address) & 0xFF
        kind = ""
        if address.is_multicast:
            kind = "a multicast address"
        elif address.is_unspecified or address.is_reserved or str(address).startswith("0."):
            kind = "no address of a device"
        elif str(address) == "127.255.255.255" or (last in (0, 255) and not address.is_loopback):
            kind = "the address of a network or its broadcast"
        return f"is {value}, {kind}: give the device's own IPv4 address" if kind else ""


@dataclass(frozen=True)
class BluetoothAddress:
    """Six pairs of hexadecimal digits."""

    def problem(self, value: object) -> str:
        """Refuse another form, for instance what YAML makes of an address without quotes."""
        if re.fullmatch(r"[0-9A-Fa-f]{2}(:?[0-9A-Fa-f]{2}){5}", str(value)):
            return ""
        return (
            f"is {value!r}; need a Bluetooth address such as '98:b6:e9:01:02:03', in quotes: "
            "YAML reads one of digits as a number without them"
        )


@dataclass(frozen=True)
class PlainName:
    """Name for people, files and messages."""

    longest: int = 64
    """Most characters."""

    def problem(self, value: object) -> str:
        """Refuse nothing, line breaks, control characters and what fills a page."""
        text = str(value)
        if text.strip() and text.isprintable() and len(text) <= self.longest:
            return ""
        return f"is {text[: self.longest]!r}; need 1 to {self.longest} printable characters"


@dataclass(frozen=True)
class DeviceName:
    """Serial number, path or interface of one device; nothing where the first one is taken."""

    longest: int = 255
    """Most characters."""

    def problem(self, value: object) -> str:
        """Refuse what no device is called, for instance a blank that was copied with it."""
        text = str(value)
        if text == text.strip() and text.isprintable() and len(text) <= self.longest:
            return ""
        return (
            f"is {text[: self.longest]!r}; need at most {self.longest} printable characters, "
            "without blanks around them"
        )


@dataclass(frozen=True)
class JointName:
    """Name of a joint in messages and descriptions."""

    longest: int = 64
    """Most characters."""

    def problem(self, value: object) -> str:
        """Refuse what a message, a URDF or a tool of ROS takes for something else."""
        text = str(value)
        if re.fullmatch(r"[A-Za-z][\w./-]*", text, re.ASCII) and len(text) <= self.longest:
            return ""
        return (
            f"is {text[: self.longest]!r}; need a letter, then letters, digits, _ . / and -, at "
            f"most {self.longest}"
        )


@dataclass(frozen=True)
class RosName:
    """Name of a topic or a namespace."""

    is_absolute: bool | None = None
    """Whether it must begin with a slash, must not, or may (None)."""

    def problem(self, value: object) -> str:
        """Refuse a name that ROS does not take, or one of the other kind."""
        text = str(value)
        if not re.fullmatch(r"/?[A-Za-z_]\w*(/[A-Za-z_]\w*)*", text, re.ASCII) or "__" in text:
            return f"is {text!r}; need letters, digits and _ between slashes, as ROS names have"
        if self.is_absolute is None or text.startswith("/") == self.is_absolute:
            return ""
        if self.is_absolute:
            return f"is {text!r}; need a name that begins with /"
        return f"is {text!r}; need a name without / in front: each arm adds its namespace"


Angle = Annotated[float, Range(-2.0 * math.pi, 2.0 * math.pi, "rad")]
"""Angle of a joint: no joint of a served arm turns more than once either way."""
JointSpeed = Annotated[float, Range(0.01, 10.0, "rad/s")]
"""Speed of a joint: above any arm that works beside people."""
Metres = Annotated[float, Range(-3.0, 3.0, "m")]
"""Coordinate within the cell."""
Port = Annotated[int, Range(1, 65535)]
"""Port of a network connection."""
Quaternion = Annotated[tuple[float, ...], UnitQuaternion()]
"""Rotation x, y, z, w."""
