"""What the node needs of the two devices of an operator, and the real ones that the cell names."""

import time
from pathlib import Path
from typing import Any, Protocol

from ate_core.contract import Cell
from ate_core.devices import OperatorConfig
from operator_devices.hand_pose import HandSample
from operator_devices.hands_file import HandsHeader, settings_of
from operator_devices.hands_recorder import HandsRecorder
from operator_devices.joycon import JoyConConfig, JoyConReader
from operator_devices.joycon_report import JoyConState
from operator_devices.rumble import Pattern
from operator_devices.vision_pro import VisionProConfig, VisionProReader


class HandSource(Protocol):
    """Anything that delivers hand poses in the background: a headset or a file."""

    def start(self) -> None:
        """Begin; returns at once."""

    def stop(self) -> None:
        """End and wait."""

    def latest(self) -> HandSample | None:
        """Newest sample."""

    def wait_change(self, changed_ns: int, timeout: float) -> None:
        """Wait for a pose other than that of `changed_ns`, for `timeout` [s] at most."""

    @property
    def status(self) -> str:
        """One line for the operator."""

    @property
    def trouble(self) -> str:
        """Why no hand can be seen, and a remedy; empty while the source delivers."""


class ButtonSource(Protocol):
    """Anything that delivers buttons in the background and has lamps: a Joy-Con."""

    def start(self) -> None:
        """Begin; returns at once."""

    def stop(self) -> None:
        """End and wait."""

    def latest(self) -> JoyConState | None:
        """Newest state."""

    def set_lamps(self, on: int, flashing: int = 0) -> None:
        """Light lamp 1 = bit 0 and so on, and let others flash; returns at once."""

    def rumble(self, pattern: Pattern) -> None:
        """Play a pattern in the hand; returns at once."""

    @property
    def status(self) -> str:
        """One line for the operator."""


def make_hand_source(operator: OperatorConfig, recorder: HandsRecorder | None) -> HandSource:
    """The headset of an operator, recorded where there is a recorder."""
    return VisionProReader(
        VisionProConfig(ip=operator.headset_ip, port=operator.headset_port, hand=operator.hand),
        None if recorder is None else recorder.take_message,
    )


def make_button_source(operator: OperatorConfig, recorder: HandsRecorder | None) -> ButtonSource:
    """The Joy-Con of an operator, recorded where there is a recorder."""
    return JoyConReader(
        JoyConConfig(serial=operator.joycon_serial, side=operator.joycon_side),
        None if recorder is None else recorder.take_report,
    )


def make_recorder(
    cell: Cell, side: str, folder: str, start_ns: int, calibration: dict[str, Any]
) -> HandsRecorder | None:
    """What writes the hands of an operator into a folder; None where none is named.

    Args:
        cell: described by the file's header.
        side: of the operator.
        folder: of the session.
        start_ns: Unix time now [ns].
        calibration: that holds now, see `HandsHeader.calibration`.
    """
    if not folder:
        return None
    header = HandsHeader(
        start_ns=start_ns,
        side=side,
        cell=cell.name,
        hardware=cell.hardware,
        joint_names=tuple(cell.arms[cell.operators[side].arm].joint_names),
        settings=settings_of(cell, side),
        calibration=calibration,
    )
    return HandsRecorder(Path(folder), header, time.monotonic_ns())
