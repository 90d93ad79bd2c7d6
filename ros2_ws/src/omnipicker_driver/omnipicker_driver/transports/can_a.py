"""USB-CAN-A adapter at 2 Mbaud: a set-up frame (20 bytes), then frames with an id.

Data: ``AA E8``, id (4 bytes, low first), payload (8), ``55``: 15 bytes, extended id. A standard
id is ``AA C8`` with 2 bytes of id: 13 bytes; reports of that kind are read too.
"""

from functools import partial

from omnipicker_driver.protocol import PAYLOAD_LENGTH
from omnipicker_driver.transports.framed import DATA, FramedAdapter, FramedHost, Framing
from omnipicker_driver.transports.interface import TransportKind
from omnipicker_driver.transports.scanner import FrameKind

_EXTENDED = b"\xaa\xe8"
_STANDARD = b"\xaa\xc8"
_END = 0x55


def _setup_frame() -> bytes:
    """Variable frames, 1 Mbit/s, extended ids; ends in the low byte of the sum from byte 2 on."""
    frame = bytes([0xAA, 0x55, 0x12, 0x01, 0x02]) + bytes(14)
    return frame + bytes([sum(frame[2:]) & 0xFF])


def _ends_well(frame: bytes) -> bool:
    return frame[-1] == _END


def _wrap(payload: bytes, device_id: int) -> bytes:
    return _EXTENDED + device_id.to_bytes(4, "little") + payload + bytes([_END])


def _unwrap(frame: bytes) -> tuple[int, bytes]:
    payload = frame[-PAYLOAD_LENGTH - 1 : -1]
    return int.from_bytes(frame[2 : -PAYLOAD_LENGTH - 1], "little"), payload


FRAMING = Framing(
    setup=(("set-up", _setup_frame()),),
    data=(
        FrameKind(name=DATA, start=_EXTENDED, length=15, is_whole=_ends_well),
        FrameKind(name=DATA, start=_STANDARD, length=13, is_whole=_ends_well),
    ),
    wrap=_wrap,
    unwrap=_unwrap,
)
KIND = TransportKind(
    host=partial(FramedHost, FRAMING), adapter=partial(FramedAdapter, FRAMING), baud=2_000_000
)
