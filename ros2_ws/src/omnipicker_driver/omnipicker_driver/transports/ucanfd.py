"""ZQWL UCANFD adapter (CDC serial): two set-up frames (22 bytes), then frames with an id.

Data: ``5A 08 00``, id (4 bytes, high first), payload (8), ``A5``: 16 bytes. Each second the
adapter sends a heartbeat of 17 bytes, ``5A FF ... A5``.
"""

from functools import partial

from omnipicker_driver.protocol import PAYLOAD_LENGTH
from omnipicker_driver.transports.framed import DATA, FramedAdapter, FramedHost, Framing
from omnipicker_driver.transports.interface import TransportKind
from omnipicker_driver.transports.scanner import FrameKind

_DATA_START = b"\x5a\x08\x00"
_HEARTBEAT_START = b"\x5a\xff"
_END = 0xA5
_BIT_RATES = bytes([0x49, 0x3B, 0x42, 0x57]) + bytes(16) + bytes([0x45, 0x2E])
"""Channel 0: 1 Mbit/s, data 5 Mbit/s."""
_OPEN = bytes([0x49, 0x3B, 0x44, 0x57, 0x01, 0x00, 0x01]) + bytes(13) + bytes([0x45, 0x2E])
"""Open channel 0."""


def _ends_well(frame: bytes) -> bool:
    return frame[-1] == _END


def _wrap(payload: bytes, device_id: int) -> bytes:
    return _DATA_START + device_id.to_bytes(4, "big") + payload + bytes([_END])


def _unwrap(frame: bytes) -> tuple[int, bytes]:
    return int.from_bytes(frame[3:7], "big"), frame[7 : 7 + PAYLOAD_LENGTH]


FRAMING = Framing(
    setup=(("bit rates", _BIT_RATES), ("open", _OPEN)),
    data=(
        FrameKind(name=DATA, start=_DATA_START, length=16, is_whole=_ends_well),
        FrameKind(name="heartbeat", start=_HEARTBEAT_START, length=17, is_whole=_ends_well),
    ),
    wrap=_wrap,
    unwrap=_unwrap,
    heartbeat=_HEARTBEAT_START + bytes(14) + bytes([_END]),
)
KIND = TransportKind(
    host=partial(FramedHost, FRAMING), adapter=partial(FramedAdapter, FRAMING), baud=115200
)
