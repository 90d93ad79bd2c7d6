"""What the node needs of the two devices of an operator, and the real ones that the cell names."""

from typing import Protocol

from ate_core.devices import OperatorConfig
from operator_devices.hand_pose import HandSample
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


def make_hand_source(operator: OperatorConfig) -> HandSource:
    """The headset of an operator."""
    return VisionProReader(
        VisionProConfig(ip=operator.headset_ip, port=operator.headset_port, hand=operator.hand)
    )


def make_button_source(operator: OperatorConfig) -> ButtonSource:
    """The Joy-Con of an operator."""
    return JoyConReader(JoyConConfig(serial=operator.joycon_serial, side=operator.joycon_side))
