"""Bytes of a Joy-Con's reports to buttons, stick and battery; the home of its raw units.

Source of the layout: dekuNukem/Nintendo_Switch_Reverse_Engineering, bluetooth_hid_notes and
spi_flash_notes.
"""

import math
from dataclasses import dataclass, replace

from ate_core.devices import Side

VENDOR_ID = 0x057E
PRODUCT_IDS: dict[Side, int] = {"left": 0x2006, "right": 0x2007}
PRODUCT_NAMES: dict[Side, str] = {"left": "Joy-Con (L)", "right": "Joy-Con (R)"}

REPORT_SIZE = 49
TIMER_BYTE = 1
"""Place of the timer in a report; it counts on from one report to the next, and wraps."""
FULL_REPORT = 0x30
"""Report id, and report mode, of the full report that comes every 15 ms."""
ANSWER_REPORT = 0x21
"""Report id of the answer to a subcommand."""

_BUTTON_BYTES: tuple[tuple[int, tuple[str, ...]], ...] = (
    (3, ("y", "x", "b", "a", "right_sr", "right_sl", "r", "zr")),
    (4, ("minus", "plus", "right_stick", "left_stick", "home", "capture")),
    (5, ("down", "up", "right", "left", "left_sr", "left_sl", "l", "zl")),
)
BUTTONS: tuple[str, ...] = tuple(name for _, names in _BUTTON_BYTES for name in names)
"""Order of the buttons in `JoyConState.buttons` and in the Joy message, for both sides."""
BUTTON_BITS: dict[str, tuple[int, int]] = {
    name: (byte, 1 << bit) for byte, names in _BUTTON_BYTES for bit, name in enumerate(names)
}
"""Byte of the report and mask, by button."""
AXES: tuple[str, ...] = ("horizontal", "vertical")
"""Order of the stick's axes: right and up are positive."""
SHOULDER: dict[Side, str] = {"left": "l", "right": "r"}
"""The shoulder button of each side: the clutch."""
TRIGGER: dict[Side, str] = {"left": "zl", "right": "zr"}
"""The trigger of each side: the gripper."""

STICK_BYTES: dict[Side, int] = {"left": 6, "right": 9}
"""First byte of each side's stick in a report."""
FULL_BATTERY = 8
"""Battery nibble of a full controller; its lowest bit says charging."""

USER_CALIBRATION: dict[Side, int] = {"left": 0x8010, "right": 0x801B}
"""Flash address of the user's stick calibration: two magic bytes, then nine of data."""
FACTORY_CALIBRATION: dict[Side, int] = {"left": 0x603D, "right": 0x6046}
"""Flash address of the factory's stick calibration, nine bytes."""
CALIBRATION_MAGIC = b"\xb2\xa1"
"""Stands before calibration data that is present."""
CALIBRATION_SIZE = 9

KEPT_CHANGES = 256
"""Changes of the buttons that a state remembers; four seconds of one in every report."""


@dataclass(frozen=True, kw_only=True)
class JoyConState:
    """What one controller said last, or, when it is silent, that nothing is pressed."""

    buttons: tuple[int, ...] = (0,) * len(BUTTONS)
    """1 for pressed, in the order of `BUTTONS`."""
    axes: tuple[float, float] = (0.0, 0.0)
    """Stick, in the order of `AXES`, -1 .. 1."""
    battery: float = 0.0
    """Charge, 0 empty .. 1 full, in steps of a quarter."""
    charging: bool = False
    """Whether the battery is being charged."""
    received_ns: int
    """Monotonic time of the report [ns]."""
    session: int
    """Counts connections to the controller."""
    live: bool
    """Whether the report is fresh. If not, all buttons are released and the stick is centred."""
    changes: tuple[tuple[int, tuple[int, ...]], ...] = ()
    """Monotonic time [ns] and buttons of the newest reports in which these changed, oldest first:
    whoever looks seldom finds in them what came and went meanwhile."""

    def pressed(self, button: str) -> bool:
        """Whether a button, named as in `BUTTONS`, is pressed."""
        return bool(self.buttons[BUTTONS.index(button)])

    def after(self, before: "JoyConState | None") -> "JoyConState":
        """The same state, which knows what the one before it knew of earlier reports."""
        changes = () if before is None else before.changes
        if before is None or not before.live or before.buttons != self.buttons:
            changes = (*changes, (self.received_ns, self.buttons))[-KEPT_CHANGES:]
        return replace(self, changes=changes)

    def released(self) -> "JoyConState":
        """The same controller with nothing pressed, no longer live."""
        return replace(self, buttons=(0,) * len(BUTTONS), axes=(0.0, 0.0), live=False)


