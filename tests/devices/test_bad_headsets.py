"""What is wrong with a headset, told in plain words while the clutch waits and nothing moves."""

import os
import threading
import time

import numpy as np
import pytest

from ate_core.contract import load_cell
from ate_core.geometry import rotation_exp, transform
from ate_teleop.clutch import ClutchState
from ate_teleop.operator import OperatorController
from ate_teleop.operator_settings import operator_settings
from operator_devices.joycon_report import BUTTONS, JoyConState
from operator_devices.vision_pro import VisionProConfig, VisionProReader
from operator_devices.vision_pro_emulator import HeadsetEmulator, HeadsetEmulatorConfig

HAND = transform(rotation_exp([0.2, -0.1, 0.4]), [0.2, 0.4, 1.1])
TICK = 1.0 / 90.0


def loopback(last: int) -> str:
    """An address of this process alone, so that runs side by side do not meet."""
    return f"127.{100 + os.getpid() % 100}.{os.getpid() // 100 % 250}.{last}"


def press_and_look(reader: VisionProReader, until, seconds: float = 20.0):
    """Press the clutch again and again until a condition on the status holds."""
    cell = load_cell(hardware="sim")
    controller = OperatorController(operator_settings(cell, "left"))
    home, deadline = np.array(cell.arms["left"].home), time.monotonic() + seconds
    pause, tick = threading.Event(), 0
    while True:
        now_ns, tick = time.monotonic_ns(), tick + 1
        held = tick % 120 > 20
        joy = JoyConState(
            buttons=tuple(int(held and name == "l") for name in BUTTONS),
            received_ns=now_ns, session=1, live=True,
        )  # fmt: skip
        output = controller.step(reader.latest(), joy, home, now_ns)
        assert output.joint_target is None, "the arm moved"
        assert output.status.clutch is not ClutchState.ENGAGED
        if until(output.status):
            return output.status
        assert time.monotonic() < deadline, (output.status, reader.trouble)
        pause.wait(TICK)


CASES = {
    "absent": (None, "has sent nothing yet", "does not answer; open the TrackingStreamer app"),
    "empty": ("empty", "has sent nothing yet", "its app asks for a newer reader"),
    "NaN": ("spoil", "no numbers or no rotations", "streaming, but the headset sends poses that"),
    "never raised": ("hidden", "not been seen yet", "raise it into the headset's view"),
    "silent": ("silence", "has sent nothing yet", "does not answer"),
}


@pytest.mark.parametrize(("fault", "reason", "trouble"), CASES.values(), ids=CASES)
def test_a_headset_of_no_use_is_told_by_name_and_nothing_moves(fault, reason, trouble) -> None:
    address = loopback(20)
    config = HeadsetEmulatorConfig(minimum_version=30000.0 if fault == "empty" else 20500.0)
    headset = HeadsetEmulator(address, config=config)
    headset.set_wrist("right", HAND)
    headset.set_tracked("right", fault != "hidden")
    if fault in ("spoil", "silence"):
        headset.inject(fault)
    reader = VisionProReader(VisionProConfig(ip=address, hand="right"))
    try:
        if fault is not None:
            headset.start()
        reader.start()
        status = press_and_look(
            reader, lambda status: reason in status.reason and trouble in reader.trouble
        )
        assert not status.tracked
    finally:
        reader.stop()
        headset.stop()
