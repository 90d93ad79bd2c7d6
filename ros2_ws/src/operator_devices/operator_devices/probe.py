"""Whether an operator's headset and Joy-Con speak, for `ate doctor`."""

import logging
import sys
import time
from collections.abc import Iterator

from ate_core.contract import Cell
from ate_core.findings import Finding, failed, passed, probe_main, warned
from operator_devices.joycon import JoyConConfig, JoyConReader
from operator_devices.vision_pro import VisionProConfig, VisionProReader

CONNECT_TIME = 3.0
"""Longest wait for the first message [s]."""
LOOK_TIME = 1.0
"""How long messages are counted [s]."""
MIN_RATE = 60.0
"""Messages per second below which hands are followed badly [Hz]; the sensor has 90."""
PERIOD = 0.002
"""Between two looks at what has arrived [s]."""


def look(cell: Cell, side: str) -> Iterator[Finding]:
    """Ask both devices of one operator."""
    yield _headset(cell, side)
    yield _joycon(cell, side)


def _headset(cell: Cell, side: str) -> Finding:
    one, what = cell.operators[side], f"{side} operator's headset"
    reader = VisionProReader(
        VisionProConfig(ip=one.headset_ip, port=one.headset_port, hand=one.hand)
    )
    reader.start()
    try:
        deadline = time.monotonic() + CONNECT_TIME
        while reader.latest() is None and time.monotonic() < deadline:
            time.sleep(PERIOD)
        if reader.latest() is None:
            return failed(what, reader.status, "")
        rate, tracked = _count(reader)
    finally:
        reader.stop()
    where = f"{one.headset_ip}:{one.headset_port}, {rate:.0f} messages/s"
    if rate < MIN_RATE:
        remedy = "a network of its own (5 GHz or 6 GHz), the current app"
        return warned(what, where, remedy, f"{MIN_RATE:g} per second")
    hand = f"{one.hand} hand {'tracked' if tracked else 'not in view'}"
    return passed(what, f"{where}, {hand}")


def _count(reader: VisionProReader) -> tuple[float, bool]:
    """Messages per second, and whether the hand is tracked."""
    first, begin = reader.latest(), time.monotonic()
    time.sleep(LOOK_TIME)  # it is watched for this long: the count is the result
    last, seconds = reader.latest(), time.monotonic() - begin
    if first is None or last is None:
        return 0.0, False
    return (last.sequence - first.sequence) / seconds, last.tracked


def _joycon(cell: Cell, side: str) -> Finding:
    one, what = cell.operators[side], f"{side} operator's Joy-Con"
    reader = JoyConReader(JoyConConfig(serial=one.joycon_serial, side=one.joycon_side))
    reader.start()
    try:
        deadline = time.monotonic() + CONNECT_TIME
        while not reader.connected and time.monotonic() < deadline:
            time.sleep(PERIOD)
        state, status = reader.latest(), reader.status
    finally:
        reader.stop()
    if state is None or not state.live:
        return failed(what, status, "press one of its buttons, or pair it again")
    if state.battery < 0.3 and not state.charging:
        return warned(what, f"{status}, battery {100 * state.battery:.0f} %", "charge it", "30 %")
    return passed(what, f"{status}, battery {100 * state.battery:.0f} %")


if __name__ == "__main__":
    logging.disable(logging.INFO)
    sys.exit(probe_main(look, "operator"))