@dataclass(frozen=True, kw_only=True)
class StickCalibration:
    """Raw centre and travel of a stick, each (horizontal, vertical), 12-bit units."""

    centre: tuple[int, int] = (2048, 2048)
    """Reading at rest."""
    above: tuple[int, int] = (1400, 1400)
    """Travel to the right and up."""
    below: tuple[int, int] = (1400, 1400)
    """Travel to the left and down."""
    dead_zone: float = 0.2
    """Part of the travel around the centre that reads as zero: worn sticks rest beside it."""

    def normalise(self, raw: tuple[int, int]) -> tuple[float, float]:
        """Raw readings to -1 .. 1; the travel begins where the dead zone ends."""
        horizontal, vertical = (self._normalise_axis(axis, raw[axis]) for axis in (0, 1))
        return horizontal, vertical

    def _normalise_axis(self, axis: int, raw: int) -> float:
        offset = raw - self.centre[axis]
        value = offset / (self.above if offset > 0 else self.below)[axis]
        pushed = min((abs(value) - self.dead_zone) / (1.0 - self.dead_zone), 1.0)
        return math.copysign(pushed, value) if pushed > 0.0 else 0.0

    def raw(self, stick: tuple[float, float]) -> tuple[int, int]:
        """The raw readings that `normalise` makes these of, -1 .. 1 each."""
        horizontal, vertical = (self._raw_axis(axis, stick[axis]) for axis in (0, 1))
        return horizontal, vertical

    def _raw_axis(self, axis: int, value: float) -> int:
        if value == 0.0:
            return self.centre[axis]
        pushed = self.dead_zone + (1.0 - self.dead_zone) * abs(value)
        travel = (self.above if value > 0.0 else self.below)[axis]
        return round(self.centre[axis] + math.copysign(pushed * travel, value))


def parse_calibration(data: bytes, side: Side) -> StickCalibration:
    """Nine bytes of flash to a calibration; the default where the flash is blank."""
    if len(data) != CALIBRATION_SIZE:
        raise ValueError(f"stick calibration has {len(data)} bytes; it must have 9")
    first, second, third = (unpack_pair(data[start : start + 3]) for start in (0, 3, 6))
    # The left controller stores above, centre, below; the right one centre, below, above.
    above, centre, below = (first, second, third) if side == "left" else (third, first, second)
    if not all(100 <= travel <= 2048 for travel in (*above, *below)):
        return StickCalibration()
    return StickCalibration(centre=centre, above=above, below=below)


def parse_report(
    report: bytes, side: Side, calibration: StickCalibration, received_ns: int, session: int
) -> JoyConState:
    """A full report (id 0x30) to the state it tells."""
    start = STICK_BYTES[side]
    level = report[2] >> 4
    return JoyConState(
        buttons=tuple(int(bool(report[byte] & mask)) for byte, mask in BUTTON_BITS.values()),
        axes=calibration.normalise(unpack_pair(report[start : start + 3])),
        battery=(level & 0xE) / FULL_BATTERY,
        charging=bool(level & 1),
        received_ns=received_ns,
        session=session,
        live=True,
    )


def unpack_pair(data: bytes) -> tuple[int, int]:
    """Two 12-bit numbers from three bytes."""
    return data[0] | (data[1] & 0x0F) << 8, data[1] >> 4 | data[2] << 4


def pack_pair(first: int, second: int) -> bytes:
    """Two 12-bit numbers as three bytes."""
    return bytes((first & 0xFF, (first >> 8) | (second & 0x0F) << 4, second >> 4))
