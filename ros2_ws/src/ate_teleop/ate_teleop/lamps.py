"""What the four player lamps of a Joy-Con tell."""

from typing import NamedTuple

RECORDING, CLUTCH, PENDING, TROUBLE = 0b0001, 0b0010, 0b0100, 0b1000
"""Lamps 1 to 4 lit: an episode is recorded; the clutch is engaged; an episode waits to be judged;
an emergency stop, or an arm that follows nobody."""


class Lamps(NamedTuple):
    """Masks, lamp 1 = bit 0."""

    on: int
    """Lamps that are lit."""
    flashing: int
    """Lamps that flash."""


def lamps(
    number: int,
    *,
    recording: bool = False,
    engaged: bool = False,
    pending: bool = False,
    trouble: bool = False,
    battery_low: bool = False,
) -> Lamps:
    """The lamps of an operator's Joy-Con.

    While the hand is at rest, lamp 1 or 2 flashes for the operator's number: who takes up the
    wrong Joy-Con sees it. A low battery makes lamp 4 flash, unless it is lit.

    Args:
        number: 1 or 2.
        recording: whether an episode is recorded.
        engaged: whether the arm follows this hand.
        pending: whether an episode waits to be judged.
        trouble: whether the cell is stopped or an arm follows nobody.
        battery_low: whether the Joy-Con should be charged.
    """
    told = ((recording, RECORDING), (engaged, CLUTCH), (pending, PENDING), (trouble, TROUBLE))
    on = sum(lamp for is_told, lamp in told if is_told)
    flashing = 0 if recording or engaged else 1 << (number - 1)
    return Lamps(on, (flashing | (TROUBLE if battery_low else 0)) & ~on)
